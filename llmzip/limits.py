"""What a caller lets a file ask for. Files come from strangers; these are the bounds that are the caller's to set."""

from dataclasses import dataclass

from llmzip.errors import LimitExceeded


@dataclass(frozen=True)
class Limits:
    """Bounds on the decoding of one file; None: only those of the format."""

    max_size: int | None = None  # bytes of content, of all members together
    memory: int | None = None  # bytes that decoding one block may take, weights of a model not counted

    def check_size(self, n_bytes: int) -> None:
        """Raise LimitExceeded if so many bytes of content are too many."""
        if self.max_size is not None and n_bytes > self.max_size:
            raise LimitExceeded(
                f"the content has {n_bytes} bytes or more, above the limit of {self.max_size}",
                hint="allow more with --max-size (max_size=) if the file can be trusted",
            )

    def check_memory(self, n_bytes: int) -> None:
        """Raise LimitExceeded if so many bytes of memory are too many."""
        if self.memory is not None and n_bytes > self.memory:
            raise LimitExceeded(
                f"decoding takes {n_bytes} bytes of memory, above the limit of {self.memory}",
                hint="allow more with --memory (memory=) if the file can be trusted",
            )


UNLIMITED = Limits()
