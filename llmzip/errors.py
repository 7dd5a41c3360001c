"""The exceptions of llmzip, one class per decision that a caller can take.

    LlmzipError
    ├── FormatError            not an .lmz file, or damaged: a checksum, a limit or a field is wrong
    ├── TruncatedError         the file ends too early (also an EOFError, as in gzip and lzma)
    ├── UnsupportedError       a valid file that needs a newer llmzip
    ├── ChecksumError          decoded, but not to the bytes that were compressed; nothing was given out
    ├── LimitExceeded          more content, or more memory to decode it, than the caller allows
    └── ModelError             the model is at fault
        ├── ModelNotFound      no such model here
        ├── ModelInvalid       a model folder that is damaged, incomplete or beyond a bound of the exact arithmetic
        └── EngineMismatch     the file is bound to another device, dtype or library version

Every error has a message that says what is wrong, in lower case without a full stop, and may have a `hint` that says
what to do. What parses names the field; who knows the block adds its name (`naming`).
"""

from collections.abc import Iterator
from contextlib import contextmanager


class LlmzipError(Exception):
    """Base class. `hint` is one line that says what to do, or empty."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class FormatError(LlmzipError):
    """Not an .lmz file, or a damaged one."""


class TruncatedError(LlmzipError, EOFError):
    """The file ends before its last block or index does."""


class UnsupportedError(LlmzipError):
    """A valid file with a version, block type or flag that this llmzip does not know."""


class ChecksumError(LlmzipError):
    """A block's content failed its check. None of it was output."""


class LimitExceeded(LlmzipError):
    """The file holds more content, or takes more memory to decode, than the caller allows."""


class ModelError(LlmzipError):
    """Something is wrong with a model rather than with the file."""


class ModelNotFound(ModelError):
    """No model of this name or fingerprint is installed here."""


class ModelInvalid(ModelError):
    """A model folder that is damaged or incomplete, or a model outside the bounds of the exact arithmetic."""


class EngineMismatch(ModelError):
    """The file was written by an engine that is tied to one kind of machine, and this is another kind."""


def named(error: LlmzipError, what: object) -> LlmzipError:
    """The error of what does not know what it works on, with the name of that in front."""
    return type(error)(f"{what}: {error}", hint=error.hint)


@contextmanager
def naming(what: object) -> Iterator[None]:
    """Errors of what is done here are about this: `block 2: header check is wrong`."""
    try:
        yield
    except LlmzipError as error:
        raise named(error, what) from error
