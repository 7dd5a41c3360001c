"""llmzip.openings: what is found, what is put back, and nothing but FormatError from any damage."""

import base64
import io
import random
import struct
import zlib
from collections import Counter
from collections.abc import Iterator

import pytest
from compositions import compose
from hypothesis import given, settings
from hypothesis import strategies as st
from opened import book, drawing, gzipped, kinds, mail, open_content, pdf, png, prose, zipped
from tiers import mostly_long

import llmzip
from llmzip import cuts, openings, transforms, trials
from llmzip.errors import FormatError, LlmzipError
from llmzip.models.toy import ToyModel
from llmzip.openings import finding
from llmzip.openings.numbers import Numbers
from llmzip.openings.views import MAX_DEPTH
from llmzip.stream import LmzCompressor

MODEL = ToyModel()
KINDS = kinds()
OFTEN = ("gzip, two members", "zip from a pipe", "base64 in mail")
MOST = 1 << 22


def opened(content: bytes, **options: object) -> openings.Opening:
    opening = open_content(content, max_body=MOST, **options)  # type: ignore[arg-type]
    assert opening is not None
    assert openings.close_content(opening.body, opening.side, len(content)).content == content
    return opening


def compressed(content: bytes, pieces: int | None = None, **options: object) -> tuple[bytes, list[str]]:
    """The file, and what was said of its blocks; given in pieces of so many bytes."""
    said: list[str] = []
    compressor = LmzCompressor(MODEL, report=said.append, threads=1, **options)  # type: ignore[arg-type]
    step = pieces or len(content) or 1
    made = b"".join(compressor.compress(content[at : at + step]) for at in range(0, len(content), step))
    return made + compressor.flush(), said


# Numbers


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, (1 << 32) - 2)), max_size=40),
    st.lists(st.binary(max_size=9), max_size=40),
)
def test_numbers_round_trip(values: list[tuple[str, int]], recipes: list[bytes]) -> None:
    writer = Numbers()
    for name, value in values:
        writer.number(name, value)
    for recipe in recipes:
        writer.recipe(recipe)
    reader = Numbers(writer.finish())
    assert [(name, reader.number(name)) for name, _ in values] == values
    assert [reader.recipe() for _ in recipes] == recipes
    reader.check_end()


def test_what_repeats_costs_next_to_nothing() -> None:
    writer = Numbers()
    for _ in range(1000):
        writer.number("kind", 3)
        writer.recipe(b"recipe")
    assert len(writer.finish()) < 100


# Each kind


@pytest.mark.parametrize("name", KINDS)
def test_each_kind_is_found_and_put_back(name: str) -> None:
    content = KINDS[name]
    opening = opened(content)
    assert opening.found[0].name == name.replace(",", "").split()[0]
    if not any(word in name for word in ("png", "page", "notebook")):
        assert b"literal" in opening.body and b"literal" not in content
    assert len(opening.side) < 80


def test_a_book_of_many_entries_costs_little() -> None:
    opening = opened(book(40))
    assert {kind.name: kind.n_streams for kind in opening.found} == {"zip": 40, "directory": 1}
    assert len(opening.side) < 130
    assert b"chapter07" in opening.body
    assert opening.body.count(b"chapter07") == 1  # the directory repeats what local headers say


def test_depth_is_bounded() -> None:
    content = prose(3000)
    for _ in range(MAX_DEPTH + 3):
        content = gzipped(b"some text before " + content)
    opening = opened(content)
    assert sum(kind.n_streams for kind in opening.found) == MAX_DEPTH + 1


def test_what_is_inside_is_opened_too() -> None:
    opening = opened(KINDS["gzip of a mail with a book"])
    assert {kind.name: kind.n_streams for kind in opening.found} == {"gzip": 1, "base64": 2, "zip": 24, "directory": 2}


@pytest.mark.parametrize("content", [b"", b"text", prose(5000), bytes(9000), random.Random(0).randbytes(50000)])
def test_what_has_nothing_to_open(content: bytes) -> None:
    assert open_content(content, max_body=MOST) is None


@pytest.mark.parametrize("letters", [b"ACGT", b"0123456789abcdef", b"ACDEFGHIKLMNPQRSTVWY"])
def test_lines_of_few_letters_are_no_base64(letters: bytes) -> None:
    chance = random.Random(1)
    content = b"".join(bytes(chance.choices(letters, k=60)) + b"\n" for _ in range(100))
    assert open_content(content, max_body=MOST) is None


