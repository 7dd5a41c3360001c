"""llmzip.codec: bodies to payloads and back, with a model and without, in a memory that goes on.

Lanes by bytes; what no writer writes.
"""

import random
from collections import Counter
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import llmzip
from llmzip import codec, native, teams
from llmzip.container import MAX_POSITIONS, Header
from llmzip.errors import FormatError
from llmzip.models.toy import ToyModel
from llmzip.predictor import Predictor
from llmzip.primitives import create_varint
from llmzip.teams import Shape
from llmzip.tokens import in_order

MODEL = ToyModel()
LINE_BITS = 12
THREADS = 1
TEXT = b"the station and the nation are singing in the rain, and the cat is eating"
bodies = st.binary(min_size=1, max_size=60) | st.text(min_size=1, max_size=40).map(
    lambda text: text.encode() + TEXT[: len(text)]
)


def write(
    memory: Predictor, body: bytes, lanes: int, window: int = 64, overlap: int = 16, model: ToyModel = MODEL
) -> bytes:
    """The payload of a model block."""
    return codec.write_tokens(memory, model, body, Shape(lanes, window, overlap, THREADS))


def read(
    memory: Predictor, payload: bytes, n: int, lanes: int, window: int = 64, overlap: int = 16, model: ToyModel = MODEL
) -> bytes:
    return codec.read_tokens(memory, model, payload, n, Shape(lanes, window, overlap, THREADS))


def memory() -> Predictor:
    return Predictor(LINE_BITS)


# ---- any bytes


