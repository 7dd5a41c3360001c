"""llmzip's own names: compress, decompress, get_info, and that importing them costs nothing."""

import io
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import llmzip
from llmzip.models.toy import ToyModel

MODEL = ToyModel()
TEXT = MODEL.speak(156)
ROOT = Path(__file__).parent.parent


@settings(max_examples=40, deadline=None)
@given(st.binary(max_size=80), st.binary(max_size=80))
def test_round_trip_of_members(first: bytes, second: bytes) -> None:
    assert llmzip.decompress(llmzip.compress(first, MODEL) + llmzip.compress(second, MODEL), MODEL) == first + second


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_kinds_of_bytes(kind: type) -> None:
    data = llmzip.compress(kind(TEXT), MODEL)
    assert llmzip.decompress(kind(data), MODEL) == TEXT
    assert llmzip.get_info(kind(data)).n_bytes == len(TEXT)


def test_text_is_not_bytes() -> None:
    for function in (llmzip.compress, llmzip.decompress):
        with pytest.raises(TypeError):
            function("text", MODEL)  # type: ignore[arg-type]


def test_ends() -> None:
    data = llmzip.compress(TEXT, MODEL)
    with pytest.raises(llmzip.TruncatedError, match="empty"):
        llmzip.decompress(b"", MODEL)
    with pytest.raises(llmzip.FormatError, match="after the end of member 1"):
        llmzip.decompress(data + b"\n", MODEL)
    with pytest.raises(llmzip.FormatError, match=r"not an \.lmz file"):
        llmzip.decompress(b"PK\3\4", MODEL)
    for n in range(len(data)):
        with pytest.raises(EOFError):
            llmzip.decompress(data[:n], MODEL)
        with pytest.raises(llmzip.LlmzipError):
            llmzip.get_info(data[:n])


def test_same_bytes_every_time() -> None:
    assert len({llmzip.compress(TEXT, ToyModel(), block_size=64) for _ in range(3)}) == 1


@pytest.mark.parametrize("block_size", [20, 64, 128, 1 << 26])
def test_info(block_size: int, tmp_path: Path) -> None:
    data = llmzip.compress(TEXT, MODEL, block_size=block_size)
    info = llmzip.get_info(data)
    assert (info.n_bytes, info.n_bytes_on_disk, len(info.members)) == (len(TEXT), len(data), 1)
    assert info.fingerprint == MODEL.fingerprint[:4].hex()
    assert info.engine_note is None
    assert sum(block.n_bytes for block in info.blocks) == len(TEXT)
    assert all(block.n_bytes_on_disk < len(data) for block in info.blocks)
    (tmp_path / "x.lmz").write_bytes(data)
    with open(tmp_path / "x.lmz", "rb") as file:
        assert (
            llmzip.get_info(tmp_path / "x.lmz")
            == llmzip.get_info(str(tmp_path / "x.lmz"))
            == llmzip.get_info(file)
            == info
        )


def test_info_of_parameters_and_members() -> None:
    data = llmzip.compress(b"") + llmzip.compress(TEXT, MODEL, lanes=2, window=16, overlap=4)
    info = llmzip.get_info(io.BytesIO(data))
    assert [member.fingerprint for member in info.members] == ["", MODEL.fingerprint[:4].hex()]
    empty, block = info.blocks
    assert (empty.kind, empty.n_bytes, empty.n_bytes_on_disk, empty.lanes, empty.window) == ("stored", 0, 5, 1, None)
    assert (block.member, block.kind, block.lanes, block.window, block.overlap) == (2, "model", 2, 16, 4)
    assert empty.begins_group and block.begins_group


def test_info_of_groups() -> None:
    data = llmzip.compress(TEXT, MODEL, block_size=30, group_size=90)
    assert [block.begins_group for block in llmzip.get_info(data).blocks] == [True, False, False, True, False, False]
    assert llmzip.decompress(data, MODEL) == TEXT
    one = llmzip.compress(TEXT, MODEL, block_size=30)
    assert [block.begins_group for block in llmzip.get_info(one).blocks] == [True] + [False] * 5
    assert len(one) < len(data) + 2 < len(llmzip.compress(TEXT, MODEL, block_size=30, group_size=30))


def test_info_of_an_engine_that_is_not_exact() -> None:
    class Inexact(ToyModel):
        exact = False
        engine_note = "engine=toy"

    for block_size in (64, 1 << 20):
        info = llmzip.get_info(llmzip.compress(TEXT, Inexact(), block_size=block_size))
        assert info.engine_note == "engine=toy"
        assert info.n_bytes == len(TEXT)


def test_public_names() -> None:
    assert llmzip.__all__ == sorted(llmzip.__all__)
    assert set(llmzip.__all__) <= set(dir(llmzip))
    for name in llmzip.__all__:
        assert getattr(llmzip, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        llmzip.nothing  # noqa: B018


def test_import_is_light() -> None:
    code = "import sys, llmzip; assert not {'numpy', 'torch', 'llmzip.api'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_the_version_is_written_once() -> None:
    written = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert llmzip.__version__ in (written, "0+unknown")  # unknown in a source tree that is not installed


def test_limits() -> None:
    data = llmzip.compress(TEXT, MODEL, block_size=64) + llmzip.compress(TEXT, MODEL)
    assert llmzip.decompress(data, MODEL, max_size=2 * len(TEXT)) == TEXT * 2
    for max_size in (0, len(TEXT), 2 * len(TEXT) - 1):
        with pytest.raises(llmzip.LimitExceeded, match=f"above the limit of {max_size}$") as caught:
            llmzip.decompress(data, MODEL, max_size=max_size)
        assert "max_size=" in caught.value.hint
    with pytest.raises(llmzip.LimitExceeded, match=r"^block 1 .*: decoding takes"):
        llmzip.decompress(data, MODEL, memory=10)
    with llmzip.open(io.BytesIO(data), "rb", model=MODEL, max_size=10) as file, pytest.raises(llmzip.LimitExceeded):
        file.read()
    assert llmzip.get_info(data).n_bytes == 2 * len(TEXT)


@pytest.mark.parametrize("group_size", [64, 128, 1 << 24])
def test_salvage(group_size: int) -> None:
    """What goes on from a damaged block is lost with it: the rest of its group, and no more."""
    data = llmzip.compress(TEXT, MODEL, block_size=32, group_size=group_size)
    damaged = bytearray(data)
    first, second, *_ = found = llmzip.get_info(data).blocks
    at = 7 + first.n_bytes_on_disk
    damaged[at + second.n_bytes_on_disk // 2] ^= 1
    content, damages = llmzip.salvage(damaged, MODEL)
    end = next((32 * i for i, block in enumerate(found) if i > 1 and block.begins_group), len(TEXT))
    assert content == TEXT[:32] + TEXT[end:]
    damage, *more = damages
    assert (damage.file_start, damage.file_end) == (at, at + second.n_bytes_on_disk)
    assert (damage.content_start, damage.content_end) == (32, 64)
    assert "(content bytes 32 to 63)" in str(damage.error)
    assert [each.content_start for each in more] == list(range(64, end, 32))
    assert all("goes on from a block that is damaged" in str(each.error) for each in more)
    with pytest.raises(llmzip.FormatError, match=r"block 2 \(content bytes"):
        llmzip.decompress(damaged, MODEL)
