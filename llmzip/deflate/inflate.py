"""A deflate stream as tokens and blocks. Twin of c/inflate.h."""

from dataclasses import dataclass

from llmzip.deflate.codes import (
    DISTANCE_BASE,
    DISTANCE_EXTRA,
    DISTANCES,
    DYNAMIC,
    END_OF_BLOCK,
    FIXED,
    FIXED_DISTANCES,
    FIXED_LENGTHS,
    LENGTH_BASE,
    LENGTH_EXTRA,
    LENGTHS,
    LITERALS,
    LONG,
    MAX_LENGTH,
    ORDER,
    RUN_BASE,
    RUN_EXTRA,
    STORED,
    BitReader,
    Header,
    codes_of,
    match_token,
)

# Of work: for each byte, for any stream, and what a block is.
STEPS_EACH, STEPS_ALWAYS, STEPS_OF_BLOCK = 256, 1 << 20, 1024


class Invalid(Exception):
    """No deflate stream."""


class _Full(Exception):
    """More plain text than there is room for."""


@dataclass
class Block:
    type: int = STORED
    final: int = 0
    padding: int = 0
    n_tokens: int = 0
    length: int = 0
    first: int = 0  # token
    header: Header | None = None


class Inflation:
    """To the end of the stream, then it is `last`, or of the last block that `most` leaves room for. Raises Invalid."""

    def __init__(self, data: memoryview, at: int, window: bytes, most: int) -> None:
        self.x, self._start, self._most = bytearray(window), len(window), most
        self.tokens: list[int] = []
        self.blocks: list[Block] = []
        self.last, self.padding, self.at = False, 0, at
        reader = BitReader(data, at)
        while not self.last:
            n, n_tokens = len(self.x), len(self.tokens)
            try:
                block = self._inflate_block(reader)
                if len(self.x) - self._start > most:
                    raise _Full
            except _Full:
                if not self.blocks:
                    raise Invalid from None
                del self.x[n:], self.tokens[n_tokens:]
                return
            self.blocks.append(block)
            if block.final:
                self.padding, self.last = reader.get(-reader.at % 8), True
            self.at = reader.at
            if STEPS_OF_BLOCK * len(self.blocks) > STEPS_EACH * (len(self.x) - self._start) + STEPS_ALWAYS:
                raise Invalid

    def _inflate_block(self, reader: BitReader) -> Block:
        block = Block(final=reader.get(1), type=reader.get(2), first=len(self.tokens))
        if reader.at > reader.size or block.type > DYNAMIC:
            raise Invalid
        start = len(self.x)
        if block.type == STORED:
            self._inflate_stored(reader, block)
        elif block.type == FIXED:
            self._inflate_tokens(reader, _Code(FIXED_LENGTHS), _Code(FIXED_DISTANCES))
        else:
            block.header = get_header(reader)
            self._inflate_tokens(
                reader, _Code(block.header.literals).checked(), _Code(block.header.distances).checked()
            )
        block.n_tokens, block.length = len(self.tokens) - block.first, len(self.x) - start
        return block

    def _inflate_stored(self, reader: BitReader, block: Block) -> None:
        block.padding = reader.get(-reader.at % 8)
        length = reader.get(16)
        if length != reader.get(16) ^ 0xFFFF or reader.at + 8 * length > reader.size:
            raise Invalid
        self.x += reader.take(length)

    def _inflate_tokens(self, reader: BitReader, literals: "_Code", distances: "_Code") -> None:
        x = self.x
        while True:
            symbol = literals.get(reader)
            if reader.at > reader.size:
                raise Invalid
            if symbol == END_OF_BLOCK:
                return
            if len(x) - self._start > self._most:
                raise _Full
            if symbol < 256:
                x.append(symbol)
                self.tokens.append(1)
                continue
            symbol -= 257
            if symbol > 28:
                raise Invalid
            length = LENGTH_BASE[symbol] + reader.get(LENGTH_EXTRA[symbol])
            d = distances.get(reader)
            distance = DISTANCE_BASE[d] + reader.get(DISTANCE_EXTRA[d])
            if reader.at > reader.size or distance > len(x):
                raise Invalid
            self.tokens.append(match_token(length, distance) | (LONG if symbol == 27 and length == MAX_LENGTH else 0))
            for _ in range(length):
                x.append(x[-distance])


class _Code:
    def __init__(self, lengths: tuple[int, ...]) -> None:
        self.left, self.n = 1 << 15, 0  # codes of 15 bits that are free, and how many symbols have one
        for length in lengths:
            if length:
                self.left, self.n = self.left - (1 << 15 - length), self.n + 1
        if self.left < 0:
            raise Invalid
        self._symbols = {
            (length, code): i for i, (length, code) in enumerate(zip(lengths, codes_of(lengths), strict=True)) if length
        }
        self._lengths = sorted(set(lengths) - {0})

    def checked(self) -> "_Code":
        """A code with one symbol may have one of its two codes only, as inflate() of zlib takes it."""
        if self.left and self.n > 1:
            raise Invalid
        return self

    def get(self, reader: BitReader) -> int:
        bits = reader.peek(15)
        for length in self._lengths:
            symbol = self._symbols.get((length, bits & (1 << length) - 1))
            if symbol is not None:
                reader.at += length
                return symbol
        raise Invalid


def get_header(reader: BitReader) -> Header:
    n_literals, n_distances, orders = reader.get(5) + 257, reader.get(5) + 1, reader.get(4) + 4
    if n_literals > LITERALS or n_distances > DISTANCES:
        raise Invalid
    of_runs = [0] * LENGTHS
    for i in range(orders):
        of_runs[ORDER[i]] = reader.get(3)
    code = _Code(tuple(of_runs))
    if code.left:
        raise Invalid
    lengths: list[int] = []
    runs = []
    while len(lengths) < n_literals + n_distances:
        symbol = code.get(reader)
        if reader.at > reader.size or (symbol == 16 and not lengths):
            raise Invalid
        extra = reader.get(RUN_EXTRA.get(symbol, 0))
        value = symbol if symbol < 16 else lengths[-1] if symbol == 16 else 0
        lengths += [value] * (RUN_BASE.get(symbol, 1) + extra)
        runs.append((symbol, extra))
    if len(lengths) > n_literals + n_distances or not lengths[END_OF_BLOCK]:
        raise Invalid
    return Header(tuple(lengths[:n_literals]), tuple(lengths[n_literals:]), tuple(runs), tuple(of_runs), orders)
