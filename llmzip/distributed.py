"""A corpus of many files, or one huge file in parts, compressed by the workers of Dask, of Ray, or by this process.

A task is a function of its input and options alone, so its output is the same bytes wherever it runs, and it can be run
again. One that is done has a record beside its output: what was killed goes on where it was. Files are those of fsspec:
local, S3, whatever has a URL.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from typing import Any

import fsspec

from llmzip import parts
from llmzip.errors import ChecksumError
from llmzip.filesystem import SUFFIX, writing
from llmzip.models.known import DEFAULT_LEVEL, level_of
from llmzip.models.source import ModelSource
from llmzip.stream import LmzCompressor, LmzDecompressor, MemberReader

RECORD = ".json"  # beside each output, once that is whole
READ_SIZE = 1 << 20
RETRIES = 3


@dataclass(frozen=True)
class Settings:
    """What all tasks have in common."""

    model: str | None = None  # a name, or a folder that every worker sees
    options: dict[str, Any] = field(default_factory=dict)  # of LmzCompressor
    storage_options: dict[str, Any] = field(default_factory=dict)  # of fsspec
    threads: int | None = 1  # of one task: engines count on one
    verify: bool = True  # decode what was written before it has its name

    @property
    def group_size(self) -> int:
        """Bytes of content: where a file may be cut."""
        level = self.options.get("level") or DEFAULT_LEVEL
        return self.options.get("group_size") or level_of(level).coding.group_size

    def source_of_models(self) -> ModelSource:
        return _source(self.model, self.options.get("level"), self.threads)


@lru_cache(maxsize=4)
def _source(model: str | None, level: int | None, threads: int | None) -> ModelSource:
    """So that a worker loads a model once."""
    return ModelSource(model, level=level, threads=threads)


@dataclass(frozen=True)
class Task:
    """A file, or bytes `start` to `end` of one, and where it goes."""

    source: str
    target: str
    start: int
    end: int

    @property
    def name(self) -> str:
        return self.target.rpartition("/")[2]


@dataclass(frozen=True)
class Record:
    """A task that is done."""

    source: str
    target: str
    start: int
    n_bytes: int
    n_bytes_on_disk: int
    bits_per_byte: float | None
    sha256: str  # of the content
    sha256_on_disk: str
    model: str  # the start of its fingerprint


# --- what there is to do


def plan(folder: str, target: str, settings: Settings | None = None) -> list[Task]:
    """A task for every file below a folder, or for one file; the largest first, so that they are not the last."""
    fs, root = fsspec.core.url_to_fs(folder, **(settings or Settings()).storage_options)
    found = fs.find(root, detail=True)
    tasks = []
    for path, info in found.items():
        relative = path[len(root) :].lstrip("/") or path.rpartition("/")[2]  # the folder may be a file
        tasks.append(Task(fs.unstrip_protocol(path), f"{target.rstrip('/')}/{relative}{SUFFIX}", 0, int(info["size"])))
    return sorted(tasks, key=lambda task: (-task.end, task.source))


def plan_parts(source: str, target: str, count: int, settings: Settings | None = None) -> list[Task]:
    """A task for each part of one file, in their order; `join` makes one file of the outputs."""
    settings = settings or Settings()
    fs, path = fsspec.core.url_to_fs(source, **settings.storage_options)
    size, group_size = int(fs.info(path)["size"]), settings.group_size
    width = len(str(count))
    cuts = [parts.cut(size, number, count, group_size) for number in range(1, count + 1)]
    return [
        Task(source, f"{target}.{i:0{width}}-of-{count}{SUFFIX}", start, end) for i, (start, end) in enumerate(cuts, 1)
    ]


# --- one task


def compress(task: Task, settings: Settings) -> Record:
    """Do a task, unless it is done. What is raised leaves no output."""
    fs, path = fsspec.core.url_to_fs(task.source, **settings.storage_options)
    key = _key(task, settings, str(fs.ukey(path)))
    done = _find_record(task, settings, key)
    if done is not None:
        return done
    models = settings.source_of_models()
    compressor = LmzCompressor(models.to_compress(), threads=settings.threads, **settings.options)
    content, coded, decoded = _Digest(), _Digest(), _Digest()
    decoder = LmzDecompressor(models, threads=settings.threads) if settings.verify else None
    with writing(task.target, compression=None, **settings.storage_options) as output:
        for chunk in _chunks(fs, path, task):
            content.update(chunk)
            data = compressor.compress(chunk) if chunk else compressor.flush()
            coded.update(data)
            if decoder is not None and data:
                decoded.update(decoder.decompress(data))
            output.write(data)
        if content.n_bytes != task.end - task.start:
            raise OSError(f"{task.source}: {content.n_bytes} bytes could be read, not {task.end - task.start}")
        if decoder is not None:
            decoder.check_eof()
            if decoded.hexdigest() != content.hexdigest():
                raise ChecksumError(f"{task.target} does not decode to {task.source}")
    record = Record(
        source=task.source,
        target=task.target,
        start=task.start,
        n_bytes=content.n_bytes,
        n_bytes_on_disk=coded.n_bytes,
        bits_per_byte=round(8 * coded.n_bytes / content.n_bytes, 4) if content.n_bytes else None,
        sha256=content.hexdigest(),
        sha256_on_disk=coded.hexdigest(),
        model=compressor.model.fingerprint[:4].hex(),
    )
    _write_json(task.target + RECORD, {"key": key, **asdict(record)}, settings)
    return record


class _Digest:
    """SHA-256 of what comes in pieces, and how much it was."""

    def __init__(self) -> None:
        self.n_bytes = 0
        self._hash = hashlib.sha256()

    def update(self, data: bytes) -> None:
        self.n_bytes += len(data)
        self._hash.update(data)

    def hexdigest(self) -> str:
        return self._hash.hexdigest()


def _chunks(fs: Any, path: str, task: Task) -> Iterator[bytes]:
    """The content of a task, and an empty piece at its end."""
    left = task.end - task.start
    with fs.open(path, "rb") as file:
        file.seek(task.start)
        while left and (chunk := file.read(min(READ_SIZE, left))):
            left -= len(chunk)
            yield chunk
    yield b""


def _key(task: Task, settings: Settings, source: str) -> str:
    """Changes with all that the output depends on."""
    parts_of_it = [source, task.start, task.end, settings.model, sorted(settings.options.items())]
    return hashlib.sha256(json.dumps(parts_of_it).encode()).hexdigest()


def _find_record(task: Task, settings: Settings, key: str) -> Record | None:
    fs, path = fsspec.core.url_to_fs(task.target, **settings.storage_options)
    try:
        with fs.open(path + RECORD, "rb") as file:
            found = json.load(file)
        size = fs.info(path)["size"]
    except (FileNotFoundError, ValueError):
        return None
    if found.pop("key", None) != key or size != found["n_bytes_on_disk"]:
        return None
    return Record(**found)


def verify(record: Record, settings: Settings) -> Record:
    """Read an output back, and compare it and its content with the record."""
    content, coded = _Digest(), _Digest()
    fs, path = fsspec.core.url_to_fs(record.target, **settings.storage_options)
    with fs.open(path, "rb") as file:

        def read(n: int) -> bytes:
            data: bytes = file.read(n)
            coded.update(data)
            return data

        reader = MemberReader(read, settings.source_of_models(), side_by_side=settings.threads != 1)
        while piece := reader.read1(READ_SIZE):
            content.update(piece)
    if (coded.hexdigest(), content.hexdigest()) != (record.sha256_on_disk, record.sha256):
        raise ChecksumError(f"{record.target} is not what was written")
    return record


# --- all tasks

Work = Callable[[Any, Settings], Record]


def here(tasks: Iterable[Any], settings: Settings, work: Work = compress) -> Iterator[Record]:
    """In this process, one after another."""
    return (work(task, settings) for task in tasks)


def on_dask(client: Any, tasks: Sequence[Any], settings: Settings, work: Work = compress) -> Iterator[Record]:
    """By the workers of a `dask.distributed.Client`, as they are done. Retries and the dashboard are Dask's."""
    from dask.distributed import as_completed

    futures = client.map(work, tasks, settings=settings, pure=False, retries=RETRIES)
    for future in as_completed(futures):
        yield future.result()


