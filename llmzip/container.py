"""The bytes of a member of an .lmz file: preamble, blocks, notes (docs/format.md, sections 2-4).

Knows nothing of models, tokens, coding or files: a payload is opaque here. `create_*` and `parse_*` come in pairs.
Parsing works on the bytes at hand and raises TruncatedError where they end too early, so one parser serves a stream
that is still growing, a whole file, and a walk over the headers. Errors name the field; the block is named by who knows
which it is.
"""

import struct
from dataclasses import dataclass, field, replace

from llmzip.errors import FormatError, TruncatedError, UnsupportedError, naming
from llmzip.index import Index, IndexEntry
from llmzip.primitives import (
    CHECK_SIZE,
    CONTENT_CHECK_SIZE,
    MAGIC,
    MAX_VARINT_SIZE,
    TRAILER_SIZE,
    content_check,
    crc16,
    create_varint,
    parse_varint,
)

VERSION = 1
FINGERPRINT_SIZE = 4  # enough to find a model; the content check decides
PREAMBLE_SIZE = len(MAGIC) + 1 + FINGERPRINT_SIZE
NO_MODEL = bytes(FINGERPRINT_SIZE)

# Block types, bits 0-2 of the kind byte.
STORED, MODEL, NOTE, CM = 1, 2, 4, 5
KIND_NAMES = {STORED: "stored", MODEL: "model", NOTE: "note", CM: "cm"}

# Flags, bits 3-7 of the kind byte. None is left.
TYPE_BITS = 0x07
LAST = 0x08
HAS_LANES = 0x10
HAS_PARAMETERS = 0x20
HAS_TRANSFORMS = 0x40
BEGINS_GROUP = 0x80

# Transforms, bits of the mask, in the order in which the encoder applies them (llmzip.transforms), but that OPEN is the
# first (llmzip.openings).
UTF16LE, UTF16BE, BOM, CRLF, REPEATS, PACK, X86, OPEN = (1 << i for i in range(8))
TRANSFORM_NAMES = {
    OPEN: "open",
    UTF16LE: "utf-16-le", UTF16BE: "utf-16-be", BOM: "bom", CRLF: "crlf", REPEATS: "repeats", PACK: "pack", X86: "x86",
}  # fmt: skip


def max_opened_size(n_bytes: int) -> int:
    """Of content of so many bytes."""
    return min(MAX_OPENED_SIZE, MAX_OPENED_RATIO * n_bytes + FREE_OPENED_SIZE)


def transform_names(mask: int) -> tuple[str, ...]:
    """In the order in which they were applied."""
    return tuple(name for bit, name in TRANSFORM_NAMES.items() if mask & bit)


# Short members: the second byte instead of the version says all that the kind byte would. Nibbles are complements.
SHORT_FORMS = {0x1E: MODEL, 0x3C: STORED, 0x5A: CM}
MAX_SHORT_SIZE = 4096  # bytes of content; above, ten bytes more are nothing, and the longer checks are worth them
SHORT_CHECK_SIZE = 4

MAX_BLOCK_SIZE = 1 << 26
REACH = 1 << 26  # bytes of what a group has made of which the repeats of its next block may be
MAX_GROUP_SIZE = 1 << 28  # bytes of the bodies that share a memory
MIN_LINE_BITS, MAX_LINE_BITS = 10, 24  # of a memory: 2^line_bits lines; with what has come once 1.25 GiB at most
MAX_EXPANSION = 64  # bytes of a coded body over those of the body
MAX_OPENED_SIZE = MAX_BLOCK_SIZE  # bytes of content after OPEN
MAX_OPENED_RATIO, FREE_OPENED_SIZE = 256, 1 << 16  # of those for each byte of content, and above that: bounds the time
MAX_BODY_GROWTH = 2  # bytes of body for each byte of content: UTF-16 to UTF-8 takes up to 1.5
MAX_NOTE_SIZE = 4096
MIN_LANES, MAX_LANES = 2, 1024  # as written; one lane is not written
MIN_WINDOW, MAX_WINDOW = 8, 1 << 15
# lanes x window: bounds the memory that a header can ask for; so does overlap <= window / 2 the time
MAX_POSITIONS = 1 << 17
MAX_PARAMETERS_SIZE = 255  # so that a header has a greatest size
MAX_HEADER_SIZE = 1 + 9 * MAX_VARINT_SIZE + MAX_PARAMETERS_SIZE + CHECK_SIZE


