"""What is known before a byte: a lane's state after each byte, and the contexts that it gives. Twin of c/contexts.h."""

from llmzip.predictor.learning import hash32
from llmzip.predictor.matching import DIGITS, Match, Memory
from llmzip.predictor.tables import MATCHES, STACK

LOWER, UPPER = frozenset(range(97, 123)), frozenset(range(65, 91))
LETTERS = LOWER | UPPER | frozenset(range(128, 256))
WORD = LETTERS | DIGITS
SEPARATORS = frozenset(b",\t;|\n")
_M32, _M64 = (1 << 32) - 1, (1 << 64) - 1


def class_of(c: int) -> int:
    if c in DIGITS or c in LETTERS:
        return 1 if c in DIGITS else 2 if c in LOWER else 3 if c in UPPER else 4
    return 5 if c == 32 else 6 if c in b"\n\r\t" else 7 if c in b",.;:" else 0


def kind_of(c: int) -> int:
    """What tables of histories are told apart by."""
    return 3 if c >= 128 else 2 if c in LETTERS else int(c in DIGITS)


def joined(*numbers: int) -> int:
    """The hash of the first with the second, of that with the third, and so on."""
    h = numbers[0]
    for x in numbers[1:]:
        h = hash32(h, x)
    return h


class Lane:
    """One lane: where it is, and what its bytes so far are like. Names as in c/predictor.h."""

    def __init__(self, start: int, end: int) -> None:
        self.start = self.at = self.line = self.line_before = self.line_second = self.aligned = start
        self.end = end
        self.matches = [Match() for _ in range(MATCHES)]
        self.mask = self.skeleton = self.marks = 0
        self.word = self.word1 = self.word2 = self.letters = self.first = self.word_length = 0
        self.masked = self.masked1 = self.number = self.compared = self.digits = 0
        self.field_text, self.field_classes, self.field_known, self.field, self.place = 0, 0, [0] * STACK, 0, 0
        self.punctuation = self.shape = self.head = self.head1 = self.parent = 0
        self.outline, self.indents, self.depth, self.indent, self.indenting = [0] * STACK, [0] * STACK, 0, 0, 0
        self.brackets, self.nesting, self.key, self.quoted, self.quoted1, self.quoting = [0] * STACK, 0, 0, 0, 0, 0
        self.tag, self.tags, self.tag_depth, self.in_tag, self.closing = 0, [0] * STACK, 0, 0, 0
        self.token = self.token1 = self.token2 = self.token3 = self.in_token = 0
        self.contexts: list[int] = []
        self.c1 = self.c2 = self.c3 = self.above = self.aligned_byte = self.column = 0
        self.characters = [0] * 5  # the last, as far as its bytes have come, and those before it

    def back(self, memory: Memory, i: int) -> int:
        return memory.data[self.at - i] if self.at - i >= self.start else 0


def follow_text(memory: Memory, lane: Lane, c: int, stride: int) -> None:
    """Byte c has come, and stands before `lane.at`."""
    before = lane.back(memory, 2)
    two = before | lane.back(memory, 3) << 8
    memory.followers[two] = (memory.followers.get(two, 0) << 8 | c) & _M32
    _follow_words(lane, c)
    _follow_numbers(lane, c, before)
    if stride:
        _follow_records(memory, lane, c, before)
        return
    _follow_comparison(lane, c)
    _follow_characters(lane, c)
    _follow_fields(lane, c, before)
    _follow_brackets(lane, c)
    _follow_tags(lane, c, before)
    _follow_lines(lane, c)
    _follow_aligned(memory, lane, c)


def _follow_records(memory: Memory, lane: Lane, c: int, before: int) -> None:
    three = _three_before(memory, lane, 2)
    memory.followers1[before] = (memory.followers1.get(before, 0) << 8 | c) & _M32
    memory.followers3[three] = (memory.followers3.get(three, 0) << 8 | c) & _M32


def _three_before(memory: Memory, lane: Lane, i: int) -> int:
    """A hash of 16 bits of the three bytes that end `i` bytes ago."""
    return hash32(lane.back(memory, i) | lane.back(memory, i + 1) << 8 | lane.back(memory, i + 2) << 16, 0) >> 16


