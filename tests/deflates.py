"""Streams of zlib and gzip, opened and closed again: equal to the bit, and how fast.

A campaign: the suite has a small one (test_campaigns.py).

    PYTHONPATH=tests python tests/deflates.py [--runs 10000] [--size 16777216] [--seed 0] [--folder FOLDER]

Inputs are of many kinds and lengths up to --size, most of them short; with --folder, parts of the files in it, too.
Every level, memory levels 8 and 9 (some others), every tenth by gzip(1) where there is one. Prints how many came out
exact, with corrections, or stayed closed because they are slow, and the speed of recreating them by level; stops at the
first stream that is not what it was, with exit code 1.
"""

import argparse
import collections
import random
import shutil
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path

from llmzip.deflate import close_stream, open_stream
from llmzip.deflate.parameters import parse_head


def words(rng: random.Random, n: int) -> bytes:
    known = [bytes(rng.choices(b"etaoinshrdlu", k=rng.randint(1, 9))) for _ in range(rng.choice([3, 50, 400]))]
    return b" ".join(rng.choices(known, weights=[1 / (i + 1) for i in range(len(known))], k=n // 4 + 1))[:n]


def records(rng: random.Random, n: int) -> bytes:
    size, step = rng.randint(3, 40), rng.randint(1, 5)
    row = bytearray(rng.randbytes(size))
    made = bytearray()
    while len(made) < n:
        row[rng.randrange(size)] = (row[0] + step) & 255
        made += row
    return bytes(made[:n])


def lines(rng: random.Random, n: int) -> bytes:
    made, at = [], 0
    while at < n:
        made.append(
            b"Nov 25 17:%02d:%02d host sshd[%d]: session %d closed\n" % (at % 60, at % 59, rng.randrange(9999), at)
        )
        at += len(made[-1])
    return b"".join(made)[:n]


def period(rng: random.Random, n: int) -> bytes:
    piece = rng.randbytes(rng.randint(1, 70_000))
    return (piece * (n // len(piece) + 1))[:n]


KINDS: dict[str, Callable[[random.Random, int], bytes]] = {
    "words": words,
    "records": records,
    "lines": lines,
    "periods": period,
    "noise": lambda rng, n: rng.randbytes(n),
    "runs": lambda rng, n: b"".join(bytes([rng.randrange(4)]) * rng.randint(1, 700) for _ in range(n // 300 + 1))[:n],
    "four letters": lambda rng, n: bytes(rng.choices(b"acgt", k=n)),
}


def content(rng: random.Random, most: int, files: list[Path]) -> tuple[str, bytes]:
    n = int(most ** (rng.random() ** 5)) if rng.random() < 0.997 else most
    if files and rng.random() < 0.5:
        path = rng.choice(files)
        data = path.read_bytes()
        start = rng.randrange(len(data) + 1)
        return "files", data[start : start + n]
    parts = rng.choice([1, 1, 1, 3])
    names = [rng.choice(list(KINDS)) for _ in range(parts)]
    return "+".join(sorted(set(names))), b"".join(KINDS[name](rng, n // parts) for name in names)


def closed(rng: random.Random, data: bytes) -> tuple[str, bytes]:
    level = rng.randint(1, 9)
    if rng.random() < 0.1 and shutil.which("gzip"):
        file = subprocess.run(["gzip", "-n", f"-{level}"], input=data, capture_output=True, check=True).stdout
        return f"gzip {level}", file[10:-8]
    memory = rng.choice([8, 8, 9, 9, rng.randint(1, 9)])
    coder = zlib.compressobj(level, zlib.DEFLATED, -15, memory)
    return f"zlib {level}" if memory > 7 else f"zlib {level} of little memory", coder.compress(data) + coder.flush()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--size", type=int, default=1 << 24)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path)
    arguments = parser.parse_args()
    files = [path for path in sorted(arguments.folder.rglob("*")) if path.is_file()] if arguments.folder else []
    results: collections.Counter[str] = collections.Counter()
    sizes: collections.Counter[str] = collections.Counter()
    seconds: collections.Counter[str] = collections.Counter()
    recipes = streams = 0
    for seed in range(arguments.seed, arguments.seed + arguments.runs):
        rng = random.Random(seed)
        kind, data = content(rng, arguments.size, files)
        maker, stream = closed(rng, data)
        opened = open_stream(stream, max_plain=len(data))
        if opened is None:
            results[f"closed: {kind}, {maker}"] += 1
            continue
        start = time.process_time()
        back, state = close_stream(opened.plain, opened.recipe)
        seconds[maker] += time.process_time() - start  # type: ignore[assignment]
        sizes[maker] += len(data)
        if back != stream or state is not None or opened.plain != data:
            print(f"seed {seed}: {kind}, {len(data)} bytes, {maker}: other bytes")
            return 1
        recipes, streams = recipes + len(opened.recipe), streams + len(stream)
        exact = parse_head(opened.recipe)[0].exact
        results["exact" if exact else f"corrected: {maker}"] += 1
        if (seed + 1 - arguments.seed) % 500 == 0:
            print(f"{seed + 1 - arguments.seed} streams, {sum(sizes.values())} bytes: {dict(results)}", flush=True)
    for name, count in sorted(results.items()):
        print(f"{count:6} {name}")
    print(f"{recipes} bytes of recipes for {streams} bytes of streams")
    for maker in sorted(sizes):
        if "memory" not in maker:
            print(
                f"{maker}: {sizes[maker]} bytes recreated at {sizes[maker] / max(seconds[maker], 1e-9) / 1e6:.1f} MB/s"
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
