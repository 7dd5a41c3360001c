"""Tars in .lmz files: listed by their headers, read and written by tarfile and shutil."""

import io
import json
import shutil
import tarfile
from pathlib import Path
from typing import Any

import pytest
from commands import TEXT, Run

import llmzip
from llmzip import blocks, tars
from llmzip.errors import LlmzipError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "tree" / "below").mkdir(parents=True)
    (tmp_path / "tree" / "a.txt").write_bytes(TEXT)
    (tmp_path / "tree" / "below" / "b.bin").write_bytes(bytes(range(256)))
    (tmp_path / "tree" / ("long" * 30)).write_bytes(b"")
    (tmp_path / "tree" / "link").symlink_to("a.txt")
    return tmp_path / "tree"


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def tar_of(folder: Path) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        tar.add(folder, "tree")
    return made.getvalue()


@pytest.mark.long
def test_members_are_found_by_range(folder: Path, run: Run) -> None:
    Path("t.tar.lmz").write_bytes(llmzip.compress(tar_of(folder), "toy", block_size=1000, group_size=2000))
    (record,) = json.loads(run("info", "--members", "--json", "t.tar.lmz").out)
    found = {member["name"]: member for member in record["members"]}
    assert {found[name]["kind"] for name in ("tree", "tree/below")} == {"folder"} and found["tree/link"][
        "kind"
    ] == "link"
    assert len(found) == 6
    for name, data in contents(folder).items():
        member = found[f"tree/{name}"]
        if member["kind"] == "file" and data:
            end = member["offset"] + member["n_bytes"] - 1
            assert run("decompress", "--range", f"{member['offset']}-{end}", "t.tar.lmz").out == data
    lines = run("info", "--members", "t.tar.lmz").out.decode().splitlines()
    assert lines[0].split() == ["name", "kind", "bytes", "offset"]
    assert ["tree/a.txt", "file", str(len(TEXT)), str(found["tree/a.txt"]["offset"])] in [
        line.split() for line in lines
    ]


@pytest.mark.long
def test_what_lies_between_headers_is_not_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        for name in ("one", "two"):
            member = tarfile.TarInfo(name)
            member.size = 40_000
            tar.addfile(member, io.BytesIO((TEXT * 80)[:40_000]))
    packed = llmzip.compress(made.getvalue(), "toy", block_size=5000, group_size=5000)
    decoded = 0
    decompress = blocks.decompress

    def noting(*arguments: Any) -> bytes:
        nonlocal decoded
        decoded += 1
        return decompress(*arguments)

    monkeypatch.setattr(blocks, "decompress", noting)
    with llmzip.LmzFile(io.BytesIO(packed), threads=1) as file:
        found = tars.members(file)  # type: ignore[arg-type]
        assert [(m.name, m.n_bytes, m.offset, m.n_bytes_of_header) for m in found] == [
            ("one", 40_000, 512, 512), ("two", 40_000, 512 + 40_448 + 512, 512),
        ]  # fmt: skip
    assert decoded < len(llmzip.get_info(packed).blocks) / 2


def test_what_is_no_tar_is_told(run: Run) -> None:
    Path("x.lmz").write_bytes(llmzip.compress(TEXT, "toy"))
    done = run("info", "--members", "x.lmz")
    assert done.code == 1 and "the content is not a tar" in done.err
    with pytest.raises(LlmzipError):
        list(tars.members(io.BytesIO(b"x" * 600)))


def test_tarfile(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "t.tar.lmz"
    with tars.LmzTarFile.open(path, "w:lmz", model="toy") as tar:  # type: ignore[call-overload]
        tar.add(folder, "tree")
    with tarfile.open(fileobj=llmzip.open(path)) as tar:
        tar.extractall(tmp_path / "one", filter="data")
    for mode in ("r:lmz", "r"):
        with tars.LmzTarFile.open(path, mode) as tar:  # type: ignore[call-overload]
            assert tar.extractfile("tree/a.txt").read() == TEXT
            tar.extractall(tmp_path / "two", filter="data")
    assert contents(tmp_path / "one" / "tree") == contents(tmp_path / "two" / "tree") == contents(folder)
    with pytest.raises(tarfile.ReadError):
        tars.LmzTarFile.lmzopen("no", fileobj=io.BytesIO(b"no"))


def test_shutil(folder: Path, tmp_path: Path) -> None:
    tars.register()
    tars.register()  # twice is once
    name = shutil.make_archive(str(tmp_path / "archive"), "lmztar", root_dir=tmp_path, base_dir="tree")
    assert Path(name).name == "archive.tar.lmz"
    shutil.unpack_archive(name, tmp_path / "out")
    assert contents(tmp_path / "out" / "tree") == contents(folder)
    (tmp_path / "no.tar.lmz").write_bytes(b"no")
    with pytest.raises(shutil.ReadError):
        shutil.unpack_archive(tmp_path / "no.tar.lmz", tmp_path / "out")
