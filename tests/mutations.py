"""Damage that knows the format: fields, payloads and orders changed under right checksums, read in every way. A campaign, not a test of the suite.

    PYTHONPATH=tests python tests/mutations.py [--runs 20000] [--seed 0] [--worst 10]

A read may give the content that was compressed, or what the changed file truly says (its content check is right, for a stored block made anew),
or an LlmzipError. Any other exception, and any other bytes, stop it with exit code 1. Prints the reads that took the most time and memory.
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
from collections.abc import Callable
from dataclasses import replace

import llmzip
from llmzip import cm, codec, container, lz, transforms
from llmzip.container import Block
from llmzip.errors import LlmzipError
from llmzip.models.toy import ToyModel

MODEL = ToyModel()
Built = tuple[bytes, list[Block]]  # a file, and its blocks


def bases() -> list[tuple[bytes, list[Block]]]:
    """Contents, and the blocks that they are coded in: each kind, each transform, and several in one member."""
    text = MODEL.speak(300)
    windows = b"".join(text[at : at + 20] + b"\r\n" for at in range(0, 300, 20)) + b"lone\n"
    noise = random.Random(3).randbytes(5000)
    found = []
    for data in (text, noise[:200], bytes(range(0, 240, 3)) * 8):
        check = container.content_check(data)
        for kind, payload in ((container.LZMA, lz.create_payload(data)), (container.CM, cm.create_payload(data))):
            found.append((data, [Block(kind, len(data), payload, check)]))
        found.append((data, [container.stored_block(data)]))
    for options in ({}, {"lanes": 3}, {"lanes": 2, "window": 16, "overlap": 8}, {"plain": True}):
        found.append((text, [codec.compress_block(MODEL, text, **options)]))  # type: ignore[arg-type]
    for data, wanted in (
        (windows, container.CRLF), (text.decode().encode("utf-16"), container.UTF16LE | container.BOM), (noise * 2, container.REPEATS),
        (bytes(random.Random(1).choices(b"abcd", k=900)), container.PACK), (noise, container.X86),
    ):  # fmt: skip
        mask, body, side = transforms.apply(data, wanted)
        block = replace(container.stored_block(body), n_bytes=len(data), content_check=container.content_check(data))
        found.append((data, [replace(block, mask=mask, n_body=len(body), side=side)]))
        if len(body) < 3000:
            coded = replace(block, kind=container.CM, payload=cm.create_payload(body), mask=mask, n_body=len(body), side=side)
            found.append((data, [coded]))
    parts = [text[:100], noise[:90], text[100:]]
    found.append((b"".join(parts), [container.stored_block(part) for part in parts]))
    return found


def build(blocks: list[Block], chance: random.Random) -> bytes:
    """The file of these blocks, whatever a reader says of them, its checksums right."""
    if len(blocks) == 1 and chance.random() < 0.3 and not blocks[0].mask and blocks[0].kind != container.NOTE and blocks[0].lanes == 1 and blocks[0].window is None:
        return short(blocks[0])
    made = before = container.create_preamble(MODEL.fingerprint)
    entries = []
    for i, block in enumerate(blocks):
        header = container._create_header_fields(block, last=i == len(blocks) - 1)
        header += container.crc16(before + header).to_bytes(2, "little")
        payload = block.side + block.payload
        coded = header + payload + container.crc16(payload).to_bytes(2, "little") + block.content_check
        entries.append(container.IndexEntry(block.n_bytes, len(coded)))
        made, before = made + coded, b""
    if len(blocks) > 1:
        made += container.create_index(container.Index(entries, chance.randbytes(8)))
    return made


def short(block: Block) -> bytes:
    form = next(byte for byte, of in container.SHORT_FORMS.items() if of[0] == block.kind)
    made = b"\xfc" + bytes([form]) + (MODEL.fingerprint[:4] if block.kind == container.MODEL else b"") + container.create_varint(block.n_bytes)
    if block.kind != container.STORED:
        made += container.create_varint(len(block.payload))
    made += block.payload
    return made + container.content_check(made, 4)  # of a content that nobody knows


def number(chance: random.Random, old: int) -> int:
    if chance.random() < 0.005:  # these take their time
        return 1 << chance.randrange(14, 21)
    return chance.choice([
        0, 1, 2, old + 1, max(0, old - 1), 2 * old, old // 2, 7, 8, 64, 1000, 4096, 4097, (1 << 26) + 1, 1 << 40, 1 << 62,
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
    way = chance.randrange(10)
    if way <= 2:
        return replace(block, payload=scrambled(chance, block.payload))
    if way == 3:
        return replace(block, side=scrambled(chance, block.side))
    if way == 4:
        return replace(block, n_bytes=number(chance, block.n_bytes))
    if way == 5:
        return replace(block, n_body=number(chance, block.body_size), mask=block.mask or 1 << chance.randrange(7))
    if way == 6:
        return replace(block, mask=chance.randrange(1, 128), n_body=block.body_size)
    if way == 7:
        return replace(block, kind=chance.choice([1, 2, 3, 4, 5]))
    if way == 8:
        lanes = max(2, min(1 << 20, number(chance, block.lanes)))
        return replace(block, lanes=lanes, n_tokens=number(chance, block.n_tokens or block.n_bytes))
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


WAYS: tuple[Callable[[bytes], bytes | None], ...] = (lambda data: llmzip.decompress(data, MODEL), in_order, seek, info, salvaged)
NAMES = ("decompress", "in order", "seek", "info", "salvage")


def is_right(found: bytes | None, contents: list[bytes], name: str) -> bool:
    """`salvage` may leave out what is damaged: then each part of the content that is there is whole."""
    return found is None or found in contents or (name == "salvage" and any(found in content or not found for content in contents))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=20000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--worst", type=int, default=10)
    arguments = parser.parse_args()
    known, start = bases(), time.monotonic()
    worst: list[tuple[float, int, str]] = []
    outcomes: collections.Counter[str] = collections.Counter()
    for seed in range(arguments.seed, arguments.seed + arguments.runs):
        chance = random.Random(seed)
        content, blocks = chance.choice(known)
        blocks = list(blocks)
        at = chance.randrange(len(blocks))
        for _ in range(chance.choice([1, 1, 2])):
            blocks[at] = mutate(chance, blocks[at])
        if len(blocks) > 1 and chance.random() < 0.2:
            chance.shuffle(blocks)
        try:
            data = build(blocks, chance)
        except (AssertionError, OverflowError):  # not a number that a varint holds
            continue
        parts = [block.payload for block in blocks if block.kind == container.STORED and block.is_content(block.payload)]
        contents = [content]
        for n in range(len(parts) + 1):  # `salvage` gives those that are whole
            contents += [b"".join(some) for some in itertools.combinations(parts, n)]
        for name, way in zip(NAMES, WAYS, strict=True):
            before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
            try:
                found, outcome = way(data), "content"
            except LlmzipError as error:
                found, outcome = None, type(error).__name__
            except Exception as error:
                print(f"seed {seed}, {name}: {type(error).__name__}: {error}; file {data[:60].hex(' ')}")
                return 1
            outcomes[f"{name}: {outcome}"] += 1
            if not is_right(found, contents, name):
                print(f"seed {seed}, {name}: other bytes: {found!r:.200}")
                return 1
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            took = (time.process_time() - began, (peak - before) // 1024, f"seed {seed}, {name}, {len(data)} bytes, {outcome}")
            (heapq.heappush if len(worst) < arguments.worst else heapq.heappushpop)(worst, took)
        if (seed + 1) % 100 == 0:
            print(f"{seed + 1 - arguments.seed} mutations, {time.monotonic() - start:.0f} s", flush=True)
    print(f"{arguments.runs} mutations: no other bytes, no other exception. Peak {peak // 1024} MB. {dict(outcomes.most_common())}")
    for seconds, grown, what in sorted(worst, reverse=True):
        print(f"{seconds:.2f} s CPU, peak raised by {grown} MB: {what}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
