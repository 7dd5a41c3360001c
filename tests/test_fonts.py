"""llmzip.openings.fonts: what is enciphered in Type 1 fonts, and any bytes that only look like it."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opened import font, gzipped, open_content

import llmzip
from llmzip import openings
from llmzip.errors import FormatError
from llmzip.models.toy import ToyModel
from llmzip.openings import finding, fonts, views
from llmzip.openings.fonts import FONT, GLYPH_KEY, PROGRAM_KEY, deciphered, enciphered
from llmzip.openings.numbers import Numbers

PARTS = st.lists(
    st.binary(max_size=40)
    | st.sampled_from([b" 5 RD ", b" 0 -| ", b" 12 -| ", b" 99999 RD ", b" 123456 RD ", b"ND\n"]),
    max_size=12,
)


def test_the_cipher_is_that_of_the_book() -> None:
    """As a font in developers-reference.pdf of Debian 12 begins."""
    assert (
        deciphered(bytes.fromhex("d9d66f633b846ab284bcf8b0411b772de5ce3c"), PROGRAM_KEY)
        == bytes(4) + b"dup\n/Private 19"
    )
    assert enciphered(bytes(4), GLYPH_KEY).hex() == "10bf3170"


@given(PARTS, st.sampled_from([PROGRAM_KEY, GLYPH_KEY]))
def test_any_bytes_lead_back(parts: list[bytes], key: int) -> None:
    data = b"".join(parts)
    assert enciphered(deciphered(data, key), key) == deciphered(enciphered(data, key), key) == data
    assert fonts._with_glyphs(fonts._with_glyphs(data, enciphered), deciphered) == data
    plain = fonts._with_glyphs(deciphered(data, PROGRAM_KEY), deciphered)
    assert FONT.wrap(b"", plain, b"", ()) == data


def test_what_is_no_font_stays() -> None:
    start, whole = font().index(b"eexec\r") + 6, font()
    for content in (
        whole[: start + 500],  # it has no end
        whole[:start] + random.Random(0).randbytes(900),
        whole[:start] + whole[start:].hex().encode(),  # another way to write it
        whole[:start],
        b"currentfile eexec\n" * 500,
    ):
        assert open_content(content, max_body=1 << 20) is None


def test_fonts_that_have_no_end_are_not_tried_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    start = b"eexec\n" + enciphered(bytes(4) + b"dup /Private 8 dict dup begin " + b"x" * 99, PROGRAM_KEY)
    n_bytes: list[int] = []

    def noting(data: bytes, key: int) -> bytes:
        n_bytes.append(len(data))
        return deciphered(data, key)

    monkeypatch.setattr(fonts, "deciphered", noting)
    monkeypatch.setattr(finding, "MAX_FONTS", 1 << 15)
    assert not list(openings.Search(1 << 20, 1 << 20, lambda plain, n_closed, row: True).nodes(start * 1000))
    assert 1 << 15 <= sum(n for n in n_bytes if n > fonts.LOOKED_AT) <= 1 << 16


def test_a_font_is_deciphered_no_farther_than_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    content, n_bytes = font() * 30, 0

    def noting(data: bytes, key: int) -> bytes:
        nonlocal n_bytes
        n_bytes += len(data)
        return deciphered(data, key)

    monkeypatch.setattr(fonts, "deciphered", noting)
    assert len(list(openings.Search(1 << 20, 1 << 20, lambda plain, n_closed, row: True).nodes(content))) == 30
    assert n_bytes < 2.2 * len(content)


def test_more_fonts_than_a_block_may_have_are_in_several(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (views, finding, openings):
        monkeypatch.setattr(module, "MAX_FONTS", 4000)
    content = b"".join(font(seed=i) for i in range(8))
    made = llmzip.compress(content, ToyModel(), level=1, block_size=len(content) // 3)
    assert llmzip.decompress(made, ToyModel()) == content
    opened = [dict(block.opened).get("font", 0) for block in llmzip.get_info(made).blocks]
    assert sum(opened) == 8 and len(opened) > 2


def test_fonts_that_share_glyphs_are_opened_together() -> None:
    opening = open_content(gzipped(font(9)) + b"between" + font(9), max_body=1 << 20)
    assert opening is not None
    assert {kind.name: kind.n_streams for kind in opening.found} == {"gzip": 1, "font": 2}
    assert opening.body.count(b"/glyph8") == 2 and opening.body.count(b"closefile\n" + b"0" * 64) == 2


def test_a_block_has_so_many_bytes_of_fonts(monkeypatch: pytest.MonkeyPatch) -> None:
    content = font() * 3
    opening = open_content(content, max_body=1 << 20)
    assert opening is not None and opening.found[0].n_streams == 3
    n_bytes = opening.found[0].n_after
    monkeypatch.setattr(views, "MAX_FONTS", n_bytes)
    assert openings.close_content(opening.body, opening.side, len(content)).content == content
    monkeypatch.setattr(views, "MAX_FONTS", n_bytes - 1)
    with pytest.raises(FormatError, match="too many fonts"):
        openings.close_content(opening.body, opening.side, len(content))


def test_a_font_that_begins_with_nothing() -> None:
    numbers = Numbers()
    for name, value in (("window", 0), ("nodes", 1), (("kind", 0), views.KINDS.index(FONT))):
        numbers.number(name, value)
    numbers.number(("font", "marks"), 1)
    numbers.number((views.KINDS.index(FONT), "size"), 0)
    numbers.number((views.KINDS.index(FONT), "inside"), 0)
    with pytest.raises(FormatError):
        openings.close_content(b"eexec\rabc", numbers.finish(), 100)
