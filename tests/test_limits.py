"""What a file may ask for: the writer keeps to the reader's limits, and a reader stops where a file asks for more."""

import random

import pytest
from compositions import compose
from hypothesis import given, settings
from hypothesis import strategies as st

import llmzip
from llmzip import blocks, container
from llmzip.container import Block
from llmzip.errors import FormatError
from llmzip.models.toy import ToyModel

MODEL = ToyModel()
NOISE = random.Random(7).randbytes(20000)


def check(data: bytes) -> None:
    made = llmzip.compress(data, MODEL)
    assert llmzip.decompress(made, MODEL) == data
    assert len(made) <= len(data) + 24


# ---- nothing is written that is not read


@pytest.mark.parametrize("pad", [b"", bytes(50000), b"a" * 6000])
def test_noise_twice_or_padded(pad: bytes) -> None:
    """Without its repeats it is such that cm and lzma make it longer than the format allows."""
    data = NOISE + NOISE + pad if not pad else NOISE + pad
    made = llmzip.compress(data, MODEL)
    assert llmzip.decompress(made, MODEL) == data
    assert len(made) < len(NOISE) + 60


@settings(max_examples=20)
@given(st.integers(0, 1 << 32))
def test_compositions(seed: int) -> None:
    check(compose(seed, 12000))


@pytest.mark.parametrize("n_long", [65, 1000])
@pytest.mark.parametrize("kind", [container.MODEL, container.LZMA, container.CM])
def test_a_coder_that_expands_is_not_chosen(kind: int, n_long: int) -> None:
    block = Block(kind, 100, bytes(100 + n_long), bytes(8))
    assert container.size_of(block) is None
    with pytest.raises(FormatError, match="to be written"):
        container.create_block(block, last=True)
    assert blocks._size(block) > blocks._size(container.stored_block(bytes(container.MAX_BLOCK_SIZE)))


@pytest.mark.parametrize(
    "fields",
    [
        {"lanes": 2, "n_tokens": 101},
        {"lanes": 1025, "n_tokens": 100},
        {"window": 7, "overlap": 1},
        {"window": 64, "overlap": 33},
        {"lanes": 64, "n_tokens": 100, "window": 4096, "overlap": 0},
        {"mask": 3, "n_body": 100},
        {"mask": 1, "n_body": 201},
        {"mask": 1, "n_body": 100, "side": bytes(101)},
        {"kind": container.LZMA, "plain": True},
        {"kind": container.NOTE},
    ],
)
def test_what_a_reader_refuses_is_not_written(fields: dict[str, object]) -> None:
    block = Block(**{"kind": container.MODEL, "n_bytes": 100, "payload": b"12345", "content_check": bytes(8)} | fields)  # type: ignore[arg-type]
    with pytest.raises(FormatError, match="to be written"):
        container.create_block(block, last=True)


def test_a_short_member_whose_payload_is_no_shorter_takes_the_long_form() -> None:
    data = b"0123456789"
    block = Block(container.CM, 10, bytes(10), container.content_check(data))
    assert container.create_short(block, data, container.NO_MODEL) is None
