"""Every recipe of docs/ecosystem.md, against the real library; skipped where that is not installed."""

import importlib
import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from commands import environment

import llmzip

# Their warnings are not ours to mend.
pytestmark = [pytest.mark.long, pytest.mark.filterwarnings("ignore")]

DOCUMENT = Path(__file__).parents[1] / "docs" / "ecosystem.md"
ROWS = [{"name": f"name {i}", "n": i, "x": i / 7} for i in range(60)]
CSV = ("name,n,x\n" + "".join(f"{row['name']},{row['n']},{row['x']}\n" for row in ROWS)).encode()
JSON = "".join(json.dumps(row) + "\n" for row in ROWS).encode()
NOTE = b"It was the best of times, it was the worst of times.\n"


def recipes() -> dict[str, list[str]]:
    """The blocks of code of each section."""
    sections = re.split(r"^## (.*)\n", DOCUMENT.read_text("utf-8"), flags=re.M)[1:]
    return {
        title: re.findall(r"^```python\n(.*?)^```", text, re.M | re.S)
        for title, text in zip(sections[::2], sections[1::2], strict=True)
    }


RECIPES = recipes()


def server() -> Iterator[str]:
    moto = pytest.importorskip("moto.server")
    pytest.importorskip("flask_cors")
    running = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    running.start()
    host, port = running.get_host_and_port()
    yield f"http://{host}:{port}"
    running.stop()


s3_server = pytest.fixture(scope="module")(server)


@pytest.fixture
def s3(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A file system on a local S3 server, with an empty bucket."""
    s3fs = pytest.importorskip("s3fs")
    for name, value in {
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "x",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": s3_server,
    }.items():
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    fs = s3fs.S3FileSystem()
    fs.mkdir("bucket")
    yield fs
    fs.rm("bucket", recursive=True)
    s3fs.S3FileSystem.clear_instance_cache()


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with what the recipes read."""
    monkeypatch.chdir(tmp_path)
    for name, data in (("data.csv", CSV), ("data.jsonl", JSON)):
        Path(name).write_bytes(data)
        Path(name + ".lmz").write_bytes(llmzip.compress(data, "toy", block_size=500, group_size=1000))
    (tmp_path / "tree").mkdir()
    Path("tree/note.txt").write_bytes(NOTE)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("PYTHONPATH", environment()["PYTHONPATH"])
    monkeypatch.setenv("PATH", os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    return tmp_path


def run(title: str, *libraries: str) -> dict[str, Any]:
    """What the recipes of a section leave in their variables."""
    for library in libraries:
        pytest.importorskip(library)
    found: dict[str, Any] = {}
    for code in RECIPES[title]:
        exec(compile(code, f"{DOCUMENT.name}: {title}", "exec"), found)
    return found


def test_every_recipe_is_here() -> None:
    said = re.findall(r'\brun\(\s*"([^"]+)"', Path(__file__).read_text("utf-8"))
    assert sorted(said) == sorted(RECIPES) and all(RECIPES.values())


def test_the_entry_points_are_there() -> None:
    for group, name in (("fsspec.specs", "lmz"), ("numcodecs.codecs", "lmz")):
        (found,) = importlib.metadata.entry_points(group=group, name=name)
        assert found.value.startswith("llmzip.")


def test_fsspec(place: Path) -> None:
    found = run("fsspec", "fsspec")
    assert found["text"] == "It was the best of times.\n" * 9 and found["middle"] == CSV[100:110]
    memory = found["fsspec"].filesystem("memory")
    assert llmzip.decompress(memory.cat("/whole.txt.lmz")) == b"All of it,\nor nothing.\n"
    memory.rm("/", recursive=True)


def test_s3(place: Path, s3: Any) -> None:
    found = run("S3", "s3fs")
    assert found["header"] == "name,n,x\n" and found["middle"] == CSV[100:110]
    assert llmzip.decompress(s3.cat("bucket/data.csv.lmz")) == CSV


def test_pandas(place: Path) -> None:
    found = run("pandas", "pandas", "fsspec")
    assert found["table"].equals(found["pd"].read_csv("data.csv")) and found["by_url"].equals(found["table"])
    assert found["records"].equals(found["pd"].read_json("data.jsonl", lines=True))
    assert llmzip.decompress(Path("copy.csv.lmz").read_bytes()) == found["table"].to_csv(index=False).encode()


def test_polars(place: Path) -> None:
    found = run("polars", "polars")
    assert found["table"].equals(found["pl"].read_csv("data.csv")) and found["records"].equals(
        found["pl"].read_ndjson("data.jsonl")
    )
    assert found["last"]["n"].to_list() == list(range(51, 60))
    assert llmzip.decompress(Path("copy.csv.lmz").read_bytes()) == found["table"].write_csv().encode()


def test_pyarrow(place: Path) -> None:
    found = run("PyArrow", "pyarrow", "fsspec")
    arrow = found["pyarrow"]
    assert found["table"].equals(arrow.csv.read_csv("data.csv")) and found["records"].equals(
        arrow.json.read_json("data.jsonl")
    )
    assert found["by_dataset"].equals(found["table"])
    with llmzip.open("copy.csv.lmz") as file:
        assert arrow.csv.read_csv(file).equals(found["table"])


def test_dask_bag(place: Path) -> None:
    found = run("dask.bag", "dask", "fsspec")
    assert (found["n_here"], found["n_elsewhere"]) == (60, 60)


def test_dask_dataframe(place: Path) -> None:
    found = run("dask.dataframe", "dask.dataframe")
    assert found["total"] == found["total_in_pieces"] == sum(range(60))
    assert found["in_pieces"].npartitions > 1


def test_datasets(place: Path) -> None:
    found = run("Hugging Face datasets", "datasets")
    assert list(found["rows"]) == ROWS and found["first"] == ROWS[0]


def test_smart_open(place: Path, s3: Any) -> None:
    found = run("smart_open", "smart_open", "boto3")
    assert found["lines"] == ["It was the worst of times.\n"] * 9
    assert (
        llmzip.decompress(s3.cat("bucket/copy.txt.lmz"))
        == llmzip.decompress(Path("copy.txt.lmz").read_bytes())
        == "".join(found["lines"]).encode()
    )


def test_tarfile(place: Path) -> None:
    found = run("tarfile")
    assert found["names"] == ["tree", "tree/note.txt"] and found["note"] == NOTE


def test_shutil(place: Path) -> None:
    run("shutil")
    assert Path("unpacked/tree/note.txt").read_bytes() == NOTE


def test_numcodecs(place: Path) -> None:
    found = run("numcodecs", "numcodecs")
    assert found["same"].tolist() == found["array"].tolist() and len(found["packed"]) < 400
    into = found["np"].zeros((10, 100), "i4")
    found["codec"].decode(found["packed"], into)
    assert into.ravel().tolist() == found["array"].tolist()
    assert found["codec"].get_config() == {"id": "lmz", "model": None}


def test_a_process_of_its_own(place: Path) -> None:
    found = run("A process of its own")
    assert found["header"] + found["rest"] == CSV


def test_many_processes(place: Path) -> None:
    assert run("Many processes")["middle"] == CSV[100:110]
