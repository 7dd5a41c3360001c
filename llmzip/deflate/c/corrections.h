/* What a stream is beside what was predicted of it: one routine that writes the corrections, reads them, or does
   without: *silent*, where everything is as predicted. deflate/corrections.py is the twin. */
#ifndef LLMZIP_DEFLATE_CORRECTIONS_H
#define LLMZIP_DEFLATE_CORRECTIONS_H
#include "../../predictor/c/coder.h"
#include "inflate.h"
#include "parser.h"
#include "trees.h"

enum { DIFFERS = -5, TOO_MUCH = -6 }; /* beside those of the coder */
enum { MOST_LOOKS = 4096, MOST_RANKS = 2048 };
enum { ALL_BITS = 15, CELL_LIMIT = 255, NUMBER = 128, HALF = 1 << 23 };

enum {                /* places of the cells */
    AS_PREDICTED = 0, /* (kinds, last four, length, far) */
    SAME_AS_BEFORE = AS_PREDICTED + 4 * 16 * 16 * 2,
    LENGTH_AFTER = SAME_AS_BEFORE + 1,
    LENGTH_OF_MATCH = LENGTH_AFTER + NUMBER,
    IS_LITERAL = LENGTH_OF_MATCH + NUMBER, /* (long, length) */
    SAME_LENGTH = IS_LITERAL + 2 * 16,
    LONGER = SAME_LENGTH + 2, /* (length) */
    LONGER_BY = LONGER + 16,
    SHORTER_BY = LONGER_BY + 16 * NUMBER,
    NO_RANK = SHORTER_BY + 16 * NUMBER,
    RANK = NO_RANK + 1,
    DISTANCE = RANK + 16 * NUMBER,
    IS_LONG = DISTANCE + NUMBER,
    IS_STORED = IS_LONG + 1, /* (at a flush, after a stored one) */
    STORED_BY_RULE = IS_STORED + 4,
    STORED_LENGTH = STORED_BY_RULE + 2,
    NO_PADDING = STORED_LENGTH + NUMBER,
    PADDING = NO_PADDING + 2,
    BY_RULE = PADDING + NUMBER,
    COUNT = BY_RULE + 1,
    TYPE = COUNT + NUMBER,
    END = TYPE + 3, /* (at the end, a flush to come) */
    FLUSHES = END + 4,
    SAME_GAP = FLUSHES + 2,
    GAP = SAME_GAP + 1,
    SAME_TREES = GAP + NUMBER,
    SAME_CODE = SAME_TREES + 1, /* (list, predicted to be none, the one before) */
    CODE_LONGER = SAME_CODE + 12,
    CODE_BY = CODE_LONGER + 2,
    SAME_COUNT = CODE_BY + NUMBER,
    COUNT_OF = SAME_COUNT + 3,
    RUNS_APART = COUNT_OF + NUMBER,
    RUNS_JOINED = RUNS_APART + 1,
    SAME_RUN = RUNS_JOINED + 1,
    RUN_SYMBOL = SAME_RUN + 2,
    RUN_EXTRA = RUN_SYMBOL + 32,
    SAME_OF_RUNS = RUN_EXTRA + NUMBER,
    SAME_OF_RUN = SAME_OF_RUNS + 1,
    OF_RUN = SAME_OF_RUN + 2,
    CELLS = OF_RUN + 8
};

typedef struct { /* deflate/fused.py fills it */
    Parameters parameters;
    /* x: `window` bytes that are known, then the plain text up to n; last: the stream ends here */
    int32_t window, n, base, last;
    /* tail: it ends with a flush; lead: the bits before the first block, below a one */
    int32_t silent, tail, lead, padding;
    const uint8_t *x, *marks; /* marks: (window) of the positions that are in the chains; NULL: all */
    int32_t *head, *links, *all_head, *all_links;
    const uint8_t *data; /* the stream, known to a writer */
    int64_t size;
    const Block *blocks;
    Token *tokens; /* (n - window) at most; a reader holds those of a block at a time */
    int64_t n_blocks;
    uint8_t *code, *out, *marks_after; /* out: a reader's stream */
    int64_t code_size, out_size, steps;
    int32_t base_after, lead_after;
} Job;