def _follow_words(lane: Lane, c: int) -> None:
    kind = 97 if c in LETTERS else 48 if c in DIGITS else c
    if kind != lane.skeleton & 255 or kind not in b"a0 ":
        lane.skeleton = (lane.skeleton << 8 | kind) & _M64
    if c in WORD:
        if not lane.word:
            lane.first, lane.word_length = c, 0
        lane.word = hash32(lane.word, c | 32 if c in UPPER else c)
        lane.letters = hash32(lane.letters, c | 32 if c in LETTERS else 48)
        lane.word_length += 1
    else:
        if lane.word:
            lane.word2, lane.word1, lane.word = lane.word1, lane.word, 0
        lane.word_length = 0
        lane.letters = hash32(0, c)
        if c != 32:
            lane.punctuation = (lane.punctuation << 8 | c) & _M32
            lane.marks = (lane.marks << 8 | c) & _M64
    lane.shape = (lane.shape << 3 | class_of(c)) & 0x1FFFFF


def _follow_numbers(lane: Lane, c: int, before: int) -> None:
    lane.number = hash32(lane.number, c) if c in DIGITS else 0
    if c in DIGITS and before in DIGITS:
        return
    masked = 48 if c in DIGITS else c
    lane.mask = (lane.mask << 8 | masked) & _M64
    lane.masked = hash32(lane.masked, masked)


def _follow_comparison(lane: Lane, c: int) -> None:
    """How the number so far compares with the one at its place in the line before.

    0 the same; 1, 2 one more, one less where they part; 3, 4 more, less; 5 there is none.
    """
    if c not in DIGITS:
        lane.compared = lane.digits = 0
        return
    more, lane.digits = c - lane.aligned_byte, lane.digits + 1
    if lane.compared:
        return
    if lane.aligned_byte not in DIGITS:
        lane.compared = 5
    elif more:
        lane.compared = {1: 1, -1: 2}.get(more, 3 if more > 0 else 4)


def _follow_characters(lane: Lane, c: int) -> None:
    """In UTF-8 a byte of 128 to 191 goes on with a character."""
    if c & 0xC0 == 0x80:
        lane.characters[0] = (lane.characters[0] << 8 | c) & _M32
    else:
        lane.characters = [c, *lane.characters[:-1]]


def _follow_fields(lane: Lane, c: int, before: int) -> None:
    if c in SEPARATORS:
        lane.field_known[lane.field % STACK], lane.field_classes, lane.field_text = lane.field_classes, 0, 0
    else:
        lane.field_text = hash32(lane.field_text, c)
        lane.field_classes = hash32(lane.field_classes, class_of(c) or c)
    if c in SEPARATORS or (c == 32 and before == 32):
        lane.field, lane.place = lane.field + 1, 0
    else:
        lane.place += 1


def _follow_brackets(lane: Lane, c: int) -> None:
    if c in b"{[(":
        if lane.nesting < STACK - 1:
            lane.nesting += 1
            lane.brackets[lane.nesting] = hash32(lane.key, c)
    elif c in b"}])" and lane.nesting > 0:
        lane.nesting -= 1
    if c == 34:
        lane.quoting = 1 - lane.quoting
        if lane.quoting:
            lane.quoted = 0
        else:
            lane.quoted1 = lane.quoted
    elif lane.quoting:
        lane.quoted = hash32(lane.quoted, c)
    if c in b":=":
        lane.key = lane.quoted1 or lane.word1
    if c == 10:
        lane.quoting = 0


def _follow_tags(lane: Lane, c: int, before: int) -> None:
    """in_tag: 0 outside, 1 in the name, 2 after it, 3 in a tag that closes."""
    if c in b"<>":
        lane.closing = 0
    elif c == 47 and lane.tag == 1 and lane.in_tag == 1:
        lane.closing = lane.tags[lane.tag_depth]
    if c == 60:
        lane.in_tag = lane.tag = 1
    elif lane.in_tag == 1:
        if c == 47 and lane.tag == 1:
            lane.tag_depth, lane.in_tag = max(0, lane.tag_depth - 1), 3
        elif c in WORD:
            lane.tag = hash32(lane.tag, c)
        else:
            if lane.tag != 1 and lane.tag_depth < STACK - 1:
                lane.tag_depth += 1
                lane.tags[lane.tag_depth] = lane.tag
            lane.in_tag = 0 if c == 62 else 2
    elif lane.in_tag and c == 62:
        if before == 47:
            lane.tag_depth = max(0, lane.tag_depth - 1)
        lane.in_tag = lane.tag = 0


