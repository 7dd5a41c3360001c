"""llmzip.blocks: what each kind of content is coded with, and short members."""

import random

import pytest
from damage import flips

import llmzip
from llmzip import blocks, cm, container, lz
from llmzip.errors import LlmzipError, TruncatedError
from llmzip.models.toy import ToyModel
from llmzip.stream import LmzCompressor, LmzDecompressor, ModelSource

MODEL = ToyModel()
TEXT = MODEL.speak(52)
NOISE = random.Random(0).randbytes(40000)
TABLE = b"".join(i.to_bytes(4, "little") for i in range(0, 30000, 7))
STEPS = bytes(range(0, 250, 5)) * 2
SAMPLES = b"".join(int(random.Random(i).gauss(1000, 9)).to_bytes(2, "little") for i in range(6000))
PIECES = b"".join(NOISE[at : at + 200] for at in random.Random(3).choices(range(0, 8000, 200), k=150))  # what lzma is made for


def prose(n_bytes: int, seed: int = 0) -> bytes:
    """What the toy model is good at, and nothing else."""
    return MODEL.speak(n_bytes, seed)


class Counting(ToyModel):
    """How many bytes the model has been asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.n_bytes = 0
        encode = self.tokenizer.encode

        def counting(data: bytes):
            self.n_bytes += len(data)
            return encode(data)

        self.tokenizer.encode = counting  # type: ignore[method-assign]


def kinds(data: bytes, **options: int) -> list[str]:
    made = llmzip.compress(data, MODEL, **options)
    assert llmzip.decompress(made, MODEL) == data
    return ["+".join([block.kind, *block.transforms]) for block in llmzip.get_info(made).blocks]


def test_each_kind_of_content() -> None:
    assert kinds(prose(6000)) == ["model"]
    assert kinds(TABLE) == kinds(PIECES) == ["lzma"]
    assert kinds(SAMPLES) == ["cm"]
    assert kinds(NOISE) == ["stored"]
    assert kinds(b"a" * 100000) == ["stored+repeats"]
    assert kinds(bytes(random.Random(1).choices(b"0123456789abcdef", k=9000))) == ["stored+pack"]
    page = prose(4500)
    assert kinds(page * 3) == ["model+repeats"]
    text = prose(5000).replace(b"  ", b" \r\n")
    assert kinds(text) == ["model+crlf"]
    assert kinds(b"\xef\xbb\xbf" + text) == ["model+bom+crlf"]
    assert kinds(b"\xef\xbb\xbf" + prose(5000)) == ["model"]
    assert kinds(text.decode().encode("utf-16")) == ["model+utf-16-le+bom+crlf"]


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


def test_mixed_content() -> None:
    data = prose(10240) + NOISE[:20480] + prose(10240, 1)
    assert kinds(data) == ["model", "stored", "model"]
    assert kinds(data, block_size=5120) == ["model"] * 2 + ["stored"] + ["model"] * 2


def test_one_block_where_it_is_smaller_than_parts() -> None:
    listing = bytes(random.Random(2).choices(b"  eeetttaoinshrd", k=10240))
    assert kinds(listing + listing.replace(b" ", b"\1\2")) == ["cm"]


def test_pieces_do_not_matter() -> None:
    data = prose(3000) + NOISE[:20000] + prose(10000, 1) + NOISE
    whole = llmzip.compress(data, MODEL, block_size=4096)
    for size in (1000, 4097):
        compressor = LmzCompressor(MODEL, block_size=4096)
        made = b"".join(compressor.compress(data[at : at + size]) for at in range(0, len(data), size))
        assert made + compressor.flush() == whole


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


def test_report() -> None:
    lines: list[str] = []
    compressor = LmzCompressor(MODEL, report=lines.append)
    compressor.compress(prose(10240) + NOISE)
    compressor.flush()
    assert [line.partition(",")[0] for line in lines] == ["10240 bytes from 0: model", "40000 bytes from 10240: stored"]
    assert all("bytes" in line and "lzma" in line for line in lines)


# Short members


def short(data: bytes) -> bytes:
    made = llmzip.compress(data, MODEL)
    assert made[0] == 0xFC and made[1] in container.SHORT_FORMS
    assert llmzip.decompress(made, MODEL) == data
    return made


def test_overhead_of_short_messages() -> None:
    from llmzip import codec

    for n_bytes in (20, 60, 127):
        message = prose(n_bytes)
        assert len(short(message)) == len(codec.compress_block(MODEL, message).payload) + 12
    assert len(short(NOISE[:100])) == 107
    assert len(short(b"")) == 7
    assert len(short(STEPS)) == len(lz.create_payload(STEPS)) + 8
    assert len(short(b"\x01\x80" * 900)) == len(cm.create_payload(b"\x01\x80" * 900)) + 9


def test_long_content_is_not_short() -> None:
    assert llmzip.compress(NOISE[:4096], MODEL)[1] == 0x3C
    assert llmzip.compress(NOISE[:4097], MODEL)[1] == 0x4C


DAMAGED = {
    "short empty": b"",
    "short model": TEXT,
    "short stored": NOISE[:30],
    "short cm": b"\x01\x80" * 90,
    "cm": b"\x01\x80" * 2100,
    "short lzma": STEPS,
    "lzma": TABLE[:4800],
    "repeats": b"a" * 6000,
    "pack": bytes(random.Random(1).choices(b"01", k=4200))[:4200],
    "line ends": b"line\r\n" * 20 + b"lone\n" + b"a" * 5800,
    "two blocks": b"a" * 12000,
}


@pytest.mark.parametrize("name", DAMAGED)
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


def test_short_members_among_others(tmp_path) -> None:
    parts = [TEXT, b"", prose(9000), NOISE[:10], TEXT[:20]]
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


def test_plain_is_carried_through() -> None:
    block = container.Block(container.MODEL, 100, b"payload", bytes(8), plain=True)
    made = container.create_block(block, last=True)
    header = container.parse_header(made, "block 1")
    assert header.plain
    assert container.parse_block(made, header, "block 1") == block
    member = container.create_short(block, bytes(100), b"1234")
    assert member is not None and member[1] == 0x2D
    preamble = container.parse_preamble(member)
    assert container.Member(preamble).parse_header(member[len(preamble.raw) :]).plain


def test_describe() -> None:
    block = container.Block(container.LZMA, 9, b"", b"", mask=container.CRLF | container.UTF16LE, n_body=3)
    assert blocks.describe(block) == "lzma+utf-16-le+crlf"
