"""A corpus by the workers of Dask and of Ray: the bytes of one machine, also when a worker is killed in the middle."""

import hashlib
import json
import os
import re
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from commands import environment

import llmzip
from llmzip.errors import ChecksumError
from llmzip.models.toy import ToyModel

# Their warnings are not ours to mend.
pytestmark = [pytest.mark.long, pytest.mark.filterwarnings("ignore")]

pytest.importorskip("fsspec")

from llmzip import distributed  # noqa: E402
from llmzip.distributed import Record, Settings, Task  # noqa: E402

MODEL = ToyModel()
SETTINGS = Settings(model="toy", options={"block_size": 1000, "group_size": 2000})


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    folder = tmp_path / "corpus"
    (folder / "below").mkdir(parents=True)
    for i in range(8):
        (folder / ("below" if i % 2 else ".") / f"{i}.txt").write_bytes(
            b"".join(MODEL.speak(90, 10 * i + line) + b"\n" for line in range(3 * i))
        )
    return folder


def plan(corpus: Path, target: str) -> list[Task]:
    return distributed.plan(str(corpus), str(corpus.parent / target), SETTINGS)


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*.lmz")
    }


def manifest(records: list[Record], folder: Path) -> bytes:
    """With the name of the folder taken out."""
    distributed.write_manifest(records, str(folder / "manifest.json"), SETTINGS)
    return (folder / "manifest.json").read_bytes().replace(str(folder).encode(), b"")


@pytest.fixture
def one_machine(corpus: Path) -> tuple[dict[str, str], bytes]:
    records = list(distributed.here(plan(corpus, "here"), SETTINGS))
    return digests(corpus.parent / "here"), manifest(records, corpus.parent / "here")


def test_each_file_is_what_compress_makes_of_it(corpus: Path, one_machine: tuple[dict[str, str], bytes]) -> None:
    tasks = plan(corpus, "here")
    assert [task.end for task in tasks] == sorted((path.stat().st_size for path in corpus.rglob("*.txt")), reverse=True)
    for path in corpus.rglob("*.txt"):
        packed = (corpus.parent / "here" / f"{path.relative_to(corpus)}.lmz").read_bytes()
        assert packed == llmzip.compress(path.read_bytes(), MODEL, **SETTINGS.options)
    found = json.loads((corpus.parent / "here" / "manifest.json").read_bytes())
    assert found["n_files"] == 8 and found["n_bytes"] == sum(path.stat().st_size for path in corpus.rglob("*.txt"))
    for record in found["files"]:
        packed = Path(record["target"]).read_bytes()
        assert (len(packed), hashlib.sha256(packed).hexdigest()) == (
            record["n_bytes_on_disk"],
            record["sha256_on_disk"],
        )
        assert hashlib.sha256(llmzip.decompress(packed, MODEL)).hexdigest() == record["sha256"]
        assert record["bits_per_byte"] == (round(8 * len(packed) / record["n_bytes"], 4) if record["n_bytes"] else None)


