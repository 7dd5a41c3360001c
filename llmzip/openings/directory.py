"""The central directory of a zip archive: nearly all of it repeats what the local headers say, in their order.

What is left of a record is what only it says: who made it, sizes of extra field and comment, attributes, extra field, comment.
"""

import re
import struct

from llmzip.errors import FormatError
from llmzip.openings.kinds import Kind, Stream

LOCAL, RECORD, DESCRIPTOR = b"PK\x03\x04", b"PK\x01\x02", b"PK\x07\x08"
LOCAL_SIZE, RECORD_SIZE, LEFT_SIZE = 30, 46, 14
HAS_DESCRIPTOR = 8  # of the flags
MAX_COMMENT = 1 << 16


class Directory(Kind):
    """All records of a central directory. Fields: how many; from which local header of what has been made so far; where that is in the archive."""

    name = "directory"
    mark = re.compile(RECORD)
    fields = ("records", "first", "offset")

    def find(self, content: bytes, at: int) -> tuple[bytes, Stream] | None:
        """What is left of the records that begin at `at`; None: they are not those of the local headers before them."""
        before = content[:at]
        offset = int.from_bytes(content[at + 42 : at + 46], "little")
        name = content[at + RECORD_SIZE : at + RECORD_SIZE + int.from_bytes(content[at + 28 : at + 30], "little")]
        starts = _starts(before)
        wanted = [i for i, start in enumerate(starts) if before[start + LOCAL_SIZE : start + LOCAL_SIZE + len(name)] == name]
        for first in wanted[-1:]:
            left, n_records, end = [], 0, at
            for start, stop in zip(starts[first:], [*starts[first + 1 :], at], strict=True):
                part = _left_of(content[end : end + RECORD_SIZE + 3 * MAX_COMMENT])
                record = part and _record(before, start, stop, offset + start - starts[first], part)
                if not record or content[end : end + len(record)] != record:
                    break
                left.append(part)
                end += len(record)
                n_records += 1
            if n_records:
                return RECORD + b"".join(left), Stream((n_records, first, offset), b"", end - at)
        return None

    def end(self, content: bytes, at: int) -> int:
        """Where the records end that begin at `at`, as far as they are there."""
        while content.startswith(RECORD, at):
            size = RECORD_SIZE + sum(struct.unpack("<HHH", content[at + 28 : at + 34].ljust(6, b"\0")))
            if at + size > len(content):
                break
            at += size
        return at

    def put_back(self, before: bytes, body: bytes, at: int, fields: tuple[int, ...]) -> tuple[bytes, int]:
        """The records, and where in the body what is left of them ends."""
        n_records, first, offset = fields
        starts = _starts(before)
        if not 0 < n_records <= len(starts) - first:
            raise FormatError("side information names local headers that are not there")
        ends = [*starts[first + 1 :], len(before)]
        at += len(RECORD)
        records = []
        for start, stop in zip(starts[first : first + n_records], ends[:n_records], strict=True):
            sizes = struct.unpack("<HH", body[at + 2 : at + 6].ljust(4, b"\0"))
            part = body[at : at + LEFT_SIZE + sum(sizes)]
            if len(part) != LEFT_SIZE + sum(sizes):
                raise FormatError("the body ends within a zip directory")
            records.append(_record(before, start, stop, offset + start - starts[first] & 0xFFFFFFFF, part))
            at += len(part)
        return b"".join(records), at


def _starts(content: bytes) -> list[int]:
    """The local headers: each the first after what the one before has, as far as it tells."""
    starts, at = [], content.find(LOCAL)
    while 0 <= at <= len(content) - LOCAL_SIZE:
        starts.append(at)
        flags, size = struct.unpack("<6xH10xL8x", content[at : at + LOCAL_SIZE])
        at = content.find(LOCAL, at + LOCAL_SIZE + (0 if flags & HAS_DESCRIPTOR else size))
    return starts


def _left_of(record: bytes) -> bytes:
    """Of a record at the start of these bytes: made by, sizes of extra field and comment, disk and attributes; extra field, comment."""
    if len(record) < RECORD_SIZE or not record.startswith(RECORD):
        return b""
    n_name, n_extra, n_comment = struct.unpack("<28xHHH", record[:34])
    return record[4:6] + record[30:42] + record[RECORD_SIZE + n_name : RECORD_SIZE + n_name + n_extra + n_comment]


def _record(content: bytes, start: int, stop: int, offset: int, left: bytes) -> bytes:
    """The record of the local header at `start`, whose data end at `stop`."""
    head = content[start : start + LOCAL_SIZE]
    name = content[start + LOCAL_SIZE : start + LOCAL_SIZE + int.from_bytes(head[26:28], "little")]
    sizes = head[14:26]
    if int.from_bytes(head[6:8], "little") & HAS_DESCRIPTOR and not any(sizes):
        sizes = content[max(start, stop - 12) : stop]
    return b"".join(
        [RECORD, left[:2], head[4:14], sizes.ljust(12, b"\0"), head[26:28], left[2:14], struct.pack("<I", offset), name, left[14:]]
    )


DIRECTORY = Directory()
