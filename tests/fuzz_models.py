"""Odd model files: whatever a folder or file of a model holds, it is loaded or refused with an LlmzipError.

Not collected by pytest (tests/test_fuzz_models.py runs a short version). From the folder of the repository:

    python tests/fuzz_models.py 3000 [SEED]

Half of the variants are structured (a value of some JSON file or header is replaced, removed or nested), half are bytes
changed, cut or repeated.
Every one is loaded and compresses a text by the API; each tenth goes through `llmzip compress -m` as well. A variant
that takes a minute ends the run (by SIGALRM): a fault as well.
"""

import collections
import contextlib
import copy
import io
import json
import os
import random
import shutil
import signal
import struct
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from checkpoints import tiny_llama_folder
from safetensors.numpy import load_file, save_file
from test_convert import write_gguf

import llmzip
from llmzip.cli.app import main
from llmzip.models import checkpoint, registry
from llmzip.models.convert import convert_hf

ODD = [
    None,
    [],
    {},
    "x",
    "",
    "\ud800",
    -1,
    0,
    1,
    1.5,
    2**31,
    2**63,
    10**30,
    1e308,
    float("nan"),
    True,
    [1, 2, 3],
    ["a"],
    {"a": 1},
]
TEXT = b"some text to read, and \xff\x00 some more of it \xe2\x96\x81\n" * 3
DEADLINE = 60  # seconds


def places(value: Any, depth: int = 0) -> Iterator[tuple[Any, Any]]:
    """Every container and key inside a parsed JSON value; of long ones the first and the last."""
    if depth > 5 or not isinstance(value, dict | list):
        return
    keys = list(value) if isinstance(value, dict) else list(range(len(value)))
    for key in keys if len(keys) < 60 else [keys[0], keys[-1]]:
        yield value, key
        yield from places(value[key], depth + 1)


def change(parsed: Any, chance: random.Random) -> Any:
    """A copy with one value replaced, removed, doubled or nested."""
    parsed = copy.deepcopy(parsed)
    kind = chance.randrange(12)
    if kind == 0:
        return chance.choice(ODD)
    container, key = chance.choice(list(places(parsed)))
    if kind == 1:
        del container[key]
    elif kind == 2:
        container[key] = [container[key]]
    elif kind == 3 and isinstance(container, dict):
        container["more" if chance.random() < 0.5 else "\ud800"] = chance.choice(ODD)
    elif kind == 4:
        _, other = chance.choice(list(places(parsed)))
        container[key] = other
    elif kind == 5 and isinstance(container[key], int | float):
        container[key] *= chance.choice([-1, 2, 1000, 2**20, 2**32, 0.5, 0])
    else:
        container[key] = chance.choice(ODD)
    return parsed


def json_bytes(value: Any, chance: random.Random) -> bytes:
    text = json.dumps(value).encode()
    kind = chance.randrange(40)
    if kind == 0:
        return text.decode().encode("utf-16")
    if kind == 1:
        return b"[" * 100_000
    return text[: chance.randrange(len(text) + 1)] if kind == 2 else text


def change_json(path: Path, chance: random.Random) -> None:
    path.write_bytes(json_bytes(change(json.loads(path.read_bytes()), chance), chance))


def change_header(path: Path, chance: random.Random) -> None:
    data = path.read_bytes()
    (size,) = struct.unpack_from("<Q", data)
    header = json_bytes(change(json.loads(data[8 : 8 + size]), chance), chance)
    length = len(header) if chance.random() < 0.95 else chance.choice([0, 2**40, 2**64 - 1, size])
    path.write_bytes(struct.pack("<Q", length) + header + data[8 + size :])


def change_bytes(path: Path, chance: random.Random, within: int | None = None) -> None:
    """A few bytes changed (near the start, where the structure is, or anywhere), cut, taken out or repeated."""
    data = bytearray(path.read_bytes())
    end = min(len(data), within or len(data))
    for _ in range(chance.choice([1, 1, 1, 2, 5])):
        at = chance.randrange(end)
        kind = chance.randrange(6)
        if kind == 0:
            del data[at:]
            break
        if kind == 1:
            del data[at : at + chance.randrange(1, 9)]
        elif kind == 2:
            data[at:at] = data[at : at + chance.randrange(1, 40)]
        elif kind == 3:
            data[at : at + 8] = struct.pack("<q", chance.choice([-1, 0, 1, 2**31, 2**62, 255, 65536]))
        else:
            data[at] = chance.randrange(256)
        end = min(end, len(data)) or 1
        if not data:
            break
    path.write_bytes(data)


