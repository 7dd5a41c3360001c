"""What training reads: each kind of file is read right, or named before the training begins."""

import bz2
import codecs
import gzip
import json
import lzma
import os
import random
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoints import tiny_llama_folder
from hypothesis import given
from hypothesis import strategies as st
from tiers import mostly_long

import llmzip
from llmzip.errors import LlmzipError
from llmzip.train import corpus as module
from llmzip.train import run, texts
from llmzip.train.corpus import Source, Text, encode_documents, whole_character, write_text

PROSE = "Ein Satz über Bäume, 一句话, and some more words of it.\n" * 400


def read(path: Path) -> tuple[bytes, list[str]]:
    said: list[str] = []
    return b"".join(texts.read(path, said.append)), said


def text_of(path: Path, tmp_path: Path) -> tuple[Text, list[str]]:
    said: list[str] = []
    write_text(Source.parse(str(path)), tmp_path / "spool", said.append)
    return Text(tmp_path / "spool"), said


@pytest.mark.parametrize("suffix", ["", ".gz", ".log"])
@pytest.mark.parametrize("pack", [bytes, gzip.compress, lzma.compress, bz2.compress, llmzip.compress])
def test_packed_files_are_known_by_their_content(tmp_path: Path, pack: Callable[[bytes], bytes], suffix: str) -> None:
    (tmp_path / f"a{suffix}").write_bytes(pack(PROSE.encode()))
    assert read(tmp_path / f"a{suffix}") == (PROSE.encode(), [])


@pytest.mark.parametrize(
    ("encoding", "mark"),
    [("utf-16-le", b""), ("utf-16-be", b""), ("utf-16-le", codecs.BOM_UTF16_LE), ("utf-16-be", codecs.BOM_UTF16_BE),
     ("utf-32-le", codecs.BOM_UTF32_LE), ("utf-32-be", codecs.BOM_UTF32_BE), ("utf-8", codecs.BOM_UTF8)],
)  # fmt: skip
@pytest.mark.parametrize("chunk", [1 << 20, 4096])
def test_utf_16_and_32_become_utf_8(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoding: str, mark: bytes, chunk: int
) -> None:
    monkeypatch.setattr(texts, "CHUNK", chunk)
    (tmp_path / "a").write_bytes(mark + PROSE.encode(encoding))
    assert read(tmp_path / "a") == (PROSE.encode(), [])


