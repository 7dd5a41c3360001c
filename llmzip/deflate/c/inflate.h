/* A deflate stream as tokens and blocks. deflate/inflate.py is the twin. */
#ifndef LLMZIP_DEFLATE_INFLATE_H
#define LLMZIP_DEFLATE_INFLATE_H
#include "codes.h"

enum { INVALID = -3, GROW = -4 };
/* of work: for each byte, for any stream, and what a block is */
enum { STEPS_EACH = 256, STEPS_ALWAYS = 1 << 20, STEPS_OF_BLOCK = 1024 };

/* header: the bit after its type */
typedef struct {
    int64_t header;
    int32_t type, padding, n_tokens, first, length, final;
} Block;

typedef struct {
    const uint8_t *data;
    int64_t size, at;       /* bytes; the bit where it starts, and where it ends */
    uint8_t *x;             /* the window, then room for the plain text */
    int32_t start, n, room; /* the plain text: from, to, at most to */
    Token *tokens;
    int32_t n_tokens, token_room;
    Block *blocks;
    /* most: plain text to the end of the last block at most; padding after the final one */
    int32_t n_blocks, block_room, most, padding;
} Inflation;

enum { FAST_BITS = 9 };
/* fast: symbol << 4 | length */
typedef struct {
    uint16_t count[16], symbols[288], fast[1 << FAST_BITS];
} Code;

/* How many codes are free of those of 15 bits; negative: too many symbols. */
static int make_code(Code *c, const uint8_t *lengths, int n) {
    uint16_t offsets[16], codes[288];
    int left = 1;
    memset(c->count, 0, sizeof c->count);
    memset(c->fast, 0, sizeof c->fast);
    for (int i = 0; i < n; i++) c->count[lengths[i]]++;
    for (int k = 1; k < 16; k++)
        if ((left = 2 * left - c->count[k]) < 0) return left;
    offsets[1] = 0;
    for (int k = 1; k < 15; k++) offsets[k + 1] = offsets[k] + c->count[k];
    codes_of(lengths, n, codes);
    for (int i = 0; i < n; i++) {
        if (!lengths[i]) continue;
        c->symbols[offsets[lengths[i]]++] = (uint16_t)i;
        for (int code = codes[i]; lengths[i] <= FAST_BITS && code < 1 << FAST_BITS; code += 1 << lengths[i])
            c->fast[code] = (uint16_t)(i << 4 | lengths[i]);
    }
    return left;
}

static inline int get_symbol(BitReader *r, const Code *c) {
    uint64_t bits = peek(r);
    int entry = c->fast[bits & ((1 << FAST_BITS) - 1)], code = 0, first = 0, at = 0;
    if (entry) {
        r->at += entry & 15;
        return entry >> 4;
    }
    for (int k = 1; k < 16; k++, bits >>= 1) {
        code = code << 1 | (int)(bits & 1);
        first <<= 1;
        if (code - first < c->count[k]) {
            r->at += k;
            return c->symbols[at + code - first];
        }
        at += c->count[k];
        first += c->count[k];
    }
    return -1;
}

/* 0, or INVALID. */
static int get_header(BitReader *r, Header *h) {
    Code code;
    memset(h, 0, sizeof *h);
    h->literals = (int)get(r, 5) + 257;
    h->distances = (int)get(r, 5) + 1;
    h->orders = (int)get(r, 4) + 4;
    if (h->literals > LITERALS || h->distances > DISTANCES) return INVALID;
    for (int i = 0; i < h->orders; i++) h->of_runs[ORDER[i]] = (uint8_t)get(r, 3);
    if (make_code(&code, h->of_runs, LENGTHS) != 0) return INVALID;
    for (int i = 0; i < h->literals + h->distances;) {
        int symbol = get_symbol(r, &code), value = symbol < 16 ? symbol : 0;
        if (symbol < 0 || r->at > r->size || (symbol == 16 && !i)) return INVALID;
        if (symbol == 16) value = h->lengths[i - 1];
        int extra = (int)get(r, run_extra(symbol)), run = run_base(symbol) + extra;
        if (i + run > h->literals + h->distances) return INVALID;
        h->runs[h->n_runs] = (uint8_t)symbol;
        h->extras[h->n_runs++] = (uint8_t)extra;
        while (run--) h->lengths[i++] = (uint8_t)value;
    }
    return h->lengths[END_OF_BLOCK] ? 0 : INVALID;
}

