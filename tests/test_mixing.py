"""The adaptive layer: C and Python give the same integers, the tables are those of the format, and any symbols come back, whatever the experts say."""

import math

import numpy as np
import oracle
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmzip import native
from llmzip.errors import FormatError
from llmzip.mixing import Mixer, depth_of, tables
from llmzip.rangecoder import Decoder, Encoder


@pytest.fixture(params=["python", "c"])
def engine(request, monkeypatch):
    if request.param == "python":
        monkeypatch.setattr(native, "library", None)
    else:
        assert native.library is not None


def random_scores(rows, n, seed=0):
    rng = np.random.default_rng(seed)
    scores = -(rng.random((rows, n)) ** 2 * 32768).astype(np.int16)
    scores[np.arange(rows), rng.integers(0, n, rows)] = 0
    scores[0] = -32768
    scores[0, 0] = 0
    return scores


def line_ends(n):
    return np.arange(n) % 16 == 3


def encode(ids, n, scores, plain=False):
    """Code ids (L, T) by the same scores (L, n) in every step."""
    encoder = Encoder(counting=True)
    mixer = Mixer(ids.copy(), line_ends(n), plain=plain)
    for step in range(ids.shape[1]):
        mixer.code(scores, step, encoder)
    return encoder


def decode(payload, shape, n, scores, plain=False):
    found = np.zeros(shape, dtype=np.int32)
    decoder, mixer = Decoder(payload), Mixer(found, line_ends(n), plain=plain)
    for step in range(shape[1]):
        mixer.code(scores, step, decoder)
    return found


def test_powers_and_logarithms():
    assert tables.EXP2.tolist() == [oracle.round_exp2(f) for f in range(256)]
    assert tables.LOG2.tolist() == [round(256 * math.log2(1 + i / 1024)) for i in range(1024)]  # none is near a half: see the module
    assert abs(tables.log2_of(3**20) - 256 * 20 * math.log2(3)) < 1


def test_squash_is_the_inverse_of_stretch():
    squash = tables.SQUASH.astype(float) / 2**24
    exact = 1 / (1 + np.exp2(-np.arange(-tables.TOP, tables.TOP + 1) / 256))
    assert (np.abs(squash - exact) <= 1.1 * 2.0**-24 + 1e-6 * exact).all()
    assert tables.SQUASH.min() >= 15 and tables.SQUASH.max() <= 2**24 - 15
    assert (tables.SQUASH + tables.SQUASH[::-1] == 2**24).all()
    middles = (np.arange(4096) + 0.5) / 4096
    assert (np.abs(tables.STRETCH - 256 * np.log2(middles / (1 - middles))) < 2).all()


@pytest.mark.parametrize(("n", "depth"), [(1, 8), (256, 8), (257, 9), (512, 9), (8192, 13), (49_173, 16), (1 << 20, 20)])
def test_depth(n, depth):
    assert depth_of(n) == depth


def stream(kind, length, n, seed):
    rng = np.random.default_rng(seed)
    if kind == "noise":
        return rng.integers(0, n, length)
    if kind == "one":
        return np.full(length, n - 1)
    if kind == "period":  # the match is always right
        return np.resize(rng.integers(0, n, 11), length)
    if kind == "alternating":  # right, then wrong
        ids = np.resize(rng.integers(0, n, 8), length)
        ids[7::16] = rng.integers(0, n, len(ids[7::16]))
        return ids
    ids = np.resize(rng.integers(0, n, 7), length)  # "wrong": seven known ones that propose what then does not come
    ids[6::7] = np.arange(len(ids[6::7])) % n
    return ids


@pytest.mark.parametrize("kind", ["noise", "one", "period", "alternating", "wrong"])
@pytest.mark.parametrize("lanes", [1, 3])
def test_c_and_python_write_the_same(kind, lanes, monkeypatch):
    assert native.library is not None
    n = 300
    ids = stream(kind, 3 * 120, n, 1).astype(np.int32).reshape(lanes, -1)
    scores = random_scores(lanes, n)
    payload = encode(ids, n, scores).payload()
    monkeypatch.setattr(native, "library", None)
    assert encode(ids, n, scores).payload() == payload
    assert np.array_equal(decode(payload, ids.shape, n, scores), ids)


@pytest.mark.parametrize("level", range(native.best_level + 1))
def test_every_level_writes_the_same(level, monkeypatch):
    n = 5000
    ids = stream("alternating", 600, n, 2).astype(np.int32).reshape(3, -1)
    scores = random_scores(3, n)
    payload = encode(ids, n, scores).payload()
    monkeypatch.setattr(native, "best_level", level)
    monkeypatch.setattr(native, "clip_threads", lambda wanted: 1 + level % 2)
    assert encode(ids, n, scores).payload() == payload


@given(
    st.sampled_from(["noise", "one", "period", "alternating", "wrong"]),
    st.integers(0, 2**32),
    st.integers(2, 700),
    st.integers(1, 5),
    st.integers(1, 60),
    st.booleans(),
)
def test_any_symbols_come_back(kind, seed, n, lanes, steps, plain):
    ids = stream(kind, lanes * steps, n, seed).astype(np.int32).reshape(lanes, steps)
    scores = random_scores(lanes, n, seed)
    encoder = encode(ids, n, scores, plain)
    assert len(encoder.payload()) <= encoder.cost_bits / 8 + 8
    assert np.array_equal(decode(encoder.payload(), ids.shape, n, scores, plain), ids)


def test_what_repeats_costs_next_to_nothing():
    n = 5000
    flat = np.zeros((1, n), dtype=np.int16)
    noise, period, one = (encode(stream(kind, 3000, n, 3).astype(np.int32)[None], n, flat).cost_bits / 3000 for kind in ("noise", "period", "one"))
    assert noise < 1.05 * math.log2(n)
    assert period < 0.3 and one < 0.1


def test_a_match_that_is_always_wrong_costs_little():
    n = 5000
    ids = stream("wrong", 7000, n, 4).astype(np.int32)[None]
    unforeseen = 1000 * math.log2(n)
    assert encode(ids, n, np.zeros((1, n), dtype=np.int16)).cost_bits < 1.35 * unforeseen


def test_plain_is_the_model_alone():
    n, steps = 700, 200
    rng = np.random.default_rng(5)
    scores = random_scores(2, n)
    ids = rng.integers(0, n, (2, steps)).astype(np.int32)
    weights = np.exp2(scores.astype(float) / 256)
    cost = -np.log2(weights / weights.sum(axis=1, keepdims=True))
    truth = sum(np.minimum(cost[lane, ids[lane]], 20).sum() for lane in range(2))
    likely = np.where(cost[1] < 15)[0]
    ids[:] = rng.choice(likely, (2, steps))
    ids[0] = 0  # the only likely one of lane 0
    truth = sum(cost[lane, ids[lane]].sum() for lane in range(2))
    assert abs(encode(ids, n, scores, plain=True).cost_bits - truth) < 0.01 * truth


def test_noise_is_an_error_or_symbols_never_anything_else(engine):
    scores = random_scores(4, 300)
    for seed in range(20):
        found = np.zeros((4, 20), dtype=np.int32)
        decoder, mixer = Decoder(np.random.default_rng(seed).bytes(40)), Mixer(found, line_ends(300))
        try:
            for step in range(20):
                assert mixer.code(scores, step, decoder).max() < 300
        except FormatError:
            pass
