"""Where content is cut into blocks, and what of it is opened.

At sizes, where the kind of content changes, and never within what was opened as one. Depends on the content alone, not
on the pieces in which it comes: decided once there is more of it than is looked at. Imports what looks at content where
there is some.
"""

import sys
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from llmzip.openings import Node, Opening, Search, State

# Bytes that a block of what was opened may have, however small blocks are to be: a deflate block may hold as many.
LEAST_OPENED = 1 << 18
# Bytes that a piece of a stream may hold, and what is not in pieces: bounds what a block has.
MOST_PIECE, MOST_PLAIN = 1 << 24, 1 << 25
# Bytes beyond a piece of a stream that are looked at: what is deflated may be longer than what it holds.
AHEAD = 1 << 16
MARK = 1 << 6  # bytes of what tells of a stream, which may stand across the end of what is searched
NEAR = 1 << 10  # bytes by which a cut may be moved to where something opened begins or ends
LEAST_PICTURE = 1 << 15  # bytes of what has rows, for which it gets a block of its own


@dataclass(frozen=True)
class Unit:
    """Content that is cut where it is long, or that was opened as one: then it has a node.

    `body`: what it is judged by.
    """

    size: int
    body: bytes
    node: "Node | None" = None
    window: bytes = b""  # that the node goes on from
    stays: bool = False  # in one with the unit before

    @cached_property
    def row(self) -> int:
        """Bytes of a row of a picture of some size; 0: it is none."""
        if self.node is None or len(self.body) < LEAST_PICTURE:
            return 0
        from llmzip import openings

        return openings.row_of((self.node,))

    @property
    def is_whole(self) -> bool:
        return self.node is not None or self.stays

    @property
    def is_zip(self) -> bool:
        from llmzip import openings

        return self.node is not None and self.node.kind is openings.ZIP

    def split(self, n: int) -> "tuple[Unit, Unit]":
        return Unit(n, self.body[:n]), Unit(self.size - n, self.body[n:])


class Held(NamedTuple):
    """What units hold together."""

    n_body: int = 0
    n_bytes: int = 0
    n_nodes: int = 0
    n_fonts: int = 0
    n_bzip2: int = 0
    row: int = 0  # bytes of a row of the last picture of some size; 0: there is none

    def and_of(self, unit: Unit) -> "Held":
        node = unit.node
        return Held(
            self.n_body + len(unit.body),
            self.n_bytes + unit.size,
            self.n_nodes + (node.n_nodes if node else 0),
            self.n_fonts + (node.n_fonts if node else 0),
            self.n_bzip2 + (node.n_bzip2 if node else 0),
            unit.row or self.row,
        )


@dataclass(frozen=True)
class Cut:
    """Content of one block: its size, that of its body, whether that is text, and what in it was opened."""

    n_bytes: int
    n_body: int
    is_text: bool
    nodes: "tuple[Node, ...]" = ()
    window: bytes = b""  # that the first of them goes on from

    def opening(self, content: bytes, before: bytes) -> "Opening | None":
        """None if nothing was opened, or if it would not lead back.

        `before`: the window that the block before has left.
        """
        if not self.nodes:
            return None
        from llmzip import openings

        return openings.opening_of(content, self.nodes, self.window, before)


