"""The account of a file: what its parts take, what each piece of its content cost, what was expected there instead.

A file is decoded as always, by a predictor that keeps account. All of it is in the sums; the pieces are told of up to
MOST_DETAILED bytes, beyond that of stretches spread over it.
"""

import io
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmzip import blocks, codec, container, native, transforms
from llmzip.container import CM, MODEL, NOTE, OPEN, STORED, Block
from llmzip.errors import LlmzipError
from llmzip.explain.watching import BYTE, N_ALTERNATIVES, Spent, WatchedMemory
from llmzip.filemap import BlockEntry, MemberEntry, walk_file
from llmzip.models import Model
from llmzip.models.source import ModelSource
from llmzip.predictor.recording import CONTEXTS_SAY, MATCHES_SAY, MODEL_SAYS, PARTIES
from llmzip.primitives import CHECK_SIZE, parse_varint
from llmzip.stream.opening import Opener, Place, parse_block
from llmzip.teams import Shape

MOST_DETAILED = 1 << 20  # bytes whose pieces are told
N_STRETCHES = 16  # that they are spread over, in a longer file
N_BUCKETS = 1000  # of the strip at most
N_SURPRISES = 20

PARTS = {  # the parts of a file, in the order in which they are shown, and what they are
    "model": "bits that the model spoke for loudest",
    "contexts": "bits that the contexts of bytes, words and lines spoke for loudest",
    "matches": "bits that repeats of what came before spoke for loudest",
    "token ends": "whether a token ends here",
    "stored": "bytes that are stored as they are",
    "coder": "what the coder rounds: its bytes less the bits of all decisions",
    "side": "how to undo transforms; the size of records",
    "headers": "preamble and headers of blocks",
    "checks": "checksums",
    "index": "where the blocks are",
    "notes": "notes on the engine",
    "padding": "zeros after the end",
}
Parts = Counter[str]  # of PARTS, in 2^-24 bit


@dataclass(frozen=True)
class Pieces:
    """Tokens of a stretch, or its bytes where no model speaks."""

    lengths: NDArray[np.int64]  # bytes of each
    costs: NDArray[np.int64]  # whether a token ends here included
    ends: NDArray[np.int64]
    saved: NDArray[np.float64]  # (n, PARTIES) bits that each party has saved, or lost, as against tossing a coin
    alone: NDArray[np.float32]  # what the model alone gave it; NaN where there is none
    likely: NDArray[np.int32]  # (n, N_ALTERNATIVES) numbers of `Stretch.names`, best first; -1: none
    chances: NDArray[np.float32]  # and their probabilities
    expected: NDArray[np.int16]  # the byte that the longest match expected at its start, or -1


@dataclass(frozen=True)
class Stretch:
    """Consecutive bytes of a body, told piece by piece."""

    block: int  # number of the block in `Explanation.blocks`
    start: int  # in its body
    data: bytes
    pieces: Pieces
    names: list[bytes]  # what may have come instead: tokens; of bytes, the ranges of `ranges`


@dataclass(frozen=True)
class BlockAccount:
    member: int  # from 1
    number: int  # in its member, from 1
    kind: str
    transforms: tuple[str, ...]
    lanes: int
    content_start: int  # in the content of the whole file
    body_start: int  # in all bodies
    n_bytes: int  # of content
    n_body: int
    n_tokens: int  # 0 without a model
    parts: Parts


@dataclass(frozen=True)
class Surprise:
    """A piece that cost much."""

    stretch: int
    piece: int
    start: int  # in the data of its stretch
    cost: int


@dataclass
class Explanation:
    n_bytes: int  # of content
    n_on_disk: int
    n_body: int  # of what was coded: the content, but for what transforms have done
    model: str  # its name; empty where none was needed
    parts: Parts = field(default_factory=Counter)
    blocks: list[BlockAccount] = field(default_factory=list)
    stretches: list[Stretch] = field(default_factory=list)
    strip: NDArray[np.float64] = field(
        default_factory=lambda: np.zeros(0)
    )  # bits by byte of each of equal parts of all bodies
    surprises: list[Surprise] = field(default_factory=list)

    @property
    def is_sample(self) -> bool:
        """Whether the stretches are not all there is."""
        return self.n_detailed < self.n_body

    @property
    def n_detailed(self) -> int:
        return sum(len(stretch.data) for stretch in self.stretches)