def _follow_lines(lane: Lane, c: int) -> None:
    """indenting: 1 in the spaces at the start of a line, 2 in its first word, 3 after that."""
    if c == 10:
        lane.line_second, lane.line_before, lane.line = lane.line_before, lane.line, lane.at
        lane.aligned = lane.line_before
        lane.field, lane.masked1, lane.masked, lane.indenting, lane.indent = 0, lane.masked, 0, 1, 0
        lane.head1, lane.head = lane.head, 0
    elif lane.indenting <= 1:
        if c in b" \t":
            lane.indent += 1
            return
        lane.indenting = 2
        while lane.depth > 0 and lane.indents[lane.depth] >= lane.indent:
            lane.depth -= 1
        lane.parent = lane.outline[lane.depth] if lane.depth > 0 else 0
        lane.head = hash32(0, c)
    elif lane.indenting == 2:
        if c in WORD or c in b'"_':
            lane.head = hash32(lane.head, c)
            return
        lane.indenting = 3
        if lane.depth < STACK - 1:
            lane.depth += 1
            lane.indents[lane.depth], lane.outline[lane.depth] = lane.indent, hash32(lane.head, lane.parent)


def _follow_aligned(memory: Memory, lane: Lane, c: int) -> None:
    """The place in the line before that this one has come to, field by field."""
    if c == 10 or lane.aligned >= lane.line:
        return
    d = memory.data[lane.aligned]
    if d == c or (c in WORD and d in WORD):
        lane.aligned += 1
    elif c not in WORD:
        i = lane.aligned
        while i < lane.line and memory.data[i] not in (c, 10):
            i += 1
        if i < lane.line and memory.data[i] == c:
            lane.aligned = i + 1


def find_contexts(memory: Memory, lane: Lane, stride: int) -> None:
    """The contexts of the byte at `lane.at`, before their numbers are hashed in.

    They are put into `lane.contexts`, those of tokens at the end.
    """
    c1, c2, c3, c4, c5, c6 = (lane.back(memory, i) for i in range(1, 7))
    lane.c1, lane.c2, lane.c3 = c1, c2, c3
    four = c1 | c2 << 8 | c3 << 16 | c4 << 24
    h = [0, c1, four & 0xFFFF, four & 0xFFFFFF, four, hash32(four, c5), joined(four, c5, c6)]
    if stride:
        lane.column = (lane.at - lane.start) % stride
        lane.above = lane.aligned_byte = lane.back(memory, stride)
        lane.contexts = h + _record_contexts(memory, lane, h, stride)
        return
    lane.column = lane.at - lane.line
    above = lane.line_before + lane.column
    lane.above = memory.data[above] if above < lane.line else 0
    lane.aligned_byte = memory.data[lane.aligned] if lane.aligned < lane.line else 0
    token1 = hash32(lane.token, lane.token1)
    tokens = [token1, hash32(token1, lane.token2), joined(token1, lane.token2, lane.token3)]
    lane.contexts = h + _text_contexts(memory, lane) + tokens
    if c1 >= 128:
        _find_script_contexts(lane)