def on_ray(tasks: Sequence[Any], settings: Settings, work: Work = compress) -> Iterator[Record]:
    """By the workers of the Ray that was begun with `ray.init`, one core a task, as they are done."""
    import ray

    remote = ray.remote(num_cpus=1, max_retries=RETRIES, retry_exceptions=True)(work)
    waiting = [remote.options(name=f"llmzip {getattr(task, 'name', '')}").remote(task, settings) for task in tasks]
    try:
        while waiting:
            done, waiting = ray.wait(waiting)
            yield from ray.get(done)
    finally:
        for task in waiting:
            ray.cancel(task)


def join(records: Iterable[Record], target: str, settings: Settings) -> Record:
    """One file of the outputs of `plan_parts`, with one index. Blocks are compared with the source, not decoded."""
    in_order = sorted(records, key=lambda record: record.start)
    digest, content = _Digest(), _Digest()
    with ExitStack() as stack:
        files = [
            stack.enter_context(fsspec.open(record.target, "rb", **settings.storage_options)) for record in in_order
        ]
        source = stack.enter_context(fsspec.open(in_order[0].source, "rb", **settings.storage_options))
        output = stack.enter_context(writing(target, compression=None, **settings.storage_options))

        def read(n: int) -> bytes:
            data: bytes = source.read(n)
            content.update(data)
            return data

        def write(data: bytes) -> None:
            digest.update(data)
            output.write(data)

        parts.merge(files, write, read)
    return Record(
        source=in_order[0].source,
        target=target,
        start=0,
        n_bytes=content.n_bytes,
        n_bytes_on_disk=digest.n_bytes,
        bits_per_byte=round(8 * digest.n_bytes / content.n_bytes, 4) if content.n_bytes else None,
        sha256=content.hexdigest(),
        sha256_on_disk=digest.hexdigest(),
        model=in_order[0].model,
    )


def write_manifest(records: Iterable[Record], url: str, settings: Settings) -> dict[str, Any]:
    """All that was done, as JSON, in the order of the outputs: the same bytes whatever engine has done it."""
    in_order = sorted(records, key=lambda record: record.target)
    n_bytes, on_disk = sum(r.n_bytes for r in in_order), sum(r.n_bytes_on_disk for r in in_order)
    manifest = {
        "n_files": len(in_order),
        "n_bytes": n_bytes,
        "n_bytes_on_disk": on_disk,
        "bits_per_byte": round(8 * on_disk / n_bytes, 4) if n_bytes else None,
        "options": settings.options,
        "files": [asdict(record) for record in in_order],
    }
    _write_json(url, manifest, settings)
    return manifest


def _write_json(url: str, value: Any, settings: Settings) -> None:
    with writing(url, compression=None, **settings.storage_options) as file:
        file.write(json.dumps(value, indent=1).encode() + b"\n")
