"""What a stream is beside what was predicted of it. Twin of c/corrections.h."""

STEPS_EACH, STEPS_ALWAYS, STEPS_OF_BLOCK, MOST_LOOKS, MOST_RANKS = 1024, 1 << 21, 2048, 4096, 2048
ALL_BITS, CELL_LIMIT, NUMBER = 15, 255, 128
CELLS = 9609


def most_blocks(n: int) -> int:
    """Of a piece of so many bytes: each takes steps."""
    return (STEPS_EACH * n + STEPS_ALWAYS) // STEPS_OF_BLOCK


def most_bytes(n: int) -> int:
    """Of a stream that holds so many."""
    return 2 * n + (1 << 16)