# Blocks as the codec sees them


@dataclass(frozen=True, slots=True)
class Block:
    """One block.

    `payload` codes the *body*: the content, or what the transforms of `mask` have made of it, with `side` to undo them.
    """

    kind: int  # STORED, MODEL, CM or NOTE
    n_bytes: int  # content size; 0 for a note
    payload: bytes  # without the side information
    content_check: bytes  # 8 bytes; 4 in a short member
    lanes: int = 1
    window: int | None = None  # None: the default of the model. Both or neither are None
    overlap: int | None = None
    line_bits: int | None = None  # of the memory of the group that begins here
    mask: int = 0  # of transforms
    n_body: int | None = None  # None if and only if there are none: then the body is the content
    n_opened: int | None = None  # bytes of the content after OPEN, if that is one of them
    side: bytes = b""
    covered: bytes = b""  # what the content check covers before the content: all of a short member, else nothing

    @property
    def body_size(self) -> int:
        return self.n_bytes if self.n_body is None else self.n_body

    def is_content(self, data: bytes) -> bool:
        """Whether the content check says that this is what was compressed."""
        return (
            len(data) == self.n_bytes
            and content_check(self.covered + data, len(self.content_check)) == self.content_check
        )


def stored_block(data: bytes) -> Block:
    """The block whose payload is its content: what does not shrink, and the empty file."""
    return Block(STORED, len(data), bytes(data), content_check(data))


def note_block(text: str) -> Block:
    payload = text.encode("utf-8")
    if len(payload) > MAX_NOTE_SIZE:
        raise ValueError(f"a note has at most {MAX_NOTE_SIZE} bytes, not {len(payload)}")
    return Block(NOTE, 0, payload, content_check(payload))


def line_bits_of(n_bytes: int, most: int = 22) -> int:
    """Of the memory of a group, if nothing else is said: what bodies of this size fill, up to 2^22 lines (320 MiB)."""
    return min(most, max(14, n_bytes.bit_length() + 5))


# Preamble


@dataclass(frozen=True, slots=True)
class Preamble:
    """The first bytes of a member."""

    raw: bytes
    short: int | None = None  # of a short member: the type of its block

    @property
    def fingerprint(self) -> bytes:
        """The first 4 bytes of the model's, or NO_MODEL."""
        return self.raw[-FINGERPRINT_SIZE:] if len(self.raw) > FINGERPRINT_SIZE else NO_MODEL


def preamble_of(fingerprint: bytes = NO_MODEL) -> Preamble:
    """`fingerprint` may be the whole one of a model; the file holds the start of it."""
    assert len(fingerprint) >= FINGERPRINT_SIZE
    return Preamble(MAGIC + bytes([~VERSION << 4 & 0xF0 | VERSION]) + fingerprint[:FINGERPRINT_SIZE])


def create_preamble(fingerprint: bytes = NO_MODEL) -> bytes:
    return preamble_of(fingerprint).raw


def parse_preamble(data: bytes) -> Preamble:
    """The preamble at the start of `data`. Its checksum is the one of the first block's header."""
    if not begins_member(data):
        raise FormatError("not an .lmz file: wrong magic")
    short = _parse_form(data[1]) if len(data) > 1 else None
    if not short and len(data) > len(MAGIC):
        _check_version(data[len(MAGIC)])
    size = PREAMBLE_SIZE
    if short:
        size = 2 + (FINGERPRINT_SIZE if short == MODEL else 0)
    if len(data) < size:
        raise TruncatedError("file ends in the preamble" if data else "file is empty")
    return Preamble(bytes(data[:size]), short)


def begins_member(data: bytes) -> bool:
    """Whether these bytes may be the start of a member of any version, as far as they go."""
    return MAGIC.startswith(bytes(data[:2])) or (data[:1] == MAGIC[:1] and _is_complement(data[1]))


