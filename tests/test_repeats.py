"""llmzip.repeats: copies of what came before, in a block and in the blocks of its group."""

import io
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import llmzip
from llmzip import blocks, repeats, transforms
from llmzip.coding import Coding
from llmzip.container import CM, REPEATS, STORED
from llmzip.errors import ChecksumError, FormatError
from llmzip.models.toy import ToyModel
from llmzip.primitives import Side, create_varint
from llmzip.repeats import HASHED, MIN_COPY, Past

MODEL = ToyModel()
CODING = Coding(block_size=1 << 14, line_bits=14)


def noise(n_bytes: int, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(n_bytes)


def text(n_bytes: int, seed: int = 0) -> bytes:
    """No noise, and nothing in it comes twice."""
    return bytes(random.Random(seed).choices(b"etaoinshrdlu \n", k=n_bytes))


def there_and_back(parts: list[bytes], reach: int) -> list[int]:
    """Bytes that are left of each part."""
    writer, reader = Past(reach), Past(reach)
    left = []
    for part in parts:
        body, side = repeats.without(part, writer) or (part, create_varint(0))
        assert body or not part
        left.append(len(body))
        read = Side(side)
        assert repeats.put_back(body, read, len(part), reader) == part
        read.check_end()
        writer.add(part)
        reader.add(part)
    return left


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 9000), st.integers(0, 9000)), min_size=1, max_size=8),
    st.sampled_from([0, 3000, 9000, 1 << 26]),
)
def test_any_parts(cuts: list[tuple[int, int, int]], reach: int) -> None:
    sources = [noise(9000, seed) for seed in range(4)]
    parts = [sources[which][min(a, b) : max(a, b)] for which, a, b in cuts]
    there_and_back([*parts, b"".join(parts)], reach)


@given(st.integers(0, 1500), st.integers(MIN_COPY, 9000), st.integers(0, 1500), st.integers(0, 3000))
def test_a_stretch_of_an_earlier_part_is_found(before: int, length: int, after: int, far: int) -> None:
    page = noise(length)
    parts = [noise(before, 1) + page + noise(after, 2), noise(far, 3), page, page[1:] + noise(5, 4)]
    left = there_and_back(parts, 1 << 20)
    assert left[2] == 1 and (length == MIN_COPY or left[3] == 5)


def test_copies_reach_no_farther_than_they_may() -> None:
    page = noise(5000)
    assert there_and_back([page, noise(3000, 1), page], 8000)[2] == 1
    assert there_and_back([page, noise(3001 + HASHED, 1), page], 8000)[2] == 5000
    past = Past(8000)
    past.add(page * 2)
    one = create_varint(1) + create_varint(0) + create_varint(0)
    assert repeats.put_back(b"x", Side(one + create_varint(8000)), 300, past) == (page * 2)[-8000:][:256] + b"x"
    with pytest.raises(FormatError, match="a copy is from before what may be copied"):
        repeats.put_back(b"x", Side(one + create_varint(8001)), 300, past)
    with pytest.raises(FormatError, match="copies make more bytes than the block can have"):
        repeats.put_back(b"x", Side(one + create_varint(8000)), 256, past)


def test_a_copy_goes_on_from_the_past_into_itself() -> None:
    past = Past(100)
    past.add(b"abcd")
    side = create_varint(1) + create_varint(1) + create_varint(4) + create_varint(3)  # behind the first byte
    assert repeats.put_back(b"xyz", Side(side), 400, past) == b"x" + (b"cdx" * 87)[:260] + b"yz"


def test_text_keeps_its_short_repeats() -> None:
    """The predictor makes less of them than a copy takes."""
    page, gap = b" ".join(b"%d bottles" % i for i in range(500))[:6000], b" and again: "
    assert transforms.apply(page + gap + page, REPEATS)[0] == 0
    assert transforms.apply(page + gap + page + gap + page, REPEATS)[0] == REPEATS  # one of 12 012 bytes
    assert transforms.apply(noise(6000) + gap + noise(6000), REPEATS)[0] == REPEATS


