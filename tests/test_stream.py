"""llmzip.stream: members in pieces of any size, damaged in any place, and with engines that do not match."""

import gc
import gzip
import io
import random
import subprocess
import sys
import threading
import tracemalloc
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from damage import flips
from hypothesis import given, settings
from hypothesis import strategies as st
from tiers import mostly_long

import llmzip
from llmzip import blocks, container, cuts, filemap, workers
from llmzip.errors import (
    ChecksumError,
    EngineMismatch,
    FormatError,
    LimitExceeded,
    LlmzipError,
    ModelNotFound,
    TruncatedError,
)
from llmzip.file import LmzFile
from llmzip.limits import Limits
from llmzip.models.toy import ToyModel
from llmzip.stream import CHUNK_SIZE, LmzCompressor, LmzDecompressor, MemberReader, ModelSource, reading

TEXT = ToyModel().speak(52)


class Inexact(ToyModel):
    """The toy model as an engine that is bound to a machine."""

    exact = False
    engine_note = "device=cpu\nengine=toy\nversion=1"


def compress(data: bytes, model: ToyModel | None = None, **options: Any) -> bytes:
    """With a memory that is soon made, whatever the size of the group."""
    compressor = LmzCompressor(model or ToyModel(), **{"line_bits": 14} | options)
    return compressor.compress(data) + compressor.flush()


def decompress(data: bytes, model: ToyModel | None = None, **options: Any) -> bytes:
    decompressor = LmzDecompressor(model or ToyModel(), **options)
    content = decompressor.decompress(data)
    decompressor.check_eof()
    assert decompressor.unused_data == b""
    return content


@settings(max_examples=40, deadline=None)
@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode), st.integers(1, 80))
def test_round_trip(data: bytes, block_size: int) -> None:
    assert decompress(compress(data, block_size=block_size)) == data


@pytest.mark.parametrize(
    "options", [{}, {"lanes": 2}, {"window": 8, "overlap": 3}, {"block_size": 50}, {"block_size": 52, "lanes": 2}]
)
def test_round_trip_of_text(options: dict[str, Any]) -> None:
    data = ToyModel().speak(208)
    made = compress(data, **options)
    assert container.parse_preamble(made).fingerprint == ToyModel().fingerprint[:4]
    assert decompress(made) == data
    assert compress(data, **options) == made, "compressing twice gives the same bytes"


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.integers(1, 40), max_size=8), st.lists(st.integers(1, 60), min_size=1, max_size=8), st.integers(1, 70)
)
def test_pieces_do_not_matter(cuts: list[int], feeds: list[int], max_length: int) -> None:
    data = TEXT * 3
    compressor = LmzCompressor(ToyModel(), block_size=60, line_bits=14)
    made, at = b"", 0
    for cut in cuts:
        made += compressor.compress(data[at : at + cut])
        at += cut
    made += compressor.compress(data[at:]) + compressor.flush()
    assert made == compress(data, block_size=60)

    decompressor = LmzDecompressor(ToyModel())
    content, at = b"", 0
    while not decompressor.eof:
        feed = b""
        if decompressor.needs_input:
            feed = made[at : at + feeds[at % len(feeds)]]
            at += len(feed)
            assert feed
        piece = decompressor.decompress(feed, max_length)
        assert len(piece) <= max_length
        content += piece
    assert content == data


def test_no_model_is_needed_for_what_is_stored() -> None:
    empty = LmzCompressor(model="no such model").flush()
    assert container.parse_preamble(empty).fingerprint == container.NO_MODEL
    assert LmzDecompressor().decompress(empty) == b""
    noise = random.Random(1).randbytes(128)
    made = compress(noise)
    assert container.parse_preamble(made).fingerprint == container.NO_MODEL
    assert len(made) == 128 + 8
    assert LmzDecompressor(model="no such model").decompress(made) == noise


