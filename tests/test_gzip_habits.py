"""Without a command, llmzip does what gzip does: its options, tar, logrotate and scripts."""

import os
import pty
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from commands import COMMAND, TEXT, Run, environment, names, stored
from tiers import mostly_long

from llmzip.cli import habits
from llmzip.cli.app import commands

ROOT = Path(__file__).parents[1]
ROW = re.compile(r"^\| (`-.+`) \| (same|ignored|refused) \|(.*)\|$", re.M)
TABLE = {
    option: verdict
    for options, verdict, _ in ROW.findall((ROOT / "docs" / "cli.md").read_text("utf-8"))
    for option in re.findall(r"`(-[^`]+)`", options)
}
# All of `gzip --help` 1.12, and those it takes without saying so.
GZIP = """-a --ascii -b --bits -c --stdout --to-stdout -d --decompress --uncompress -f --force -h --help -k --keep
-l --list -L --license -n --no-name -N --name -q --quiet --silent -r --recursive --rsyncable -S --suffix
--synchronous -t --test -v --verbose -V --version -1 --fast -2 -3 -4 -5 -6 -7 -8 -9 --best""".split()
VALUES = {"-S": [".x"], "--suffix": [".x"], "-b": ["12"], "--bits": ["12"]}


def test_the_table_has_every_option() -> None:
    assert sorted(TABLE) == sorted(GZIP)


@pytest.mark.skipif(shutil.which("gzip") is None, reason="no gzip here")
def test_the_list_is_that_of_the_gzip_of_this_machine() -> None:
    said = subprocess.run(["gzip", "--help"], capture_output=True, text=True, check=True).stdout
    assert set(re.findall(r"^ +(-\w), ", said, re.M)) | set(re.findall(r"--[a-z-]+", said)) <= set(GZIP)


@pytest.mark.parametrize("option", mostly_long(GZIP, [option for option in GZIP if len(option) == 2]))
def test_every_option_does_what_the_table_says(run: Run, tmp_path: Path, option: str) -> None:
    Path("a").write_bytes(b"\xff\x00" * 30)
    Path("a.lmz").write_bytes(stored(TEXT))
    Path("a.x").write_bytes(stored(TEXT))
    before = names(tmp_path)
    source = "a.lmz" if habits.MODES.get(option) else "a"
    result = run(option, *VALUES.get(option, []), *([] if option in ("-f", "--force") else ["-c", "-f"]), source)
    if TABLE[option] == "refused":
        assert result.code == 1 and result.out == b"" and result.err.startswith(f"llmzip: {option}: ")
    else:
        assert result.code == 0, result.err
    assert names(tmp_path) == before


@pytest.mark.long
def test_modes(run: Run, tmp_path: Path) -> None:
    Path("a").write_bytes(b"\xff\x00" * 300)
    assert run("a").code == 0 and names(tmp_path) == {"a", "a.lmz"}
    for argv in (["-d", "-c"], ["-dc"], ["-cd9"], ["--decompress", "--to-stdout"], ["--uncompress", "-kqc"]):
        assert run(*argv, "a.lmz").out == b"\xff\x00" * 300, argv
    assert run("-t", "a.lmz").code == run("--test", "-kf9", "a.lmz").code == 0
    assert run("-tv", "a.lmz").out == b"a.lmz: ok\n"
    assert run("-l", "a.lmz").out == run("--list", "-c", "a.lmz").out == run("info", "a.lmz").out
    assert run("-df", "a.lmz").code == 0 and Path("a").read_bytes() == b"\xff\x00" * 300
    assert run("-S.x", "a").code == run("-S", ".y", "a").code == run("--suffix=.z", "a").code == 0
    assert names(tmp_path) == {"a", "a.lmz", "a.x", "a.y", "a.z"}


@pytest.mark.parametrize("data", [b"", b"\x00\xff" * 9, bytes(70_000)])
def test_stdin_to_stdout(run: Run, data: bytes) -> None:
    for words in ([], ["-"], ["-c"], ["-7"], ["--fast", "--no-name"]):
        coded = run(*words, stdin=data)
        assert (coded.code, coded.err) == (0, "")
        assert run("-d", stdin=coded.out).out == data


def test_files_called_as_commands(run: Run, tmp_path: Path) -> None:
    Path("test").write_bytes(b"content")
    for words in (["./test"], ["--", "test"], ["-f", "--", "test"]):
        assert run("-f", *words).code == 0 and Path("test.lmz").exists(), words
        Path("test.lmz").unlink()
    assert run("test", "-f").code == 1  # the command, which has no -f
    late = run("-f", "test")
    assert (late.code, late.err) == (
        1, "llmzip: test comes after options\nllmzip: hint: the command comes first; a file of that name is ./test\n",
    )  # fmt: skip
    Path("test.lmz").write_bytes(stored(b"x"))
    assert run("-dcf", "test.lmz").out == b"x"
    assert names(tmp_path) == {"test", "test.lmz"}


