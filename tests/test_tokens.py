"""Every byte string must come back from its ids, whatever it is; damage must be a FormatError."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from checkpoints import invented_text, tiny_tokenizer
from hypothesis import given, settings
from hypothesis import strategies as st

from llmzip.errors import FormatError, ModelInvalid
from llmzip.tokens import vocabulary as vocabulary_module
from llmzip.tokens.vocabulary import Vocabulary, byte_alphabet, spellings, token_table

HORRORS = [
    b"",
    b"\0",
    bytes(range(256)),
    bytes(reversed(range(256))) * 3,
    b"\r",
    b"a\rb\r\rc\r",
    b"one\r\ntwo\r\n\r\nthree",
    b"\xef\xbb\xbfwith a byte order mark",
    "UTF-16: é".encode("utf-16"),
    "cut short: é".encode()[:-1],
    "€".encode()[:2] + b" and " + "😀".encode()[:3],
    b"\xed\xa0\x80 a surrogate, \xc0\x80 an overlong zero, \xf4\x90\x80\x80 beyond Unicode",
    b"<|endoftext|>",
    b"x<|endoftext|><|endoftext|> y</s><s><unk><0x41><0xFF>",
    b" " * 10_000,
    b"\n" * 9_999 + b" ",
    "\ue000\uf8ff\U000f0000\U0010fffd\udc80".encode("utf-8", "surrogatepass"),
    "\U00040000\U00080000 lead bytes F1 and F2".encode(),
    "e\u0301 and \u00e9 and \ufb01 and \u212b must not be normalized".encode(),
    "▁ is a space mark ▁▁".encode(),
    b" leading, trailing and double  spaces  ",
    b"\x04\x06\x13\x14\x16\x1d",
    b"a" * 20_000,
    ("語" * 9_000).encode(),
]


def without_some_bytes(path: Path) -> Path:
    """The tokenizer without the single-byte tokens of six control characters and one byte of text, as SmolLM2 lacks
    some.
    """
    parsed = json.loads(path.read_text("utf-8"))
    letters = {byte: letter for letter, byte in byte_alphabet().items()}
    for byte in b"\x04\x06\x13\x14\x16\x1d\xf1\xc3Q":
        lost = letters[byte]
        parsed["model"]["merges"] = [pair for pair in parsed["model"]["merges"] if lost not in "".join(pair)]
        parsed["model"]["vocab"] = {k: v for k, v in parsed["model"]["vocab"].items() if lost not in k}
    path.write_text(json.dumps(parsed), "utf-8")
    return path


def with_byte_fallback(path: Path) -> Path:
    """A sentencepiece-like tokenizer: space marks, byte tokens, a normalizer that prepends a mark."""
    pieces = ["▁", "t", "h", "e", "a", "n", "d", "th", "the", "▁the", "an", "and", "▁and", "▁▁", "é", "\n", "語"]
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *pieces]
    merges = [["t", "h"], ["th", "e"], ["▁", "the"], ["a", "n"], ["an", "d"], ["▁", "and"], ["▁", "▁"]]
    specials = [{"id": i, "content": tokens[i], "special": True} for i in range(3)]
    for special in specials:
        special |= {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    replace = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
    parsed = {
        "version": "1.0",
        "added_tokens": specials,
        "normalizer": {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"}, replace]},
        "pre_tokenizer": None,
        "post_processor": None,
        "decoder": {"type": "Sequence", "decoders": [replace, {"type": "ByteFallback"}, {"type": "Fuse"}]},
        "model": {
            "type": "BPE",
            "unk_token": "<unk>",
            "fuse_unk": True,
            "byte_fallback": True,
            "vocab": {token: i for i, token in enumerate(tokens)},
            "merges": merges,
        },
    }
    path.write_text(json.dumps(parsed), "utf-8")
    return path


def vocabulary_of(path: Path, n_vocab: int) -> Vocabulary:
    token_bytes, ends = token_table(spellings(json.loads(path.read_text("utf-8")), n_vocab))
    return Vocabulary(token_bytes, ends, path)


@pytest.fixture(scope="module", params=["byte-level", "lacking", "byte-fallback"])
def vocabulary(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Vocabulary:
    path = tmp_path_factory.mktemp("tokens") / "tokenizer.json"
    if request.param == "byte-fallback":
        return vocabulary_of(with_byte_fallback(path), 300)
    tiny_tokenizer(path)
    return vocabulary_of(without_some_bytes(path) if request.param == "lacking" else path, 640)


def check(vocabulary: Vocabulary, data: bytes) -> np.ndarray:
    ids = vocabulary.encode(data)
    assert ids.dtype == np.int32 and ids.ndim == 1
    assert vocabulary.decode(ids) == data
    assert vocabulary.size(ids) == len(data)
    return ids


@pytest.mark.parametrize("data", HORRORS, ids=lambda data: repr(data[:24]))
def test_horrors_come_back(vocabulary: Vocabulary, data: bytes) -> None:
    check(vocabulary, data)


@settings(max_examples=150, deadline=None)
@given(data=st.binary(max_size=300) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_any_bytes_come_back(vocabulary: Vocabulary, data: bytes) -> None:
    check(vocabulary, data)


def test_every_token_comes_back(vocabulary: Vocabulary) -> None:
    for index in range(vocabulary.n_symbols):
        one = np.array([index], np.int32)
        if not vocabulary.spelled[index]:
            with pytest.raises(FormatError):
                vocabulary.decode(one)
            continue
        spelled = vocabulary.decode(one)
        assert len(spelled) == vocabulary.size(one) > 0
        check(vocabulary, spelled)


def test_escapes_are_the_bytes_that_no_token_spells(vocabulary: Vocabulary) -> None:
    spelled = []
    for index in range(vocabulary.n_vocab):
        if vocabulary._lengths[index]:
            spelled.append(vocabulary.decode(np.array([index], np.int32)))
    missing = [byte for byte in range(256) if bytes([byte]) not in spelled]
    assert vocabulary.n_symbols == vocabulary.n_vocab + len(missing)
    escapes = np.arange(vocabulary.n_vocab, vocabulary.n_symbols, dtype=np.int32)
    assert vocabulary.decode(escapes) == bytes(missing)


def test_words_become_tokens_and_special_tokens_do_not(tmp_path: Path) -> None:
    vocabulary = vocabulary_of(tiny_tokenizer(tmp_path / "tokenizer.json"), 600)
    text = (b" " + invented_text(16)) * 300
    assert check(vocabulary, text).size < len(text) * 0.7
    assert 0 not in check(vocabulary, b"a<|endoftext|>b")
    # the cutting into pieces does not show: word by word it is the same
    assert check(vocabulary, text).size == 300 * vocabulary.encode(text[: len(text) // 300]).size


def test_byte_fallback_adds_no_space(tmp_path: Path) -> None:
    vocabulary = vocabulary_of(with_byte_fallback(tmp_path / "tokenizer.json"), 273 + 3)
    assert check(vocabulary, b"the and the").size == 3
    assert check(vocabulary, "é▁".encode()).size == 4
    assert check(vocabulary, "語ß".encode()).size == 3


@pytest.mark.parametrize("bad", [[-1], [10**6], [0], [5, 0, 5]])
def test_ids_that_spell_nothing_are_format_errors(tmp_path: Path, bad: list[int]) -> None:
    vocabulary = vocabulary_of(tiny_tokenizer(tmp_path / "tokenizer.json"), 600)
    ids = np.array(bad, np.int32)
    with pytest.raises(FormatError):
        vocabulary.decode(ids)
    with pytest.raises(FormatError):
        vocabulary.size(ids)


def test_a_library_that_errs_is_put_right(tmp_path: Path) -> None:
    """Whatever tokenizer.json says (here: lowercase everything, by a pre-tokenizer step), the ids spell the text."""
    path = tiny_tokenizer(tmp_path / "tokenizer.json")
    good = vocabulary_of(path, 600)
    parsed = json.loads(path.read_text("utf-8"))
    words = {"type": "Split", "pattern": {"String": "s"}, "behavior": "Removed", "invert": False}
    parsed["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [words, parsed["pre_tokenizer"]]}
    path.write_text(json.dumps(parsed), "utf-8")
    bad = vocabulary_of(path, 600)
    text = b"the sun sets, \xff says the song"
    assert check(bad, text).size < len(text)
    assert check(good, text).size <= check(bad, text).size


def test_other_kinds_are_refused() -> None:
    with pytest.raises(ModelInvalid):
        spellings({"model": {"type": "WordPiece", "vocab": {"a": 0}}}, 1)
    with pytest.raises(ModelInvalid):
        spellings({"model": {"type": "BPE", "vocab": {"a": 0}, "merges": []}}, 1)
    with pytest.raises(ModelInvalid):
        spellings({"model": None}, 1)


@pytest.mark.parametrize(
    "data",
    [pytest.param(b"a" * 3_000_000, marks=pytest.mark.long), b" " * 1_000_000, bytes(range(256)) * 2_000],
    ids=["a", "sp", "all"],
)
def test_long_runs_take_linear_time(vocabulary: Vocabulary, data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """The library takes the square of what it is given: that is little at a time, and nothing twice."""
    asked: list[int] = []
    ask = vocabulary_module._Encoder._ask

    def noting(self: vocabulary_module._Encoder, text: str) -> list[int]:
        asked.append(len(text))
        return ask(self, text)

    monkeypatch.setattr(vocabulary_module._Encoder, "_ask", noting)
    check(vocabulary, data)
    assert max(asked) <= vocabulary_module.PIECE and sum(asked) <= len(data)


def test_decoding_needs_no_tokenizers_library() -> None:
    code = "import sys, llmzip.tokens.vocabulary; sys.exit('tokenizers' in sys.modules or 'torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