typedef struct {
    Job *job;
    Parser parser;
    Coder coder;
    BitWriter out;
    int32_t at, index, reads, failed, was_stored, flush_at, flushed, gap, history, all_next;
    uint32_t cells[CELLS];
} Walk;

static void fail(Walk *w, int why) {
    if (!w->failed) w->failed = why;
}

/* Whether this many bytes have taken more work than is allowed: so neither a writer nor a reader is ever slow. */
static inline int is_slow(const Parser *p, int32_t n) { return p->steps > STEPS_EACH * (int64_t)n + STEPS_ALWAYS; }

static inline void check_pace(Walk *w, int32_t at) {
    if (is_slow(&w->parser, at - w->job->window)) fail(w, TOO_MUCH);
}

/* ---- decisions --------------------------------------------------------------------------------------------------- */

/* A cell: probability of a one, 22 bits << 10 | how often it has learnt. */
static void start_cells(uint32_t *cells) {
    for (int i = 0; i < CELLS; i++) cells[i] = i < SAME_AS_BEFORE ? ((1u << 22) - (1u << 17)) << 10 | 8 : 1u << 31;
}

static int decide_with(Walk *w, uint32_t p, int bit) {
    int got = w->failed ? 0 : coder_bit(&w->coder, p, bit);
    if (got >= 0) return got;
    fail(w, got);
    return 0;
}

/* Code a decision: returns it. */
static int decide(Walk *w, int cell, int bit) {
    uint32_t n = w->cells[cell] & 1023, p = w->cells[cell] >> 10, coded = p << 2;
    bit = decide_with(w, coded < 16 ? 16 : (coded > (1 << 24) - 16) ? (1 << 24) - 16 : coded, bit);
    int64_t difference = (int64_t)(bit ? (1 << 22) - 1 : 0) - p;
    /* |difference| < 2^22, the other <= 43690 */
    p = (uint32_t)((int64_t)p + (difference * ((1 << 17) / (2 * (int32_t)n + 3)) >> 16));
    w->cells[cell] = p << 10 | (n + (n < CELL_LIMIT));
    return bit;
}

/* Whether it is as predicted; silently, it is. */
static int agree(Walk *w, int cell, int is) {
    if (!w->job->silent) return decide(w, cell, is);
    if (!w->reads && !is) fail(w, DIFFERS);
    return 1;
}

/* 0 <= value < 2^28 by its bits: how many, the first two, the others. */
static int32_t number(Walk *w, int cells, int32_t value) {
    if (w->failed) return 0;
    uint32_t v = (uint32_t)value + 1, got = 1;
    int known = w->reads ? 0 : log2_of(v), n = 0;
    while (n < 28 && decide(w, cells + n, n < known)) n++;
    for (int i = n - 1; i >= 0; i--) {
        int bit = v >> i & 1, place = 32 + 3 * n + (i == n - 1 ? 0 : 1 + (int)(got & 1));
        got = got << 1 | (uint32_t)(i >= n - 2 ? decide(w, cells + place, bit) : decide_with(w, HALF, bit));
    }
    return (int32_t)(got - 1);
}

/* Bits from the first on, each knowing those before it. */
static int symbol(Walk *w, int cells, int bits, int value) {
    int got = 1;
    for (int i = bits - 1; i >= 0; i--) got = got << 1 | decide(w, cells + got, value >> i & 1);
    return got - (1 << bits);
}

/* ---- tokens ------------------------------------------------------------------------------------------------------ */

static inline uint32_t hash_of_all(const uint8_t *s) { return word_at(s, 3) * 0x9E3779B1u >> (32 - ALL_BITS); }

/* Among all positions whose match is so long, the nearest first: the rank of the one at this distance, or the
   distance of that rank; or -1. */
