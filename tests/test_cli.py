"""The command line: transcripts in this process, and real processes where terminals, signals and pipes are the matter.

Runs on the toy model, so that no weights are needed.
"""

import json
import os
import pty
import re
import select
import shutil
import signal
import stat
import subprocess
import sys
import time
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from checkpoints import invented_text, tiny_llama_folder
from commands import COMMAND, TEXT, Result, Run, environment, names, spoiled, stored

import llmzip
from llmzip import container, get_info, native
from llmzip.cli import fileio
from llmzip.cli.display import Display, duration_text, printable, size_text, speed_text
from llmzip.cli.fileio.status import umask
from llmzip.errors import ModelError
from llmzip.models.known import BUNDLED
from llmzip.models.toy import ToyModel

# --- there and back


def test_there_and_back(run: Run, tmp_path: Path) -> None:
    Path("a.txt").write_bytes(TEXT)
    assert run("compress", "-m", "toy", "a.txt") == Result(0, b"", "")
    assert names(tmp_path) == {"a.txt", "a.txt.lmz"}
    assert Path("a.txt.lmz").stat().st_size < len(TEXT)
    Path("a.txt").unlink()
    assert run("decompress", "a.txt.lmz") == Result(0, b"", "")
    assert Path("a.txt").read_bytes() == TEXT
    assert names(tmp_path) == {"a.txt", "a.txt.lmz"}


@pytest.mark.parametrize("data", [b"", b"\x00\xff" * 9, TEXT])
@pytest.mark.parametrize("dash", [[], ["-"]])
def test_stdin_to_stdout(run: Run, data: bytes, dash: list[str]) -> None:
    coded = run("compress", "-m", "toy", *dash, stdin=data)
    assert (coded.code, coded.err) == (0, "")
    assert run("decompress", *dash, stdin=coded.out) == Result(0, data, "")


def test_concatenated_files_give_concatenated_content(run: Run) -> None:
    coded = run("compress", "-m", "toy", "--block-size", "200", stdin=TEXT).out
    assert run("decompress", stdin=coded + stored(b"") + stored(b"x") + coded).out == TEXT + b"x" + TEXT


def test_parameters_reach_the_coder(run: Run) -> None:
    text = ToyModel().speak(600)
    Path("a").write_bytes(text)
    parameters = ["--lanes", "3", "--window", "32", "--overlap", "4", "--block-size", "256"]
    assert run("compress", "-m", "toy", *parameters, "a").code == 0
    (record,) = json.loads(run("info", "--json", "a.lmz").out)
    blocks = record["members"][0]["blocks"]
    assert [block["n_bytes"] for block in blocks] == [256, 256, 88]
    assert {(block["lanes"], block["window"], block["overlap"]) for block in blocks} == {(3, 32, 4)}
    assert run("decompress", "-c", "a.lmz").out == text


def test_several_files_and_suffix(run: Run, tmp_path: Path) -> None:
    for name in "abc":
        Path(name).write_bytes(TEXT + name.encode())
    assert run("compress", "-m", "toy", "-S", ".x", "a", "b", "c").code == 0
    assert names(tmp_path) == {"a", "b", "c", "a.x", "b.x", "c.x"}
    assert run("decompress", "-c", "a.x", "b.x").out == TEXT + b"a" + TEXT + b"b"


def test_output_names(run: Run, tmp_path: Path) -> None:
    Path("a").write_bytes(stored(b"hello"))
    assert run("decompress", "a", "-o", "b").code == 0
    assert Path("b").read_bytes() == b"hello"
    assert run("decompress", "a", "-o", "-").out == b"hello"
    assert run("decompress", "-", "-o", "c", stdin=stored(b"yes")).code == 0
    assert Path("c").read_bytes() == b"yes"
    assert stat.S_IMODE(Path("c").stat().st_mode) == 0o666 & ~umask()
    assert run("decompress", "a", "-o", "/dev/null") == Result(0, b"", "")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