def check_continuation(data: bytes, n_before: int) -> None:
    """What follows a member must be another; say so, rather than that the file as a whole is none of ours."""
    if n_before and not begins_member(data):
        raise FormatError(f"bytes after the end of member {n_before} are not another member")


def _is_complement(byte: int) -> bool:
    """Whether the nibbles are: then no flipped bit has made it."""
    return byte & 0x0F ^ byte >> 4 == 0x0F


def _parse_form(byte: int) -> int | None:
    if byte == MAGIC[1]:
        return None
    if byte not in SHORT_FORMS:
        raise UnsupportedError(f"form {byte:#04x} of a short member is of a newer version", hint="update llmzip")
    return SHORT_FORMS[byte]


def _check_version(byte: int) -> None:
    version = byte & 0x0F
    if not _is_complement(byte) or version == 0:
        raise FormatError(f"version byte is damaged: {byte:#04x}")
    if version > VERSION:
        raise UnsupportedError(f"format version {version} is newer than {VERSION}", hint="update llmzip")


# Block header


@dataclass(frozen=True, slots=True)
class Header:
    kind: int
    last: bool  # the last block of its member
    n_bytes: int
    lanes: int
    window: int | None
    overlap: int | None
    size: int  # bytes of the header itself
    n_payload: int  # side information and coded body
    line_bits: int | None = None  # of the memory of the group that begins here; None: it goes on
    mask: int = 0
    n_body: int | None = None
    n_opened: int | None = None
    n_side: int = 0
    covered: bytes = b""  # of a short member: what comes before the payload

    @property
    def body_size(self) -> int:
        return self.n_bytes if self.n_body is None else self.n_body

    @property
    def block_size(self) -> int:
        """Bytes in the file: header, payload and the checks after it."""
        return self.size + self.n_payload + (SHORT_CHECK_SIZE if self.covered else TRAILER_SIZE)


def create_block(block: Block, *, last: bool, before: bytes = b"") -> bytes:
    """The block's bytes. Raises FormatError for a block that a reader would refuse.

    `before` is the preamble for the first block of a member: covered by the header check, not repeated.
    """
    header = _create_header(block, last, before)
    payload = block.side + block.payload
    return header + payload + struct.pack("<H", crc16(payload)) + block.content_check


def size_of(block: Block) -> int | None:
    """Bytes that a block takes in a file; None if a reader would refuse it, so that it must not be written."""
    try:
        return len(_create_header(block, True, b"")) + len(block.side) + len(block.payload) + TRAILER_SIZE
    except FormatError:
        return None


def _create_header(block: Block, last: bool, before: bytes) -> bytes:
    """What the reader itself takes: nothing else is written."""
    header = _create_header_fields(block, last)
    header += struct.pack("<H", crc16(before + header))
    with naming(f"the {KIND_NAMES[block.kind]} block to be written"):
        parse_header(header, before)
    return header


def _create_header_fields(block: Block, last: bool) -> bytes:
    kind = block.kind | (LAST if last else 0)
    fields = create_varint(block.n_bytes)
    if block.kind != STORED:  # there it follows from the others
        fields += create_varint(len(block.side) + len(block.payload))
    if block.lanes > 1:
        kind |= HAS_LANES
        fields += create_varint(block.lanes)
    if block.window is not None:
        assert block.overlap is not None
        kind |= HAS_PARAMETERS
        record = create_varint(block.window) + create_varint(block.overlap)
        fields += create_varint(len(record)) + record
    if block.mask:
        kind |= HAS_TRANSFORMS
        fields += create_varint(block.mask) + create_varint(block.body_size) + create_varint(len(block.side))
        fields += create_varint(block.n_opened or 0) if block.mask & OPEN else b""
    if block.line_bits is not None:
        kind |= BEGINS_GROUP
        fields += create_varint(block.line_bits)
    return bytes([kind]) + fields