def test_one_block_is_held_back() -> None:
    compressor = LmzCompressor(ToyModel(), block_size=20)
    assert compressor.compress(TEXT[:20]) == b""
    assert compressor.compress(b"!" * cuts.MARK) == b""  # a stream may begin across the end of the block
    assert compressor.compress(b"!") != b""
    assert decompress(compress(TEXT[:40], block_size=20)) == TEXT[:40]


def test_output_comes_block_by_block() -> None:
    compressor = LmzCompressor(ToyModel(), block_size=len(TEXT))
    rest = b"!" * (cuts.MARK + 1)
    first = compressor.compress(TEXT + rest)
    decompressor = LmzDecompressor(ToyModel())
    assert decompressor.decompress(first[:-1]) == b""
    assert decompressor.decompress(first[-1:]) == TEXT
    assert decompressor.needs_input and not decompressor.eof
    assert decompressor.decompress(compressor.flush()) == rest
    assert decompressor.eof and not decompressor.needs_input


def test_what_follows_a_member_is_unused() -> None:
    decompressor = LmzDecompressor(ToyModel())
    assert decompressor.decompress(compress(b"one") + b"rest") == b"one"
    assert decompressor.eof
    assert decompressor.unused_data == b"rest"
    with pytest.raises(EOFError, match="Already at end of stream"):
        decompressor.decompress(b"")


@pytest.mark.long
@pytest.mark.parametrize("block_size", [1000, 30])
def test_every_flipped_bit_is_told(block_size: int) -> None:
    made = compress(TEXT, block_size=block_size)
    source = ModelSource(ToyModel())
    for flipped in flips(made):
        decompressor = LmzDecompressor(source)
        with pytest.raises(LlmzipError):
            decompressor.decompress(flipped)
            decompressor.check_eof()


@pytest.mark.parametrize("block_size", mostly_long([1000, 30], [1000]))
def test_every_cut_is_told(block_size: int) -> None:
    made = compress(TEXT, block_size=block_size)
    for n in range(len(made)):
        decompressor = LmzDecompressor(ToyModel())
        assert TEXT.startswith(decompressor.decompress(made[:n]))
        with pytest.raises(TruncatedError):
            decompressor.check_eof()


@pytest.mark.long
def test_other_damage_never_gives_wrong_bytes() -> None:
    outcomes = Counter[str]()

    @settings(max_examples=50, deadline=None, derandomize=True)
    @given(st.data())
    def damage_any(data: st.DataObject) -> None:
        outcomes[damaged(data)] += 1

    damage_any()
    assert outcomes["error"] and outcomes["content"], outcomes


def damaged(data: st.DataObject) -> str:
    """What comes of a file that is changed in some places."""
    made = bytearray(compress(TEXT * 2, block_size=40))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(made) - 1))
        made[at : at + data.draw(st.integers(0, 9))] = data.draw(st.binary(max_size=9))
    decompressor = LmzDecompressor(ToyModel())
    content = b""
    try:
        content = decompressor.decompress(made, 40)
        while not decompressor.eof and not decompressor.needs_input:
            content += decompressor.decompress(b"", 40)
        outcome = "content"
    except LlmzipError:
        outcome = "error"
    assert (TEXT * 2).startswith(content)
    return outcome


