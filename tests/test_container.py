"""llmzip.container: pairs of create and parse, the map of a file, and that no declared size is believed."""

import binascii
import io
import struct
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from typing import Any, BinaryIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmzip import container, filemap, primitives
from llmzip.container import Block
from llmzip.errors import FormatError, LlmzipError, TruncatedError, UnsupportedError
from llmzip.filemap import MemberEntry
from llmzip.index import Index, IndexEntry, check_index, create_index, parse_index

PREAMBLE = container.create_preamble(b"\1\2\3\4")


def model_block(n_bytes: int = 100, payload: bytes = b"payload", **fields: Any) -> Block:
    return Block(container.MODEL, n_bytes, payload, bytes(8), **fields)


def member(*blocks: Block, preamble: bytes = PREAMBLE) -> bytes:
    """A member of these blocks, notes included, with its index."""
    state = container.Member(container.parse_preamble(preamble))
    data = preamble
    for i, block in enumerate(blocks):
        made = container.create_block(block, last=i == len(blocks) - 1, before=state.next_before)
        last, begins_group = i == len(blocks) - 1, block.line_bits is not None
        state.add(block.kind, block.n_bytes, len(made), last, begins_group=begins_group)
        data += made
    return data + (create_index(state.index()) if state.has_index else b"")


