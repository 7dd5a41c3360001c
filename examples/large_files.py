"""Fetch real large files to compress, each by its version and checked against the SHA-256 here: 300 MB.

    python examples/large_files.py FOLDER

The tars inside of source distributions come from the package index (PIP_INDEX_URL, or PyPI), the packages of Debian 12
from its archive (apt-get). Nothing of them is installed or run. The log is written by a fixed recipe. `llmzip bench
FOLDER/* --head 16M` compares compressors on all this.
"""

import argparse
import bz2
import gzip
import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
import tarfile
import tempfile
import urllib.parse
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO


@dataclass(frozen=True)
class Input:
    name: str
    sha256: str  # of the file that is compressed, not of what is downloaded
    make: Callable[[Path, Path], None]  # write the second path; the first is the folder with the files before this one


def sdist(filename: str) -> Callable[[Path, Path], None]:
    """The tar inside a source distribution. pip would build it, which runs it; so it is taken from the index itself."""
    project = filename.split("-")[0].lower()

    def make(folder: Path, target: Path) -> None:
        index = os.environ.get("PIP_INDEX_URL", "https://pypi.org/simple").rstrip("/")
        request = urllib.request.Request(
            f"{index}/{project}/", headers={"Accept": "application/vnd.pypi.simple.v1+json"}
        )
        with urllib.request.urlopen(request) as answer:
            urls = {file["filename"]: file["url"] for file in json.load(answer)["files"]}
        with (
            urllib.request.urlopen(urllib.parse.urljoin(request.full_url, urls[filename])) as answer,
            target.open("wb") as file,
        ):
            unpacked = bz2.open(answer) if filename.endswith(".bz2") else gzip.open(answer)
            shutil.copyfileobj(unpacked, file)

    return make


def deb(package: str, version: str) -> Callable[[Path, Path], None]:
    """The files of a Debian package as a tar. A version that the archive has dropped is at snapshot.debian.org."""

    def make(folder: Path, target: Path) -> None:
        with tempfile.TemporaryDirectory() as scratch:
            subprocess.run(["apt-get", "-q", "download", f"{package}={version}"], cwd=scratch, check=True)
            (path,) = Path(scratch).glob("*.deb")
            with target.open("wb") as file:
                subprocess.run(["dpkg-deb", "--fsys-tarfile", path], stdout=file, check=True)

    return make


