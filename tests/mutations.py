"""Damage that knows the format: fields, payloads and orders changed under right checksums, read in every way.

    PYTHONPATH=tests python tests/mutations.py [--runs 20000] [--seed 0] [--worst 10]

The content checks stay as they were, so a read may give what was compressed, of every block in the order of the file,
or an LlmzipError; `salvage` may leave out blocks as well. Any other exception, and any other bytes, stop it with exit
code 1. Prints the reads that took the most time and memory. A campaign: the suite has a small one (test_campaigns.py).
"""

import argparse
import collections
import heapq
import io
import itertools
import random
import resource
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import opened
from coding import cm_block, grouped, model_block

import llmzip
from llmzip import container, primitives, transforms
from llmzip.blocks import Memory, compress
from llmzip.coding import Coding
from llmzip.container import Block
from llmzip.errors import LlmzipError
from llmzip.index import Index, IndexEntry, create_index
from llmzip.models.toy import ToyModel

MODEL = ToyModel()
Built = tuple[bytes, list[Block]]  # content, and its blocks


class Read(NamedTuple):
    seconds: float  # of CPU
    grown: int  # MB by which the peak of memory went up
    what: str
    outcome: str


def bases() -> list[Built]:
    """Contents, and the blocks that they are coded in: each kind, each transform, and several in one member."""
    text = MODEL.speak(300)
    windows = b"".join(text[at : at + 20] + b"\r\n" for at in range(0, 300, 20)) + b"lone\n"
    noise = random.Random(3).randbytes(5000)
    found = []
    for data in (text, noise[:200], bytes(range(0, 240, 3)) * 8):
        found += [(data, [cm_block(data, stride=stride)]) for stride in (0, 3)]
        found.append((data, [container.stored_block(data)]))
    shapes: list[Any] = [{}, {"lanes": 3}, {"lanes": 2, "window": 16, "overlap": 8}]
    for options in shapes:
        found.append((text, [model_block(MODEL, text, **options)]))
    for data, wanted in (
        (windows, container.CRLF), (text.decode().encode("utf-16"), container.UTF16LE | container.BOM),
        (noise * 2, container.REPEATS),
        (bytes(random.Random(1).choices(b"abcd", k=900)), container.PACK), (noise, container.X86),
    ):  # fmt: skip
        mask, body, side = transforms.apply(data, wanted)
        block = replace(container.stored_block(body), n_bytes=len(data), content_check=primitives.content_check(data))
        found.append((data, [replace(block, mask=mask, n_body=len(body), side=side)]))
        if len(body) < 3000:
            coded = replace(
                cm_block(body),
                n_bytes=len(data),
                content_check=block.content_check,
                mask=mask,
                n_body=len(body),
                side=side,
            )
            found.append((data, [coded]))
    for data in (opened.book(2), opened.gzipped(opened.mail(opened.zipped([("a", text)]))), opened.pdf(2)):
        found.append((data, [opened_block(data)]))
    parts = [text[:100], noise[:90], text[100:]]
    found.append((b"".join(parts), [container.stored_block(part) for part in parts]))
    parts = [text[:90], noise[:50], text[90:150], text[150:220], text[220:]]
    found.append((b"".join(parts), grouped(parts, block_of, begins={3})))
    page = bytes(random.Random(5).choices(b"etaoin \n", k=4200))
    parts = [page, noise[:50], page[:4150] + text[:50], page]
    found.append((b"".join(parts), grouped(parts, chosen_block)))
    return found


def chosen_block(part: bytes, memory: Memory) -> Block:
    """As a writer would choose it, with repeats of the blocks before."""
    return compress(MODEL, part, False, memory, Coding()).block


def opened_block(data: bytes) -> Block:
    """A cm block of what is opened in the content."""
    opening = opened.open_content(data, max_body=1 << 20)
    assert opening is not None
    block = replace(cm_block(opening.body), n_bytes=len(data), content_check=primitives.content_check(data))
    side = transforms.join_sides(opening.side, b"")
    return replace(block, mask=container.OPEN, n_body=len(opening.body), n_opened=len(opening.body), side=side)


