"""Contents put together from pieces of every kind, for property tests and campaigns: the same for the same numbers."""

import bz2
import lzma
import random
import zlib
from collections.abc import Callable

WORDS = (
    "the of and to in a is that for it as was with be by on not he his but at are this have from or had an they".split()
)


def text(chance: random.Random, n: int) -> bytes:
    return " ".join(chance.choices(WORDS, k=n // 4 + 1)).encode()[:n]


def lines(chance: random.Random, n: int) -> bytes:
    return b"".join(text(chance, 30) + b"\r\n" for _ in range(n // 32 + 1))[:n]


def wide(chance: random.Random, n: int) -> bytes:
    return text(chance, n // 2 + 1).decode().replace("a", "\U0001f600").encode("utf-16")[:n]


def table(chance: random.Random, n: int) -> bytes:
    at = chance.randrange(1 << 20)
    return b"".join((at + i * 7).to_bytes(4, "little") for i in range(n // 4 + 1))[:n]


def few(chance: random.Random, n: int) -> bytes:
    return bytes(chance.choices(b"0123456789abcdef", k=n))


def equal(chance: random.Random, n: int) -> bytes:
    return bytes([chance.choice(b"\0a\n\xff")]) * n


def packed(chance: random.Random, n: int) -> bytes:
    packers: list[Callable[[bytes], bytes]] = [zlib.compress, bz2.compress, lzma.compress]
    pack = chance.choice(packers)
    return pack(text(chance, 8 * n))[:n]


def noise(chance: random.Random, n: int) -> bytes:
    return chance.randbytes(n)


PIECES = (text, lines, wide, table, few, equal, packed, noise)


def compose(seed: int, max_size: int = 20000) -> bytes:
    """One to five pieces, some of them twice, of up to `max_size` bytes together. Small ones are more frequent."""
    chance = random.Random(seed)
    pieces: list[bytes] = []
    room = int(max_size ** chance.random()) + 1
    for _ in range(chance.randrange(1, 6)):
        if pieces and chance.random() < 0.35:
            pieces.append(chance.choice(pieces))
        else:
            pieces.append(chance.choice(PIECES)(chance, chance.randrange(1, room + 1)))
    return b"".join(pieces)[:max_size]
