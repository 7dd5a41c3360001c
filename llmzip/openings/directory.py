"""The central directory of a zip archive: nearly all of it repeats what the local headers say, in their order.

What is left of a record is what only it says: who made it, sizes of extra field and comment, attributes, extra field,
comment.
"""

import re
import struct
from collections.abc import Iterator
from itertools import islice

from llmzip.errors import FormatError
from llmzip.openings.kinds import Kind, Stream

LOCAL, RECORD, END = b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06"
LOCAL_SIZE, RECORD_SIZE, LEFT_SIZE = 30, 46, 14
HAS_DESCRIPTOR = 8  # of the flags


class Directory(Kind):
    """Records of a central directory.

    Fields: how many; bytes back to the first local header that they tell of; where that is in the archive.
    """

    name = "directory"
    mark = re.compile(RECORD)
    fields = ("records", "back", "offset")

    def find(self, content: bytes, at: int) -> tuple[int, bytes, Stream] | None:
        """Of the records from `at` on those whose local headers are in the content: where they begin, what is left."""
        stop = self.end(content, at)
        if not content.startswith(END, stop):
            return None
        archive = at - int.from_bytes(content[stop + 16 : stop + 20], "little")
        start = at
        while start < stop and archive + _offset(content, start) < 0:  # of an entry before the content
            start += _size(content, start)
        offset = _offset(content, start)
        back = at - archive - offset
        if start >= stop or not 0 < back <= at or not content.startswith(LOCAL, at - back):
            return None
        left, end = [], start
        for record_offset, head in _locals(content[at - back : at], offset):
            part = _left_of(content[end:stop])
            record = _record(head, record_offset, part) if part else b""
            if not record or not content.startswith(record, end):
                break
            left.append(part)
            end += len(record)
        fields = (len(left), start - at + back, offset)
        return (start, RECORD + b"".join(left), Stream(fields, b"", end - start)) if left else None

    def end(self, content: bytes, at: int) -> int:
        """Where the records end that begin at `at`, as far as they are there."""
        while content.startswith(RECORD, at) and at + _size(content, at) <= len(content):
            at += _size(content, at)
        return at

    def put_back(self, made: bytes, body: bytes, at: int, fields: tuple[int, ...], most: int) -> tuple[bytes, int]:
        """The records, and where in the body ends what is left of them.

        `made`: the content from the first local header on.
        """
        n_records, _, offset = fields
        at += len(RECORD)
        records = []
        for record_offset, head in islice(_locals(made, offset), n_records):
            size = LEFT_SIZE + sum(struct.unpack("<HH", body[at + 2 : at + 6].ljust(4, b"\0")))
            part = body[at : at + size]
            records.append(_record(head, record_offset, part))
            at, most = at + size, most - len(records[-1])
            if len(part) != size or most < 0:
                raise FormatError("the body ends within a zip directory, or that has more bytes than there can be")
        if len(records) != n_records or not records:
            raise FormatError("side information names local headers that are not there")
        return b"".join(records), at


def _size(content: bytes, at: int) -> int:
    n_name, n_extra, n_comment = struct.unpack("<HHH", content[at + 28 : at + 34].ljust(6, b"\0"))
    return RECORD_SIZE + int(n_name) + int(n_extra) + int(n_comment)


def _offset(content: bytes, at: int) -> int:
    return int.from_bytes(content[at + 42 : at + 46], "little")


def _locals(content: bytes, offset: int) -> Iterator[tuple[int, bytes]]:
    """Where in the archive each local header of the content is, and the header with its sizes, and its name."""
    at = 0 if content.startswith(LOCAL) else -1
    while 0 <= at <= len(content) - LOCAL_SIZE:
        flags, size, n_name = struct.unpack("<6xH10xL4xHxx", content[at : at + LOCAL_SIZE])
        head = content[at : at + LOCAL_SIZE + n_name]
        follows = content.find(LOCAL, at + LOCAL_SIZE + (0 if flags & HAS_DESCRIPTOR else size))
        if flags & HAS_DESCRIPTOR and not any(head[14:26]):
            end = content.find(RECORD, at) if follows < 0 else follows
            end = len(content) if end < 0 else end
            head = head[:14] + content[max(at, end - 12) : end].ljust(12, b"\0") + head[26:]
        yield offset + at & 0xFFFFFFFF, head
        at = follows


def _left_of(record: bytes) -> bytes:
    """Of a record at the start of these bytes; empty if there is none."""
    if len(record) < RECORD_SIZE or not record.startswith(RECORD):
        return b""
    n_name, n_extra, n_comment = struct.unpack("<28xHHH", record[:34])
    return record[4:6] + record[30:42] + record[RECORD_SIZE + n_name : RECORD_SIZE + n_name + n_extra + n_comment]


def _record(head: bytes, offset: int, left: bytes) -> bytes:
    return b"".join([RECORD, left[:2], head[4:28], left[2:14], struct.pack("<I", offset), head[LOCAL_SIZE:], left[14:]])


DIRECTORY = Directory()