@pytest.mark.parametrize(
    ("word", "hint"), [("decompres", "llmzip decompress --help"), ("frobnicate", "lists the commands")]
)
def test_a_misspelled_command_is_no_file(run: Run, tmp_path: Path, word: str, hint: str) -> None:
    Path("a.txt").write_bytes(b"content")
    result = run(word, "a.txt")
    assert (result.code, result.out) == (1, b"") and hint in result.err
    assert names(tmp_path) == {"a.txt"}


def test_nothing_but_compressed_data_where_help_was_not_asked_for(run: Run) -> None:
    """Whatever is wrong with the words: standard output has the archive, or nothing."""
    wrong = [
        ["--frobnicate"],
        ["-S"],
        ["-o"],
        ["-Z"],
        ["-m"],
        ["info"],
        ["-r"],
        ["-dt9", "nix"],
        ["--level=99"],
        ["-T", "x"],
        ["models", "pull"],
    ]
    for words in wrong:
        result = run(*words, stdin=b"content")
        assert (result.code, result.out) == (1, b""), words
        assert result.err.startswith("llmzip: ")
    assert run("-d", stdin=run(stdin=b"content").out).out == b"content"


def test_help_that_nobody_asked_for(tmp_path: Path) -> None:
    """At a terminal, with no words at all."""
    master, slave = pty.openpty()
    done = subprocess.run(
        COMMAND, stdin=slave, stdout=slave, stderr=subprocess.PIPE, env=environment(), cwd=tmp_path, timeout=60
    )
    os.close(slave)
    os.close(master)
    assert done.returncode == 1 and done.stderr.startswith(b"Usage: llmzip ")


def test_options_of_another_mode_are_left_out() -> None:
    known = commands()
    assert habits.translate(["-9", "-d"], known) == ["decompress", "--"]
    assert habits.translate(["--lanes", "3", "-d", "x"], known) == ["decompress", "--", "x"]
    assert habits.translate(["-m", "toy", "-d", "x"], known) == ["decompress", "-m", "toy", "--", "x"]
    assert habits.translate(["-kf9c", "./x"], known) == ["compress", "-k", "-f", "--level", "9", "-c", "--", "./x"]
    assert habits.translate(["-l", "--max-size", "3"], known) == ["info", "--"]
    assert habits.translate(["compress", "-9", "--", "-9"], known) == ["compress", "--level", "9", "--", "-9"]
    assert habits.translate(["info", "-9"], known) == ["info", "-9"]


@pytest.fixture
def on_path(tmp_path: Path) -> dict[str, str]:
    """An environment in which `llmzip` and `lmzcat` are found, as an installation makes them."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, function in (("llmzip", "main"), ("lmzcat", "cat")):
        script = folder / name
        script.write_text(
            f"#!{sys.executable}\nimport sys\nfrom llmzip.__main__ import {function}\nsys.exit({function}())\n"
        )
        script.chmod(0o755)
    return environment() | {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}


@pytest.mark.skipif(shutil.which("tar") is None, reason="no tar here")
@pytest.mark.parametrize("program", mostly_long(["llmzip", "llmzip -9 -m toy"], ["llmzip"]))
def test_tar(tmp_path: Path, on_path: dict[str, str], program: str) -> None:
    folder = tmp_path / "folder"
    (folder / "below").mkdir(parents=True)
    (folder / "below" / "bytes").write_bytes(os.urandom(7_000))
    (folder / "zeros").write_bytes(bytes(30_000))
    subprocess.run(
        ["tar", "-I", program, "-cf", "x.tar.lmz", "folder"], cwd=tmp_path, env=on_path, check=True, timeout=120
    )
    assert (tmp_path / "x.tar.lmz").stat().st_size < 8_000
    (tmp_path / "out").mkdir()
    subprocess.run(
        ["tar", "-I", program, "-xf", "../x.tar.lmz"], cwd=tmp_path / "out", env=on_path, check=True, timeout=120
    )
    for path in ("below/bytes", "zeros"):
        assert (tmp_path / "out" / "folder" / path).read_bytes() == (folder / path).read_bytes()


def test_shell(tmp_path: Path, on_path: dict[str, str]) -> None:
    """What logrotate does with compresscmd, and zcat."""
    (tmp_path / "f").write_bytes(bytes(range(256)) * 4)
    script = (
        "set -e; llmzip < f > g; llmzip -d < g | cmp - f; mv g g.lmz; lmzcat g.lmz | cmp - f; lmzcat < g.lmz | cmp - f"
    )
    subprocess.run(["sh", "-c", script], cwd=tmp_path, env=on_path, check=True, timeout=120)


def test_entry_points() -> None:
    import tomllib

    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["scripts"]
    assert scripts == {"llmzip": "llmzip.__main__:main", "lmzcat": "llmzip.__main__:cat"}
