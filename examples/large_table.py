"""Compare llmzip with other compressors on the large files of a folder.

Sizes, speed and memory both ways, as a table in Markdown.

    python examples/large_files.py FOLDER
    python examples/large_table.py FOLDER --head 16M

Each tool compresses and decompresses in processes of its own; what comes back is compared. Tools that are not installed
are named and left out. Exit code 1 if anything does not come back the same.
"""

import argparse
import hashlib
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

LLMZIP = f"{sys.executable} -m llmzip"
KANZI = f"{sys.executable} -c 'import kanzi, sys; sys.stdout.buffer.write(kanzi.{{}})'"
READ = "sys.stdin.buffer.read()"


@dataclass(frozen=True)
class Tool:
    """Commands in a folder of their own: from `source` to `packed`, and from `packed` to `back`."""

    title: str
    compress: str
    decompress: str
    version: str
    hint: str  # how to install it


# Each at its best. The kanzi of the package index is a port to Rust, which takes bytes: its memory holds Python and the
# file besides.
RIVALS = {
    "xz": Tool("xz -9e", "xz -9e -c source > packed", "xz -dc packed > back", "xz --version", "apt install xz-utils"),
    "zstd": Tool(
        "zstd --ultra -22 --long=27",
        "zstd --ultra -22 --long=27 -q -c source > packed",
        "zstd -dc --long=27 -q packed > back",
        "zstd --version",
        "apt install zstd",
    ),
    "zpaq": Tool(
        "zpaq -m5",
        "zpaq add packed.zpaq source -m5 && mv packed.zpaq packed",
        "ln -f packed packed.zpaq && zpaq extract packed.zpaq source -to back",
        "zpaq",
        "apt install zpaq",
    ),
    "bzip3": Tool(
        "bzip3 -b 128",
        "bzip3 -e -b 128 -c source > packed",
        "bzip3 -d -c packed > back",
        "bzip3 --version",
        "apt install bzip3",
    ),
    "kanzi": Tool(
        "kanzi -l 9 -b 128m",
        KANZI.format(f"compress({READ}, 9, 1 << 27)") + " < source > packed",
        KANZI.format(f"decompress({READ})") + " < packed > back",
        f"{sys.executable} -m pip show kanzi",
        "pip install kanzi",
    ),
    "7zz": Tool(
        "7zz ppmd",
        "7zz a -bd -m0=PPMd:o=16:mem=1g packed.7z source && mv packed.7z packed",
        "7zz x -so packed > back",
        "7zz",
        "apt install 7zip",
    ),
}


def llmzip(model: str | None, options: str) -> Tool:
    same = f"-q -m {model}" if model else "-q"
    return Tool(
        f"llmzip {options}".strip(),
        f"{LLMZIP} -c {same} {options} source > packed",
        f"{LLMZIP} -dc {same} < packed > back",
        f"{LLMZIP} --version",
        "pip install llmzip",
    )


def version(tool: Tool) -> str | None:
    """None if it is not installed: then the shell says something on stderr only."""
    done = subprocess.run(
        tool.version, shell=True, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace"
    )
    found = re.search(r"\d+\.\d+(\.\d+)*", done.stdout)
    return found[0] if found else None


@dataclass(frozen=True)
class How:
    head: int | None  # bytes of each file
    rounds: int
    cpu: bool  # the clock of a busy machine says little


@dataclass(frozen=True)
class Measured:
    n_bytes: int
    n_packed: int
    kb_s: list[float]  # there and back; medians
    mib: list[float]  # the most that one process held
    n_model: int
    same: bool


def measure(tool: Tool, path: Path, how: How) -> Measured:
    with tempfile.TemporaryDirectory() as scratch:
        source, packed, back = (Path(scratch) / name for name in ("source", "packed", "back"))
        n_bytes = copy_head(path, source, how.head)
        before = sha256(source)
        there, again, same = [], [], True
        for _ in range(how.rounds):
            packed.unlink(missing_ok=True)
            there.append(run(tool.compress, source.parent, how.cpu))
        source.unlink()  # nobody can peek
        for _ in range(how.rounds):
            back.unlink(missing_ok=True)
            again.append(run(tool.decompress, source.parent, how.cpu))
            same &= sha256(back) == before
        kb_s = [n_bytes / 1000 / statistics.median(seconds for seconds, _ in runs) for runs in (there, again)]
        mib = [max(mib for _, mib in runs) for runs in (there, again)]
        return Measured(
            n_bytes, packed.stat().st_size, kb_s, mib, model_size(packed) if LLMZIP in tool.compress else 0, same
        )


def run(command: str, folder: Path, cpu: bool) -> tuple[float, float]:
    """Seconds and MiB. Linux counts what this script holds when it forks, too, so it must not hold a file."""
    with tempfile.TemporaryFile() as errors:
        began = time.perf_counter()
        process = subprocess.Popen(
            command, shell=True, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=errors
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)  # or Popen would wait for it, too
        if process.returncode:
            errors.seek(0)
            said = errors.read()[-500:].decode(errors="replace").strip()
            raise RuntimeError(f"{command}: exit code {process.returncode}: {said}")
    return usage.ru_utime + usage.ru_stime if cpu else seconds, usage.ru_maxrss / 1024