def test_a_short_run_hides_no_long_one() -> None:
    """In the same part, or in one before."""
    zeros, short = bytes(200_000), noise(3000) + bytes(2000) + noise(3000, 1)
    assert there_and_back([short, zeros], 1 << 20)[1] < HASHED
    assert there_and_back([short + zeros], 1 << 20)[0] < len(short) + HASHED
    for length in (MIN_COPY, 10_000):
        _, side = repeats.without(noise(9000) + bytes(length) + noise(9, 1) + zeros) or (b"", bytes(99))
        assert len(side) < 20


def test_stretches_of_one_hash_that_are_not_the_same() -> None:
    """The sums of a Thue-Morse string and of its complement are equal for any factor that is odd."""
    signs = [0]
    while len(signs) < HASHED:
        signs += [1 - sign for sign in signs]
    one, other = bytes(0x41 + sign for sign in signs), bytes(0x42 - sign for sign in signs)
    rows = [np.frombuffer(each, np.uint8) for each in (one, other)]
    assert repeats._hashes(rows[0])[0] == repeats._hashes(rows[1])[0] and one != other
    rest = bytes(range(256)) * 16
    assert there_and_back([one + other + rest], 1 << 20) and there_and_back([one, other + rest], 1 << 20)


def test_hashes_of_the_past_are_those_of_all_places() -> None:
    data = noise(3 * HASHED + 7)
    past = Past(1 << 20)
    for at in range(0, len(data), 1000):
        past.add(data[at : at + 1000])
        hashes, places = past.hashes()
        assert places.tolist() == list(range(0, (len(past) // HASHED) * HASHED, HASHED))
    assert np.array_equal(hashes, repeats._hashes(np.frombuffer(data, np.uint8))[::HASHED])


def test_blocks_of_a_group_have_repeats_of_each_other() -> None:
    """Whatever is between them; of what is stored alone there are none, and what is stored needs none."""
    page, random_page = text(9000), noise(9000)
    contents = [page, noise(9000, 1), page, random_page, page + random_page, random_page]
    writer, reader = blocks.Memory(14), blocks.Memory(14)
    choices = [blocks.compress(MODEL, content, False, writer, CODING) for content in contents]
    kinds = [(choice.block.kind, bool(choice.block.mask & REPEATS)) for choice in choices]
    assert kinds == [(CM, False), (STORED, False), (CM, True), (STORED, False), (CM, True), (CM, True)]
    assert [choice.block.body_size for choice in choices[2:]] == [1, 9000, 9000, 1]
    for choice, content in zip(choices, contents, strict=True):
        assert blocks.decompress(choice.block, MODEL, reader) == content
    with pytest.raises((FormatError, ChecksumError)):
        blocks.decompress(choices[2].block, MODEL, blocks.Memory(14))


def test_stored_blocks_stand_alone() -> None:
    """One that is better stored, for it repeats itself, has no copies of what the group knows."""
    page, data = text(5000), noise(500_000) * 2
    memory = blocks.Memory(14)
    blocks.compress(MODEL, page, False, memory, CODING)
    assert memory.n_made == len(page)
    data = page + data
    choice = blocks.compress(MODEL, data, False, memory, CODING)
    assert choice.block.kind == STORED and choice.block.mask == REPEATS and not choice.spoils
    assert blocks.decompress(choice.block, None, blocks.Memory(10)) == data


def test_a_file_with_repeats_from_block_to_block() -> None:
    """Random access and streams; smaller than blocks that stand alone, and shorter to code."""
    page = text(1 << 14)
    data = page + text(1 << 14, 1) + page + text(100, 2) + page[:-100]
    made = llmzip.compress(data, MODEL, level=1, block_size=1 << 14)
    assert llmzip.decompress(made, MODEL) == data
    info = llmzip.get_info(made)
    assert [block.begins_group for block in info.blocks] == [True] + [False] * (len(info.blocks) - 1)
    assert len(made) < 1.05 * len(llmzip.compress(data[: 1 << 15], MODEL, level=1))
    with llmzip.open(io.BytesIO(made), "rb", model=MODEL) as file:
        file.seek(len(data) - 50)
        assert file.read() == data[-50:]
        file.seek(0)
        assert file.read(20) == data[:20]
