"""llmzip.bzip2: libbz2 is the oracle, as Python has it; C and Python say the same. And bzip2 streams in files."""

import ast
import bz2
import io
import random
import shutil
import subprocess
import sys
import tarfile
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from opened import drawing, gzipped, open_content, png, prose

import llmzip
from llmzip import bzip2, native, openings
from llmzip.bzip2 import fused, reference
from llmzip.container import max_opened_size
from llmzip.errors import FormatError
from llmzip.models.toy import ToyModel
from llmzip.openings import finding, views
from llmzip.openings.bzip2 import BZIP2
from llmzip.openings.numbers import Numbers
from llmzip.stream import LmzCompressor

MODEL = ToyModel()
FOLDER = Path(bzip2.__file__).parent
MOST = 1 << 22
ENGINES = [reference] if native.library is None else [fused, reference]
needs_kernels = pytest.mark.skipif(native.library is None, reason="no compiled kernels: the twin alone is slow")


def made(engine: object, plain: bytes, level: int) -> bytes:
    return b"BZh%d" % level + b"".join(engine.blocks(memoryview(plain), level))  # type: ignore[attr-defined]


def repeats_itself(plain: bytes) -> bool:
    """Whether some rotations of its only block are the same."""
    ((_, block),) = reference._filled(plain, reference.UNIT)
    return (block + block).find(block, 1) < len(block)


def of_runs(lengths: list[int], letters: bytes = b"ab") -> bytes:
    return b"".join(letters[i % len(letters) :][:1] * length for i, length in enumerate(lengths))