def test_what_is_done_is_not_done_again_and_what_has_changed_is(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tasks = plan(corpus, "out")
    first = list(distributed.here(tasks, SETTINGS))
    coded: list[str] = []
    chunks = distributed._chunks

    def noting(fs: Any, path: str, task: Task) -> Iterator[bytes]:
        coded.append(task.name)
        return chunks(fs, path, task)

    monkeypatch.setattr(distributed, "_chunks", noting)
    assert list(distributed.here(tasks, SETTINGS)) == first and coded == []
    (corpus / "2.txt").write_bytes(b"another text")
    (corpus.parent / "out" / "4.txt.lmz").unlink()
    (corpus.parent / "out" / "6.txt.lmz.json").write_text("{")
    records = list(distributed.here(plan(corpus, "out"), SETTINGS))
    assert sorted(coded) == ["2.txt.lmz", "4.txt.lmz", "6.txt.lmz"]
    assert {r.target: r for r in records if "/2." not in r.target} == {
        r.target: r for r in first if "/2." not in r.target
    }
    list(distributed.here(plan(corpus, "out"), replace(SETTINGS, options={"block_size": 500})))
    assert len(coded) == 11


def test_verify_reads_back_what_was_written(corpus: Path) -> None:
    records = list(distributed.here(plan(corpus, "out"), SETTINGS))
    assert list(distributed.here(records, SETTINGS, distributed.verify)) == records
    largest = Path(records[0].target)
    largest.write_bytes(largest.read_bytes()[:-1] + b"x")
    with pytest.raises((ChecksumError, llmzip.LlmzipError)):
        distributed.verify(records[0], SETTINGS)


def test_a_decoder_that_errs_is_found_before_there_is_an_output(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decompress = llmzip.LmzDecompressor.decompress
    monkeypatch.setattr(
        llmzip.LmzDecompressor, "decompress", lambda *arguments: decompress(*arguments).replace(b"\n", b" ")
    )
    with pytest.raises(ChecksumError, match="does not decode to"):
        list(distributed.here(plan(corpus, "out")[:1], SETTINGS))
    assert list((corpus.parent / "out").rglob("*.*")) == []


@pytest.mark.parametrize("count", [1, 3])
def test_parts_of_one_file(corpus: Path, count: int) -> None:
    source = corpus.parent / "large.txt"
    source.write_bytes(b"".join(path.read_bytes() for path in sorted(corpus.rglob("*.txt"))))
    tasks = distributed.plan_parts(str(source), str(corpus.parent / "large.txt"), count, SETTINGS)
    records = list(distributed.here(reversed(tasks), SETTINGS))
    joined = distributed.join(records, str(corpus.parent / "large.txt.lmz"), SETTINGS)
    packed = (corpus.parent / "large.txt.lmz").read_bytes()
    assert packed == llmzip.compress(source.read_bytes(), MODEL, **SETTINGS.options)
    assert (joined.n_bytes, joined.sha256_on_disk) == (source.stat().st_size, hashlib.sha256(packed).hexdigest())
    if count > 1:
        with pytest.raises(ChecksumError):
            distributed.join(records[1:], str(corpus.parent / "no.lmz"), SETTINGS)
        assert not (corpus.parent / "no.lmz").exists()


# --- engines


def die_once(task: Task, settings: Settings) -> Record:
    """The first to come to the marked task is killed in the middle of it."""
    marker = Path(task.target).parents[0] / "killed"
    if task.name == "5.txt.lmz" and not marker.exists():
        marker.parent.mkdir(parents=True, exist_ok=True)
        marker.write_text(str(os.getpid()))
        chunks: Any = distributed._chunks

        def dying(*arguments: Any) -> Any:
            yield next(chunks(*arguments))
            os.kill(os.getpid(), signal.SIGKILL)

        distributed._chunks = dying  # type: ignore[assignment]
    return distributed.compress(task, settings)


def check_engine(
    corpus: Path, one_machine: tuple[dict[str, str], bytes], run: Callable[[list[Task]], Iterator[Record]]
) -> None:
    folder = corpus.parent / "engine"
    records = list(run(plan(corpus, "engine")))
    assert (folder / "below" / "killed").exists()
    assert (digests(folder), manifest(records, folder)) == one_machine


def test_dask(corpus: Path, one_machine: tuple[dict[str, str], bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    dask_distributed = pytest.importorskip("dask.distributed")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([environment()["PYTHONPATH"], str(Path(__file__).parent)]))
    cluster = dask_distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None, local_directory=str(corpus.parent)
    )
    with cluster, dask_distributed.Client(cluster) as client:
        check_engine(corpus, one_machine, lambda tasks: distributed.on_dask(client, tasks, SETTINGS, die_once))


@pytest.mark.long
def test_ray(corpus: Path, one_machine: tuple[dict[str, str], bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    ray = pytest.importorskip("ray")
    path = os.pathsep.join([environment()["PYTHONPATH"], str(Path(__file__).parent)])
    ray.init(
        num_cpus=2,
        include_dashboard=False,
        object_store_memory=80 << 20,
        logging_level="error",
        runtime_env={"env_vars": {"PYTHONPATH": path}},
    )
    try:
        check_engine(corpus, one_machine, lambda tasks: distributed.on_ray(tasks, SETTINGS, die_once))
    finally:
        ray.shutdown()


def test_the_recipe(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of docs/scale.md."""
    pytest.importorskip("dask.distributed")
    monkeypatch.chdir(corpus.parent)
    monkeypatch.setenv("PYTHONPATH", environment()["PYTHONPATH"])
    text = (Path(__file__).parents[1] / "docs" / "scale.md").read_text("utf-8")
    (code,) = re.findall(r"^```python\n(.*?)^```", text, re.M | re.S)
    found: dict[str, Any] = {}
    exec(code, found)
    assert found["manifest"]["n_files"] == 8
    packed = corpus.parent / "packed"
    assert {path.name for path in packed.rglob("*.lmz")} == {f"{i}.txt.lmz" for i in range(8)}
    assert llmzip.decompress((packed / "2.txt.lmz").read_bytes()) == (corpus / "2.txt").read_bytes()
