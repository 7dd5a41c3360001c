"""A view: content with the streams in it replaced by what they hold, and by a view of that in turn.

Nodes are what `finding` finds; here they become body and side information, and content again.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from llmzip.errors import FormatError
from llmzip.openings import streams
from llmzip.openings.attachments import BASE64
from llmzip.openings.bzip2 import BZIP2
from llmzip.openings.directory import DIRECTORY
from llmzip.openings.fonts import FONT
from llmzip.openings.kinds import GZIP, PDF, PNG, RAW, ZIP, ZLIB, Kind
from llmzip.openings.numbers import Numbers

KINDS: tuple[Kind, ...] = (RAW, ZIP, GZIP, PDF, ZLIB, PNG, BASE64, DIRECTORY, FONT, BZIP2)
MAX_DEPTH = 4  # of views in views
MAX_NODES = 1 << 15  # of all views of a block: each takes time
MAX_FONTS = 1 << 24  # bytes of fonts in a block: each takes a while
MAX_BZIP2 = 1 << 25  # bytes that bzip2 streams hold in a block: as fonts
MAX_MADE = 4  # bytes of what streams hold, for each byte of the body: base64 makes 1.4 of one


@dataclass(frozen=True)
class Node:
    """A stretch of content that is replaced; `plain` is what it holds, `inside` the nodes of that."""

    kind: Kind
    start: int
    size: int
    head: bytes  # in the body, before what it holds
    fields: tuple[int, ...]
    plain: bytes = b""
    inside: tuple["Node", ...] = ()
    recipe: bytes = b""
    left: streams.State | None = None  # what the same stream goes on from, after the node; None: it has ended
    row: int = 0  # bytes of a row of what it holds, where that is known

    @property
    def end(self) -> int:
        return self.start + self.size

    @cached_property
    def n_nodes(self) -> int:
        """How many nodes it is, with those inside."""
        return 1 + sum(node.n_nodes for node in self.inside)

    @cached_property
    def n_fonts(self) -> int:
        """Bytes of fonts, with those inside."""
        return len(self.plain) * (self.kind is FONT) + sum(node.n_fonts for node in self.inside)

    @cached_property
    def n_bzip2(self) -> int:
        """Bytes that bzip2 streams hold, with those inside."""
        return len(self.plain) * (self.kind is BZIP2) + sum(node.n_bzip2 for node in self.inside)

    @cached_property
    def n_body(self) -> int:
        """Bytes of the body."""
        return len(self.head) + len(self.plain) + sum(node.n_body - node.size for node in self.inside)


def row_of(nodes: Sequence[Node]) -> int:
    """Bytes of a row of most of what these hold, nodes inside instead of what holds them; 0: not known."""
    sizes: Counter[int] = Counter()
    left = list(nodes)
    while left:
        node = left.pop()
        sizes[node.row] += len(node.plain) - sum(len(inner.plain) for inner in node.inside)
        left += node.inside
    return max(sizes, key=sizes.__getitem__, default=0)


@dataclass
class View:
    """The body of some content, and where in it the nodes are, each with the view of what it holds."""

    body: bytes
    nodes: "list[tuple[Node, int, View]]"


def view_of(content: bytes, nodes: Sequence[Node]) -> View:
    """The nodes, in their order, and the zip directories between them."""
    placed: list[tuple[Node, int, View]] = []
    body, at = bytearray(), 0
    for node in _with_directories(content, nodes):
        body += content[at : node.start]
        inner = view_of(node.plain, node.inside)
        placed.append((node, len(body), inner))
        body += node.head + inner.body
        at = node.end
    return View(bytes(body + content[at:]), placed)


def _with_directories(content: bytes, nodes: Sequence[Node]) -> Iterator[Node]:
    """Directories are found here, because they refer to all that is in the same content."""
    at = 0
    has_zip = any(node.kind is ZIP for node in nodes)
    for node in [*nodes, None]:
        end = len(content) if node is None else node.start
        found = DIRECTORY.mark.search(content, at, end) if has_zip else None
        if found and (records := DIRECTORY.find(content, found.start())):
            start, head, around = records
            if start + around.size <= end:
                yield Node(DIRECTORY, start, around.size, head, around.fields)
        if node is not None:
            yield node
            at = node.end


def write(numbers: Numbers, view: View) -> None:
    """Everything but the body."""
    numbers.number("nodes", len(view.nodes))
    kind, at = 0, 0
    for node, start, inner in view.nodes:
        kind = numbers.number(("kind", kind), KINDS.index(node.kind))
        _write_place(numbers, node.kind, view.body, at, start)
        for name, value in zip(node.kind.fields, node.fields, strict=True):
            numbers.number((kind, name), value)
        at = start + len(node.head) + len(inner.body)
        if node.kind is DIRECTORY:
            continue
        numbers.number((kind, "size"), len(inner.body))
        if numbers.number((kind, "inside"), int(bool(inner.nodes))):
            write(numbers, inner)
        if node.kind.is_deflated:
            numbers.recipe(node.recipe)


def _write_place(numbers: Numbers, kind: Kind, body: bytes, at: int, start: int) -> None:
    """How many marks of the kind lead to the place; where none does, or there are none, the distance."""
    place, marks = _next_mark(kind, body, at), 1
    while place is not None and place < start:
        place, marks = _next_mark(kind, body, place + 1), marks + 1
    if place != start:
        marks = 0
    if kind.mark is not None:
        numbers.number((kind.name, "marks"), marks)
    if not marks:
        numbers.number((kind.name, "gap"), start - at)


def _read_place(numbers: Numbers, kind: Kind, body: bytes, at: int) -> int:
    marks = numbers.number((kind.name, "marks")) if kind.mark is not None else 0
    if not marks:
        at += numbers.number((kind.name, "gap"))
    for i in range(marks):
        place = _next_mark(kind, body, at + (i > 0))
        if place is None:
            raise FormatError(f"side information names a {kind.name} stream that is not there")
        at = place
    if at >= len(body):
        raise FormatError("side information names a place after the end of the body")
    return at


def _next_mark(kind: Kind, body: bytes, at: int) -> int | None:
    """Where one of the kind may begin."""
    found = kind.mark.search(body, at) if kind.mark is not None else None
    return None if found is None else found.end() if kind.announced else found.start()


def count_kinds(numbers: Numbers, found: dict[str, int] | None = None, depth: int = 0) -> dict[str, int]:
    """How many nodes of each kind there are, as the numbers alone tell."""
    found = {} if found is None else found
    number = 0
    for _ in range(numbers.number("nodes")):
        number = numbers.number(("kind", number))
        if number >= len(KINDS) or depth > MAX_DEPTH or sum(found.values()) >= MAX_NODES:
            raise FormatError("side information is damaged")
        kind = KINDS[number]
        found[kind.name] = found.get(kind.name, 0) + 1
        if kind.mark is None or not numbers.number((kind.name, "marks")):
            numbers.number((kind.name, "gap"))
        for name in kind.fields:
            numbers.number((number, name))
        if kind is DIRECTORY:
            continue
        numbers.number((number, "size"))
        inside = numbers.number((number, "inside"))
        if inside:
            count_kinds(numbers, found, depth + 1)
        if kind.is_deflated:
            numbers.recipe()
    return found


class Reader:
    """Makes content, of `size` bytes at most, of a body and its side information."""

    def __init__(self, numbers: Numbers, size: int, n_body: int) -> None:
        self._numbers = numbers
        self._left = [size] + [MAX_MADE * n_body] * MAX_DEPTH  # bytes that may still be made, by depth
        self._n_looked_back = sum(self._left)  # that directories may still look at
        self._n_nodes = MAX_NODES
        self._n_fonts = MAX_FONTS  # bytes of them
        self._n_bzip2 = MAX_BZIP2  # bytes that they hold

    def content(self, body: bytes, window: bytes, depth: int = 0) -> tuple[bytes, bytes]:
        """The content, and what a stream that has not ended at its end goes on from.

        `window`: what one at its start goes on from.
        """
        if depth > MAX_DEPTH:
            raise FormatError("side information is nested too deep")
        made, at, kind = bytearray(), 0, 0
        left = b""
        n_nodes = self._numbers.number("nodes")
        self._n_nodes -= n_nodes
        if self._n_nodes < 0:
            raise FormatError("side information has too many nodes")
        for _ in range(n_nodes):
            kind = self._numbers.number(("kind", kind))
            if kind >= len(KINDS):
                raise FormatError("side information names a kind of stream that is not known")
            start = _read_place(self._numbers, KINDS[kind], body, at)
            self._check(depth, start - at)
            made += body[at:start]
            piece, at, left = self._node(kind, made, body, start, window if not made else b"", depth)
            self._check(depth, len(piece))
            made += piece
        self._check(depth, len(body) - at)
        return bytes(made + body[at:]), left if at == len(body) else b""

    def _check(self, depth: int, n_made: int) -> None:
        self._left[depth] -= n_made
        if self._left[depth] < 0:
            raise FormatError("side information makes more bytes than there can be")

    def _node(
        self, number: int, made: bytearray, body: bytes, at: int, window: bytes, depth: int
    ) -> tuple[bytes, int, bytes]:
        """What is put back, where it ends in the body, and what goes on from it."""
        kind = KINDS[number]
        fields = tuple(self._numbers.number((number, name)) for name in kind.fields)
        if kind is DIRECTORY:
            back = fields[1]
            if not 0 < back <= min(len(made), self._n_looked_back):
                raise FormatError("a zip directory looks too far back")
            self._n_looked_back -= back
            return *DIRECTORY.put_back(bytes(made[len(made) - back :]), body, at, fields, self._left[depth]), b""
        head = body[at : at + kind.head_size(body, at, fields)]
        start = at + len(head)
        end = start + self._numbers.number((number, "size"))
        if not start < end <= len(body):
            raise FormatError("side information names bytes after the end of the body")
        plain = body[start:end]
        if self._numbers.number((number, "inside")):
            plain, _ = self.content(plain, b"", depth + 1)
        if not kind.is_deflated:
            self._n_fonts -= len(plain) if kind is FONT else 0
            self._n_bzip2 -= len(plain) if kind is BZIP2 else 0
            if self._n_fonts < 0 or self._n_bzip2 < 0:
                raise FormatError("side information has too many fonts or bzip2 streams")
            return kind.wrap(b"", plain, b"", fields), end, b""
        stream, ended = streams.close(plain, self._numbers.recipe(), window if kind is RAW and window else None)
        left = b"" if ended else (window + plain)[-streams.WINDOW :]
        return kind.wrap(head, plain, stream, fields), end, left
