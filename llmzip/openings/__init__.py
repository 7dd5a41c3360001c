"""Openings: streams (deflate, bzip2), base64 and enciphered fonts, replaced by what they hold (docs/format.md 3.6).

A body is the content after that; its side information tells what was where, and how the streams were made.
"""

from collections.abc import Sequence
from typing import NamedTuple

from llmzip.container import max_opened_size
from llmzip.errors import FormatError
from llmzip.openings.directory import DIRECTORY
from llmzip.openings.finding import Incomplete, Judge, Search
from llmzip.openings.kinds import ZIP
from llmzip.openings.numbers import Numbers
from llmzip.openings.streams import WINDOW, State
from llmzip.openings.views import (
    MAX_BZIP2,
    MAX_FONTS,
    MAX_NODES,
    Node,
    Reader,
    View,
    count_kinds,
    row_of,
    view_of,
    write,
)

__all__ = [
    "MAX_BZIP2", "MAX_FONTS", "MAX_NODES", "ZIP", "Closed", "Incomplete", "Judge", "Node", "Opening", "Search", "State",
    "body_of", "close_content", "find_directory", "list_side", "opening_of", "row_of",
]  # fmt: skip

# Where that is from which a stream at the start of the content goes on: nowhere, in the memory of the group, in front
# of the body.
NOTHING, BEFORE, IN_FRONT = range(3)


class Kinds(NamedTuple):
    """What was opened of one kind."""

    name: str
    n_streams: int
    n_before: int  # bytes of content
    n_after: int  # of the body


class Opening(NamedTuple):
    body: bytes
    side: bytes
    window: bytes  # what the next content goes on from; empty: from nothing
    found: tuple[Kinds, ...]
    row: int  # bytes of a row of most of what was opened; 0: not known

    def summary(self) -> str:
        """What was opened, in words: "30 zip (18558 to 31350 bytes), 1 directory (2010 to 424 bytes)"."""
        return ", ".join(
            f"{kind.n_streams} {kind.name} ({kind.n_before} to {kind.n_after} bytes)" for kind in self.found
        )


class Closed(NamedTuple):
    content: bytes
    window: bytes


def opening_of(content: bytes, nodes: Sequence[Node], window: bytes = b"", before: bytes = b"") -> Opening | None:
    """The opening of content in which these nodes have been found; None if it does not lead back to the very content.

    `window`: what the first of them goes on from, if it does; `before`: the same, as far as the reader knows it. If it
    does not, it goes in front.
    """
    view = view_of(content, nodes)
    numbers = Numbers()
    place = NOTHING if not window else BEFORE if window == before else IN_FRONT
    numbers.number("window", place)
    body = view.body
    if place == IN_FRONT:
        numbers.number("window size", len(window))
        body = window + body
    if len(body) > max_opened_size(len(content)):
        return None
    write(numbers, view)
    side = numbers.finish()
    try:
        closed = close_content(body, side, len(content), before)
    except FormatError:
        return None
    if closed.content != content:
        return None
    return Opening(body, side, closed.window, _list(view, {}), row_of(nodes))


def body_of(node: Node) -> bytes:
    """What stands for it in a body."""
    return node.head + view_of(node.plain, node.inside).body


def find_directory(content: bytes) -> tuple[int, int]:
    """Where the central directory of a zip archive begins and ends in this; both at its end if there is none."""
    found = DIRECTORY.mark.search(content)
    return (found.start(), DIRECTORY.end(content, found.start())) if found else (len(content), len(content))


def _list(view: View, found: dict[str, Kinds]) -> tuple[Kinds, ...]:
    for node, _, inner in view.nodes:
        name = node.kind.name
        _, n_streams, n_before, n_after = found.get(name, Kinds(name, 0, 0, 0))
        found[name] = Kinds(name, n_streams + 1, n_before + node.size, n_after + len(node.head) + len(node.plain))
        _list(inner, found)
    return tuple(found.values())


def list_side(side: bytes) -> tuple[tuple[str, int], ...]:
    """The kinds of what was opened, and how many of each. FormatError for what no writer writes."""
    numbers = Numbers(side)
    if numbers.number("window") == IN_FRONT:
        numbers.number("window size")
    return tuple(count_kinds(numbers).items())


def close_content(body: bytes, side: bytes, size: int, before: bytes = b"") -> Closed:
    """The content, of `size` bytes at most, and what the next goes on from.

    `before`: what the one before has left for this.

    FormatError, in bounded time and memory, for what no writer writes.
    """
    numbers = Numbers(side)
    window, place = b"", numbers.number("window")
    if place == BEFORE:
        window = before
    elif place == IN_FRONT:
        n = numbers.number("window size")
        window, body = body[:n], body[n:]
    if place > IN_FRONT or len(window) > WINDOW or (place and not window):
        raise FormatError("side information goes on from what is not there")
    content, left = Reader(numbers, size, len(body)).content(body, window)
    numbers.check_end()
    return Closed(content, left)
