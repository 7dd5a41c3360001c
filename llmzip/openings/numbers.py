"""Numbers and recipes of the side information: each is coded by what was seen in its place before.

One routine for both directions, as in the predictor: `number` and `recipe` are given what a writer writes, and return
what a reader reads.
"""

from collections.abc import Hashable

from llmzip.errors import FormatError, TruncatedError
from llmzip.predictor import coder
from llmzip.predictor.learning import learnt_cell, limited
from llmzip.primitives import create_varint, parse_varint

FIRST_CELL = 1 << 31  # a probability of one half that counts for nothing
CELL_LIMIT = 30
MAX_BITS = 32  # of a number and one
LEARNT_BITS = 3  # of a number, after its first one, that have cells
RECIPES = 16  # different ones that are remembered
HALF = 1 << (coder.TOTAL_BITS - 1)


class Numbers:
    """Side information: varint n, n bytes of recipes, then the code stream of all numbers."""

    def __init__(self, side: bytes | None = None) -> None:
        self._cells: dict[Hashable, int] = {}
        self._recent: list[bytes] = []  # recipes, the last one first
        self._raw, self._raw_at = b"", 0
        self._coder: coder.Writer | coder.Reader = coder.Writer()
        if side is not None:
            try:
                size, at = parse_varint(side, 0, "the side information")
            except TruncatedError as error:
                raise FormatError("side information is too short") from error
            self._raw = side[at : at + size]
            self._coder = coder.Reader(side[at + size :])

    @property
    def reads(self) -> bool:
        return self._coder.reads

    def finish(self) -> bytes:
        """What a writer wrote."""
        assert isinstance(self._coder, coder.Writer)
        return create_varint(len(self._raw)) + self._raw + self._coder.payload()

    def check_end(self) -> None:
        """Raise FormatError if a reader has recipes left."""
        if self._raw_at != len(self._raw):
            raise FormatError("side information is too long")

    def number(self, name: Hashable, value: int = 0) -> int:
        """The count of the bits of value + 1 in unary, then those below the first."""
        n, place = (value + 1).bit_length() - 1, 0
        while self._bit((name, place), int(n > place)):
            place += 1
            if place == MAX_BITS:
                raise FormatError("a number of the side information is too great")
        found = 1
        for i in range(place - 1, -1, -1):
            bit = (value + 1) >> i & 1
            if place - i <= LEARNT_BITS:
                found = found << 1 | self._bit((name, place, found), bit)
            else:
                found = found << 1 | self._coder.code(HALF, bit)
        return found - 1

    def _bit(self, name: Hashable, bit: int) -> int:
        cell = self._cells.get(name, FIRST_CELL)
        bit = self._coder.code(limited(cell >> 8), bit)
        self._cells[name] = learnt_cell(cell, bit, CELL_LIMIT)
        return bit

    def recipe(self, value: bytes = b"") -> bytes:
        """One of the last ones, by its place among them, or a new one."""
        known = self._recent.index(value) if value in self._recent else len(self._recent)
        place = self.number("recipe", known)
        if place > len(self._recent):
            raise FormatError("side information names a recipe that has not been there")
        found = self._recent.pop(place) if place < len(self._recent) else self._new_recipe(value)
        self._recent = [found, *self._recent[: RECIPES - 1]]
        return found

    def _new_recipe(self, value: bytes) -> bytes:
        size = self.number("recipe size", len(value))
        if not self.reads:
            self._raw += value
        self._raw_at += size
        if self._raw_at > len(self._raw):
            raise FormatError("side information ends within a recipe")
        return self._raw[self._raw_at - size : self._raw_at]
