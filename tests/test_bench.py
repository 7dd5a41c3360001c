"""The benchmark measures what it says: the same weights, so about the same bits; no timings are asserted."""

import json

from checkpoints import invented_text, tiny_llama_folder

from llmzip.cli.app import main


def test_bench_reports_the_coded_bits_against_transformers(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("LLMZIP_CACHE", str(tmp_path / "cache"))  # what it converts is not for the user's
    text = tmp_path / "text"
    text.write_bytes(invented_text(200))
    folder = tiny_llama_folder(tmp_path / "hf")
    assert main(["bench", str(text), "-m", str(folder), "--lanes", "2", "--rounds", "1", "-T", "1"]) == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    # A random model gives some tokens 2^-50; the coder's floor makes those cheaper than the float's own cross-entropy
    assert 0.8 < result["coded_over_float32"] < 1.01
    assert 0 <= result["payload_over_coded_bytes"] < 8
    assert result["compress_ratio"] > 0 and result["decompress_ratio"] > 0
