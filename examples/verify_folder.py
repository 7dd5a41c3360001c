"""Prove on your own files that nothing is lost: compress and decompress each in processes of their own, and compare.

    python examples/verify_folder.py FOLDER --limit 20000
    python examples/verify_folder.py FOLDER --rivals

With --rivals the table also has the sizes that other compressors give, those of them that are installed. Nothing in
FOLDER is changed. Exit code 1 if any file does not come back the same.
"""

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

# Each at its best, from SOURCE to TARGET.
RIVALS = {
    "xz -9e": "xz -9e -c SOURCE > TARGET",
    "zstd -22": "zstd --ultra -22 -q -c SOURCE > TARGET",
    "brotli -11": "brotli -q 11 --large_window=30 -c SOURCE > TARGET",
    "bzip3": "bzip3 -b 16 -c SOURCE > TARGET",
    "7zz ppmd": "7zz a -bd -m0=PPMd:o=16:mem=256m TARGET SOURCE",
    "zpaq -m5": "zpaq add TARGET.zpaq SOURCE -m5 && mv TARGET.zpaq TARGET",
}


@dataclass(frozen=True)
class Row:
    name: str
    n_bytes: int
    n_compressed: int
    ok: bool
    error: str = ""
    rivals: list[int] = field(default_factory=list)

    def __str__(self) -> str:
        ratio = f"{self.n_bytes / self.n_compressed:.2f}" if self.n_compressed else "-"
        bits = f"{8 * self.n_compressed / self.n_bytes:.3f}" if self.n_bytes else "-"
        return line(
            self.name,
            str(self.n_bytes),
            str(self.n_compressed),
            ratio,
            bits,
            "ok" if self.ok else "FAILED",
            *map(str, self.rivals),
        )


def line(name: str, *cells: str) -> str:
    return f"{name:<40} " + " ".join(f"{cell:>10}" for cell in cells)


def llmzip(*argv: str) -> None:
    """Run the command in a process of its own, so that nothing is carried over from one direction to the other."""
    command = [sys.executable, "-m", "llmzip", *argv]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace")
    if done.returncode != 0:
        raise RuntimeError(done.stderr.strip() or f"exit code {done.returncode}")


def rival_size(command: str, source: Path) -> int:
    target = source.with_name("rival")
    subprocess.run(
        command.replace("SOURCE", source.name).replace("TARGET", target.name),
        shell=True,
        cwd=source.parent,
        capture_output=True,
        check=True,
    )
    found = list(target.parent.glob("rival*"))
    size = found[0].stat().st_size
    found[0].unlink()
    return size


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def verify(
    path: Path, name: str, model: list[str], lanes: list[str], limit: int | None, threads: int, rivals: list[str]
) -> Row:
    n_bytes = n_compressed = 0
    with tempfile.TemporaryDirectory() as scratch:
        source, small, back = (Path(scratch) / part for part in ("source", "small.lmz", "back"))
        try:
            with path.open("rb") as file:
                source.write_bytes(file.read(-1 if limit is None else limit))
            n_bytes = source.stat().st_size
            sizes = [rival_size(RIVALS[rival], source) for rival in rivals]
            before = sha256(source)
            llmzip("compress", "-T", str(threads), *model, *lanes, "-o", str(small), str(source))
            n_compressed = small.stat().st_size
            source.unlink()  # nobody can peek
            llmzip("decompress", "-T", str(threads), *model, "-o", str(back), str(small))
            return Row(name, n_bytes, n_compressed, sha256(back) == before, rivals=sizes)
        except (OSError, RuntimeError, subprocess.CalledProcessError) as error:
            return Row(name, n_bytes, n_compressed, False, str(error))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", help="a name or a folder; the default model if not given")
    parser.add_argument("--lanes", help="more are faster and cost a little; the default number if not given")
    parser.add_argument("--limit", type=int, metavar="BYTES", help="only the beginning of each file")
    parser.add_argument("--jobs", type=int, default=1, help="files at a time")
    parser.add_argument("--rivals", action="store_true", help="compare with other compressors")
    arguments = parser.parse_args()

    folder: Path = arguments.folder
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    if not paths:
        print(f"{folder}: no files", file=sys.stderr)
        return 1
    threads = max(1, (os.cpu_count() or 1) // arguments.jobs)
    model = ["--model", arguments.model] if arguments.model else []  # for decoding too: no name leads to a folder
    lanes = ["--lanes", arguments.lanes] if arguments.lanes else []
    rivals = [name for name in RIVALS if arguments.rivals and shutil.which(name.split()[0])]

    def work(path: Path) -> Row:
        return verify(path, str(path.relative_to(folder)), model, lanes, arguments.limit, threads, rivals)

    print(line("name", "bytes", "compressed", "ratio", "bits/byte", "", *rivals))
    rows = []
    with ThreadPoolExecutor(arguments.jobs) as pool:
        for row in pool.map(work, paths):
            print(row, flush=True)
            if row.error:
                print(f"  {row.error}", file=sys.stderr)
            rows.append(row)
    n_bytes, n_compressed = sum(row.n_bytes for row in rows), sum(row.n_compressed for row in rows)
    totals = [sum(sizes) for sizes in zip(*(row.rivals for row in rows if row.ok), strict=True)]
    print(Row(f"total of {len(rows)}", n_bytes, n_compressed, all(row.ok for row in rows), rivals=totals))
    return 0 if all(row.ok for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