def parse_header(data: bytes, before: bytes = b"", *, first: bool = False) -> Header:
    """The header at the start of `data`, checked.

    `first`: of the first block of content, which begins a group in any case.

    First its checksum, then what this version does not know, then the limits.
    """
    if not data:
        raise TruncatedError("file ends before the header")
    header, record = _parse_fields(data)
    end = header.size - CHECK_SIZE
    if len(data) < header.size:
        raise TruncatedError("file ends in the header check")
    if crc16(before + data[:end]) != int.from_bytes(data[end : header.size], "little"):
        raise FormatError("header check is wrong")
    if record is not None:
        window, overlap = _parse_parameters(record)
        header = replace(header, window=window, overlap=overlap)
    _check_known(header)
    _check_limits(header, has_lanes=bool(data[0] & HAS_LANES))
    if first and header.kind != NOTE and header.line_bits is None:
        header = replace(header, line_bits=line_bits_of(header.body_size))
    return header


def _parse_fields(data: bytes) -> tuple[Header, bytes | None]:
    """What the header says, and its record of parameters; nothing of it is to be believed yet."""
    flags, kind = data[0], data[0] & TYPE_BITS
    n_bytes, at = parse_varint(data, 1, "the content size")
    n_payload = n_bytes
    if kind != STORED:
        n_payload, at = parse_varint(data, at, "the payload size")
    lanes, line_bits, record = 1, None, None
    if flags & HAS_LANES:
        lanes, at = parse_varint(data, at, "the lanes")
    if flags & HAS_PARAMETERS:
        record, at = _parse_record(data, at)
    mask, n_body, n_side, n_opened = 0, None, 0, None
    if flags & HAS_TRANSFORMS:
        mask, at = parse_varint(data, at, "the transforms")
        n_body, at = parse_varint(data, at, "the body size")
        n_side, at = parse_varint(data, at, "the side size")
        if mask & OPEN:
            n_opened, at = parse_varint(data, at, "the opened size")
        if kind == STORED:
            n_payload = n_side + n_body
    if flags & BEGINS_GROUP:
        line_bits, at = parse_varint(data, at, "the memory")
    last = bool(flags & LAST)
    sizes = at + CHECK_SIZE, n_payload
    return Header(kind, last, n_bytes, lanes, None, None, *sizes, line_bits, mask, n_body, n_opened, n_side), record


def _parse_record(data: bytes, at: int) -> tuple[bytes, int]:
    length, at = parse_varint(data, at, "the parameter length")
    if length > MAX_PARAMETERS_SIZE:
        raise FormatError(f"parameter length is {length}, above {MAX_PARAMETERS_SIZE}")
    if len(data) < at + length:
        raise TruncatedError("file ends in the parameters")
    return bytes(data[at : at + length]), at + length


def _parse_parameters(record: bytes) -> tuple[int, int]:
    try:
        window, at = parse_varint(record, 0, "the window")
        overlap, at = parse_varint(record, at, "the overlap")
    except TruncatedError:  # it is the record that ends here, not the file
        raise FormatError("parameter record is too short") from None
    if at < len(record):
        raise UnsupportedError("parameters are of a newer version", hint="update llmzip")
    return window, overlap


def _check_known(header: Header) -> None:
    if header.kind not in KIND_NAMES:
        raise UnsupportedError(f"type is of a newer version: {header.kind}", hint="update llmzip")
    if header.mask & ~sum(TRANSFORM_NAMES):
        raise UnsupportedError(f"transforms are of a newer version: {header.mask:#x}", hint="update llmzip")


def _check_limits(header: Header, *, has_lanes: bool) -> None:
    _check_transforms(header)
    _check_sizes(header)
    if header.line_bits is not None and (header.kind == NOTE or not MIN_LINE_BITS <= header.line_bits <= MAX_LINE_BITS):
        raise FormatError(
            f"memory is 2^{header.line_bits} lines, not 2^{MIN_LINE_BITS} to 2^{MAX_LINE_BITS}, or of a note"
        )
    if header.kind != MODEL:
        if has_lanes or header.window is not None:
            raise FormatError(f"lanes or parameters on a {KIND_NAMES[header.kind]} block")
        return
    most = min(MAX_LANES, header.body_size)
    if has_lanes and not MIN_LANES <= header.lanes <= most:
        raise FormatError(f"lanes are {header.lanes}, not {MIN_LANES} to {most}")
    if header.window is not None and header.overlap is not None:
        _check_window(header.window, header.overlap, header.lanes)


