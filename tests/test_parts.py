"""Parts: cut by the size alone, coded by workers that do not talk, joined into what one machine would have written."""

import io
import os
import random
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

import pytest
from coding import cm_block, grouped, member_of
from commands import COMMAND, TEXT, Run, environment, stored
from opened import book, gzipped, prose
from tiers import mostly_long

import llmzip
from llmzip import container, parts, primitives
from llmzip.errors import ChecksumError, FormatError, LlmzipError
from llmzip.models.toy import ToyModel

MODEL = ToyModel()
CONTENT = b"".join(MODEL.speak(70, line) + b"\n" for line in range(20))
SIZES = {"block_size": 50, "group_size": 100}
FLAGS = "-m toy --block-size 1K --group-size 1K"  # of the command line


def coded_parts(content: bytes, count: int, *, block_size: int, group_size: int) -> list[bytes]:
    made = []
    for number in range(1, count + 1):
        start, end = parts.cut(len(content), number, count, group_size)
        made.append(llmzip.compress(content[start:end], MODEL, block_size=block_size, group_size=group_size))
    return made


def merged(coded: Sequence[bytes], content: bytes) -> bytes:
    out = io.BytesIO()
    parts.merge([io.BytesIO(one) for one in coded], out.write, io.BytesIO(content).read)
    return out.getvalue()


def concatenated(coded: Sequence[bytes], content: bytes | None = None) -> bytes:
    out = io.BytesIO()
    parts.concatenate(
        [io.BytesIO(one) for one in coded], out.write, None if content is None else io.BytesIO(content).read
    )
    return out.getvalue()