def resign(folder: Path, chance: random.Random) -> None:
    """A forged model: other settings or weights, with the right fingerprint."""
    config = json.loads((folder / "model.json").read_bytes())
    tensors = load_file(folder / "model.safetensors")
    if chance.random() < 0.5:
        key = chance.choice(sorted(checkpoint.COMPUTED_KEYS))
        value = config[key]
        config[key] = chance.choice(
            [*ODD, value + 1, value * 2, -value, 2**32 + value] if isinstance(value, int | float) else ODD
        )
    else:
        name = chance.choice(sorted(tensors))
        tensor = tensors[name] = tensors[name].copy()
        at = chance.randrange(tensor.size)
        values: list[float] = [0, 1, -1, 127, -128] if tensor.dtype.itemsize == 1 else [0, -1, 2**31 - 1, -(2**31), 7]
        values = [3e38, -3e38, 1e-45, 1e20, float("nan"), float("inf"), -0.0] if tensor.dtype.kind == "f" else values
        value = chance.choice(values)
        where = slice(None) if chance.random() < 0.3 else slice(at, at + 1)
        tensor.reshape(-1)[where] = value % 256 if tensor.dtype.kind == "u" else value
        save_file(tensors, folder / "model.safetensors")
    with contextlib.suppress(Exception):  # values that have no canonical spelling stay unsigned
        config["fingerprint"] = checkpoint.fingerprint(config, tensors).hex()
    (folder / "model.json").write_text(json.dumps(config))


def make_bases(at: Path) -> dict[str, Path]:
    source = tiny_llama_folder(
        at / "hf", n_layers=1, width=32, n_heads=2, n_kv_heads=1, hidden=32, vocab=300, max_position_embeddings=32
    )
    (source / "generation_config.json").write_text('{"bos_token_id": 0}')
    (source / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast"}')
    convert_hf(source, at / "exact", name="exact", license="", source="")
    write_gguf(at / "m.gguf", source, "llama")
    return {"hf": source, "exact": at / "exact", "gguf": at / "m.gguf"}


Change = Callable[[Path, random.Random], None]


def within(name: str, change: Change) -> Change:
    """The same, done to the file of that name in a folder."""
    return lambda folder, chance: change(folder / name, chance)


def variants(bases: dict[str, Path]) -> list[tuple[str, str, Callable[[Path, random.Random], None]]]:
    """Base, label, and what is done to a copy of it."""
    found: list[tuple[str, str, Change]] = []
    for name in (
        "config.json",
        "tokenizer.json",
        "config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "generation_config.json",
    ):
        found.append(("hf", f"values of {name}", within(name, change_json)))
    for base, name in (
        ("hf", "config.json"),
        ("hf", "tokenizer.json"),
        ("hf", "model.safetensors"),
        ("exact", "model.json"),
        ("exact", "tokenizer.json"),
    ):
        found.append((base, f"bytes of {name}", within(name, change_bytes)))
    found.append(("hf", "safetensors header", lambda path, chance: change_header(path / "model.safetensors", chance)))
    found.append(
        ("exact", "our safetensors header", lambda path, chance: change_header(path / "model.safetensors", chance))
    )
    found.append(("exact", "values of model.json", lambda path, chance: change_json(path / "model.json", chance)))
    found.append(
        ("exact", "values of our tokenizer.json", lambda path, chance: change_json(path / "tokenizer.json", chance))
    )
    found += [("exact", "forged", resign)] * 2
    size = bases["gguf"].stat().st_size
    found.append(("gguf", "bytes", lambda path, chance: change_bytes(path, chance)))
    found += [("gguf", "bytes of the header", lambda path, chance: change_bytes(path, chance, min(size, 900)))] * 3
    return found


def attempt(path: Path, by_command: bool) -> str:
    """Says "loaded", "refused", or what went wrong."""
    try:
        if by_command:
            errors = io.StringIO()
            (path.parent / "text").write_bytes(TEXT)
            with contextlib.redirect_stderr(errors):
                main(["compress", "-f", "-m", str(path), str(path.parent / "text")])
            if "Traceback" in errors.getvalue():
                return errors.getvalue()
        model = registry.load(str(path))
        packed = llmzip.compress(TEXT, model, window=16)
        assert llmzip.decompress(packed, model) == TEXT
        return "loaded"
    except llmzip.LlmzipError:
        return "refused"
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        return f"{type(error).__name__} {str(error)[:80]} at {Path(last.filename).name}:{last.lineno}"


def run(count: int, seed: int = 0) -> collections.Counter[str]:
    """How many variants ended how; the labels of what went wrong are in the keys."""
    ends: collections.Counter[str] = collections.Counter()
    with tempfile.TemporaryDirectory() as scratch:
        at = Path(scratch)
        os.environ["LLMZIP_CACHE"] = str(at / "cache")
        bases = make_bases(at)
        kinds = variants(bases)
        for index in range(count):
            chance = random.Random(f"{seed} {index}")
            base, label, mutate = kinds[index % len(kinds)]
            copied = at / "variant" / bases[base].name
            shutil.rmtree(at / "variant", ignore_errors=True)
            shutil.rmtree(at / "cache", ignore_errors=True)
            copied.parent.mkdir()
            (shutil.copytree if bases[base].is_dir() else shutil.copyfile)(bases[base], copied)
            mutate(copied, chance)
            signal.alarm(DEADLINE)  # ends the process: a hang in C is not to be interrupted otherwise
            end = attempt(copied, by_command=index % 10 == 0)
            signal.alarm(0)
            if end not in ("loaded", "refused"):
                end = f"{label}, variant {index} of seed {seed}: {end}"
                print(end, flush=True)  # at once: the run may be long
            ends[end] += 1
    return ends


if __name__ == "__main__":
    given = [int(word) for word in sys.argv[1:]]
    for end, number in run(*(given or [3000])).most_common():
        print(number, end)
