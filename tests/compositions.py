"""Contents put together from pieces of every kind, for property tests and campaigns: the same for the same numbers."""

import base64
import bz2
import lzma
import random
import zlib
from collections.abc import Callable

import opened

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


def deflated(chance: random.Random, n: int) -> bytes:
    """Something to open, or what is left of it."""
    plain = chance.choice([text, lines, table, few, noise])(chance, n)
    made = [
        opened.gzipped(plain, chance.choice(["", "name"])),
        opened.zipped([("a", plain), ("b", plain[: n // 2])], piped=chance.random() < 0.5),
        zlib.compress(plain, chance.randrange(10)),
        opened.png(plain[: n // 50 * 50], 50, chance.choice([0, 100])) if n >= 50 else b"\x89PNG\r\n\x1a\n",
        b"stream\n" + zlib.compress(plain) + b"\nendstream\n",
    ]
    return _torn(chance, chance.choice(made))


def armored(chance: random.Random, n: int) -> bytes:
    """Base64 of any of the others, in lines of some length, as mail, JSON, keys and URIs have it; or what is left."""
    plain = chance.choice([text, noise, packed, deflated])(chance, n * 3 // 4 + 1)
    letters = chance.choice([base64.b64encode, base64.urlsafe_b64encode])(plain)
    if chance.random() < 0.3:
        letters = letters.rstrip(b"=")
    width = chance.choice([len(letters), 39, 40, 64, 76, chance.randrange(1, 200)])
    end = chance.choice([b"\n", b"\r\n", b"\\n", b"\\r\\n", b" "])
    rows = [letters[at : at + width] for at in range(0, len(letters), width or 1)]
    return _torn(chance, end.join([*rows, b""]))


def _torn(chance: random.Random, data: bytes) -> bytes:
    """Now and then a part of it, or with other bytes in the middle."""
    at, end = sorted(chance.randrange(len(data) + 1) for _ in range(2))
    return chance.choice([data, data, data[at:], data[:at], data[:at] + chance.randbytes(2) + data[end:]])


PIECES = (text, lines, wide, table, few, equal, packed, noise, deflated, armored)


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
