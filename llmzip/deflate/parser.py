"""What the producer of a stream would do next: zlib's and gzip's search for matches, their blocks and their window.

Twin of c/parser.h.
"""

from llmzip.deflate.codes import (
    DISTANCE_EXTRA,
    DISTANCES,
    END_OF_BLOCK,
    LITERALS,
    MAX_LENGTH,
    MIN_LENGTH,
    distance_code,
    distance_of,
    length_code,
    length_of,
    match_token,
)
from llmzip.deflate.parameters import (
    FILTERED,
    FOLDED,
    FULL_FLUSH,
    GZIP_CUTTING,
    HUFFMAN,
    LOOKAHEAD,
    OF_FOUR,
    OF_THREE,
    RUNS,
    SHIFTED,
    SYNC,
    WINDOW,
    ZLIB,
    Parameters,
)

UNKNOWN = 1 << 30  # more than any stream has
# What a prediction is; LONG_MATCH: so long that no better one was looked for.
NO_MATCH, PUT_OFF, MATCH, LONG_MATCH = range(4)
NONE = (2, 0)
_MASK = WINDOW - 1


def hash_of_three(x: bytes | bytearray, at: int, bits: int) -> int:
    return (int.from_bytes(x[at : at + 3], "little") * 0x9E3779B1 & 0xFFFFFFFF) >> 32 - bits


def common(x: bytes | bytearray, a: int, b: int, most: int) -> int:
    n = 0
    while n < most and x[a + n] == x[b + n]:
        n += 1
    return n


