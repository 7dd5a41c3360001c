"""llmzip.damage: what is whole of a damaged file comes out, in its order, and never a byte that was not compressed."""

import io
import random
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import pytest
from coding import cm_block, grouped, member_of, model_block, remembering
from hypothesis import given
from hypothesis import strategies as st
from tiers import mostly_long

import llmzip
from llmzip import blocks, container, filemap
from llmzip.blocks import Memory
from llmzip.damage import Damage, salvage
from llmzip.errors import EngineMismatch, LimitExceeded, LlmzipError
from llmzip.models.toy import ToyModel
from llmzip.stream import ModelSource

MODEL = ToyModel()
SOURCE = ModelSource(MODEL)


def make_block(content: bytes, memory: Memory) -> container.Block:
    """Texts by the model, those that end in a dot without it; the rest is stored."""
    if content.endswith(b"."):
        return cm_block(content, memory)
    return model_block(MODEL, content, memory) if content in TEXTS else container.stored_block(content)


def member(*contents: bytes, begins: tuple[int, ...] = ()) -> bytes:
    """A long member with a block for each of the contents."""
    return member_of(grouped(contents, make_block, begins), contents, MODEL.fingerprint)


TEXTS = [MODEL.speak(40 + seed, seed) for seed in range(8)]
NOISE = [random.Random(seed).randbytes(30 + seed) for seed in range(4)]
TABLE = b"the rain in the plain and the rain in Spain."
# The members: of several blocks in two groups, of one, short ones, an empty one. Each content is another.
CONTENTS = [TEXTS[0], NOISE[0], TEXTS[1], TABLE, TEXTS[2], NOISE[3], TEXTS[6]]
MEMBERS = [
    member(*CONTENTS, begins=(4,)),
    member(TEXTS[3]),
    llmzip.compress(b""),
    llmzip.compress(TEXTS[4], MODEL),
    llmzip.compress(NOISE[1]),
    member(TEXTS[5], NOISE[2]),
]
FILE = b"".join(MEMBERS)


