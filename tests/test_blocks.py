"""llmzip.blocks: what each kind of content is coded with, and short members."""

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from damage import flips
from numpy.typing import NDArray
from tiers import mostly_long

import llmzip
from llmzip import blocks, container
from llmzip.coding import Coding
from llmzip.errors import FormatError, LlmzipError, TruncatedError
from llmzip.models.toy import ToyModel
from llmzip.stream import LmzCompressor, LmzDecompressor, ModelSource

MODEL = ToyModel()
TEXT = MODEL.speak(52)
NOISE = random.Random(0).randbytes(40000)
TABLE = b"".join(i.to_bytes(4, "little") for i in range(0, 14000, 7))
STEPS = bytes(range(0, 250, 5)) * 2
SAMPLES = b"".join(int(random.Random(i).gauss(1000, 9)).to_bytes(2, "little") for i in range(3000))
PIECES = b"".join(NOISE[at : at + 200] for at in random.Random(3).choices(range(0, 8000, 200), k=150))


def prose(n_bytes: int, seed: int = 0) -> bytes:
    """What the toy model is good at, and nothing else."""
    return MODEL.speak(n_bytes, seed)


class Counting(ToyModel):
    """How many bytes the model has been asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.n_bytes = 0
        encode = self.tokenizer.encode

        def counting(data: bytes) -> NDArray[np.int32]:
            self.n_bytes += len(data)
            return encode(data)

        self.tokenizer.encode = counting  # type: ignore[method-assign]


def kinds(data: bytes, *, block_size: int | None = None) -> list[str]:
    made = llmzip.compress(data, MODEL, block_size=block_size)
    assert llmzip.decompress(made, MODEL) == data
    return ["+".join([block.kind, *block.transforms]) for block in llmzip.get_info(made).blocks]


@pytest.mark.long
def test_each_kind_of_content() -> None:
    assert kinds(prose(1500)) == ["model"]
    assert kinds(TABLE) == kinds(PIECES) == kinds(SAMPLES) == ["cm"]
    assert kinds(NOISE) == ["stored"]
    assert kinds(b"a" * 100000) == ["stored+repeats"]
    assert kinds(bytes(random.Random(1).choices(b"0123456789abcdef", k=9000))) == ["stored+pack"]
    page = prose(4200)
    assert kinds(page * 3) == ["model+repeats"]
    text = prose(1500).replace(b"  ", b" \r\n")
    assert kinds(text) == ["model+crlf"]
    assert kinds(b"\xef\xbb\xbf" + text) == ["model+bom+crlf"]
    assert kinds(b"\xef\xbb\xbf" + prose(1500)) == ["model"]
    assert kinds(text.decode().encode("utf-16")) == ["model+utf-16-le+bom+crlf"]


@pytest.mark.long
def test_binary_content_never_meets_the_model() -> None:
    for data in (NOISE, TABLE * 3, PIECES, SAMPLES):
        model = Counting()
        llmzip.compress(data, model)
        assert model.n_bytes == 0


def test_noise_grows_by_24_bytes_at_most() -> None:
    for n_bytes in (0, 1, 100, 4096, 4097, 16383):
        assert len(llmzip.compress(NOISE[:n_bytes], MODEL)) <= n_bytes + 24
    assert len(llmzip.compress(NOISE * 2, MODEL, block_size=1 << 20)) < len(NOISE) * 1.1
    assert len(llmzip.compress(random.Random(5).randbytes(3 << 20), MODEL)) <= (3 << 20) + 24


@pytest.mark.long
def test_mixed_content() -> None:
    data = prose(10240) + NOISE[:20480] + prose(10240, 1)
    assert kinds(data) == ["model", "stored", "model"]
    assert kinds(data, block_size=5120) == ["model"] * 2 + ["stored"] + ["model"] * 2


@pytest.mark.long
def test_text_that_the_model_does_not_know_is_not_its() -> None:
    """Told by a sample, of what is long enough for one; below, the model nearly always earns its time."""
    listing = bytes(random.Random(2).choices(b"  eeetttaoinshrd", k=10240))
    assert kinds(listing) == ["cm"]
    assert kinds(listing[:8191]) == ["model"]
    assert kinds(prose(10240)) == ["model"]


@pytest.mark.long
def test_the_share_that_the_model_must_make() -> None:
    made = {share: LmzCompressor(MODEL, share=share) for share in (0.0, 0.2, 1.0)}
    blocks_of = {
        share: llmzip.get_info(each.compress(prose(10240)) + each.flush()).blocks for share, each in made.items()
    }
    assert {share: found[0].kind for share, found in blocks_of.items()} == {0.0: "cm", 0.2: "cm", 1.0: "model"}
    short = LmzCompressor(MODEL, share=0.0)  # as good as none: it is never asked
    assert llmzip.get_info(short.compress(prose(500)) + short.flush()).blocks[0].kind == "cm"


@pytest.mark.long
def test_pieces_do_not_matter() -> None:
    data = prose(3000) + NOISE[:20000] + prose(10000, 1) + NOISE
    whole = llmzip.compress(data, MODEL, block_size=4096)
    for size in (1000, 4097):
        compressor = LmzCompressor(MODEL, block_size=4096)
        made = b"".join(compressor.compress(data[at : at + size]) for at in range(0, len(data), size))
        assert made + compressor.flush() == whole


@pytest.mark.long
def test_progress_does_not_go_back() -> None:
    told: list[tuple[int, int]] = []
    data = prose(10000) + NOISE + prose(5000, 1) * 2
    compressor = LmzCompressor(MODEL, block_size=1 << 14, progress=lambda n_in, n_out: told.append((n_in, n_out)))
    made = compressor.compress(data) + compressor.flush()
    assert told == sorted(told)
    assert told[-1] == (len(data), len(made))
    told.clear()
    LmzDecompressor(MODEL, progress=lambda n_in, n_out: told.append((n_in, n_out))).decompress(made)
    assert told == sorted(told)
    assert told[-1] == (len(made), len(data))


@pytest.mark.long
def test_progress_tells_the_size_before_the_first_block_ends() -> None:
    """Of the content that is coded, what it came to: near what the whole comes to, as it is all alike."""
    told: list[tuple[int, int]] = []
    made = llmzip.compress(data := prose(30000), MODEL, progress=lambda n_in, n_out: told.append((n_in, n_out)))
    half = next((n_in, n_out) for n_in, n_out in told if n_in > len(data) // 2)
    assert 0.4 * len(made) < half[1] < 0.7 * len(made) and told == sorted(told) and told[-1] == (len(data), len(made))


@pytest.mark.long
def test_report() -> None:
    lines: list[str] = []
    compressor = LmzCompressor(MODEL, report=lines.append)
    compressor.compress(prose(10240) + NOISE)
    compressor.flush()
    assert [line.partition(",")[0] for line in lines] == ["10240 bytes from 0: model", "40000 bytes from 10240: stored"]
    assert "the model makes a sample 0." in lines[0] and lines[1].endswith("looks random")


# Groups


CODING = Coding()


def alone(data: bytes, *, is_text: bool) -> container.Block:
    """The block of a group of its own."""
    return put(blocks.Memory(container.line_bits_of(len(data))), data, is_text=is_text).block


def put(memory: blocks.Memory, data: bytes, *, is_text: bool) -> blocks.Choice:
    return blocks.compress(MODEL, data, is_text, memory, CODING)


def test_blocks_go_on_from_each_other() -> None:
    """Of any kind, with and without the model: what one has taught, all know."""
    page = prose(2000)
    writer, reader = blocks.Memory(14), blocks.Memory(14)
    contents = [
        (page, True),
        (SAMPLES[:2000], False),
        (NOISE[:9000], False),
        (page + b"!", True),
        (SAMPLES[:1999], False),
    ]
    choices = [put(writer, content, is_text=is_text) for content, is_text in contents]
    kinds_of = [container.KIND_NAMES[choice.block.kind] for choice in choices]
    assert kinds_of == ["model", "cm", "stored", "model", "cm"]
    sizes = [len(choice.block.payload) for choice in choices]
    assert sizes[3] < sizes[0] / 8 and sizes[4] < sizes[1] / 8
    assert not any(choice.spoils for choice in choices)
    for choice, (content, _) in zip(choices, contents, strict=True):
        assert blocks.decompress(choice.block, MODEL, reader) == content


def test_a_block_that_was_coded_and_not_taken_spoils_the_memory() -> None:
    """No reader learns what is in it. One that was never coded does not."""
    hexadecimal = bytes(random.Random(1).choices(b"0123456789abcdef", k=9000))
    choice = put(blocks.Memory(14), hexadecimal, is_text=True)
    assert blocks.describe(choice.block, 9).startswith("stored+pack, ") and choice.spoils
    assert not put(blocks.Memory(14), NOISE, is_text=False).spoils


def test_what_follows_a_spoiled_memory_begins_a_group() -> None:
    hexadecimal = bytes(random.Random(1).choices(b"0123456789abcdef", k=4096))
    data = prose(4096) + hexadecimal + prose(4096, 1) * 2
    made = llmzip.compress(data, MODEL, block_size=4096)
    assert llmzip.decompress(made, MODEL) == data
    found = [(block.kind, block.begins_group) for block in llmzip.get_info(made).blocks]
    assert found == [("model", True), ("stored", False), ("model", True), ("model", False)]


def test_a_memory_that_has_lost_a_block() -> None:
    """What goes on from it is refused; what is stored needs no memory."""
    memory = blocks.Memory(14)
    first, second = (put(memory, content, is_text=True).block for content in (prose(300), prose(300, 1)))
    reader = blocks.Memory(14)
    assert blocks.decompress(first, MODEL, reader) == prose(300)
    reader.spoil()
    with pytest.raises(FormatError, match="it goes on from a block that is damaged"):
        blocks.decompress(second, MODEL, reader)
    assert blocks.decompress(container.stored_block(b"hello"), None, reader) == b"hello"


def test_a_group_has_a_greatest_size() -> None:
    memory = blocks.Memory(10)
    for _ in range(4):
        memory.take(container.MAX_GROUP_SIZE // 4)
    with pytest.raises(FormatError, match="a group have more than 268435456 bytes"):
        memory.take(1)


def test_a_memory_costs_nothing_before_it_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llmzip.predictor.Predictor", pytest.fail)
    memory = blocks.Memory(24)
    assert blocks.decompress(container.stored_block(b"hello"), None, memory) == b"hello"


# Short members


def short(data: bytes) -> bytes:
    made = llmzip.compress(data, MODEL)
    assert made[0] == 0xFC and made[1] in container.SHORT_FORMS
    assert llmzip.decompress(made, MODEL) == data
    return made


def test_overhead_of_short_messages() -> None:
    for n_bytes in (20, 60, 127):
        message = prose(n_bytes)
        assert len(short(message)) == len(alone(message, is_text=True).payload) + 12
    assert len(short(NOISE[:100])) == 107
    assert len(short(b"")) == 7
    assert len(short(STEPS)) == len(alone(STEPS, is_text=False).payload) + 8
    assert len(short(b"\x01\x80" * 900)) == len(alone(b"\x01\x80" * 900, is_text=False).payload) + 9


def test_long_content_is_not_short() -> None:
    assert llmzip.compress(NOISE[:4096], MODEL)[1] == 0x3C
    assert llmzip.compress(NOISE[:4097], MODEL)[1] == 0x4C


DAMAGED = {
    "short empty": b"",
    "short model": TEXT,
    "short stored": NOISE[:30],
    "short cm": b"\x01\x80" * 90,
    "cm": b"\x01\x80" * 2100,
    "records": TABLE[:4800],
    "repeats": b"a" * 6000,
    "pack": bytes(random.Random(1).choices(b"01", k=4200))[:4200],
    "line ends": b"line\r\n" * 20 + b"lone\n" + b"a" * 5800,
    "two blocks": b"a" * 12000,
}


OFTEN = ("short empty", "short model", "pack", "two blocks")


@pytest.mark.parametrize("name", mostly_long(DAMAGED, OFTEN))
def test_every_flip_and_cut(name: str) -> None:
    data = DAMAGED[name]
    made = short(data) if len(data) <= 4096 else llmzip.compress(data, MODEL, block_size=6000)
    assert len(made) < 600  # few enough to spoil each bit
    source = ModelSource(MODEL)
    for flipped in flips(made):
        decompressor = LmzDecompressor(source)
        with pytest.raises(LlmzipError):
            decompressor.decompress(flipped)
            decompressor.check_eof()
    for n in range(len(made)):
        decompressor = LmzDecompressor(source)
        assert data.startswith(decompressor.decompress(made[:n]))
        with pytest.raises(TruncatedError):
            decompressor.check_eof()
        with pytest.raises(LlmzipError):
            llmzip.get_info(made[:n])


@pytest.mark.long
def test_short_members_among_others(tmp_path: Path) -> None:
    parts = [TEXT, b"", prose(4200), NOISE[:10], TEXT[:20]]
    path = tmp_path / "a.lmz"
    path.write_bytes(b"".join(llmzip.compress(part, MODEL, block_size=4096) for part in parts))
    whole = b"".join(parts)
    with llmzip.open(path, model=MODEL) as file:
        assert file.read() == whole
        file.seek(-25, 2)
        assert file.read() == whole[-25:]
        file.seek(10)
        assert file.read(100) == whole[10:110]
    info = llmzip.get_info(path)
    assert (info.n_bytes, info.n_bytes_on_disk, len(info.members)) == (len(whole), path.stat().st_size, 5)
    assert [member.fingerprint for member in info.members[:2]] == [MODEL.fingerprint[:4].hex(), ""]


def test_describe() -> None:
    block = container.Block(container.CM, 9, b"", b"", mask=container.CRLF | container.UTF16LE, n_body=3)
    assert blocks.describe(block, 5) == f"cm+utf-16-le+crlf, 5 bytes, {40 / block.n_bytes:.2f} bits/byte"
    assert blocks.describe(replace(block, kind=container.MODEL, mask=0, lanes=3), 5).startswith("model, 3 lanes, 5 b")
