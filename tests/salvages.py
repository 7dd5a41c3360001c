"""Damaged files by the thousand: what salvage gives out is what was compressed, block by block.

    python tests/salvages.py [RUNS [SEED]]

makes files of random members, some with whole .lmz files stored in their blocks, damages them in one to four places
(flips, zeros, cuts, bytes lost, put in or turned round), and counts blocks that come out and were not compressed as
such (it must be none), blocks that are lost though no damage has touched them or what they go on from, and the longest
that one file took.
Counted apart: files that are cut just where a member of a stored .lmz file ends, so that they end with its blocks:
nobody could tell them from the last ones of their own.
"""

import io
import random
import sys
import time
from typing import NamedTuple

from coding import cm_block, grouped, member_of, model_block, remembering

from llmzip import blocks, container
from llmzip.blocks import Memory
from llmzip.damage import Damage, salvage
from llmzip.models.toy import ToyModel
from llmzip.stream import ModelSource

MODEL = ToyModel()
SOURCE = ModelSource(MODEL)


class Piece(NamedTuple):
    """A block of a file."""

    start: int  # of what has to be whole: of the block, or of the first of its group if it goes on from that
    end: int
    content: bytes


def make_member(contents: list[bytes], rng: random.Random) -> tuple[bytes, list[Piece]]:
    if len(contents) == 1 and rng.random() < 0.5:
        block = make_block(contents[0], Memory(container.line_bits_of(len(contents[0]))), rng)
        if made := container.create_short(block, contents[0], MODEL.fingerprint):
            return made, [Piece(0, len(made), contents[0])]
    begins = {i for i in range(1, len(contents)) if rng.random() < 0.3}
    made_blocks = grouped(contents, lambda content, memory: make_block(content, memory, rng), begins)
    made = member_of(made_blocks, contents, MODEL.fingerprint)
    at = group = container.PREAMBLE_SIZE
    pieces = []
    for i, (block, content) in enumerate(zip(made_blocks, contents, strict=True)):
        group = at if i in begins else group
        size = container.size_of(block)
        assert size is not None
        pieces.append(Piece(at if block.kind == container.STORED else group, at + size, content))
        at += size
    return made, pieces


def make_block(content: bytes, memory: Memory, rng: random.Random) -> container.Block:
    if len(content) > 200 or rng.random() < 0.5:
        return container.stored_block(content)
    return model_block(MODEL, content, memory) if rng.random() < 0.7 else cm_block(content, memory)


class Stored(NamedTuple):
    """A member of a file that is stored in a block of another."""

    data: bytes
    contents: set[bytes]  # of its blocks


def make_file(rng: random.Random, depth: int = 0) -> tuple[bytes, list[Piece], list[Stored]]:
    """A file, its blocks, and the members of the files that are stored in them (of one that is stored: its own)."""
    made, pieces, stored = b"", [], []
    for _ in range(rng.choice([1, 1, 2, 4])):
        contents = []
        for _ in range(rng.choice([1, 2, 5])):
            if depth == 0 and rng.random() < 0.2:
                before = rng.randbytes(rng.choice([0, 9]))
                inner, _, members = make_file(rng, 1)
                stored += members
                contents.append(before + inner + rng.randbytes(rng.choice([0, 9])))
            else:
                n = rng.randrange(20, 60)
                contents.append(
                    MODEL.speak(n, rng.randrange(50)) + b"%d" % depth if rng.random() < 0.7 else rng.randbytes(n)
                )
        data, found = make_member(contents, rng)
        pieces += [Piece(piece.start + len(made), piece.end + len(made), piece.content) for piece in found]
        made += data
        if depth:
            stored.append(Stored(data, {piece.content for piece in found}))
    return made, pieces, stored


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


def are_of_one(data: bytes, given: list[bytes], members: list[Stored]) -> bool:
    """Whether the file ends where one of these members does, and all that was given is of its blocks."""
    return any(data.endswith(member.data[-40:]) and member.contents.issuperset(given) for member in members)


def main(n_runs: int, seed: int) -> None:
    blocks.decompress = remembering(blocks.decompress)
    n_pieces = n_wrong = n_alike = n_untouched = n_lost = 0
    worst = 0.0
    for run in range(n_runs):
        rng = random.Random(seed + run)
        data, pieces, stored = make_file(rng)
        whole = {piece.content for piece in pieces}
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
        if wrong and are_of_one(data, wrong, stored):
            n_alike += 1
            continue
        if wrong:
            print(f"seed {seed + run}: {wrong[0]!r}", flush=True)
        n_wrong += len(wrong)
        if len(touched) == 1:
            ((start, end),) = touched
            kept = [piece.content for piece in pieces if piece.end <= start or piece.start >= end]
            n_untouched += len(kept)
            n_lost += len(set(kept) - set(given))
    print(f"{n_runs} files: {n_pieces} blocks, {n_wrong} wrong; {n_alike} files were cut where a stored one ends")
    print(f"{n_lost} of {n_untouched} blocks lost beside one damage; slowest {worst:.2f} s")
    sys.exit(n_wrong > 0)


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else 20_000, int(sys.argv[2]) if sys.argv[2:] else 0)
