"""The benchmark measures what it says: the same weights, so about the same bits; no timings are asserted."""

import json

import numpy as np
from checkpoints import invented_text, tiny_llama_folder

from llmzip.cli.app import main
from llmzip.models.convert import convert_hf
from llmzip.models.llama import LlamaModel


def test_bench_reports_the_coded_bits_against_transformers(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("LLMZIP_CACHE", str(tmp_path / "cache"))  # what it converts is not for the user's
    text = tmp_path / "text"
    text.write_bytes(invented_text(200))
    folder = tiny_llama_folder(tmp_path / "hf")
    assert main(["bench", "--float32", str(text), "-m", str(folder), "--lanes", "2", "--rounds", "1", "-T", "1"]) == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert abs(result["model_over_float32"] - 1) < 0.02  # the integers and the floats are one model
    assert 0 < result["coded_over_float32"] < 1  # what is learnt of a text makes up for a model that knows nothing
    assert result["coded_bits"] % 8 == 0 and result["tokens"] < result["bytes"] == len(text.read_bytes())
    assert 0 < result["compress_in_predictor"] < 1 and 0 < result["decompress_in_predictor"] < 1
    assert result["compress_ratio"] > 0 and result["decompress_ratio"] > 0


def test_what_the_rival_is_shown_is_what_the_codec_shows(tmp_path, monkeypatch):
    """Windows, prompts and ids: those that a state of ours is asked for while a body is written."""
    from llmzip.bench.speed import Lanes, code

    folder = tiny_llama_folder(tmp_path / "hf")
    convert_hf(folder, tmp_path / "exact", name="tiny", license="none", source="test")
    model, data = LlamaModel(tmp_path / "exact"), invented_text(300)
    model.window, model.overlap = 24, 8
    asked, opened = [], model.open

    def noting(*arguments):
        state = opened(*arguments)
        forward, prompt = state.forward, state.prompt
        state.forward = lambda ids: asked.append(ids.copy()) or forward(ids)
        state.prompt = lambda ids: asked.append(ids.copy()) or prompt(ids)
        return state

    monkeypatch.setattr(model, "open", noting)
    code(model, data, 3)
    shown = [inputs for inputs, _ in Lanes.cut(model, data, 3).windows(model)]
    written = np.concatenate(asked, axis=1)[:, : sum(inputs.shape[1] for inputs in shown)]
    assert np.array_equal(written, np.concatenate(shown, axis=1)) and len(shown) > 2
