"""Where a run works and where its result goes.

Looked at before any work is done, so that nothing of a user's is ever in the way.

Everything that is written, replaced or deleted lies in DIR.work under fixed names, and DIR.work is only taken if it is
empty or llmzip made it.
DIR itself is renamed into its place at the end; one that exists is replaced only on request, if it is a model that
llmzip made and nothing else.
"""

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

from llmzip.errors import LlmzipError, ModelInvalid
from llmzip.models import checkpoint, known, registry, staging

if sys.platform == "win32":
    import msvcrt

    def _lock(file: IO[bytes]) -> None:
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _lock(file: IO[bytes]) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


RECORD = "run.json"  # what a work folder was made from; also the mark of one that is ours
LOCK = "lock"
CARD = "README.md"
FORMAT = 1
MODEL_FILES = {checkpoint.WEIGHTS_FILE, checkpoint.CONFIG_FILE, checkpoint.TOKENIZER_FILE, CARD}
# All that a run leaves in DIR.work; what has another name there is not ours and is never touched.
STATE = ["checkpoint.pt", "tokenizer.json", "curve.jsonl", "held-out.jsonl", "finished"]
FOLDERS = ["ids", "text", "stdin", "float", "exact", "model", "replaced"]
STAGED = ["." + name + ".new" for name in [RECORD, *STATE]]
MARK = "<!-- written by llmzip train: {} -->\n"

Say = Callable[[str], None]


