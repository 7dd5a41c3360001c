/* What the producer of a stream would do next: zlib's and gzip's search for matches, their blocks and their window.
   deflate/parser.py is the twin. */
#ifndef LLMZIP_DEFLATE_PARSER_H
#define LLMZIP_DEFLATE_PARSER_H
#include "codes.h"

enum { LOOKAHEAD = MAX_LENGTH + MIN_LENGTH + 1, UNKNOWN = 1 << 30 }; /* UNKNOWN: more than any stream has */
enum { DEFAULT = 0, FILTERED = 1, HUFFMAN = 2, RUNS = 3, FIXED_CODES = 4 };
enum { SHIFTED = 0, OF_THREE = 1, OF_FOUR = 2, FOLDED = 3 }; /* hashes; FOLDED: miniz's of three bytes */
/* flushes; FRESH: begun anew, with the window as a dictionary */
enum { SYNC = 0, FULL_FLUSH = 1, FRESH = 2 };
enum { ZLIB = 0, GZIP = 1, GZIP_CUTTING = 2 }; /* rules of blocks */
/* what a prediction is; LONG_MATCH: so long that no better one was looked for */
enum { NO_MATCH = 0, PUT_OFF = 1, MATCH = 2, LONG_MATCH = 3 };

typedef struct {
    /* of zlib's table of levels; fast: 2: what is skipped is so but for its last byte */
    int32_t good, lazy, nice, chain, fast;
    int32_t too_far, max_distance, strategy, rule, limit; /* limit: tokens of a block */
    /* any: the first position may be a match, and the farthest one at any step */
    int32_t hash, hash_bits, any, window_bits, flush;
} Parameters;

typedef struct {
    int32_t length, distance;
} Match;

typedef struct {
    const uint8_t *x;
    /* what the producer has to look at, and what there is in all, as far as known */
    int32_t end, total;
    Parameters q;
    int32_t *head, *links, next, zero; /* positions + 1; next: to be inserted; zero: is no match for anything */
    int32_t base, filled, drained;     /* the window that the producer holds; drained: gzip has read nothing more */
    int32_t kind, pending;
    Match here, later, put_off; /* what the last prediction saw; put_off: found, and to be used if pending */
    int64_t steps;
} Parser;

static inline uint32_t word_at(const uint8_t *s, int n) {
    return s[0] | s[1] << 8 | (uint32_t)s[2] << 16 | (n == 4 ? (uint32_t)s[3] << 24 : 0);
}

static inline uint32_t hash_at(const Parser *p, int32_t at) {
    const uint8_t *s = p->x + at;
    if (p->q.hash == SHIFTED) {
        int shift = (p->q.hash_bits + 2) / 3;
        return ((uint32_t)s[0] << 2 * shift ^ (uint32_t)s[1] << shift ^ s[2]) & ((1u << p->q.hash_bits) - 1);
    }
    if (p->q.hash == FOLDED) return (word_at(s, 3) ^ word_at(s, 3) >> 17) & ((1u << p->q.hash_bits) - 1);
    return (p->q.hash == OF_THREE ? word_at(s, 3) * 0x9E3779B1u : word_at(s, 4) * 0x1E35A7BDu) >> (32 - p->q.hash_bits);
}

static inline int hashed(const Parser *p) { return p->q.hash == OF_FOUR ? 4 : 3; }

/* All positions up to `last` that have not been skipped. */
static inline void insert_to(Parser *p, int32_t last) {
    if (last > p->end - hashed(p)) last = p->end - hashed(p);
    for (; p->next <= last; p->next++) {
        if (p->next == p->zero && !p->q.any) continue;
        uint32_t h = hash_at(p, p->next);
        p->links[p->next & (WINDOW - 1)] = p->head[h];
        p->head[h] = p->next + 1;
    }
}

/* The newest position before this one with its hash, + 1, or 0. */
static inline int32_t newest(Parser *p, int32_t at) {
    if (at + hashed(p) > p->end) return 0;
    insert_to(p, at);
    return at == p->zero && !p->q.any ? 0 : p->links[at & (WINDOW - 1)];
}

static inline void fill(Parser *p) {
    int32_t most = p->base + (2 << p->q.window_bits);
    p->filled = most < p->total ? most : p->total;
}

