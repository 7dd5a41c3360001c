"""What happens to files, pipes and descriptors: nothing is lost in silence, nothing is replaced or deleted unasked."""

import errno
import io
import os
import pty
import resource
import select
import shutil
import signal
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from commands import COMMAND, TEXT, Run, environment, names, spoiled, stored
from tiers import mostly_long

from llmzip.cli import descriptors, fileio
from llmzip.cli.display import table, width
from llmzip.cli.fileio import sources

NOISE = bytes(range(256)) * 8
UNBUFFERED = [{"PYTHONUNBUFFERED": "1"}, {"PYTHONUNBUFFERED": ""}]


def start(*argv: str, cwd: Path, env: dict[str, str] | None = None, **streams: Any) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([*COMMAND, *argv], cwd=cwd, env=environment() | (env or {}), **streams)


def process(
    *argv: str, cwd: Path, env: dict[str, str] | None = None, **streams: Any
) -> "subprocess.CompletedProcess[bytes]":
    given: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | streams
    done: subprocess.CompletedProcess[bytes] = subprocess.run(
        [*COMMAND, *argv], cwd=cwd, env=environment() | (env or {}), timeout=120, **given
    )
    return done


def shell(script: str, cwd: Path) -> "subprocess.CompletedProcess[bytes]":
    """A script of sh in which $L is the command."""
    return subprocess.run(
        ["sh", "-c", script], cwd=cwd, env=environment() | {"L": " ".join(COMMAND)}, capture_output=True, timeout=120
    )


# --- names that are descriptors


@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", "link", "/proc/thread-self/fd/1"])
def test_a_descriptor_is_written_to_and_not_replaced(tmp_path: Path, name: str) -> None:
    (tmp_path / "a.lmz").write_bytes(stored(b"content\n"))
    (tmp_path / "link").symlink_to("/dev/stdout")
    (tmp_path / "all").write_bytes(b"precious\n")
    before = names(tmp_path)
    assert shell(f"$L decompress -f a.lmz -o {name} >> all", tmp_path).returncode == 0
    assert (tmp_path / "all").read_bytes() == b"precious\ncontent\n"
    both = f"(echo before; $L decompress a.lmz -o {name}; $L decompress -f a.lmz -o {name}) > both"
    assert shell(both, tmp_path).returncode == 0
    assert (tmp_path / "both").read_bytes() == b"before\ncontent\ncontent\n"
    assert names(tmp_path) == before | {"both"}