static int32_t look(Walk *w, int32_t at, int32_t length, int32_t distance, int32_t rank) {
    const uint8_t *x = w->job->x;
    int32_t *head = w->job->all_head, *links = w->job->all_links;
    if (w->all_next < at - WINDOW) w->all_next = at - WINDOW;
    for (; w->all_next < at; w->all_next++) {
        uint32_t h = hash_of_all(x + w->all_next);
        links[w->all_next & (WINDOW - 1)] = head[h];
        head[h] = w->all_next + 1;
    }
    int32_t candidate = head[hash_of_all(x + at)], found = 0;
    for (int i = 0; i < MOST_LOOKS && candidate && at - (candidate - 1) <= WINDOW; i++) {
        int32_t n = common(x + candidate - 1, x + at, length);
        w->parser.steps += 1 + (n >> 3);
        if (at - (candidate - 1) == distance) return found;
        if (n == length) {
            if (found == rank) return at - (candidate - 1);
            if (++found == MOST_RANKS) return -1;
        }
        int32_t next = links[(candidate - 1) & (WINDOW - 1)];
        candidate = next < candidate ? next : 0;
    }
    return -1;
}

static int bucket(int32_t length) {
    static const uint16_t ENDS[] = {3, 4, 5, 6, 8, 12, 16, 24, 32, 64, 128, 257, 258};
    int k = 0;
    while (length > ENDS[k]) k++;
    return k + 1;
}

static int32_t code_distance(Walk *w, int32_t length, int32_t distance) {
    int32_t rank = w->reads ? 0 : look(w, w->at, length, distance, -1);
    if (decide(w, NO_RANK, rank < 0)) return number(w, DISTANCE, distance - 1) + 1;
    rank = number(w, RANK + NUMBER * bucket(length), rank);
    return w->reads && !w->failed ? look(w, w->at, length, -1, rank) : distance;
}

/* The token that is there instead of the predicted one, without LONG. */
static Token code_other(Walk *w, Token predicted, Token known) {
    const Parser *p = &w->parser;
    int32_t length = distance_of(known) ? length_of(known) : 0, expected = length_of(predicted);
    if (!distance_of(predicted)) {
        if (p->kind != PUT_OFF) length = MIN_LENGTH + number(w, LENGTH_OF_MATCH, length - MIN_LENGTH);
        else if (decide(w, SAME_AS_BEFORE, length == p->here.length)) length = p->here.length;
        else length = MIN_LENGTH + number(w, LENGTH_AFTER, length - MIN_LENGTH);
    } else {
        int place = bucket(expected);
        if (decide(w, IS_LITERAL + 16 * (p->kind == LONG_MATCH) + place, !length)) return 1;
        if (decide(w, SAME_LENGTH + (w->history >> 1 & 1), length == expected)) length = expected;
        else if (expected < MAX_LENGTH && (expected == MIN_LENGTH || decide(w, LONGER + place, length > expected)))
            length = expected + 1 + number(w, LONGER_BY + NUMBER * place, length - expected - 1);
        else length = expected - 1 - number(w, SHORTER_BY + NUMBER * place, expected - 1 - length);
    }
    if (length < MIN_LENGTH || length > MAX_LENGTH || length > p->end - w->at) {
        fail(w, DAMAGED);
        return 1;
    }
    int32_t distance = code_distance(w, length, distance_of(known));
    if (distance < 1 || distance > WINDOW || distance > w->at) fail(w, DAMAGED);
    return w->failed ? 1 : match_token(length, distance);
}

static Token code_token(Walk *w, Token predicted, Token known) {
    const Parser *p = &w->parser;
    int match = distance_of(predicted) != 0, place = 0, far = 0;
    if (match) place = bucket(length_of(predicted)), far = distance_of(predicted) >= 4096;
    else if (p->kind == PUT_OFF) place = bucket(p->later.length), far = p->later.length - p->here.length > 1;
    int is =
        agree(w, AS_PREDICTED + ((p->kind * 16 + w->history) * 16 + place) * 2 + far, (known & ~LONG) == predicted);
    w->history = (w->history << 1 | !is) & 15;
    Token token = is ? predicted : code_other(w, predicted, known);
    if (distance_of(token) && length_of(token) == MAX_LENGTH && !agree(w, IS_LONG, !(known & LONG))) token |= LONG;
    return token;
}