def test_good_blocks_before_a_bad_one_are_given_out() -> None:
    made = bytearray(compress(TEXT * 2, block_size=len(TEXT)))
    made[len(made) // 2 + 10] ^= 1  # in the second block
    decompressor = LmzDecompressor(ToyModel())
    assert decompressor.decompress(made, 1000) == TEXT
    for _ in range(2):  # it does not get better by asking again
        with pytest.raises((FormatError, ChecksumError), match="block 2"):
            decompressor.decompress(b"", 1000)


def test_checksum_error_names_the_block() -> None:
    """A model that has drifted: the payload is whole, and decodes to something else."""
    drifted = ToyModel(1)
    drifted.fingerprint = ToyModel().fingerprint
    with pytest.raises((ChecksumError, FormatError), match=r"^block 1 \(content bytes 0 to 51\): "):
        decompress(compress(TEXT), drifted)


def test_given_model_must_be_the_one() -> None:
    with pytest.raises(ModelNotFound) as caught:
        decompress(compress(TEXT), ToyModel(1))
    assert ToyModel().fingerprint[:4].hex() in str(caught.value)
    assert ToyModel(1).fingerprint[:4].hex() in str(caught.value)


def test_engine_note() -> None:
    made = compress(TEXT, Inexact())
    assert decompress(made, Inexact()) == TEXT
    with pytest.raises(EngineMismatch, match=r"not exact \(device=cpu, engine=toy, version=1\), and this one is exact"):
        decompress(made)
    assert decompress(made, ignore_engine=True) == TEXT
    with pytest.raises(EngineMismatch, match="written with exact arithmetic"):
        decompress(compress(TEXT), Inexact())
    other = Inexact()
    other.engine_note = "device=cuda\nengine=toy\nversion=1"
    with pytest.raises(EngineMismatch, match=r"written with device=cpu; this engine has device=cuda$"):
        decompress(made, other)


def test_engine_note_only_where_a_model_is_needed() -> None:
    noise = random.Random(1).randbytes(128)
    made = compress(noise, Inexact())
    assert container.parse_preamble(made).fingerprint == container.NO_MODEL
    assert decompress(made) == noise


def test_a_name_is_loaded_once_for_many_members(monkeypatch: pytest.MonkeyPatch) -> None:
    registry = pytest.importorskip("llmzip.models.registry")
    found: list[bytes] = []

    def find(fingerprint: bytes, *, device: str | None, threads: int | None) -> ToyModel:
        found.append(fingerprint)
        return ToyModel()

    monkeypatch.setattr(registry, "find", find)
    source = ModelSource()
    for _ in range(2):
        assert LmzDecompressor(source).decompress(compress(TEXT)) == TEXT
    assert found == [ToyModel().fingerprint[:4]]


def test_the_default_to_compress_with_is_not_demanded_of_what_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    registry = pytest.importorskip("llmzip.models.registry")
    monkeypatch.setattr(registry, "load", lambda name, **_: ToyModel(1))
    monkeypatch.setattr(registry, "find", lambda fingerprint, **_: ToyModel())
    source = ModelSource()
    assert source.to_compress() is source.to_compress()
    assert LmzDecompressor(source).decompress(compress(TEXT)) == TEXT
    named = ModelSource("another")
    assert named.to_compress() is named.to_compress()
    with pytest.raises(ModelNotFound):
        LmzDecompressor(named).decompress(compress(TEXT))


def test_progress_is_cumulative() -> None:
    told: list[tuple[int, int]] = []
    compressor = LmzCompressor(ToyModel(), block_size=60, progress=lambda n_in, n_out: told.append((n_in, n_out)))
    made = compressor.compress(TEXT * 3) + compressor.flush()
    assert told == sorted(told)
    assert told[-1] == (len(TEXT * 3), len(made))
    told.clear()
    LmzDecompressor(ToyModel(), progress=lambda n_in, n_out: told.append((n_in, n_out))).decompress(made)
    assert told == sorted(told)
    assert told[-1] == (len(made), len(TEXT * 3))


def test_wrong_arguments() -> None:
    for block_size in (0, (1 << 26) + 1):
        with pytest.raises(ValueError, match="block_size"):
            LmzCompressor(block_size=block_size)
    compressor = LmzCompressor(ToyModel())
    with pytest.raises(TypeError):
        compressor.compress("text")  # type: ignore[arg-type]
    compressor.flush()
    with pytest.raises(ValueError, match="Compressor has been flushed"):
        compressor.compress(b"")
    with pytest.raises(ValueError, match=r"Repeated call to flush\(\)"):
        compressor.flush()


def test_memory_is_bounded_by_blocks() -> None:
    """A file of 200 stored blocks of 64 KiB, through both ends, in a small part of its size."""
    content = bytes(range(256)) * 256
    preamble = container.create_preamble()
    member = container.Member(container.parse_preamble(preamble))
    decompressor = LmzDecompressor()
    tracemalloc.start()
    assert decompressor.decompress(preamble) == b""
    for i in range(200):
        block = container.create_block(container.stored_block(content), last=i == 199, before=member.next_before)
        member.add(container.STORED, len(content), len(block), i == 199)
        assert decompressor.decompress(block) == content
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10 * len(content)


def test_import_is_light() -> None:
    code = (
        "import sys, llmzip.stream, llmzip.file, llmzip.api;"
        "assert llmzip.decompress(llmzip.compress(b'')) == b'';"
        "assert not {'numpy', 'torch'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# Groups


def groups_of(data: bytes) -> list[bool]:
    (member,) = filemap.walk_file(io.BytesIO(data))
    return [block.begins_group for block in member.blocks]


def line_bits_of(data: bytes) -> list[int | None]:
    (member,) = filemap.walk_file(io.BytesIO(data))
    return [block.header.line_bits if block.header else None for block in member.blocks]


@pytest.mark.long
@settings(max_examples=25)
@given(st.binary(max_size=60), st.integers(1, 60), st.integers(1, 150), st.integers(10, 16), st.integers(1, 3))
def test_round_trip_of_groups(data: bytes, block_size: int, group_size: int, line_bits: int, times: int) -> None:
    content = (data + TEXT) * times
    made = compress(content, block_size=block_size, group_size=group_size, line_bits=line_bits)
    assert decompress(made) == content


def test_group_size_is_of_content() -> None:
    """A group has whole blocks and no more bytes than that, but for a block that is greater."""
    data = ToyModel().speak(240)
    assert groups_of(compress(data, block_size=40, group_size=80)) == [True, False] * 3
    assert groups_of(compress(data, block_size=40, group_size=119)) == [True, False] * 3
    assert groups_of(compress(data, block_size=40, group_size=120)) == [True, False, False] * 2
    assert groups_of(compress(data, block_size=40, group_size=1)) == [True] * 6
    assert groups_of(compress(data, block_size=40)) == [True] + [False] * 5


def test_streams_of_many_times_their_size_do_not_fill_a_group() -> None:
    """Of a deflate stream that holds fifty times its bytes no more than four times count: the rest costs nothing."""
    rows = [b"".join(bytes(400) + bytes([i % 251, i % 7, k]) for i in range(250)) for k in range(2)]
    content = b"".join(zlib.compress(plain) + ToyModel().speak(2000, len(plain)) for plain in rows)
    made = compress(content, level=1, block_size=2000, group_size=1 << 16, opens=True)
    assert decompress(made) == content
    opened = [block.n_opened for block in llmzip.get_info(made).blocks if "open" in block.transforms]
    assert len(opened) > 1 and all(n_bytes and n_bytes > 1 << 16 for n_bytes in opened)
    assert groups_of(made).count(True) == 1


def test_a_writer_keeps_to_the_greatest_size_of_a_group(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where transforms make a body longer, too: UTF-16 of three bytes of UTF-8 each. A scale model, for time."""
    monkeypatch.setattr(container, "MAX_GROUP_SIZE", 1 << 17)
    monkeypatch.setattr(cuts, "LEAST_OPENED", 1 << 15)
    chance = random.Random(3)
    signs = [chr(0x4E00 + i) for i in range(3000)]
    phrases = ["".join(chance.choices(signs, k=40)) + "\u3002" for _ in range(14)]
    texts = ["".join(chance.choices(phrases, k=410))[: 1 << 14] for _ in range(6)]
    content = b"".join(gzip.compress(text.encode("utf-16-le"), 9, mtime=0) for text in texts)
    made = compress(content, share=0.0, block_size=1 << 15, group_size=1 << 15)
    assert decompress(made) == content
    assert sum(block.n_opened or 0 for block in llmzip.get_info(made).blocks) > 1 << 17
    assert 1 < groups_of(made).count(True) < 8


def test_members_do_not_go_on_from_each_other() -> None:
    compressor = LmzCompressor(ToyModel(), block_size=40, line_bits=14)
    first = compressor.compress(TEXT) + compressor.end_member()
    second = compressor.compress(TEXT) + compressor.flush()
    assert first == second == compress(TEXT, block_size=40)


def test_the_memory_that_a_group_gets() -> None:
    """What it may come to, as far as is known; written down where a reader would not expect it."""
    data = ToyModel().speak(240)
    assert line_bits_of(compress(data, line_bits=22)) == [14]  # of a short member
    assert line_bits_of(compress(data, line_bits=12)) == [12]
    assert line_bits_of(compress(data, block_size=100, line_bits=22)) == [
        22,
        None,
        None,
    ]  # it goes on, nobody knows how far
    assert line_bits_of(compress(data, block_size=100, line_bits=24)) == [24, None, None]
    assert line_bits_of(compress(data, block_size=100, group_size=200, line_bits=22)) == [14, None, 14]


def test_large_groups_are_smaller() -> None:
    data = TEXT * 8
    sizes = [len(compress(data, block_size=104, group_size=size)) for size in (1 << 24, 208, 104)]
    assert sizes == sorted(sizes) and sizes[0] < sizes[2] - 40


def test_pieces_do_not_matter_to_groups() -> None:
    data = ToyModel().speak(500)
    whole = compress(data, block_size=60, group_size=130)
    for size in (1, 7, 61, 499):
        compressor = LmzCompressor(ToyModel(), block_size=60, group_size=130, line_bits=14)
        made = b"".join(compressor.compress(data[at : at + size]) for at in range(0, len(data), size))
        assert made + compressor.flush() == whole


def test_random_access_decodes_a_group_from_its_start(monkeypatch: pytest.MonkeyPatch) -> None:
    data = ToyModel().speak(360)
    made = compress(data, block_size=40, group_size=120)
    assert groups_of(made) == [True, False, False] * 3
    decoded: list[int] = []
    decode = blocks.decompress

    def counting(block: container.Block, *rest: Any) -> bytes:
        content = decode(block, *rest)
        decoded.append(data.index(content) // 40)
        return content

    monkeypatch.setattr(blocks, "decompress", counting)
    with LmzFile(io.BytesIO(made), model=ToyModel(), memory=1 << 40) as file:  # bounded: no group is kept
        for at, expected in (
            (330, [6, 7, 8]),
            (200, [3, 4, 5]),
            (130, [3]),
            (170, [4]),
            (245, [6]),
            (325, [7, 8]),
            (281, [6, 7]),
        ):
            decoded.clear()
            file.seek(at)
            assert file.read(1) == data[at : at + 1]
            assert decoded == expected, at


@pytest.mark.long
def test_a_damaged_block_spoils_the_rest_of_its_group() -> None:
    """For random access as for salvage: what is stored, and the groups beside, are as whole as ever."""
    size, noise = 4096, random.Random(1).randbytes(4096)
    parts = [ToyModel().speak(size, seed) for seed in range(5)]
    parts.insert(2, noise)
    made = bytearray(compress(b"".join(parts), block_size=size, group_size=4 * size))
    (member,) = filemap.walk_file(io.BytesIO(made))
    kinds = [container.KIND_NAMES[block.header.kind] for block in member.blocks if block.header]
    assert kinds == ["model", "model", "stored", "model", "model", "model"]
    assert groups_of(bytes(made)) == [True, False, False, False, True, False]
    made[member.blocks[1].offset + member.blocks[1].size // 2] ^= 1
    with pytest.raises(FormatError, match=r"^block 2 \(content bytes 4096 to 8191\): payload check is wrong"):
        decompress(bytes(made))
    content, damages = llmzip.salvage(bytes(made), ToyModel())
    assert content == b"".join(parts[i] for i in (0, 2, 4, 5))
    assert [damage.content_start for damage in damages] == [4096, 12288]
    assert "block 4 (content bytes 12288 to 16383): it goes on from a block that is damaged" in str(damages[1].error)
    with LmzFile(io.BytesIO(made), model=ToyModel()) as file:
        for i in (4, 0, 1, 5, 3, 0, 4):
            file.seek(sum(map(len, parts[:i])))
            if i in (1, 3):
                with pytest.raises(FormatError, match="block 2"):
                    file.read(5)
            else:
                assert file.read(5) == parts[i][:5]


# Groups side by side


WORDS = ToyModel().speak(1200)


def test_progress_never_goes_back_where_groups_are_decoded_side_by_side() -> None:
    made = compress(WORDS, block_size=100, group_size=300)
    told: list[tuple[int, int]] = []
    decompressor = LmzDecompressor(ToyModel(), threads=4, side_by_side=True, progress=lambda *now: told.append(now))
    assert decompressor.decompress(made) == WORDS
    assert told == [(max(x for x, _ in told[: i + 1]), max(y for _, y in told[: i + 1])) for i in range(len(told))]
    assert told[-1] == (len(made), len(WORDS))


def test_threads_end_where_the_decoder_is_given_up() -> None:
    """Else a program that cannot write, or has found damage, waits for groups that nobody wants before it ends."""
    made = compress(WORDS, block_size=100, group_size=300)
    before = set(threading.enumerate())
    decompressor = LmzDecompressor(ToyModel(), threads=4, side_by_side=True)
    assert decompressor.decompress(made, 1) == WORDS[:1]
    started = set(threading.enumerate()) - before
    assert started
    gc.disable()
    try:
        del decompressor
        for thread in started:
            thread.join(60)
        assert not any(thread.is_alive() for thread in started)
    finally:
        gc.enable()


def test_a_bad_block_stays_bad_where_groups_are_decoded_side_by_side() -> None:
    """Asked again, the decoder does not go on to the next block as if it were this one."""
    made = bytearray(compress(WORDS, block_size=100, group_size=300))
    (member,) = filemap.walk_file(io.BytesIO(made))
    damaged = member.blocks[1].offset + member.blocks[1].size - 1
    made[damaged] ^= 1  # of the content check: it is found when the block has been decoded
    decompressor = LmzDecompressor(ToyModel(), threads=4, side_by_side=True)
    assert decompressor.decompress(bytes(made), 100) == WORDS[:100]
    for _ in range(5):
        with pytest.raises(ChecksumError, match="block 2 "):
            decompressor.decompress(b"", 100)


def test_what_breaks_off_side_by_side_stays_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    made = compress(WORDS, block_size=100, group_size=300)
    decompressor = LmzDecompressor(ToyModel(), threads=4, side_by_side=True)
    with monkeypatch.context() as patch:
        patch.setattr(blocks, "decompress", raise_interrupt)
        with pytest.raises(KeyboardInterrupt):
            decompressor.decompress(made)
    with pytest.raises(FormatError, match=r"block 1 .* broken off"):
        decompressor.decompress(b"")


def raise_interrupt(*args: object, **options: object) -> bytes:
    raise KeyboardInterrupt


def test_nothing_follows_what_has_failed_to_be_compressed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A block is lost that was worked on: the member must not be finished as if it were whole."""
    compressor = LmzCompressor(ToyModel(), block_size=100, line_bits=14)
    compressor.compress(WORDS[:50])
    with monkeypatch.context() as patch:
        patch.setattr(blocks, "compress", raise_interrupt)
        with pytest.raises(KeyboardInterrupt):
            compressor.compress(WORDS)
    finishes: list[Callable[[], bytes]] = [
        lambda: compressor.compress(b"more"),
        compressor.end_member,
        compressor.flush,
    ]
    for finish in finishes:
        with pytest.raises(ValueError, match="failed"):
            finish()


@pytest.mark.parametrize("most", [0, 1])
def test_threads_that_cannot_be_started_are_not_missed(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    """As at a limit of the system: those that there are do the work of the others."""
    start, started = threading.Thread.start, []

    def start_few(thread: threading.Thread) -> None:
        started.append(thread)
        if len(started) > most:
            raise RuntimeError("can't start new thread")
        start(thread)

    def job(number: int, progress: workers.Progress) -> Iterator[int]:
        for i in range(3):
            progress(i)
            yield 3 * number + i

    monkeypatch.setattr(threading.Thread, "start", start_few)
    assert list(workers.run([partial(job, number) for number in range(4)], 4)) == list(range(12))


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Of each time that jobs are done side by side: how many, and by how many threads."""
    asked: list[tuple[int, int]] = []
    run = workers.run

    def watched(jobs: Any, n_threads: int, *rest: Any) -> Any:
        asked.append((len(jobs), n_threads))
        return run(jobs, n_threads, *rest)

    monkeypatch.setattr(workers, "run", watched)
    return asked


def test_no_more_groups_side_by_side_than_threads(asked: list[tuple[int, int]]) -> None:
    """Even where many groups are known at once."""
    data = bytes(range(256)) * 12 + WORDS * 5
    made = compress(data, block_size=1024, group_size=1024, threads=2)
    assert decompress(made) == data
    assert max(n for n, _ in asked) > 2 and {n for _, n in asked} == {2}


@pytest.mark.parametrize("side_by_side", [False, True])
def test_a_file_is_read_ahead_so_that_its_first_groups_are_decoded_side_by_side(
    asked: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch, side_by_side: bool
) -> None:
    """Where it is not read ahead, each block is given out as soon as it has come."""
    made = compress(WORDS, block_size=100, group_size=300)
    asked.clear()
    file, source = io.BytesIO(made), ModelSource(ToyModel(), threads=2)
    monkeypatch.setattr(reading, "CHUNK_SIZE", 20)
    reader = MemberReader(file.read, source, side_by_side=side_by_side)
    first = reader.read1(len(WORDS))
    assert first == WORDS[:100] and (file.tell() == len(made)) == side_by_side
    assert first + reader.read() == WORDS
    assert asked == ([(2, 2), (2, 2)] if side_by_side else [])


@pytest.mark.parametrize("n_here", [0, 1, 3])
def test_of_a_pipe_what_is_there_is_read_ahead(
    asked: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch, n_here: int
) -> None:
    """And nothing is waited for: with one group there, it is given out before the next has come."""
    made = compress(WORDS, block_size=100, group_size=100)
    n_blocks = len(WORDS) // 100
    (member,) = filemap.walk_file(io.BytesIO(made))
    ends = [block.offset + block.size for block in member.blocks]
    file, source = io.BytesIO(made), ModelSource(ToyModel(), threads=2)
    monkeypatch.setattr(reading, "CHUNK_SIZE", 1)
    asked.clear()
    limit = ends[n_here - 1] if n_here else 0
    reader = MemberReader(
        lambda n: file.read(min(n, 9)), source, side_by_side=True, is_here=lambda: file.tell() < limit
    )
    assert reader.read1() == WORDS[:100] and ends[0] <= file.tell() < max(limit, ends[0]) + 9
    assert asked == ([(2, 2)] if n_here == 3 else [])
    assert reader.read() == WORDS[100:] and n_blocks > 3


def member_reader(data: bytes, step: int = 1 << 16, **options: Any) -> MemberReader:
    file = io.BytesIO(data)
    return MemberReader(lambda n: file.read(min(n, step)), ModelSource(ToyModel()), **options)


MEMBERS = compress(TEXT * 2, block_size=60) + compress(b"") + compress(TEXT) + compress(b"end")
CONTENT = TEXT * 3 + b"end"


@pytest.mark.parametrize("step", [1, 7, 1 << 16])
@pytest.mark.parametrize("padding", [0, 1, 70000])
def test_members_read_as_one_from_pieces_of_any_size(step: int, padding: int) -> None:
    data = MEMBERS + bytes(padding if step > 1 else min(padding, 100))
    told: list[tuple[int, int]] = []
    members = member_reader(data, step, progress=lambda n_in, n_out: told.append((n_in, n_out)))
    assert members.read(5) == CONTENT[:5]
    assert members.n_out == 5
    assert CONTENT[5:].startswith(members.read1(1)) and CONTENT[6:].startswith(members.read1())
    rest = members.read()
    assert CONTENT.endswith(rest)
    assert members.read() == members.read1() == members.read(9) == b""
    assert (members.n_in, members.n_out) == (len(data), len(CONTENT))
    assert told == sorted(told) and told[-1] == (len(MEMBERS), len(CONTENT))


def test_what_is_whole_can_be_had_after_an_error() -> None:
    damaged = bytearray(MEMBERS)
    damaged[MEMBERS.index(compress(TEXT)) + 12] ^= 1
    members = member_reader(bytes(damaged))
    for _ in range(2):
        with pytest.raises((ChecksumError, FormatError), match=r"block 1 of member 3 \(content bytes 104 to 155\)"):
            members.read()
    assert members.read1() == TEXT * 2
    with pytest.raises((ChecksumError, FormatError)):
        members.read1()


@pytest.mark.parametrize("tail", [b"\n", b"\0\n", bytes(70000) + b"\xfc", bytes(9) + compress(TEXT)])
def test_only_zeros_up_to_the_end_are_padding(tail: bytes) -> None:
    members = member_reader(MEMBERS + tail)
    for _ in range(2):
        with pytest.raises(FormatError, match="after the end of member 4"):
            members.read()
    with pytest.raises(FormatError, match=r"not an \.lmz file"):
        member_reader(bytes(100)).read()


@pytest.mark.long
def test_max_size_counts_the_members_together_before_they_are_decoded() -> None:
    assert member_reader(MEMBERS, limits=Limits(max_size=len(CONTENT))).read() == CONTENT
    for max_size in range(len(CONTENT)):
        members = member_reader(MEMBERS, limits=Limits(max_size=max_size))
        given = b""
        with pytest.raises(LimitExceeded, match=rf"above the limit of {max_size}$"):
            while piece := members.read1():
                given += piece
        assert len(given) <= max_size and CONTENT.startswith(given)
    huge = container.create_preamble() + container.create_block(
        replace(container.stored_block(b"x"), kind=container.CM, n_bytes=1 << 26),
        last=True,
        before=container.create_preamble(),
    )
    with pytest.raises(LimitExceeded, match="67108864 bytes or more"):  # by the header, before the payload is there
        member_reader(huge[:-11], limits=Limits(max_size=1 << 20)).read()
    with pytest.raises(
        LimitExceeded, match=r"^block 1 \(content bytes 0 to 67108863\): decoding takes \d+ bytes of memory"
    ):
        member_reader(huge[:-11], limits=Limits(memory=1 << 20)).read()


def test_a_reader_without_bytes_at_hand_is_not_at_its_end() -> None:
    pieces: list[bytes | None] = [MEMBERS[:30], None, MEMBERS[30:], b""]
    members = MemberReader(lambda n: pieces.pop(0) if pieces else b"", ModelSource(ToyModel()))
    with pytest.raises(BlockingIOError):
        members.read()
    assert members.read() == CONTENT


@pytest.mark.long
def test_many_empty_members_are_read_in_bounded_memory() -> None:
    """What is held at a time does not grow with the number of members."""
    peaks = []
    for n_members in (2_000, 20_000):
        file = io.BytesIO(compress(b"") * n_members)
        members = MemberReader(file.read, ModelSource())
        tracemalloc.start()
        assert members.read() == b""
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert members.n_in == 7 * n_members
    assert peaks[1] < 4 * CHUNK_SIZE