def _text_contexts(memory: Memory, lane: Lane) -> list[int]:
    c1, word, two = lane.c1, hash32(lane.word, lane.c1), lane.c1 | lane.c2 << 8
    low, high = lane.skeleton & _M32, lane.skeleton >> 32
    e0, e1, e2, e3 = (match.expected + 1 for match in lane.matches)
    aligned2 = memory.data[lane.aligned + 1] if lane.aligned + 1 < lane.line else 0
    above2 = lane.line_second + lane.column
    last = memory.data[above2] if above2 < lane.line_before else 0
    numbered = hash32(lane.masked, lane.number)
    return [
        word,
        hash32(word, lane.word1),
        hash32(lane.word, lane.word2),
        lane.above | min(lane.column, 255) << 8,
        hash32(c1 | lane.aligned_byte << 8 | aligned2 << 16, lane.word),
        hash32(lane.field_text, lane.field),
        hash32(lane.mask & _M32, lane.mask >> 32 & 0xFFFF),
        numbered,
        hash32(lane.masked1, numbered),
        hash32(two, memory.followers.get(two, 0) & 0xFFFF),
        hash32(hash32(lane.parent, lane.head), word),
        hash32(hash32(lane.brackets[lane.nesting], lane.key), word),
        hash32(hash32(lane.tag, lane.tags[lane.tag_depth]), word),
        hash32(e0 | e1 << 9, min(lane.matches[0].length, 15)),
        hash32(e2, word),
        hash32(lane.punctuation, lane.word),
        joined(lane.letters, lane.first, c1),
        hash32(lane.indent * 32 + (lane.indenting < 2), hash32(lane.above, c1)),
        hash32(lane.shape, c1),
        hash32(hash32(lane.head1, lane.head), word),
        hash32(low, high & 0xFFFF),
        hash32(hash32(lane.closing, lane.tag), hash32(lane.in_tag, lane.word)),
        joined(lane.marks & _M32, lane.marks >> 32, c1),
        hash32(hash32(low, high), hash32(lane.marks & 0xFFFF, lane.word_length)),
        hash32(lane.field_classes, lane.field),
        joined(lane.word, lane.word1, lane.word2),
        hash32(hash32(lane.field_classes, lane.field_known[lane.field % STACK]), hash32(lane.field, c1)),
        hash32(lane.above | last << 8 | c1 << 16, 0),
        hash32(lane.compared | lane.aligned_byte << 8 | aligned2 << 16, hash32(low, lane.digits)),
        hash32(e3, low),
        hash32(e3, lane.masked),
    ]


def _find_script_contexts(lane: Lane) -> None:
    """After a byte of a character of several: fields, columns and first words say little there, characters more."""
    h, c = lane.contexts, lane.characters
    four = joined(c[0], c[1], c[2], c[3])
    h[12] = four
    h[17] = hash32(c[0], lane.word1)
    h[24] = hash32(c[0], c[2])
    h[25] = hash32(c[0], c[1] >> 6)
    h[31] = c[0]
    h[33] = joined(c[0], c[2], c[3])
    h[34] = hash32(four, c[4])


def _record_contexts(memory: Memory, lane: Lane, h: list[int], s: int) -> list[int]:
    c1, c2, c3, c4, c5, c8, c12 = lane.c1, lane.c2, lane.c3, *(lane.back(memory, i) for i in (4, 5, 8, 12))
    up, column, up2, left, left2 = lane.above, lane.column, *(lane.back(memory, i) for i in (2 * s, s + 1, s + 2))
    right, two, three = lane.back(memory, s - 1) if s > 1 else 0, c1 | c2 << 8, _three_before(memory, lane, 1)
    e0, e3 = lane.matches[0].expected + 1, lane.matches[3].expected + 1
    across, down = (c1 + up - left) & _M32, (up * 2 - up2) & _M32
    return [
        c2 | c3 << 8,
        hash32(two, c5 | lane.back(memory, 6) << 8),
        hash32(h[5], up),
        c1 | up << 8 | left << 16,
        hash32(column, up | up2 << 8),
        hash32(h[6], up | up2 << 8),
        c3 | c4 << 8,
        column,
        up | up2 << 8 | c1 << 16,
        hash32(up | right << 8, c2),
        joined(across, up - up2 & _M32, column),
        hash32(two, memory.followers.get(two, 0) & 0xFFFF),
        hash32(e0 | e3 << 9, min(lane.matches[0].length, 15)),
        hash32(column, two),
        hash32(up, right | left2 << 8 | left << 16),
        hash32(column, c1),
        hash32(column, down & 255),
        hash32(across & 255, down & 255),
        hash32(column, hash32(two, c3)),
        hash32(c1 & 0xF0 | (c2 & 0xF0) << 8 | (c3 & 0xF0) << 16 | c4 << 24, up >> 4),
        hash32(lane.word, c1),
        hash32(c1, memory.followers1.get(c1, 0) & 0xFFFFFF),
        hash32(three, memory.followers3.get(three, 0) & 0xFFFFFF),
        c1 | c4 << 8 | c5 << 16 | c8 << 24,
        c4 | c8 << 8 | c12 << 16,
    ]
