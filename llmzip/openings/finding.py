"""Finds what can be opened in content, and opens it: streams, and streams in what they hold.

Nothing here is trusted: what was opened is put back and compared.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from llmzip import segments
from llmzip.container import max_opened_size
from llmzip.errors import FormatError
from llmzip.openings import attachments, streams
from llmzip.openings.attachments import BASE64
from llmzip.openings.bzip2 import BZIP2
from llmzip.openings.fonts import FONT, MAX_FONT
from llmzip.openings.kinds import (
    GZIP,
    MIN_PLAIN,
    PDF,
    PNG,
    RAW,
    ZIP,
    ZLIB,
    ZLIB_HEADER,
    ZLIB_HEADERS,
    Kind,
    Stream,
)
from llmzip.openings.streams import Opened, State
from llmzip.openings.views import MAX_BZIP2, MAX_DEPTH, MAX_FONTS, MAX_NODES, Node

MAX_RATIO = 200  # bytes of what a piece holds for each of its own: zeros have 1030, logs 30
MIN_PIECE = 1 << 16  # bytes of a piece that ends where the kind of what it holds changes
MIN_LONE_BASE64 = 1 << 13  # bytes of what base64 holds, if it is not text and holds nothing in turn
MAX_INSIDE = MAX_NODES >> 2  # nodes in what a stream holds
MIN_BASE64 = 512  # bytes of text, below which it is not worth it
MAX_LOST_BASE64 = 1 << 24  # bytes of what looks like it and is none, tried from each of its lines on
# Bytes that bzip2 streams hold which stay closed: always, and for each byte that is searched.
LOST_ALWAYS, LOST_SHARE = 1 << 20, 64
LOST_BZIP2 = 1 << 18  # what a header that leads nowhere counts for: a block may be unpacked that is found wrong then
MAX_MARKED = 1 << 10  # headers of a kind that lead nowhere, in one go: each may cost reading all that follows
MAX_UNMARKED = 1 << 13  # zlib headers that nothing announces, nearly all wrong at once: machine code has 800 in a MiB
PATIENCE = 1 << 6  # bytes that nothing is lost by, at the end of what is known: a header may be cut there

# Whether what a stream of so many bytes holds, in rows of so many (0: not known), is coded smaller than the stream.
Judge = Callable[[bytes, int, int], bool]

_ZLIB_PAIRS = [(re.escape(bytes([first])), re.escape(bytes(seconds))) for first, seconds in ZLIB_HEADERS.items()]
# Each begins with one of few bytes: so most others are gone past at once.
_PLACES = re.compile(
    rb"[BPIsx\x1f%b](?:"
    rb"(?P<zip>(?<=P)K\x03\x04.{4}\x08\x00)|(?P<gzip>(?<=\x1f)\x8b\x08[\x00-\x1f])|(?P<png>(?<=I)DAT)|"
    rb"(?P<bzip2>(?<=B)Zh[1-9]1AY&SY)|"
    rb"(?P<font>(?<=eex)ec(?:\r\n|[\t\n\r ])(?:\x80\x02.{4})?)|"
    rb"(?P<pdf>(?<=s)tream\r?\n(?=%b))|(?P<zlib>%b))"
    % (re.escape(bytes(ZLIB_HEADERS)), ZLIB_HEADER, b"|".join(rb"(?<=%b)[%b]" % pair for pair in _ZLIB_PAIRS)),
    re.DOTALL,
)
_KINDS: dict[str, Kind] = {kind.name: kind for kind in (ZIP, GZIP, PNG, PDF, ZLIB)}


class Incomplete(Exception):
    """What begins at `at` may go on after what is known of the content."""

    def __init__(self, at: int) -> None:
        super().__init__(at)
        self.at = at


@dataclass
class Search:
    """How streams are looked for: bytes that a piece may hold, bytes for all else, and what judges what is not text."""

    max_piece: int
    max_plain: int
    judge: Judge
    # headers of each kind that led nowhere, one after another
    n_lost: Counter[str] = field(default_factory=Counter, init=False)
    n_lost_base64: int = field(default=0, init=False)  # bytes that look like base64 and led nowhere
    n_fonts: int = field(default=0, init=False)  # bytes that were deciphered
    n_bzip2: int = field(default=0, init=False)  # bytes that bzip2 streams hold, in one outermost node
    n_lost_bzip2: int = field(default=0, init=False)  # the same of those that led nowhere, and what each counts for
    most_lost_bzip2: int = field(default=0, init=False)
    most_body: int = field(default=0, init=False)  # bytes of the body of one outermost node

    def nodes(
        self, content: bytes, start: int = 0, *, stop: int | None = None, more: bool = False, depth: int = 0
    ) -> Iterator[Node]:
        """What is found from `start` on and begins before `stop`.

        Raises Incomplete, if there is `more` content to come, where something begins that does not end in what is
        there.
        """
        stop = len(content) if stop is None else stop
        at = start
        if not depth:
            self.most_lost_bzip2 = LOST_ALWAYS + LOST_SHARE * stop
        for name, place, place_end in _places(content, stop):
            if place < at:
                continue
            if not depth:
                self.n_bzip2 = 0
            node = self._at(content, name, place, place_end, more, depth)
            if node is not None and node.start >= start:
                yield node
                start = at = node.end

    def finds(self, content: bytes, stop: int) -> bool:
        """Whether there is something to be tried that begins before `stop`."""
        return next(_places(content, stop), None) is not None

    def piece(self, content: bytes, before: State) -> Node | None:
        """The piece of a stream that goes on at the start of the content."""
        return self._stream(RAW, content, 0, 0, 0, before)

    def _at(self, content: bytes, name: str, place: int, end: int, more: bool, depth: int) -> Node | None:
        if name == BASE64.name:
            return self._base64(content, place, more, depth)
        if name == PNG.name:
            return self._png(content, place - 4, more, depth)
        if name == FONT.name:
            return self._font(content, end, more)
        if name == BZIP2.name:
            return self._bzip2(content, place, more, depth)
        kind = _KINDS[name]
        start = end if kind.announced else place
        # no block has such a type
        if kind is ZLIB and (content[start + 2 : start + 3] or b"\6")[0] >> 1 & 3 == 3:
            return None
        try:
            n_head = kind.head_size(content, start)
        except FormatError:
            return None
        if self.n_lost[kind.name] >= (MAX_UNMARKED if kind is ZLIB else MAX_MARKED):
            return None
        self.n_lost[kind.name] += 1
        node = self._stream(kind, content, start, n_head, depth)
        if node is not None:
            self.n_lost[kind.name] = 0
        return node

    def _stream(
        self, kind: Kind, content: bytes, start: int, n_head: int, depth: int, before: State | None = None
    ) -> Node | None:
        first = start + n_head
        opened = streams.open(content, first, self.max_piece, before)
        if opened is None or len(opened.plain) < MIN_PLAIN or len(opened.plain) > MAX_RATIO * opened.size:
            return None
        if opened.state is not None or before is not None:
            opened = self._cut(content, first, opened, before)
        end = first + opened.size
        tail = content[end : end + 16]
        around = kind.unwrap(content[start:first], opened.plain, content[first:end], tail, opened.state is None)
        if around is None:
            return None
        inside, row = self._inside(opened.plain, around.size, depth), kind.row(content, start)
        if not inside and not self._pays(opened.plain, opened.size - len(opened.recipe), row):
            return None
        return Node(
            kind, start, around.size, around.head, around.fields, opened.plain, inside, opened.recipe, opened.state, row
        )

    def _cut(self, content: bytes, first: int, opened: Opened, before: State | None) -> Opened:
        """A shorter piece of a long stream, if text ends in it, or begins."""
        size = segments.runs(opened.plain)[0][0]
        if MIN_PIECE <= size < len(opened.plain) - MIN_PIECE:
            shorter = streams.open(content, first, size, before)
            if shorter is not None and len(shorter.plain) >= MIN_PIECE // 2:
                return shorter
        return opened

    def _inside(self, plain: bytes, size: int, depth: int) -> tuple[Node, ...]:
        """What is in it, until that is too much for a node of so many bytes of content."""
        found: list[Node] = []
        if not depth:
            self.most_body = min(self.max_plain, max_opened_size(size))
        n_body = n_nodes = 0
        for node in self.nodes(plain, depth=depth + 1) if depth < MAX_DEPTH else ():
            n_body, n_nodes = n_body + node.n_body, n_nodes + node.n_nodes
            if n_body > self.most_body or n_nodes > MAX_INSIDE:
                break
            found.append(node)
        return tuple(found)

    def _pays(self, plain: bytes, n_closed: int, row: int = 0) -> bool:
        """Whether coding what a stream holds takes less than coding the stream."""
        return n_closed > 0 and (is_text(plain) or self.judge(plain, n_closed, row))

    def _png(self, content: bytes, start: int, more: bool, depth: int) -> Node | None:
        if start < 0:
            return None
        found = PNG.joined(content, start)
        if found is None or (more and found[2] + 12 > len(content)):
            if (
                more
                and int.from_bytes(content[start : start + 4], "big") < self.max_plain
                and _may_go_on(content, start)
            ):
                raise Incomplete(start)
            if found is None:
                return None
        stream, chunk, end = found
        opened = streams.open(stream, 2, self.max_plain)
        if opened is None or opened.state is not None or len(opened.plain) > MAX_RATIO * opened.size:
            return None
        node = Node(
            PNG,
            start,
            end - start,
            PNG.TYPE,
            (int.from_bytes(stream[:2], "big"), chunk),
            opened.plain,
            (),
            opened.recipe,
            row=PNG.row(content, start),
        )
        if PNG.wrap(PNG.TYPE, node.plain, stream[2 : 2 + opened.size], node.fields) != content[start:end]:
            return None
        return node if self.judge(opened.plain, opened.size - len(opened.recipe), node.row) else None

    def _font(self, content: bytes, start: int, more: bool) -> Node | None:
        if not FONT.begins(content, start):
            return None
        most = min(MAX_FONT, MAX_FONTS - self.n_fonts)
        reach = FONT.reach(content, start, most)
        plain = FONT.found(content, start, reach)
        if plain is None and more and reach > len(content):
            raise Incomplete(start)
        self.n_fonts += min(reach, len(content)) - start if plain is None else len(plain)
        return None if plain is None else Node(FONT, start, len(plain), b"", (), plain)

    def _bzip2(self, content: bytes, start: int, more: bool, depth: int) -> Node | None:
        if self.n_lost_bzip2 > self.most_lost_bzip2:
            return None
        plain, size, is_cut = BZIP2.unpack(content, start, min(self.max_plain, MAX_BZIP2 - self.n_bzip2))
        if is_cut and more:
            raise Incomplete(start)
        level = content[start + 3] - ord("0")
        is_worth_it = MIN_PLAIN <= len(plain) <= MAX_RATIO * size
        if is_worth_it and BZIP2.is_ours(content[start : start + size], plain, level):
            self.n_bzip2 += len(plain)
            inside = self._inside(plain, size, depth)
            if inside or self._pays(plain, size):
                return Node(BZIP2, start, size, b"", (level,), plain, inside)
        self.n_lost_bzip2 += LOST_BZIP2 + len(plain)
        return None

    def _base64(self, content: bytes, start: int, more: bool, depth: int) -> Node | None:
        found = self._decoded(content, start)
        if found is None:
            return None
        plain, around = found
        if more and start + around.size + PATIENCE > len(content):
            raise Incomplete(start)
        if len(plain) > self.max_plain:
            return None
        inside = self._inside(plain, around.size, depth)
        if not inside and not is_text(plain) and len(plain) < MIN_LONE_BASE64:
            return None
        return Node(BASE64, start, around.size, b"", around.fields, plain, inside)

    def _decoded(self, content: bytes, start: int) -> tuple[bytes, Stream] | None:
        """What the base64 that begins at `start` holds, and how it is written."""
        if self.n_lost_base64 > MAX_LOST_BASE64:
            return None
        for text, line, end in BASE64.texts(content, start):
            if len(text) >= MIN_BASE64 and (found := BASE64.decoded(text, line, end)):
                return found
            self.n_lost_base64 += len(text)
        return None


def _places(content: bytes, stop: int) -> Iterator[tuple[str, int, int]]:
    """Where something may begin before `stop`, in order: its kind, and where what tells of it begins and ends."""
    runs = iter([run for run in attachments.runs(content[: stop + attachments.MIN_LINE]) if run < stop])
    run = next(runs, None)
    at = 0
    while found := _PLACES.search(content, at, min(len(content), stop + PATIENCE)):
        while run is not None and run < found.start():
            yield BASE64.name, run, run
            run = next(runs, None)
        if found.start() >= stop:
            break
        assert found.lastgroup
        yield found.lastgroup, found.start(), found.end()
        at = found.start() + 1
    while run is not None:
        yield BASE64.name, run, run
        run = next(runs, None)


def is_text(content: bytes) -> bool:
    """Whether most of it is."""
    return sum(n_bytes if text else -n_bytes for n_bytes, text in segments.runs(content)) > 0


def _may_go_on(content: bytes, at: int) -> bool:
    """Whether chunks of a PNG reach to the end of what is known."""
    while content[at + 4 : at + 8] == PNG.TYPE[: max(0, len(content) - at - 4)]:
        at += 12 + int.from_bytes(content[at : at + 4], "big")
        if at + 8 > len(content):
            return True
    return False
