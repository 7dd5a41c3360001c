"""What a file may ask for: the writer keeps to the reader's limits, and a reader stops where a file asks for more."""

import random
from dataclasses import replace

import pytest
from compositions import compose
from hypothesis import given, settings
from hypothesis import strategies as st

import llmzip
from llmzip import blocks, cm, codec, container
from llmzip.container import Block
from llmzip.errors import FormatError, LlmzipError
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


# ---- a reader stops where the file has no more to say


class Steps:
    """Counts the steps that a model is asked for."""

    def __init__(self) -> None:
        self.model = ToyModel()
        self.n = 0
        opened = self.model.open

        def counting(lanes: int, window: int):  # type: ignore[no-untyped-def]
            state = opened(lanes, window)
            forward = state.forward

            def step(ids):  # type: ignore[no-untyped-def]
                self.n += 1
                return forward(ids)

            state.forward = step  # type: ignore[method-assign]
            return state

        self.model.open = counting  # type: ignore[method-assign,assignment]


@pytest.mark.parametrize(("lanes", "n_tokens"), [(1, None), (2, 50000), (64, 50000)])
def test_a_model_block_with_three_bytes_of_payload_stops_soon(lanes: int, n_tokens: int | None) -> None:
    steps = Steps()
    block = Block(container.MODEL, 100000, b"\x9d\x31\x5a", bytes(8), lanes=lanes, n_tokens=n_tokens)
    with pytest.raises(FormatError):
        codec.decode_block(steps.model, block)
    assert steps.n < 400


def test_a_code_stream_that_ends_too_early() -> None:
    data = MODEL.speak(4000)
    block = codec.compress_block(MODEL, data, lanes=1)
    cut = replace(block, payload=block.payload[: len(block.payload) // 2])
    with pytest.raises(FormatError, match=r"too early|spells nothing|invalid"):
        codec.decode_block(MODEL, cut)


def test_a_cm_block_that_ends_too_early() -> None:
    data = random.Random(5).randbytes(6000)
    payload = cm.create_payload(data)
    assert cm.parse_payload(payload, len(data)) == data
    with pytest.raises(FormatError, match=r"too early|invalid"):
        cm.parse_payload(payload[:3000], 1 << 20)


@pytest.mark.parametrize("n", [1, 7, 300, 5000, 1 << 18])
def test_content_of_zeros_is_never_cut_too_short(n: int) -> None:
    """All its decisions go to the lower part of their intervals, so that the code is zeros to its end."""
    assert cm.parse_payload(cm.create_payload(bytes(n)), n) == bytes(n)


def test_lanes_that_spell_more_than_the_block_has() -> None:
    data = b"the nation and the station are singing in the rain " * 60
    block = codec.compress_block(MODEL, data, lanes=4)
    steps = Steps()
    with pytest.raises(FormatError, match="more bytes"):
        codec.decode_block(steps.model, replace(block, n_bytes=block.n_tokens))
    assert steps.n < 750


@pytest.mark.parametrize(("lanes", "n_tokens"), [(513, 600), (1024, 1024)])
def test_lanes_and_the_default_window(lanes: int, n_tokens: int) -> None:
    """F4: 32 bytes ask for 1024 lanes of the model's own window."""
    model = ToyModel()
    model.window, model.overlap = 256, 64
    block = Block(container.MODEL, 2000, b"abc", bytes(8), lanes=lanes, n_tokens=n_tokens)
    with pytest.raises(LlmzipError, match="lanes must be 1 to 512"):
        codec.decode_block(model, block)
    with pytest.raises(ValueError, match="lanes must be 1 to 512"):
        codec.compress_block(model, b"text", lanes=lanes)


@pytest.mark.parametrize("overlap", [33, 63])
def test_overlap_is_half_the_window_at_most(overlap: int) -> None:
    with pytest.raises(ValueError, match="half the window"):
        codec.compress_block(MODEL, b"text", window=64, overlap=overlap)


# ---- memory


def test_memory_needed_grows_with_what_is_asked_for() -> None:
    def needed(**fields: int) -> int:
        header = {"kind": container.STORED, "last": True, "n_bytes": 1 << 20, "lanes": 1, "n_tokens": None, "window": None, "overlap": None}
        header |= {"size": 20, "n_payload": 1000}
        return blocks.memory_needed(container.Header(**header | fields), MODEL)  # type: ignore[arg-type]

    assert 2 << 20 <= needed() < 16 << 20
    assert needed() < needed(kind=container.LZMA) < needed(kind=container.CM)
    assert needed(kind=container.CM, n_bytes=1 << 26) > 400 << 20
    one = needed(kind=container.MODEL, plain=True)
    assert one < needed(kind=container.MODEL, plain=True, lanes=64, n_tokens=1 << 20, window=2048)
    assert one < needed(kind=container.MODEL)
    assert needed(mask=container.REPEATS, n_body=100) < needed(mask=container.UTF16LE | container.REPEATS, n_body=100)
