"""The transformers engine.

Any causal model round-trips on this machine, and its files are refused where the bits are not promised.
"""

from pathlib import Path

import pytest
from checkpoints import invented_text, tiny_llama_folder, tiny_tokenizer

from llmzip import EngineMismatch, compress, decompress, get_info
from llmzip.cli.app import main
from llmzip.errors import ModelInvalid, ModelNotFound
from llmzip.models.causal import CausalModel

TEXT = invented_text(50) + b" <|endoftext|> \x04\x00 \xff\xfe\r\n 17 " + invented_text(70, seed=1)


@pytest.fixture(scope="module", params=["gpt2", "llama"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp(request.param)
    if request.param == "llama":
        return tiny_llama_folder(path / "hf")
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(vocab_size=600, n_positions=64, n_embd=32, n_layer=2, n_head=2, bos_token_id=0, eos_token_id=0)
    GPT2LMHeadModel(config).save_pretrained(path)
    tiny_tokenizer(path / "tokenizer.json")
    return path


@pytest.mark.parametrize("lanes", [1, 3])
def test_round_trip(folder: Path, lanes: int) -> None:
    model = CausalModel(folder, threads=1)
    packed = compress(TEXT, model, lanes=lanes, window=32, overlap=8)
    assert decompress(packed, CausalModel(folder, threads=1)) == TEXT
    assert compress(TEXT, model, lanes=lanes, window=32, overlap=8) == packed
    block = get_info(packed).blocks[0]
    assert (block.kind, block.lanes) == ("model", lanes)
    assert "engine=transformers" in (get_info(packed).engine_note or "")


def test_another_machine_is_refused_and_can_be_overridden(folder: Path) -> None:
    model = CausalModel(folder, threads=1)
    packed = compress(TEXT, model, window=32)
    model.engine_note = model.engine_note.replace("threads=1", "threads=99")
    with pytest.raises(EngineMismatch, match="threads"):
        decompress(packed, model)
    assert decompress(packed, model, ignore_engine=True) == TEXT


def test_the_file_does_not_open_without_its_model(folder: Path, tmp_path: Path) -> None:
    packed = compress(TEXT, CausalModel(folder, threads=1), window=32)
    with pytest.raises(ModelNotFound):
        decompress(packed)
    with pytest.raises(ModelInvalid, match=r"config\.json"):
        CausalModel(tmp_path)


def test_by_the_command_line(folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "text"
    source.write_bytes(TEXT)
    options = ["--engine", "transformers", "-m", str(folder), "-q", "-T", "1"]
    assert main(["compress", *options, "--window", "32", str(source)]) == 0
    source.unlink()
    assert main(["decompress", *options, str(source) + ".lmz"]) == 0
    assert source.read_bytes() == TEXT
    assert main(["test", "-q", str(source) + ".lmz"]) == 1
    assert "Traceback" not in capfd.readouterr().err