Progress = Callable[[int], object]  # bytes of content that are done


def is_packed(data: bytes) -> bool:
    """Whether these are the bytes of an .lmz file, by all its headers: other files may begin as one does."""
    try:
        walk_file(io.BytesIO(data))
    except LlmzipError:
        return False
    return True


def explain(
    data: bytes,
    source: ModelSource,
    *,
    content: bytes | None = None,
    ignore_engine: bool = False,
    progress: Progress | None = None,
) -> Explanation:
    """The account of an .lmz file. Raises what decompressing it raises.

    `content`: what it was made of by this machine just now. Then it is coded again, not decoded: a model does that many
    tokens at a time.
    """
    members = walk_file(io.BytesIO(data))
    return _Accountant(data, members, content, Opener(source, ignore_engine), progress).explain()


class _Accountant:
    def __init__(
        self, data: bytes, members: list[MemberEntry], content: bytes | None, opener: Opener, progress: Progress | None
    ) -> None:
        self._data, self._members, self._content, self._opener, self._progress = (
            data,
            members,
            content,
            opener,
            progress,
        )
        headers = [block.header for member in members for block in member.blocks]
        n_body = sum(header.body_size for header in headers if header is not None)
        self._found = Explanation(sum(member.n_bytes for member in members), len(data), n_body, "")
        self._buckets, self._bucket_bytes = (np.zeros(min(N_BUCKETS, n_body)) for _ in range(2))
        self._body_start = 0

    def explain(self) -> Explanation:
        found = self._found
        for number, member in enumerate(self._members, 1):
            found.parts.update(self._member_parts(member))  # not +=, which drops what is negative
            memory = WatchedMemory(container.MIN_LINE_BITS)
            for entry in member.blocks:
                assert entry.header is not None
                if entry.header.line_bits is not None:
                    memory = WatchedMemory(entry.header.line_bits)
                self._add_block(member, number, entry, memory)
        found.parts["padding"] += (len(self._data) - sum(member.size for member in self._members)) * BYTE
        assert sum(found.parts.values()) == len(self._data) * BYTE
        found.strip = 8 * self._buckets / np.maximum(1, self._bucket_bytes)
        found.surprises = _surprises(found.stretches)
        return found

    def _member_parts(self, member: MemberEntry) -> Parts:
        """Of what is in no block of content."""
        parts: Parts = Counter(headers=len(member.preamble.raw) * BYTE)
        at = member.offset + len(member.preamble.raw)
        if member.blocks[0].offset > at:
            parts["notes"] += (member.blocks[0].offset - at) * BYTE
        last = member.blocks[-1]
        parts["index"] += (member.offset + member.size - last.offset - last.size) * BYTE
        return parts

    def _add_block(self, member: MemberEntry, number: int, entry: BlockEntry, memory: WatchedMemory) -> None:
        header = entry.header
        assert header is not None
        place = Place(number, entry.number, entry.content_offset, entry.n_bytes)
        block = parse_block(self._data[entry.offset : entry.offset + entry.size], header, place)
        memory.detailed = self._detailed(header.body_size)
        progress = self._progress
        tell = progress and (lambda done: progress(entry.content_offset + done))
        if self._content is None:
            self._opener.open(
                block, header, place, memory, fingerprint=member.fingerprint, note=member.note, progress=tell
            )
        else:
            content = self._content[entry.content_offset : entry.content_offset + entry.n_bytes]
            _code_again(self._opener.source, block, content, memory, tell)
        body, spent = _body(block, memory)
        parts = _block_parts(entry, block, spent)
        n_tokens = 0
        for stretch in self._stretches(block, body, spent, memory.detailed, member.fingerprint):
            self._found.stretches.append(stretch)
        if spent is not None:
            n_tokens = sum(len(part.ids) for part in spent.token_parts)
        self._fill_strip(body, spent)
        self._found.parts.update(parts)
        self._found.blocks.append(
            BlockAccount(
                number,
                entry.number,
                container.KIND_NAMES[block.kind],
                container.transform_names(block.mask),
                block.lanes,
                entry.content_offset,
                self._body_start,
                entry.n_bytes,
                len(body),
                n_tokens,
                parts,
            )
        )
        self._body_start += len(body)

    def _detailed(self, n: int) -> NDArray[np.bool_]:
        """Which of n bytes of a body are told piece by piece: all, or equal stretches at equal distances."""
        if self._found.n_body <= MOST_DETAILED:
            return np.ones(n, dtype=np.bool_)
        place = np.arange(self._body_start, self._body_start + n)
        found: NDArray[np.bool_] = place * N_STRETCHES % self._found.n_body < MOST_DETAILED
        return found

    def _stretches(
        self, block: Block, body: bytes, spent: Spent | None, detailed: NDArray[np.bool_], fingerprint: bytes
    ) -> Iterator[Stretch]:
        number = len(self._found.blocks)
        names: list[bytes] = ranges()[1]
        if block.kind == MODEL:
            model = (
                self._opener.source.to_decompress(fingerprint)
                if self._content is None
                else self._opener.source.to_compress()
            )
            self._found.model = model.name
            names = model.tokenizer.spelled
        edges = np.flatnonzero(np.diff(np.concatenate([[False], detailed, [False]]).astype(np.int8))).reshape(-1, 2)
        for start, end in edges.tolist():
            if block.kind == MODEL:
                assert spent is not None
                start, end, pieces = _token_pieces(spent, start, end)
            else:
                pieces = _byte_pieces(spent, body, start, end)
            if len(pieces.lengths):
                yield Stretch(number, start, body[start:end], pieces, names)

    def _fill_strip(self, body: bytes, spent: Spent | None) -> None:
        if not body:
            return
        place = (self._body_start + np.arange(len(body), dtype=np.int64)) * len(self._buckets) // self._found.n_body
        np.add.at(self._buckets, place, 1.0 if spent is None else (spent.costs + spent.ends.astype(np.float64)) / BYTE)
        np.add.at(self._bucket_bytes, place, 1.0)


