"""llmzip.damage: what is whole of a damaged file comes out, in its order, and never a byte that was not compressed."""

import io
import random
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

import llmzip
from llmzip import codec, container
from llmzip.damage import Damage, salvage
from llmzip.errors import LimitExceeded, LlmzipError, TruncatedError
from llmzip.limits import Limits
from llmzip.models.toy import ToyModel
from llmzip.stream import ModelSource

MODEL = ToyModel()
SOURCE = ModelSource(MODEL)


def member(*contents: bytes) -> bytes:
    """A long member with a block for each of the contents, by the model or stored."""
    made = container.create_preamble(MODEL.fingerprint)
    seen = container.Member(container.parse_preamble(made))
    for i, content in enumerate(contents):
        block = codec.compress_block(MODEL, content)
        data = container.create_block(block, last=i == len(contents) - 1, before=seen.next_before)
        seen.add(block.kind, block.n_bytes, len(data), i == len(contents) - 1)
        made += data
    check = container.content_check(b"".join(contents))
    return made + (container.create_index(seen.index(check)) if seen.has_index else b"")


TEXTS = [MODEL.speak(40 + seed, seed) for seed in range(8)]
NOISE = [random.Random(seed).randbytes(30 + seed) for seed in range(4)]
# The members: of several blocks, of one, short ones, an empty one. Each content is another.
MEMBERS = [
    member(TEXTS[0], NOISE[0], TEXTS[1], TEXTS[2]),
    member(TEXTS[3]),
    llmzip.compress(b""),
    llmzip.compress(TEXTS[4], MODEL),
    llmzip.compress(NOISE[1]),
    member(TEXTS[5], NOISE[2]),
]
FILE = b"".join(MEMBERS)


def pieces(data: bytes, **options: bool) -> list[bytes | Damage]:
    return list(salvage(io.BytesIO(data), SOURCE, **options))


def whole(found: list[bytes | Damage]) -> bytes:
    return b"".join(piece for piece in found if isinstance(piece, bytes))


BLOCKS = [piece for piece in pieces(FILE) if isinstance(piece, bytes) and piece]


def test_the_file_is_what_these_tests_need() -> None:
    info = llmzip.get_info(FILE)
    assert [len(m.blocks) for m in info.members] == [4, 1, 1, 1, 1, 2]
    assert {block.kind for block in info.blocks} == {"model", "stored"}
    assert len(set(BLOCKS)) == len(BLOCKS) == 9


def test_what_is_whole_comes_out_whole() -> None:
    assert llmzip.salvage(FILE, MODEL) == (llmzip.decompress(FILE, MODEL), [])
    assert llmzip.salvage(FILE + bytes(100), MODEL) == (llmzip.decompress(FILE, MODEL), [])


def check(damaged: bytes) -> list[bytes | Damage]:
    """Only what was compressed comes out, in its order, and what is told of the damage is true."""
    found = pieces(damaged)
    blocks = [piece for piece in found if isinstance(piece, bytes) and piece]
    assert all(block in BLOCKS for block in blocks)
    places = [BLOCKS.index(block) for block in blocks]
    assert places == sorted(set(places))
    assert len(blocks) == len(BLOCKS) or any(isinstance(piece, Damage) for piece in found)
    at = 0
    for piece in found:
        if isinstance(piece, Damage):
            assert at <= piece.file_start <= piece.file_end <= len(damaged)
            at = piece.file_end
    return found


def check_ranges(found: list[bytes | Damage]) -> None:
    """Where the content of a damage is known, the blocks before and after it lie just there in the content."""
    content = b"".join(BLOCKS)
    at: int | None = 0
    for piece in found:
        if isinstance(piece, Damage):
            assert piece.content_start == at
            at = piece.content_end
        elif at is not None:
            assert content[at : at + len(piece)] == piece
            at += len(piece)


@pytest.mark.parametrize("change", [1, 0x80, 0xFF])
def test_one_damaged_byte_costs_one_block(change: int) -> None:
    n_lost = []
    for at in range(len(FILE)):
        damaged = bytearray(FILE)
        damaged[at] ^= change
        found = check(bytes(damaged))
        check_ranges(found)
        damages = [piece for piece in found if isinstance(piece, Damage)]
        assert len(damages) == 1, at
        assert damages[0].file_start <= at < damages[0].file_end
        n_lost.append(len(BLOCKS) - sum(isinstance(piece, bytes) and piece in BLOCKS for piece in found))
    assert max(n_lost) == 1
