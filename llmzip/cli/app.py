"""The llmzip command: what is asked for.

`main` runs the job that a command returns outside of typer, which takes some exceptions for its own (an EOFError is an
abort to it, and a TruncatedError is an EOFError). --help, --version and `info` import neither torch nor numpy.
"""

import sys
from collections.abc import Sequence
from typing import Any

import typer

from llmzip.cli import descriptors, habits
from llmzip.cli.commands import app
from llmzip.cli.display import Display, on_terminal, prepare_streams, printable
from llmzip.cli.jobs import ERROR, INTERRUPTED, Job
from llmzip.errors import LlmzipError

# The base class of all errors in the arguments, wherever it lives: some versions of typer bring a click of their own.
_UsageError: Any = typer.BadParameter.__mro__[2]
_LEFT_OUT = ("torch", "transformers", "gguf")  # of a light install (README.md)


def commands() -> dict[str, habits.Options]:
    """The commands with their options: whether each takes a value."""
    group: Any = typer.main.get_command(app)
    return {
        name: {
            spelled: not (option.is_flag or option.count)
            for option in command.params
            if hasattr(option, "is_flag")
            for spelled in (*option.opts, *option.secondary_opts)
        }
        for name, command in group.commands.items()
    }


def _parse(argv: Sequence[str]) -> Job | int:
    if not argv and on_terminal(sys.stdin) and on_terminal(sys.stdout):
        return _show_help
    try:
        words = habits.translate(argv, commands())
        # No variable of the environment turns on completion.
        parsed: Job | int | None = app(args=words, prog_name="llmzip", standalone_mode=False, complete_var="")
    except habits.Misused as error:
        Display().error(printable(str(error)), hint=printable(error.hint))
        return ERROR
    except _UsageError as error:
        _usage_error(error)
        return ERROR
    return parsed or 0


def _show_help() -> int:
    """Nobody has asked for it, so it is no result."""
    group: Any = typer.main.get_command(app)
    Display().note(group.get_help(group.make_context("llmzip", [], resilient_parsing=True)))
    return ERROR


def _usage_error(error: Any) -> None:
    what = str(error.format_message()).rstrip(".")
    what = what.removeprefix("Invalid value: ")
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "llmzip"
    what = what[:1].lower() + what[1:]
    Display().error(printable(what), hint=f"see {command} --help")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; the exit code."""
    prepare_streams()
    try:
        parsed = _parse(sys.argv[1:] if argv is None else argv)
        code = parsed if isinstance(parsed, int) else parsed()
        if sys.stdout is not None:
            sys.stdout.flush()
    except (KeyboardInterrupt, typer.Abort):
        Display().error("interrupted")
        return INTERRUPTED
    except BrokenPipeError:  # whoever read our output has enough
        descriptors.silence(sys.stdout)
        return ERROR
    except (LlmzipError, OSError, MemoryError) as error:  # about no file; standard output that is full, for one
        Display().failed(error)
        descriptors.silence(sys.stdout)
        return ERROR
    except ModuleNotFoundError as error:
        if error.name not in _LEFT_OUT:
            raise
        Display().error(f"this needs {error.name}, which is not installed", hint=f"pip install {error.name}")
        return ERROR
    finally:
        descriptors.silence_lost_messages()
    return code