def test_cuts_cover_a_file_once_at_borders_of_groups() -> None:
    chance = random.Random(3)
    for _ in range(300):
        size, count, group = chance.randrange(0, 3000), chance.randrange(1, 12), chance.randrange(1, 400)
        cuts = [parts.cut(size, number, count, group) for number in range(1, count + 1)]
        assert cuts[0][0] == 0 and cuts[-1][1] == size
        assert all(one[1] == other[0] for one, other in pairwise(cuts))
        assert all(start % group == 0 for start, end in cuts if start < end)
        n_groups = [-(-(end - start) // group) for start, end in cuts]
        assert max(n_groups) - min(n_groups) <= 1
    for number, count in ((0, 2), (3, 2)):
        with pytest.raises(ValueError, match="no part"):
            parts.cut(10, number, count)


@pytest.mark.parametrize("count", mostly_long([1, 2, 4, 7, 40], [1, 4]))
def test_merged_parts_of_text_are_the_bytes_of_one_machine(count: int) -> None:
    coded = coded_parts(CONTENT, count, **SIZES)
    assert merged(coded, CONTENT) == llmzip.compress(CONTENT, MODEL, block_size=50, group_size=100)
    assert llmzip.decompress(concatenated(coded, CONTENT), MODEL) == CONTENT


@pytest.mark.long
@pytest.mark.parametrize("sizes", [{"block_size": 900, "group_size": 1800}, {"block_size": 5000, "group_size": 10000}])
def test_merged_parts_of_anything(sizes: dict[str, int]) -> None:
    """Short members, stored blocks, records, text, in one file: the content is the same, and so is each block."""
    chance = random.Random(9)
    pieces = [
        chance.randbytes(3000),
        CONTENT * 6,
        bytes(range(256)) * 20,
        "wörter in utf-16\r\n".encode("utf-16-le") * 99,
        chance.randbytes(900),
    ]
    content = b"".join(pieces)
    for count in (2, 3):
        coded = coded_parts(content, count, **sizes)
        joined = merged(coded, content)
        assert llmzip.decompress(joined, MODEL) == content
        (member,) = llmzip.get_info(joined).members
        assert [b.n_bytes for b in member.blocks] == [
            b.n_bytes for one in coded for b in llmzip.get_info(one).blocks if b.n_bytes
        ]
        with llmzip.LmzFile(io.BytesIO(joined), model=MODEL) as file:
            for at in range(0, len(content), 4999):
                file.seek(at)
                assert file.read(3) == content[at : at + 3]


@pytest.mark.long
def test_merged_parts_of_what_is_opened() -> None:
    """Streams of a block, and one that several groups of its part are pieces of; where parts are cut, it is closed."""
    content = gzipped(prose(1500)) * 2 + CONTENT + book(3) + gzipped(prose(12000, 1)) + CONTENT
    coded = coded_parts(content, 2, block_size=1000, group_size=3000)
    assert all(any("open" in block.transforms for block in llmzip.get_info(one).blocks) for one in coded)
    joined = merged(coded, content)
    assert llmzip.decompress(joined, MODEL) == content
    with llmzip.LmzFile(io.BytesIO(joined), model=MODEL) as file:
        for at in range(0, len(content), 3001):
            file.seek(at)
            assert file.read(5) == content[at : at + 5]


def test_merged_parts_whose_first_block_is_stored_and_gone_on_from() -> None:
    contents = [b"x" * 30, TEXT[:200], TEXT[200:300]]
    made = grouped(
        contents, lambda part, memory: container.stored_block(part) if part[:1] == b"x" else cm_block(part, memory)
    )
    one = member_of(made, contents, container.NO_MODEL)
    content = b"".join(contents) * 2
    assert llmzip.decompress(one + one) == content
    assert llmzip.decompress(merged([one, one], content)) == content


def test_what_is_empty_is_no_part_of_a_merged_file() -> None:
    nothing = llmzip.compress(b"", MODEL)
    assert merged([nothing, nothing], b"") == nothing
    one = llmzip.compress(CONTENT, MODEL, block_size=50, group_size=100)
    assert merged([nothing, one, nothing], CONTENT) == one
    assert (
        llmzip.decompress(merged([one, nothing, stored(b"abc"), one], CONTENT + b"abc" + CONTENT), MODEL)
        == CONTENT + b"abc" + CONTENT
    )


def test_wrong_parts_are_refused() -> None:
    coded = coded_parts(CONTENT, 4, **SIZES)
    for join in (merged, concatenated):
        for wrong in (coded[:3], [coded[0], *coded[2:]], [coded[1], coded[0], *coded[2:]], [*coded, coded[0]]):
            with pytest.raises(ChecksumError):
                join(wrong, CONTENT)
        with pytest.raises(LlmzipError):
            join([coded[0][:-3], *coded[1:]], CONTENT)
        damaged = bytearray(coded[1])
        damaged[len(damaged) // 2] ^= 1
        with pytest.raises(LlmzipError):
            join([coded[0], bytes(damaged), *coded[2:]], CONTENT)
    with pytest.raises(FormatError, match=r"payload check|header check"):
        concatenated([coded[0], bytes(damaged)])
    with pytest.raises(FormatError, match="different models"):
        preamble = container.create_preamble(b"\1\2\3\4")
        block = llmzip.container.Block(container.MODEL, 1, b"z", primitives.content_check(b"z"))
        merged([coded[0], preamble + container.create_block(block, last=True, before=preamble)], CONTENT)


# --- the command line


def write_content(count: int = 3) -> bytes:
    content = CONTENT * count
    Path("a.txt").write_bytes(content)
    return content


@pytest.mark.long
def test_parts_by_the_command_line(run: Run, tmp_path: Path) -> None:
    content = write_content()
    command = ("compress", *FLAGS.split(), "a.txt")
    assert run(*command).code == 0
    whole = Path("a.txt.lmz").read_bytes()
    for count in (1, 3):
        for number in range(1, count + 1):
            assert run(*command, "--part", f"{number}/{count}", "--verify").code == 0
        names = [f"a.txt.{number}-of-{count}.lmz" for number in range(1, count + 1)]
        assert run("join", "-f", "-o", "joined.lmz", *names).code == 0
        assert Path("joined.lmz").read_bytes() == b"".join(Path(name).read_bytes() for name in names)
        assert run("decompress", "-m", "toy", "-c", "joined.lmz").out == content
        assert run("join", "-m", "toy", "--one-index", *names).out == whole
        assert run("join", "--one-index", "--source", "a.txt", *names).out == whole


def test_names_of_parts_sort_in_their_order(run: Run) -> None:
    write_content(1)
    assert run("compress", "-m", "toy", "--part", "3/12", "a.txt").code == 0
    assert Path("a.txt.03-of-12.lmz").exists()
    assert run("compress", "-m", "toy", "--part", "3/12", "-o", "b.lmz", "a.txt").code == 0
    assert Path("b.lmz").read_bytes() == Path("a.txt.03-of-12.lmz").read_bytes()


def test_parts_that_are_none(run: Run) -> None:
    write_content(1)
    for part in ("0/2", "3/2", "1", "1/", "a/b", "1/2/3", "-1/2"):
        assert run("compress", f"--part={part}", "a.txt").code == 1
    assert "--rm would delete" in run("compress", "--part", "1/2", "--rm", "a.txt").err
    assert "needs a file" in run("compress", "--part", "1/2", stdin=b"x").err
    assert {entry.name for entry in Path().iterdir()} == {"a.txt"}


def test_join_refuses_what_is_not_the_whole(run: Run) -> None:
    content = write_content(2)
    for number in (1, 2, 3):
        assert (
            run(
                "compress", "-m", "toy", "--group-size", "1K", "--block-size", "1K", "--part", f"{number}/3", "a.txt"
            ).code
            == 0
        )
    one, two, three = (f"a.txt.{number}-of-3.lmz" for number in (1, 2, 3))
    for names in ((one, two), (two, one, three), (one, two, two, three)):
        done = run("join", "-o", "j.lmz", *names)
        assert done.code == 1 and "not all parts of one file" in done.err
    os.rename(three, "c.lmz")
    done = run("join", "-o", "j.lmz", "--source", "a.txt", one, two)
    assert done.code == 1 and "not all parts of one file" in done.err
    os.rename(two, "b.lmz")
    done = run("join", "-o", "j.lmz", "--source", "a.txt", one, "b.lmz")
    assert done.code == 1 and "the content goes on after the last part" in done.err
    assert "same file" in run("join", "-f", "-o", "b.lmz", one, "b.lmz").err
    assert not Path("j.lmz").exists()
    assert run("join", "-o", "j.lmz", one, "b.lmz", "c.lmz").code == 0
    assert run("decompress", "-m", "toy", "-c", "j.lmz").out == content


# --- recipes: those of docs/scale.md


def recipe(title: str, language: str = "sh") -> str:
    text = (Path(__file__).parents[1] / "docs" / "scale.md").read_text("utf-8")
    found = re.search(rf"^##+ {title}\n.*?^```{language}\n(.*?)^```", text, re.M | re.S)
    assert found is not None
    return found[1]


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Runs a script in an empty folder, with `llmzip` on small groups."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bin").mkdir()
    command = f'case $1 in compress) shift; set -- compress {FLAGS} "$@";; esac; exec {shlex.join(COMMAND)} "$@"'
    (tmp_path / "bin" / "llmzip").write_text(f"#!/bin/sh\n{command}\n")
    (tmp_path / "bin" / "llmzip").chmod(0o755)

    def run(script: str, **variables: str) -> str:
        path = os.pathsep.join([str(tmp_path / "bin"), os.environ["PATH"]])
        done = subprocess.run(
            ["sh", "-e", "-c", script],
            env=environment() | {"PATH": path, "LLMZIP_CACHE": str(tmp_path / "cache")} | variables,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=250,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def write_big() -> bytes:
    content = write_content()
    os.rename("a.txt", "big.txt")
    return content


def joined() -> bytes:
    return llmzip.decompress(Path("big.txt.lmz").read_bytes(), MODEL)


@pytest.mark.skipif(not shutil.which("make"), reason="make is not installed")
@pytest.mark.long
def test_make(shell: Callable[..., str]) -> None:
    content = write_big()
    Path("Makefile").write_text(recipe("make", "make"), encoding="utf-8")
    shell("make -j 2 FILE=big.txt big.txt.lmz")
    again = Path("big.txt.lmz").read_bytes()
    assert again == llmzip.compress(content, MODEL, block_size=1024, group_size=1024)
    os.unlink("big.txt.2-of-4.lmz")
    assert "--part 2/4" in (said := shell("make -j 2 FILE=big.txt big.txt.lmz")) and "--part 1/4" not in said
    assert Path("big.txt.lmz").read_bytes() == again


@pytest.mark.long
@pytest.mark.parametrize(("title", "program"), [("xargs", "xargs"), ("GNU parallel", "parallel")])
def test_in_one_shell(shell: Callable[..., str], title: str, program: str) -> None:
    if not shutil.which(program):
        pytest.skip(f"{program} is not installed")
    content = write_big()
    shell(recipe(title))
    assert joined() == content


@pytest.mark.long
def test_arrays_of_jobs(shell: Callable[..., str]) -> None:
    """The scripts, with the variables that Slurm and Kubernetes set."""
    yaml = pytest.importorskip("yaml")
    content = write_big()
    (container_of_job,) = yaml.safe_load(recipe("Kubernetes", "yaml"))["spec"]["template"]["spec"]["containers"]
    for number in (1, 2):
        shell(recipe("Slurm"), SLURM_ARRAY_TASK_ID=str(number), SLURM_ARRAY_TASK_COUNT="4")
    for number in (3, 4):
        shell(shlex.join(container_of_job["command"]), JOB_COMPLETION_INDEX=str(number - 1))
    shell("llmzip join -f -o big.txt.lmz big.txt.?-of-4.lmz")
    assert joined() == content


@pytest.mark.long
def test_many_small_texts(shell: Callable[..., str]) -> None:
    for name in ("b.txt", "a.py", "c.py", "none", "sub dir/d.txt"):
        Path("folder", name).parent.mkdir(parents=True, exist_ok=True)
        Path("folder", name).write_bytes(TEXT)
    section = (Path(__file__).parents[1] / "docs" / "scale.md").read_text("utf-8").partition("## Many small texts")[2]
    by_name, by_kind = re.findall(r"^```sh\n(.*?)^```", section, re.M | re.S)
    assert "folder/sub dir/d.txt" in shell(by_name)
    shell(by_kind)
    assert Path("order").read_text(encoding="utf-8").splitlines() == [
        "folder/none", "folder/a.py", "folder/c.py", "folder/b.txt", "folder/sub dir/d.txt",
    ]  # fmt: skip
    listed = shell("llmzip info --members sorted.tar.lmz").splitlines()[1:]
    assert [line.split("  ")[0] for line in listed] == Path("order").read_text(encoding="utf-8").splitlines()