/* The producer reads on, if it has to before it looks at this position. */
static void slide(Parser *p, int32_t at) {
    int32_t width = 1 << p->q.window_bits, low = p->q.strategy == HUFFMAN ? 1
                                                 : p->q.strategy == RUNS  ? MAX_LENGTH + 1
                                                                          : LOOKAHEAD;
    while (p->filled - at < low && !p->drained) {
        if (at - p->base >= 2 * width - LOOKAHEAD) p->base += width;
        if (p->q.rule != ZLIB && p->filled >= p->total) p->drained = 1; /* gzip: a read has returned nothing */
        fill(p);
        if (p->q.rule == ZLIB) return;
    }
}

static inline int32_t common(const uint8_t *a, const uint8_t *b, int32_t most) {
    int32_t n = 0;
    for (; n + 8 <= most; n += 8) {
        uint64_t x, y;
        memcpy(&x, a + n, 8);
        memcpy(&y, b + n, 8);
        if (x != y) break;
    }
    while (n < most && a[n] == b[n]) n++;
    return n;
}

/* The longest match that is longer than `before`, the nearest of them; length 2: none. */
static Match search(Parser *p, int32_t at, int32_t before) {
    const Parameters *q = &p->q;
    Match found = {2, 0};
    slide(p, at);
    if (at + MIN_LENGTH > p->end) return found;
    int32_t candidate = newest(p, at), left = p->end - at, most = left < MAX_LENGTH ? left : MAX_LENGTH;
    if (q->rule != ZLIB && at - p->base > (2 << q->window_bits) - LOOKAHEAD) return found;
    if (!candidate || at - (candidate - 1) > q->max_distance || before >= most) return found;
    int32_t nice = q->nice < most ? q->nice : most, chain = q->chain, best = before, from = 0;
    int32_t limit = at > q->max_distance ? at - q->max_distance + !q->any : 0;
    if (before >= q->good) chain = chain < 8 ? 1 : chain >> 2;
    const uint8_t *s = p->x + at;
    for (;;) {
        const uint8_t *c = p->x + candidate - 1;
        p->steps++;
        if (c[best] == s[best] && c[best - 1] == s[best - 1]) {
            int32_t n = common(c, s, most);
            p->steps += n >> 3;
            if (n > best) {
                best = n, from = candidate;
                if (n >= nice) break;
            }
        }
        int32_t next = p->links[(candidate - 1) & (WINDOW - 1)];
        if (next <= limit || next >= candidate || --chain <= 0) break;
        candidate = next;
    }
    if (from) found = (Match){best, at - (from - 1)};
    return found;
}

static Token predict_run(Parser *p, int32_t at) {
    int32_t left = p->end - at, most = left < MAX_LENGTH ? left : MAX_LENGTH, n = 0;
    if (p->q.strategy == RUNS && at > 0 && most >= MIN_LENGTH) n = common(p->x + at - 1, p->x + at, most);
    slide(p, at);
    p->here = (Match){n < MIN_LENGTH ? 2 : n, 1};
    p->kind = n < MIN_LENGTH ? NO_MATCH : MATCH;
    return n < MIN_LENGTH ? 1 : match_token(n, 1);
}

/* The producer's next token. */
static Token predict(Parser *p, int32_t at) {
    const Parameters *q = &p->q;
    p->later = (Match){0, 0};
    if (q->strategy == HUFFMAN || q->strategy == RUNS) return predict_run(p, at);
    if (p->pending) p->here = p->put_off;
    else {
        p->here = search(p, at, 2);
        if ((p->here.length == MIN_LENGTH && p->here.distance > q->too_far) ||
            (q->strategy == FILTERED && p->here.length <= 5))
            p->here.length = 2;
    }
    p->kind = p->here.length < MIN_LENGTH ? NO_MATCH : MATCH;
    if (p->kind == NO_MATCH) return 1;
    if (!q->fast && p->here.length < q->lazy) {
        p->later = search(p, at + 1, p->here.length);
        if (q->strategy == FILTERED && p->later.length <= 5) p->later.length = 2;
        if (p->later.length > p->here.length) p->kind = PUT_OFF;
    } else if (!q->fast) {
        slide(p, at + 1);
        p->kind = LONG_MATCH;
    }
    return p->kind == PUT_OFF ? 1 : match_token(p->here.length, p->here.distance);
}

