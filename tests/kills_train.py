"""Kill trainings at random moments, and count what is left: python tests/kills_train.py [RUNS] [SEED]

Each run of a tiny training is killed (SIGKILL, or SIGINT in one of five) after a random time, again and again until one
gets to its end, in a folder with a user's files. After each kill: the result is complete or not there, sources and
bystanders are untouched, nothing but DIR and DIR.work has appeared. At the end: the fingerprint is that of a run which
nobody disturbed.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ENTRY = "import sys; from llmzip.cli.app import main; sys.exit(main())"
COMMAND = [
    sys.executable,
    "-c",
    ENTRY,
    "train",
    "logs",
    "-o",
    "m",
    "--preset",
    "pocket-small",
    "--tokens",
    "16384",
    "-T",
    "1",
]
MOST_KILLS = 12  # in a row; then it may end


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def check(folder: Path, before: dict[str, bytes], expected: str) -> str:
    """What is wrong, or ""."""
    from llmzip.models.checkpoint import read_checkpoint

    ours = ("m/", "m.work/")
    if {name: data for name, data in content(folder).items() if not name.startswith(ours)} != before:
        return "a user's file has changed, or another has appeared"
    if (folder / "m").exists() and read_checkpoint(folder / "m")[0]["fingerprint"] != expected:
        return "another model"
    return ""


def train(folder: Path, rng: random.Random | None, longest: float) -> int | None:
    """The exit code, or None if it was killed."""
    environment = os.environ | {"LLMZIP_CACHE": str(folder.parent / "cache")}
    with (folder.parent / "log").open("ab") as log:
        process = subprocess.Popen(COMMAND, cwd=folder, env=environment, stdout=log, stderr=log)
    try:
        return process.wait(rng.uniform(0, longest) if rng else None)
    except subprocess.TimeoutExpired:
        assert rng is not None
        process.send_signal(rng.choice([signal.SIGKILL] * 4 + [signal.SIGINT]))
        process.wait()
        return None


def prepare(folder: Path) -> dict[str, bytes]:
    rng = random.Random(1)
    (folder / "logs").mkdir(parents=True)
    (folder / "thesis").write_text("mine")
    for i in range(3):
        lines = (
            f"worker-{rng.randrange(9)} {rng.choice(['read', 'write', 'close'])} {rng.randrange(999)}\n"
            for _ in range(3000)
        )
        (folder / "logs" / f"{i}.log").write_text("".join(lines))
    return content(folder)


def main(n_kills: int, seed: int) -> int:
    from llmzip.models.checkpoint import read_config

    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as name:
        undisturbed = Path(name, "undisturbed")
        prepare(undisturbed)
        begin = time.monotonic()
        assert train(undisturbed, None, 0) == 0
        longest = time.monotonic() - begin
        expected = read_config(undisturbed / "m")["fingerprint"]
        done = n_faults = n_ends = 0
        while done < n_kills:
            folder = Path(name, "here")
            before = prepare(folder)
            for attempt in range(MOST_KILLS + 1):
                code = train(folder, rng if attempt < MOST_KILLS else None, longest)
                done += code is None
                wrong = check(folder, before, expected)
                if code is not None:
                    wrong = wrong or ("" if (folder / "m").exists() else f"it ended with {code}")
                if wrong:
                    n_faults += 1
                    print(f"kill {done}: {wrong}\n" + Path(name, "log").read_text(encoding="utf-8")[-2000:])
                if (folder / "m").exists() or wrong:
                    break
            n_ends += 1
            left = sorted(path.name for path in (folder / "m.work").iterdir())
            shutil.rmtree(folder)
        print(
            f"{done} kills, {n_ends} trainings brought to their end, {n_faults} faults; "
            f"left in DIR.work at last: {left}"
        )
    return int(n_faults > 0)


if __name__ == "__main__":
    numbers = [int(word) for word in sys.argv[1:]]
    sys.exit(main(*(numbers + [50, 0][len(numbers) :])))
