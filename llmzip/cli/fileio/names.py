"""Names of files, and what is said of those that are left alone."""

import contextlib
import os
from collections.abc import Iterator

from llmzip.errors import LlmzipError

SUFFIX = ".lmz"
STDIO = "-"  # as a name: standard input or output


class Refused(LlmzipError):
    """Not done because it could harm data or a terminal; the user may insist."""


class Skipped(LlmzipError):
    """Nothing to do for this file: a warning, no error."""


def compressed_name(name: str, suffix: str) -> str:
    if _has_suffix(name, suffix):
        raise Skipped(f"already has the suffix {suffix}", hint="use -c or -o FILE to compress it again")
    return name + suffix


def plain_name(name: str, suffix: str) -> str:
    if not _has_suffix(name, suffix):
        raise Refused(f"does not end in {suffix}", hint="name the output with -o FILE")
    return name[: -len(suffix)]


def _has_suffix(name: str, suffix: str) -> bool:
    return name.endswith(suffix) and os.path.basename(name) != suffix


def shown(name: str, standard: str) -> str:
    """A name for messages."""
    return standard if name == STDIO else name


@contextlib.contextmanager
def told_as(name: str) -> Iterator[None]:
    """Errors of the system name the file that the user knows, and not a temporary one or none."""
    try:
        yield
    except OSError as error:
        if not isinstance(error, BrokenPipeError):
            error.filename, error.filename2 = name, None
        raise