def kinds(n: int) -> dict[str, bytes]:
    chance = random.Random(n)
    return {
        "words": prose(n),
        "noise": chance.randbytes(n),
        "two letters": bytes(chance.choices(b"ab", k=n)),
        "few": bytes(chance.choices(b"etaoin shr\n", weights=[2**i for i in range(11)], k=n)),
        "records": b"".join(i.to_bytes(4, "little") + b"\0\1\2" for i in range(n // 7)),
        "runs": of_runs([chance.choice([1, 2, 3, 4, 5, 254, 255, 256, 259, 600]) for _ in range(n // 200)], b"abcde"),
        "one letter": b"x" * n,
        "nearly periodic": b"abcab" * (n // 5) + b"c",
    }


# Streams


@pytest.mark.parametrize("engine", ENGINES)
def test_nothing(engine: object) -> None:
    assert made(engine, b"", 9) == bytes.fromhex("425a683917724538509000000000")


@pytest.mark.parametrize("level", range(1, 10))
def test_levels(level: int) -> None:
    for plain in kinds(3000 + level).values():
        for engine in ENGINES:
            assert made(engine, plain, level) == bz2.compress(plain, level)


@pytest.mark.parametrize("engine", ENGINES)
def test_runs_of_all_lengths(engine: object) -> None:
    for length in (*range(1, 8), *range(250, 264), *range(508, 518), 764, 765, 766, 1021):
        for plain in (b"b" + b"a" * length + b"c", of_runs([length, 1, length, 3, length + 1])):
            assert made(engine, plain, 1) == bz2.compress(plain, 1)


@needs_kernels
@pytest.mark.parametrize("kind", kinds(700))
def test_longer_than_a_block(kind: str) -> None:
    plain = kinds(210_000)[kind]
    assert bzip2.compress(plain, 1) == bz2.compress(plain, 1)


@needs_kernels
def test_where_a_block_is_full() -> None:
    """Whatever stands there: nothing, a byte, a run that goes over."""
    full = 100_000 - 19
    noise = bytes(random.Random(1).choices(b"abcdefgh", k=full))
    noise = bytes(byte + 8 * (i & 1) for i, byte in enumerate(noise))  # without runs
    for n in range(full - 3, full + 2):
        for end in (b"", b"x", b"xy", b"x" * 3, b"x" * 4, b"x" * 300, b"x" * 255 + b"y"):
            plain = noise[:n] + end
            assert bzip2.compress(plain, 1) == bz2.compress(plain, 1)


def test_the_twin_of_more_than_a_block() -> None:
    plain = kinds(102_000)["words"]
    assert made(reference, plain, 1) == bz2.compress(plain, 1)


ANYTHING = st.binary(max_size=300) | st.builds(
    of_runs,
    st.lists(st.integers(1, 9) | st.integers(250, 260), max_size=20),
    st.sampled_from([b"ab", b"abac", b"\0\4"]),
)


@given(ANYTHING, st.integers(1, 9))
def test_anything(plain: bytes, level: int) -> None:
    streams = [made(engine, plain, level) for engine in ENGINES]
    assert bz2.decompress(streams[0]) == plain and streams[0] == streams[-1]
    assume(plain and not repeats_itself(plain))
    assert streams[0] == bz2.compress(plain, level)


@given(st.binary(min_size=1, max_size=12), st.integers(2, 50))
def test_what_repeats_itself(part: bytes, times: int) -> None:
    """Which of the rotations that are the same comes first is not for us to know; nearly always it is as here."""
    streams = [made(engine, part * times, 1) for engine in ENGINES]
    assert bz2.decompress(streams[0]) == part * times and streams[0] == streams[-1]
    assert made(ENGINES[0], b"banana" * times, 1) == bz2.compress(b"banana" * times, 1)


def test_codes_that_are_too_long_are_shortened(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of bytes of which each is less frequent than another by the same factor, and many that hardly occur."""
    greatest: list[int] = []

    def noting(weights: list[int]) -> list[int]:
        lengths = try_lengths(weights)
        greatest.append(max(lengths))
        return lengths

    try_lengths = reference._try_lengths
    monkeypatch.setattr(reference, "_try_lengths", noting)
    weights = [1.46**-i for i in range(20)]
    plain = bytes(range(256)) + bytes(random.Random(55).choices(range(20), weights, k=99_000))
    for engine in ENGINES:
        assert made(engine, plain, 1) == bz2.compress(plain, 1)
    assert max(greatest) > reference.MOST_LENGTH


@pytest.mark.parametrize("n_symbols", [200, 600, 1200, 2400])
def test_how_many_tables(n_symbols: int) -> None:
    """By the count of symbols, which noise has about as many of as bytes."""
    for n in range(n_symbols - 5, n_symbols + 8):
        plain = random.Random(n).randbytes(n)
        for engine in ENGINES:
            assert made(engine, plain, 1) == bz2.compress(plain, 1)


def test_makes() -> None:
    plain = prose(5000)
    stream = bz2.compress(plain, 3)
    assert bzip2.makes(stream, plain, 3)
    for other in (stream[:-1], stream + b"x", stream[:-1] + b"x", b"BZh4" + stream[4:], b""):
        assert not bzip2.makes(other, plain, 3)
    with pytest.raises(ValueError):
        bzip2.compress(plain, 0)


@needs_kernels
def test_without_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    assert bzip2.engine is fused
    plain = prose(4000)
    stream = bzip2.compress(plain, 9)
    monkeypatch.setattr(bzip2, "engine", reference)
    assert bzip2.compress(plain, 9) == stream


@needs_kernels
@pytest.mark.parametrize("n_bytes", [0, 5000, 1_100_000])
def test_memory(n_bytes: int) -> None:
    plain = b"aaaab" * (n_bytes // 5)  # each run of four takes five
    tracemalloc.start()
    n_made = sum(map(len, fused.blocks(memoryview(plain), 9)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert bzip2.memory_needed(n_bytes) // 2 < peak < bzip2.memory_needed(n_bytes) + n_made


def test_no_libbz2_inside() -> None:
    for path in FOLDER.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_bytes())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import | ast.ImportFrom) else []
            assert "bz2" not in names and getattr(node, "module", "") != "bz2", path


# Openings


def opened(content: bytes) -> dict[str, int]:
    """How many streams of each kind are opened; they lead back."""
    opening = open_content(content, max_body=MOST)
    if opening is None:
        return {}
    assert openings.close_content(opening.body, opening.side, len(content)).content == content
    return {kind.name: kind.n_streams for kind in opening.found}


def tarred(files: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return file.getvalue()


def others(plain: bytes) -> bytes:
    """A stream of another producer."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reference, "ROUNDS", 1)
        stream = made(reference, plain, 9)
    assert bz2.decompress(stream) == plain and stream != bz2.compress(plain)
    return stream


TAR = tarred(
    {"notes.txt.bz2": bz2.compress(prose(3000, 1)), "a.png": png(drawing(80, 40), 80), "b.gz": gzipped(prose(900))}
)


def test_streams_in_anything() -> None:
    assert opened(b"before" + bz2.compress(prose(3000)) + b"after") == {"bzip2": 1}
    assert opened(b"".join(bz2.compress(prose(2000, i)) for i in range(20))) == {"bzip2": 20}
    assert opened(bz2.compress(bz2.compress(prose(9000)) + prose(3000))) == {"bzip2": 2}
    assert opened(TAR) == {"bzip2": 1, "png": 1, "gzip": 1}
    assert opened(bz2.compress(TAR)) == {"bzip2": 2, "png": 1, "gzip": 1}
    assert opened(gzipped(bz2.compress(prose(3000)) * 2)) == {"gzip": 1, "bzip2": 2}


def test_the_body_is_what_they_hold() -> None:
    texts = [prose(2000, i) for i in range(20)]
    opening = open_content(b"".join(map(bz2.compress, texts)), max_body=MOST)
    assert opening is not None and opening.body == b"".join(texts)
    assert len(opening.side) < 70


@pytest.mark.parametrize(
    "content",
    [
        bz2.compress(b"short"),
        bz2.compress(b""),
        bz2.compress(bytes(1 << 20)),  # more than 200 times as long
        bz2.compress(prose(3000))[:-1],
        b"BZh91AY&SY" * 500,
        others(prose(3000)),
    ],
)
def test_what_stays_closed(content: bytes) -> None:
    assert opened(content) == {}


def test_others_beside_ours() -> None:
    assert opened(others(prose(3000)) + bz2.compress(prose(3000))) == {"bzip2": 1}


@pytest.mark.skipif(shutil.which("lbzip2") is None, reason="no lbzip2")
def test_lbzip2() -> None:
    """Its codes are others."""
    stream = subprocess.run(["lbzip2", "-n1"], input=prose(100_000), capture_output=True, check=True).stdout
    assert opened(stream) == {}


@pytest.mark.skipif(shutil.which("pbzip2") is None, reason="no pbzip2")
def test_pbzip2() -> None:
    file = subprocess.run(
        ["pbzip2", "-1", "-b1", "-p2", "-c"], input=prose(250_000), capture_output=True, check=True
    ).stdout
    assert opened(file) == {"bzip2": 3}


def test_damage_anywhere() -> None:
    content, chance = bz2.compress(prose(3000)) + bz2.compress(prose(2000, 1)), random.Random(3)
    for _ in range(60):
        damaged = bytearray(content)
        damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
        assert opened(bytes(damaged)) in ({"bzip2": 1}, {})


def test_depth_is_bounded() -> None:
    content = prose(3000)
    for _ in range(views.MAX_DEPTH + 3):
        content = bz2.compress(b"some text before " + content)
    assert opened(content) == {"bzip2": views.MAX_DEPTH + 1}


def test_without_bz2(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pythons are built without it: then nothing is opened, but what is can be closed."""
    content = bz2.compress(prose(3000))
    opening = open_content(content, max_body=MOST)
    assert opening is not None
    monkeypatch.setitem(sys.modules, "bz2", None)
    assert open_content(content, max_body=MOST) is None
    assert openings.close_content(opening.body, opening.side, len(content)).content == content


def searched(content: bytes) -> openings.Search:
    """After a search that finds nothing."""
    search = openings.Search(MOST, MOST, lambda plain, n_closed, row: True)
    assert not list(search.nodes(content))
    return search


def wrong(plain: bytes) -> bytes:
    """A stream that is found wrong at the end of its block."""
    stream = bytearray(bz2.compress(plain))
    stream[10] ^= 1
    return bytes(stream)


@pytest.mark.parametrize("stream", [b"BZh91AY&SY", bz2.compress(prose(3000))[:-5] + b"wrong", others(prose(3000))])
def test_headers_and_others_are_not_tried_for_ever(stream: bytes) -> None:
    search = searched(stream * 100)
    assert 0 < search.most_lost_bzip2 < search.n_lost_bzip2 <= search.most_lost_bzip2 + finding.LOST_BZIP2 + 3000


def test_what_a_wrong_block_holds_is_counted() -> None:
    """Runs: 42 bytes that hold 3 MiB."""
    n_lost = searched(wrong(bytes(3 << 20))).n_lost_bzip2
    assert n_lost > 2 << 20


def test_streams_in_streams_are_not_opened_beyond_what_a_block_may_have() -> None:
    """Each holds less than 200 times as much, the two of them 39 000 times."""
    inner = bz2.compress(b"the cat sat on a mat. " * 814)
    content = bz2.compress(inner * 760)
    search = openings.Search(MOST, MOST, lambda plain, n_closed, row: True)
    (node,) = search.nodes(content)
    assert node.inside and node.n_body <= max_opened_size(len(content)) + len(node.plain)


def test_no_more_is_unpacked_than_may_be() -> None:
    stream = bz2.compress(bytes(3 << 20))
    for most in (0, 1000, 1 << 20):
        plain, size, is_cut = BZIP2.unpack(stream, 0, most)
        assert (len(plain), size, is_cut) == (most + 1, 0, False)
    assert BZIP2.unpack(stream + b"after", 0, 3 << 20) == (bytes(3 << 20), len(stream), False)
    assert BZIP2.unpack(stream[:-1], 0, 3 << 20) == (bytes(3 << 20), 0, True)


# Bounds


def side_of(level: int) -> bytes:
    """Of one stream that holds 30 bytes."""
    numbers, kind = Numbers(), views.KINDS.index(BZIP2)
    for name, value in (("window", 0), ("nodes", 1), (("kind", 0), kind), (("bzip2", "gap"), 0)):
        numbers.number(name, value)
    for name, value in (("level", level), ("size", 30), ("inside", 0)):
        numbers.number((kind, name), value)
    return numbers.finish()


def test_levels_that_there_are_not() -> None:
    assert openings.close_content(bytes(range(30)), side_of(9), 200).content == bz2.compress(bytes(range(30)))
    for level in (0, 10, 1 << 30):
        with pytest.raises(FormatError):
            openings.close_content(bytes(range(30)), side_of(level), 200)
    with pytest.raises(FormatError):
        openings.close_content(bytes(range(30)), side_of(9), 40)


@pytest.mark.parametrize("outer", [bytes, bz2.compress])
def test_a_block_has_so_many_bytes_of_them(outer: type, monkeypatch: pytest.MonkeyPatch) -> None:
    content = outer(bz2.compress(prose(3000)) + prose(500) + bz2.compress(prose(2000)))
    opening = open_content(content, max_body=MOST)
    assert opening is not None
    n_bytes = sum(kind.n_after for kind in opening.found)
    monkeypatch.setattr(views, "MAX_BZIP2", n_bytes)
    assert openings.close_content(opening.body, opening.side, len(content)).content == content
    monkeypatch.setattr(views, "MAX_BZIP2", n_bytes - 1)
    with pytest.raises(FormatError, match="bzip2"):
        openings.close_content(opening.body, opening.side, len(content))
    monkeypatch.setattr(finding, "MAX_BZIP2", n_bytes - 1)
    nodes = list(openings.Search(MOST, MOST, lambda plain, n_closed, row: True).nodes(content))
    assert all(node.n_bzip2 < n_bytes for node in nodes)


def test_more_than_a_block_may_have_are_in_several(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (views, finding, openings):
        monkeypatch.setattr(module, "MAX_BZIP2", 4000)
    content = b"".join(bz2.compress(prose(1500, i)) for i in range(8))
    file = llmzip.compress(content, MODEL, level=1)
    assert llmzip.decompress(file, MODEL) == content
    assert [dict(block.opened).get("bzip2", 0) for block in llmzip.get_info(file).blocks] == [2, 2, 2, 2]


# Files


FILES = {
    "one": bz2.compress(prose(6000)),
    "several": b"".join(bz2.compress(prose(3000, i), 1) for i in range(3)),
    "of a tar": bz2.compress(TAR),
}


@pytest.mark.parametrize("name", FILES)
def test_files(name: str) -> None:
    content = FILES[name]
    file = llmzip.compress(content, MODEL, level=1)
    assert llmzip.decompress(file, MODEL) == content
    assert len(file) < 0.9 * len(llmzip.compress(content, MODEL, level=1, opens=False))


def test_the_pieces_in_which_content_comes_do_not_matter() -> None:
    noise = random.Random(4).randbytes(9000)
    content = (
        prose(3000) + bz2.compress(prose(30_000)) + noise + bz2.compress(prose(2000)) * 3 + bz2.compress(noise)[:500]
    )
    files = set()
    for step in (701, len(content)):
        compressor = LmzCompressor(MODEL, block_size=1 << 12, share=0.0, line_bits=12, threads=1)
        pieces = [compressor.compress(content[at : at + step]) for at in range(0, len(content), step)]
        files.add(b"".join([*pieces, compressor.flush()]))
    (file,) = files
    assert llmzip.decompress(file, MODEL) == content
    assert sum(dict(block.opened).get("bzip2", 0) for block in llmzip.get_info(file).blocks) == 4
