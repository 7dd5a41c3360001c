"""Damage to bytes, for the tests of every reader."""

from collections.abc import Iterator


def flips(data: bytes) -> Iterator[bytes]:
    """`data` with one bit of it flipped, for each of its bits."""
    for bit in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        yield bytes(flipped)