def test_a_full_last_line_of_base64_and_text_after_it() -> None:
    for n in (57 * 30, 57 * 30 - 1, 57 * 30 + 1):
        content = mail(prose(n)).replace(b"\r\n\r\n--boundary--", b"\r\nboundary")
        assert opened(content).found[0].name == "base64"


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\\n", b"\\r\\n"])
@pytest.mark.parametrize("n", range(300, 420, 7))
def test_a_last_line_that_is_padded_is_no_first_one(n: int, end: bytes) -> None:
    """Of what is not worth opening as a whole, as of a key or a certificate."""
    key = base64.encodebytes(random.Random(n).randbytes(n)).replace(b"\n", end)
    assert open_content(b"-----BEGIN KEY-----" + end + key + b"-----END KEY-----" + end, max_body=MOST) is None


def test_what_only_looks_like_base64_is_not_tried_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines of both alphabets: no text of several is one, from whichever of them it is read."""
    chance = random.Random(1)
    content = b"".join(
        encode(chance.randbytes(48)) + b"\n"
        for encode in (base64.b64encode, base64.urlsafe_b64encode)
        for _ in range(500)
    )
    search = openings.Search(MOST, MOST, lambda plain, n_closed, row: True)
    monkeypatch.setattr(finding, "MAX_LOST_BASE64", 1 << 18)
    assert not list(search.nodes(content)) and 1 << 18 < search.n_lost_base64 < (1 << 18) + 2 * len(content)


def test_headers_that_lead_nowhere_are_not_tried_for_ever() -> None:
    """Each begins a stored block that leads to the same wrong one."""
    size, head = 60000, b"\x1f\x8b\x08\0\0\0\0\0\0\3\0"
    content = bytearray(b"x" * size + b"\xff" * 100)
    for at in range(0, size - 100, 40):
        left = size - at - len(head) - 4
        content[at : at + len(head) + 4] = head + struct.pack("<HH", left, left ^ 0xFFFF)
    search = openings.Search(MOST, MOST, lambda plain, n_closed, row: True)
    assert not list(search.nodes(bytes(content))) and search.n_lost["gzip"] == finding.MAX_MARKED


@pytest.mark.parametrize("start", range(0, 1000, 100))
def test_compositions(start: int) -> None:
    """Whatever stands beside what, torn or whole: it stays closed, or leads back."""
    for seed in range(start, start + 100):
        if open_content(content := compose(seed, 8000), max_body=MOST) is not None:
            opened(content)


# What is not as it should be


@pytest.mark.parametrize("name", mostly_long(KINDS, OFTEN))
def test_cut_anywhere(name: str) -> None:
    """From either end: what is left is closed, or leads back."""
    content = KINDS[name]
    for at in range(1, len(content), max(1, len(content) // 25)):
        for part in (content[:at], content[at:]):
            if open_content(part, max_body=MOST) is not None:
                opened(part)


@pytest.mark.parametrize("name", mostly_long(KINDS, OFTEN))
def test_damaged_anywhere(name: str) -> None:
    chance = random.Random(name)
    for _ in range(25):
        damaged = bytearray(KINDS[name])
        for _ in range(chance.choice([1, 1, 3])):
            damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
        if open_content(bytes(damaged), max_body=MOST) is not None:
            opened(bytes(damaged))


def test_an_encrypted_archive_stays_closed() -> None:
    plain = zipped([("secret.txt", prose(5000))])
    noise = random.Random(2).randbytes(len(plain))
    start = 30 + len("secret.txt")
    content = plain[:6] + b"\1\0" + plain[8:start] + noise[: len(plain) - start - 100] + plain[-100:]
    assert open_content(content, max_body=MOST) is None


@pytest.mark.long
def test_headers_with_nothing_behind_them() -> None:
    chance = random.Random(3)
    marks = [b"\x1f\x8b\x08\x00", b"PK\x03\x04\x14\x00\x00\x00\x08\x00", b"IDAT", b"stream\r\n\x78\x9c", b"\x78\xda"]
    marks += [b"PK\x01\x02", b"\x1f\x8b\x08\x1f"]
    content = b"".join(chance.choice(marks) + chance.randbytes(chance.randrange(60)) for _ in range(2000))
    made, _ = compressed(content)
    closed, _ = compressed(content, opens=False)
    assert made == closed
    assert llmzip.decompress(made, MODEL) == content


def test_a_picture_of_noise_stays_closed() -> None:
    content = png(random.Random(4).randbytes(40000), 200)
    assert open_content(content, max_body=MOST, judge=trials.is_worth_opening) is None


def test_forged() -> None:
    """Side information and body changed: FormatError, or no more bytes than the content has."""
    outcomes = Counter(outcome for name, content in KINDS.items() for outcome in forged(name, content))
    assert outcomes["error"] and outcomes["content"], outcomes


def forged(name: str, content: bytes) -> Iterator[str]:
    """What comes of each."""
    opening, chance = opened(content), random.Random(name)
    for _ in range(150):
        side, body = bytearray(opening.side), opening.body
        for _ in range(chance.choice([1, 1, 2, 5])):
            side[chance.randrange(len(side))] = chance.randrange(256)
        if chance.random() < 0.3:
            side = side[: chance.randrange(len(side))] + chance.randbytes(chance.randrange(9))
        if chance.random() < 0.3:
            at = chance.randrange(len(body))
            body = body[:at] + chance.randbytes(chance.randrange(5)) + body[at + chance.randrange(5) :]
        try:
            assert len(openings.close_content(body, bytes(side), len(content)).content) <= len(content)
            yield "content"
        except FormatError:
            yield "error"


def test_any_side() -> None:
    outcomes = Counter[str]()

    @settings(derandomize=True)
    @given(st.binary(max_size=60), st.binary(max_size=80))
    def close_any(body: bytes, side: bytes) -> None:
        try:
            assert len(openings.close_content(body, side, 100).content) <= 100
            outcomes["closed"] += 1
        except FormatError:
            outcomes["refused"] += 1
        try:
            openings.list_side(side)
            outcomes["listed"] += 1
        except FormatError:
            outcomes["not listed"] += 1

    close_any()
    assert outcomes.keys() >= {"refused", "not listed"}, outcomes


def test_more_nodes_than_there_may_be() -> None:
    numbers = Numbers()
    numbers.number("window", 0)
    numbers.number("nodes", 1 << 20)
    with pytest.raises(FormatError, match="nodes"):
        openings.close_content(bytes(1 << 20), numbers.finish(), 1 << 20)


# In files


@pytest.mark.parametrize("name", mostly_long(KINDS, OFTEN))
def test_files(name: str) -> None:
    content = KINDS[name]
    made, said = compressed(content)
    assert "opened" in said[0] and "+open" in said[0]
    assert llmzip.decompress(made, MODEL) == content
    closed, said = compressed(content, opens=False)
    assert "open" not in said[0]
    assert len(made) < len(closed) * 0.9
    (block,) = llmzip.get_info(made).blocks
    assert block.transforms[0] == "open" and block.opened[0][0] == name.replace(",", "").split()[0]
    assert block.n_opened == len(opened(content).body)


@pytest.mark.long
def test_the_pieces_in_which_content_comes_do_not_matter() -> None:
    chance = random.Random(5)
    content = prose(3000) + book() + chance.randbytes(30000) + KINDS["gzip"] + mail(book(3)) + bytes(20000) + pdf(3)
    made, _ = compressed(content, block_size=1 << 14)
    for pieces in (701, 40000):
        assert compressed(content, pieces, block_size=1 << 14)[0] == made
    assert llmzip.decompress(made, MODEL) == content


@pytest.mark.parametrize("name", ["gzip", "pdf", "base64 in a page", "png", "font", "bzip2"])
def test_what_begins_at_the_end_of_what_is_searched(name: str) -> None:
    """Whether more of it has come or not."""
    size, content = 1 << 12, KINDS[name]
    before = prose(size)
    for start in (size - 3, size - 1):
        whole = before[:start] + content + prose(size, 1)
        made = [compressed(whole, pieces, block_size=size, share=0.0)[0] for pieces in (None, size + 1, size + 30)]
        assert made[0] == made[1] == made[2]


@pytest.fixture(scope="module")
def long_content() -> bytes:
    return b"before" + gzipped(prose(900_000, 6)) + b"after"


@pytest.fixture(scope="module")
def long_file(long_content: bytes) -> bytes:
    """A stream of several blocks: a piece in each, in groups of two."""
    made, said = compressed(long_content, block_size=1 << 18, group_size=1 << 19, share=0.0)
    assert len([line for line in said if "+open" in line]) >= 4
    assert "1 gzip" in said[0] and "1 raw" in said[1]
    return made


@pytest.mark.long
def test_a_stream_longer_than_a_block(long_file: bytes, long_content: bytes) -> None:
    assert llmzip.decompress(long_file, MODEL) == long_content
    assert [block.begins_group for block in llmzip.get_info(long_file).blocks][:4] == [True, False, True, False]


@pytest.mark.long
def test_random_access_to_a_long_stream(long_file: bytes, long_content: bytes) -> None:
    with llmzip.open(io.BytesIO(long_file), model=MODEL) as file:
        for at in (len(long_content) - 100, len(long_content) // 2, 10):
            file.seek(at)
            assert file.read(50) == long_content[at : at + 50]


@pytest.mark.long
def test_salvage_of_a_long_stream(long_file: bytes, long_content: bytes) -> None:
    """A damaged block loses its group, and no other."""
    blocks = llmzip.get_info(long_file).blocks
    at = len(long_file) // 10
    whole, damages = llmzip.salvage(long_file[:at] + bytes([long_file[at] ^ 1]) + long_file[at + 1 :], MODEL)
    lost = sum(block.n_bytes for block in blocks[:2])
    assert whole == long_content[lost:]
    assert damages


def test_bodies_are_bounded() -> None:
    """Of blocks, whatever is in them."""
    inner = zipped([(f"{i}.txt", prose(60000, i)) for i in range(12)])
    held = bytearray(gzipped(inner) + inner)
    cutter = cuts.Cutter(1 << 18, 1 << 20, opens=True)
    at = 0
    while at < len(held):
        found, _ = cutter.next(held, at, last=True)
        assert all(cut.n_body <= 3 << 20 for cut in found)
        at += sum(cut.n_bytes for cut in found)
    assert at == len(held)


@pytest.mark.long
def test_a_bomb_stays_closed() -> None:
    content = gzipped(bytes(100 << 20))
    made, _ = compressed(content)
    assert len(made) <= len(compressed(content, opens=False)[0]) + 16
    assert llmzip.decompress(made, MODEL) == content


def test_a_file_within_a_bomb() -> None:
    """What is around zeros is opened, and they are not."""
    content = zipped([("a.txt", prose(3000)), ("zeros", bytes(1 << 20)), ("b.txt", prose(3000, 1))])
    opening = open_content(content, max_body=MOST)
    assert opening is not None
    assert opening.found[0].n_streams == 2


@pytest.mark.parametrize("n_bytes", [0, 1, 100, 300, 1000])
def test_short_content(n_bytes: int) -> None:
    content = gzipped(prose(n_bytes))
    made, _ = compressed(content)
    assert llmzip.decompress(made, MODEL) == content
    assert len(made) <= len(compressed(content, opens=False)[0]) + 4


def test_the_first_transform_is_undone_last() -> None:
    """With others of its body."""
    content = gzipped(prose(4000).replace(b"\n", b"\r\n"))
    made, said = compressed(content)
    assert "+open+crlf" in said[0]
    assert llmzip.decompress(made, MODEL) == content
    with pytest.raises(FormatError):
        transforms.split_sides(b"")
    with pytest.raises(FormatError):
        transforms.split_sides(b"\5abc")


def test_damage_in_a_file() -> None:
    """Every byte of one, changed: never another content."""
    content = KINDS["zip"]
    made, _ = compressed(content, share=0.0)
    chance = random.Random(7)
    for _ in range(60):
        at = chance.randrange(len(made))
        with pytest.raises(LlmzipError):
            llmzip.decompress(made[:at] + bytes([made[at] ^ 1 << chance.randrange(8)]) + made[at + 1 :], MODEL)


@pytest.mark.long
def test_what_does_not_lead_back_stays_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the reason."""
    monkeypatch.setattr(openings, "close_content", lambda *_: openings.Closed(b"other", b""))
    content = KINDS["zip"]
    made, said = compressed(content)
    assert "open" not in said[0]
    assert llmzip.decompress(made, MODEL) == content


def test_zlib_is_not_asked_for_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Installed ones differ."""
    content = KINDS["pdf"]
    for name in ("compress", "decompress", "compressobj", "decompressobj"):
        monkeypatch.setattr(zlib, name, None)
    opened(content)


def test_drawings_are_judged() -> None:
    assert trials.is_worth_opening(drawing(), 4000)
    assert not trials.is_worth_opening(random.Random(8).randbytes(100000), 97000)
