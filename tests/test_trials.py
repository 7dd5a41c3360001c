"""llmzip.trials: what a sample says. Wrong guesses cost size, so they are tested by what is plain."""

import bz2
import random
import zlib
from collections.abc import Callable

import pytest

from llmzip import codec, segments, transforms, trials
from llmzip.container import X86, line_bits_of
from llmzip.models.toy import ToyModel
from llmzip.predictor import Predictor
from llmzip.teams import Shape

MODEL = ToyModel()
CHANCE = random.Random(0)
NOISE = CHANCE.randbytes(40000)
LISTING = bytes(CHANCE.choices(b"  eeetttaoinshrd", k=20000))


def coded(body: bytes, stride: int) -> int:
    return len(codec.write_bytes(Predictor(line_bits_of(len(body))), body, stride))


def records(size: int, n: int = 300) -> bytes:
    """A number that counts, a code, noise in some bytes, and zeros."""
    chance = random.Random(size)
    kept = chance.randbytes(size)
    return b"".join(i.to_bytes(2, "big") + chance.randbytes(1) + kept[3:] for i in range(n))


# ---- hopeless


@pytest.mark.parametrize("n_bytes", [4096, 16384, 40000])
def test_noise_is_hopeless(n_bytes: int) -> None:
    assert trials.is_hopeless(NOISE[:n_bytes])


@pytest.mark.parametrize("pack", [zlib.compress, bz2.compress])
def test_what_is_compressed_already_grows_no_more_than_noise(pack: Callable[[bytes], bytes]) -> None:
    data = pack(LISTING)
    assert segments.is_random(data)
    assert trials.is_hopeless(data) or coded(data, 0) <= len(data) * trials.HOPELESS


@pytest.mark.parametrize(
    "body", [LISTING, records(24), bytes(20000), b"\xff" * 300, NOISE[:5000] * 2, bytes(b & 0x7F for b in NOISE)]
)
def test_what_can_be_learnt_is_not_hopeless(body: bytes) -> None:
    assert not trials.is_hopeless(body)


def test_the_middle_is_what_counts() -> None:
    """A head and a tail that are others say nothing of a large body."""
    assert trials.is_hopeless(bytes(9000) + NOISE + bytes(9000))
    assert not trials.is_hopeless(NOISE[:9000] + LISTING + NOISE[:9000])


# ---- changes


def test_calls_of_machine_code_are_better_as_addresses() -> None:
    calls = b"".join(CHANCE.randbytes(4) + b"\xe8" + (90_000 - 9 * i).to_bytes(4, "little") for i in range(900))
    assert trials.is_better(transforms.apply(calls, X86)[1], calls)
    assert not trials.is_better(calls, calls)
    assert not trials.is_better(NOISE, records(24, 900))
    assert trials.is_better(records(24, 900), NOISE)


# ---- strides


@pytest.mark.parametrize("size", [5, 7, 12, 24, 100, 300])
def test_records_are_found(size: int) -> None:
    """Their size, or a multiple of it."""
    body = records(size, max(100, 9000 // size))
    stride = trials.stride_of(body)
    assert stride and stride % size == 0
    sample = body[: trials.SAMPLE_SIZE]
    assert coded(sample, stride) < coded(sample, 0)


def test_numbers_of_four_bytes_are_found() -> None:
    assert trials.stride_of(b"".join((i * i).to_bytes(4, "little") for i in range(4000))) == 4


@pytest.mark.parametrize("body", [b"", b"a", b"abc", b"abcdefgh", bytes(9), NOISE[:20]])
def test_what_is_too_short_for_records(body: bytes) -> None:
    assert trials.stride_of(body) in range(5)


@pytest.mark.parametrize("body", [records(7), LISTING, NOISE])
def test_the_stride_that_is_found_is_the_best_of_those_tried(body: bytes) -> None:
    sample = trials._sample(body)
    sizes = {stride: coded(sample, stride) for stride in trials._strides(sample)}
    assert 0 in sizes and 4 in sizes and len(sizes) <= 4
    assert sizes[trials.stride_of(body)] == min(sizes.values())
    assert max(sizes) <= codec.MAX_STRIDE


# ---- a model


def share(body: bytes) -> float:
    return trials.share_with_model(MODEL, body, Shape(1, MODEL.window, MODEL.overlap))


@pytest.mark.parametrize("n_bytes", [trials.MIN_TRIAL, 20000])
def test_a_model_that_helps(n_bytes: int) -> None:
    assert share(MODEL.speak(n_bytes)) < 0.8


@pytest.mark.parametrize("body", [LISTING, bytes(b"  eeetttaoinshrd"[b & 15] for b in NOISE)])
def test_a_model_that_does_not_help(body: bytes) -> None:
    """Nor does it harm much: what it says is weighed as any other input is."""
    assert 0.97 < share(body) < 1.02


def test_a_trial_takes_a_small_part_of_a_body(monkeypatch: pytest.MonkeyPatch) -> None:
    """An eighth at most, 32 KiB at most, from the middle; twice through, with the model and without."""
    asked: list[bytes] = []

    def noting(memory: object, body: bytes, stride: int) -> bytes:
        asked.append(body)
        return b"12"

    monkeypatch.setattr(codec, "write_bytes", noting)
    monkeypatch.setattr(codec, "write_tokens", lambda memory, model, body, shape: b"1")
    for n_bytes, size in ((8192, 8192), (40000, 8192), (160000, 20000), (1 << 20, 1 << 15)):
        body = random.Random(n_bytes).randbytes(n_bytes)
        asked.clear()
        assert share(body) == 0.5
        assert list(map(len, asked)) == [size * 3 // 4, size - size * 3 // 4]
        assert body[(n_bytes - size) // 2 :].startswith(b"".join(asked))


@pytest.mark.long
def test_trials_leave_no_trace() -> None:
    """They have memories of their own: the same body gives the same answer at any time."""
    body = MODEL.speak(9000)
    assert share(body) == share(body)
    assert trials.stride_of(records(12)) == trials.stride_of(records(12))
