"""What the bytes of an .lmz file are made of: magic, varints, checks (docs/format.md, section 2)."""

import binascii
import hashlib

from llmzip.errors import FormatError, TruncatedError

MAGIC = b"\xfc\x4c"
END_MAGIC = MAGIC[::-1]  # what a file with an index ends with

MAX_VARINT_SIZE = 9
CHECK_SIZE = 2
CONTENT_CHECK_SIZE = 8
TRAILER_SIZE = CHECK_SIZE + CONTENT_CHECK_SIZE  # what follows a payload


def crc16(data: bytes) -> int:
    return binascii.crc_hqx(data, 0xFFFF)


def content_check(data: bytes, size: int = CONTENT_CHECK_SIZE) -> bytes:
    """hash64, or a shorter one: what a block's content, or a whole member's, is compared with."""
    return hashlib.sha256(data).digest()[:size]


def create_varint(value: int) -> bytes:
    assert 0 <= value < 1 << (7 * MAX_VARINT_SIZE)
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def parse_varint(data: bytes, at: int, what: str) -> tuple[int, int]:
    """The value at `at`, and where it ends. `what` names the field in errors."""
    value = 0
    for i in range(MAX_VARINT_SIZE):
        if at + i >= len(data):
            raise TruncatedError(f"file ends in {what}")
        byte = data[at + i]
        value |= (byte & 0x7F) << (7 * i)
        if byte < 0x80:
            if byte == 0 and i > 0:
                raise FormatError(f"{what} is not in its shortest form")
            return value, at + i + 1
    raise FormatError(f"{what} has more than {MAX_VARINT_SIZE} bytes")


class Side:
    """Side information, read from its start."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def varint(self) -> int:
        value, self._at = parse_varint(self._data, self._at, "the side information")
        return value

    def take(self, n: int) -> bytes:
        if self._at + n > len(self._data):
            raise FormatError("side information is too short")
        self._at += n
        return self._data[self._at - n : self._at]

    def check_end(self) -> None:
        if self._at != len(self._data):
            raise FormatError("side information is too long")