class Strace:
    """A log in the words of `strace -f -tt -T -y -s 48 sh -c 'tar -xf NAME.tar.gz; find NAME -type f | xargs
    sha256sum'`.

    It is synthetic: a real one would be another each time, and has calls that are split ("unfinished", "resumed"),
    which this has not. The names, sizes, times and bytes are those of real archives; the process ids and the
    microseconds come from a seed.
    """

    HOME = "/srv/build"

    def __init__(self, file: IO[str]) -> None:
        self.file = file
        self.random = random.Random(12)  # of it only random() is used, which is the same in all versions of Python
        self.now = datetime(2025, 11, 24, 9, 30, 12, 471_034)
        self.pid = 25_408

    def draw(self, least: int, spread: int) -> int:
        """Most are near the least, few are far from it."""
        return least + int(spread * (1 / (1.02 - self.random.random()) - 0.98))

    def call(self, call: str, result: int | str, pid: int | None = None, least: int = 8) -> None:
        start = f"[pid {pid or self.pid}] {self.now:%H:%M:%S.%f} {call}"
        took = self.draw(least, 2)
        self.file.write(f"{start:<39} = {result} <0.{took:06}>\n")
        self.now += timedelta(microseconds=took + self.draw(18, 4))

    def archive(self, path: Path) -> None:
        digests = []
        with path.open("rb") as raw, tarfile.open(path) as tar:
            block = 0
            for member in tar:
                member.name = escaped(os.fsencode(member.name))
                if member.isfile():
                    block = self.extract(raw, member, block)
                    digests.append(self.digest_later(raw, member))
                elif member.isdir():
                    self.call(f'mkdirat(AT_FDCWD<{self.HOME}>, "{member.name}", 0755)', 0)
        self.pid += 1 + self.draw(1, 1)
        for write in digests:
            write()
        self.pid += 1 + self.draw(1, 1)

    def extract(self, raw: IO[bytes], member: tarfile.TarInfo, block: int) -> int:
        """Tar reads blocks of 10 240 bytes from gzip and writes of each what is the file's."""
        fd = f"4<{self.HOME}/{member.name}>"
        flags = "O_WRONLY|O_CREAT|O_EXCL|O_NOCTTY|O_NONBLOCK|O_CLOEXEC"
        self.call(f'openat(AT_FDCWD<{self.HOME}>, "{member.name}", {flags}, 0600)', fd, least=19)
        at, end = member.offset_data, member.offset_data + member.size
        while at < end:
            if at // 10240 != block:
                block = at // 10240
                self.read_block(raw, block)
            size = min(end, (block + 1) * 10240) - at
            self.call(f"write({fd}, {quoted(raw, at, size)}, {size})", size, least=12)
            at += size
        when = f"{datetime.fromtimestamp(int(member.mtime), UTC):%Y-%m-%dT%H:%M:%S}+0000"
        self.call(f"utimensat({fd}, NULL, [UTIME_OMIT, {{tv_sec={int(member.mtime)}, tv_nsec=0}} /* {when} */], 0)", 0)
        self.call(f"fchown({fd}, 0, 0)", 0)
        self.call(f"fchmod({fd}, {member.mode & 0o777:04o})", 0)
        self.call(f"close({fd})", 0)
        return block

    def read_block(self, raw: IO[bytes], block: int) -> None:
        start = block * 10240
        if start // 32768 != (start - 10240) // 32768:
            pipe = quoted(raw, start // 32768 * 32768, 32768)
            self.call(f"write(1<pipe:[186789]>, {pipe}, 32768)", 32768, self.pid + 1, least=40)
        self.call(f"read(3<pipe:[186789]>, {quoted(raw, start, 10240)}, 10240)", 10240, least=11)

    def digest_later(self, raw: IO[bytes], member: tarfile.TarInfo) -> Callable[[], None]:
        raw.seek(member.offset_data)
        digest = hashlib.sha256(raw.read(member.size)).hexdigest()
        texts = [
            quoted(raw, member.offset_data + at, min(32768, member.size - at)) for at in range(0, member.size, 32768)
        ]
        return lambda: self.digest(member, texts, digest)

    def digest(self, member: tarfile.TarInfo, texts: list[str], digest: str) -> None:
        fd = f"3<{self.HOME}/{member.name}>"
        self.call(f'openat(AT_FDCWD<{self.HOME}>, "{member.name}", O_RDONLY)', fd, least=12)
        self.call(f"fadvise64({fd}, 0, 0, POSIX_FADV_SEQUENTIAL)", 0)
        self.call(
            f'newfstatat({fd}, "", {{st_mode=S_IFREG|{member.mode & 0o777:04o}, st_size={member.size}, ...}}, '
            "AT_EMPTY_PATH)",
            0,
        )
        for i, text in enumerate(texts):
            self.call(f"read({fd}, {text}, 32768)", min(32768, member.size - 32768 * i), least=13)
        self.call(f'read({fd}, "", {32768 - member.size % 32768 // 4096 * 4096})', 0)
        self.call(f"lseek({fd}, 0, SEEK_CUR)", member.size)
        self.call(f"close({fd})", 0)
        size = 67 + len(member.name)  # the digest, two spaces, the name, the end of the line
        self.call(f'write(1<pipe:[187343]>, "{digest[:48]}"..., {size})', size)


ESCAPES = {
    ord("\n"): r"\n",
    ord("\t"): r"\t",
    ord("\r"): r"\r",
    ord("\v"): r"\v",
    ord("\f"): r"\f",
    ord('"'): r"\"",
    ord("\\"): r"\\",
}


def escaped(data: bytes) -> str:
    """As strace writes bytes: octal, as short as the digit after it allows."""

    def letter(i: int) -> str:
        byte = data[i]
        if byte in ESCAPES or 32 <= byte < 127:
            return ESCAPES.get(byte, chr(byte))
        digit_after = data[i + 1 : i + 2] in (b"0", b"1", b"2", b"3", b"4", b"5", b"6", b"7")
        return f"\\{byte:03o}" if digit_after else f"\\{byte:o}"

    return "".join(map(letter, range(len(data))))


def quoted(raw: IO[bytes], at: int, size: int) -> str:
    raw.seek(at)
    return f'"{escaped(raw.read(min(size, 48)))}"' + ("..." if size > 48 else "")


def strace(*names: str) -> Callable[[Path, Path], None]:
    def make(folder: Path, target: Path) -> None:
        with target.open("w", encoding="ascii", newline="\n") as file:
            log = Strace(file)
            for name in names:
                log.archive(folder / name)

    return make


# Python and translations, mostly translations, JSON, documentation in XML, a dictionary, a log.
INPUTS = [
    Input(
        "django-5.2.8.tar",
        "511fd7fb4e3593a5dfe9c12e4fb05b7ffe1b8b399f5663761b600058d833c05f",
        sdist("django-5.2.8.tar.gz"),
    ),
    Input(
        "pootle-2.8.2.tar",
        "49f54f77a829a7e39ec08749f08d7090723652c890341b4441f59c04e6a4ab39",
        sdist("Pootle-2.8.2.tar.bz2"),
    ),
    Input(
        "botocore-1.20.0.tar",
        "5fbd9979c8eb0a404478e86e0254c84abb10618507730bcaaaf78ae6818dbb8f",
        sdist("botocore-1.20.0.tar.gz"),
    ),
    Input(
        "gnome-user-docs-43.0.tar",
        "e337b31f4ac60d6716ac59faac0d51ec72f7d55d6d340ace900b5c6ba263b7ff",
        deb("gnome-user-docs", "43.0-2"),
    ),
    Input(
        "wordnet-base-3.0.tar",
        "a756512b987f0a984897cb0ec6ddf1329cb9f449c5480c5b5e1e8f404ca4cbc1",
        deb("wordnet-base", "1:3.0-37"),
    ),
    Input(
        "strace.log",
        "1d775ca147bf9186267551a800ec019da1d2723bc11b3c0229cb2a95f1cc6089",
        strace("django-5.2.8.tar", "pootle-2.8.2.tar", "botocore-1.20.0.tar"),
    ),
]


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fetch(folder: Path) -> int:
    folder.mkdir(parents=True, exist_ok=True)
    for item in INPUTS:
        path = folder / item.name
        if not path.exists():
            part = folder / f"{item.name}.part"
            item.make(folder, part)
            part.rename(path)
        found = sha256(path)
        print(f"{found}  {path.stat().st_size:>9}  {item.name}", flush=True)
        if found != item.sha256:
            print(
                f"{path}: not the file that was meant (SHA-256 {item.sha256}); remove it and fetch it again",
                file=sys.stderr,
            )
            return 1
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    sys.exit(fetch(parser.parse_args().folder))
