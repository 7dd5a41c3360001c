"""fsspec: compression "lmz" for every file system that it knows, and `lmz://` for the content of one file.

Importing this registers the compression; fsspec finds `lmz://NAME::URL` by an entry point, without an import.
`fsspec.open("s3://...", "rt", compression="lmz")` is then how text is read from an object store.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO, Any, BinaryIO, cast
from uuid import uuid4

import fsspec
from fsspec.archive import AbstractArchiveFileSystem
from fsspec.compression import register_compression
from fsspec.implementations.local import LocalFileSystem
from fsspec.utils import infer_compression

from llmzip.file import LmzFile

SUFFIX = ".lmz"


class _Writer(LmzFile):
    """Writes for a file of fsspec. If that fails, the object is given up: none is better than half of one."""

    def write(self, data: Any, /) -> int:
        with self._all_or_nothing():
            return super().write(data)

    def flush(self) -> None:
        """Nothing: fsspec flushes before it closes, and an object store shows nothing before that."""

    def close(self) -> None:
        with self._all_or_nothing():
            super().close()

    @contextmanager
    def _all_or_nothing(self) -> Iterator[None]:
        file = self._file
        try:
            yield
        except BaseException:
            give_up(file)
            raise


def give_up(file: Any) -> None:
    """Forget what was written to a file of fsspec, so that closing it makes no object."""
    if hasattr(file, "discard"):
        with suppress(Exception):  # nobody is there to be told any more, and the first error is the one to tell
            file.discard()
        with suppress(AttributeError):
            file.closed = True


def lmz_file(file: BinaryIO, mode: str = "rb", **options: Any) -> LmzFile:
    """What fsspec and others ask of a compression: the file around this one."""
    return LmzFile(file, mode, **options) if "r" in mode else _Writer(file, mode, **options)


def register() -> None:
    """Let fsspec know the compression; once is enough, and importing this is that once."""
    register_compression("lmz", lmz_file, SUFFIX[1:], force=True)


@contextmanager
def writing(
    url: str, *, compression: str | None = "infer", options: dict[str, Any] | None = None, **storage_options: Any
) -> Iterator[IO[bytes]]:
    """A new file at the URL: all of it or, if anything is raised meanwhile, nothing. `options`: of LmzFile."""
    fs, path = fsspec.core.url_to_fs(url, **storage_options)
    if compression == "infer":
        compression = infer_compression(path)
    with _whole(fs, path) as raw:
        if compression is None:
            yield raw
            return
        file = fsspec.compression.compr[compression](raw, mode="wb", **(options or {}))
        try:
            yield file
        except BaseException:
            if isinstance(file, LmzFile):
                file._compressor = None  # nothing is to be finished
            raise
        file.close()


@contextmanager
def _whole(fs: Any, path: str) -> Iterator[IO[bytes]]:
    """A file that is there once it is whole: a local one gets its name then, for others the store sees to it."""
    if isinstance(fs, LocalFileSystem):
        fs.makedirs(fs._parent(path), exist_ok=True)
        part = f"{path}.{uuid4().hex[:12]}.part"  # another may write the same
        try:
            with fs.open(part, "wb") as file:
                yield file
            fs.mv(part, path)
        except BaseException:
            with suppress(FileNotFoundError):
                fs.rm(part)
            raise
        return
    file = fs.open(path, "wb", autocommit=False)
    try:
        yield file
        file.close()
        file.commit()
    except BaseException:
        give_up(file)
        raise


class LmzFileSystem(AbstractArchiveFileSystem):  # type: ignore[misc]
    """One .lmz file as a folder of one file, its content: `lmz://NAME::URL`. Random access, read only."""

    root_marker = ""
    protocol = "lmz"
    cachable = False  # a file may have been written anew

    def __init__(
        self,
        fo: Any = "",
        target_protocol: str | None = None,
        target_options: dict[str, Any] | None = None,
        model: Any = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.fo = fo
        self.dir_cache: dict[str, dict[str, Any]] | None = None
        self._model = model
        self._opened = (
            fsspec.open(fo, "rb", protocol=target_protocol, **(target_options or {})) if isinstance(fo, str) else fo
        )
        name = str(getattr(self._opened, "path", "content")).rstrip("/").rpartition("/")[2]
        self.name = name.removesuffix(SUFFIX)

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return str(super()._strip_protocol(path)).lstrip("/")

    def _get_dirs(self) -> None:
        if self.dir_cache is None:
            with self._open("") as file:
                size = file.seek(0, 2)
            self.dir_cache = {self.name: {"name": self.name, "size": size, "type": "file"}}

    def _open(self, path: str, mode: str = "rb", **_: Any) -> LmzFile:
        if mode != "rb":
            raise ValueError("lmz:// is for reading; write with fsspec.open(URL, 'wb', compression='lmz')")
        if path not in ("", self.name):
            raise FileNotFoundError(path)
        return _Closing(cast(BinaryIO, self._opened.open()), "r", model=self._model)


class _Closing(LmzFile):
    """Closes the file that it was given."""

    def close(self) -> None:
        file = self._file
        super().close()
        if file is not None:
            file.close()


register()