/* A code with one symbol may have one of its two codes only, as inflate() of zlib takes it. */
static int whole(int left, const Code *c, int n) { return left == 0 || (left > 0 && n - c->count[0] <= 1); }

static int inflate_tokens(Inflation *s, BitReader *r, const Code *literals, const Code *distances) {
    for (;;) {
        int symbol = get_symbol(r, literals);
        if (symbol < 0 || r->at > r->size) return INVALID;
        if (symbol == END_OF_BLOCK) return 0;
        if (s->n - s->start > s->most || s->n_tokens == s->token_room || s->n + MAX_LENGTH > s->room) return GROW;
        if (symbol < 256) {
            s->x[s->n++] = (uint8_t)symbol;
            s->tokens[s->n_tokens++] = 1;
            continue;
        }
        if ((symbol -= 257) > 28) return INVALID;
        int32_t length = LENGTH_BASE[symbol] + (int32_t)get(r, LENGTH_EXTRA[symbol]);
        int d = get_symbol(r, distances);
        if (d < 0 || d >= DISTANCES) return INVALID;
        int32_t distance = DISTANCE_BASE[d] + (int32_t)get(r, DISTANCE_EXTRA[d]);
        if (r->at > r->size || distance > s->n) return INVALID;
        s->tokens[s->n_tokens++] = match_token(length, distance) | (symbol == 27 && length == MAX_LENGTH ? LONG : 0);
        uint8_t *to = s->x + s->n;
        for (int32_t i = 0; i < length; i++) to[i] = to[i - distance];
        s->n += length;
    }
}

static int inflate_stored(Inflation *s, BitReader *r, Block *b) {
    b->padding = (int32_t)get(r, (int)(-r->at & 7));
    b->length = (int32_t)get(r, 16);
    if (b->length != (int32_t)(get(r, 16) ^ 0xffff) || r->at + 8 * (int64_t)b->length > r->size) return INVALID;
    s->n += b->length;
    if (s->n + MAX_LENGTH > s->room) return GROW;
    memcpy(s->x + s->n - b->length, r->bytes + (r->at >> 3), (size_t)b->length);
    r->at += 8 * (int64_t)b->length;
    return 0;
}

static int inflate_block(Inflation *s, BitReader *r, Block *b) {
    Code literals, distances;
    Header h;
    b->final = (int32_t)get(r, 1);
    b->type = (int32_t)get(r, 2);
    b->header = r->at;
    b->first = s->n_tokens;
    if (r->at > r->size || b->type > DYNAMIC) return INVALID;
    if (b->type == STORED) return inflate_stored(s, r, b);
    if (b->type == FIXED) {
        uint8_t lengths[318];
        fixed_lengths(lengths);
        make_code(&literals, lengths, 288);
        make_code(&distances, lengths + 288, DISTANCES);
    } else {
        if (get_header(r, &h)) return INVALID;
        if (!whole(make_code(&literals, h.lengths, h.literals), &literals, h.literals)) return INVALID;
        if (!whole(make_code(&distances, h.lengths + h.literals, h.distances), &distances, h.distances)) return INVALID;
    }
    int32_t start = s->n;
    int failed = inflate_tokens(s, r, &literals, &distances);
    b->n_tokens = s->n_tokens - b->first;
    b->length = s->n - start;
    return failed;
}

/* To the end of the stream or of the last block that `most` leaves room for: 1 or 0; INVALID; GROW: all rooms must
   be larger. */
static int inflate(Inflation *s) {
    BitReader r = {s->data, 8 * s->size, s->at};
    for (;;) {
        if (s->n_blocks == s->block_room) return GROW;
        Block *b = s->blocks + s->n_blocks;
        int32_t n = s->n, n_tokens = s->n_tokens;
        memset(b, 0, sizeof *b);
        int failed = inflate_block(s, &r, b);
        int beyond = s->n - s->start > s->most; /* so is what does not fit: the room is that, or grows */
        if (failed && !(failed == GROW && beyond)) return failed;
        if (beyond) {
            s->n = n, s->n_tokens = n_tokens;
            return s->n_blocks ? 0 : INVALID;
        }
        s->n_blocks++;
        s->at = r.at;
        if (STEPS_OF_BLOCK * (int64_t)s->n_blocks > STEPS_EACH * (int64_t)(s->n - s->start) + STEPS_ALWAYS)
            return INVALID;
        if (b->final) {
            s->padding = (int32_t)get(&r, (int)(-r.at & 7));
            s->at = r.at;
            return 1;
        }
    }
}

#endif
