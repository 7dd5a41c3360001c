"""Where a piece of a stream goes on."""

from llmzip.deflate.parameters import WINDOW, Parameters


class State:
    """The plain text before a piece, and, after `close_stream`, what else its producer knew there.

    `State(window)` of the same window closes what was opened after it: `state.alone` opens so.
    """

    __slots__ = ("lead", "marks", "parameters", "reach", "window")

    def __init__(
        self,
        window: bytes,
        lead: int = 1,
        reach: int | None = None,
        marks: bytes | None = None,
        parameters: Parameters | None = None,
    ) -> None:
        if len(window) > WINDOW:
            raise ValueError(f"a window has at most {WINDOW} bytes")
        self.window = window
        # A recipe says these two: the bits before its first block that share a byte with it, below a one, and how far
        # back the producer's own window begins.
        self.lead, self.reach = lead, len(window) if reach is None else reach
        self.marks = marks  # a byte for each position: whether it is in the chains; None: all are
        self.parameters = parameters  # of the piece before: a good guess

    @property
    def alone(self) -> "State":
        """To open a piece that will be closed from its window alone, at the start of a group."""
        return State(self.window, self.lead, self.reach, None, self.parameters)