/* Whether the producer's rule ends a block with just these tokens. */
static int ends_by_rule(const Walk *w, const Block *b) {
    Tally t = {.n = 0};
    int32_t at = w->at;
    for (int32_t i = 0; i < b->n_tokens; i++) {
        if (at >= w->parser.end) return 0;
        Token token = w->job->tokens[b->first + i];
        count_token(&t, token, w->job->x[at]);
        at += length_of(token);
        if (is_full(&w->parser.q, &t)) return i + 1 == b->n_tokens;
    }
    return at >= w->parser.end;
}

/* The tokens of a block; `blind`: of one that is stored, so that only what is predicted is known. */
static void code_tokens(Walk *w, Block *b, Tally *t, int blind) {
    Parser *p = &w->parser;
    int by_rule = w->job->silent || decide(w, BY_RULE, !w->reads && ends_by_rule(w, b));
    int32_t count = by_rule ? 0 : number(w, COUNT, b->n_tokens);
    while (!w->failed && (by_rule ? w->at < p->end && !(t->n && is_full(&p->q, t)) : t->n < count)) {
        if (w->at >= p->end) fail(w, DAMAGED);
        if (!w->reads && !blind && t->n == b->n_tokens) fail(w, DIFFERS);
        check_pace(w, w->at);
        if (w->failed) return;
        Token predicted = predict(p, w->at);
        Token token = code_token(w, predicted, blind ? predicted : w->reads ? 0 : w->job->tokens[b->first + t->n]);
        if (w->reads) w->job->tokens[t->n] = token;
        count_token(t, token, w->job->x[w->at]);
        follow(p, w->at, token, predicted);
        w->at += length_of(token);
    }
    if (!w->reads && !blind && t->n != b->n_tokens) fail(w, DIFFERS);
    b->n_tokens = t->n;
}

/* ---- heads of blocks --------------------------------------------------------------------------------------------- */

static void code_lengths(Walk *w, const uint8_t *predicted, uint8_t *lengths, int n, int list) {
    int before = 0;
    for (int i = 0; i < n; i++) {
        int place = SAME_CODE + (2 * list + !predicted[i]) * 3 + before, expected = predicted[i];
        before = 0;
        if (decide(w, place, lengths[i] == expected)) {
            lengths[i] = (uint8_t)expected;
            continue;
        }
        int longer = !expected || decide(w, CODE_LONGER + list, lengths[i] > expected);
        int32_t by = number(w, CODE_BY, longer ? lengths[i] - expected - 1 : expected - lengths[i] - 1) + 1;
        if (by > (longer ? 15 - expected : expected)) {
            fail(w, DAMAGED);
            return;
        }
        lengths[i] = (uint8_t)(longer ? expected + by : expected - by);
        before = longer ? 1 : 2;
    }
}

/* A count of the header: predicted, or from least to most. */
static int code_count(Walk *w, int which, int predicted, int known, int least, int most) {
    if (agree(w, SAME_COUNT + which, known == predicted)) return predicted;
    int32_t got = least + number(w, COUNT_OF, known - least);
    if (got > most || got < least) fail(w, DAMAGED);
    return w->failed ? predicted : got;
}

static void code_run_by_run(Walk *w, Header *h) {
    int n = h->literals + h->distances, before = -1, k = 0;
    for (int i = 0; i < n && !w->failed; k++) {
        uint8_t run, extra;
        int takes = next_run(h->lengths, n, i, before, &run, &extra);
        if (!decide(w, SAME_RUN + (i >= h->literals), h->runs[k] == run && h->extras[k] == extra)) {
            run = (uint8_t)symbol(w, RUN_SYMBOL, 5, h->runs[k]);
            int32_t more = run < 16 ? 0 : number(w, RUN_EXTRA, h->extras[k]);
            if (run > 18 || more >= 1 << run_extra(run) || i + run_base(run) + more > n) fail(w, DAMAGED);
            if (w->failed) break;
            extra = (uint8_t)more;
            takes = run_base(run) + more;
        }
        h->runs[k] = run;
        h->extras[k] = extra;
        i += takes;
        before = h->lengths[i - 1];
    }
    h->n_runs = k;
}