/* Go on after the token that was really there. */
static void follow(Parser *p, int32_t at, Token token, Token predicted) {
    int32_t length = length_of(token), after = at + length;
    if (p->q.strategy == HUFFMAN || p->q.strategy == RUNS) return;
    if (p->q.fast) {
        insert_to(p, at);
        if (!distance_of(token)) return;
        if (length <= p->q.lazy && p->end - after >= MIN_LENGTH) insert_to(p, after - 1);
        else if (p->next < after) p->next = after - (p->q.fast == 2);
        return;
    }
    p->pending = !distance_of(token) && token == predicted && p->kind == PUT_OFF;
    if (p->pending) p->put_off = p->later;
    else if (!distance_of(token)) slide(p, after);
    insert_to(p, after - 1);
}

/* Insert what the window holds: all positions, or those that are marked. */
static void insert_window(Parser *p, int32_t from, int32_t to, const uint8_t *marks) {
    for (p->next = from; p->next < to;) {
        int32_t at = p->next;
        if (!marks || marks[at - from]) insert_to(p, at);
        else p->next++;
        if (p->next == at) return; /* so near the end that it waits */
    }
}

/* x: the window, then the plain text up to n, which is all there is of it, or not. base: where the producer's own
   window begins. */
static void start_parser(Parser *p, const Parameters *q, const uint8_t *x, int32_t window, int32_t n, int32_t base,
    int last, const uint8_t *marks, int32_t *head, int32_t *links) {
    memset(head, 0, sizeof *head << q->hash_bits);
    *p = (Parser){.x = x,
        .end = n,
        .total = last ? n : UNKNOWN,
        .q = *q,
        .head = head,
        .links = links,
        .zero = window ? -1 : 0,
        .base = base};
    fill(p);
    insert_window(p, 0, window, marks);
}

/* The producer flushed here. */
static void flush(Parser *p, int32_t at, int32_t end) {
    const Parameters *q = &p->q;
    p->pending = 0;
    p->end = end;
    if (q->flush == SYNC) {
        if (q->fast && at >= 2 && p->next > at - 2) p->next = at - 2;
        return;
    }
    memset(p->head, 0, sizeof *p->head << q->hash_bits);
    p->steps += 1 << q->hash_bits >> 4;
    if (q->flush == FULL_FLUSH) {
        p->zero = p->next = p->base = at;
        fill(p);
    } else {
        p->steps += WINDOW;
        insert_window(p, at > WINDOW ? at - WINDOW : 0, at, 0);
    }
}

/* Which of the last positions before n are in the chains, or wait for it. */
static void mark(const Parser *p, int32_t n, uint8_t *marks) {
    int32_t from = n > WINDOW ? n - WINDOW : 0;
    memset(marks, 0, WINDOW);
    for (int32_t h = 0; h < 1 << p->q.hash_bits; h++)
        for (int32_t at = p->head[h], next; at > from; at = next < at ? next : 0) {
            marks[at - 1 - from] = 1;
            next = p->links[(at - 1) & (WINDOW - 1)];
        }
    for (int32_t at = p->next > from ? p->next : from; at < n; at++) marks[at - from] = 1;
}

/* ---- blocks ------------------------------------------------------------------------------------------------------ */

/* last: bytes of the last token */
typedef struct {
    uint32_t literals[LITERALS], distances[DISTANCES];
    int32_t n, n_matches, last, bytes;
} Tally;

static inline void count_token(Tally *t, Token token, uint8_t byte) {
    int32_t distance = distance_of(token);
    t->n++;
    t->last = length_of(token);
    t->bytes += t->last;
    if (!distance) {
        t->literals[byte]++;
        return;
    }
    t->literals[257 + token_length_code(token)]++;
    t->distances[distance_code(distance)]++;
    t->n_matches++;
}

/* gzip ends a block, too, that is worth little and might be followed by something else. */
static int is_cut(const Parameters *q, const Tally *t) {
    if (q->rule != GZIP_CUTTING || t->n & 0xfff) return 0;
    int64_t bits = 8 * (int64_t)t->n;
    for (int i = 0; i < DISTANCES; i++) bits += (int64_t)t->distances[i] * (5 + DISTANCE_EXTRA[i]);
    int32_t read = t->bytes - t->last + !q->fast;
    return t->n_matches < t->n / 2 && bits >> 3 < read / 2;
}

static inline int is_full(const Parameters *q, const Tally *t) { return t->n == q->limit || is_cut(q, t); }

#endif
