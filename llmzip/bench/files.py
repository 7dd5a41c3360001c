"""Sizes, speed and memory both ways of llmzip and its rivals on real files.

Each program compresses and decompresses in processes of its own. The source is gone by then; what comes back is
compared.
"""

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
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from llmzip.bench.rivals import PYTHON, Tool


@dataclass(frozen=True)
class How:
    head: int | None  # bytes of each file
    rounds: int
    cpu: bool  # the clock of a busy machine says little


@dataclass(frozen=True)
class Measured:
    """A file by a tool. `fault`: what went wrong, if anything did; the figures are 0 then."""

    file: str
    tool: Tool
    n_bytes: int
    sha256: str
    n_packed: int = 0
    kb_s: tuple[float, float] = (0.0, 0.0)  # there and back; medians
    mib: tuple[float, float] = (0.0, 0.0)  # the most that one process held
    n_model: int = 0  # bytes of the models that the packed file cannot be read without
    fault: str = ""

    @property
    def bits_per_byte(self) -> float:
        return 8 * self.n_packed / self.n_bytes if self.n_bytes else 0.0


def measure_all(paths: list[Path], tools: list[Tool], how: How, tell: Callable[[str], object]) -> Iterator[Measured]:
    for path in paths:
        for tool in tools:
            tell(f"{path.name}: {tool.title}")
            yield measure(tool, path, how)


def measure(tool: Tool, path: Path, how: How) -> Measured:
    with tempfile.TemporaryDirectory() as scratch:
        source, packed, back = (Path(scratch) / name for name in ("source", "packed", "back"))
        n_bytes = _copy_head(path, source, how.head)
        before = _sha256(source)
        try:
            there, again = [], []
            for _ in range(how.rounds):
                packed.unlink(missing_ok=True)
                there.append(_run(tool.compress, source.parent, how.cpu))
            source.unlink()  # nobody can peek
            for _ in range(how.rounds):
                back.unlink(missing_ok=True)
                again.append(_run(tool.decompress, source.parent, how.cpu))
                if _sha256(back) != before:
                    raise RuntimeError("what comes back is not the same")
            n_model = _model_size(packed) if tool.is_ours else 0
        except (RuntimeError, OSError) as error:
            return Measured(path.name, tool, n_bytes, before, fault=str(error))
        speeds = [n_bytes / 1000 / statistics.median(seconds for seconds, _ in runs) for runs in (there, again)]
        most = [max(mib for _, mib in runs) for runs in (there, again)]
        return Measured(
            path.name, tool, n_bytes, before, packed.stat().st_size, (speeds[0], speeds[1]), (most[0], most[1]), n_model
        )


def _run(command: str, folder: Path, cpu: bool) -> tuple[float, float]:
    """Seconds and MiB. Linux counts what this process holds when it forks, too, so it must not hold a file."""
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
            raise RuntimeError(f"exit code {process.returncode}: {said}")
    return usage.ru_utime + usage.ru_stime if cpu else seconds, usage.ru_maxrss / 1024


def _model_size(packed: Path) -> int:
    """Bytes of the models that the file cannot be read without."""
    info, models = (
        json.loads(
            subprocess.run(
                f"{PYTHON} -m llmzip {command}", shell=True, cwd=packed.parent, capture_output=True, check=True
            ).stdout
        )
        for command in (f"info --json {packed.name}", "models --json")
    )
    asked = {
        member["fingerprint"]
        for file in info
        for member in file["members"]
        if any(block["kind"] == "model" for block in member["blocks"])  # others name one, and are read without it
    }
    return sum(model["size"] for model in models if model["fingerprint"][:8] in asked)


def _copy_head(path: Path, target: Path, head: int | None) -> int:
    left = n_bytes = min(path.stat().st_size, head or sys.maxsize)
    with path.open("rb") as file, target.open("wb") as out:
        while data := file.read(min(left, 1 << 20)):
            out.write(data)
            left -= len(data)
    return n_bytes


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def paid_from(ours: Measured, theirs: Measured) -> int | None:
    """The size from which ours and its model together are less than theirs, at the ratios of this file. None: never."""
    if ours.fault or theirs.fault or ours.n_packed >= theirs.n_packed:
        return None
    return -(-ours.n_model * ours.n_bytes // (theirs.n_packed - ours.n_packed))


def machine() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*: (.*)", cpuinfo.read_text("utf-8")) if cpuinfo.exists() else None
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    name = found[1] if found else platform.machine()
    return f"{name}, {os.cpu_count()} cores, {memory:.0f} GiB, {platform.system()}, Python {platform.python_version()}"
