"""llmzip.transforms: any bytes there and back, and nothing but FormatError or other content from any damage."""

import random
import tracemalloc
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmzip import container, primitives, transforms
from llmzip.container import BOM, CRLF, PACK, REPEATS, UTF16BE, UTF16LE, X86
from llmzip.errors import FormatError

ALL = (UTF16LE, UTF16BE, BOM, CRLF, REPEATS, PACK, X86)


def noise(n_bytes: int, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(n_bytes)


def round_trip(data: bytes, wanted: int) -> tuple[int, bytes, bytes]:
    mask, body, side = transforms.apply(data, wanted)
    assert mask & ~wanted == 0
    assert len(body) <= container.MAX_BODY_GROWTH * len(data)
    assert transforms.undo(mask, body, side, len(data)).content == data
    return mask, body, side


lines = st.lists(
    st.tuples(
        st.sampled_from(["", "a", "é\u4e2d", "\r", "x\ry", "\ufeff", "\U0001f600"]),
        st.sampled_from(["\r\n"] * 30 + ["\n", "\r"]),
    ),
    max_size=80,
).map(lambda parts: "".join(text + end for text, end in parts))


@given(st.binary(max_size=200) | lines.map(str.encode), st.integers(0, 127).filter(lambda mask: mask & 3 != 3))
def test_any_bytes_round_trip(data: bytes, wanted: int) -> None:
    round_trip(data, wanted)


@pytest.mark.parametrize(("codec", "bit"), [("utf-16-le", UTF16LE), ("utf-16-be", UTF16BE)])
@given(data=lines, bom=st.booleans(), cut=st.integers(0, 3), drop=st.integers(0, 1))
def test_utf16(codec: str, bit: int, data: str, bom: bool, cut: int, drop: int) -> None:
    """Of any cut at either end: blocks end where they end."""
    content = (("\ufeff" if bom else "") + data).encode(codec)
    content = content[2 * drop : len(content) - cut]
    round_trip(content, bit | BOM | CRLF)
    text = "\ufeffline\r\n" * 9 + "\U0001f600"
    mask, body, side = round_trip(text.encode(codec)[: -cut or None], bit | BOM | CRLF)
    assert mask == bit | BOM | CRLF
    assert body.startswith(b"line\n\xef\xbb\xbfline\n")
    assert len(side) < 8


def test_utf16_that_is_none() -> None:
    assert transforms.apply("a\ud800b".encode("utf-16-le", "surrogatepass"), UTF16LE)[0] == 0


def test_lone_line_ends() -> None:
    data = b"\n" + b"one\r\n" * 50 + b"two\r\r\nthree\rfour\n" + b"five\r\n" * 10
    mask, body, side = round_trip(data, CRLF)
    assert mask == CRLF
    assert body == data.replace(b"\r\n", b"\n")
    assert side == b"\x02\x00\x33"
    assert transforms.apply(b"a\nb\r\n" * 100, CRLF)[0] == 0  # as many of the one as of the other
    assert transforms.apply(b"a\r\n" * 7, CRLF)[0] == 0  # too few to pay


def test_one_letter() -> None:
    mask, body, side = round_trip(b"a" * (1 << 20), REPEATS)
    assert (mask, body) == (REPEATS, b"a")
    assert len(side) < 8


@given(st.integers(4200, 9000), st.integers(0, 2000), st.integers(1, 4), st.integers(0, 300))
def test_repeats_are_found_at_any_distance(length: int, gap: int, times: int, offset: int) -> None:
    page = noise(length)
    data = noise(offset, 1) + b"".join(page + noise(gap, 2 + i) for i in range(times))
    mask, body, side = round_trip(data, REPEATS)
    if times > 1:
        assert mask == REPEATS
        assert len(body) <= offset + length + times * gap + 8 * times
        assert len(side) <= 1 + 8 * times


def test_short_repeats_are_left_to_the_model() -> None:
    data = b"".join(noise(4000) + noise(50, i) for i in range(1, 9))
    assert transforms.apply(data, REPEATS)[0] == 0


def test_copies_do_not_cut_characters() -> None:
    page = "это длинная строка без конца и начала, ".encode() * 30 + noise(5000)
    text = "раз: ".encode() + page + "два".encode() + page[1:]
    _, body, _ = round_trip(text, REPEATS)
    assert len(body) < len(text) - 1000


@pytest.mark.parametrize("n_symbols", [2, 3, 4, 5, 16, 17, 64, 65, 128])
@pytest.mark.parametrize("n_bytes", [7, 8, 1000, (1 << 18) + 3])
def test_pack(n_symbols: int, n_bytes: int) -> None:
    symbols = sorted(random.Random(n_symbols).sample(range(256), n_symbols))
    data = bytes(random.Random(1).choices(symbols, k=n_bytes)) + bytes(symbols)
    mask, body, _ = round_trip(data, PACK)
    assert mask == PACK
    assert len(body) == -(-len(data) * (n_symbols - 1).bit_length() // 8)


def test_any_body_and_side() -> None:
    """What no encoder has made: an error of ours, or bytes that the content check refuses."""
    outcomes = Counter[str]()

    @settings(derandomize=True, max_examples=200)
    @given(
        st.sampled_from(ALL) | st.integers(1, 63),
        st.binary(max_size=60) | st.text(max_size=40).map(str.encode),
        st.just(b"") | st.binary(max_size=12),
        st.integers(1, 200) | st.none(),
    )
    def undo_any(mask: int, body: bytes, side: bytes, size: int | None) -> None:
        n_bytes = size or len(body) + 3  # that of a byte order mark
        try:
            content = transforms.undo(mask, body, side, n_bytes).content
        except FormatError:
            outcomes["error"] += 1
            return
        outcomes["content"] += 1
        assert len(content) <= max(2 * n_bytes, 8 * len(body), len(body) + 3)

    undo_any()
    assert outcomes["error"] and outcomes["content"], outcomes


def test_damaged_side() -> None:
    page = noise(700)
    data = (
        ("\ufeff" + "line\r\n" * 20 + "lone\n").encode("utf-16-le")
        + ("x" * 9000 + "\r\n").encode("utf-16-le") * 2
        + page[:1]
    )
    mask, body, side = transforms.apply(data, UTF16LE | BOM | CRLF | REPEATS)
    assert mask == UTF16LE | BOM | CRLF | REPEATS
    outcomes = Counter[str]()

    @settings(derandomize=True)
    @given(st.integers(0), st.integers(0, 7), st.binary(max_size=4))
    def spoil_any(at: int, bit: int, more: bytes) -> None:
        spoiled = bytearray(side + more)
        spoiled[at % len(spoiled)] ^= 1 << bit
        try:
            assert len(transforms.undo(mask, body, bytes(spoiled), len(data)).content) <= 4 * len(data)
            outcomes["content"] += 1
        except FormatError:
            outcomes["error"] += 1

    spoil_any()
    assert outcomes["error"] and outcomes["content"], outcomes


def test_great_declared_sizes_cost_nothing() -> None:
    tracemalloc.start()
    great = primitives.create_varint((1 << 60) - 1)
    for mask, side in (
        (REPEATS, b"\x01\x01" + great + b"\x01"),
        (REPEATS, great * 4),
        (CRLF, great),
        (CRLF, b"\x01" + great),
        (PACK, great),
        (PACK, b"\x01" + great * 2),
        (UTF16LE, b"\x0f"),
    ):
        with pytest.raises(FormatError):
            transforms.undo(mask, b"ab\n", side, 1 << 20)
    assert tracemalloc.get_traced_memory()[1] < 1 << 18
    tracemalloc.stop()


def test_calls_become_the_same_bytes() -> None:
    calls = b"".join(noise(11, i) + b"\xe8" + (90_000 - 16 * i).to_bytes(4, "little") for i in range(200))
    mask, body, side = round_trip(calls, X86)
    assert (mask, len(body), side) == (X86, len(calls), b"")
    assert body.count(body[11:16]) > 190
