"""How content is coded: one `Coding`, from the command line to the codec. What a decoder needs is in the file."""

from dataclasses import dataclass, replace
from typing import Self, TypedDict, Unpack

from llmzip.container import MAX_BLOCK_SIZE, MAX_LINE_BITS, MIN_LINE_BITS

MAX_GROUP_CONTENT = 1 << 26  # bytes: bodies may be longer, and the last block goes beyond it


class CodingError(ValueError):
    """Lanes, window or overlap that do not fit the model or the format."""


class Options(TypedDict, total=False):
    """The fields of `Coding` by name, as public functions take them; what is None is as if it were not given."""

    block_size: int | None
    group_size: int | None
    line_bits: int | None
    share: float | None
    lane_size: int | None
    lanes: int | None
    window: int | None
    overlap: int | None
    opens: bool | None


@dataclass(frozen=True, kw_only=True)
class Coding:
    """What an encoder may choose. None: by the default of the model, or by the size of a block."""

    block_size: int = 1 << 20  # bytes of content: what one seek decodes, and what one damaged byte costs
    group_size: int = 1 << 24  # bytes of content that is coded in one memory
    line_bits: int = 22  # of that memory at most: 2^22 lines of 64 bytes, with what has come once 320 MiB
    share: float = 0.97  # what the model must make of a sample that is coded without it, for its time
    # bytes: where `lanes` is None, there is one for so many of a block. A cold start costs some 150 bits: under 1 % of
    # what a lane of this size takes (lab-log.md)
    lane_size: int = 1 << 14
    lanes: int | None = None
    window: int | None = None  # tokens
    overlap: int | None = None  # tokens
    opens: bool = True  # streams and base64 are coded by what they hold

    def __post_init__(self) -> None:
        if not 1 <= self.block_size <= MAX_BLOCK_SIZE:
            raise ValueError(f"block_size must be 1 to {MAX_BLOCK_SIZE}")
        if self.lane_size < 1:
            raise ValueError("lane_size must be 1 or more bytes")
        if not 1 <= self.group_size <= MAX_GROUP_CONTENT:
            raise ValueError(f"group_size must be 1 to {MAX_GROUP_CONTENT}")
        if not MIN_LINE_BITS <= self.line_bits <= MAX_LINE_BITS:
            raise ValueError(f"line_bits must be {MIN_LINE_BITS} to {MAX_LINE_BITS}")

    def but(self, **options: Unpack[Options]) -> Self:
        """The same, but for what is given."""
        if unknown := options.keys() - Options.__annotations__:
            raise TypeError(f"unexpected argument {min(unknown)!r}")
        given = {name: value for name, value in options.items() if value is not None}
        return replace(self, **given)  # type: ignore[arg-type]  # their types are those of Options