def _check_transforms(header: Header) -> None:
    if header.n_body is None:
        return
    if not header.mask or header.kind == NOTE:
        raise FormatError("record of transforms is empty, or on a note")
    if header.mask & UTF16LE and header.mask & UTF16BE:
        raise FormatError("transforms contradict each other")
    n_opened = header.n_bytes if header.n_opened is None else header.n_opened
    if header.n_opened is not None and (header.kind == STORED or n_opened > max_opened_size(header.n_bytes)):
        raise FormatError(f"opened size is {n_opened}, above {max_opened_size(header.n_bytes)}, or the block is stored")
    if not 1 <= header.n_body <= MAX_BODY_GROWTH * n_opened:
        raise FormatError(f"body size is {header.n_body}, not 1 to {MAX_BODY_GROWTH * n_opened}")
    if header.n_side > min(header.n_bytes, header.n_payload):
        raise FormatError(f"side size is {header.n_side}, above {min(header.n_bytes, header.n_payload)}")


def _check_sizes(header: Header) -> None:
    n_coded, n_body = header.n_payload - header.n_side, header.body_size
    if header.n_bytes > MAX_BLOCK_SIZE:
        raise FormatError(f"content size is {header.n_bytes}, above {MAX_BLOCK_SIZE}")
    if header.kind == NOTE:
        if header.n_bytes or header.last:
            raise FormatError("note with content or the flag LAST")
        if header.n_payload > MAX_NOTE_SIZE:
            raise FormatError(f"payload size is {header.n_payload}, above {MAX_NOTE_SIZE} for a note")
    elif n_coded > n_body + MAX_EXPANSION:
        raise FormatError(f"payload size is {header.n_payload}, above {header.n_side + n_body + MAX_EXPANSION}")


def _check_window(window: int, overlap: int, lanes: int) -> None:
    if not MIN_WINDOW <= window <= MAX_WINDOW:
        raise FormatError(f"window is {window}, not {MIN_WINDOW} to {MAX_WINDOW}")
    if overlap > window // 2:
        raise FormatError(f"overlap is {overlap}, above half the window of {window}")
    if lanes * window > MAX_POSITIONS:
        raise FormatError(f"lanes x window is {lanes * window}, above {MAX_POSITIONS}")


def parse_block(data: bytes, header: Header) -> Block:
    """The block at the start of `data`, whose header has been parsed.

    Checks the payload (that of a short member is checked with its content); the content is for others to check.
    """
    end = header.size + header.n_payload
    if len(data) < end:
        raise TruncatedError("file ends in the payload")
    if len(data) < header.block_size:
        raise TruncatedError("file ends in the checks")
    payload = bytes(data[header.size : end])
    if not header.covered:
        if crc16(payload) != int.from_bytes(data[end : end + CHECK_SIZE], "little"):
            raise FormatError("payload check is wrong")
        end += CHECK_SIZE
    return Block(
        kind=header.kind,
        n_bytes=header.n_bytes,
        payload=payload[header.n_side :],
        content_check=bytes(data[end : header.block_size]),
        lanes=header.lanes,
        window=header.window,
        overlap=header.overlap,
        line_bits=header.line_bits,
        mask=header.mask,
        n_body=header.n_body,
        n_opened=header.n_opened,
        side=payload[: header.n_side],
        covered=header.covered + payload if header.covered else b"",
    )


def parse_note(block: Block) -> str:
    assert block.kind == NOTE
    if content_check(block.payload) != block.content_check:
        raise FormatError("content check is wrong")
    try:
        return block.payload.decode("utf-8")
    except UnicodeDecodeError as error:
        raise FormatError(f"it is not UTF-8: {error.reason}") from error


# Short members


