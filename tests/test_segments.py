"""llmzip.segments: what is text, and where content is cut."""

import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmzip import segments
from llmzip.container import UTF16BE, UTF16LE

WORDS = (
    "the cat sat on the mat and looked at the rain, which fell as it had fallen for days; nobody said a word".split()
)


def text(n_bytes: int, seed: int = 0) -> bytes:
    return " ".join(random.Random(seed).choices(WORDS, k=n_bytes // 4)).encode()[:n_bytes]


def noise(n_bytes: int) -> bytes:
    return random.Random(n_bytes).randbytes(n_bytes)


SAMPLES = {
    "ascii": text(20000),
    "latin-1": ("Grüße aus Köln. " * 1000).encode("latin-1"),
    "cyrillic": ("Это строка. " * 1500).encode(),
    "koi8-r": ("Это строка. " * 1500).encode("koi8-r"),
    "chinese": ("这是一行文字。\n" * 1000).encode(),
    "utf-16-le": ("Это строка. " * 1500).encode("utf-16-le"),
    "utf-16-be": ("这是一行文字。\n" * 1000).encode("utf-16-be"),
    "colored": b"\x1b[31mred\x1b[0m line\r\n" * 1000,
    "zeros": bytes(20000),
    "fields": b"one\0two\0three\0" * 1500,
    "short": b"hi",
}


@pytest.mark.parametrize("name", SAMPLES)
def test_text(name: str) -> None:
    assert segments.runs(SAMPLES[name]) == [(len(SAMPLES[name]), True)]


BINARIES = {
    "noise": noise(30000),
    "integers": b"".join(i.to_bytes(4, "little") for i in range(0, 100000, 13)),
    "short noise": noise(300),
}


@pytest.mark.parametrize("name", BINARIES)
def test_binary(name: str) -> None:
    assert segments.runs(BINARIES[name]) == [(len(BINARIES[name]), False)]


@given(st.binary(min_size=1, max_size=5000))
def test_runs_make_up_the_content(content: bytes) -> None:
    runs = segments.runs(content * 3)
    assert sum(n_bytes for n_bytes, _ in runs) == 3 * len(content)
    assert all(n_bytes for n_bytes, _ in runs)
    assert all(a[1] != b[1] for a, b in itertools.pairwise(runs))


def test_mixed_content_is_cut_where_it_changes() -> None:
    parts = [text(30000), noise(50000), text(1 << 20, 1), noise(20000)]
    runs = segments.runs(b"".join(parts))
    assert [is_text for _, is_text in runs] == [True, False, True, False]
    for (n_bytes, _), part in zip(runs, parts, strict=True):
        assert abs(n_bytes - len(part)) <= 2 * segments.PIECE


def test_short_stretches_are_not_cut_out() -> None:
    for content in (text(20000) + noise(6000) + text(20000), text(900) + noise(3000), noise(3000) + text(900)):
        assert len(segments.runs(content)) == 1
    archive = b"".join(b"name%d" % i + bytes(506) + text(3000, i) + bytes(72) for i in range(30))
    assert segments.runs(archive) == [(len(archive), True)], "headers of an archive are no reason"


@pytest.mark.parametrize("sample", ["one line.\nanother", "Это строка. ", "这是一行文字。\n"])
def test_utf16(sample: str) -> None:
    for codec, transform in (("utf-16-le", UTF16LE), ("utf-16-be", UTF16BE)):
        assert segments.utf16((sample * 40).encode(codec)) == transform
        assert segments.utf16(("\ufeff" + sample).encode(codec)) == transform
    assert segments.utf16((sample * 40).encode()) == 0
    assert segments.utf16(b"") == 0


def test_random() -> None:
    digits = bytes(random.Random(1).choices(b"0123456789abcdef", k=5000))
    assert segments.is_random(digits)
    assert segments.is_random(noise(5000))
    for content in (text(50000), b"", b"a" * 9999, noise(4000)):
        assert not segments.is_random(content)
