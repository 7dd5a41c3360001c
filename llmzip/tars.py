"""Tars inside .lmz files: what is in one, reading and writing one with `tarfile`, and formats for `shutil`.

A tar is compressed as one file, so that its members teach each other; to read one, its groups are decoded up to it.
"""

import os
import shutil
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import IO, Any, Literal, cast

from llmzip.errors import LlmzipError
from llmzip.file import FileArgument, LmzFile

ENDINGS = [".tar.lmz", ".tlmz"]
FORMAT = "lmztar"  # as shutil knows it


@dataclass(frozen=True, slots=True)
class TarMember:
    """What a tar says of one of its members."""

    name: str
    kind: str  # "file", "folder", "link" or "other"
    n_bytes: int
    offset: int  # of its content in the tar: bytes offset to offset + n_bytes - 1
    n_bytes_of_header: int  # before that
    modified: float  # seconds since 1970
    mode: int


def members(file: IO[bytes]) -> Iterator[TarMember]:
    """What is in a tar, by its headers: what lies between them is gone past. LlmzipError if it is none, or damaged."""
    try:
        with tarfile.open(fileobj=file, mode="r:") as tar:
            for member in tar:
                yield _member(member)
    except tarfile.TarError as error:
        raise LlmzipError(f"the content is not a tar, or damaged: {error}") from error


def _member(member: tarfile.TarInfo) -> TarMember:
    kinds = {member.isfile(): "file", member.isdir(): "folder", member.issym() or member.islnk(): "link"}
    return TarMember(
        name=member.name,
        kind=kinds.get(True, "other"),
        n_bytes=member.size,
        offset=member.offset_data,
        n_bytes_of_header=member.offset_data - member.offset,
        modified=float(member.mtime),
        mode=member.mode,
    )


class LmzTarFile(tarfile.TarFile):
    """`tarfile.TarFile` of an .lmz file: `LmzTarFile.open(path)` and `LmzTarFile.open(path, "w:lmz")`.

    What `tarfile.open` reads by trying (`mode="r"`) is tried for .lmz as well.
    """

    @classmethod
    def lmzopen(
        cls, name: Any, mode: Literal["r", "w", "x"] = "r", fileobj: Any = None, **options: Any
    ) -> "LmzTarFile":
        """As `gzopen` and its kind; options that are not of TarFile are those of LmzFile."""
        if mode not in ("r", "w", "x"):
            raise ValueError("mode must be 'r', 'w' or 'x'")
        ours = {
            key: options.pop(key) for key in ("model", "group_size", "threads", "max_size", "memory") if key in options
        }
        file = LmzFile(cast(FileArgument, fileobj or name), mode, **ours)
        try:
            tar = cls.taropen(name, mode, cast(IO[bytes], file), **options)
        except LlmzipError as error:
            file.close()
            raise tarfile.ReadError(f"not an .lmz file: {error}") from error
        except BaseException:
            file.close()
            raise
        tar._extfileobj = False  # type: ignore[attr-defined]  # so that close() finishes the member
        return tar

    OPEN_METH = {**tarfile.TarFile.OPEN_METH, "lmz": "lmzopen"}  # noqa: RUF012


def make_archive(
    base_name: str,
    base_dir: str,
    verbose: int = 0,
    dry_run: int = 0,
    owner: str | None = None,
    group: str | None = None,
    **_: Any,
) -> str:
    """For `shutil.make_archive`: `base_dir` as base_name.tar.lmz."""
    name = base_name + ENDINGS[0]
    if not dry_run:
        with LmzTarFile.lmzopen(name, "w") as tar:
            tar.add(base_dir, filter=_owned(owner, group))
    return name


def _owned(owner: str | None, group: str | None) -> Callable[[tarfile.TarInfo], tarfile.TarInfo]:
    def change(member: tarfile.TarInfo) -> tarfile.TarInfo:
        return member.replace(uname=owner or member.uname, gname=group or member.gname, deep=False)

    return change


def unpack_archive(name: str | os.PathLike[str], folder: str | os.PathLike[str], *, filter: Any = "data") -> None:
    """For `shutil.unpack_archive`."""
    try:
        tar = LmzTarFile.lmzopen(os.fspath(name))
    except tarfile.TarError as error:
        raise shutil.ReadError(f"{os.fspath(name)} is not a tar in an .lmz file") from error
    with tar:
        tar.extractall(folder, filter=filter)


def register() -> None:
    """Let `shutil.make_archive` and `unpack_archive` know .tar.lmz."""
    if FORMAT not in (name for name, _ in shutil.get_archive_formats()):
        shutil.register_archive_format(FORMAT, make_archive, description="tar file in an .lmz file")
    if FORMAT not in (name for name, _, _ in shutil.get_unpack_formats()):
        shutil.register_unpack_format(FORMAT, ENDINGS, unpack_archive, description="tar file in an .lmz file")