def create_short(block: Block, content: bytes, fingerprint: bytes) -> bytes | None:
    """The member whose only block is this one, in the short form; None where that has no place for it."""
    if (
        len(content) > MAX_SHORT_SIZE
        or block.lanes > 1
        or block.window is not None
        or block.mask
        or block.line_bits is not None
    ):
        return None
    form = next(byte for byte, kind in SHORT_FORMS.items() if kind == block.kind)
    preamble = MAGIC[:1] + bytes([form]) + (fingerprint[:FINGERPRINT_SIZE] if block.kind == MODEL else b"")
    header = create_varint(block.n_bytes)
    if block.kind != STORED:
        header += create_varint(len(block.payload))
    try:
        parse_short_header(header, parse_preamble(preamble))
    except FormatError:  # a payload as long as its content: that is for a block of the long form
        return None
    member = preamble + header + block.payload
    return member + content_check(member + content, SHORT_CHECK_SIZE)


def parse_short_header(data: bytes, preamble: Preamble) -> Header:
    """What follows the preamble of a short member, up to its payload."""
    assert preamble.short is not None
    kind = preamble.short
    n_bytes, at = parse_varint(data, 0, "the content size")
    n_payload = n_bytes
    if kind != STORED:
        n_payload, at = parse_varint(data, at, "the payload size")
        if n_payload >= n_bytes:
            raise FormatError(f"payload size is {n_payload}, not below the content size {n_bytes}")
    if n_bytes > MAX_SHORT_SIZE:
        raise FormatError(f"content size is {n_bytes}, above {MAX_SHORT_SIZE} for a short member")
    return Header(
        kind=kind,
        last=True,
        n_bytes=n_bytes,
        lanes=1,
        window=None,
        overlap=None,
        size=at,
        n_payload=n_payload,
        line_bits=line_bits_of(n_bytes),
        covered=preamble.raw + bytes(data[:at]),
    )


def parse_header_in(preamble: Preamble, data: bytes, before: bytes, *, first: bool) -> Header:
    """The header of a block in a member with this preamble, in the form that it asks for."""
    header = parse_short_header(data, preamble) if preamble.short else parse_header(data, before, first=first)
    if header.kind == MODEL and preamble.fingerprint == NO_MODEL:
        raise FormatError("it needs a model, and the preamble names none")
    return header


# A member, block by block


@dataclass
class Member:
    """What has been seen of one member.

    Holds the order of its blocks to the rules; sees headers and notes, never content.
    """

    preamble: Preamble
    entries: list[IndexEntry] = field(default_factory=list)
    n_blocks: int = 0  # of content
    ended: bool = False  # the block with LAST has been seen

    @property
    def fingerprint(self) -> bytes:
        return self.preamble.fingerprint

    @property
    def where(self) -> str:
        """The name of the next block in messages. Blocks of content are counted from 1."""
        return f"block {self.n_blocks + 1}"

    @property
    def next_before(self) -> bytes:
        """What the header check of the next block covers before the header: the preamble, if it is the first."""
        return b"" if self.entries else self.preamble.raw

    @property
    def has_index(self) -> bool:
        return self.ended and self.n_blocks > 1

    def index(self, check: bytes = bytes(CONTENT_CHECK_SIZE)) -> Index:
        """The index that must follow the last block."""
        return Index(self.entries, check)

    def parse_header(self, data: bytes) -> Header:
        """The next header, at the start of `data`.

        Changes nothing, so it can be asked again when there are more bytes.
        """
        assert not self.ended
        if not data:
            raise TruncatedError(f"file ends before {self.where}")
        with naming(self.where):
            header = parse_header_in(self.preamble, data, self.next_before, first=self.n_blocks == 0)
        if header.kind == NOTE:
            if self.entries:
                raise FormatError(f"note before {self.where} is not at the start of the member")
        elif header.n_bytes == 0 and not (header.kind == STORED and header.last and self.n_blocks == 0):
            raise FormatError(f"{self.where} is empty")
        return header

    def add_header(self, header: Header) -> None:
        """Go past the block of this header."""
        begins_group = header.line_bits is not None
        self.add(header.kind, header.n_bytes, header.block_size, header.last, begins_group=begins_group)

    def add(self, kind: int, n_bytes: int, size: int, last: bool, *, begins_group: bool = False) -> None:
        """Go past a block of this content size and this size in the file.

        The first block of content begins a group in any case.
        """
        begins_group = kind != NOTE and (begins_group or self.n_blocks == 0)
        self.entries.append(IndexEntry(n_bytes, size, begins_group))
        self.n_blocks += kind != NOTE
        self.ended = last