static int same_runs(const Header *a, const Header *b) {
    size_t n = (size_t)a->n_runs;
    return a->n_runs == b->n_runs && !memcmp(a->runs, b->runs, n) && !memcmp(a->extras, b->extras, n);
}

static void code_runs(Walk *w, Header *h) {
    Header other = *h;
    for (int joined = 0; joined < 2; joined++) {
        make_runs(&other, joined);
        if (agree(w, joined ? RUNS_JOINED : RUNS_APART, same_runs(&other, h))) {
            *h = other;
            return;
        }
    }
    code_run_by_run(w, h);
}

static void code_header(Walk *w, const Header *predicted, Header *h) {
    uint8_t expected[ALL_LENGTHS] = {0}, lengths[ALL_LENGTHS] = {0};
    memcpy(expected, predicted->lengths, (size_t)predicted->literals);
    memcpy(expected + LITERALS, predicted->lengths + predicted->literals, (size_t)predicted->distances);
    memcpy(lengths, h->lengths, (size_t)h->literals);
    memcpy(lengths + LITERALS, h->lengths + h->literals, (size_t)h->distances);
    if (agree(w, SAME_TREES, !memcmp(lengths, expected, ALL_LENGTHS))) memcpy(lengths, expected, ALL_LENGTHS);
    else {
        code_lengths(w, expected, lengths, LITERALS, 0);
        code_lengths(w, expected + LITERALS, lengths + LITERALS, DISTANCES, 1);
    }
    int literals = LITERALS, distances = DISTANCES;
    while (literals > 257 && !lengths[literals - 1]) literals--;
    while (distances > 1 && !lengths[LITERALS + distances - 1]) distances--;
    h->literals = code_count(w, 0, literals, h->literals, 257, LITERALS);
    h->distances = code_count(w, 1, distances, h->distances, 1, DISTANCES);
    memcpy(h->lengths, lengths, (size_t)h->literals);
    memcpy(h->lengths + h->literals, lengths + LITERALS, (size_t)h->distances);
    code_runs(w, h);
    uint8_t of_runs[LENGTHS];
    make_code_of_runs(h, of_runs);
    if (agree(w, SAME_OF_RUNS, !memcmp(of_runs, h->of_runs, LENGTHS))) memcpy(h->of_runs, of_runs, LENGTHS);
    else
        for (int i = 0; i < LENGTHS; i++) {
            int same = decide(w, SAME_OF_RUN + !of_runs[i], of_runs[i] == h->of_runs[i]);
            h->of_runs[i] = same ? of_runs[i] : (uint8_t)symbol(w, OF_RUN, 3, h->of_runs[i]);
        }
    h->orders = code_count(w, 2, last_order(h->of_runs), h->orders, 4, LENGTHS);
}

/* ---- blocks ------------------------------------------------------------------------------------------------------ */

static int32_t code_padding(Walk *w, int which, int32_t known) {
    return agree(w, NO_PADDING + which, !known) ? 0 : number(w, PADDING, known - 1) + 1;
}

/* The producer had tokens for what it stored: up to where it would end the block, or to `stop`. */
static int32_t follow_stored(Walk *w, int32_t stop, int *full) {
    Parser *p = &w->parser;
    Tally t = {.n = 0};
    int32_t at = w->at;
    *full = 0;
    while (at < stop && !*full) {
        check_pace(w, at);
        Token predicted = predict(p, at);
        if (w->failed || at + length_of(predicted) > stop) break;
        count_token(&t, predicted, w->job->x[at]);
        follow(p, at, predicted, predicted);
        at += length_of(predicted);
        *full = is_full(&p->q, &t);
    }
    return at;
}