@given(st.integers(0, (1 << 63) - 1))
def test_varint_round_trip(value: int) -> None:
    data = primitives.create_varint(value)
    assert primitives.parse_varint(data + b"\xff", 0, "x") == (value, len(data))
    assert len(data) == max(1, -(-value.bit_length() // 7))


@pytest.mark.parametrize("data", [b"\x80\x00", b"\xff\x80\x00", b"\x80" * 9 + b"\x01", b"\xff" * 20])
def test_varint_is_shortest_and_bounded(data: bytes) -> None:
    with pytest.raises(FormatError):
        primitives.parse_varint(data, 0, "x")


@pytest.mark.parametrize("data", [b"", b"\x80", b"\xff" * 8])
def test_varint_cut(data: bytes) -> None:
    with pytest.raises(TruncatedError, match="in x"):
        primitives.parse_varint(data, 0, "x")


def test_overheads_that_the_format_promises() -> None:
    assert len(member(container.stored_block(bytes(16383)))) == 16383 + 22
    assert len(member(container.stored_block(bytes(1 << 20)))) == (1 << 20) + 23
    assert len(member(model_block(16383, bytes(16000)))) == 16000 + 24
    assert len(member(model_block(1000, lanes=2))) - len(member(model_block(1000))) == 1
    assert len(member(model_block(1000, line_bits=22))) - len(member(model_block(1000))) == 1


def test_check_values_that_the_format_names() -> None:
    assert primitives.crc16(b"123456789") == 0x29B1  # the check value of CRC-16/IBM-3740
    assert container.create_preamble() == bytes.fromhex("FC4CE100000000")


def test_preamble_round_trip() -> None:
    assert container.parse_preamble(container.create_preamble(bytes(range(32)))).fingerprint == bytes(range(4))
    for n in range(container.PREAMBLE_SIZE):
        with pytest.raises(TruncatedError):
            container.parse_preamble(PREAMBLE[:n])


@pytest.mark.parametrize("version", range(256))
def test_version_bytes(version: int) -> None:
    data = PREAMBLE[:2] + bytes([version]) + PREAMBLE[3:]
    if version == 0xE1:
        assert container.parse_preamble(data).fingerprint == b"\1\2\3\4"
    else:
        newer = version in {(15 - low) << 4 | low for low in range(2, 16)}
        with pytest.raises(UnsupportedError if newer else FormatError):
            container.parse_preamble(data)


@st.composite
def blocks(draw: st.DrawFn) -> Block:
    """Any block that may be written."""
    payload = draw(st.binary(min_size=1, max_size=300))
    kind = draw(st.sampled_from([container.STORED, container.MODEL, container.CM]))
    n_body = len(payload) if kind == container.STORED else draw(st.integers(max(2, len(payload) - 64), 1 << 26))
    n_bytes = n_body
    fields: dict[str, Any] = {
        "line_bits": draw(st.none() | st.integers(container.MIN_LINE_BITS, container.MAX_LINE_BITS))
    }
    if draw(st.booleans()):
        n_bytes = draw(st.integers(-(-n_body // 2), container.MAX_BLOCK_SIZE))
        mask = draw(st.integers(1, sum(container.TRANSFORM_NAMES)).filter(lambda mask: mask & 3 != 3))
        if kind == container.STORED:
            mask = mask & ~container.OPEN or container.BOM
        elif mask & container.OPEN:
            fields["n_opened"] = draw(st.integers(-(-n_body // 2), container.MAX_OPENED_SIZE))
            n_bytes = draw(st.integers(max(1, fields["n_opened"] // 256), container.MAX_BLOCK_SIZE))
        fields |= {"mask": mask, "n_body": n_body, "side": draw(st.binary(max_size=min(9, n_bytes)))}
    check = draw(st.binary(min_size=8, max_size=8))
    if kind != container.MODEL:
        return Block(kind, n_bytes, payload, check, **fields)
    lanes = draw(st.integers(1, min(1024, n_body)))
    window = draw(st.none() | st.integers(8, min(1 << 15, container.MAX_POSITIONS // lanes)))
    return Block(
        kind=container.MODEL,
        n_bytes=n_bytes,
        payload=payload,
        content_check=check,
        lanes=lanes,
        window=window,
        overlap=draw(st.integers(0, window // 2)) if window else None,
        **fields,
    )


@given(blocks(), st.booleans(), st.binary(max_size=20))
def test_block_round_trip(block: Block, last: bool, after: bytes) -> None:
    data = container.create_block(block, last=last, before=b"before")
    header = container.parse_header(data + after, b"before")
    assert (header.last, header.block_size) == (last, len(data))
    assert header.size <= container.MAX_HEADER_SIZE
    assert container.parse_block(data + after, header) == block


@given(blocks(), st.data())
def test_no_bit_of_a_header_can_flip(block: Block, data: st.DataObject) -> None:
    made = container.create_block(block, last=True)
    size = container.parse_header(made).size
    bit = data.draw(st.integers(0, 8 * size - 1))
    flipped = bytearray(made)
    flipped[bit // 8] ^= 1 << bit % 8
    with pytest.raises((FormatError, TruncatedError)):  # never UnsupportedError: the checksum is wrong
        container.parse_header(bytes(flipped))


def test_the_first_block_of_content_begins_a_group() -> None:
    """With a memory of the size that its body asks for, unless it says another; the others only if they say so."""
    for n_bytes, line_bits in ((1, 14), (1000, 15), (1 << 20, 22)):
        data = container.create_block(model_block(n_bytes, b"x"), last=False)
        assert container.parse_header(data).line_bits is None
        assert container.parse_header(data, first=True).line_bits == line_bits
        assert container.line_bits_of(n_bytes) == line_bits
    said = container.create_block(model_block(line_bits=10), last=False)
    assert container.parse_header(said).line_bits == 10
    assert container.parse_header(said, first=True).line_bits == 10
    note = container.create_block(container.note_block("engine=test"), last=False)
    assert container.parse_header(note, first=True).line_bits is None


def test_note_round_trip() -> None:
    note = container.note_block("engine=test\ndtype=float32")
    assert container.parse_note(note) == "engine=test\ndtype=float32"
    assert note.n_bytes == 0
    with pytest.raises(ValueError, match="4096"):
        container.note_block("x" * 4097)


@given(
    st.lists(st.tuples(st.integers(0, 1 << 26), st.integers(1, 1 << 27), st.booleans()), max_size=30),
    st.binary(min_size=8, max_size=8),
)
def test_index_round_trip(entries: list[tuple[int, int, bool]], check: bytes) -> None:
    index = Index([IndexEntry(*entry) for entry in entries], check)
    data = create_index(index)
    assert parse_index(data) == index
    for n in range(len(data)):
        with pytest.raises((TruncatedError, FormatError)):
            parse_index(data[:n])


@given(st.integers(0), st.integers(0, 7))
def test_no_bit_of_an_index_can_flip(at: int, bit: int) -> None:
    index = Index([IndexEntry(1000, 200, True), IndexEntry(5, 30)], b"12345678")
    data = bytearray(create_index(index))
    data[at % len(data)] ^= 1 << bit
    with pytest.raises((FormatError, TruncatedError)):
        check_index(bytes(data), index)


def test_huge_sizes_are_refused_before_memory() -> None:
    """Headers with right checksums that declare as much as they can, on files that end there."""
    fields = [
        b"\x0a" + primitives.create_varint((1 << 63) - 1) + primitives.create_varint((1 << 63) - 1),
        b"\x09" + primitives.create_varint(1 << 26) + primitives.create_varint(1 << 26),
        b"\x0a" + primitives.create_varint(1 << 26) + primitives.create_varint(1 << 26),
        b"\x2a\x09\x01" + primitives.create_varint((1 << 63) - 1),
        b"\x1a" + primitives.create_varint(1 << 26) + b"\x01" + primitives.create_varint(1 << 62),
        b"\x8d" + primitives.create_varint(1 << 26) + b"\x01" + primitives.create_varint(1 << 62),
        b"\x49" + primitives.create_varint(1 << 26) + b"\x08" + primitives.create_varint(1 << 62) * 2,
        b"\x49"
        + primitives.create_varint(1 << 26)
        + b"\x08"
        + primitives.create_varint(1 << 27)
        + primitives.create_varint(1 << 26),
        b"\x4d" + primitives.create_varint(1 << 26) * 2 + b"\x08" + primitives.create_varint(1 << 26) * 2,
    ]
    tracemalloc.start()
    for header in fields:
        data = PREAMBLE + header + struct.pack("<H", primitives.crc16(PREAMBLE + header)) + b"the end"
        for read in (filemap.map_file, filemap.walk_file):
            with pytest.raises((FormatError, TruncatedError)):
                read(io.BytesIO(data))
    index = b"\x00" + primitives.create_varint((1 << 63) - 1)
    with pytest.raises(FormatError):
        parse_index(index + struct.pack("<II2s", binascii.crc32(index), len(index) + 4, b"\x4c\xfc"))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20


class Short(io.BytesIO):
    """Ends early, and remembers how much was asked for at a time."""

    asked = 0

    def read(self, n: int | None = -1) -> bytes:
        self.asked = max(self.asked, n if n is not None else -1)
        return super().read(n)


def test_payload_is_read_in_pieces() -> None:
    block = replace(container.stored_block(bytes(5 << 20)), line_bits=22)
    data = member(block)
    entries = filemap.map_file(io.BytesIO(data))
    file = Short(data)
    assert filemap.read_block(file, entries[0], entries[0].blocks[0]) == block
    assert file.asked == filemap.READ_SIZE
    with pytest.raises(TruncatedError):
        filemap.read_block(Short(data[:1000]), entries[0], entries[0].blocks[0])


def many_members() -> tuple[bytes, list[bytes]]:
    contents = [b"one", b"two", b"three", b"four", b"five"]
    stored = [container.stored_block(content) for content in contents]
    note = container.note_block("engine=test")
    data = member(*stored[:2]) + member(note, stored[2], stored[3]) + member(container.stored_block(b""))
    return data + member(stored[4]) + member(note, *stored[:2]), [*contents, *contents[:2]]


@pytest.mark.parametrize("read", [filemap.map_file, filemap.walk_file])
@pytest.mark.parametrize("skip", [0, 5])
def test_map_of_members(read: Callable[[BinaryIO, int], list[MemberEntry]], skip: int) -> None:
    data, contents = many_members()
    file = io.BytesIO(bytes(skip) + data)
    members = read(file, skip)
    assert [len(entry.blocks) for entry in members] == [2, 2, 1, 1, 2]
    assert [entry.note for entry in members] == [None, "engine=test", None, None, "engine=test"]
    assert sum(entry.size for entry in members) == len(data)
    found = [(entry, block) for entry in members for block in entry.blocks if block.n_bytes]
    at = 0
    for (entry, block), content in zip(found, contents, strict=True):
        assert (block.content_offset, block.n_bytes) == (at, len(content))
        assert filemap.read_block(file, entry, block).payload == content
        at += len(content)


@pytest.mark.parametrize("read", [filemap.map_file, filemap.walk_file])
def test_map_of_groups(read: Callable[[BinaryIO, int], list[MemberEntry]]) -> None:
    stored = [container.stored_block(b"x"), replace(container.stored_block(b"y"), line_bits=12)]
    file = io.BytesIO(member(container.note_block("n"), stored[0], stored[0], stored[1], stored[0]))
    (entry,) = read(file, 0)
    assert [block.begins_group for block in entry.blocks] == [True, False, True, False]
    assert [filemap.read_header(file, entry, block).line_bits for block in entry.blocks] == [14, None, 12, None]


@pytest.mark.parametrize("flags", [(False, False), (True, True)])
def test_an_index_that_is_wrong_about_groups(flags: tuple[bool, bool]) -> None:
    """The walk refuses it; random access goes by it no farther than to a header that says another thing."""
    data = member(container.stored_block(b"one"), container.stored_block(b"two"))
    size = len(container.stored_block(b"one").payload) + 14
    entries = [IndexEntry(3, size, flag) for flag in flags]
    start = len(data) - len(create_index(Index(entries, bytes(8))))
    wrong = data[:start] + create_index(Index(entries, primitives.content_check(b"onetwo")))
    with pytest.raises(FormatError, match="does not list the blocks"):
        filemap.walk_file(io.BytesIO(wrong))
    if not flags[0]:
        with pytest.raises(FormatError, match="does not list the blocks"):
            filemap.map_file(io.BytesIO(wrong))
        return
    (entry,) = filemap.map_file(io.BytesIO(wrong))
    with pytest.raises(FormatError, match="index does not tell"):
        filemap.read_header(io.BytesIO(wrong), entry, entry.blocks[1])


def test_map_reads_the_index_and_not_the_headers() -> None:
    data = member(*[container.stored_block(b"x" * 1000)] * 50)
    file = Counting(data)
    assert [block.header for block in filemap.map_file(file)[0].blocks] == [None] * 50
    assert file.n_read < 1000
    assert None not in [block.header for block in filemap.walk_file(file)[0].blocks]


class Counting(io.BytesIO):
    n_read = 0

    def read(self, n: int | None = -1) -> bytes:
        data = super().read(n)
        self.n_read += len(data)
        return data


def test_damaged_index_is_told_by_the_walk() -> None:
    data = bytearray(member(container.stored_block(b"one"), container.stored_block(b"two")))
    data[-12] ^= 1
    with pytest.raises(FormatError, match="index"):
        filemap.map_file(io.BytesIO(data))


def test_every_cut_of_a_map() -> None:
    data, _ = many_members()
    starts = {entry.offset for entry in filemap.walk_file(io.BytesIO(data))}
    for n in range(len(data)):
        if n in starts - {0}:
            filemap.walk_file(io.BytesIO(data[:n]))  # so many whole members
        else:
            for read in (filemap.map_file, filemap.walk_file):
                with pytest.raises(TruncatedError):
                    read(io.BytesIO(data[:n]))


@given(st.binary(max_size=200))
def test_any_bytes_give_an_llmzip_error(data: bytes) -> None:
    for start in (b"", PREAMBLE):
        with pytest.raises(LlmzipError):
            filemap.walk_file(io.BytesIO(start + data))
