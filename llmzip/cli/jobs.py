"""The work of a command on one file after another, whatever becomes of each; exit codes."""

import importlib.util
import os
import sys
from collections.abc import Callable, Iterable

from llmzip.cli import fileio
from llmzip.cli.display import Display, ProgressLine, printable
from llmzip.errors import LlmzipError

ERROR, WARNING, INTERRUPTED = 1, 2, 130  # exit codes

Job = Callable[[], int]
Work = Callable[[str], int | None]  # on the file of that name; the exit code, if it is not 0


class Stop(Exception):
    """An error that is not about one file, so that the next would fail too. Its cause tells."""


def warn_of_slow_kernels(display: Display) -> None:
    """Once, where the same bits take a hundred times longer: at once without kernels, later where they are no good."""
    native = sys.modules.get("llmzip.native")  # not imported for this: it takes a while, and not every block needs it
    missing = importlib.util.find_spec("llmzip._kernels") is None if native is None else native.library is None
    if missing and not display.told_of_kernels and os.environ.get("LLMZIP_KERNELS") != "none":
        display.told_of_kernels = True
        why = "there are none" if native is None else printable(native.why_no_library)
        display.warning(
            f"the compiled kernels are missing, so this will take about a hundred times longer ({why})",
            hint="install llmzip again with a C compiler at hand",
        )


def each_file(names: Iterable[str], display: Display, work: Work, *, less_memory: str = "") -> int:
    """Do the work on every file, whatever becomes of the others; the exit code is the worst of all."""
    codes = {0}
    for name in names:
        try:
            codes.add(one_file(name, display, work, less_memory=less_memory))
        except Stop as stop:
            assert stop.__cause__ is not None
            display.failed(stop.__cause__)
            return ERROR
    return ERROR if ERROR in codes else max(codes)


def each_coded(names: Iterable[str], display: Display, work: Work, *, less_memory: str = "") -> int:
    """The same, of work that codes."""
    warn_of_slow_kernels(display)
    code = each_file(names, display, work, less_memory=less_memory)
    warn_of_slow_kernels(display)
    return code


def one_file(name: str, display: Display, work: Work, *, less_memory: str = "") -> int:
    """The work on one file, and what went wrong told. `less_memory` says what to do if there is not enough of it."""
    shown = fileio.shown(name, "standard input")
    try:
        return work(name) or 0
    except BrokenPipeError:
        raise
    except fileio.Skipped as error:
        display.warning(f"{error}, skipped", name=shown, hint=error.hint)
        return WARNING
    except MemoryError:
        display.error("out of memory", name=shown, hint=less_memory)
        return ERROR
    except (LlmzipError, OSError) as error:
        display.failed(error, name=shown)
        return ERROR
    except RuntimeError as error:  # torch has no class of its own for a full memory of the machine
        if "out of memory" not in str(error) and "allocate memory" not in str(error):
            raise
        display.error("out of memory", name=shown, hint=less_memory)
        return ERROR


def report(display: Display, line: ProgressLine) -> None:
    """What became of a file: the finished line on a terminal, with -v one everywhere."""
    if line.shown:
        line.done()
    else:
        display.detail(line.text(finished=True))