def test_dash_is_a_folder_away(run: Run) -> None:
    Path("-x").write_bytes(stored(b"dash"))
    assert run("decompress", "-c", "--", "-x").out == b"dash"


def test_remove(run: Run, tmp_path: Path) -> None:
    Path("a").write_bytes(TEXT)
    assert run("compress", "-m", "toy", "--rm", "a") == Result(0, b"", "")
    assert names(tmp_path) == {"a.lmz"}
    assert run("decompress", "--rm", "a.lmz") == Result(0, b"", "")
    assert names(tmp_path) == {"a"}
    assert Path("a").read_bytes() == TEXT


def test_remove_compares_first(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from llmzip.stream import LmzCompressor

    monkeypatch.setattr(LmzCompressor, "flush", lambda self: stored(b"something else"))
    Path("a").write_bytes(TEXT)
    result = run("compress", "-m", "toy", "--rm", "a")
    assert result.code == 1
    assert "does not decode to the source" in result.err
    assert names(tmp_path) == {"a"}


def test_remove_keeps_a_source_that_changed(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("a.lmz").write_bytes(stored(b"x"))
    monkeypatch.setattr(fileio.FileOutput, "publish", lambda self: Path("a.lmz").write_bytes(b"new"))
    assert run("decompress", "--rm", "a.lmz").err == "llmzip: a.lmz: has changed while it was read, and is kept\n"
    assert names(tmp_path) == {"a.lmz"}


def test_times_and_mode_are_kept(run: Run) -> None:
    Path("a").write_bytes(TEXT)
    os.chmod("a", 0o640)
    os.utime("a", ns=(1_000_000_000_123_456_789, 1_100_000_000_987_654_321))
    assert run("compress", "-m", "toy", "--rm", "a").code == 0
    assert run("decompress", "a.lmz").code == 0
    for name in ("a", "a.lmz"):
        status = os.stat(name)
        assert (stat.S_IMODE(status.st_mode), status.st_mtime_ns) == (0o640, 1_100_000_000_987_654_321)


# --- what is refused


def test_nothing_is_overwritten_unasked(run: Run, tmp_path: Path) -> None:
    Path("a.lmz").write_bytes(stored(b"new"))
    Path("a").write_bytes(b"old")
    result = run("decompress", "a.lmz", stdin=b"y\n")
    assert result == Result(1, b"", "llmzip: a.lmz: a already exists\nllmzip: hint: use -f to overwrite it\n")
    assert Path("a").read_bytes() == b"old"
    assert run("decompress", "-f", "a.lmz").code == 0
    assert Path("a").read_bytes() == b"new"
    assert names(tmp_path) == {"a", "a.lmz"}


def test_a_file_that_appears_meanwhile_is_not_overwritten(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("a.lmz").write_bytes(stored(b"new"))
    monkeypatch.setattr(fileio.FileOutput, "complete", lambda self, like: Path("a").write_bytes(b"old"))
    assert run("decompress", "a.lmz").code == 1
    assert Path("a").read_bytes() == b"old"
    assert names(tmp_path) == {"a", "a.lmz"}


def test_no_hard_links_here(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_link(old: str, new: str) -> None:
        raise PermissionError(1, "not here")

    monkeypatch.setattr(os, "link", no_link)
    Path("a.lmz").write_bytes(stored(b"new"))
    assert run("decompress", "a.lmz").code == 0
    assert Path("a").read_bytes() == b"new"
    assert names(tmp_path) == {"a", "a.lmz"}


def test_input_is_not_output(run: Run) -> None:
    Path("a").write_bytes(TEXT)
    os.link("a", "a.lmz")
    for argv in (["a", "-f"], ["a", "-f", "-o", "a"]):
        result = run("compress", "-m", "toy", *argv)
        assert (result.code, result.err) == (1, "llmzip: a: input and output are the same file\n")
    assert Path("a").read_bytes() == TEXT


def test_links_folders_and_suffixes_are_skipped(run: Run, tmp_path: Path) -> None:
    Path("a").write_bytes(TEXT)
    Path("link").symlink_to("a")
    Path("folder").mkdir()
    Path("b.lmz").write_bytes(b"")
    os.mkfifo("pipe")
    before = names(tmp_path)
    result = run("compress", "-m", "toy", "link", "folder", "b.lmz", "pipe")
    assert result.code == 2
    assert [line for line in result.err.splitlines() if "hint" not in line] == [
        "llmzip: link: is a symbolic link, skipped",
        "llmzip: folder: is a directory, skipped",
        "llmzip: b.lmz: already has the suffix .lmz, skipped",
        "llmzip: pipe: is not a regular file, skipped",
    ]
    assert run("compress", "-q", "folder") == Result(2, b"", "")
    assert names(tmp_path) == before
    assert run("compress", "-m", "toy", "-f", "link").code == 0
    assert names(tmp_path) == before | {"link.lmz"}
    assert run("compress", "-m", "toy", "-c", "link").code == 0


def test_overwriting_a_link_keeps_it(run: Run) -> None:
    Path("real").write_bytes(b"old")
    Path("a").symlink_to("real")
    Path("a.lmz").write_bytes(stored(b"new"))
    assert run("decompress", "a.lmz").code == 1
    assert run("decompress", "-f", "a.lmz").code == 0
    assert Path("a").is_symlink()
    assert Path("real").read_bytes() == b"new"


def test_unknown_suffix(run: Run) -> None:
    Path("a").write_bytes(stored(b"x"))
    result = run("decompress", "a")
    assert result == Result(1, b"", "llmzip: a: does not end in .lmz\nllmzip: hint: name the output with -o FILE\n")
    Path(".lmz").write_bytes(stored(b"x"))
    assert run("decompress", ".lmz").code == 1


def test_the_worst_exit_code_wins_and_the_rest_is_done(run: Run, tmp_path: Path) -> None:
    Path("a").write_bytes(b"")
    Path("folder").mkdir()
    result = run("compress", "nix", "folder", "a")
    assert result.code == 1
    assert result.err.startswith("llmzip: nix: no such file or directory\n")
    assert "a.lmz" in names(tmp_path)
    assert run("compress", "-qq", "nix") == Result(1, b"", "")


# --- damage


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"", "file is empty"),
        (b"plain text", "not an .lmz file"),
        (stored(TEXT)[:-3], "file ends in block 1"),
        (stored(TEXT)[:4], "file ends in the preamble"),
        (stored(TEXT) + b"rest", "bytes after the end of member 1"),
        (
            spoiled(TEXT),
            f"block 1 (content bytes 0 to {len(TEXT) - 1}): the decoded bytes are not the ones that were compressed",
        ),
    ],
)
def test_damaged(run: Run, tmp_path: Path, data: bytes, what: str) -> None:
    Path("a.lmz").write_bytes(data)
    for argv in (["decompress", "a.lmz"], ["test", "a.lmz"], ["decompress", "-f", "--rm", "a.lmz"]):
        result = run(*argv)
        assert (result.code, result.out) == (1, b"")
        assert result.err.startswith(f"llmzip: a.lmz: {what}")
    assert names(tmp_path) == {"a.lmz"}
    piped = run("decompress", stdin=data)
    assert piped.code == 1
    assert piped.err.startswith(f"llmzip: standard input: {what}")


def test_test(run: Run, tmp_path: Path) -> None:
    Path("a.lmz").write_bytes(stored(TEXT))
    Path("b.lmz").write_bytes(spoiled(TEXT))
    assert run("test", "a.lmz") == Result(0, b"", "")
    result = run("test", "-v", "a.lmz", "b.lmz")
    assert (result.code, result.out) == (1, b"a.lmz: ok\n")
    assert names(tmp_path) == {"a.lmz", "b.lmz"}


def test_full_disk(run: Run) -> None:
    Path("a.lmz").write_bytes(stored(TEXT))
    assert run("decompress", "a.lmz", "-o", "/dev/full").err == "llmzip: a.lmz: no space left on device: /dev/full\n"
    assert run("decompress", "a.lmz", "-o", "none/x").err == "llmzip: a.lmz: no such file or directory: none/x\n"
    assert run("decompress", "a.lmz", "-o", "/").code == 1


@pytest.mark.parametrize(
    ("error", "what"),
    [
        (MemoryError(), "out of memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "out of memory"),
        (PermissionError(13, "Permission denied"), "permission denied"),
    ],
)
def test_errors_on_the_way(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, what: str
) -> None:
    def fail(self: fileio.FileOutput, data: bytes) -> None:
        raise error

    monkeypatch.setattr(fileio.FileOutput, "write", fail)
    Path("a.lmz").write_bytes(stored(TEXT))
    assert run("decompress", "a.lmz").err.startswith(f"llmzip: a.lmz: {what}\n")
    assert names(tmp_path) == {"a.lmz"}


def test_interrupt_in_process(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(self: fileio.FileOutput, data: bytes) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(fileio.FileOutput, "write", interrupt)
    Path("a.lmz").write_bytes(stored(TEXT))
    assert run("decompress", "a.lmz") == Result(130, b"", "llmzip: interrupted\n")
    assert names(tmp_path) == {"a.lmz"}


# --- arguments


@pytest.mark.parametrize(
    "argv",
    [
        ["frobnicate"],
        ["compress", "--frobnicate"],
        ["compress", "-o"],
        ["compress", "a", "b", "-o", "c"],
        ["compress", "-c", "-o", "c"],
        ["compress", "-c", "--rm", "a"],
        ["compress", "--rm", "-k", "a"],
        ["compress", "--rm", "-"],
        ["compress", "--lanes", "0", "a"],
        ["compress", "--block-size", "65M", "a"],
        ["compress", "--block-size", "x", "a"],
        ["compress", "-S", "", "a"],
        ["compress", "-S", "/x", "a"],
        ["compress", "--engine", "transformers", "a"],
        ["compress", "--engine", "steam", "a"],
        ["info"],
        ["models", "pull"],
    ],
)
def test_usage_errors(run: Run, tmp_path: Path, argv: list[str]) -> None:
    Path("a").write_bytes(TEXT)
    result = run(*argv)
    assert (result.code, result.out) == (1, b"")
    assert result.err.startswith("llmzip: ")
    assert "llmzip: hint: " in result.err
    assert names(tmp_path) == {"a"}


def test_wrong_model_stops_at_once(run: Run, tmp_path: Path) -> None:
    Path("a").write_bytes(TEXT)
    Path("b").write_bytes(TEXT)
    result = run("compress", "-m", "no-such-model", "a", "b")
    assert result.code == 1
    assert result.err.count("no-such-model") == 1
    assert names(tmp_path) == {"a", "b"}


def test_parameters_beyond_the_model(run: Run, tmp_path: Path) -> None:
    Path("a").write_bytes(TEXT)
    result = run("compress", "-m", "toy", "--window", "16", "--overlap", "16", "a")
    assert result == Result(1, b"", "llmzip: overlap must be at most 8, half the window\n")
    assert names(tmp_path) == {"a"}


def test_clusters_and_verbosity(run: Run) -> None:
    Path("a.lmz").write_bytes(stored(TEXT))
    assert run("decompress", "-kfv", "a.lmz").err.startswith("llmzip: a.lmz  ")
    assert run("decompress", "-kfvq", "a.lmz").err == ""


def test_help_and_version(run: Run) -> None:
    assert run("--version").out == b"llmzip 0.1.0\n"
    everything = run("--help")
    assert everything.code == 0
    for command in ("compress", "decompress", "test", "info", "models", "doctor"):
        assert command.encode() in everything.out
        assert run(command, "--help").code == 0


# --- info and models


def test_info(run: Run) -> None:
    Path("a").write_bytes(TEXT)
    Path("s.lmz").write_bytes(stored(TEXT) + stored(b"more"))
    assert run("compress", "-m", "toy", "a").code == 0
    lines = run("info", "a.lmz", "s.lmz").out.decode().splitlines()
    assert lines[0].split() == ["file", "content", "size", "ratio", "bits/byte", "model", "lanes", "blocks"]
    assert lines[1].startswith("a.lmz")
    assert lines[2].split()[-3:] == ["-", "-", "2"]
    assert lines[3].startswith("total")
    assert len(lines) == 4
    verbose = run("info", "-v", "s.lmz").out.decode().splitlines()
    assert [line.split()[:3] for line in verbose[2:]] == [
        ["member", "block", "kind"],
        ["1", "1*", "stored"],
        ["2", "1*", "stored"],
    ]
    Path("long").write_bytes(ToyModel().speak(2500))
    assert run("compress", "-m", "toy", "--block-size", "800", "--group-size", "1600", "long").code == 0
    verbose = run("info", "-v", "long.lmz").out.decode().splitlines()
    assert [line.split()[1:3] for line in verbose[3:]] == [
        ["1*", "model"],
        ["2", "model"],
        ["3*", "model"],
        ["4", "model"],
    ]
    assert run("info", "-", stdin=stored(TEXT)).out.decode().splitlines()[1].startswith("- ")


def test_info_of_what_is_none(run: Run) -> None:
    Path("a").write_bytes(b"plain")
    Path("s.lmz").write_bytes(stored(TEXT))
    result = run("info", "--json", "a", "s.lmz", "nix")
    assert result.code == 1
    (record,) = json.loads(result.out)
    assert (record["file"], record["n_bytes"]) == ("s.lmz", len(TEXT))
    assert result.err == "llmzip: a: not an .lmz file: wrong magic\nllmzip: nix: no such file or directory\n"


def test_info_of_an_engine_note(run: Run) -> None:
    preamble = container.create_preamble()
    note = container.create_block(container.note_block("device=\x1b[2J\nengine=x"), last=False, before=preamble)
    Path("a.lmz").write_bytes(preamble + note + container.create_block(container.stored_block(b"x"), last=True))
    assert run("info", "a.lmz").out.decode().splitlines()[-1] == "  bound to device=\\x1b[2J, engine=x"


def test_models(run: Run) -> None:
    lines = run("models").out.decode().splitlines()
    assert lines[0].split()[:5] == ["name", "parameters", "size", "license", "cached"]
    assert any(line.startswith("smollm2-135m") for line in lines)
    records = json.loads(run("models", "--json").out)
    assert all({"name", "parameters", "license", "installed"} <= record.keys() for record in records)
    assert run("models", "remove", "nix").code == 1
    assert "llmzip: no-such-model: " in run("models", "pull", "no-such-model").err


@pytest.mark.parametrize("broken", [False, True])
def test_doctor(run: Run, monkeypatch: pytest.MonkeyPatch, broken: bool) -> None:
    def report(name: str | None, device: str | None, threads: int | None) -> Iterator[tuple[str, str]]:
        yield "model", f"{name} {device} {threads}"
        if broken:
            raise ModelError("not exact", hint="report it")

    module = types.ModuleType("llmzip.cli.doctor")
    monkeypatch.setattr(module, "report", report, raising=False)
    monkeypatch.setitem(sys.modules, "llmzip.cli.doctor", module)
    err = "llmzip: not exact\nllmzip: hint: report it\n" if broken else ""
    assert run("doctor", "-m", "toy", "-T", "2") == Result(int(broken), b"model                toy None 2\n", err)


# --- values as text


def test_values() -> None:
    assert [size_text(n) for n in (0, 1023, 1024, 1_258_291, 134_144)] == [
        "0 B",
        "1023 B",
        "1.0 KiB",
        "1.2 MiB",
        "131 KiB",
    ]
    assert [speed_text(n) for n in (12, 1900, 2.5e6)] == ["12 B/s", "1.9 KB/s", "2.5 MB/s"]
    assert [duration_text(n) for n in (0.2, 31, 3723)] == ["00:00", "00:31", "1:02:03"]
    assert printable("a\x1b[2J\udc80ü") == "a\\x1b[2J\\udc80ü"


def test_progress_line(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    line = Display().progress("a", 1000, decoding=False)
    now += 1
    line(250, 0)
    assert line.text() == "a  25%  250 B  250 B/s  00:03"
    line(500, 50)
    assert line.text() == "a  50%  500 B → 50 B  0.80 bits/byte  500 B/s  00:01"
    line.finish(1000, 100)
    assert line.text(finished=True) == "a  1000 B → 100 B  0.80 bits/byte  1.0 KB/s  00:01"
    back = Display().progress("a", 100, decoding=True)
    back.expect(1000)
    now += 1
    back(7, 250)
    assert back.text() == "a  25%  100 B → 250 B  0.80 bits/byte  250 B/s  00:03"


# --- terminals


@dataclass
class Terminal:
    """A command whose stdin, stdout or stderr is a pseudo-terminal."""

    process: subprocess.Popen[bytes]
    master: int

    def read(self, until: bytes | None = None, seconds: float = 60) -> bytes:
        """What it shows, until these bytes, its end, or so long a silence."""
        shown = b""
        while until is None or until not in shown:
            if not select.select([self.master], [], [], seconds)[0]:
                break
            try:
                piece = os.read(self.master, 4096)
            except OSError:  # the other end is closed
                break
            if not piece:
                break
            shown += piece
        return shown


OnTerminal = Callable[..., Terminal]


@pytest.fixture
def on_terminal(tmp_path: Path) -> Iterator[OnTerminal]:
    """Start the command with those of its `streams` (i, o, e) on a terminal."""
    started: list[Terminal] = []

    def start(*argv: str, streams: str) -> Terminal:
        master, slave = pty.openpty()
        stdin, stdout, stderr = (slave if stream in streams else subprocess.DEVNULL for stream in "ioe")
        process = subprocess.Popen(
            [*COMMAND, *argv], cwd=tmp_path, env=environment(), stdin=stdin, stdout=stdout, stderr=stderr
        )
        os.close(slave)
        started.append(Terminal(process, master))
        return started[-1]

    yield start
    for terminal in started:
        terminal.process.wait(60)
        os.close(terminal.master)


def test_no_compressed_data_on_a_terminal(tmp_path: Path, on_terminal: OnTerminal) -> None:
    (tmp_path / "a").write_bytes(b"")
    terminal = on_terminal("compress", "-c", "a", streams="oe")
    shown = terminal.read()
    assert b"compressed data is not written to a terminal" in shown
    assert b"hint: use -o FILE, or -f to force it" in shown
    assert terminal.process.wait(10) == 1
    for forced in (["-fc", "a"], ["-o", "-", "a"]):
        terminal = on_terminal("compress", "-m", "toy", *forced, streams="o")
        assert b"\xfc\x3c" in terminal.read()  # a short member
        assert terminal.process.wait(10) == 0


def test_no_compressed_data_from_a_terminal(tmp_path: Path, on_terminal: OnTerminal) -> None:
    terminal = on_terminal("decompress", streams="ie")
    assert b"compressed data cannot be read from a terminal" in terminal.read()
    assert terminal.process.wait(10) == 1


@pytest.mark.long
def test_text_may_be_shown_and_control_characters_not(tmp_path: Path, on_terminal: OnTerminal) -> None:
    (tmp_path / "text.lmz").write_bytes(stored("schöne Grüße\n".encode()))
    (tmp_path / "bell.lmz").write_bytes(stored(b"\x1b[2J\a"))
    assert "schöne Grüße".encode() in on_terminal("decompress", "-c", "text.lmz", streams="o").read()
    terminal = on_terminal("decompress", "-c", "bell.lmz", streams="oe")
    shown = terminal.read()
    assert b"the content is not text" in shown
    assert b"\x1b" not in shown
    assert terminal.process.wait(10) == 1


@pytest.mark.parametrize(("answer", "content", "code"), [(b"y\n", b"new", 0), (b"\n", b"old", 1)])
def test_the_question(tmp_path: Path, on_terminal: OnTerminal, answer: bytes, content: bytes, code: int) -> None:
    (tmp_path / "a.lmz").write_bytes(stored(b"new"))
    (tmp_path / "a").write_bytes(b"old")
    terminal = on_terminal("decompress", "a.lmz", streams="ie")
    assert b"llmzip: a exists; overwrite? [y/N] " in terminal.read(until=b"[y/N] ")
    os.write(terminal.master, answer)
    terminal.read()
    assert terminal.process.wait(10) == code
    assert (tmp_path / "a").read_bytes() == content


def test_progress_on_a_terminal(tmp_path: Path, on_terminal: OnTerminal) -> None:
    (tmp_path / "a").write_bytes(TEXT * 20)
    terminal = on_terminal("compress", "-m", "toy", "a", streams="e")
    shown = terminal.read().decode()
    assert terminal.process.wait(60) == 0
    assert "%  " in shown
    assert " bits/byte  " in shown.split("\r")[-2]
    quiet = on_terminal("compress", "-qf", "-m", "toy", "a", streams="e")
    assert quiet.read() == b""
    assert quiet.process.wait(60) == 0


# --- signals and pipes


@pytest.mark.parametrize(
    ("number", "code", "said"),
    [(signal.SIGINT, 130, b"llmzip: interrupted\n"), (signal.SIGTERM, 128 + signal.SIGTERM, b"")],
)
def test_signals_leave_nothing_behind(tmp_path: Path, number: signal.Signals, code: int, said: bytes) -> None:
    process = subprocess.Popen(
        [*COMMAND, "compress", "-m", "toy", "-", "-o", "a"],
        cwd=tmp_path,
        env=environment(),
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdin is not None
    process.stdin.write(b"x" * 100_000)  # more than a pipe holds: taken once it is at work
    process.stdin.flush()
    (temporary,) = names(tmp_path)
    assert stat.S_IMODE((tmp_path / temporary).stat().st_mode) == 0o600
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (code, said)
    assert names(tmp_path) == set()


def test_a_reader_that_has_enough(tmp_path: Path) -> None:
    (tmp_path / "a.lmz").write_bytes(stored(b"line\n" * 200_000))
    process = subprocess.Popen(
        [*COMMAND, "decompress", "-c", "a.lmz"],
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.read(5) == b"line\n"
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(30) == 1


def test_stdout_full_or_closed(tmp_path: Path) -> None:
    (tmp_path / "a.lmz").write_bytes(stored(TEXT))
    for argv in (["info", "a.lmz"], ["decompress", "-c", "a.lmz"], ["--version"]):
        for where, what in ((">/dev/full", "no space left on device"), (">&-", "standard output is closed")):
            done = subprocess.run(
                ["sh", "-c", f'"$@" {where}', "sh", *COMMAND, *argv],
                cwd=tmp_path,
                env=environment(),
                capture_output=True,
                text=True,
            )
            if argv == ["--version"] and where == ">&-":
                continue
            assert done.returncode == 1
            assert what in done.stderr
            assert "Traceback" not in done.stderr


def test_levels(run: Run) -> None:
    Path("notes").write_bytes(ToyModel().speak(4200))  # two lanes of 4 KiB at level 2, else one

    def made(*argv: str) -> list[tuple[str, int]]:
        result = run("compress", "-m", "toy", "-c", *argv, "notes")
        assert result.code == 0, result.err
        return [(block.kind, block.lanes) for block in get_info(result.out).blocks]

    assert made("-1") == [("cm", 1)], "the fastest has no model"
    assert made("--level", "2") == [("model", 2)]
    assert made() == made("-6") == made("-f9") == [("model", 1)]
    assert made("-2", "--lanes", "3") == [("model", 3)]
    assert run("compress", "-0", "notes").code == run("compress", "--level", "10", "notes").code == 1
    Path("-9").write_bytes(b"a file of that name")
    assert run("compress", "-m", "toy", "--", "-9").code == 0 and Path("-9.lmz").exists()


def test_a_level_whose_model_is_not_installed_takes_the_bundled_one(run: Run) -> None:
    Path("notes").write_bytes(b"a few words")
    result = run("compress", "-9", "notes")
    assert result.code == 0 and "llmzip models pull smollm2-135m" in result.err
    assert get_info("notes.lmz").fingerprint == BUNDLED["pocket"][:8]


def test_a_model_of_ones_own_is_kept(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`compress -m FOLDER`, the folder gone, and the file still decodes."""
    from llmzip.models.convert import convert_hf

    monkeypatch.setenv("LLMZIP_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "mine"
    convert_hf(tiny_llama_folder(tmp_path / "hf"), folder, name="mine", license="mine", source="made here")
    text = invented_text(100)
    Path("a").write_bytes(text)
    said = run("compress", "-m", "mine", "a")
    assert said.code == 0 and f"is kept in {tmp_path / 'cache'}" in said.err
    assert get_info("a.lmz").blocks[0].kind == "model"
    assert run("compress", "-m", "mine", "-f", "a").err == ""  # once is enough
    shutil.rmtree(folder)
    back = run("decompress", "-v", "-c", "a.lmz")
    assert (back.code, back.out) == (0, text) and f"is in {tmp_path / 'cache'}" in back.err
    (name,) = [
        row["name"]
        for row in json.loads(run("models", "--json").out)
        if row["installed"] and "mine" in str(row["name"])
    ]
    removed = run("models", "remove", name)
    assert removed.code == 0 and "need it to be decoded" in removed.err
    assert run("decompress", "-c", "a.lmz").code == 1


@pytest.mark.parametrize(
    "command", [["compress", "-m", "toy", "a"], ["decompress", "-c", "b.lmz", "b.lmz"], ["test", "b.lmz"]]
)
def test_missing_kernels_are_told_once(run: Run, command: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    Path("a").write_bytes(TEXT[:60])
    Path("b.lmz").write_bytes(llmzip.compress(b"\0" * 50_000))
    monkeypatch.delenv("LLMZIP_KERNELS", raising=False)
    monkeypatch.setattr(native, "library", None)
    monkeypatch.setattr(native, "why_no_library", "no compiler")
    result = run(*command)
    assert result.code == 0 and result.err.count("kernels are missing") == 1 and "(no compiler)" in result.err
    monkeypatch.setenv("LLMZIP_KERNELS", "none")
    assert "kernels" not in run(*command, "-f" if command[0] == "compress" else "-v").err


def test_what_verbose_says_of_a_block_is_what_it_takes(run: Run) -> None:
    for name, content in (("short", b"a word or two, and a word or two"), ("long", TEXT * 40)):
        Path(name).write_bytes(content)
        result = run("compress", "-v", "-m", "toy", name)
        sizes = [int(size) for size in re.findall(r", (\d+) bytes, [\d.]+ bits.byte; looks", result.err)]
        assert sum(sizes) == Path(name + ".lmz").stat().st_size, result.err
