"""Streams of libbz2, made again: equal to the bit, and how fast.

A campaign: the suite has a small one (test_campaigns.py).

    PYTHONPATH=tests python tests/bzip2s.py [--runs 3000] [--size 4194304] [--seed 0] [--folder FOLDER]

Inputs are those of deflates.py, at every level. Prints how many came out exact, of what the others were made, and the
speed by level beside libbz2's; stops at the first stream that does not hold what it was made of, with exit code 1.
"""

import argparse
import bz2
import collections
import random
import sys
import time
from pathlib import Path

from deflates import content

from llmzip import bzip2


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3000)
    parser.add_argument("--size", type=int, default=1 << 22)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path)
    arguments = parser.parse_args()
    files = [path for path in sorted(arguments.folder.rglob("*")) if path.is_file()] if arguments.folder else []
    results: collections.Counter[str] = collections.Counter()
    sizes: collections.Counter[int] = collections.Counter()
    seconds: dict[int, list[float]] = {level: [0.0, 0.0] for level in range(1, 10)}
    for seed in range(arguments.seed, arguments.seed + arguments.runs):
        rng = random.Random(seed)
        kind, data = content(rng, arguments.size, files)
        level = rng.randint(1, 9)
        start = time.process_time()
        theirs = bz2.compress(data, level)
        between = time.process_time()
        ours = bzip2.compress(data, level)
        seconds[level][0] += time.process_time() - between
        seconds[level][1] += between - start
        sizes[level] += len(data)
        if ours != theirs and bz2.decompress(ours) != data:
            print(f"seed {seed}: {kind}, {len(data)} bytes, level {level}: holds other bytes")
            return 1
        results["exact" if ours == theirs else f"other: {kind}, seed {seed}"] += 1
    for name, count in sorted(results.items()):
        print(f"{count:6} {name}")
    for level, n_bytes in sorted(sizes.items()):
        own, libbz2 = (n_bytes / max(spent, 1e-9) / 1e6 for spent in seconds[level])
        print(f"level {level}: {n_bytes} bytes at {own:.1f} MB/s, libbz2 {libbz2:.1f} MB/s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
