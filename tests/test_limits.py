"""What a file may ask for: the writer keeps to the reader's limits, and a reader stops where a file asks for more."""

import io
import random
from collections.abc import Callable
from dataclasses import replace

import pytest
from compositions import compose
from hypothesis import given, settings
from hypothesis import strategies as st
from tiers import mostly_long

import llmzip
from llmzip import blocks, codec, container, filemap, predictor, primitives
from llmzip.coding import Coding
from llmzip.container import Block
from llmzip.errors import ChecksumError, FormatError, LimitExceeded
from llmzip.limits import Limits
from llmzip.models.toy import ToyModel
from llmzip.stream import LmzCompressor, MemberReader, ModelSource

MODEL = ToyModel()
NOISE = random.Random(7).randbytes(20000)


def check(data: bytes) -> None:
    made = llmzip.compress(data, MODEL)
    assert llmzip.decompress(made, MODEL) == data
    assert len(made) <= len(data) + 24


# ---- nothing is written that is not read


@pytest.mark.parametrize("pad", [b"", bytes(50000), b"a" * 6000])
def test_noise_twice_or_padded(pad: bytes) -> None:
    """Without its repeats it is such that no coder makes it smaller."""
    data = NOISE + NOISE + pad if not pad else NOISE + pad
    made = llmzip.compress(data, MODEL)
    assert llmzip.decompress(made, MODEL) == data
    assert len(made) < len(NOISE) + 60


@pytest.mark.parametrize("size", mostly_long([4000, 12000], [4000]))
@settings(max_examples=20)
@given(seed=st.integers(0, 1 << 32))
def test_compositions(size: int, seed: int) -> None:
    check(compose(seed, size))


@pytest.mark.parametrize("n_long", [65, 1000])
@pytest.mark.parametrize("kind", [container.MODEL, container.CM])
def test_a_coder_that_expands_is_not_chosen(kind: int, n_long: int) -> None:
    block = Block(kind, 100, bytes(100 + n_long), bytes(8))
    assert container.size_of(block) is None
    with pytest.raises(FormatError, match="to be written"):
        container.create_block(block, last=True)
    assert blocks._size(block) > blocks._size(container.stored_block(bytes(container.MAX_BLOCK_SIZE)))


@pytest.mark.parametrize(
    "fields",
    [
        {"lanes": 101},
        {"lanes": 1025, "n_bytes": 2000},
        {"window": 7, "overlap": 1},
        {"window": 64, "overlap": 33},
        {"lanes": 64, "window": 4096, "overlap": 0},
        {"line_bits": 9},
        {"line_bits": 25},
        {"mask": 3, "n_body": 100},
        {"mask": 1, "n_body": 201},
        {"mask": 1, "n_body": 100, "side": bytes(101)},
        {"kind": container.CM, "lanes": 2},
        {"kind": container.STORED, "window": 64, "overlap": 0},
        {"kind": container.NOTE},
        {"kind": container.NOTE, "n_bytes": 0, "line_bits": 14},
    ],
)
def test_what_a_reader_refuses_is_not_written(fields: dict[str, object]) -> None:
    block = Block(**{"kind": container.MODEL, "n_bytes": 100, "payload": b"12345", "content_check": bytes(8)} | fields)  # type: ignore[arg-type]
    with pytest.raises(FormatError, match="to be written"):
        container.create_block(block, last=True)


def test_a_short_member_whose_payload_is_no_shorter_takes_the_long_form() -> None:
    data = b"0123456789"
    block = Block(container.CM, 10, bytes(10), primitives.content_check(data))
    assert container.create_short(block, data, container.NO_MODEL) is None


# ---- a reader stops where the file has no more to say


class Steps:
    """Counts the steps that a model is asked for."""

    def __init__(self) -> None:
        self.model = ToyModel()
        self.n = 0
        opened = self.model.open

        def counting(lanes: int, window: int, threads: int | None = None):  # type: ignore[no-untyped-def]
            state = opened(lanes, window)
            forward = state.forward

            def step(ids):  # type: ignore[no-untyped-def]
                self.n += 1
                return forward(ids)

            state.forward = step  # type: ignore[method-assign]
            return state

        self.model.open = counting  # type: ignore[method-assign]