class Parser:
    """x: the window, then the plain text up to n, which is all there is of it if it is the `last`."""

    def __init__(
        self, parameters: Parameters, x: bytes, window: int, base: int, *, last: bool, marks: bytes | None
    ) -> None:
        self.q, self.x = parameters, x
        self.end = len(x)  # of what the producer has to look at
        self.total = len(x) if last else UNKNOWN  # as far as is known
        self.head, self.links = [0] * (1 << parameters.hash_bits), [0] * WINDOW  # positions + 1
        self.next = 0  # to be inserted
        self.zero = -1 if window else 0  # is no match for anything
        self.base = base  # of the window that the producer holds
        self.drained = False  # gzip has read nothing more
        self.kind = NO_MATCH
        self.here = self.later = NONE  # what the last prediction saw
        self.pending, self.put_off = False, NONE  # found, and to be used if pending
        self.steps = 0
        self._fill()
        self._insert_window(0, window, marks)

    # Chains

    def _hash(self, at: int) -> int:
        x, bits = self.x, self.q.hash_bits
        if self.q.hash == SHIFTED:
            shift = (bits + 2) // 3
            return (x[at] << 2 * shift ^ x[at + 1] << shift ^ x[at + 2]) & (1 << bits) - 1
        if self.q.hash == FOLDED:
            word = int.from_bytes(x[at : at + 3], "little")
            return (word ^ word >> 17) & (1 << bits) - 1
        if self.q.hash == OF_THREE:
            return hash_of_three(x, at, bits)
        return (int.from_bytes(x[at : at + 4], "little") * 0x1E35A7BD & 0xFFFFFFFF) >> 32 - bits

    @property
    def _hashed(self) -> int:
        return 4 if self.q.hash == OF_FOUR else 3

    def _insert_to(self, last: int) -> None:
        """All positions up to `last` that have not been skipped."""
        for at in range(self.next, min(last, self.end - self._hashed) + 1):
            self.next = at + 1
            if at != self.zero or self.q.any:
                h = self._hash(at)
                self.links[at & _MASK], self.head[h] = self.head[h], at + 1

    def _newest(self, at: int) -> int:
        """The newest position before this one with its hash, + 1, or 0."""
        if at + self._hashed > self.end:
            return 0
        self._insert_to(at)
        return 0 if at == self.zero and not self.q.any else self.links[at & _MASK]

    def _insert_window(self, start: int, end: int, marks: bytes | None) -> None:
        """Insert what the window holds: all positions, or those that are marked."""
        self.next = start
        while self.next < end:
            at = self.next
            if marks is None or marks[at - start]:
                self._insert_to(at)
            else:
                self.next += 1
            if self.next == at:
                return  # so near the end that it waits

    def marks(self) -> bytes:
        """Which of the last positions are in the chains, or wait for it."""
        n = len(self.x)
        start = max(0, n - WINDOW)
        marks = bytearray(n - start)
        for at in self.head:
            while at > start:
                marks[at - 1 - start] = 1
                following = self.links[at - 1 & _MASK]
                at = following if following < at else 0
        waiting = max(self.next, start)
        marks[waiting - start :] = b"\1" * (n - waiting)
        return bytes(marks)

    # The producer's window

    def _fill(self) -> None:
        self.filled = min(self.base + (2 << self.q.window_bits), self.total)

    def slide(self, at: int) -> None:
        """The producer reads on, if it has to before it looks at this position."""
        width = 1 << self.q.window_bits
        low = 1 if self.q.strategy == HUFFMAN else MAX_LENGTH + 1 if self.q.strategy == RUNS else LOOKAHEAD
        while self.filled - at < low and not self.drained:
            if at - self.base >= 2 * width - LOOKAHEAD:
                self.base += width
            self.drained = self.q.rule != ZLIB and self.filled >= self.total  # gzip: a read has returned nothing
            self._fill()
            if self.q.rule == ZLIB:
                return

    # Tokens

    def _search(self, at: int, before: int) -> tuple[int, int]:
        """The longest match that is longer than `before`, the nearest of them; length 2: none."""
        q, x = self.q, self.x
        self.slide(at)
        if at + MIN_LENGTH > self.end:
            return NONE
        candidate, most = self._newest(at), min(self.end - at, MAX_LENGTH)
        if q.rule != ZLIB and at - self.base > (2 << q.window_bits) - LOOKAHEAD:
            return NONE
        if not candidate or at - (candidate - 1) > q.max_distance or before >= most:
            return NONE
        nice, chain, best, found = min(q.nice, most), q.chain, before, 0
        limit = at - q.max_distance + (not q.any) if at > q.max_distance else 0
        if before >= q.good:
            chain = max(1, chain >> 2)
        while True:
            c = candidate - 1
            self.steps += 1
            if x[c + best] == x[at + best] and x[c + best - 1] == x[at + best - 1]:
                n = common(x, c, at, most)
                self.steps += n >> 3
                if n > best:
                    best, found = n, candidate
                    if n >= nice:
                        break
            following = self.links[c & _MASK]
            chain -= 1
            if following <= limit or following >= candidate or chain <= 0:
                break
            candidate = following
        return (best, at - (found - 1)) if found else NONE

    def _predict_run(self, at: int) -> int:
        most, n = min(self.end - at, MAX_LENGTH), 0
        if self.q.strategy == RUNS and at > 0 and most >= MIN_LENGTH:
            n = common(self.x, at - 1, at, most)
        self.slide(at)
        self.here = (2 if n < MIN_LENGTH else n, 1)
        self.kind = NO_MATCH if n < MIN_LENGTH else MATCH
        return 1 if n < MIN_LENGTH else match_token(n, 1)

    def predict(self, at: int) -> int:
        """The producer's next token."""
        q = self.q
        self.later = (0, 0)
        if q.strategy in (HUFFMAN, RUNS):
            return self._predict_run(at)
        if self.pending:
            self.here = self.put_off
        else:
            self.here = self._search(at, 2)
            length, distance = self.here
            if (length == MIN_LENGTH and distance > q.too_far) or (q.strategy == FILTERED and length <= 5):
                self.here = (2, distance)
        self.kind = MATCH if self.here[0] >= MIN_LENGTH else NO_MATCH
        if self.kind == NO_MATCH:
            return 1
        if not q.fast and self.here[0] < q.lazy:
            self.later = self._search(at + 1, self.here[0])
            if q.strategy == FILTERED and self.later[0] <= 5:
                self.later = (2, self.later[1])
            if self.later[0] > self.here[0]:
                self.kind = PUT_OFF
        elif not q.fast:
            self.slide(at + 1)
            self.kind = LONG_MATCH
        return 1 if self.kind == PUT_OFF else match_token(*self.here)

    def follow(self, at: int, token: int, predicted: int) -> None:
        """Go on after the token that was really there."""
        length, is_match = length_of(token), distance_of(token) != 0
        after = at + length
        if self.q.strategy in (HUFFMAN, RUNS):
            return
        if self.q.fast:
            self._insert_to(at)
            if is_match and length <= self.q.lazy and self.end - after >= MIN_LENGTH:
                self._insert_to(after - 1)
            elif is_match and self.next < after:
                self.next = after - (self.q.fast == 2)
            return
        self.pending = not is_match and token == predicted and self.kind == PUT_OFF
        if self.pending:
            self.put_off = self.later
        elif not is_match:
            self.slide(after)
        self._insert_to(after - 1)

    def flush(self, at: int, end: int) -> None:
        """The producer flushed here."""
        self.pending, self.end = False, end
        if self.q.flush == SYNC:
            if self.q.fast and at >= 2 and self.next > at - 2:
                self.next = at - 2
            return
        self.head = [0] * len(self.head)
        self.steps += len(self.head) >> 4
        if self.q.flush == FULL_FLUSH:
            self.zero = self.next = self.base = at
            self._fill()
        else:
            self.steps += WINDOW
            self._insert_window(max(0, at - WINDOW), at, None)


class Tally:
    """The tokens of a block."""

    def __init__(self) -> None:
        self.literals, self.distances = [0] * LITERALS, [0] * DISTANCES
        self.n = self.n_matches = self.last = self.bytes = 0  # last: bytes of the last token

    def count(self, token: int, byte: int) -> None:
        distance = distance_of(token)
        self.n += 1
        self.last = length_of(token)
        self.bytes += self.last
        if not distance:
            self.literals[byte] += 1
            return
        self.literals[END_OF_BLOCK + 1 + length_code(token)] += 1
        self.distances[distance_code(distance)] += 1
        self.n_matches += 1

    def _is_cut(self, q: Parameters) -> bool:
        """gzip ends a block, too, that is worth little and might be followed by something else."""
        if q.rule != GZIP_CUTTING or self.n & 0xFFF:
            return False
        bits = 8 * self.n + sum(
            count * (5 + extra) for count, extra in zip(self.distances, DISTANCE_EXTRA, strict=True)
        )
        read = self.bytes - self.last + (not q.fast)
        return self.n_matches < self.n // 2 and bits >> 3 < read // 2

    def is_full(self, q: Parameters) -> bool:
        return self.n == q.limit or self._is_cut(q)