@st.composite
def shapes(draw: st.DrawFn) -> tuple[int, int, int]:
    """Lanes, window and overlap within the limits."""
    window = draw(st.integers(8, 80))
    return draw(st.integers(1, 9)), window, draw(st.integers(0, window // 2))


@given(st.lists(st.tuples(bodies, shapes() | st.integers(0, 5)), min_size=1, max_size=3))
def test_any_bytes_in_any_shape(parts: list[tuple[bytes, tuple[int, int, int] | int]]) -> None:
    """One memory for all, with a model and without in turn."""
    writer, reader = memory(), memory()
    for body, shape in parts:
        if isinstance(shape, int):
            payload = codec.write_bytes(writer, body, shape)
            assert codec.read_bytes(reader, payload, len(body)) == body
        else:
            lanes, window, overlap = shape
            lanes = min(lanes, len(body))
            payload = write(writer, body, lanes, window, overlap)
            assert read(reader, payload, len(body), lanes, window, overlap) == body


@pytest.mark.parametrize("n_bytes", [1, 63, 64, 65, 200])
@pytest.mark.parametrize("overlap", [0, 4])
def test_where_windows_end(n_bytes: int, overlap: int) -> None:
    body = MODEL.speak(n_bytes)
    payload = write(memory(), body, 1, 8, overlap)
    assert read(memory(), payload, n_bytes, 1, 8, overlap) == body


def test_as_many_lanes_as_bytes() -> None:
    payload = write(memory(), b"rain", 4)
    assert read(memory(), payload, 4, 4) == b"rain"


def test_the_same_bytes_whatever_the_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    """How many steps an encoder asks for in one go is its own matter: a decoder asks for one."""
    body = MODEL.speak(300)
    payloads = set()
    for rows in (1, 3, 64, 1000):
        monkeypatch.setattr(teams, "CHUNK_ROWS", rows)
        payloads.add(write(memory(), body, 3, 32, 8))
    assert len(payloads) == 1


@pytest.mark.parametrize("lanes", [1, 2, 9, 16])
def test_the_same_bytes_whatever_the_threads(lanes: int) -> None:
    """With several, what is known is predicted ahead, and many lanes are found in two teams."""
    body, payloads = MODEL.speak(400), set()
    for threads in (1, 2, 5):
        shape = Shape(lanes, 32, 8, threads)
        payload = codec.write_tokens(memory(), MODEL, body, shape)
        assert codec.read_tokens(memory(), MODEL, payload, len(body), shape) == body
        payloads.add(payload)
    assert len(payloads) == 1


def test_damage_is_told_whatever_the_threads() -> None:
    """The same error or the same bytes: found by any of the threads, it ends the others."""
    body, lanes = MODEL.speak(400), 16
    payload = codec.write_tokens(memory(), MODEL, body, Shape(lanes, 32, 8))
    outcomes = Counter[str]()
    for at in range(0, len(payload), 9):
        spoiled = payload[:at] + bytes([payload[at] ^ 0x55]) + payload[at + 1 :]
        found = []
        for threads in (1, 2, 4):
            try:
                found.append(codec.read_tokens(memory(), MODEL, spoiled, len(body), Shape(lanes, 32, 8, threads)))
            except FormatError as error:
                found.append(str(error).encode())
            outcomes["error" if b"invalid" in found[-1] else "content"] += 1
        assert len(set(found)) == 1
    assert outcomes["error"], outcomes


def test_an_error_in_the_thread_that_predicts_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    model = ToyModel()

    def fail(lanes: int, window: int, threads: int | None = None) -> None:
        raise MemoryError

    monkeypatch.setattr(model, "open", fail)
    for threads in (1, 2):
        with pytest.raises(MemoryError):
            codec.write_tokens(memory(), model, MODEL.speak(90), Shape(9, 32, 8, threads))


def test_lanes_and_windows_make_another_payload() -> None:
    body = MODEL.speak(300)
    shapes = [(1, 64, 16), (2, 64, 16), (1, 32, 16), (1, 64, 0)]
    assert len({write(memory(), body, *shape) for shape in shapes}) == len(shapes)


def test_what_has_been_learnt_helps() -> None:
    first = memory()
    sizes = [
        len(write(first, MODEL.speak(1000), 1)),
        len(codec.write_bytes(first, MODEL.speak(1000), 0)),
        len(write(first, MODEL.speak(1000), 2)),
    ]
    assert sizes[0] > 150 and max(sizes[1:]) < 40


# ---- lanes


@given(st.integers(1, 10**6), st.integers(1, 1024))
def test_lanes_are_cut_by_bytes(n_bytes: int, lanes: int) -> None:
    sizes = codec.lane_sizes(n_bytes, lanes)
    assert (len(sizes), sum(sizes)) == (lanes, n_bytes)
    assert sizes == sorted(sizes, reverse=True) and sizes[0] - sizes[-1] <= 1


def test_each_lane_is_tokenized_on_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut where the bytes say, in the middle of a word or of a character."""
    model = ToyModel()
    seen: list[bytes] = []
    encode = model.tokenizer.encode

    def noting(data: bytes) -> np.ndarray:
        seen.append(bytes(data))
        return encode(data)

    monkeypatch.setattr(model.tokenizer, "encode", noting)
    body = "это the station".encode()
    write(memory(), body, 4, model=model)
    assert seen == [body[:5], body[5:10], body[10:14], body[14:]]
    assert list(map(len, seen)) == codec.lane_sizes(len(body), 4)


def test_lanes_that_a_block_gets_by_its_size() -> None:
    assert [codec.choose_lanes(n, 64) for n in (1, 16384, 16385, 1 << 20, 1 << 26)] == [1, 1, 2, 64, 256]
    assert codec.choose_lanes(1 << 26, 2048) == MAX_POSITIONS // 2048
    assert codec.choose_lanes(1 << 26, 1 << 15) == 4
    assert codec.choose_lanes(100, 64, lane_size=7) == 15


# ---- what a caller and a file may ask for


@pytest.mark.parametrize(
    ("window", "overlap", "lanes", "message"),
    [
        (7, None, 1, "window must be 8 to 4096 tokens for toy"),
        (4097, None, 1, "window must be 8 to 4096 tokens for toy"),
        (64, 33, 1, "overlap must be at most 32, half the window"),
        (64, -1, 1, "overlap must be at most 32, half the window"),
        (None, None, 0, "lanes must be 1 to 1024 with a window of 64"),
        (None, None, 1025, "lanes must be 1 to 1024 with a window of 64"),
        (4096, None, 33, "lanes must be 1 to 32 with a window of 4096"),
    ],
)
def test_what_is_outside_the_limits(window: int | None, overlap: int | None, lanes: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        codec.coding_of(MODEL, window, overlap, lanes)


def test_defaults_are_those_of_the_model() -> None:
    assert codec.coding_of(MODEL, None, None, 1) == (64, 16)
    assert codec.coding_of(MODEL, 200, None, 1) == (200, 16)
    assert codec.coding_of(MODEL, 20, None, 1) == (20, 5)  # no more than a quarter of a small window
    assert codec.coding_of(MODEL, None, 32, 1) == (64, 32)


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        (b"", "cm data is too short"),
        (b"\x81", "cm data is too short"),
        (b"\x80\x00", "stride is not in its shortest form"),
        (create_varint(codec.MAX_STRIDE + 1) + b"abc", "stride is 65537, above 65536"),
        (b"\0" + b"\xff" * 9, "invalid"),
    ],
)
def test_payloads_of_cm_that_no_writer_writes(payload: bytes, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        codec.read_bytes(memory(), payload, 1000)


@pytest.mark.parametrize("stride", [0, 1, 2, 255, 65536])
def test_strides(stride: int) -> None:
    body = b"".join(i.to_bytes(2, "big") for i in range(50))
    payload = codec.write_bytes(memory(), body, stride)
    assert payload.startswith(create_varint(stride))
    assert codec.read_bytes(memory(), payload, len(body)) == body


def test_any_payload_gives_a_body_or_an_error() -> None:
    """Of the declared size, never more: the content check tells what is wrong."""
    outcomes = Counter[str]()

    @settings(max_examples=30, derandomize=True)
    @given(st.binary(max_size=40), st.integers(1, 300), st.integers(1, 4))
    def decode_any(payload: bytes, n_bytes: int, lanes: int) -> None:
        outcomes.update(decoded(payload, n_bytes, lanes))

    decode_any()
    assert outcomes["body"] and outcomes["error"], outcomes


def decoded(payload: bytes, n_bytes: int, lanes: int) -> Iterator[str]:
    """What comes of a payload that no encoder has made, without a model and with one."""
    decoders: list[Callable[[], bytes]] = [
        lambda: codec.read_bytes(memory(), payload, n_bytes),
        lambda: read(memory(), payload, n_bytes, min(lanes, n_bytes)),
    ]
    for decode in decoders:
        try:
            assert len(decode()) == n_bytes
            yield "body"
        except FormatError:
            yield "error"


def test_a_body_that_ends_inside_a_token() -> None:
    """A reader of fewer bytes than were written never goes beyond them."""
    payload = write(memory(), TEXT, 1)
    for n_bytes in (1, 2, 7, 40, len(TEXT) - 1):
        assert len(read(memory(), payload, n_bytes, 1)) == n_bytes


# ---- beside


def test_progress_goes_to_the_end() -> None:
    body = random.Random(1).choices(b"the rain ", k=20000)
    told: list[int] = []
    payload = codec.write_bytes(memory(), bytes(body), 0, told.append)
    assert told == [8192, 16384, 20000]
    told.clear()
    codec.read_bytes(memory(), payload, len(body), told.append)
    assert told == [8192, 16384, 20000]
    told.clear()
    codec.write_tokens(memory(), MODEL, TEXT, Shape(2, 64, 16), told.append)
    assert told == sorted(told) and told[-1] == len(TEXT)


def test_memory_that_a_block_asks_for() -> None:
    def header(n_bytes: int, lanes: int, window: int | None = None) -> Header:
        return Header(2, True, n_bytes, lanes, window, None, 20, 100)

    unknown = codec.memory_needed(header(1 << 20, 1), None)
    assert 4 << 20 <= unknown < codec.memory_needed(header(1 << 20, 1), MODEL)
    assert codec.memory_needed(header(1 << 20, 1), MODEL) < codec.memory_needed(header(1 << 20, 64), MODEL)
    assert codec.memory_needed(header(1 << 10, 1), MODEL) < codec.memory_needed(header(1 << 20, 1), MODEL)


def test_the_spelling_of_a_vocabulary_is_made_once() -> None:
    first = codec.spelling_of(MODEL)
    assert codec.spelling_of(MODEL) is first
    assert codec.spelling_of(ToyModel()) is not first


def test_python_writes_and_reads_the_files_that_c_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """A whole file of two groups, with and without the model."""
    data = MODEL.speak(100) + bytes(range(0, 250, 5)) * 2 + TEXT[:20]
    made = llmzip.compress(data, MODEL, block_size=90, group_size=180, lanes=2)
    found = llmzip.get_info(made).blocks
    assert {block.kind for block in found} == {"model", "cm"} and sum(block.begins_group for block in found) == 2
    monkeypatch.setattr(native, "library", None)
    assert llmzip.decompress(made, MODEL) == data
    assert llmzip.compress(data, MODEL, block_size=90, group_size=180, lanes=2) == made


def test_tokens_that_spell_the_same_are_coded_as_the_first_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """A vocabulary may have two ids for the same bytes: a reader cannot tell them, and finds the first."""
    model = ToyModel()
    twin = model.tokenizer.n_vocab - 1  # an unused id, which now spells as another does
    model.tokenizer.spelled[twin] = b"tion"
    model.tokenizer.entries = in_order(model.tokenizer.spelled)
    ids = model.tokenizer.encode(b"nation")
    monkeypatch.setattr(model.tokenizer, "encode", lambda data: np.append(ids[:-1], twin).astype(np.int32))
    seen: list[np.ndarray] = []
    code_step = Predictor.code_step

    def noting(self: Predictor, scores: np.ndarray, found: np.ndarray, first: int) -> None:
        seen.append(found.copy())
        code_step(self, scores, found, first)

    monkeypatch.setattr(Predictor, "code_step", noting)
    payload = write(memory(), b"nation", 1, model=model)
    assert [int(each[0]) for each in seen] == ids.tolist()
    assert read(memory(), payload, 6, 1, model=model) == b"nation"
