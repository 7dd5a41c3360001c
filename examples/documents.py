"""What opening makes of real documents: fetches some as pip and apt are set up, and prints a table by kind.

    python examples/documents.py [--folder DIR] [--most 20] [--code] [KIND ...]
    python examples/documents.py --local DIR        of documents of yours

Each package is checked by its SHA-256. Per kind: files, streams that were opened, the share of the bytes that they
are, what these hold, the side information that leads back (corrections included) and its share, and for comparison
`xz -9e`. With --code also the sizes of llmzip with and without opening, each file on its own: that takes long.
A package that cannot be had is left out, and said.
"""

import argparse
import base64
import hashlib
import lzma
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from email.message import EmailMessage
from pathlib import Path

import llmzip
from llmzip.cuts import Cutter

PIP, APT = "pip", "apt"
SOURCES = (
    (PIP, "odfpy==1.4.1", "db766a6e59c5103212f3cc92ec8dd50a0f3a02790233ed0b52148b70d3c438ec"),
    (PIP, "python-docx==1.1.2", "0cf1f22e95b9002addca7948e16f2cd7acdfd498047f1941ca5d293db7762efd"),
    (PIP, "python-pptx==1.0.2", "479a8af0eaf0f0d76b6f00b0887732874ad2e3188230315290cd1f9dd9cc7095"),
    (PIP, "nbformat==5.10.4", "322168b14f937a5d11362988ecac2a4952d3d8e3a2cbeb2319584631226d5b3a"),
    (PIP, "xlsx2csv==0.8.3", "6c65d5989e8d3f14dd7296d425d693a67f51899d0c8e1ed7bcbf9ccb18223734"),
    (PIP, "mammoth==1.8.0", "b2abf2340809b13a903c8b65a27846466290b869f0dd56e4a1e3072c4be1ea86"),
    (PIP, "openpyxl==3.1.5", "5282c12b107bffeef825f4617dc029afaf41d0ea60823bbb665ef3079dc79de2"),
    (APT, "developers-reference=12.18", "0dba82f6fa16e373f2a84ad07e7971aa9264ad2e7d2ae46b37edbc9c5fd57e2e"),
    (APT, "debian-policy=4.6.2.0", "ef9d01b625c3b87c3a845c2cd1b66f1a16e9240b2b9e5bee53472a00e8457a39"),
    (APT, "libcommons-cli-java=1.5.0-1", "6307cc25286cf9c1afdcc16c1215534203aadc7a58e0f6103734d1ccc3da7f65"),
)
WHEELS = ("mammoth", "openpyxl")  # the others are fetched as sources
KINDS = ("pdf", "epub", "odt", "docx", "xlsx", "pptx", "gz", "tar.gz", "zip", "whl", "jar", "png", "ipynb", "eml")
BLOCK_SIZE = 1 << 20


@dataclass
class Row:
    """Sums of one kind."""

    n_files: int = 0
    n_bytes: int = 0
    n_streams: int = 0
    n_opened: int = 0  # bytes of content that streams take, those inside of others not counted again
    n_plain: int = 0  # bytes of the bodies
    n_side: int = 0
    n_xz: int = 0
    sizes: list[int] = field(default_factory=lambda: [0, 0])  # coded, with and without opening

    def cells(self, kind: str, *, coded: bool) -> list[str]:
        share, side = (100 * n / max(1, self.n_bytes) for n in (self.n_opened, self.n_side))
        numbers = [
            self.n_files,
            self.n_streams,
            f"{share:.1f} %",
            self.n_bytes,
            self.n_plain,
            self.n_side,
            f"{side:.2f} %",
            self.n_xz,
        ]
        return [kind, *map(str, numbers), *(map(str, self.sizes) if coded else [])]