@pytest.mark.long
def test_other_descriptors(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(NOISE)
    done = shell("$L compress -f a -o /dev/fd/7 7>>b && $L decompress b -o /dev/fd/3 3>c && cmp a c", tmp_path)
    assert done.returncode == 0, done.stderr
    assert shell("(head -c 0; $L compress -c /dev/stdin) < a | $L -d | cmp - a", tmp_path).returncode == 0
    assert shell("cat a | $L compress /dev/stdin -o b2 && cmp b b2", tmp_path).returncode == 0
    closed = shell("$L compress a -o /dev/stdout >&-", tmp_path)
    assert closed.returncode == 1 and b"descriptor 1 is closed" in closed.stderr
    assert shell("$L compress a -o /dev/fd/9", tmp_path).returncode == 1


def test_descriptor_of(tmp_path: Path) -> None:
    (tmp_path / "stdout").symlink_to("/dev/stdout")
    (tmp_path / "again").symlink_to("stdout")
    (tmp_path / "round").symlink_to("round")
    found = [
        "/dev/stdin",
        "/dev/stdout",
        "/dev/fd/3",
        f"/proc/{os.getpid()}/fd/4",
        str(tmp_path / "again"),
        "/dev/../dev/fd/5",
    ]
    assert [descriptors.descriptor_of(name) for name in found] == [0, 1, 3, 4, 1, 5]
    for name in ("/dev/null", "a", str(tmp_path / "round"), "/proc/1/fd/1", "/dev/fd", "/dev/fd/x", "", "/"):
        assert descriptors.descriptor_of(name) is None, name


def test_input_is_not_output_by_descriptor(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(NOISE)
    done = shell("$L compress -f a -o /dev/stdout >> a", tmp_path)
    assert done.returncode == 1 and b"the same file" in done.stderr
    assert (tmp_path / "a").read_bytes() == NOISE


# --- removing sources


def test_a_source_stays_where_its_result_passes_by(run: Run, tmp_path: Path) -> None:
    Path("a.lmz").write_bytes(stored(TEXT))
    Path("a.txt").write_bytes(TEXT)
    os.mkfifo("pipe")
    before = names(tmp_path)
    for name in ("/dev/null", "pipe", "/dev/stdout", "/dev/fd/1", "/dev/full"):
        for argv in (["decompress", "-f", "a.lmz"], ["compress", "-m", "toy", "-f", "a.txt"], ["-df", "a.lmz"]):
            result = run(*argv, "--rm", "-o", name)
            assert result.code == 1 and result.out == b"" and "--rm needs an output that is a file" in result.err
    assert names(tmp_path) == before


def test_only_regular_files_are_removed(run: Run, tmp_path: Path) -> None:
    os.mkfifo("pipe")
    before = names(tmp_path)
    for argv in (["pipe", "-o", "x"], ["-f", "/dev/stdin", "-o", "x"], ["-f", "/dev/fd/0", "-o", "x"]):
        holder = os.open("pipe", os.O_RDWR)  # so that opening it waits for nobody
        assert run("compress", "--rm", *argv).code in (1, 2)
        os.close(holder)
    assert names(tmp_path) == before and os.path.lexists("/dev/stdin")


def test_hard_links_and_special_bits(run: Run, tmp_path: Path) -> None:
    Path("a").write_bytes(NOISE)
    os.link("a", "b")
    result = run("compress", "--rm", "a")
    assert result.code == 2 and "has 1 other name(s) that --rm would leave, skipped" in result.err
    assert names(tmp_path) == {"a", "b"}
    assert run("compress", "a").code == 0  # no harm without --rm
    assert run("compress", "--rm", "-f", "a").code == 0 and names(tmp_path) == {"a.lmz", "b"}
    for bit in (stat.S_ISUID, stat.S_ISGID, stat.S_ISVTX):
        os.chmod("b", 0o755 | bit)
        assert run("compress", "--rm", "b").code == 2 and Path("b").exists()
        result = run("compress", "-f", "b")
        assert result.code == 2 and "b.lmz does not have the s" in result.err
        assert stat.S_IMODE(os.stat("b.lmz").st_mode) == 0o755


def test_decompress_removes_only_what_reads_back(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("a.lmz").write_bytes(stored(TEXT))
    monkeypatch.setattr(descriptors, "write_all", lambda descriptor, data: os.write(descriptor, bytes(len(data))))
    result = run("decompress", "--rm", "a.lmz")
    assert result.code == 1 and "a does not read back as it was written" in result.err
    assert names(tmp_path) == {"a.lmz"}


@pytest.mark.parametrize("argv", [["--verify", "a"], ["--verify", "-c", "a"], ["--verify", "-c"]])
def test_verify(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, argv: list[str]) -> None:
    from llmzip.stream import LmzCompressor

    Path("a").write_bytes(TEXT)
    assert run("compress", "-m", "toy", *argv, "-f", stdin=TEXT).code == 0
    Path("a.lmz").unlink(missing_ok=True)
    for wrong in (stored(TEXT + b"x"), stored(TEXT[:-1]), stored(TEXT[::-1]), spoiled(TEXT), stored(TEXT)[:-1]):
        monkeypatch.setattr(LmzCompressor, "flush", lambda self, wrong=wrong: wrong)
        result = run("compress", "-m", "toy", *argv, stdin=TEXT)
        assert result.code == 1 and result.err.startswith("llmzip: ")
    assert names(tmp_path) == {"a"}


# --- what a file system refuses


@pytest.mark.parametrize("call", ["chmod", "utime", "fsync"])
@pytest.mark.parametrize("number", [errno.EPERM, errno.EINVAL, errno.ENOSYS, errno.ENOTSUP])
def test_what_is_refused_is_a_warning(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int
) -> None:
    """FAT, Samba, FUSE: the result is there, exit code 2."""
    Path("a").write_bytes(NOISE)
    monkeypatch.setattr(os, call, refusing(number))
    result = run("compress", "-m", "toy", "a")
    assert result.code == 2 and result.err.startswith("llmzip: a: a.lmz ") and os.strerror(number).lower() in result.err
    back = run("decompress", "a.lmz", "-o", "b")
    assert back.code == 2 and back.err.startswith("llmzip: a.lmz: b ")
    assert Path("b").read_bytes() == NOISE and names(tmp_path) == {"a", "a.lmz", "b"}


def refusing(number: int) -> Callable[..., None]:
    def refuse(*args: object, **names: object) -> None:
        raise OSError(number, os.strerror(number))

    return refuse


def test_a_source_stays_if_its_result_may_not_last(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("a").write_bytes(NOISE)
    monkeypatch.setattr(os, "fsync", refusing(errno.EINVAL))
    assert run("compress", "--rm", "a").code == 2 and names(tmp_path) == {"a", "a.lmz"}
    assert run("compress", "--rm", "-f", "a").code == 2 and names(tmp_path) == {"a.lmz"}


@pytest.mark.parametrize(("call", "number"), [("fsync", errno.EIO), ("fsync", errno.ENOSPC), ("chmod", errno.EIO)])
def test_a_failing_disk_is_an_error(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int
) -> None:
    Path("a").write_bytes(NOISE)
    monkeypatch.setattr(os, call, refusing(number))
    result = run("compress", "--rm", "a")
    assert (
        result.code == 1 and result.err.endswith(f"{os.strerror(number).lower().replace('i/o', 'I/O')}: a.lmz\n")
    ) or "a.lmz" in result.err
    assert names(tmp_path) == {"a"}


def test_errors_name_the_output(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("a").write_bytes(NOISE)
    monkeypatch.setattr(os, "link", refusing(errno.EPERM))
    monkeypatch.setattr(os, "replace", refusing(errno.EROFS))
    assert run("compress", "a", "-o", "b").err == "llmzip: a: read-only file system: b\n"


# --- every byte, or an error


@pytest.mark.parametrize("env", UNBUFFERED)
@pytest.mark.parametrize(
    "argv", [["compress", "-c", "noise"], ["decompress", "-c", "big.lmz"], ["info", "--json", *["big.lmz"] * 40]]
)
def test_a_file_that_may_not_grow(tmp_path: Path, env: dict[str, str], argv: list[str]) -> None:
    (tmp_path / "noise").write_bytes(os.urandom(30_000))
    (tmp_path / "big.lmz").write_bytes(stored(NOISE * 50))
    limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1024, 1024))  # noqa: E731
    with open(tmp_path / "out", "wb") as out:
        done = process(*argv, cwd=tmp_path, env=env, stdout=out, preexec_fn=limit)
    assert done.returncode == 1 and b"file too large" in done.stderr
    done = process("decompress", "big.lmz", "-o", "x", cwd=tmp_path, env=env, preexec_fn=limit)
    assert done.returncode == 1 and b"file too large: x" in done.stderr
    assert names(tmp_path) == {"noise", "big.lmz", "out"}


def test_whether_a_pipe_has_something(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "MOMENT", 0.0)
    reader, writer = os.pipe()
    with sources.Source("pipe", open(reader, "rb")) as source:
        assert not source.is_here()
        os.write(writer, b"abc")
        assert source.is_here() and source.read(9) == b"abc" and not source.is_here()
        os.close(writer)
        assert source.is_here() and source.read(9) == b""  # the end is something, too
    with sources.Source("memory", io.BytesIO(b"abc")) as source:
        assert source.is_here()


@pytest.mark.parametrize("env", UNBUFFERED)
@pytest.mark.parametrize(
    "argv", [["decompress", "-c", "big.lmz"], ["info", "--json", *["big.lmz"] * 400], ["-cd", "big.lmz"]]
)
def test_a_pipe_that_does_not_block(tmp_path: Path, env: dict[str, str], argv: list[str]) -> None:
    """Whoever has the other end can have made it so. A full one is waited for."""
    (tmp_path / "big.lmz").write_bytes(stored(NOISE * 500))
    whole = process(*argv, cwd=tmp_path).stdout
    assert len(whole) > 100_000  # more than a pipe holds
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    running = start(*argv, cwd=tmp_path, env=env, stdout=writer)
    os.close(writer)
    pieces = []
    while piece := os.read(reader, 1 << 12):
        pieces.append(piece)
    os.close(reader)
    assert running.wait(60) == 0 and b"".join(pieces) == whole


@pytest.mark.parametrize("env", UNBUFFERED)
def test_an_input_that_does_not_block_is_waited_for(tmp_path: Path, env: dict[str, str]) -> None:
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    running = start("decompress", cwd=tmp_path, env=env, stdin=reader, stdout=subprocess.PIPE)
    os.close(reader)
    assert running.stdout is not None
    for n in range(1, 4):
        os.write(writer, stored(b"x" * n))
        assert running.stdout.read(n) == b"x" * n  # it has met an empty pipe in between, or will now
    os.close(writer)
    assert (running.stdout.read(), running.wait(60)) == (b"", 0)
    running.stdout.close()


def test_output_of_a_live_pipe_comes_block_by_block(tmp_path: Path) -> None:
    running = start("decompress", cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert running.stdin is not None and running.stdout is not None
    for line in (b"one\n", b"two\n"):
        running.stdin.write(stored(line))
        running.stdin.flush()
        assert running.stdout.readline() == line  # the input goes on to be open
    running.communicate(timeout=60)
    assert running.returncode == 0


def test_write_all_and_read_some() -> None:
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    child = os.fork()
    if not child:
        os.close(reader)
        descriptors.write_all(writer, memoryview(NOISE * 500))
        os._exit(0)
    os.close(writer)
    found = b""
    while piece := descriptors.read_some(reader, 777):
        found += piece
    os.close(reader)
    assert os.waitpid(child, 0)[1] == 0 and found == NOISE * 500


@pytest.mark.parametrize("closed", mostly_long(["<&-", ">&-", "2>&-", "<&- >&-", "<&- >&- 2>&-"], ["<&- >&- 2>&-"]))
def test_closed_standard_descriptors_are_not_taken_by_files(tmp_path: Path, closed: str) -> None:
    (tmp_path / "a").write_bytes(NOISE)
    assert shell(f"$L compress -f a {closed}", tmp_path).returncode == 0
    assert shell("$L -dc a.lmz | cmp - a", tmp_path).returncode == 0
    assert shell(f"$L -v compress nix {closed}", tmp_path).returncode == 1
    assert names(tmp_path) == {"a", "a.lmz"}


def test_closed_or_full_where_messages_go(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(NOISE)
    assert shell("$L compress -c <&-", tmp_path).returncode == 1
    for setting in ("PYTHONUNBUFFERED=1", "env -u PYTHONUNBUFFERED"):
        assert shell(f"{setting} $L compress -v -f a 2>/dev/full", tmp_path).returncode == 0, setting
    assert names(tmp_path) == {"a", "a.lmz"}


# --- holes


@pytest.mark.parametrize("before", mostly_long([0, 2, 4096, 70_001], [70_001]))
def test_zeros_become_holes(tmp_path: Path, before: int) -> None:
    content = b"x" * before + bytes(3 << 20) + b"y" + bytes(1 << 20)
    (tmp_path / "a.lmz").write_bytes(stored(content))
    assert process("decompress", "a.lmz", cwd=tmp_path).returncode == 0
    with open(tmp_path / "b", "wb") as b:
        assert process("decompress", "-c", "a.lmz", cwd=tmp_path, stdout=b).returncode == 0
    for name in "ab":
        assert (tmp_path / name).read_bytes() == content
        assert (tmp_path / name).stat().st_blocks * 512 < len(content) / 4
    with open(tmp_path / "b", "ab") as b:
        assert process("decompress", "-c", "a.lmz", cwd=tmp_path, stdout=b).returncode == 0
    assert (tmp_path / "b").read_bytes() == content * 2
    with open(tmp_path / "b", "r+b") as b:  # not at its end: what stands there must go
        assert process("decompress", "-c", "a.lmz", cwd=tmp_path, stdout=b).returncode == 0
    assert (tmp_path / "b").read_bytes() == content * 2


# --- files that change


@pytest.mark.long
def test_a_file_that_grows_ends_where_it_ended(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("log").write_bytes(NOISE)
    read = os.read

    def growing(descriptor: int, size: int) -> bytes:
        with open("log", "ab") as log:
            log.write(b"more" * size)
        return read(descriptor, size)

    monkeypatch.setattr(os, "read", growing)
    result = run("compress", "log")
    monkeypatch.setattr(os, "read", read)
    assert result.code == 2 and "log: has changed while it was read" in result.err
    assert run("-dc", "log.lmz").out == NOISE
    monkeypatch.setattr(os, "read", growing)
    kept = run("compress", "--rm", "-f", "log")
    assert kept.code == 1 and Path("log").exists()


def test_files_that_say_they_are_empty(run: Run) -> None:
    assert run("-dc", stdin=run("compress", "-c", "/proc/version").out).out == Path("/proc/version").read_bytes()


# --- temporary files


def temporaries(folder: Path) -> set[str]:
    return {name for name in names(folder) if name.startswith(".llmzip-")}


def test_what_a_killed_process_leaves_is_removed_by_the_next(tmp_path: Path) -> None:
    for name in ("a.lmz", "b.lmz"):
        (tmp_path / name).write_bytes(stored(NOISE))
    pipe = subprocess.Popen(
        [*COMMAND, "compress", "-m", "toy", "-", "-o", "a"], cwd=tmp_path, env=environment(), stdin=subprocess.PIPE
    )
    assert pipe.stdin is not None
    pipe.stdin.write(b"x" * 100_000)  # is taken only when the output has been opened
    pipe.stdin.flush()
    (left,) = temporaries(tmp_path)
    assert process("decompress", "b.lmz", "-o", "a", cwd=tmp_path).returncode == 0  # beside one that lives
    assert temporaries(tmp_path) == {left}
    pipe.kill()
    pipe.wait(60)
    pipe.stdin.close()
    assert temporaries(tmp_path) == {left}
    assert (
        process("decompress", "b.lmz", "-o", "c", cwd=tmp_path).returncode == 0
    )  # another output has nothing to do with it
    assert temporaries(tmp_path) == {left}
    assert process("decompress", "-f", "b.lmz", "-o", "a", cwd=tmp_path).returncode == 0
    assert temporaries(tmp_path) == set()


def test_what_is_not_ours_is_not_removed(run: Run, tmp_path: Path) -> None:
    Path("a.lmz").write_bytes(stored(TEXT))
    with fileio.FileOutput("a", replace=False) as output:
        assert isinstance(output, fileio.FileOutput)
        (name,) = temporaries(tmp_path)
    Path("precious").write_bytes(b"precious")
    Path(name).symlink_to("precious")
    assert run("decompress", "a.lmz").code == 0
    assert Path("precious").read_bytes() == b"precious" and Path("a").read_bytes() == TEXT
    assert os.path.islink(name)


def test_two_at_once_with_force(tmp_path: Path) -> None:
    """Neither can know of the other when it begins; the last one wins, and no one fails."""
    for _ in range(4):
        pipes = [
            start("decompress", "-f", "-o", "out", cwd=tmp_path, stdin=subprocess.PIPE, stderr=subprocess.PIPE)
            for _ in "ab"
        ]
        for pipe, content in zip(pipes, (b"one", b"two"), strict=True):
            assert pipe.stdin is not None
            pipe.stdin.write(stored(content))
        assert [pipe.communicate(timeout=60)[1] for pipe in pipes] == [b"", b""]
        assert [pipe.returncode for pipe in pipes] == [0, 0]
        assert (tmp_path / "out").read_bytes() in (b"one", b"two")
        (tmp_path / "out").unlink()
    assert names(tmp_path) == set()


@pytest.mark.parametrize("numbers", [[signal.SIGINT] * 2, [signal.SIGINT, signal.SIGTERM], [signal.SIGTERM] * 3])
def test_told_twice_to_end(tmp_path: Path, numbers: list[signal.Signals]) -> None:
    running = start(
        "compress", "-m", "toy", "-", "-o", "a", cwd=tmp_path, stdin=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert running.stdin is not None
    running.stdin.write(b"x" * 100_000)
    running.stdin.flush()
    for number in numbers:
        running.send_signal(number)
    _, err = running.communicate(timeout=60)
    assert running.returncode in {128 + number for number in numbers}
    assert set(err.splitlines()) <= {b"llmzip: interrupted"}
    assert names(tmp_path) == set()


# --- salvage and limits


def test_salvage(run: Run, tmp_path: Path) -> None:
    whole = stored(b"first\n") + stored(TEXT) + stored(b"last\n")
    at = len(stored(b"first\n"))
    Path("a.lmz").write_bytes(stored(b"first\n") + spoiled(TEXT) + stored(b"last\n"))
    result = run("decompress", "--salvage", "a.lmz")
    assert result.code == 2 and Path("a").read_bytes() == b"first\nlast\n"
    assert f"of the file; bytes 6 to {6 + len(TEXT)} of its content)" in result.err and "block 1" in result.err
    assert run("decompress", "--salvage", "-c", stdin=whole).out == b"first\n" + TEXT + b"last\n"
    cut = run("decompress", "--salvage", "-c", stdin=whole[: at + 40])
    assert (cut.code, cut.out) == (2, b"first\n")
    nothing = run("decompress", "--salvage", "-", "-o", "n", stdin=b"this is no such file")
    assert nothing.code == 1 and not Path("n").exists()
    assert run("decompress", "--salvage", "--rm", "a.lmz").code == 1 and Path("a.lmz").exists()
    assert run("decompress", "a.lmz", "-c").out == b"first\n"


def test_test_names_every_damage(run: Run) -> None:
    Path("a.lmz").write_bytes(stored(b"first\n") + spoiled(TEXT) + stored(b"x") + spoiled(TEXT))
    result = run("test", "a.lmz")
    lines = result.err.splitlines()
    assert result.code == 1 and len(lines) == 2
    assert all("block 1" in line and "of the file; bytes" in line for line in lines)


@pytest.mark.parametrize("command", [["decompress", "-c"], ["test"], ["decompress", "--salvage", "-c"]])
def test_limits(run: Run, command: list[str]) -> None:
    Path("a.lmz").write_bytes(stored(TEXT) + stored(TEXT))
    refused = run(*command, "--max-size", "1K", "a.lmz")
    assert refused.code == 1 and "--max-size" in refused.err and len(refused.out) <= len(TEXT)
    assert run(*command, "--max-size", "2k", "--memory", "1G", "a.lmz").code == 0
    assert run(*command, "--memory", "1", "a.lmz").code == 1
    for wrong in ("0", "x", "-1", "1025T", "1e3", "٣"):
        assert run(*command, "--max-size", wrong, "a.lmz").code == 1


# --- terminals


@pytest.mark.parametrize(
    "content",
    mostly_long(
        [b"\xc2\x9b31m", b"\xc2\x9d0;x\xc2\x9c", b"a\xc2\x80", b"\x1b[2J", b"\x7f", b"\x0e"], [b"a\xc2\x80", b"\x1b[2J"]
    ),
)
def test_what_steers_a_terminal_stays_off_it(tmp_path: Path, content: bytes) -> None:
    for data in (
        stored(content),
        stored(content[:1]) + stored(content[1:]) if content[:1] == b"\xc2" else stored(content),
    ):
        (tmp_path / "a.lmz").write_bytes(data)
        shown, code = on_terminal("-dc", "a.lmz", cwd=tmp_path)
        assert code == 1 and content not in shown
    assert content in on_terminal("-dcf", "a.lmz", cwd=tmp_path)[0]


def test_what_does_not_steer_is_shown(tmp_path: Path) -> None:
    content = "schöne Grüße, 漢字, À\u00a0\n".encode()
    (tmp_path / "a.lmz").write_bytes(stored(content))
    shown, code = on_terminal("-dc", "a.lmz", cwd=tmp_path)
    assert code == 0 and content.strip() in shown
    (tmp_path / "a.lmz").write_bytes(stored(b"\x9b31m"))
    assert on_terminal("-dc", "a.lmz", cwd=tmp_path, env={"PYTHONIOENCODING": "latin-1"})[1] == 1


def on_terminal(*argv: str, cwd: Path, env: dict[str, str] | None = None) -> tuple[bytes, int]:
    master, slave = pty.openpty()
    running = start(
        *argv,
        cwd=cwd,
        env={"PYTHONUTF8": "1"} | (env or {}),
        stdin=subprocess.DEVNULL,
        stdout=slave,
        stderr=subprocess.DEVNULL,
    )
    os.close(slave)
    shown = b""
    while select.select([master], [], [], 60)[0]:
        try:
            shown += os.read(master, 4096)
        except OSError:  # the other end is closed
            break
    os.close(master)
    return shown, running.wait(60)


def test_width() -> None:
    assert [width(text) for text in ("abc", "漢字", "e\u0301", "ｶ", "ﾊ", "a\u200db")] == [3, 4, 1, 1, 1, 2]
    lines = list(table(["file", "n"], [["漢字.txt", "1"], ["a", "22"]]))
    assert {width(line) for line in lines} == {12}


def test_the_progress_line_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    from llmzip.cli.display import ProgressLine

    shown: list[str] = []
    monkeypatch.setattr(shutil, "get_terminal_size", lambda: os.terminal_size((60, 24)))
    for name in ("日本語のとても長いファイル名です" * 2 + ".txt", "e\u0301" * 200, "x" * 200, "短い"):
        line = ProgressLine(name, 1000, decoding=False, write=shown.append)
        line.finish(1000, 100)
        line.done()
    drawn = [text.strip("\r") for text in shown if text != "\n"]
    assert len(drawn) == 4 and all(width(text.rstrip()) <= 59 for text in drawn)
    assert drawn[0].startswith("…です.txt  1000 B") and "bits/byte" in drawn[0]


def test_full_memory_has_a_hint_where_there_is_one(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: object, data: bytes) -> None:
        raise MemoryError

    Path("a.lmz").write_bytes(stored(TEXT))
    Path("b").write_bytes(NOISE)
    monkeypatch.setattr(fileio.FileOutput, "write", full)
    assert run("decompress", "a.lmz").err == "llmzip: a.lmz: out of memory\n"
    assert "--lanes" in run("compress", "b").err