static void code_stored(Walk *w, Block *b, int at_flush) {
    Parser *p = &w->parser;
    int32_t start = w->at, at = start;
    int full = 0, by_rule = 0;
    if (!w->reads) {
        at = follow_stored(w, start + b->length, &full);
        by_rule = at == start + b->length && (full || at >= p->end);
    }
    by_rule = agree(w, STORED_BY_RULE + at_flush, by_rule);
    if (!by_rule) b->length = number(w, STORED_LENGTH, b->length);
    if (w->reads && !by_rule && b->length > w->job->n - start) fail(w, DAMAGED);
    if (w->failed) return;
    if (w->reads) at = follow_stored(w, by_rule ? p->end : start + b->length, &full);
    if (by_rule) b->length = at - start;
    else p->pending = 0;
    for (; at < start + b->length; at++) {
        follow(p, at, 1, 1);
        p->pending = 0;
    }
    if (b->length > 0xffff) fail(w, DAMAGED);
    w->at = start + b->length;
    b->padding = code_padding(w, 0, b->padding);
}

/* Find the tokens and the header of a block that is not stored, or which is so because they were no use; returns
   whether it came out full. */
static int code_coded(Walk *w, Block *b, Header *h) {
    Parser *p = &w->parser;
    const Parameters *q = &p->q;
    Tally t = {.n = 0};
    Header predicted;
    int64_t dynamic_bytes, fixed_bytes;
    int32_t start = w->at;
    int lazy = !q->fast && q->strategy != HUFFMAN && q->strategy != RUNS, type = b->type;
    t.literals[END_OF_BLOCK] = 1;
    code_tokens(w, b, &t, w->job->silent && !w->reads && type == STORED);
    if (w->failed) return 0;
    int full = t.n && is_full(q, &t) && !(w->at >= p->end && lazy && t.last == 1);
    if (w->at >= w->job->n && !full) slide(p, w->job->n);
    make_header(t.literals, t.distances, &predicted, &dynamic_bytes, &fixed_bytes);
    int is_fixed = fixed_bytes <= dynamic_bytes || q->strategy == FIXED_CODES, expected = is_fixed ? FIXED : DYNAMIC;
    if (w->job->silent && t.bytes + 4 <= (is_fixed ? fixed_bytes : dynamic_bytes) && start >= p->base)
        expected = STORED;
    b->type = agree(w, TYPE + expected, type == expected) ? expected : FIXED + DYNAMIC - expected;
    if (!w->reads && w->job->silent && t.bytes != b->length) fail(w, DIFFERS);
    b->length = t.bytes;
    if (b->type == STORED) b->padding = code_padding(w, 0, b->padding);
    if (b->type == STORED && b->length > 0xffff) fail(w, DAMAGED);
    if (b->type != DYNAMIC || w->failed) return full;
    if (!w->reads) {
        BitReader r = {w->job->data, 8 * w->job->size, b->header};
        get_header(&r, h);
    }
    code_header(w, &predicted, h);
    return full;
}

/* An empty block that is not the last: what a flush leaves. */
static inline int is_flush(const Block *b) {
    return !b->length && !b->final && (b->type == STORED || (b->type == FIXED && !b->n_tokens));
}

/* Where the next one is, from this block on, which begins here; or -1. */
static int32_t next_flush(const Job *job, int64_t index, int32_t at) {
    for (; index < job->n_blocks; at += job->blocks[index++].length)
        if (is_flush(job->blocks + index)) return at;
    return -1;
}

