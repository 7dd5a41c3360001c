"""`decompress --range` and `--lines`, and `info --json`: where things are, and no more decoded than it takes."""

import io
import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from commands import Run

import llmzip
from llmzip.cli.ranges import Bytes, Lines
from llmzip.models.toy import ToyModel

MODEL = ToyModel()
TEXT = b"".join(MODEL.speak(30, line) + b"\n" for line in range(20))
FILE = llmzip.compress(TEXT, MODEL, block_size=50, group_size=100)
SIZE = len(TEXT)


def test_a_range_is_that_of_http(run: Run) -> None:
    Path("x.lmz").write_bytes(FILE)
    for span, first, end in [
        ("0-0", 0, 1),
        ("99-100", 99, 101),
        ("7-", 7, SIZE),
        ("-9", SIZE - 9, SIZE),
        (f"3-{SIZE + 5}", 3, SIZE),
        ("-99999", 0, SIZE),
    ]:
        for argv, stdin in ((["x.lmz"], b""), ([], FILE)):
            done = run("decompress", "-m", "toy", "--range", span, *argv, stdin=stdin)
            assert (done.code, done.out, done.err) == (0, TEXT[first:end], ""), span


def test_what_is_beyond_the_end_is_told(run: Run) -> None:
    Path("x.lmz").write_bytes(FILE)
    for argv, stdin in ((["x.lmz"], b""), ([], FILE)):
        done = run("decompress", "-m", "toy", f"--range={SIZE}-", *argv, stdin=stdin)
        assert (done.code, done.out) == (1, b"") and f"the content has only {SIZE} bytes" in done.err
        done = run("decompress", "-m", "toy", "--lines", "21-30", *argv, stdin=stdin)
        assert (done.code, done.out) == (1, b"") and "the content has only 20 lines" in done.err


@pytest.mark.parametrize("option", ["--range", "--lines"])
@pytest.mark.parametrize("text", ["", "-", "5", "5-4", "a-b", "1-2-3", "0x1-2", "1 - 2", "--1"])
def test_no_ranges(run: Run, option: str, text: str) -> None:
    done = run("decompress", f"{option}={text}", "x.lmz")
    assert done.code == 1 and "range" in done.err + "range" * (text == "5-4")


def test_ranges_with_other_options(run: Run) -> None:
    Path("x.lmz").write_bytes(FILE)
    for other in (["--lines", "1-"], ["--rm"], ["--salvage"]):
        assert "neither together" in run("decompress", "--range", "1-", *other, "x.lmz").err
    assert run("decompress", "-m", "toy", "--range", "5-9", "-o", "y", "x.lmz").out == b""
    assert Path("y").read_bytes() == TEXT[5:10] and not Path("x").exists()
    assert "the first line is 1" in run("decompress", "--lines", "0-4", "x.lmz").err
    assert run("-d", "-m", "toy", "--range", "5-9", "x.lmz").out == TEXT[5:10], "in gzip's way"


def test_a_range_decodes_its_groups_only(run: Run, decoded: list[bytes]) -> None:
    Path("x.lmz").write_bytes(FILE)
    assert run("decompress", "-m", "toy", "--range", "210-220", "x.lmz").out == TEXT[210:221]
    assert decoded == [TEXT[200:250]]
    decoded.clear()
    assert run("decompress", "-m", "toy", "--range", "260-340", "x.lmz").out == TEXT[260:341]
    assert decoded == [TEXT[at : at + 50] for at in (200, 250, 300)]


def test_lines_are_those_of_sed(run: Run) -> None:
    Path("x.lmz").write_bytes(FILE)
    lines = TEXT.splitlines(keepends=True)
    for span, first, last in [("1-1", 1, 1), ("3-7", 3, 7), ("19-", 19, 20), ("20-99", 20, 99), ("1-", 1, 20)]:
        done = run("decompress", "-m", "toy", "--lines", span, "x.lmz")
        assert (done.code, done.out) == (0, b"".join(lines[first - 1 : last])), span


def small_pieces(file: io.BytesIO) -> Callable[[int], bytes]:
    chance = random.Random(1)
    return lambda n: file.read(chance.randrange(1, 4))


def test_lines_of_any_content_in_any_pieces() -> None:
    chance = random.Random(5)
    for _ in range(400):
        data = bytes(chance.choices(b"\n\nab", k=chance.randrange(1, 12)))
        lines = io.BytesIO(data).readlines()
        first = chance.randrange(1, len(lines) + 1)
        last = chance.choice([None, chance.randrange(first, len(lines) + 2)])
        file = io.BytesIO(data)
        found = b"".join(Lines(first, last).from_start(small_pieces(file)))
        assert found == b"".join(lines[first - 1 : last]), (data, first, last)
        file = io.BytesIO(data)
        start = chance.randrange(len(data))
        end = chance.choice([None, chance.randrange(start, len(data) + 2)])
        found = b"".join(Bytes(start, end).from_start(small_pieces(file)))
        assert found == data[start : None if end is None else end + 1]


def test_info_tells_where_blocks_and_groups_are(run: Run) -> None:
    Path("x.lmz").write_bytes(FILE + llmzip.compress(b"", MODEL) + FILE)
    (record,) = json.loads(run("info", "--json", "x.lmz").out)
    content = llmzip.decompress(Path("x.lmz").read_bytes(), MODEL)
    groups = record["groups"]
    assert sum(group["n_blocks"] for group in groups) == sum(len(member["blocks"]) for member in record["members"])
    for at, group in enumerate(groups):
        here = [block for member in record["members"] for block in member["blocks"]]
        first = sum(other["n_blocks"] for other in groups[:at])
        inside = here[first : first + group["n_blocks"]]
        assert [block["begins_group"] for block in inside] == [True] + [False] * (len(inside) - 1)
        assert (group["file_offset"], group["content_offset"]) == (
            inside[0]["file_offset"],
            inside[0]["content_offset"],
        )
        assert group["n_bytes"] == sum(block["n_bytes"] for block in inside)
        assert (
            inside[-1]["file_offset"] + inside[-1]["n_bytes_on_disk"] == group["file_offset"] + group["n_bytes_on_disk"]
        )
    assert groups[-1]["content_offset"] + groups[-1]["n_bytes"] == len(content) == 2 * SIZE
