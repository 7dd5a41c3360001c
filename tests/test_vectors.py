"""Every file of tests/vectors, read by every reader.

The bytes are built here without `llmzip.container`, so that the two can disagree.
"""

import binascii
import hashlib
import io
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tiers import mostly_long

import llmzip
from llmzip import errors, native
from llmzip.models.toy import ToyModel

VECTORS = sorted(Path(__file__).with_name("vectors").glob("*.json"))
GOOD = [path for path in VECTORS if path.name.startswith("good-")]


def varint(value: int) -> bytes:
    low, rest = value & 0x7F, value >> 7
    return bytes([low | 0x80]) + varint(rest) if rest else bytes([low])


def build(steps: list[str]) -> bytes:
    data = b""
    marks: dict[str, int] = {}

    def span(names: str) -> bytes:
        start, _, end = names.partition(" ")
        return data[marks[start] : marks[end] if end else len(data)]

    def repeat(argument: str) -> bytes:
        pattern, n = argument.split()
        return bytes.fromhex(pattern) * int(n)

    def hash32(name: str, content: str) -> bytes:
        return hashlib.sha256(span(name) + content.encode()).digest()[:4]

    makers: dict[str, Callable[[str], bytes]] = {
        "hex": bytes.fromhex,
        "text": str.encode,
        "varint": lambda argument: varint(int(argument)),
        "repeat": repeat,
        "crc16": lambda names: struct.pack("<H", binascii.crc_hqx(span(names), 0xFFFF)),
        "crc32": lambda names: struct.pack("<I", binascii.crc32(span(names))),
        "hash64": lambda names: hashlib.sha256(span(names)).digest()[:8],
        "hash64text": lambda text: hashlib.sha256(text.encode()).digest()[:8],
        "hash32": lambda argument: hash32(*argument.partition(" ")[::2]),
        "size": lambda names: struct.pack("<I", len(span(names))),
    }
    for step in steps:
        name, _, argument = step.partition(" ")
        if name == "mark":
            marks[argument] = len(data)
        else:
            data += makers[name](argument)
    return data


def model_for(vector: dict[str, Any]) -> ToyModel | None:
    """The search for a model by its fingerprint is the registry's, so most vectors get the toy model given."""
    return ToyModel() if vector.get("error") != "ModelNotFound" else None


def read_at_once(data: bytes, model: ToyModel | None) -> bytes:
    return llmzip.decompress(data, model)


def read_bytewise(data: bytes, model: ToyModel | None) -> bytes:
    """One byte at a time, as from the slowest pipe."""
    with llmzip.LmzFile(Pipe(data), model=model) as file:
        return file.read()


def read_backwards(data: bytes, model: ToyModel | None) -> bytes:
    """By random access, the last half first."""
    with llmzip.LmzFile(io.BytesIO(data), model=model) as file:
        n_bytes = file.seek(0, io.SEEK_END)
        file.seek(n_bytes // 2)
        tail = file.read()
        file.seek(0)
        return file.read(n_bytes // 2) + tail


class Pipe:
    def __init__(self, data: bytes) -> None:
        self._rest = io.BytesIO(data)

    def read(self, n: int = -1) -> bytes:
        return self._rest.read(min(n, 1))


def test_vectors_are_there() -> None:
    assert len(VECTORS) > 100


@pytest.mark.parametrize("reader", [read_at_once, read_bytewise, read_backwards])
@pytest.mark.parametrize("path", GOOD, ids=lambda path: path.stem)
def test_good(path: Path, reader: Any) -> None:
    vector = json.loads(path.read_text(encoding="utf-8"))
    data = build(vector["build"])
    assert reader(data, ToyModel()).decode() == vector["content"]
    info = llmzip.get_info(data)
    assert (info.n_bytes, info.n_bytes_on_disk) == (len(vector["content"].encode()), len(data))


@pytest.mark.parametrize("path", mostly_long(GOOD, GOOD[2::8]), ids=lambda path: path.stem)
def test_good_without_the_compiled_kernels(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What C has written, the Python twin reads."""
    vector = json.loads(path.read_text(encoding="utf-8"))
    monkeypatch.setattr(native, "library", None)
    assert read_at_once(build(vector["build"]), ToyModel()).decode() == vector["content"]


@pytest.mark.parametrize("reader", [read_at_once, read_bytewise])
@pytest.mark.parametrize(
    "path", [path for path in VECTORS if not path.name.startswith("good-")], ids=lambda path: path.stem
)
def test_bad(path: Path, reader: Any) -> None:
    vector = json.loads(path.read_text(encoding="utf-8"))
    assert path.name.startswith("unsupported-") == (vector["error"] == "UnsupportedError")
    with pytest.raises(errors.LlmzipError) as caught:
        reader(build(vector["build"]), model_for(vector))
    assert isinstance(caught.value, getattr(errors, vector["error"]))
    assert vector["message"] in str(caught.value)


@pytest.mark.parametrize(
    "path", [path for path in VECTORS if not path.name.startswith("good-")], ids=lambda path: path.stem
)
def test_bad_by_random_access(path: Path) -> None:
    """Random access need not look at everything, but never gives wrong bytes."""
    vector = json.loads(path.read_text(encoding="utf-8"))
    data = build(vector["build"])
    try:
        content = read_backwards(data, model_for(vector))
    except errors.LlmzipError:
        return
    assert content == b"onetwo", "only an index may be wrong and not be noticed"
    assert path.stem.startswith("bad-index-")