@pytest.fixture(autouse=True, scope="module")
def each_block_is_decoded_once() -> Iterator[None]:
    """Thousands of files are read that differ in one block."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "decompress", remembering(blocks.decompress))
        yield


def pieces(data: bytes, **options: Any) -> list[bytes | Damage]:
    return list(salvage(io.BytesIO(data), SOURCE, **options))


def whole(found: list[bytes | Damage]) -> bytes:
    return b"".join(piece for piece in found if isinstance(piece, bytes))


BLOCKS = [piece for piece in pieces(FILE) if isinstance(piece, bytes) and piece]


def test_the_file_is_what_these_tests_need() -> None:
    info = llmzip.get_info(FILE)
    assert [len(m.blocks) for m in info.members] == [7, 1, 1, 1, 1, 2]
    assert {block.kind for block in info.blocks} == {"model", "cm", "stored"}
    assert [block.begins_group for block in info.members[0].blocks] == [True, False, False, False, True, False, False]
    assert len(set(BLOCKS)) == len(BLOCKS) == 12


def test_what_is_whole_comes_out_whole() -> None:
    assert llmzip.salvage(FILE, MODEL) == (llmzip.decompress(FILE, MODEL), [])
    assert llmzip.salvage(FILE + bytes(100), MODEL) == (llmzip.decompress(FILE, MODEL), [])


def check(damaged: bytes) -> list[bytes | Damage]:
    """Only what was compressed comes out, in its order, and what is told of the damage is true."""
    found = pieces(damaged)
    given = [piece for piece in found if isinstance(piece, bytes) and piece]
    assert all(block in BLOCKS for block in given)
    places = [BLOCKS.index(block) for block in given]
    assert places == sorted(set(places))
    at = 0
    for piece in found:
        if isinstance(piece, Damage):
            assert at <= piece.file_start <= piece.file_end <= len(damaged)
            at = piece.file_end
    return found


def check_ranges(found: list[bytes | Damage]) -> None:
    """Where the content of a damage is known, the blocks before and after it lie just there in the content."""
    content = b"".join(BLOCKS)
    at: int | None = 0
    for piece in found:
        if isinstance(piece, Damage):
            assert piece.content_start == at
            at = piece.content_end
        elif at is not None:
            assert content[at : at + len(piece)] == piece
            at += len(piece)


ENTRIES = [(made, entry) for made in filemap.walk_file(io.BytesIO(FILE)) for entry in made.blocks if entry.n_bytes]
HEADER_SIZES = [entry.header.size if entry.header is not None else 0 for _, entry in ENTRIES]
IS_STORED = [entry.header is not None and entry.header.kind == container.STORED for _, entry in ENTRIES]
# Where they begin and end. What a short member begins with is under its only check.
PLACES = [(made.offset if made.preamble.short else entry.offset, entry.offset + entry.size) for made, entry in ENTRIES]


def touched(start: int, end: int) -> set[int]:
    return {i for i, (begins, ends) in enumerate(PLACES) if start < ends and end > begins}


def spoilt(lost: set[int], unknown: Collection[int] = ()) -> set[int]:
    """The blocks that are lost with these: what goes on from them.

    What is stored, if that is known, goes on from nothing.
    """
    found, gone = set(lost), False
    for i, (_, entry) in enumerate(ENTRIES):
        gone = gone and not entry.begins_group
        if gone and not IS_STORED[i]:
            found.add(i)
        gone = gone or (i in lost and (i in unknown or not IS_STORED[i]))
    return found


def test_what_is_spoilt() -> None:
    assert spoilt({0}) == {0, 2, 3} and spoilt({1}) == {1} and spoilt({3}) == {3} and spoilt({4}) == {4, 6}
    assert spoilt({1}, {1}) == {1, 2, 3}


@pytest.mark.parametrize("change", mostly_long([1, 0x80, 0xFF], [1]))
def test_one_damaged_byte_costs_the_rest_of_a_group(change: int) -> None:
    n_lost = set()
    for at in range(len(FILE)):
        damaged = bytearray(FILE)
        damaged[at] ^= change
        found = check(bytes(damaged))
        check_ranges(found)
        first, *others = (piece for piece in found if isinstance(piece, Damage))
        assert first.file_start <= at < first.file_end
        assert all("goes on from a block that is damaged" in str(other.error) for other in others), at
        lost = {i for i, block in enumerate(BLOCKS) if block not in found}
        assert lost in (set(), spoilt(touched(at, at + 1))), at  # none: in a header that is repaired, or in no block
        assert len(others) == max(0, len(lost) - 1)
        n_lost.add(len(lost))
    assert n_lost == {0, 1, 2, 3}


def test_a_cut_file_gives_what_is_before_the_cut() -> None:
    ends = {0}  # of the members
    for part in MEMBERS:
        ends.add(max(ends) + len(part))
    for n in range(len(FILE)):
        found = check(FILE[:n])
        check_ranges(found)
        damages = [piece for piece in found if isinstance(piece, Damage)]
        assert len(damages) == (n not in ends) or n == 0
        assert all(damage.file_end == n and isinstance(damage.error, EOFError) for damage in damages)


@pytest.mark.long
def test_a_damaged_stretch_costs_the_groups_it_touches() -> None:
    """Zeros over any stretch of a file of one member: its index tells where the blocks are."""
    data = MEMBERS[0]
    entries = filemap.map_file(io.BytesIO(data))[0].blocks
    for start in range(container.PREAMBLE_SIZE, entries[-1].offset, 5):
        for size in (2, 8, 30, 64):
            end = min(start + size, entries[-1].offset + entries[-1].size)
            damaged = data[:start] + bytes(end - start) + data[end:]
            found = check(damaged)
            check_ranges(found)
            headless = {i for i in touched(start, end) if start < PLACES[i][0] + HEADER_SIZES[i]}
            lost = spoilt(touched(start, end), headless)
            for i, content in enumerate(CONTENTS):
                assert content in found or i in lost, (start, size, i)


@pytest.mark.long
@given(st.data())
def test_other_damage_never_gives_wrong_bytes(data: st.DataObject) -> None:
    made = bytearray(FILE)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(made) - 1))
        made[at : at + data.draw(st.integers(0, 60))] = data.draw(st.binary(max_size=60))
    found = pieces(bytes(made))
    assert all(piece in BLOCKS for piece in found if isinstance(piece, bytes) and piece)


def test_one_byte_of_a_header_is_repaired() -> None:
    """A file that is cut, and has a damaged header: what goes on from the block behind it is whole, too."""
    data = MEMBERS[0]
    entries = filemap.map_file(io.BytesIO(data))[0].blocks
    cut = data[: entries[3].offset + 20]
    for broken in (1, 2):
        damaged = bytearray(cut)
        damaged[entries[broken].offset] ^= 0xFF  # one byte of a header: its check tells what it was
        found = check(bytes(damaged))
        check_ranges(found)
        assert whole(found) == TEXTS[0] + NOISE[0] + TEXTS[1]
        first, last = (piece for piece in found if isinstance(piece, Damage))
        before = len(b"".join(CONTENTS[:broken]))
        assert (first.file_start, first.content_start, first.content_end) == (entries[broken].offset, before, before)
        assert (last.file_start, last.file_end, last.content_end) == (entries[3].offset, len(cut), None)


def test_a_header_that_is_lost_spoils_its_group() -> None:
    """Without an index: whatever it was, what goes on from it is not read; the next group is."""
    data = MEMBERS[0]
    entries = filemap.map_file(io.BytesIO(data))[0].blocks
    for broken, kept in ((1, {0, 4, 5, 6}), (2, {0, 1, 4, 5, 6})):
        damaged = bytearray(data[: entries[6].offset + entries[6].size])
        damaged[entries[broken].offset : entries[broken].offset + 4] = bytes(4)
        found = pieces(bytes(damaged), doubtful=True)
        assert whole(found) == b"".join(CONTENTS[i] for i in sorted(kept))


def test_a_short_member_that_is_lost_costs_no_other() -> None:
    """It has no index and no header check: the next member is where headers lead to the end from."""
    short = bytearray(MEMBERS[3] + MEMBERS[1] + MEMBERS[5])
    short[1:5] = bytes(4)
    found = pieces(bytes(short))
    assert whole(found) == TEXTS[3] + TEXTS[5] + NOISE[2]
    (lost_member,) = (piece for piece in found if isinstance(piece, Damage))
    assert (lost_member.file_start, lost_member.file_end, lost_member.content_end) == (0, len(MEMBERS[3]), None)


@pytest.mark.parametrize("n_damaged", [1, 16, 40])
def test_a_file_that_is_stored_in_another_is_not_its_content(n_damaged: int) -> None:
    """The header of the block that holds it is gone, and perhaps its own first headers.

    All its other blocks are whole.
    """
    for contents in ([FILE], [FILE, TEXTS[0]], [TEXTS[0], TEXTS[1] * 3 + FILE]):
        outer = member(*contents)
        inside = outer.index(FILE)
        for start in (0, inside - 5, inside - 1):
            for end in (len(outer), len(outer) - 7):
                damaged = bytearray(outer)
                damaged[start : start + n_damaged] = bytes(n_damaged)
                found = pieces(bytes(damaged[:end]))
                assert all(piece in contents for piece in found if isinstance(piece, bytes)), (start, end)


def test_what_is_in_doubt_comes_out_on_demand() -> None:
    """A log that was flushed line by line, cut by a crash, with a bad sector: is what follows it its own?"""
    lines = [MODEL.speak(20, seed) for seed in range(9)]
    members = [llmzip.compress(line, MODEL) for line in lines]
    data = b"".join(members)
    at = len(b"".join(members[:3]))
    damaged = (data[:at] + bytes(len(members[3])) + data[at + len(members[3]) :])[:-2]
    content, (damage,) = llmzip.salvage(damaged, MODEL)
    assert (content, damage.file_start, damage.file_end) == (b"".join(lines[:3]), at, len(damaged))
    content, damages = llmzip.salvage(damaged, MODEL, doubtful=True)
    assert content == b"".join(lines[:3] + lines[4:8])
    assert [(lost.file_start, lost.file_end) for lost in damages] == [
        (at, at + len(members[3])),
        (len(data) - len(members[8]), len(damaged)),
    ]


def test_limits_of_salvage() -> None:
    n_bytes = len(b"".join(BLOCKS))
    assert llmzip.salvage(FILE, MODEL, max_size=n_bytes)[1] == []
    with pytest.raises(LimitExceeded):
        llmzip.salvage(FILE, MODEL, max_size=n_bytes - 1)
    given, damages = llmzip.salvage(FILE, MODEL, memory=1)
    assert given == b""
    assert all(isinstance(damage.error, LimitExceeded) for damage in damages)
    assert len(damages) == len(BLOCKS) + 1, "the member without content, too"


def test_what_is_no_lmz_file() -> None:
    for data in (b"", b"PK\3\4", random.Random(1).randbytes(1 << 12)):
        given, (damage,) = llmzip.salvage(data, MODEL)
        assert given == b""
        assert (damage.file_start, damage.file_end, damage.content_start, damage.content_end) == (0, len(data), 0, None)
        assert isinstance(damage.error, LlmzipError)


def test_paths_and_file_objects_from_where_they_are(tmp_path: Path) -> None:
    cut = FILE[:-30]
    (tmp_path / "x").write_bytes(cut)
    file = io.BytesIO(b"before" + cut)
    file.seek(6)
    given, damages = llmzip.salvage(file, MODEL)
    assert llmzip.salvage(str(tmp_path / "x"), MODEL)[0] == llmzip.salvage(bytearray(cut), MODEL)[0] == given
    assert damages[0].file_end == 6 + len(cut), "in the file, wherever the reading began"


def test_engine_of_another_kind_is_told() -> None:
    class Inexact(ToyModel):
        exact = False
        engine_note = "engine=toy"

    data = llmzip.compress(TEXTS[0] * 3, Inexact())
    assert llmzip.salvage(data, Inexact()) == (TEXTS[0] * 3, [])
    (damage,) = llmzip.salvage(data, MODEL)[1]
    assert isinstance(damage.error, EngineMismatch) and damage.content_end == 3 * len(TEXTS[0])
    assert llmzip.salvage(data, MODEL, ignore_engine=True) == (TEXTS[0] * 3, [])
