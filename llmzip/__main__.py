"""The command `llmzip` as a process: `python -m llmzip`, `llmzip` and `lmzcat`.

Signals are seen to before anything else is imported, which takes a while.
"""

import os
import signal
import sys

TYPE_CHECKING = False  # True for who checks types
if TYPE_CHECKING:
    from types import FrameType

_INTERRUPTED = "llmzip: interrupted\n"


def _end_at_once(signum: int, frame: "FrameType | None") -> None:
    """Nothing has been begun, or the end has: there is nothing that a clean-up would do."""
    discard = getattr(sys.modules.get("llmzip.cli.fileio"), "discard_temporaries", None)
    if discard is not None:
        discard()
    if signum == signal.SIGINT:
        try:
            os.write(2, _INTERRUPTED.encode())
        except OSError:
            pass
    os._exit(128 + signum)


def _end(signum: int, frame: "FrameType | None") -> None:
    """Unwind, so that everything is cleaned up. Told again, do not insist on it."""
    _on_signals(_end_at_once)
    if signum == signal.SIGINT:
        raise KeyboardInterrupt
    raise SystemExit(128 + signum)


def _on_signals(handler: object) -> None:
    """For all that ask us to end. One that is ignored (nohup) stays so."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, handler)  # type: ignore[arg-type]


def main() -> int:
    """Run the command of `sys.argv`; the exit code."""
    return _run(sys.argv[1:])


def cat() -> int:
    """`lmzcat FILE...`: the content to standard output."""
    return _run(["-d", "-c", *sys.argv[1:]])


def _run(argv: list[str]) -> int:
    _on_signals(_end_at_once)
    from llmzip.cli import app, descriptors

    descriptors.open_standard_descriptors()
    descriptors.make_stdout_patient()
    _on_signals(_end)
    try:
        return app.main(argv)
    finally:
        _on_signals(_end_at_once)  # the interpreter has no use for an exception while it ends


if __name__ == "__main__":
    sys.exit(main())
