"""Object stores: an S3 server in this process, all of an object or nothing of it, whatever breaks."""

import io
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import llmzip
from llmzip.errors import LlmzipError

pytestmark = [pytest.mark.long, pytest.mark.filterwarnings("ignore")]

fsspec = pytest.importorskip("fsspec")
s3fs = pytest.importorskip("s3fs")
moto_server = pytest.importorskip("moto.server")

from llmzip import distributed  # noqa: E402
from llmzip.filesystem import LmzFileSystem, writing  # noqa: E402

LARGE = os.urandom(1 << 20) * 13  # more than two parts of an upload: it is not compressed, and costs no time


class Server:
    """A server that can be taken away and come back; what it holds stays."""

    def __init__(self) -> None:
        self.port = 0
        self.start()

    def start(self) -> None:
        self._server = moto_server.ThreadedMotoServer(ip_address="127.0.0.1", port=self.port)
        self._server.start()
        _, self.port = self._server.get_host_and_port()

    def stop(self) -> None:
        self._server.stop()


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.stop()


@pytest.fixture
def options(server: Server, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Of fsspec, for this server: gives up soon."""
    monkeypatch.setattr(s3fs.core.S3FileSystem, "retries", 1)
    quick = {"retries": {"max_attempts": 1}, "connect_timeout": 2, "read_timeout": 10}
    url = f"http://127.0.0.1:{server.port}"
    return {
        "key": "x",
        "secret": "x",
        "endpoint_url": url,
        "config_kwargs": quick,
        "use_listings_cache": False,
        "default_block_size": 5 << 20,
    }


@pytest.fixture
def s3(options: dict[str, Any]) -> Iterator[Any]:
    s3fs.S3FileSystem.clear_instance_cache()
    fs = s3fs.S3FileSystem(**options)
    fs.mkdir("bucket")
    yield fs
    fs.rm("bucket", recursive=True)
    s3fs.S3FileSystem.clear_instance_cache()


def objects(fs: Any) -> list[str]:
    fs.invalidate_cache()
    return [path.removeprefix("bucket/") for path in fs.find("bucket")]


def unfinished(fs: Any) -> list[Any]:
    found: list[Any] = fs.call_s3("list_multipart_uploads", Bucket="bucket").get("Uploads", [])
    return found


def noise(n: int) -> bytes:
    """What no repeat makes smaller."""
    return os.urandom(n)


def test_there_and_back_by_every_way(s3: Any, options: dict[str, Any]) -> None:
    data = noise(12_000_000)
    with fsspec.open("s3://bucket/a.lmz", "wb", compression="lmz", **options) as file:
        for at in range(0, len(data), 1_000_000):
            file.write(data[at : at + 1_000_000])
    with writing("s3://bucket/b.lmz", **options) as file:
        file.write(data)
    assert objects(s3) == ["a.lmz", "b.lmz"] and unfinished(s3) == []
    assert s3.cat("bucket/a.lmz") == s3.cat("bucket/b.lmz")
    with fsspec.open("s3://bucket/a.lmz", "rb", compression="infer", **options) as file:
        assert file.read() == data
    with fsspec.open("lmz://a::s3://bucket/a.lmz", "rb", s3=options) as file:
        file.seek(-7, 2)
        assert file.read() == data[-7:]


def test_of_a_large_object_no_more_is_fetched_than_it_takes(
    s3: Any, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = noise(9_000_000)
    with writing("s3://bucket/a.lmz", options={"block_size": 1 << 18, "group_size": 1 << 18}, **options) as file:
        file.write(data)
    fetched = []
    fetch = s3fs.core.S3File._fetch_range

    def noting(file: Any, start: int, end: int) -> Any:
        fetched.append(end - start)
        return fetch(file, start, end)

    monkeypatch.setattr(s3fs.core.S3File, "_fetch_range", noting)
    with fsspec.open("lmz://a::s3://bucket/a.lmz", "rb", s3=options | {"default_block_size": 1 << 18}) as file:
        file.seek(4_000_000)
        assert file.read(1000) == data[4_000_000:4_001_000]
    assert 0 < sum(fetched) < len(data) / 3  # a binary block is 2 MiB


class Stopped(Exception):
    pass


def test_what_is_broken_off_leaves_nothing(s3: Any, options: dict[str, Any]) -> None:
    data = noise(12_000_000)
    with pytest.raises(Stopped), writing("s3://bucket/a.lmz", **options) as file:
        file.write(data)
        raise Stopped
    assert objects(s3) == [] and unfinished(s3) == []


@pytest.mark.parametrize("way", ["fsspec", "writing"])
@pytest.mark.parametrize("comes_back", [True, False])
def test_a_connection_that_breaks_leaves_no_half_object(
    s3: Any, options: dict[str, Any], server: Server, way: str, comes_back: bool
) -> None:
    """Also when it is there again by the time when the file is closed."""
    data = noise(16_000_000)
    with pytest.raises(Exception) as raised:
        with _opened(way, options) as file:
            file.write(data[:8_000_000])
            server.stop()
            try:
                file.write(data[8_000_000:])
                file.flush()
            finally:
                if comes_back:
                    server.start()
    if not comes_back:
        server.start()
    assert not isinstance(raised.value, LlmzipError)
    assert objects(s3) == []


def _opened(way: str, options: dict[str, Any]) -> Any:
    if way == "writing":
        return writing("s3://bucket/a.lmz", **options)
    return fsspec.open("s3://bucket/a.lmz", "wb", compression="lmz", **options)


def test_a_source_that_breaks_leaves_no_output(
    s3: Any, options: dict[str, Any], server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3.pipe("bucket/in", noise(12_000_000))
    settings = distributed.Settings(model="toy", storage_options=options, verify=False)
    (task,) = distributed.plan("s3://bucket/in", "s3://bucket/out", settings)
    chunks = distributed._chunks

    def breaking(*arguments: Any) -> Iterator[bytes]:
        found = chunks(*arguments)
        yield next(found)
        server.stop()
        try:
            yield from found
        finally:
            server.start()

    monkeypatch.setattr(distributed, "_chunks", breaking)
    with pytest.raises(Exception, match="Could not connect"):
        distributed.compress(task, settings)
    assert objects(s3) == ["in"]
    monkeypatch.setattr(distributed, "_chunks", chunks)
    record = distributed.compress(task, settings)
    assert objects(s3) == ["in", "out/in.lmz", "out/in.lmz.json"] and record.n_bytes == 12_000_000


def test_a_local_file_is_all_or_nothing(tmp_path: Path) -> None:
    path = tmp_path / "below" / "a.lmz"
    with pytest.raises(Stopped), writing(str(path), options={"model": "toy"}) as file:
        file.write(b"abc" * 1000)
        raise Stopped
    assert list(path.parent.iterdir()) == []
    with writing(str(path), options={"model": "toy"}) as file:
        file.write(b"abc" * 1000)
        file.flush()
        assert not path.exists()
    assert [entry.name for entry in path.parent.iterdir()] == ["a.lmz"] and llmzip.decompress(
        path.read_bytes()
    ) == b"abc" * 1000


def test_the_file_system_of_one_file(tmp_path: Path) -> None:
    text = b"It was the best of times.\n" * 50
    (tmp_path / "a.txt.lmz").write_bytes(llmzip.compress(text, "toy", block_size=300, group_size=300))
    fs = fsspec.filesystem("lmz", fo=str(tmp_path / "a.txt.lmz"))
    assert isinstance(fs, LmzFileSystem)
    assert fs.ls("", detail=False) == ["a.txt"] and fs.info("a.txt")["size"] == len(text) and fs.cat("a.txt") == text
    assert fs.cat_file("a.txt", 700, 800) == text[700:800]
    with pytest.raises(FileNotFoundError):
        fs.open("b.txt")
    with pytest.raises(ValueError, match="for reading"):
        fs.open("a.txt", "wb")


def test_a_tar_in_a_store(s3: Any, options: dict[str, Any]) -> None:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        member = tarfile.TarInfo("x")
        member.size = 3
        tar.addfile(member, io.BytesIO(b"abc"))
    with writing("s3://bucket/t.tar.lmz", **options) as file:
        file.write(made.getvalue())
    with fsspec.open("lmz://t.tar::s3://bucket/t.tar.lmz", s3=options) as file, tarfile.open(fileobj=file) as tar:
        inner = tar.extractfile("x")
        assert inner is not None and inner.read() == b"abc"