def model_size(packed: Path) -> int:
    """Bytes of the models that the file asks for."""
    info, models = (
        json.loads(
            subprocess.run(f"{LLMZIP} {command}", shell=True, cwd=packed.parent, capture_output=True, check=True).stdout
        )
        for command in (f"info --json {packed.name}", "models --json")
    )
    asked = {member["fingerprint"] for file in info for member in file["members"] if member["fingerprint"]}
    return sum(model["size"] for model in models if model["fingerprint"][:8] in asked)


def copy_head(path: Path, target: Path, head: int | None) -> int:
    left = n_bytes = min(path.stat().st_size, head or sys.maxsize)
    with path.open("rb") as file, target.open("wb") as out:
        while data := file.read(min(left, 1 << 20)):
            out.write(data)
            left -= len(data)
    return n_bytes


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


COLUMNS = [
    "file",
    "bytes",
    "tool",
    "compressed",
    "bits/byte",
    "KB/s",
    "KB/s back",
    "MiB",
    "MiB back",
    "model",
    "model paid for from",
]


def cells(path: Path, tool: Tool, done: Measured, ours: Measured | None) -> list[str]:
    packed = spaced(done.n_packed) if done.same else "FAILED"
    bits = f"{8 * done.n_packed / done.n_bytes:.3f}" if done.n_bytes else "-"
    speed_and_memory = [f"{value:.0f}" for value in done.kb_s + done.mib]
    paid = paid_from(ours, done) if ours and ours != done else ""
    return [path.name, spaced(done.n_bytes), tool.title, packed, bits, *speed_and_memory, spaced(done.n_model), paid]


def paid_from(ours: Measured, theirs: Measured) -> str:
    """The size of file from which model and compressed file together are less than the rival's, at the ratios of this
    file.
    """
    if ours.n_packed >= theirs.n_packed:
        return "never"
    return f"{ours.n_model * ours.n_bytes / (theirs.n_packed - ours.n_packed) / 1e6:.1f} MB"


def spaced(number: int) -> str:
    return f"{number:,}".replace(",", " ")


def line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def body(paths: list[Path], tools: list[Tool], how: How) -> Iterator[bool]:
    """Print the lines; yield whether each is in order. llmzip comes first, for the last column of the others."""
    for path in paths:
        ours = None
        for tool in tools:
            try:
                done = measure(tool, path, how)
            except (RuntimeError, OSError) as error:
                print(line([path.name, "", tool.title, "FAILED", *[""] * 7]), flush=True)
                print(f"{path.name}: {error}", file=sys.stderr)
                yield False
                continue
            ours = done if LLMZIP in tool.compress else ours
            print(line(cells(path, tool, done, ours)), flush=True)
            yield done.same


def machine() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*: (.*)", cpuinfo.read_text("utf-8")) if cpuinfo.exists() else None
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    name = found[1] if found else platform.machine()
    return f"{name}, {os.cpu_count()} cores, {memory:.0f} GiB, {platform.system()}, Python {platform.python_version()}"


def size(text: str) -> int:
    return int(text.rstrip("KMG")) << {"K": 10, "M": 20, "G": 30}.get(text[-1:], 0)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--files", nargs="+", metavar="NAME", help="only these of the folder")
    parser.add_argument("--head", type=size, metavar="SIZE", help="only the beginning of each file: 16M")
    parser.add_argument("--rounds", type=int, default=1, help="times are the median of so many")
    parser.add_argument(
        "--cpu", action="store_true", help="time of the processor, of all threads, not of the clock: on a busy machine"
    )
    parser.add_argument("--rivals", nargs="*", choices=RIVALS, default=list(RIVALS), help="only these")
    parser.add_argument("--without-llmzip", action="store_true")
    parser.add_argument("--model", help="llmzip's: a name or a folder; the default model if not given")
    parser.add_argument("--options", default="", help="more of llmzip's for compressing: --options='-T 1'")
    arguments = parser.parse_args()

    paths = sorted(
        path for path in arguments.folder.iterdir() if path.is_file() and path.name in (arguments.files or [path.name])
    )
    wanted = [] if arguments.without_llmzip else [llmzip(arguments.model, arguments.options)]
    wanted += [RIVALS[name] for name in arguments.rivals]
    versions = {tool: version(tool) for tool in wanted}
    tools = [tool for tool in wanted if versions[tool]]

    print(f"Machine: {machine()}.")
    print("Versions: " + ", ".join(f"{tool.title.split()[0]} {versions[tool]}" for tool in tools) + ".")
    print("".join(f"Missing: {tool.title} ({tool.hint}).\n" for tool in wanted if tool not in tools), end="")
    clock = "processor time" if arguments.cpu else "time"
    print(
        f"KB/s: 1000 bytes by {clock}, median of {arguments.rounds}. MiB: the most that one process held."
        " No program is counted in any size.\n"
    )
    print(line(COLUMNS), line(["---"] * len(COLUMNS)), sep="\n", flush=True)
    ok = all([*body(paths, tools, How(arguments.head, arguments.rounds, arguments.cpu))])
    print("\n| file | bytes | SHA-256 |\n| --- | --- | --- |")
    print("\n".join(line([path.name, spaced(path.stat().st_size), f"`{sha256(path)}`"]) for path in paths))
    return 0 if ok and paths else 1


if __name__ == "__main__":
    sys.exit(main())
