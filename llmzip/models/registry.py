"""Which models there are and where they are kept: finding, loading, keeping and removing them.

The package carries small models; a cache folder holds one exact checkpoint folder for each of the others; `fetch`
brings them there. Knows nothing of the arithmetic: an engine is imported when a model is loaded, torch with it.
"""

import hashlib
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from llmzip.errors import ModelInvalid, ModelNotFound
from llmzip.models import Engine, Model, checkpoint
from llmzip.models.convert import convert_gguf, convert_hf
from llmzip.models.known import (
    BUNDLED,
    CACHE_VARIABLE,
    DEFAULT_MODEL,
    KNOWN,
    bundled_dir,
    cached,
    models_dir,
)
from llmzip.models.staging import staging, sweep

TOY_PREFIX = bytes.fromhex("2e5350f3")  # of its fingerprint
TOY = "toy"  # the fake model of models/toy.py: not listed, for tests and experiments
LIST_HINT = "llmzip models shows the names"
HUB_PREFIX = "hf:"


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


def load(
    name: str | None = None, *, engine: str = Engine.exact, device: str | None = None, threads: int | None = None
) -> Model:
    """The model of a registry name, an "hf:ORG/NAME" name or a path; the default one for None.

    `engine` "transformers" takes a Hugging Face folder of any architecture, for files of this machine alone.
    """
    if Engine(engine) is Engine.transformers:
        return _run_by_transformers(name, device, threads)
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
            raise ModelNotFound(f"the file needs the model {name}, which is not installed", hint=pull_hint(name))
    raise ModelNotFound(
        f"no model with the fingerprint {wanted} is installed",
        hint="pull or convert the model that wrote the file, or name its folder",
    )


def keep(model: Model | Path) -> Path | None:
    """Have a model that files are written with in the cache, where `find` looks for it, and return its folder.

    A copy, not links: what is written into the user's own folder later must not reach it. Does nothing for what is
    there already, and for bundled models.
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
    """Delete a model from the cache; of one that is a link, the link.

    Files that were written with it cannot be read without it.
    """
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


def folder_of(name: str) -> Path:
    return _models() / name.replace(":", "--").replace("/", "--")


def _installed() -> Iterator[tuple[Path, checkpoint.Config]]:
    """The bundled models, then the whole model folders of the cache.

    Staging folders begin with a dot; what is damaged or of another format is passed over.
    """
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


def _run_by_transformers(name: str | None, device: str | None, threads: int | None) -> Model:
    if name is None:
        raise ModelNotFound("the engine transformers needs a model", hint="name its folder: -m FOLDER (model=FOLDER)")
    from llmzip.models.causal import CausalModel

    return CausalModel(name, device=device, threads=threads)


def pull_hint(name: str) -> str:
    return f"llmzip models pull {name}"


def locate(name: str) -> Path:
    """The exact folder of a name, converting a local model where need be."""
    if name in BUNDLED:
        return bundled_dir() / name
    if name in KNOWN or name.startswith(HUB_PREFIX):
        folder = folder_of(name)
        if not (folder / checkpoint.CONFIG_FILE).exists():
            raise ModelNotFound(f"the model {name} is not installed", hint=pull_hint(name))
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
    """The cached conversion of a Hugging Face folder or a GGUF file.

    It is found by content: a changed model is another one.
    """
    files = [path] if path.is_file() else sorted(path.glob("*.json")) + sorted(path.glob("*.safetensors"))
    digest = hashlib.sha256(f"numerics {checkpoint.NUMERICS}\n".encode())
    try:
        for file in filter(Path.is_file, files):  # reading a pipe would never end
            digest.update(
                f"{'' if path.is_file() else file.name}\n{sha256_of(file)}\n".encode("utf-8", "surrogateescape")
            )
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


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