class Cutter:
    """Cuts content as it comes. Blocks that are not text may have `greatest` bytes."""

    def __init__(self, block_size: int, greatest: int, *, opens: bool) -> None:
        self._block_size, self._greatest = block_size, greatest
        self._look = block_size  # bytes of bodies that are looked at before anything is cut
        self._units: deque[Unit] = deque()  # that are not cut yet
        # Bytes of content that are searched at a time; and above which there are enough for that.
        self._scan = self._needs = block_size
        self._opens = opens
        self._piece = min(max(block_size, LEAST_OPENED), MOST_PIECE)
        self._left: State | None = None  # what a stream goes on from after the last unit

    def next(self, held: bytearray, at: int, *, last: bool) -> tuple[list[Cut], int]:
        """The next blocks, from `at` in what is held, none if more is needed; and the least bytes of bodies to come.

        `last`: there will be no more.
        """
        while self._look_at(held, at, last):
            from llmzip import segments

            body = b"".join(unit.body for unit in self._units)
            known = len(body) + len(held) - at - sum(unit.size for unit in self._units)
            more = known > self._look
            runs = segments.runs(body[: self._look])
            if more and self._look < self._greatest and runs != [(self._look, True)]:
                self._look = self._greatest
                continue
            self._look = self._block_size
            if more and len(runs) > 1:
                runs.pop()  # it may be longer than what is seen of it
            taken = self._taken(runs)
            rest = len(held) - at - sum(unit.size for units, _ in taken for unit in units)
            if last and 0 < rest < NEAR and _has_whole(taken):  # what follows a stream at the end
                taken[-1][0].append(Unit(rest, bytes(held[-rest:]), stays=True))
                self._units.clear()
            cuts = [cut for units, is_text in taken for cut in self._cut(units, is_text)]
            return cuts, sys.maxsize if more else known
        return [], 0

    def _look_at(self, held: bytearray, at: int, last: bool) -> bool:
        """Make units until there are enough to cut, or no more content comes; false if there is not enough of it."""
        known = sum(len(unit.body) for unit in self._units)
        at += sum(unit.size for unit in self._units)
        while known < self._look or (known == self._look and at == len(held)):
            if self._opens:
                units = self._next_units(held, at, last)
            else:
                content = bytes(held[at : at + self._look - known])
                units = (
                    [Unit(len(content), content)] if content and (last or len(held) - at > self._look - known) else []
                )
            if not units:
                return last and bool(self._units)
            known += sum(len(unit.body) for unit in units)
            at += sum(unit.size for unit in units)
            self._units += units
        return True

    def _next_units(self, held: bytearray, at: int, last: bool) -> list[Unit]:
        """Of the content from `at` on; none if there is not enough."""
        n_left, most = len(held) - at, self._scan + self._piece + AHEAD
        if not n_left or not (last or n_left > self._needs + MARK):
            return []
        content = bytes(held[at : at + most])
        if not last and n_left <= most and (self._left is not None or self._search().finds(content, self._scan)):
            self._needs = most
            return []
        self._needs = self._scan
        if units := self._units_of(content, more=n_left > most):
            self._scan = self._needs = self._block_size
            return units
        if self._scan == self._greatest:
            self._scan = self._needs = self._block_size
            return self._units_of(content, more=False)
        self._scan = self._needs = self._greatest  # what begins here is longer
        return self._next_units(held, at, last)

    def _search(self) -> "Search":
        from llmzip import openings
        from llmzip.trials import is_worth_opening

        return openings.Search(self._piece, min(2 * self._greatest, MOST_PLAIN), is_worth_opening)

    def _units_of(self, content: bytes, *, more: bool) -> list[Unit]:
        """What begins in the bytes that are searched; none if the first does not end in the content."""
        from llmzip import openings

        search = self._search()
        before, self._left = self._left, None
        if before is not None and (node := search.piece(content, before)):
            self._left = node.left
            return [Unit(node.size, openings.body_of(node), node, before.window)]
        units: list[Unit] = []
        at, end, n_body = 0, min(self._scan, len(content)), 0
        zipped = any(unit.is_zip for unit in self._units)
        try:
            for node in search.nodes(content, stop=end, more=more):
                unit = Unit(node.size, openings.body_of(node), node)
                units += [*self._closed(content[at : node.start], zipped), unit]
                at, n_body, zipped = node.end, n_body + len(unit.body), zipped or unit.is_zip
                self._left = node.left
                if node.left is not None or n_body > self._look:
                    return units
        except openings.Incomplete as incomplete:
            end = incomplete.at
        return units + self._closed(content[at:end], zipped)

    def _closed(self, content: bytes, zipped: bool) -> list[Unit]:
        """What is between streams. The directory of a zip archive stays with its entries, if there are any before."""
        from llmzip import openings

        start, end = len(content), len(content)
        if zipped:
            start, end = openings.find_directory(content)
        parts = [(content[:start], False), (content[start:end], True), (content[end:], False)]
        return [Unit(len(part), part, stays=stays) for part, stays in parts if part]

    def _taken(self, runs: list[tuple[int, bool]]) -> list[tuple[list[Unit], bool]]:
        """The units of each run, whose ends are moved to where units may be cut; runs in a row of one kind are one."""
        taken: list[tuple[list[Unit], bool]] = []
        end = done = 0
        for n_bytes, is_text in runs:
            end += n_bytes
            units: list[Unit] = []
            while self._units and (n := self._n_taken(end - done, first=not units)):
                unit = self._units.popleft()
                if n < len(unit.body):
                    unit, rest = unit.split(n)
                    self._units.appendleft(rest)
                units.append(unit)
                done += n
            for is_picture, each in groupby(units, lambda unit: unit.row > 0):  # whatever its bytes look like
                _append(taken, list(each), is_text and not is_picture)
        return taken

    def _n_taken(self, n_left: int, *, first: bool) -> int:
        """Bytes of the body of the next unit that belong to a run that has so many left; `first`: it has none yet."""
        unit = self._units[0]
        size = len(unit.body)
        if n_left >= size:
            return size
        if unit.stays or (unit.node and (2 * n_left > size or (first and n_left > 0))):
            return size
        if unit.node or n_left <= 0:
            return 0
        if n_left < NEAR and not first:
            return 0
        return size if size - n_left < NEAR and len(self._units) > 1 else n_left

    def _cut(self, units: list[Unit], is_text: bool) -> Iterator[Cut]:
        """Blocks of a run of units."""
        from llmzip import openings

        size = self._block_size if is_text else self._greatest
        block: list[Unit] = []
        before = Held()  # what it holds
        for unit in self._split(units, size):
            held = before.and_of(unit)
            limit = max(size, LEAST_OPENED) if held.n_nodes else size
            is_full = (
                max(before.n_body, before.n_bytes) + max(len(unit.body), unit.size) > limit
                or held.n_nodes > openings.MAX_NODES // 2
                or held.n_fonts > openings.MAX_FONTS
                or held.n_bzip2 > openings.MAX_BZIP2
                or 0 < before.row != held.row
            )
            if block and not unit.stays and (unit.window or is_full):
                yield _cut_of(block, is_text)
                block, held = [], Held().and_of(unit)
            block.append(unit)
            before = held
            if unit.node and unit.node.left is not None:
                yield _cut_of(block, is_text)
                block, before = [], Held()
        if block:
            yield _cut_of(block, is_text)

    def _split(self, units: list[Unit], size: int) -> Iterator[Unit]:
        """Long ones, where they can be cut."""
        for unit in units:
            while not unit.is_whole and unit.size > size:
                part, unit = unit.split(size)
                yield part
            yield unit


def _append(taken: list[tuple[list[Unit], bool]], units: list[Unit], is_text: bool) -> None:
    """One run more. It is one with the last, if that is of its kind, or it is short and follows something opened."""
    is_short = sum(len(unit.body) for unit in units) < NEAR and _has_whole(taken)
    if taken and (taken[-1][1] == is_text or is_short):
        taken[-1][0].extend(units)
    else:
        taken.append((units, is_text))


def _has_whole(taken: list[tuple[list[Unit], bool]]) -> bool:
    """Whether there is something opened in the last of these."""
    return bool(taken) and any(unit.is_whole for unit in taken[-1][0])


def _cut_of(units: list[Unit], is_text: bool) -> Cut:
    nodes = []
    at = 0
    for unit in units:
        if unit.node is not None:
            nodes.append(replace(unit.node, start=at))
        at += unit.size
    return Cut(at, sum(len(unit.body) for unit in units), is_text, tuple(nodes), units[0].window)