def block_of(part: bytes, memory: Memory) -> Block:
    """For a group of every kind."""
    if not part.isascii():
        return container.stored_block(part)
    return cm_block(part, memory) if len(part) == 60 else model_block(MODEL, part, memory)


def originals(known: list[Built]) -> dict[bytes, bytes]:
    """The content that each content check is of. A block that ends up elsewhere brings its check with it."""
    found = {}
    for data, blocks in known:
        at = 0
        for block in blocks:
            found[block.content_check] = data[at : at + block.n_bytes]
            at += block.n_bytes
    return found


def build(blocks: list[Block], chance: random.Random) -> bytes:
    """The file of these blocks, whatever a reader says of them, its checksums right."""
    block = blocks[0]
    bare = not block.mask and block.kind in container.SHORT_FORMS.values() and block.lanes == 1 and block.window is None
    if len(blocks) == 1 and bare and block.line_bits is None and chance.random() < 0.3:
        return short(block)
    made = before = container.create_preamble(MODEL.fingerprint)
    entries: list[Any] = []
    for i, block in enumerate(blocks):
        header = container._create_header_fields(block, last=i == len(blocks) - 1)
        header += primitives.crc16(before + header).to_bytes(2, "little")
        payload = block.side + block.payload
        coded = header + payload + primitives.crc16(payload).to_bytes(2, "little") + block.content_check
        begins_group = block.line_bits is not None or not any(entry.n_bytes for entry in entries)
        entries.append(IndexEntry(block.n_bytes, len(coded), begins_group and chance.random() < 0.99))
        made, before = made + coded, b""
    if len(blocks) > 1:
        made += create_index(Index(entries, chance.randbytes(8)))
    return made


def short(block: Block) -> bytes:
    form = next(byte for byte, of in container.SHORT_FORMS.items() if of == block.kind)
    fingerprint = MODEL.fingerprint[:4] if block.kind == container.MODEL else b""
    made = b"\xfc" + bytes([form]) + fingerprint + primitives.create_varint(block.n_bytes)
    if block.kind != container.STORED:
        made += primitives.create_varint(len(block.payload))
    made += block.payload
    return made + primitives.content_check(made, 4)  # of a content that nobody knows


def number(chance: random.Random, old: int) -> int:
    if chance.random() < 0.005:  # these take their time
        return 1 << chance.randrange(14, 21)
    return chance.choice([
        0, 1, 2, old + 1, max(0, old - 1), 2 * old, old // 2, 7, 8, 64, 1000, 4096, 4097, (1 << 26) + 1, 1 << 40,
        1 << 62,
        chance.randrange(1 << chance.randrange(1, 12)),
    ])  # fmt: skip


def scrambled(chance: random.Random, data: bytes) -> bytes:
    changed, at = bytearray(data), chance.randrange(len(data) + 1)
    way = chance.randrange(6)
    if way == 0:
        return bytes(changed[:at])
    if way == 1:
        return bytes(changed) + chance.randbytes(chance.randrange(1, 40))
    if way == 2:
        return bytes(changed[:at]) + bytes(chance.randrange(60))
    if way == 3:
        return bytes(changed[:at]) + chance.randbytes(chance.randrange(5)) + bytes(changed[at + chance.randrange(9) :])
    for _ in range(chance.randrange(1, 4)):
        if changed:
            changed[chance.randrange(len(changed))] = chance.choice([0, 255, chance.randrange(256)])
    return bytes(changed)


def mutate(chance: random.Random, block: Block) -> Block:
    way = chance.randrange(11)
    if way <= 2:
        return replace(block, payload=scrambled(chance, block.payload))
    if way == 3:
        return replace(block, side=scrambled(chance, block.side))
    if way == 4:
        return replace(block, n_bytes=number(chance, block.n_bytes))
    if way == 5:
        return replace(block, n_body=number(chance, block.body_size), mask=block.mask or 1 << chance.randrange(8))
    if way == 6:
        return replace(
            block, mask=chance.randrange(1, 256), n_body=block.body_size, n_opened=number(chance, block.body_size)
        )
    if way == 7:
        return replace(block, kind=chance.choice([1, 2, 3, 4, 5, 6, 7]))
    if way == 8:
        return replace(block, lanes=max(2, min(1 << 20, number(chance, block.lanes))))
    if way == 9:
        bits = chance.choice([None, 0, 9, 10, 14, 15, 18, 25, number(chance, 14)])
        return replace(block, line_bits=bits)
    return replace(block, window=number(chance, 64), overlap=number(chance, 16))


