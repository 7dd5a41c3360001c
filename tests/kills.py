"""Kills and interrupts the command at random moments and looks at what is there afterwards. Not collected by pytest.

    python tests/kills.py [--seed 1] [--kills 50] [--signals 100]

After SIGKILL: the output is complete or not there, sources are untouched (gone only with --rm, and then the output is
complete), and the next run leaves nothing behind. After SIGINT and SIGTERM, once or twice: besides, nothing is left,
and there is neither a traceback nor a hang.
"""

import argparse
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

from commands import COMMAND, environment

import llmzip
from llmzip.models.toy import ToyModel

HANG = 60.0  # seconds from a signal to the end of the process

Case = tuple[str, list[str], str, str]  # name, words, source, output
CASES: list[Case] = [
    ("compress", ["compress", "-m", "toy", "a"], "a", "a.lmz"),
    ("compress --rm", ["compress", "-m", "toy", "--rm", "a"], "a", "a.lmz"),
    ("decompress", ["decompress", "b.lmz"], "b.lmz", "b"),
    ("decompress --rm", ["decompress", "--rm", "b.lmz"], "b.lmz", "b"),
    ("compress pocket", ["compress", "c"], "c", "c.lmz"),
]


class Campaign:
    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.text = ToyModel().speak(6_000)
        self.packed = llmzip.compress(self.text, "toy", block_size=2048)
        self.counts: Counter[str] = Counter()
        self.faults: list[str] = []
        self.n_before_us = 0

    def prepare(self, folder: Path) -> None:
        (folder / "a").write_bytes(self.text)
        (folder / "b.lmz").write_bytes(self.packed)
        (folder / "c").write_bytes(self.text[:1500])

    def seconds(self, case: Case) -> float:
        """How long it takes undisturbed."""
        with tempfile.TemporaryDirectory() as name:
            self.prepare(Path(name))
            began = time.monotonic()
            subprocess.run([*COMMAND, *case[1]], cwd=name, env=environment(), check=True)
            return time.monotonic() - began

    def run(self, case: Case, signals: list[signal.Signals], longest: float) -> None:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            self.prepare(folder)
            process = subprocess.Popen([*COMMAND, *case[1]], cwd=folder, env=environment(), stderr=subprocess.PIPE)
            for number in signals:
                pause(self.random.uniform(0, longest if number is signals[0] else 0.05))
                process.send_signal(number)
            try:
                _, err = process.communicate(timeout=HANG)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()
                self.fault(case, signals, "hangs")
                return
            self.look(case, signals, folder, process.returncode, err)

    def look(self, case: Case, signals: list[signal.Signals], folder: Path, code: int, err: bytes) -> None:
        _, words, source, output = case
        left = [path.name for path in folder.iterdir() if path.name.startswith(".llmzip-")]
        made = (folder / output).exists()
        killed = signal.SIGKILL in signals
        what = (
            ("done" if code == 0 else f"ended with {code}")
            + (", output" if made else ", no output")
            + (", left-over" if left else "")
        )
        self.counts[f"{case[0]}: {what}"] += 1
        if self.counts.total() % 10 == 0:
            print(f"{self.counts.total()} runs, {len(self.faults)} faults", flush=True)
        if ends_before_us(err):
            self.n_before_us += 1
        elif b"Traceback" in err or b"Exception ignored" in err:
            self.fault(case, signals, err.decode())
        if left and not killed:
            self.fault(case, signals, f"{left} left")
        if (folder / source).exists():
            self.same(
                case, signals, folder / source, {"a": self.text, "b.lmz": self.packed, "c": self.text[:1500]}[source]
            )
        elif "--rm" not in words or not made:
            self.fault(case, signals, "the source is gone")
        if made:
            self.complete(case, signals, folder / output)
        if (folder / source).exists():
            subprocess.run([*COMMAND, words[0], "-m", "toy", "-f", source], cwd=folder, env=environment(), check=True)
            self.complete(case, signals, folder / output)
        if left and any(path.name.startswith(".llmzip-") for path in folder.iterdir()) and (folder / source).exists():
            self.fault(case, signals, "the next run leaves what was left")

    def complete(self, case: Case, signals: list[signal.Signals], path: Path) -> None:
        data = path.read_bytes()
        self.same(
            case,
            signals,
            path,
            self.text[:1500] if path.name == "c.lmz" else self.text,
            llmzip.decompress(data) if path.suffix else data,
        )

    def same(
        self, case: Case, signals: list[signal.Signals], path: Path, expected: bytes, found: bytes | None = None
    ) -> None:
        if (path.read_bytes() if found is None else found) != expected:
            self.fault(case, signals, f"{path.name} is not what it should be")

    def fault(self, case: Case, signals: list[signal.Signals], what: str) -> None:
        self.faults.append(f"{case[0]}, {[number.name for number in signals]}: {what}")
        print("FAULT", self.faults[-1], flush=True)


def ends_before_us(err: bytes) -> bool:
    """Whether a KeyboardInterrupt has come while Python itself started: nobody can do anything about that."""
    ours = re.search(rb'File ".*/llmzip/(?!__init__\.py)', err)
    return b"KeyboardInterrupt" in err and (b"_run_module_as_main" in err or b"init_import_site" in err) and not ours


def pause(seconds: float) -> None:
    threading.Event().wait(seconds)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kills", type=int, default=50, help="for each of the commands")
    parser.add_argument("--signals", type=int, default=100, help="in all")
    options = parser.parse_args()
    os.environ["LLMZIP_CACHE"] = tempfile.mkdtemp()
    campaign = Campaign(options.seed)
    longest = {case[0]: campaign.seconds(case) * 1.05 for case in CASES}
    for case in CASES[:4]:
        for _ in range(options.kills):
            campaign.run(case, [signal.SIGKILL], longest[case[0]])
    told = [[signal.SIGINT], [signal.SIGTERM], [signal.SIGINT] * 2, [signal.SIGINT, signal.SIGTERM]]
    for number in range(options.signals):
        case = CASES[number % len(CASES)]
        campaign.run(case, told[number // len(CASES) % len(told)], longest[case[0]])
    for what, count in sorted(campaign.counts.items()):
        print(f"{count:5} {what}")
    print(f"{campaign.n_before_us:5} of them interrupted while Python started, with a traceback of its own")
    print(f"{sum(campaign.counts.values())} runs, seed {options.seed}: {len(campaign.faults)} faults")
    return bool(campaign.faults)


if __name__ == "__main__":
    sys.exit(main())
