"""The alphabets of deflate (RFC 1951), and bits read and written. Twin of c/codes.h."""

from typing import NamedTuple

MIN_LENGTH, MAX_LENGTH = 3, 258
LITERALS, DISTANCES, LENGTHS, END_OF_BLOCK = 286, 30, 19, 256
STORED, FIXED, DYNAMIC = range(3)

LENGTH_EXTRA = (0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0)
LENGTH_BASE = (
    *range(3, 11),
    *range(11, 19, 2),
    *range(19, 35, 4),
    *range(35, 67, 8),
    *range(67, 131, 16),
    *range(131, 258, 32),
    258,
)
DISTANCE_EXTRA = tuple(max(0, i // 2 - 1) for i in range(DISTANCES))
DISTANCE_BASE = tuple(i + 1 if i < 4 else ((2 + i % 2) << i // 2 - 1) + 1 for i in range(DISTANCES))
ORDER = (16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15)
FIXED_LENGTHS = (*[8] * 144, *[9] * 112, *[7] * 24, *[8] * 8)
FIXED_DISTANCES = (5,) * DISTANCES
RUN_EXTRA, RUN_BASE = {16: 2, 17: 3, 18: 7}, {16: 3, 17: 3, 18: 11}

LENGTH_CODES = {length: i for i, base in enumerate(LENGTH_BASE) for length in range(base, 259)} | {258: 28}
LONG = 1 << 31  # length 258, written as code 27 and extra bits


def match_token(length: int, distance: int) -> int:
    """length | distance << 9; a literal: 1."""
    return length | distance << 9


def length_of(token: int) -> int:
    return token & 511


def distance_of(token: int) -> int:
    return token >> 9 & 0xFFFF


def length_code(token: int) -> int:
    return 27 if token & LONG else LENGTH_CODES[length_of(token)]


def distance_code(distance: int) -> int:
    d = distance - 1
    if d < 2:
        return d
    k = d.bit_length() - 1
    return 2 * k + (d >> k - 1 & 1)


class Header(NamedTuple):
    """What stands at the head of a dynamic block."""

    literals: tuple[int, ...]  # lengths of codes
    distances: tuple[int, ...]
    runs: tuple[tuple[int, int], ...]  # symbol, extra bits
    of_runs: tuple[int, ...]  # (LENGTHS) lengths of the code for runs
    orders: int


class BitReader:
    """Bits from a place on; zeros after the end, and then `at` is beyond `size`."""

    def __init__(self, data: bytes | memoryview, at: int) -> None:
        self._data, self.size, self.at = data, 8 * len(data), at

    def peek(self, n: int) -> int:
        byte = self.at >> 3
        return int.from_bytes(self._data[byte : byte + 4], "little") >> (self.at & 7) & (1 << n) - 1

    def get(self, n: int) -> int:
        bits = self.peek(n)
        self.at += n
        return bits

    def take(self, n: int) -> bytes | memoryview:
        """Whole bytes, from a border of bytes on."""
        start = self.at >> 3
        self.at += 8 * n
        return self._data[start : start + n]


class BitWriter:
    """Bits into bytes; what is not a whole byte yet is held below a one."""

    def __init__(self, held: int = 1) -> None:
        self.bytes, self.held = bytearray(), held

    def put(self, bits: int, n: int) -> None:
        k = self.held.bit_length() - 1
        held, k = self.held ^ 1 << k | bits << k, k + n
        whole = k // 8
        self.bytes += (held & (1 << 8 * whole) - 1).to_bytes(whole, "little")
        self.held = held >> 8 * whole | 1 << k - 8 * whole

    def put_padding(self, padding: int) -> None:
        n = -(self.held.bit_length() - 1) % 8
        self.put(padding & (1 << n) - 1, n)


def codes_of(lengths: tuple[int, ...]) -> list[int]:
    """The code of each symbol, its first bit lowest."""
    code, following = 0, [0] * 17
    for k in range(1, 16):
        code = code + lengths.count(k - 1) * (k > 1) << 1
        following[k] = code
    codes = []
    for length in lengths:
        turned = f"{following[length] & (1 << length) - 1:0{length}b}"[::-1] if length else "0"
        codes.append(int(turned, 2))
        following[length] += 1
    return codes


def put_header(writer: BitWriter, header: Header) -> None:
    writer.put(len(header.literals) - 257, 5)
    writer.put(len(header.distances) - 1, 5)
    writer.put(header.orders - 4, 4)
    for i in range(header.orders):
        writer.put(header.of_runs[ORDER[i]], 3)
    codes = codes_of(header.of_runs)
    for symbol, extra in header.runs:
        writer.put(codes[symbol], header.of_runs[symbol])
        writer.put(extra, RUN_EXTRA.get(symbol, 0))


def put_tokens(
    writer: BitWriter, plain: bytes, tokens: list[int], literals: tuple[int, ...], distances: tuple[int, ...]
) -> None:
    """And the end of the block. `plain`: what the tokens stand for."""
    codes, distance_codes, at = codes_of(literals), codes_of(distances), 0
    for token in tokens:
        distance = distance_of(token)
        if not distance:
            writer.put(codes[plain[at]], literals[plain[at]])
        else:
            k, d = length_code(token), distance_code(distance)
            if 257 + k < len(literals):
                writer.put(codes[257 + k], literals[257 + k])
            writer.put(length_of(token) - LENGTH_BASE[k], LENGTH_EXTRA[k])
            if d < len(distances):
                writer.put(distance_codes[d], distances[d])
            writer.put(distance - DISTANCE_BASE[d], DISTANCE_EXTRA[d])
        at += length_of(token)
    writer.put(codes[END_OF_BLOCK], literals[END_OF_BLOCK])


def put_stored(writer: BitWriter, plain: bytes, padding: int) -> None:
    writer.put_padding(padding)
    writer.bytes += len(plain).to_bytes(2, "little") + (len(plain) ^ 0xFFFF).to_bytes(2, "little") + plain
