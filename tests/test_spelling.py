"""llmzip.predictor.spelling: sums over the sorted vocabulary are those over all tokens."""

import numpy as np

from llmzip.predictor.spelling import Range, Spelling, odds, weights
from llmzip.predictor.tables import TOP

SPELLED = [bytes([i]) for i in range(256)] + [b"the", b"th", b"the", b"there", b"", b"\xff\xff", b"a\0", b"he"]


def test_weights_are_powers() -> None:
    scores = np.arange(-32768, 1).astype(np.int16)
    found, true = weights(scores), np.exp2(22 + scores / 256)
    assert found[-1] == 1 << 22 and found[0] == 0 and np.all(np.diff(found) >= 0)
    assert np.all(np.abs(found - true) <= 0.004 * true + 1)


def test_each_prefix_has_the_weight_of_its_tokens() -> None:
    spelling = Spelling(SPELLED)
    assert spelling.ids.tolist() == sorted((i for i, each in enumerate(SPELLED) if each), key=lambda i: (SPELLED[i], i))
    scores = np.random.default_rng(1).integers(-4000, 1, len(spelling.ids)).astype(np.int16)
    sums, of = spelling.sums(scores), dict(zip(spelling.ids.tolist(), weights(scores).tolist(), strict=True))
    assert sums[-1] == sum(of.values())
    for prefix in (b"t", b"th", b"the", b"a", b"\xff"):
        found = Range(0, len(spelling.ids), 0)
        for byte in prefix:
            found = found._replace(low=found.low + spelling.whole(found))
            high = found.high if byte == 255 else spelling.split(found, byte + 1)
            found = Range(spelling.split(found, byte), high, found.depth + 1)
        assert sums[found.high] - sums[found.low] == sum(w for i, w in of.items() if SPELLED[i].startswith(prefix))
        assert spelling.whole(found) == SPELLED.count(prefix)
        assert spelling.ids[found.low] == SPELLED.index(prefix)


def test_of_those_that_spell_the_same_the_first_stands_for_all() -> None:
    ids = Spelling(SPELLED).canonical(np.arange(len(SPELLED), dtype=np.int32))
    assert ids.tolist() == [SPELLED.index(each) for each in SPELLED]


def test_odds() -> None:
    assert odds(5, 5) == 0 and odds(0, 0) == 0
    assert odds(1 << 40, 0) == TOP == -odds(0, 1 << 40)
    assert all(odds(a, b) == -odds(b, a) for a in range(0, 2000, 37) for b in range(0, 90, 7))
