"""The vocabulary of a pretrained model as a total, exact tokenizer.

What ids spell comes from a table of bytes and needs numpy only. Which ids a text becomes comes from `tokenizer.json`,
is no part of the file format and cannot lose a byte: what the `tokenizers` library gives is compared with the text.
Knows nothing of weights or of the codec.
"""

import json
import re
from collections.abc import Iterator
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmzip.errors import FormatError, ModelInvalid
from llmzip.tokens import in_order

PIECE = 4096  # characters given to the tokenizers library at once: it is not linear in the length of one word
GREEDY_LENGTH = 32  # the longest token that the fallback looks for
SHORT = 3  # texts of at most these characters are remembered, up to
SHORT_TEXTS = 1 << 16  # so many of them
DECODE_BATCH = 1 << 20  # ids decoded at once: the index arrays take some 24 bytes per byte of output
SPACE_MARK = "\u2581"  # how sentencepiece vocabularies write a space
BYTE_TOKEN = re.compile(r"<0x([0-9A-Fa-f]{2})>")


def byte_alphabet() -> dict[str, int]:
    """The characters by which byte-level vocabularies (GPT-2 and after) write the 256 bytes."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + n): byte for n, byte in enumerate(others)}


def steps(part: Any) -> list[dict[str, Any]]:
    """A normalizer, pre-tokenizer or decoder of a tokenizer.json as a flat list, sequences opened."""
    if not isinstance(part, dict):
        return []
    inner = next((part[key] for key in ("pretokenizers", "normalizers", "decoders") if key in part), None)
    return [part] if inner is None else [step for each in inner for step in steps(each)]


def is_byte_level(tokenizer: dict[str, Any]) -> bool:
    """Whether tokens are written in the byte alphabet; if not, in plain text with space marks and `<0xNN>`."""
    parts = steps(tokenizer.get("pre_tokenizer")) + steps(tokenizer.get("decoder"))
    return any(step.get("type") == "ByteLevel" for step in parts)


def spellings(tokenizer: dict[str, Any], n_vocab: int) -> list[bytes]:
    """The bytes of each id, from a parsed tokenizer.json. Special tokens and ids without a token spell nothing."""
    try:
        return _spelled(tokenizer, n_vocab)
    except (LookupError, TypeError, AttributeError, ValueError, RecursionError) as error:
        raise ModelInvalid(f"tokenizer.json has not the expected form: {error!r}") from error


def _spelled(tokenizer: dict[str, Any], n_vocab: int) -> list[bytes]:
    model, added = tokenizer["model"], tokenizer.get("added_tokens") or []
    kind, vocab = model.get("type", "BPE"), model["vocab"]
    # BPE has a mapping, Unigram a list of [token, score]
    pairs = list(vocab.items()) if isinstance(vocab, dict) else [(entry[0], i) for i, entry in enumerate(vocab)]
    byte_level = is_byte_level(tokenizer)
    if kind not in ("BPE", "Unigram") or not (byte_level or model.get("byte_fallback")):
        raise ModelInvalid(f"a {kind} tokenizer that is neither byte-level nor has byte fallback is not supported")
    result = [b""] * n_vocab
    alphabet = byte_alphabet()
    for token, index in pairs:
        if 0 <= index < n_vocab:
            result[index] = _spell_byte_level(token, alphabet) if byte_level else _spell_marked(token)
    for token in added:
        if 0 <= (index := token["id"]) < n_vocab:
            result[index] = b"" if token.get("special", False) else token["content"].encode("utf-8")
    return result


def _spell_byte_level(token: str, alphabet: dict[str, int]) -> bytes:
    known = all(character in alphabet for character in token)
    return bytes(alphabet[character] for character in token) if known else b""


def _spell_marked(token: str) -> bytes:
    if match := BYTE_TOKEN.fullmatch(token):
        return bytes([int(match[1], 16)])
    return token.replace(SPACE_MARK, " ").encode("utf-8", "surrogatepass")


def token_table(spelled: list[bytes]) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """`tokens.bytes` and `tokens.ends` of an exact checkpoint."""
    ends = np.cumsum([len(each) for each in spelled], dtype=np.int64).astype(np.int32)
    return np.frombuffer(b"".join(spelled), np.uint8).copy(), ends


class Vocabulary:
    """A tokenizer over the token table of a checkpoint; see `llmzip.tokens.Tokenizer`."""

    def __init__(self, token_bytes: NDArray[np.uint8], token_ends: NDArray[np.int32], tokenizer_json: Path) -> None:
        ends = token_ends.astype(np.int64)
        lengths = np.diff(ends, prepend=0)
        single = np.flatnonzero(lengths == 1)
        byte_ids = np.full(256, -1, np.int64)
        # reversed, so that the first of several tokens of one byte is the one that is used
        byte_ids[token_bytes[ends[single[::-1]] - 1]] = single[::-1]
        self.escaped = bytes(np.flatnonzero(byte_ids < 0).astype(np.uint8))
        self.n_vocab = int(ends.size)
        self.n_symbols = self.n_vocab + len(self.escaped)
        for offset, byte in enumerate(self.escaped):
            byte_ids[byte] = self.n_vocab + offset
        self._byte_ids: list[int] = byte_ids.tolist()
        self._blob = np.concatenate([token_bytes, np.frombuffer(self.escaped, np.uint8)])
        self._lengths = np.concatenate([lengths, np.ones(len(self.escaped), np.int64)])
        self._starts = np.cumsum(self._lengths) - self._lengths
        self._path = tokenizer_json
        self._encoder: _Encoder | None = None
        self._greedy: dict[bytes, int] | None = None  # only for what the library gets wrong

    @cached_property
    def spelled(self) -> list[bytes]:
        """The bytes of each symbol; empty for those that spell nothing."""
        blob, starts, lengths = self._blob.tobytes(), self._starts.tolist(), self._lengths.tolist()
        return [blob[start : start + length] for start, length in zip(starts, lengths, strict=True)]

    @cached_property
    def entries(self) -> NDArray[np.int32]:
        """The symbols that spell something, in the order of what they spell."""
        return in_order(self.spelled)

    def decode(self, ids: NDArray[np.int32]) -> bytes:
        """The joined bytes of `ids`; FormatError for one that spells nothing."""
        self.size(ids)
        return self._spell(ids)

    def size(self, ids: NDArray[np.int32]) -> int:
        """len(decode(ids)), without building it."""
        if ids.size and (int(ids.min()) < 0 or int(ids.max()) >= self.n_symbols):
            raise FormatError("a token id is outside the vocabulary")
        lengths = self._lengths[ids]
        if not lengths.all():
            raise FormatError("a token id spells nothing")
        return int(lengths.sum())

    def encode(self, data: bytes) -> NDArray[np.int32]:
        """Ids whose bytes, joined, are exactly `data`."""
        if self._encoder is None:
            self._encoder = _Encoder(self._path, self.escaped)
        pieces: list[bytes] = []
        encoded: list[list[int]] = []
        for text, is_text in self._encoder.pieces(data):
            piece = text.encode("utf-8", "surrogateescape")
            pieces.append(piece)
            encoded.append(self._encoder.encode(text) if is_text else self._bytewise(piece))
        ids = _join(encoded)
        if self._spell_any(ids) == data:
            return ids
        return _join([self._repaired(piece, each) for piece, each in zip(pieces, encoded, strict=True)])

    def _spell(self, ids: NDArray[np.int32]) -> bytes:
        parts = []
        for at in range(0, ids.size, DECODE_BATCH):
            batch = ids[at : at + DECODE_BATCH]
            lengths = self._lengths[batch]
            shifts = self._starts[batch] - (np.cumsum(lengths) - lengths)
            parts.append(self._blob[np.arange(int(lengths.sum())) + np.repeat(shifts, lengths)].tobytes())
        return b"".join(parts)

    def _spell_any(self, ids: NDArray[np.int32]) -> bytes | None:
        """As decode, for ids that the library gave.

        Those that spell nothing are no error here, those outside are None.
        """
        inside = not ids.size or (int(ids.min()) >= 0 and int(ids.max()) < self.n_symbols)
        return self._spell(ids) if inside and self._lengths[ids].all() else None

    def _bytewise(self, piece: bytes) -> list[int]:
        return [self._byte_ids[byte] for byte in piece]

    def _repaired(self, piece: bytes, ids: list[int]) -> list[int]:
        parts = [self.spelled[i] if i < self.n_symbols else b"" for i in ids]
        return ids if all(parts) and b"".join(parts) == piece else self._longest_match(piece)

    def _longest_match(self, piece: bytes) -> list[int]:
        """Tokens for a piece that the library does not give back: at each place the longest one that fits."""
        if self._greedy is None:
            blob, known = self._blob.tobytes(), np.flatnonzero((self._lengths > 0) & (self._lengths <= GREEDY_LENGTH))
            self._greedy = {blob[self._starts[i] : self._starts[i] + self._lengths[i]]: int(i) for i in known[::-1]}
        ids, at = [], 0
        while at < len(piece):
            # ends with a find: each single byte is there, if only as an escape
            for length in range(min(GREEDY_LENGTH, len(piece) - at), 0, -1):
                if (token := self._greedy.get(piece[at : at + length])) is not None:
                    break
            assert token is not None
            ids.append(token)
            at += length
        return ids


def _join(lists: list[list[int]]) -> NDArray[np.int32]:
    return np.fromiter(chain.from_iterable(lists), np.int32)


class _Encoder:
    """A tokenizer.json without all that alters a text, and the cutting of bytes into texts that it can take."""

    def __init__(self, path: Path, escaped: bytes) -> None:
        from tokenizers import Tokenizer as Library  # late: decoding does without it

        try:
            parsed = json.loads(path.read_bytes())
            self._marks = not is_byte_level(parsed)
            self._library = Library.from_str(json.dumps(_plain(parsed)))
        except Exception as error:  # the library raises just that
            raise ModelInvalid(
                f"cannot read {path}: {error}", hint="remove the model and pull or convert it again"
            ) from error
        self._short: dict[str, list[int]] = {}  # binary data is some bytes of text at a time, and a call takes 10 us
        # Invalid UTF-8 is U+DC80 to U+DCFF after "surrogateescape". A literal space mark would come back as a space.
        apart = "\udc80-\udcff" + "".join(re.escape(chr(byte)) for byte in escaped if byte < 0x80)
        self._apart = re.compile(f"[{apart}{SPACE_MARK if self._marks else ''}]+")

    def pieces(self, data: bytes) -> Iterator[tuple[str, bool]]:
        """Texts and whether they are for the library; the others are spelled byte by byte. Joined they are `data`."""
        text = data.decode("utf-8", "surrogateescape")
        at = 0
        for match in self._apart.finditer(text):
            yield from ((piece, True) for piece in _cut(text, at, match.start()))
            yield match[0], False
            at = match.end()
        yield from ((piece, True) for piece in _cut(text, at, len(text)))

    def encode(self, text: str) -> list[int]:
        ids = self._short.get(text)
        if ids is None:
            ids = self._ask(text)
            if len(text) <= SHORT and len(self._short) < SHORT_TEXTS:
                self._short[text] = ids
        return ids

    def _ask(self, text: str) -> list[int]:
        marked = text.replace(" ", SPACE_MARK) if self._marks else text
        try:
            ids: list[int] = self._library.encode(marked, add_special_tokens=False).ids
        except Exception:  # it knows no token for something: what is missing is found below, by the longest match
            return []
        return ids if max(ids, default=0) < 1 << 31 else []


def _cut(text: str, start: int, end: int) -> Iterator[str]:
    """Pieces of at most PIECE characters, where possible cut before the space between two words.

    There no token crosses.
    """
    while end - start > PIECE:
        cut = text.rfind(" ", start + PIECE // 2, start + PIECE)
        while cut > 0 and not (text[cut - 1].isalpha() and text[cut + 1].isalpha()):
            cut = text.rfind(" ", start + PIECE // 2, cut)
        cut = cut if cut > 0 else start + PIECE
        yield text[start:cut]
        start = cut
    if start < end:
        yield text[start:end]


def _plain(parsed: dict[str, Any]) -> dict[str, Any]:
    """A tokenizer.json without normalization, special tokens, truncation and added spaces."""
    plain = dict(parsed) | {
        "added_tokens": [],
        "post_processor": None,
        "normalizer": None,
        "truncation": None,
        "padding": None,
    }
    plain["pre_tokenizer"] = _without_prefix(parsed.get("pre_tokenizer"))
    model = dict(plain["model"])
    for key in ("dropout", "continuing_subword_prefix", "end_of_word_suffix"):
        if key in model:
            model[key] = None
    plain["model"] = model
    return plain


def _without_prefix(part: Any) -> Any:
    if isinstance(part, dict):
        switched = {"add_prefix_space": False} if "add_prefix_space" in part else {}
        scheme = {"prepend_scheme": "never"} if part.get("type") == "Metaspace" else {}
        return {key: _without_prefix(value) for key, value in part.items()} | switched | scheme
    return [_without_prefix(each) for each in part] if isinstance(part, list) else part