def test_georgian_utf_16_is_told_from_short_documents(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes("ყველა ბედნიერი ოჯახი ერთმანეთს ჰგავს\n".encode("utf-16-le") * 99)
    assert read(tmp_path / "a") == ("ყველა ბედნიერი ოჯახი ერთმანეთს ჰგავს\n".encode() * 99, [])
    (tmp_path / "b").write_bytes(b"document 7\n\0" * 99)
    assert read(tmp_path / "b") == (b"document 7\n\0" * 99, [])


@pytest.mark.parametrize(
    "pack", mostly_long([gzip.compress, lzma.compress, bz2.compress, llmzip.compress], [gzip.compress])
)
@pytest.mark.parametrize("damage", ["cut", "flipped", "head only"])
def test_a_damaged_file_is_named_and_the_others_are_read(
    tmp_path: Path, pack: Callable[[bytes], bytes], damage: str
) -> None:
    noise = random.Random(3).randbytes(30_000).hex().encode()  # so that it does not fit into one small block
    packed = bytearray(pack(noise))
    if damage == "flipped":
        packed[len(packed) // 2] ^= 0x55
    whole = {"cut": len(packed) * 3 // 4, "flipped": len(packed), "head only": 12}[damage]
    folder = tmp_path / "logs"
    folder.mkdir()
    (folder / "a.gz").write_bytes(packed[:whole])
    (folder / "b.txt").write_bytes(PROSE.encode())
    text, said = text_of(folder, tmp_path)
    assert len(said) == 1 and str(folder / "a.gz") in said[0] and "cannot be read" in said[0]
    assert bytes(text._view).endswith(PROSE.encode() + b"\0")


@pytest.mark.parametrize(
    "content", [random.Random(1).randbytes(50_000), bytes(5000), b"\x7fELF" + bytes(range(1, 32)) * 300]
)
def test_what_is_no_text_is_named_and_left_out(tmp_path: Path, content: bytes) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    (folder / "a").write_bytes(content)
    with pytest.raises(LlmzipError, match="holds no text"):
        text_of(folder, tmp_path)
    (folder / "b").write_bytes(PROSE.encode())
    text, said = text_of(folder, tmp_path)
    assert said == [f"warning: {folder / 'a'} is not text, and is left out"]
    assert bytes(text._view) == PROSE.encode() + b"\0"


def test_bytes_that_are_not_utf_8_are_counted(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes("Größe über Bäume öfter\n".encode("latin-1") * 100)
    assert read(tmp_path / "a") == (
        b"Gre ber Bume fter\n" * 100,
        [f"{tmp_path / 'a'}: 500 of 2300 bytes are not UTF-8, and are left out"],
    )


def test_zstd_is_read_or_says_what_it_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_bytes(b"\x28\xb5\x2f\xfd" + bytes(20))
    for name in ("compression.zstd", "backports.zstd", "zstandard"):
        monkeypatch.setitem(sys.modules, name, None)  # not installed
    with pytest.raises(LlmzipError, match="packed with zstd") as caught:
        read(tmp_path / "a")
    assert "zstandard" in caught.value.hint
    fake: Any = type(sys)("zstandard")
    fake.open = lambda path, mode: gzip.open(tmp_path / "b", mode)
    (tmp_path / "b").write_bytes(gzip.compress(b"plain\n"))
    monkeypatch.setitem(sys.modules, "zstandard", fake)
    assert read(tmp_path / "a") == (b"plain\n", [])


def test_many_warnings_are_counted(tmp_path: Path) -> None:
    folder = tmp_path / "objects"
    folder.mkdir()
    for i in range(40):
        (folder / f"{i:02}").write_bytes(random.Random(i).randbytes(3000))
    (folder / "text").write_bytes(PROSE.encode())
    _, said = text_of(folder, tmp_path)
    assert len(said) == module.MANY_WARNINGS + 1 and "and 30 more" in said[-1]


def test_files_that_may_not_be_read_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    (folder / "a").symlink_to("a")  # a name that is no file
    (folder / "b").write_bytes(PROSE.encode())
    (folder / "c").write_bytes(PROSE.encode())
    opened = texts._opened

    def refuse(path: Path) -> Any:
        if path.name == "b":
            raise PermissionError(13, "Permission denied", str(path))
        return opened(path)

    monkeypatch.setattr(texts, "_opened", refuse)
    text, said = text_of(folder, tmp_path)
    assert said == [f"warning: {folder / 'b'} cannot be read (Permission denied), and is left out"]
    assert bytes(text._view) == PROSE.encode() + b"\0"


# --- documents, and what is held out


def spooled(found: list[bytes], path: Path) -> Text:
    path.write_bytes(b"".join(each + b"\0" for each in found))
    return Text(path)


def test_documents_are_held_out_by_what_they_are(tmp_path: Path) -> None:
    found = [str(i).encode() for i in range(3000)]
    sides = {bytes(part): held_out for part, held_out in spooled(found, tmp_path / "a")}
    assert sorted(sides) == sorted(found) and 10 <= sum(sides.values()) <= 60
    assert dict((bytes(part), held_out) for part, held_out in spooled(found[::-1], tmp_path / "b")) == sides


def test_documents_end_at_nuls_and_at_the_end_of_files(tmp_path: Path) -> None:
    folder = tmp_path / "a"
    folder.mkdir()
    found = [f"document {i}\n".encode() for i in range(60)]
    (folder / "a.xz").write_bytes(lzma.compress(b"\0\0" + b"\0".join(found[:30])))
    (folder / "b.gz").write_bytes(gzip.compress(b"\0\0\0".join(found[30:]) + b"\0"))
    assert [bytes(part) for part, _ in text_of(folder, tmp_path)[0]] == found


@pytest.mark.parametrize("n", [1, 50, 60, 1000])
def test_equal_documents_are_trained_on(tmp_path: Path, n: int) -> None:
    text = spooled([b"one license\n" * 9] * n, tmp_path / "a")
    sides = [held_out for _, held_out in text]
    assert len(sides) >= 2 and sides.count(True) == 1 and (text.repeats or n == 1)


def test_one_other_document_among_equal_ones(tmp_path: Path) -> None:
    for other in (b"%d" % i for i in range(20)):  # whichever hash is the least
        found = [b"one license\n" * 9] * 100 + [other]
        sides = [held_out for _, held_out in spooled(found, tmp_path / "a")]
        assert sides.count(True) == 1


@given(st.text(min_size=2, max_size=300), st.integers(1, 400))
def test_few_documents_are_cut_into_passages_that_are_all_of_it(
    tmp_path_factory: pytest.TempPathFactory, content: Any, times: int
) -> None:
    data = (content.replace("\0", "") * times).encode("utf-8", "ignore")
    if len(data) < 2:
        return
    parts = [(bytes(part), held_out) for part, held_out in spooled([data], tmp_path_factory.mktemp("a") / "a")]
    assert b"".join(part for part, _ in parts) == data
    assert any(held_out for _, held_out in parts) and not all(held_out for _, held_out in parts)
    assert all(len(part) <= 3 * module.PASSAGE for part, _ in parts)


def test_one_long_line_is_cut(tmp_path: Path) -> None:
    parts = [bytes(part) for part, _ in spooled(["ü一".encode() * 100_000], tmp_path / "a")]
    assert len(parts) > 20 and all(part.decode() for part in parts)


@given(st.text(max_size=50), st.integers(0, 200))
def test_characters_are_not_cut(text: str, at: int) -> None:
    data = text.encode("utf-8", "ignore")
    cut = whole_character(memoryview(data), at)
    assert cut <= len(data) and (cut == len(data) or at - 4 < cut <= at)
    data[:cut].decode()


def test_memory_is_bounded_by_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many documents, and however large one is: what the library gets in one call."""
    calls: list[int] = []

    def encode(pieces: list[str]) -> list[list[int]]:
        calls.append(sum(map(len, pieces)))
        assert all(len(piece) <= module.PIECE for piece in pieces)
        return [[len(piece)] for piece in pieces]

    sizes = [1, 3 << 20, 0, 17, *[1 << 20] * 9, *[50_000] * 100]
    ids = np.concatenate(list(encode_documents(encode, iter([memoryview(b"x" * n) for n in sizes]), 0)))
    assert (ids == 0).sum() == sum(size > 0 for size in sizes) and ids.sum() == sum(sizes)
    assert max(calls) < module.BATCH + module.PIECE and len(calls) < sum(sizes) / module.BATCH + 2


# --- pipes


def test_a_pipe_is_a_source_and_so_is_standard_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(PROSE.encode(),))
    writer.start()
    source = Source.parse(str(pipe)).spooled(tmp_path / "0")
    writer.join()
    (tmp_path / "in").write_bytes(PROSE.encode())
    with (tmp_path / "in").open() as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        weighted = Source.parse("-=3").spooled(tmp_path / "1")
    assert source.weight == pytest.approx(len(PROSE.encode()) / 1e6) and weighted.weight == 3
    assert source.digest() == weighted.digest() and source.name == "stdin"


def test_an_empty_pipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open(os.devnull, encoding="utf-8") as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        with pytest.raises(LlmzipError, match="holds no text"):
            Source.parse("-").spooled(tmp_path / "0")


@pytest.mark.long
def test_files_are_utf_8_in_any_locale(tmp_path: Path) -> None:
    """In a locale of ASCII: the whole command, and the very same model as in UTF-8."""
    (tmp_path / "größe.txt").write_bytes(PROSE.encode() * 4)
    script = (
        "import sys; from llmzip.cli.app import main; from llmzip.train import run; run.BATCH_TOKENS = 256;"
        "sys.exit(main())"
    )
    made = []
    for name, locale in (
        ("a", {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}),
        ("b", {"PYTHONUTF8": "1"}),
    ):
        command = [
            sys.executable,
            "-c",
            script,
            "train",
            "größe.txt",
            "-o",
            name,
            "--tokens",
            "1",
            "--preset",
            "pocket-small",
            "-T",
            "1",
        ]
        environment = os.environ | locale | {"LLMZIP_CACHE": str(tmp_path / "cache")}
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True)
        assert done.returncode == 0, done.stderr
        made.append((tmp_path / name / "tokenizer.json").read_bytes())
    assert made[0] == made[1] and "Ġ" in made[0].decode()


@pytest.mark.parametrize(("n_vocab", "size"), [(1 << 16, 2), ((1 << 16) + 1, 4), (128_256, 4)])
def test_vocabularies_of_any_size(n_vocab: int, size: int, tmp_path: Path) -> None:
    """Ids beyond 65 535, as those of large vocabularies.

    And those beyond the vocabulary, which teach nothing, are left out.
    """
    path = tmp_path / "text"
    path.write_bytes(b"a line of text, and another\n" * 4000)
    highest = n_vocab - 1

    def encode(pieces: list[str]) -> list[list[int]]:
        return [[highest, n_vocab, n_vocab + 255] * (len(piece) // 9) for piece in pieces]

    folder = tmp_path / "ids"
    texts_of = module.Texts(tmp_path / "texts", [Source.parse(str(path))], lambda text: None)
    corpus = module.Corpus(folder, texts_of, encode, "key", n_vocab, 0)
    assert set(np.unique(corpus.batch(0, 0, 4, 64)).tolist()) <= {0, highest} and highest in corpus.batch(0, 0, 4, 64)
    assert (folder / "0.ids").stat().st_size == size * corpus.n_tokens


def test_an_added_token_is_none_of_the_words_that_are_trained_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its id lies beyond the vocabulary: coding never meets it, so training must not."""
    monkeypatch.setenv("LLMZIP_CACHE", str(tmp_path / "cache"))
    folder = tiny_llama_folder(tmp_path / "hf")
    tokenizer = json.loads((folder / "tokenizer.json").read_text("utf-8"))
    beyond = len(tokenizer["model"]["vocab"]) + 100
    tokenizer["added_tokens"].append(
        tokenizer["added_tokens"][0] | {"id": beyond, "content": "<tool>", "special": False}
    )
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer), "utf-8")
    base = run.Base.of(str(folder))
    _, words = base.start()
    ((*ids,),) = words.encode(["say <tool> and go on"])
    assert max(ids) < base.config["n_vocab"] < beyond and len(ids) > len("<tool>"), "it is spelt"