def _code_again(
    source: ModelSource, block: Block, content: bytes, memory: WatchedMemory, progress: Progress | None
) -> None:
    """Code the content of a block as it has been coded already.

    One that was opened is decoded all the same: what was found in it is told by its side information alone.
    """
    if block.kind == STORED:
        return
    model = source.to_compress() if block.kind == MODEL else None
    if block.mask & OPEN:
        is_same = blocks.decompress(block, model, memory, progress) == content
    else:
        is_same = _coded_again(model, block, content, memory, progress) == (block.side, block.payload)
        memory.learn(transforms.apply(content, block.mask & transforms.TEXT)[1], window=b"")
    if not is_same:
        raise LlmzipError(
            "the same content came out otherwise the second time", hint="compress it, and explain the .lmz file"
        )


def _coded_again(
    model: Model | None, block: Block, content: bytes, memory: WatchedMemory, progress: Progress | None
) -> tuple[bytes, bytes]:
    """Side information and payload."""
    _, body, side = transforms.apply(content, block.mask, memory.past)
    predictor = memory.take(len(body))
    if model is None:
        return side, codec.write_bytes(predictor, body, parse_varint(block.payload, 0, "the stride")[0], progress)
    window, overlap = codec.coding_of(model, block.window, block.overlap, block.lanes)
    shape = Shape(block.lanes, window, overlap, native.clip_threads(model.threads))
    return side, codec.write_tokens(predictor, model, body, shape, progress)


def _body(block: Block, memory: WatchedMemory) -> tuple[bytes, Spent | None]:
    if block.kind == STORED:
        return block.payload, None
    assert memory.watched is not None
    return memory.watched.body(), memory.watched.spent


def _block_parts(entry: BlockEntry, block: Block, spent: Spent | None) -> Parts:
    """Sums to the bytes of the block in the file."""
    header = entry.header
    assert header is not None and block.kind != NOTE
    check = 0 if header.covered else CHECK_SIZE  # of header and payload; a short member has one check for all
    parts: Parts = Counter(headers=(header.size - check) * BYTE, side=len(block.side) * BYTE)
    parts["checks"] = (entry.size - header.size - header.n_payload + check) * BYTE
    if spent is None:
        parts["stored"] = len(block.payload) * BYTE
        return parts
    code = len(block.payload)
    if block.kind == CM:
        stride = parse_varint(block.payload, 0, "the stride")[1]
        parts["side"] += stride * BYTE
        code -= stride
    parts["coder"] = code * BYTE - spent.total
    for name, party in (("model", MODEL_SAYS), ("contexts", CONTEXTS_SAY), ("matches", MATCHES_SAY)):
        parts[name] = int(spent.shares[party])
    parts["token ends"] = int(spent.ends.sum(dtype=np.int64))
    assert sum(parts.values()) == entry.size * BYTE
    return parts