class Place:
    """The folder of a result, checked, and its locked work folder. Use as a context manager."""

    def __init__(self, out: Path, corpora: list[Path], *, force: bool) -> None:
        self.out = _resolved(out)
        self.shown = _text(out)
        self.name = _text(self.out.name)
        self.work = self.out.with_name(self.out.name + ".work") if self.out.name else self.out
        self._force = force
        self._refuse_what_holds_us()
        for corpus in corpora:
            self._refuse_overlap(corpus)
        self._check_out()
        self._check_work()
        self._lock: IO[bytes] | None = None

    def __enter__(self) -> "Place":
        self.work.mkdir(parents=True, exist_ok=True)
        self._lock = (self.work / LOCK).open("ab")
        try:
            _lock(self._lock)
        except (BlockingIOError, PermissionError) as error:
            self._lock.close()
            raise LlmzipError(
                f"another training is at work in {_text(self.work)}", hint="wait for it, or name another DIR"
            ) from error
        except OSError:  # a drive without locks
            pass
        try:
            self._check_out()  # a run that has just ended may have put its model there
            self._check_work()
            if not os.access(self.out.parent, os.W_OK | os.X_OK) or not os.access(self.work, os.W_OK | os.X_OK):
                raise LlmzipError(
                    f"nothing can be written to {_text(self.out.parent)}", hint="name another DIR with -o"
                )
            if self.work.stat().st_dev != self.out.parent.stat().st_dev:
                raise LlmzipError(
                    f"{_text(self.work)} is on another disk than {self.shown}", hint="name another DIR with -o"
                )
            if os.path.lexists(self.out):
                self._keep_old()
        except BaseException:
            self._lock.close()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        assert self._lock is not None
        self._lock.close()

    # --- what must not be

    def _refuse_what_holds_us(self) -> None:
        here = Path.cwd()
        if self.out == here or self.out in here.parents:
            raise LlmzipError(
                f"{self.shown} is the folder that you stand in, or holds it", hint="name a new folder with -o"
            )
        for library in (known.bundled_dir(), _cache()):
            if library is not None and (self.out.is_relative_to(library) or library.is_relative_to(self.out)):
                raise LlmzipError(f"{self.shown} is where llmzip keeps its models", hint="name a new folder with -o")

    def _refuse_overlap(self, corpus: Path) -> None:
        source = _resolved(corpus)
        if source.is_relative_to(self.out) or source.is_relative_to(self.work):
            raise LlmzipError(
                f"the corpus {_text(corpus)} lies in {self.shown}, or in its work folder",
                hint="name another folder with -o",
            )
        if self.out.is_relative_to(source):
            raise LlmzipError(
                f"{self.shown} lies in the corpus {_text(corpus)}, so that the model would be trained on itself",
                hint="name a folder outside of it with -o",
            )

    def _check_out(self) -> None:
        """Refuse what exists, unless it is a model of ours that may be replaced, and loses nothing by it."""
        if not os.path.lexists(self.out):
            return
        if foreign := foreign_in_model(self.out):
            raise LlmzipError(f"{self.shown} exists and {foreign}", hint="name a new folder with -o")
        if not self._force:
            raise LlmzipError(f"{self.shown} exists", hint="use -f to replace the model, or name a new folder with -o")

    def _check_work(self) -> None:
        if not os.path.lexists(self.work):
            return
        if not self.work.is_dir():
            raise LlmzipError(f"{_text(self.work)} exists and is no folder", hint="name another folder with -o")
        names = {entry.name for entry in self.work.iterdir()}
        if RECORD not in names and names - {LOCK, f".{RECORD}.new", "stdin"}:
            raise LlmzipError(
                f"{_text(self.work)} exists and is not the work folder of a training",
                hint="name another folder with -o",
            )
        if RECORD in names:
            self._record()

    def _keep_old(self) -> None:
        try:
            kept = keep(self.out)
        except ModelInvalid as error:
            raise LlmzipError(
                f"{self.shown} is damaged: {error}", hint="remove it, or name a new folder with -o"
            ) from error
        if not kept:
            raise LlmzipError(
                f"{self.shown} is not replaced: the cache cannot hold it, and files written with it need it",
                hint="move it away, or name a new folder with -o",
            )

    # --- the run that the work folder is for

    def _record(self) -> dict[str, Any]:
        path = self.work / RECORD
        try:
            record = json.loads(path.read_bytes())
            if record["llmzip train"] == FORMAT:
                return dict(record["settings"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise LlmzipError(
                f"{_text(path)} is damaged, or was not made by llmzip",
                hint="remove that folder, or name another with -o",
            ) from error
        raise LlmzipError(
            f"{_text(self.work)} was made by another llmzip", hint="remove that folder, or name another with -o"
        )

    def begin(self, settings: Mapping[str, Any], say: Say) -> None:
        """Take the work folder for this run.

        Go on with it if it is the same, refuse if it is another that is not done.
        """
        if (self.work / RECORD).exists():
            before = self._record()
            differing = sorted(key for key in before.keys() | settings.keys() if before.get(key) != settings.get(key))
            unfinished = (self.work / "checkpoint.pt").exists() and not (self.work / "finished").exists()
            if differing and unfinished:
                raise LlmzipError(
                    f"{_text(self.work)} holds a run with other settings ({', '.join(differing)})",
                    hint="give the same command to go on with it, or remove that folder",
                )
            if differing:
                say(f"starting anew: {_text(self.work)} is of another run, which has ended")
                self._clear()
        self._sweep()
        write_atomically(self.work / RECORD, json.dumps({"llmzip train": FORMAT, "settings": settings}).encode())

    def _clear(self) -> None:
        """Forget a run. The record goes last, so that a folder that is half cleared is known as ours."""
        for name in FOLDERS:
            if name != "replaced":
                _remove(self.work / name)
        for name in STATE:
            (self.work / name).unlink(missing_ok=True)

    def _sweep(self) -> None:
        """What a process that was killed has left half written."""
        for name in STAGED:
            (self.work / name).unlink(missing_ok=True)
        staging.sweep(self.work)

    def end_reading(self) -> None:
        """What pipes gave is not needed any more."""
        _remove(self.work / "stdin")

    def room_for(self, n_bytes: int) -> None:
        """Refuse to begin what the disk cannot hold."""
        free = shutil.disk_usage(self.work).free
        if free < n_bytes:
            raise LlmzipError(
                f"{_text(self.work)} has room for {free / 1e6:.0f} MB, and the run needs {n_bytes / 1e6:.0f} MB"
            )

    # --- the end

    def publish(self, staged: Path) -> None:
        """Give the model in DIR.work its name. An older one goes away only now, when the cache has it."""
        old = self.work / "replaced"
        try:
            self._check_out()
            _remove(old)
            if os.path.lexists(self.out):
                self._keep_old()
                os.rename(self.out, old)
            os.rename(staged, self.out)
        except (LlmzipError, OSError) as error:
            if old.exists() and not os.path.lexists(self.out):
                os.rename(old, self.out)
            raise LlmzipError(
                f"cannot put the model into place: {error}", hint=f"it is kept in {_text(staged)}"
            ) from error
        _remove(old)


def keep(folder: Path) -> bool:
    """Put an exact model into the cache, so that its archives are decoded after the folder has gone.

    Whether that was done.
    """
    return registry.keep(folder) is not None


def foreign_in_model(folder: Path) -> str:
    """Why this is no model of ours with nothing else in it, or ""."""
    if not folder.is_dir():
        return "is no folder"
    try:
        checkpoint.read_config(folder)
    except ModelInvalid:
        return "is not a model that llmzip made"
    if others := sorted(
        entry.name for entry in folder.iterdir() if entry.name not in MODEL_FILES or not entry.is_file()
    ):
        return f"holds more than a model: {', '.join(map(_text, others[:3]))}"
    card = folder / CARD
    if card.exists() and not _is_our_card(card.read_bytes()):
        return f"holds a {CARD} that llmzip did not write"
    return ""


def signed_card(text: str) -> str:
    """The text of a model card with a last line by which it is known again, if nobody has written into it."""
    return text + MARK.format(hashlib.sha256(text.encode()).hexdigest()[:16])


def _is_our_card(card: bytes) -> bool:
    text = card.decode("utf-8", "replace")
    return signed_card("".join(text.splitlines(keepends=True)[:-1])) == text


def write_atomically(path: Path, data: bytes) -> None:
    """Whole or not at all, whatever happens to the process or the machine."""
    fresh = path.with_name(f".{path.name}.new")
    try:
        with fresh.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(fresh, path)
    except BaseException:
        fresh.unlink(missing_ok=True)  # on a full disk it would be in the way
        raise


def _remove(folder: Path) -> None:
    if folder.is_dir() and not folder.is_symlink():
        shutil.rmtree(folder)


def _resolved(path: Path) -> Path:
    try:
        return path.resolve()
    except (OSError, RuntimeError, ValueError) as error:  # links in a circle, a NUL
        raise LlmzipError(f"{_text(path)} leads nowhere: {error}") from error


def _cache() -> Path | None:
    folder = known.models_dir()
    return folder and folder.resolve()


def _text(path: Path | str) -> str:
    """A name as it can be written in UTF-8."""
    return os.fsencode(path).decode("utf-8", "replace")