def fetch(tool: str, package: str, digest: str, folder: Path) -> Path | None:
    """The file of this digest."""
    if not (found := _known(folder, digest)):
        name = package.partition("=")[0]
        if tool == APT:
            command = ["apt-get", "download", package]
        else:
            built = ["--only-binary", ":all:"] if name in WHEELS else ["--no-binary", ":all:"]
            pip = [sys.executable, "-m", "pip"] if _has_pip() else ["pip"]
            command = [*pip, "download", "--quiet", "--no-deps", *built, package]
        if shutil.which(command[0]):
            subprocess.run(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
        found = _known(folder, digest)
    if found is None:
        print(f"left out: {package}, which {tool} does not give, or not with the right digest", file=sys.stderr)
    return found


def _has_pip() -> bool:
    return subprocess.run([sys.executable, "-m", "pip", "--version"], capture_output=True, check=False).returncode == 0


def _known(folder: Path, digest: str) -> Path | None:
    files = (path for path in folder.iterdir() if path.is_file())
    return next((path for path in files if hashlib.sha256(path.read_bytes()).hexdigest() == digest), None)


def unpack(package: Path, folder: Path) -> None:
    if package.suffix == ".deb":
        subprocess.run(["dpkg-deb", "-x", package, folder], check=True)
    elif package.name.endswith(".tar.gz"):
        with tarfile.open(package) as archive:
            archive.extractall(folder, filter="data")


def documents(folder: Path, most: int) -> Iterator[tuple[str, bytes]]:
    """Kind and content of each, no more than so many of a kind, and mail with two of them in it."""
    seen: dict[str, list[bytes]] = {kind: [] for kind in KINDS}
    for path in sorted(folder.rglob("*")):
        kind = next((kind for kind in ("tar.gz", *KINDS) if path.name.lower().endswith("." + kind)), None)
        if kind and path.is_file() and not path.is_symlink():
            content = path.read_bytes()
            if len(seen[kind]) < most and content not in seen[kind]:
                seen[kind].append(content)
    for first, second in zip(seen["docx"], seen["png"], strict=False):
        seen["eml"].append(_mail(first, second))
    for kind, contents in seen.items():
        yield from ((kind, content) for content in contents)


def _mail(*attachments: bytes) -> bytes:
    message = EmailMessage()
    message["Subject"], message["From"], message["To"] = "Documents", "a@example.org", "b@example.org"
    message.set_content("As promised.\n")
    for attachment in attachments:
        message.add_attachment(attachment, maintype="application", subtype="octet-stream")
        *_, part = message.iter_parts()
        part.set_payload(base64.encodebytes(attachment).decode())
    return message.as_bytes()


def measure(row: Row, content: bytes) -> None:
    """Open the content as a compressor does, and count."""
    held, at, before = bytearray(content), 0, b""
    cutter = Cutter(BLOCK_SIZE, 8 * BLOCK_SIZE, opens=True)
    while at < len(held):
        cuts, _ = cutter.next(held, at, last=True)
        for cut in cuts:
            opening = cut.opening(bytes(held[at : at + cut.n_bytes]), before)
            at += cut.n_bytes
            before = opening.window if opening else b""
            row.n_plain += len(opening.body) if opening else cut.n_bytes
            row.n_side += len(opening.side) if opening else 0
            row.n_opened += sum(node.size for node in cut.nodes)
            row.n_streams += sum(kind.n_streams for kind in opening.found if kind.name != "directory") if opening else 0
    row.n_files += 1
    row.n_bytes += len(content)
    row.n_xz += len(lzma.compress(content, preset=9 | lzma.PRESET_EXTREME))


def code(row: Row, content: bytes) -> None:
    for i, opens in enumerate((True, False)):
        made = llmzip.compress(content, opens=opens)
        if llmzip.decompress(made) != content:
            raise SystemExit("a file that was compressed does not come back")
        row.sizes[i] += len(made)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kinds", nargs="*", choices=[*KINDS, []], metavar="KIND")
    parser.add_argument("--folder", type=Path, help="where packages are kept")
    parser.add_argument("--local", type=Path, help="measure what is in this folder, and fetch nothing")
    parser.add_argument("--most", type=int, default=20, help="files of a kind")
    parser.add_argument("--code", action="store_true", help="compress them, with opening and without")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        packages = options.folder or Path(scratch) / "packages"
        unpacked = Path(scratch) / "unpacked"
        for folder in (packages, unpacked):
            folder.mkdir(parents=True, exist_ok=True)
        for source in SOURCES if options.local is None else ():
            if package := fetch(*source, packages):
                unpack(package, unpacked / f"{package.name} unpacked")
                shutil.copy(package, unpacked)
        rows = {kind: Row() for kind in options.kinds or KINDS}
        for kind, content in documents(options.local or unpacked, options.most):
            if kind in rows:
                measure(rows[kind], content)
                if options.code:
                    code(rows[kind], content)
    heading = [
        "kind",
        "files",
        "streams",
        "opened",
        "bytes",
        "body",
        "side",
        "of bytes",
        "xz -9e",
        *(["llmzip", "--no-open"] if options.code else []),
    ]
    table = [heading, *(row.cells(kind, coded=options.code) for kind, row in rows.items() if row.n_files)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for cells in table:
        print("  ".join(cell.rjust(width) for cell, width in zip(cells, widths, strict=True)))


if __name__ == "__main__":
    main()