def _token_pieces(spent: Spent, start: int, end: int) -> tuple[int, int, Pieces]:
    """The tokens that begin in these bytes, and where they are."""
    tokens = spent.tokens()
    assert tokens is not None
    first, last = np.searchsorted(tokens.starts, (start, end))
    starts = tokens.starts[first:last]
    start, end = (
        (int(starts[0]), int(tokens.starts[last]) if last < len(tokens.starts) else spent.n)
        if len(starts)
        else (start, start)
    )
    cut = slice(first, last)
    return (
        start,
        end,
        Pieces(
            np.diff(starts, append=end),
            _sums(spent.costs, starts, end) + _sums(spent.ends, starts, end),
            _sums(spent.ends, starts, end),
            _sums(spent.saved, starts, end),
            tokens.alone[cut],
            tokens.likely[cut],
            tokens.chances[cut],
            spent.expected[starts],
        ),
    )


def _sums(values: NDArray[Any], starts: NDArray[np.int64], end: int) -> NDArray[Any]:
    """Over the bytes from each start to the next; exact, where the values are whole numbers."""
    wide = values[starts[0] if len(starts) else end : end].astype(np.float64 if values.dtype.kind == "f" else np.int64)
    sums: NDArray[Any] = np.add.reduceat(wide, starts - starts[0], axis=0) if len(starts) else wide
    return sums


def _byte_pieces(spent: Spent | None, body: bytes, start: int, end: int) -> Pieces:
    """Each byte by itself; `spent` None: what is stored, without a word."""
    n = end - start
    likely, chances = np.full((n, N_ALTERNATIVES), -1, dtype=np.int32), np.zeros((n, N_ALTERNATIVES), dtype=np.float32)
    nothing, none = np.zeros(n, dtype=np.int64), np.full(n, np.nan, dtype=np.float32)
    if spent is None:
        return Pieces(
            nothing + 1,
            nothing + BYTE,
            nothing,
            np.zeros((n, PARTIES)),
            none,
            likely,
            chances,
            np.full(n, -1, dtype=np.int16),
        )
    likely, chances = _elsewhere(np.frombuffer(body[start:end], np.uint8), spent.chances[start:end])
    costs, saved = spent.costs[start:end].astype(np.int64), spent.saved[start:end].astype(np.float64)
    return Pieces(nothing + 1, costs, nothing, saved, none, likely, chances, spent.expected[start:end])


def _elsewhere(data: NDArray[np.uint8], chances: NDArray[np.uint32]) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """What else might have come: at each bit the bytes that begin as this one, but for that bit."""
    came = chances / float(1 << 24)
    before = np.cumprod(np.concatenate([np.ones((len(data), 1)), came[:, :-1]], axis=1), axis=1)
    there = (before * (1 - came)).astype(np.float32)
    best = np.argsort(-there, axis=1, kind="stable")[:, :N_ALTERNATIVES]
    numbers = ranges()[0]
    return numbers[data[:, None], best].astype(np.int32), np.take_along_axis(there, best, axis=1)


def ranges() -> tuple[NDArray[np.int32], list[bytes]]:
    """The number of the range that the other bit leads to (256, 8); and the ranges as their first and last byte."""
    names: list[bytes] = []
    numbers = np.zeros((256, 8), dtype=np.int32)
    known: dict[bytes, int] = {}
    for byte in range(256):
        for bit in range(8):
            low = (byte >> (7 - bit) ^ 1) << (7 - bit)
            name = bytes(sorted({low, low + (1 << (7 - bit)) - 1}))
            if name not in known:
                known[name] = len(names)
                names.append(name)
            numbers[byte, bit] = known[name]
    return numbers, names


def _surprises(stretches: list[Stretch]) -> list[Surprise]:
    """What cost most, of what is told piece by piece and coded."""
    found: list[Surprise] = []
    for number, stretch in enumerate(stretches):
        pieces = stretch.pieces
        if pieces.likely[0, 0] < 0:
            continue
        starts = np.cumsum(pieces.lengths) - pieces.lengths
        best = np.argsort(-pieces.costs, kind="stable")[:N_SURPRISES].tolist()
        found += [Surprise(number, i, int(starts[i]), int(pieces.costs[i])) for i in best]
    return sorted(found, key=lambda each: -each.cost)[:N_SURPRISES]
