"""Where a model comes from, when the first block needs it: what a caller gave, or what a file names."""

import threading
from copy import copy
from functools import cached_property
from typing import TYPE_CHECKING

from llmzip.container import FINGERPRINT_SIZE
from llmzip.errors import EngineMismatch, ModelNotFound
from llmzip.models import Engine

if TYPE_CHECKING:
    from llmzip.models import Model

MAX_THREADS = 8  # groups that are coded side by side at most: each takes the memory of one


class ModelSource:
    """The model that a caller gave, named or left open: found when the first block needs it, and kept.

    One source can serve many members, so that each model is loaded once.
    """

    def __init__(
        self,
        model: "Model | str | None" = None,
        *,
        level: int | None = None,
        engine: str = Engine.exact,
        device: str | None = None,
        threads: int | None = None,
    ) -> None:
        self._given = model
        self._level = level  # whose model it is, if none was given
        self._engine = Engine(engine)
        self._default: Model | None = None
        self._device = device
        self._threads = threads
        self._loaded: dict[bytes, Model] = {}  # by the start of the fingerprint that a file holds

    @cached_property
    def n_threads(self) -> int:
        """Groups that are coded side by side."""
        from llmzip import native

        return min(MAX_THREADS, native.clip_threads(self._threads))

    def to_compress(self) -> "Model":
        """The given model, or the one of that name, or that of the level, or the default."""
        if self._given is not None and not isinstance(self._given, str):
            return self._given
        if self._given is None and self._default is not None:
            return self._default
        from llmzip.models import known, registry

        name = self._given
        if name is None and self._level is not None:
            name = known.level_of(self._level).model
        model = registry.load(name, engine=self._engine, device=self._device, threads=self._threads)
        if self._given is None:
            self._default = model  # not as given: what a file needs may be another
        else:
            self._given = model
        return model

    def to_decompress(self, fingerprint: bytes) -> "Model":
        """The model that a member names by the start of its fingerprint. A given one must be that one."""
        if self._given is not None:
            return _check_fingerprint(self.to_compress(), fingerprint)
        if fingerprint not in self._loaded:
            from llmzip.models import registry

            self._loaded[fingerprint] = registry.find(fingerprint, device=self._device, threads=self._threads)
        return self._loaded[fingerprint]


class SharedSource(ModelSource):
    """The models of another source, each loaded once, for what is done side by side with so many threads each.

    Raises EngineMismatch for those that are not exact: their bits may hang on the threads that they were loaded with.
    """

    def __init__(self, source: ModelSource, threads: int) -> None:
        super().__init__(threads=threads)
        self._source = source
        self._lock = threading.Lock()
        self._shared: dict[bytes, Model] = {}  # by their fingerprints

    def to_compress(self) -> "Model":
        with self._lock:
            return self._share(self._source.to_compress())

    def to_decompress(self, fingerprint: bytes) -> "Model":
        with self._lock:
            return self._share(self._source.to_decompress(fingerprint))

    def _share(self, model: "Model") -> "Model":
        if not model.exact:
            raise EngineMismatch(f"{model.name} is not exact, and is run with the threads that it was loaded with")
        if model.fingerprint not in self._shared:
            shared = self._shared[model.fingerprint] = copy(model)
            shared.threads = self._threads
        return self._shared[model.fingerprint]


def _check_fingerprint(model: "Model", fingerprint: bytes) -> "Model":
    found = model.fingerprint[:FINGERPRINT_SIZE]
    if found != fingerprint:
        raise ModelNotFound(
            f"the file needs the model {fingerprint.hex()}, and {model.name} is {found.hex()}",
            hint="leave the choice of the model to the file",
        )
    return model


def check_engine(model: "Model", note: str | None) -> None:
    """Refuse a file that another engine wrote: its scores would differ from ours in some last bit, sooner or later."""
    ours = None if model.exact else model.engine_note
    if note == ours:
        return
    if note is None:
        message = f"the file was written with exact arithmetic, and this engine is not exact ({_one_line(ours)})"
    elif ours is None:
        message = f"the file was written by an engine that is not exact ({_one_line(note)}), and this one is exact"
    else:
        theirs_only = [line for line in note.splitlines() if line not in ours.splitlines()]
        ours_only = [line for line in ours.splitlines() if line not in note.splitlines()]
        message = f"the file was written with {', '.join(theirs_only)}; this engine has {', '.join(ours_only)}"
    raise EngineMismatch(
        message, hint="decompress with the engine that wrote it, or try with --ignore-engine (ignore_engine=True)"
    )


def _one_line(note: str | None) -> str:
    return ", ".join((note or "").splitlines())