def decoded(model: ToyModel, payload: bytes, n_bytes: int, lanes: int = 1) -> bytes:
    """The body of a model block in a memory of its own."""
    block = Block(container.MODEL, n_bytes, payload, primitives.content_check(b"x"), lanes=lanes)
    return blocks.decompress(block, model, blocks.Memory(14))


def written(data: bytes, lanes: int) -> bytes:
    memory = blocks.Memory(14)
    coding = Coding(lanes=lanes, share=1.0)
    block = blocks.compress(MODEL, data, True, memory, coding).block
    assert (block.kind, block.lanes) == (container.MODEL, lanes)
    return block.payload


@pytest.mark.parametrize("lanes", [1, 2, 64])
def test_a_model_block_with_three_bytes_of_payload_is_bounded_by_its_content_size(lanes: int) -> None:
    """What zeros after the end go on to say may be something that costs next to nothing.

    The content check refuses it.
    """
    steps = Steps()
    with pytest.raises((FormatError, ChecksumError)):
        decoded(steps.model, b"\x9d\x31\x5a", 4000, lanes)
    assert steps.n <= 2 * -(-4000 // lanes)  # two teams of lanes


@pytest.mark.parametrize("lanes", [1, 3])
def test_a_code_stream_that_ends_too_early(lanes: int) -> None:
    data = MODEL.speak(4000)
    payload = written(data, lanes)
    with pytest.raises(FormatError, match="invalid"):
        decoded(MODEL, payload[: len(payload) // 2], len(data), lanes)


def test_a_cm_block_that_ends_too_early() -> None:
    data = random.Random(5).randbytes(6000)
    payload = codec.write_bytes(predictor.Predictor(14), data, 0)
    assert codec.read_bytes(predictor.Predictor(14), payload, len(data)) == data
    with pytest.raises(FormatError, match="invalid"):
        codec.read_bytes(predictor.Predictor(14), payload[:3000], 1 << 20)


@pytest.mark.parametrize("n", [1, 7, 300, 5000, 1 << 16])
def test_content_of_zeros_is_never_cut_too_short(n: int) -> None:
    """All its decisions go to the lower part of their intervals, so that the code is zeros to its end."""
    payload = codec.write_bytes(predictor.Predictor(14), bytes(n), 0)
    assert codec.read_bytes(predictor.Predictor(14), payload, n) == bytes(n)


@pytest.mark.parametrize("lanes", [513, 1024])
def test_lanes_and_the_default_window(lanes: int) -> None:
    """F4: 32 bytes ask for 1024 lanes of the model's own window."""
    model = ToyModel()
    model.window, model.overlap = 256, 64
    with pytest.raises(FormatError, match="lanes must be 1 to 512"):
        decoded(model, b"abc", 2000, lanes)
    with pytest.raises(ValueError, match="lanes must be 1 to 512"):
        llmzip.compress(b"text", model, lanes=lanes)


@pytest.mark.parametrize("overlap", [33, 63])
def test_overlap_is_half_the_window_at_most(overlap: int) -> None:
    with pytest.raises(ValueError, match="half the window"):
        llmzip.compress(b"text", MODEL, window=64, overlap=overlap)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"group_size": 0}, "group_size must be 1 to 67108864"),
        ({"group_size": (1 << 26) + 1}, "group_size must be 1 to 67108864"),
        ({"line_bits": 9}, "line_bits must be 10 to 24"),
        ({"line_bits": 25}, "line_bits must be 10 to 24"),
        ({"lane_size": 0}, "lane_size must be 1"),
    ],
)
def test_what_a_group_may_be(options: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LmzCompressor(MODEL, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("options", [{"line_bits": 10}, {"line_bits": 24}, {"group_size": 1}, {"group_size": 1 << 26}])
@pytest.mark.parametrize("n_bytes", [1, 5, 600])
def test_every_group_that_may_be_is_read(options: dict[str, int], n_bytes: int) -> None:
    data = MODEL.speak(n_bytes)
    compressor = LmzCompressor(MODEL, block_size=300, **options)  # type: ignore[arg-type]
    assert llmzip.decompress(compressor.compress(data) + compressor.flush(), MODEL) == data


# ---- memory


def test_memory_needed_grows_with_what_is_asked_for() -> None:
    def needed(line_bits: int = 14, **fields: int) -> int:
        header = {
            "kind": container.STORED,
            "last": True,
            "n_bytes": 1 << 20,
            "lanes": 1,
            "window": None,
            "overlap": None,
        }
        header |= {"size": 20, "n_payload": 1000}
        return blocks.memory_needed(container.Header(**header | fields), MODEL, blocks.Memory(line_bits))  # type: ignore[arg-type]

    assert 2 << 20 <= needed() < 16 << 20
    assert needed() == needed(line_bits=24) < needed(kind=container.CM)
    assert needed(22, kind=container.CM) - needed(14, kind=container.CM) > 200 << 20
    assert needed(24, kind=container.CM) > 1 << 30
    one = needed(kind=container.MODEL)
    assert needed(kind=container.CM) < one < needed(kind=container.MODEL, lanes=64, window=2048)
    assert needed(mask=container.REPEATS, n_body=100) < needed(mask=container.UTF16LE | container.REPEATS, n_body=100)


def test_a_header_that_asks_for_a_great_memory_is_refused_before_it_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """So are those that go on in the group, each by what the first has asked for."""
    compressor = LmzCompressor(MODEL, block_size=300, line_bits=12)
    made = compressor.compress(MODEL.speak(600)) + compressor.flush()
    preamble = container.create_preamble(MODEL.fingerprint)
    great = replace(container.stored_block(b"x"), kind=container.CM, line_bits=24)
    asked = preamble + container.create_block(great, last=True, before=preamble)
    assert llmzip.decompress(made, MODEL, memory=128 << 20) == MODEL.speak(600)
    monkeypatch.setattr("llmzip.predictor.Predictor", pytest.fail)
    for read in readers(asked):
        with pytest.raises(LimitExceeded, match=r"^block 1 .*: decoding takes 1\d{9} bytes of memory"):
            read()


def test_what_a_group_holds_counts_as_memory() -> None:
    """Many small blocks of a group are as much as a large one."""
    data = bytes(range(256)) * 2
    compressor = LmzCompressor(MODEL, block_size=32, line_bits=10, share=0)
    made = compressor.compress(data) + compressor.flush()
    (member,) = filemap.walk_file(io.BytesIO(made))
    headers = [block.header for block in member.blocks if block.header]
    assert {header.kind for header in headers} == {container.CM} and len(headers) == 2
    first = blocks.memory_needed(headers[0], None, blocks.Memory(10))
    for limit, n_read in ((first, 256), (first + 6 * 256, 512)):
        reader = MemberReader(io.BytesIO(made).read, ModelSource(MODEL), limits=Limits(memory=limit))
        assert reader.read1() == data[:256]
        if n_read == len(data):
            assert reader.read1() == data[256:]
        else:
            with pytest.raises(LimitExceeded, match=r"^block 2 "):
                reader.read1()


def readers(data: bytes) -> list[Callable[[], object]]:
    """In order and by random access, with a limit on memory."""

    def by_random_access() -> bytes:
        with llmzip.open(io.BytesIO(data), model=MODEL, memory=64 << 20) as file:
            file.seek(0, io.SEEK_END)
            file.seek(0)
            return file.read()

    return [lambda: llmzip.decompress(data, MODEL, memory=64 << 20), by_random_access]


@pytest.mark.parametrize("memory", [1 << 20, 64 << 20])
def test_blocks_that_go_on_are_weighed_by_the_memory_of_their_group(memory: int) -> None:
    stored = replace(container.stored_block(b"x"), line_bits=24)  # takes no memory itself
    state = container.Member(container.parse_preamble(container.create_preamble()))
    made = container.create_block(stored, last=False, before=state.next_before)
    state.add(container.STORED, 1, len(made), False, begins_group=True)
    made += container.create_block(replace(stored, kind=container.CM, line_bits=None), last=True)
    with pytest.raises(
        LimitExceeded, match=r"^block 2 .*: decoding takes 1\d{9} bytes of memory" if memory > 8 << 20 else "^block 1"
    ):
        llmzip.decompress(container.create_preamble() + made, MODEL, memory=memory)