/* A flush lies before us, or none: where. */
static void start_segment(Walk *w) {
    const Job *job = w->job;
    int32_t known = -1;
    if (!w->reads) known = next_flush(job, w->index, w->at);
    if (job->silent) {
        w->flush_at = job->tail && !w->flushed ? job->n : -1;
        if (!w->reads && known != w->flush_at) fail(w, DIFFERS);
    } else if (decide(w, FLUSHES + w->flushed, known >= 0)) {
        int32_t gap = decide(w, SAME_GAP, known - w->at == w->gap) ? w->gap : number(w, GAP, known - w->at);
        if (gap > job->n - w->at) fail(w, DAMAGED);
        w->flush_at = w->failed ? -1 : w->at + gap;
        w->gap = gap;
    } else w->flush_at = -1;
    w->flushed = w->flush_at >= 0;
    w->parser.end = w->flush_at >= 0 ? w->flush_at : job->n;
}

static void put_block(Walk *w, const Block *b, const Header *h) {
    uint8_t fixed[318];
    const uint8_t *x = w->job->x + w->at - b->length;
    put(&w->out, (uint32_t)b->final, 1);
    put(&w->out, (uint32_t)b->type, 2);
    if (b->type == STORED) put_stored(&w->out, x, b->length, (uint32_t)b->padding);
    else if (b->type == FIXED) {
        fixed_lengths(fixed);
        put_tokens(&w->out, x, w->job->tokens, b->n_tokens, fixed, 288, DISTANCES);
    } else {
        put_header(&w->out, h);
        put_tokens(&w->out, x, w->job->tokens, b->n_tokens, h->lengths, h->literals, h->distances);
    }
}

/* Returns whether it was the last. */
static int code_block(Walk *w) {
    const Job *job = w->job;
    Block b = {.header = 0};
    Header h = {.n_runs = 0};
    if (!w->reads) b = job->blocks[w->index];
    w->parser.steps += STEPS_OF_BLOCK;
    int at_flush = w->flush_at == w->at, full = 0, was_end = w->index + 1 == job->n_blocks;
    int stored = job->silent ? at_flush : decide(w, IS_STORED + 2 * at_flush + w->was_stored, b.type == STORED);
    w->index++;
    w->was_stored = stored;
    if (stored) {
        if (!w->reads && b.type != STORED) fail(w, DIFFERS);
        b.type = STORED;
        code_stored(w, &b, at_flush);
    } else full = code_coded(w, &b, &h);
    int expected = w->at >= job->n && (!job->last || (!full && w->flush_at < 0));
    int end = agree(w, END + 2 * (w->flush_at >= 0) + (w->at >= job->n), was_end == expected) ? expected : !expected;
    if (end && w->at < job->n) fail(w, DAMAGED);
    check_pace(w, w->at);
    if (w->failed) return 1;
    b.final = end && job->last;
    if (w->reads) {
        put_block(w, &b, &h);
        if (w->out.full) fail(w, TOO_MUCH);
    }
    if (!end && w->flush_at >= 0 && w->at >= w->flush_at && is_flush(&b)) {
        flush(&w->parser, w->at, job->n);
        start_segment(w);
    }
    return end;
}

/* 0, or what is wrong. */
static int walk(Walk *w, Job *job, int reads) {
    w->job = job;
    w->at = job->window;
    w->index = w->failed = w->was_stored = w->flushed = w->gap = w->history = w->all_next = 0;
    w->reads = reads;
    if (!job->silent) {
        start_cells(w->cells);
        memset(job->all_head, 0, sizeof *job->all_head << ALL_BITS);
    }
    coder_start(&w->coder, job->code, job->code_size, reads);
    w->out = (BitWriter){job->out, job->out_size, 0, 0, 0, 0};
    int n_lead = log2_of((uint32_t)job->lead);
    put(&w->out, (uint32_t)job->lead ^ 1u << n_lead, n_lead);
    start_parser(&w->parser, &job->parameters, job->x, job->window, job->n, job->base, job->last, job->marks, job->head,
        job->links);
    start_segment(w);
    while (!code_block(w)) {}
    if (job->last) {
        job->padding = code_padding(w, 1, job->padding);
        put_padding(&w->out, (uint32_t)job->padding);
    }
    if (w->out.full && reads) fail(w, TOO_MUCH);
    job->steps = w->parser.steps;
    return w->failed;
}

#endif
