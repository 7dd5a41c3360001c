"""The benchmark measures what it says: sizes that are there, files that come back, the same weights; no timings."""

import hashlib
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from checkpoints import invented_text, tiny_llama_folder
from commands import Run
from numpy.typing import NDArray

from llmzip.bench import rivals
from llmzip.bench.files import How, Measured, measure, paid_from
from llmzip.bench.show import chart, frontier
from llmzip.cli.app import main
from llmzip.models.convert import convert_hf
from llmzip.models.llama import LlamaModel


def test_bench_reports_the_coded_bits_against_transformers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLMZIP_CACHE", str(tmp_path / "cache"))  # what it converts is not for the user's
    text = tmp_path / "text"
    text.write_bytes(invented_text(200))
    folder = tiny_llama_folder(tmp_path / "hf")
    assert main(["bench", "--floats", str(text), "-m", str(folder), "--lanes", "2", "--rounds", "1", "-T", "1"]) == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert abs(result["model_over_float32"] - 1) < 0.02  # the integers and the floats are one model
    assert 0 < result["coded_over_float32"] < 1  # what is learnt of a text makes up for a model that knows nothing
    assert result["coded_bits"] % 8 == 0 and result["tokens"] < result["bytes"] == len(text.read_bytes())
    assert 0 < result["compress_in_predictor"] < 1 and 0 < result["decompress_in_predictor"] < 1
    assert result["compress_ratio"] > 0 and result["decompress_ratio"] > 0


