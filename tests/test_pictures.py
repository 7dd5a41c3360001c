"""Pictures: what stands before a stream tells the bytes of a row, which are the records that it is coded in."""

import random
import struct

import pytest
from opened import png

import llmzip
from llmzip import openings, trials
from llmzip.cuts import LEAST_PICTURE, Cutter
from llmzip.openings import kinds
from llmzip.openings.views import Node
from llmzip.stream import LmzCompressor


def picture(width: int, seed: int = 0) -> bytes:
    """A PNG, every row of it much like the one above."""
    chance = random.Random(seed)
    row, rows = [chance.randrange(8) for _ in range(width)], bytearray()
    while len(rows) < LEAST_PICTURE:
        row = [byte if chance.randrange(20) else chance.randrange(8) for byte in row]
        rows += bytes(row)
    return png(bytes(rows), width)


def header(width: int, depth: int, color: int, interlaced: int = 0) -> bytes:
    return b"\0\0\0\x0dIHDR" + struct.pack(">IIBBBBB", width, 9, depth, color, 0, 0, interlaced) + b"\1\2\3\4"


@pytest.mark.parametrize(
    ("before", "row"),
    [
        (header(700, 8, 2), 2101),
        (header(700, 8, 2) + b"\0\0\0\1tEXtaaaaa", 2101),
        (header(13, 1, 0), 3),
        (header(13, 16, 6), 105),
        (header(700, 8, 2, interlaced=1), 0),
        (header(700, 8, 2)[:12], 0),
        (b"", 0),
    ],
)
def test_the_header_of_a_png_tells_its_rows(before: bytes, row: int) -> None:
    assert kinds.PNG.row(before + b"\0\0\0\1IDAT", len(before)) == row


@pytest.mark.parametrize(
    ("dictionary", "row"),
    [
        (b"<</DecodeParms<</Columns 5/Predictor 12>>/Type/XRef/W[1 3 1]>>", 6),
        (b"<</DecodeParms <</Predictor 2 /Columns 640 /Colors 3 /BitsPerComponent 4>>>>", 960),
        (b"<</Subtype/Image/Width 300/Height 9/ColorSpace/DeviceRGB/BitsPerComponent 8>>", 900),
        (b"<</Subtype /Image /Width 301 /ColorSpace /DeviceGray /BitsPerComponent 1>>", 38),
        (b"<</Type/XRef/W [ 1 2 1 ]>>", 4),
        (b"<</Length 300>>", 0),
    ],
)
def test_the_dictionary_of_a_pdf_object_tells_its_rows(dictionary: bytes, row: int) -> None:
    content = b"1 0 obj<</Columns 99/Predictor 15>>endobj\n2 0 obj\n" + dictionary + b"\nstream\n"
    assert kinds.PDF.row(content, len(content)) == row
    assert kinds.PDF.row(b"", 0) == kinds.ZLIB.row(content, len(content)) == kinds.GZIP.row(content, 0) == 0


def test_rows_of_streams_in_streams_are_those_of_most_bytes() -> None:
    inner, text = Node(kinds.PNG, 0, 9, b"", (), bytes(900), row=30), Node(kinds.ZLIB, 9, 9, b"", (), bytes(500))
    outer = Node(kinds.GZIP, 0, 20, b"", (), bytes(1500), (inner, text))
    assert openings.row_of([outer]) == openings.row_of([text, inner]) == 30
    assert openings.row_of([text]) == openings.row_of([]) == 0


def test_a_picture_is_a_block_of_its_own_and_no_text() -> None:
    content = b"Two pictures of some size. " * 400 + picture(2000) + picture(1500)
    cuts, _ = Cutter(1 << 20, 1 << 23, opens=True).next(bytearray(content), 0, last=True)
    assert [(openings.row_of(cut.nodes), cut.is_text) for cut in cuts] == [(0, True), (2001, False), (1501, False)]


def test_a_picture_is_coded_by_its_rows() -> None:
    """Which are longer than the distances that are tried without."""
    said: list[str] = []
    compressor = LmzCompressor(level=1, report=said.append, threads=1)
    content = picture(3000)
    packed = compressor.compress(content) + compressor.flush()
    assert "records of 3001 bytes" in " ".join(said) and llmzip.decompress(packed) == content


@pytest.mark.parametrize("row", [2, 3001, 70_000, 1 << 37])
def test_a_sample_of_rows_is_no_longer_than_others_by_much(row: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a header says: at most a quarter of what is judged, if that is long."""
    sizes: list[int] = []

    def noting(sample: bytes, stride: int) -> int:
        sizes.append(len(sample))
        return len(sample)

    monkeypatch.setattr(trials, "_coded_size", noting)
    body = bytes(range(256)) * 4096
    trials.is_worth_opening(body, 1000, row)
    trials.stride_of(body, row)
    assert trials.SAMPLE_SIZE <= min(sizes) and max(sizes) <= trials.MAX_SAMPLE and len(sizes) <= 6


def test_what_a_sample_says_of_a_picture_that_is_mostly_blank_is_doubted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trials, "_coded_size", lambda sample, stride: len(sample) // 50)
    body = bytes(1_000_000)  # of which the sample makes 16 080
    assert [trials.is_worth_opening(body, n, 3000) for n in (5_000, 10_000, 20_000)] == [False, True, True]
    assert [trials.is_worth_opening(body, n) for n in (5_000, 10_000, 20_000)] == [False, False, True]
    monkeypatch.setattr(trials, "_coded_size", lambda sample, stride: len(sample) // 5)
    assert [trials.is_worth_opening(body, n, 3000) for n in (150_000, 170_000)] == [False, True]