def seek(data: bytes) -> bytes:
    with llmzip.LmzFile(io.BytesIO(data), model=MODEL) as file:
        n = file.seek(0, io.SEEK_END)
        file.seek(n // 2)
        tail = file.read()
        file.seek(0)
        return file.read(n // 2) + tail


def in_order(data: bytes) -> bytes:
    class Pipe:
        read = io.BytesIO(data).read

    with llmzip.LmzFile(Pipe(), model=MODEL) as file:
        return file.read()


def salvaged(data: bytes) -> bytes:
    return llmzip.salvage(data, MODEL)[0]


def info(data: bytes) -> None:
    llmzip.get_info(data)


WAYS: tuple[Callable[[bytes], bytes | None], ...] = (
    lambda data: llmzip.decompress(data, MODEL),
    in_order,
    seek,
    info,
    salvaged,
)
NAMES = ("decompress", "in order", "seek", "info", "salvage")


def allowed(blocks: list[Block], original: dict[bytes, bytes]) -> tuple[bytes, set[bytes]]:
    """What a read of all of the blocks may give, and what salvage may: any of them, in their order.

    `original`: by content check.
    """
    parts = [b"" if block.kind == container.NOTE else original[block.content_check] for block in blocks]
    some = {b"".join(chosen) for n in range(len(parts) + 1) for chosen in itertools.combinations(parts, n)}
    return b"".join(parts), some


def run(seed: int, known: list[Built], contents: dict[bytes, bytes]) -> Iterator[Read]:
    """Read one changed file in every way. Raises AssertionError for what no read may give."""
    chance = random.Random(seed)
    blocks = list(chance.choice(known)[1])
    at = chance.randrange(len(blocks))
    for _ in range(chance.choice([1, 1, 2])):
        blocks[at] = mutate(chance, blocks[at])
    if len(blocks) > 1 and chance.random() < 0.2:
        chance.shuffle(blocks)
    try:
        data = build(blocks, chance)
    except (AssertionError, OverflowError):  # not a number that a varint holds
        return
    whole, some = allowed(blocks, contents)
    for name, way in zip(NAMES, WAYS, strict=True):
        before, began = peak(), time.process_time()
        try:
            found, outcome = way(data), "content"
        except LlmzipError as error:
            found, outcome = None, type(error).__name__
        except Exception as error:
            raise AssertionError(
                f"seed {seed}, {name}: {type(error).__name__}: {error}; file {data[:60].hex(' ')}"
            ) from error
        right = found is None or found == whole or (name == "salvage" and found in some)
        assert right, f"seed {seed}, {name}: other bytes: {found!r:.200}"
        what = f"seed {seed}, {name}, {len(data)} bytes, {outcome}"
        yield Read(time.process_time() - began, (peak() - before) // 1024, what, f"{name}: {outcome}")


def peak() -> int:
    """KiB of memory that this process has held at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=20000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--worst", type=int, default=10)
    arguments = parser.parse_args()
    known, start = bases(), time.monotonic()
    contents = originals(known)
    worst: list[Read] = []
    outcomes: collections.Counter[str] = collections.Counter()
    for done in range(arguments.runs):
        try:
            for read in run(arguments.seed + done, known, contents):
                outcomes[read.outcome] += 1
                worst = heapq.nlargest(arguments.worst, [*worst, read])
        except AssertionError as error:
            print(error)
            return 1
        if (done + 1) % 100 == 0:
            print(f"{done + 1} mutations, {time.monotonic() - start:.0f} s", flush=True)
    print(
        f"{arguments.runs} mutations: no other bytes, no other exception. Peak {peak() // 1024} MB. "
        f"{dict(outcomes.most_common())}"
    )
    for read in worst:
        print(f"{read.seconds:.2f} s CPU, peak raised by {read.grown} MB: {read.what}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