def test_what_the_rival_is_shown_is_what_the_codec_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows, prompts and ids: those that a state of ours is asked for while a body is written."""
    from llmzip.bench.speed import Lanes, code

    folder = tiny_llama_folder(tmp_path / "hf")
    convert_hf(folder, tmp_path / "exact", name="tiny", license="none", source="test")
    model, data = LlamaModel(tmp_path / "exact"), invented_text(300)
    model.window, model.overlap, model.threads = 24, 8, 1
    asked: list[NDArray[np.int32]] = []
    opened = model.open

    def noting(*arguments: Any) -> Any:
        state: Any = opened(*arguments)

        def noted(work: Callable[[NDArray[np.int32]], Any]) -> Callable[[NDArray[np.int32]], Any]:
            def noting(ids: NDArray[np.int32]) -> Any:
                asked.append(ids.copy())
                return work(ids)

            return noting

        state.forward, state.prompt = noted(state.forward), noted(state.prompt)
        return state

    monkeypatch.setattr(model, "open", noting)
    code(model, data, 3)
    shown = [inputs for inputs, _ in Lanes.cut(model, data, 3).windows(model)]
    written = np.concatenate(asked, axis=1)[:, : sum(inputs.shape[1] for inputs in shown)]
    assert np.array_equal(written, np.concatenate(shown, axis=1)) and len(shown) > 2


# --- against rivals

TEXT = b"the rain in the plain and nothing else\n" * 60
XZ = next(tool for tool in rivals.RIVALS if tool.name == "xz")


@pytest.mark.long
def test_files_by_llmzip_and_what_is_installed(run: Run) -> None:
    Path("text").write_bytes(TEXT * 30)
    Path("other").write_bytes(bytes(range(256)) * 4)
    done = run(
        "bench", "text", "other", "--head", "1K", "--rivals", "xz,cmix", "-m", "toy", "--rounds", "1", "--plot", "a.svg"
    )
    lines = done.out.decode().splitlines()
    rows = [
        [cell.strip() for cell in line.split("|")[1:-1]] for line in lines if line.startswith(("| text", "| other"))
    ]
    tools = ["llmzip", *(["xz -9e"] if shutil.which("xz") else [])]
    sizes, rows = rows[:2], rows[2:]
    assert [row[2] for row in rows[: 2 * len(tools)]] == 2 * tools and all(len(row) == 11 for row in rows[:-2])
    assert [row[2:] for row in sizes] == [[row[3] for row in rows[:-2] if row[0] == name] for name, *_ in sizes]
    if not shutil.which("cmix"):
        assert any(line.startswith("Missing: ") and "cmix" in line for line in lines)
    packed = subprocess.run(["xz", "-9e", "-c"], input=TEXT[:1024], capture_output=True, check=True).stdout
    assert rows[1][1:4] == ["1 024", "xz -9e", str(len(packed))]
    assert rows[-2][2] == f"`{hashlib.sha256(TEXT[:1024]).hexdigest()}`"  # of what was measured
    root = ElementTree.parse("a.svg").getroot()
    assert root.tag.endswith("svg") and Path("a.svg").stat().st_size < 20_000
    assert "already exists" in run("bench", "text", "--rivals", "", "-m", "toy", "--plot", "a.svg").err
    assert "the same file" in run("bench", "text", "--rivals", "", "-m", "toy", "--plot", "text", "-f").err
    assert Path("text").read_bytes() == TEXT * 30


@pytest.mark.long
def test_in_brief_the_sizes_of_several_files_and_their_sums(run: Run) -> None:
    """Files of one name are told from each other by what is in them."""
    contents = {"one/text": TEXT, "two/text": TEXT * 2, "empty": b""}
    for name, content in contents.items():
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_bytes(content)
    lines = run("bench", *contents, "--rivals", "", "-m", "toy", "--brief").out.decode().splitlines()
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if line.startswith("|")]
    start = cells.index(["file", "bytes", "llmzip"]) + 2
    sizes = [int(row[2]) for row in cells[start : start + 3]]
    assert cells[start + 3] == ["all 3", f"{len(TEXT) * 3:,}".replace(",", " "), str(sum(sizes))]
    assert 0 < sizes[0] < sizes[1] and not any("model paid for from" in line for line in lines)


@pytest.mark.long
def test_as_json(run: Run) -> None:
    Path("text").write_bytes(TEXT)
    found = json.loads(
        run("bench", "text", "--rivals", "", "-m", "toy", "--json", "--llmzip", "", "--llmzip", "--lanes 3").out
    )
    assert (
        [each["tool"] for each in found["measured"]]
        == ["llmzip", "llmzip --lanes 3"]
        == [each["tool"] for each in found["total"]]
    )
    one, other = found["measured"]
    assert one["sha256"] == hashlib.sha256(TEXT).hexdigest() and one["bytes"] == len(TEXT) and one["fault"] is None
    assert one["compressed_bytes"] < other["compressed_bytes"] < 400  # lanes cost something
    assert one["bits_per_byte"] == round(8 * one["compressed_bytes"] / len(TEXT), 5) and one["mib"] > 1


@pytest.mark.long
def test_a_model_that_no_block_needs_is_not_counted(run: Run) -> None:
    Path("text").write_bytes(TEXT)
    with_model, without = json.loads(
        run("bench", "text", "--rivals", "", "--llmzip=", "--llmzip=-1", "--head", "2K", "--json").out
    )["measured"]
    assert with_model["model_bytes"] > 1 << 20 and without["model_bytes"] == 0


def test_what_goes_wrong_is_told(run: Run) -> None:
    Path("text").write_bytes(TEXT)
    done = run("bench", "text", "--rivals", "", "-m", "no such model")
    assert done.code == 1 and "| FAILED |" in done.out.decode() and "no such model" in done.err
    assert run("bench", "none", "--rivals", "", "-m", "toy").code == 1
    assert "no rival is called steam" in run("bench", "text", "--rivals", "steam", "-m", "toy").err


def test_what_does_not_come_back_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "text").write_bytes(TEXT)
    how = How(None, 2, False)
    assert not measure(XZ, tmp_path / "text", how).fault
    assert "not the same" in measure(replace(XZ, decompress="echo > back"), tmp_path / "text", how).fault
    assert "exit code 3: no" in measure(replace(XZ, compress="echo no >&2; exit 3"), tmp_path / "text", how).fault
    peeking = measure(replace(XZ, compress="echo > packed", decompress="cp source back"), tmp_path / "text", how)
    assert "exit code 1" in peeking.fault  # the source is gone


def test_when_a_model_is_paid_for() -> None:
    ours = Measured("x", rivals.llmzip(), 1000, "", 100, n_model=9000)
    theirs = Measured("x", XZ, 1000, "", 200)
    size = paid_from(ours, theirs)
    assert size == 90_000 and size * 100 // 1000 + 9000 == size * 200 // 1000
    assert paid_from(replace(ours, n_packed=200), theirs) is None and paid_from(replace(ours, n_model=0), theirs) == 0


def test_the_frontier() -> None:
    assert frontier([(1, 9), (10, 5), (5, 4), (100, 2), (90, 2)]) == [(1, 9), (10, 5), (100, 2)]
    drawn = chart([("llmzip", 1000, 100, 20.0, 21.0), ("xz -9e", 1000, 200, 2000.0, 90000.0)], "a <file>")
    assert "a &lt;file&gt;" in drawn and ">xz</text>" in drawn and "polyline" in drawn


@pytest.mark.parametrize("tool", rivals.RIVALS, ids=lambda tool: tool.title)
def test_each_rival_says_how_to_get_it(tool: rivals.Tool) -> None:
    assert re.fullmatch(r"(apt|pip) install [\w-]+|[\w./-]+", tool.hint) and "source" in tool.compress + tool.decompress
    if tool.is_installed() and not tool.module:
        assert re.fullmatch(r"\d+(\.\d+)*", tool.find_version())
