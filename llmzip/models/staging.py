"""Folders in the making: under a name with a dot until they are whole, and swept away where their maker was killed.

Each is locked by the process that fills it (flock on the folder itself, so that no lock file is left and a killed
process holds nothing).
Where there is no flock (Windows, some network drives) nothing is locked, and so nothing is swept.
"""

import errno
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from llmzip.errors import ModelError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

MARK = ".llmzip-"  # only what is called so is ever swept: a cache folder may be one that holds other things
TRIES = 100  # of a step that another process may undo in between; each lost try is a step of somebody else


@contextmanager
def locked(folder: Path, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Be the only one in a folder; `waiting` is called where another process is in it."""
    handle = os.open(folder, os.O_RDONLY) if fcntl else -1
    try:
        if not _lock(handle):
            waiting()
            with suppress(OSError):
                fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        if handle >= 0:
            os.close(handle)


def _lock(handle: int) -> bool:
    """Whether nobody else has it locked."""
    if fcntl is None:
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in (errno.EWOULDBLOCK, errno.EACCES)
    return True


@contextmanager
def staging(parent: Path, name: str) -> Iterator[Path]:
    """A fresh folder beside others, gone at the end if it has not been renamed. Made with its parents."""
    parent.mkdir(parents=True, exist_ok=True)
    with ExitStack() as lock:
        folder = _fresh(parent, name, lock)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _fresh(parent: Path, name: str, lock: ExitStack) -> Path:
    for _ in range(TRIES):
        folder = Path(tempfile.mkdtemp(prefix=f"{MARK}{name}.", dir=parent))
        with suppress(FileNotFoundError):
            lock.enter_context(locked(folder))
        if folder.exists():  # else a sweep came before the lock
            return folder
    raise ModelError(f"cannot make a folder in {parent}: another process removes it")


def place(made: Path, folder: Path, same: Callable[[Path], bool]) -> None:
    """Give a staging folder its name. What is there is left where it is the same, and replaced where it is not.

    Between the two steps of a replacement there is nothing of that name, never half of it.
    """
    for _ in range(TRIES):
        try:
            os.rename(made, folder)
            return
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.EACCES):
                raise
            if not folder.is_dir():
                raise
        if same(folder):
            return
        with staging(folder.parent, folder.name) as aside, suppress(FileNotFoundError):
            os.rename(folder, aside / folder.name)
    raise ModelError(f"cannot put a model into {folder}: another process does so again and again")


def sweep(parent: Path) -> None:
    """Remove the staging folders that nobody is filling any more."""
    if fcntl is None or not parent.is_dir():
        return
    for folder in parent.glob(f"{MARK}*"):
        with suppress(OSError):
            handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(handle)
