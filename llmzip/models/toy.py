"""A fake model that ships with the library.

Byte statistics of English, a language of its own, and a hash of the window. Needs numpy alone.

For tests, fuzzing and examples of the protocol: the whole pipeline runs on it in milliseconds, and a single wrong id,
position or reset changes every score after it. It compresses text a little, what `speak` writes by half, and everything
else not at all.
"""

import hashlib
import random

import numpy as np
from numpy.typing import NDArray

from llmzip.errors import FormatError
from llmzip.models import ESCAPE_SCORE
from llmzip.tokens import in_order, places_of

_MISSING = bytes([4, 6, 255])  # bytes that this vocabulary lacks, as real ones do
_WORDS = (b" the ", b"ing ", b" and ", b"tion", b"<|endoftext|>")
_LETTERS = b"  eeetttaoinshrd"  # of the toy language, in which the last four decide which is to be expected


class ToyTokenizer:
    """Single bytes and a few words, longest match first."""

    def __init__(self) -> None:
        self._spellings = [bytes([b]) for b in range(256) if b not in _MISSING] + list(_WORDS)
        self.n_vocab = len(self._spellings) + 60  # unused ids, as padded vocabularies have
        self._spelling = dict(enumerate(self._spellings)) | {
            self.n_vocab + i: bytes([b]) for i, b in enumerate(_MISSING)
        }
        self._id = {spelling: i for i, spelling in self._spelling.items()}
        self.n_symbols = self.n_vocab + len(_MISSING)
        self.spelled = [self._spelling.get(i, b"") for i in range(self.n_symbols)]
        self.entries = in_order(self.spelled)

    def encode(self, data: bytes) -> NDArray[np.int32]:
        ids, at = [], 0
        while at < len(data):
            word = next((w for w in _WORDS if data.startswith(w, at)), data[at : at + 1])
            ids.append(self._id[word])
            at += len(word)
        return np.array(ids, dtype=np.int32)

    def decode(self, ids: NDArray[np.int32]) -> bytes:
        try:
            return b"".join(self._spelling[int(i)] for i in ids)
        except KeyError as error:
            raise FormatError(f"token {error.args[0]} spells nothing") from None

    def size(self, ids: NDArray[np.int32]) -> int:
        return len(self.decode(ids))


class ToyState:
    def __init__(self, model: "ToyModel", lanes: int, window: int) -> None:
        self._prepare(model.tokenizer, model.salt)
        self._hashes = np.ones((window + 1, lanes), dtype=np.uint32)  # before each position: of all ids,
        self._recents = np.zeros((window + 1, lanes), dtype=np.uint32)  # and the last four
        self._pos = 0

    def _prepare(self, tokenizer: ToyTokenizer, salt: int) -> None:
        """What scores are made of, in their order: that of the entries."""
        entries = tokenizer.entries
        self._odd = (entries.astype(np.uint32) * np.uint32(40503) + np.uint32(salt)) * np.uint32(2) + np.uint32(1)
        self._letters = places_of(entries, tokenizer.n_symbols)[[tokenizer._id[bytes([byte])] for byte in _LETTERS]]
        self._escapes = np.flatnonzero(entries >= tokenizer.n_vocab)
        scores = dict.fromkeys(b"cmwfgypbvkjxqz.,\n", -1100) | {b: -60 * i for i, b in enumerate(b" etaoinshrdlu")}
        known = {bytes([byte]): score for byte, score in scores.items()} | dict.fromkeys(_WORDS, -1300)
        self._prior = np.array([known.get(tokenizer.spelled[i], -2600) for i in entries], dtype=np.int32)
        self._prior[self._escapes] = -(1 << 20)  # never the greatest

    def reset(self) -> None:
        self._pos = 0

    def prompt(self, ids: NDArray[np.int32]) -> None:
        for column in ids.T.tolist():
            for lane, token in enumerate(column):
                self._read(token, lane, self._pos)
            self._pos += 1

    def forward(self, ids: NDArray[np.int32]) -> NDArray[np.int16]:
        lanes = np.arange(len(ids), dtype=np.int32)
        scores = np.empty((*ids.shape, len(self._prior)), dtype=np.int16)
        for c in range(ids.shape[1]):
            scores[:, c] = self.look(ids[:, c], lanes, np.full(len(ids), self._pos, np.int32))
            self._pos += 1
        return scores

    def look(self, ids: NDArray[np.int32], lanes: NDArray[np.int32], positions: NDArray[np.int32]) -> NDArray[np.int16]:
        for each in zip(ids.tolist(), lanes.tolist(), positions.tolist(), strict=True):
            self._read(*each)
        hashes, recents = self._hashes[positions + 1, lanes], self._recents[positions + 1, lanes]
        noise = (hashes ^ (hashes >> 15))[:, None] * self._odd >> np.uint32(24)  # (n, entries), 0 .. 255
        row = self._prior - noise.astype(np.int32)
        row[np.arange(len(row)), self._letters[_expected(recents)]] += 1200
        row -= row.max(axis=1, keepdims=True)
        row[:, self._escapes] = ESCAPE_SCORE
        return row.astype(np.int16)

    def _read(self, token: int, lane: int, position: int) -> None:
        self._hashes[position + 1, lane] = self._hashes.item(position, lane) * 2654435761 + token + 1 & 0xFFFFFFFF
        self._recents[position + 1, lane] = (self._recents.item(position, lane) << 8) + token & 0xFFFFFFFF


def _expected(recent: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Which of the letters (L,) is to be expected after the ids of the last four."""
    found: NDArray[np.uint32] = recent * np.uint32(2654435761) >> np.uint32(28)
    return found


class ToyModel:
    """See the module. `salt` makes another model of it, with another fingerprint."""

    exact = True
    strong = False
    engine_note = ""
    start_id = 0
    window = 64
    overlap = 16
    max_window = 4096
    threads: int | None = None

    def __init__(self, salt: int = 0) -> None:
        self.name = "toy"
        self.salt = salt
        self.fingerprint = hashlib.sha256(b"llmzip toy %d" % salt).digest()
        self.tokenizer = ToyTokenizer()

    def open(self, lanes: int, window: int, threads: int | None = None) -> ToyState:
        return ToyState(self, lanes, window)

    def state_bytes(self, lanes: int, window: int) -> int:
        return lanes * (32 * self.tokenizer.n_symbols + 8 * (window + 1))

    def speak(self, n_bytes: int, seed: int = 0) -> bytes:
        """Text that this model, and nobody else, knows what to expect in: three letters in four."""
        chance, recent, text = random.Random(seed), np.zeros(1, dtype=np.uint32), bytearray()
        ids = self.tokenizer.encode(_LETTERS).astype(np.uint32)
        for _ in range(n_bytes):
            letter = int(_expected(recent)[0]) if chance.random() < 0.75 else chance.randrange(len(_LETTERS))
            text.append(_LETTERS[letter])
            recent = (recent << np.uint32(8)) + ids[letter]
        return bytes(text)
