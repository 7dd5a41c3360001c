"""Damaged files by the thousand: what salvage gives out is what was compressed, block by block.

    python tests/salvages.py [RUNS [SEED]]

makes files of random members, some with whole .lmz files stored in their blocks, damages them in one to four places
(flips, zeros, cuts, bytes lost, put in or turned round), and counts blocks that come out and were not compressed as
such (it must be none), blocks that no damage has touched and that are lost, and the longest that one file took.
Counted apart: files that are cut just where a stored .lmz file ends, so that they end with that, whole: nobody could
tell it from a last member of their own.
"""

import functools
import io
import random
import sys
import time

from llmzip import blocks, codec, container
from llmzip.damage import Damage, salvage
from llmzip.models.toy import ToyModel
from llmzip.stream import ModelSource

MODEL = ToyModel()
SOURCE = ModelSource(MODEL)
Piece = tuple[int, int, bytes]  # where it begins and ends in the file, content


def make_member(contents: list[bytes], rng: random.Random) -> tuple[bytes, list[Piece]]:
    if len(contents) == 1 and rng.random() < 0.5:
        block = make_block(contents[0], rng)
        if made := container.create_short(block, contents[0], MODEL.fingerprint):
            return made, [(0, len(made), contents[0])]
    made = container.create_preamble(MODEL.fingerprint)
    seen = container.Member(container.parse_preamble(made))
    pieces = []
    for i, content in enumerate(contents):
        block = make_block(content, rng)
        data = container.create_block(block, last=i == len(contents) - 1, before=seen.next_before)
        seen.add(block.kind, block.n_bytes, len(data), i == len(contents) - 1)
        pieces.append((len(made), len(made) + len(data), content))
        made += data
    index = container.create_index(seen.index(container.content_check(b"".join(contents)))) if seen.has_index else b""
    return made + index, pieces


@functools.lru_cache(10_000)
def model_block(content: bytes) -> container.Block:
    return codec.compress_block(MODEL, content)


def make_block(content: bytes, rng: random.Random) -> container.Block:
    stored = container.stored_block(content)
    if len(content) > 200 or rng.random() < 0.5:
        return stored
    return model_block(content)


def make_file(rng: random.Random, depth: int = 0) -> tuple[bytes, list[Piece]]:
    made, pieces = b"", []
    for _ in range(rng.choice([1, 1, 2, 4])):
        contents = []
        for _ in range(rng.choice([1, 2, 5])):
            if depth == 0 and rng.random() < 0.2:
                contents.append(
                    rng.randbytes(rng.choice([0, 9])) + make_file(rng, 1)[0] + rng.randbytes(rng.choice([0, 9]))
                )
            else:
                n = rng.randrange(20, 60)
                contents.append(
                    MODEL.speak(n, rng.randrange(50)) + b"%d" % depth if rng.random() < 0.7 else rng.randbytes(n)
                )
        data, found = make_member(contents, rng)
        pieces += [(start + len(made), end + len(made), content) for start, end, content in found]
        made += data
    return made, pieces


def damage(data: bytes, rng: random.Random) -> tuple[bytes, int, int]:
    """The damaged file, and what of the old one is not as it was."""
    at = rng.randrange(len(data))
    n = min(rng.choice([1, 2, 16, 64]), len(data) - at)
    kind = rng.randrange(7)
    if kind == 0:
        return data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :], at, at + 1
    if kind == 1:
        return data[:at] + bytes(n) + data[at + n :], at, at + n
    if kind == 2:
        return data[:at] + rng.randbytes(n) + data[at + n :], at, at + n
    if kind == 3:
        return data[:at], at, len(data)
    if kind == 4:
        return data[:at] + data[at + n :], at, len(data)
    if kind == 5:
        return data[:at] + rng.randbytes(n) + data[at:], at, len(data)
    return data[:at] + data[at : at + n][::-1] + data[at + n :], at, at + n


def ends_with_a_file(data: bytes, content: bytes) -> bool:
    """Whether the file ends with a whole .lmz file of which this is a block."""
    starts = (at for at in range(len(data)) if data[at : at + 1] == container.MAGIC[:1])
    whole = (data[at:] for at in starts if container.explore_file(io.BytesIO(data), at)[1] is None)
    return any(content in salvage(io.BytesIO(suffix), SOURCE) for suffix in whole)


def main(n_runs: int, seed: int) -> None:
    blocks.decompress = functools.lru_cache(10_000)(blocks.decompress)
    n_pieces = n_wrong = n_alike = n_untouched = n_lost = 0
    worst = 0.0
    for run in range(n_runs):
        rng = random.Random(seed + run)
        data, pieces = make_file(rng)
        whole = {content for _, _, content in pieces}
        touched = []
        for _ in range(rng.choice([1, 1, 1, 2, 4])):
            if data:
                data, start, end = damage(data, rng)
                touched.append((start, end))
        begin = time.monotonic()
        found = list(salvage(io.BytesIO(data), SOURCE))
        worst = max(worst, time.monotonic() - begin)
        given = [piece for piece in found if not isinstance(piece, Damage)]
        n_pieces += len(given)
        wrong = [piece for piece in given if piece not in whole]
        if wrong and ends_with_a_file(data, wrong[0]):
            n_alike += 1
            continue
        if wrong:
            print(f"seed {seed + run}: {wrong[0]!r}", flush=True)
        n_wrong += len(wrong)
        if len(touched) == 1:
            ((start, end),) = touched
            kept = [content for begins, ends, content in pieces if ends <= start or begins >= end]
            n_untouched += len(kept)
            n_lost += len(set(kept) - set(given))
    print(f"{n_runs} files: {n_pieces} blocks, {n_wrong} wrong; {n_alike} files were cut where a stored one ends")
    print(f"{n_lost} of {n_untouched} blocks lost beside one damage; slowest {worst:.2f} s")
    sys.exit(n_wrong > 0)


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else 20_000, int(sys.argv[2]) if sys.argv[2:] else 0)
