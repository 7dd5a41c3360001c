/* The alphabets of deflate (RFC 1951), and bits read and written. deflate/codes.py is the twin. */
#ifndef LLMZIP_DEFLATE_CODES_H
#define LLMZIP_DEFLATE_CODES_H
#include <stdint.h>
#include <string.h>

enum { MIN_LENGTH = 3, MAX_LENGTH = 258, WINDOW = 32768 };
enum { LITERALS = 286, DISTANCES = 30, LENGTHS = 19, END_OF_BLOCK = 256, ALL_LENGTHS = 320 };
enum { STORED = 0, FIXED = 1, DYNAMIC = 2 };

static const uint16_t LENGTH_BASE[29] = {
    3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258};
static const uint8_t LENGTH_EXTRA[29] = {
    0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0};
static const uint16_t DISTANCE_BASE[30] = {1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513,
    769, 1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577};
static const uint8_t DISTANCE_EXTRA[30] = {
    0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13};
static const uint8_t ORDER[LENGTHS] = {16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15};

/* length | distance << 9; a literal: 1. LONG: length 258 written as 284 + 31. */
typedef uint32_t Token;
#define LONG 0x80000000u
static inline int32_t length_of(Token t) { return t & 511; }
static inline int32_t distance_of(Token t) { return t >> 9 & 0xffff; }
static inline Token match_token(int32_t length, int32_t distance) { return (Token)length | (Token)distance << 9; }

static inline int log2_of(uint32_t v) { return 31 - __builtin_clz(v); }

static inline int length_code(int32_t length) {
    uint32_t l = (uint32_t)length - MIN_LENGTH;
    if (l < 8 || length == MAX_LENGTH) return l < 8 ? (int)l : 28;
    int k = log2_of(l);
    return 4 * (k - 1) + (int)(l >> (k - 2) & 3);
}

static inline int token_length_code(Token t) { return t & LONG ? 27 : length_code(length_of(t)); }

static inline int distance_code(int32_t distance) {
    uint32_t d = (uint32_t)distance - 1;
    if (d < 2) return (int)d;
    int k = log2_of(d);
    return 2 * k + (int)(d >> (k - 1) & 1);
}

static inline int run_extra(int symbol) { return symbol == 16 ? 2 : symbol == 17 ? 3 : symbol == 18 ? 7 : 0; }
static inline int run_base(int symbol) { return symbol < 16 ? 1 : symbol == 18 ? 11 : 3; }

/* Lengths of the fixed codes: 288 of literals, then 30 of distances. */
static void fixed_lengths(uint8_t *lengths) {
    for (int i = 0; i < 318; i++) lengths[i] = i < 144 ? 8 : i < 256 ? 9 : i < 280 ? 7 : i < 288 ? 8 : 5;
}

/* What stands at the head of a dynamic block. */
typedef struct {
    int32_t literals, distances, orders, n_runs;    /* HLIT, HDIST, HCLEN with what is added to them */
    uint8_t lengths[ALL_LENGTHS], of_runs[LENGTHS]; /* of literals, then of distances; of the code for runs */
    uint8_t runs[ALL_LENGTHS], extras[ALL_LENGTHS];
} Header;

/* ---- bits -------------------------------------------------------------------------------------------------------- */

/* size: in bits; at beyond it: the end was too early */
typedef struct {
    const uint8_t *bytes;
    int64_t size, at;
} BitReader;

static inline uint64_t peek(const BitReader *r) { /* at least 57 bits, zeros after the end */
    int64_t byte = r->at >> 3, left = (r->size >> 3) - byte;
    uint64_t bits = 0;
    if (left >= 8) memcpy(&bits, r->bytes + byte, 8);
    else
        for (int64_t i = 0; i < left; i++) bits |= (uint64_t)r->bytes[byte + i] << 8 * i;
    return bits >> (r->at & 7);
}

static inline uint32_t get(BitReader *r, int n) {
    uint32_t bits = (uint32_t)(peek(r) & (((uint64_t)1 << n) - 1));
    r->at += n;
    return bits;
}

typedef struct {
    uint8_t *bytes;
    int64_t size, at;
    uint64_t held;
    int32_t n_held, full;
} BitWriter;

static inline void put(BitWriter *w, uint32_t bits, int n) {
    w->held |= (uint64_t)bits << w->n_held;
    w->n_held += n;
    for (; w->n_held >= 8; w->held >>= 8, w->n_held -= 8) {
        if (w->at < w->size) w->bytes[w->at++] = (uint8_t)w->held;
        else w->full = 1;
    }
}

static inline void put_padding(BitWriter *w, uint32_t padding) {
    if (w->n_held) put(w, padding & ((1u << (8 - w->n_held)) - 1), 8 - w->n_held);
}

/* The code of each symbol, its first bit lowest. */
static void codes_of(const uint8_t *lengths, int n, uint16_t *codes) {
    uint32_t count[16] = {0}, next[16], code = 0;
    for (int i = 0; i < n; i++) count[lengths[i]]++;
    count[0] = 0;
    for (int k = 1; k < 16; k++) next[k] = code = (code + count[k - 1]) << 1;
    for (int i = 0; i < n; i++) {
        uint32_t turned = 0, c = lengths[i] ? next[lengths[i]]++ : 0;
        for (int k = 0; k < lengths[i]; k++, c >>= 1) turned = turned << 1 | (c & 1);
        codes[i] = (uint16_t)turned;
    }
}

static void put_header(BitWriter *w, const Header *h) {
    uint16_t codes[LENGTHS];
    put(w, (uint32_t)h->literals - 257, 5);
    put(w, (uint32_t)h->distances - 1, 5);
    put(w, (uint32_t)h->orders - 4, 4);
    for (int i = 0; i < h->orders; i++) put(w, h->of_runs[ORDER[i]], 3);
    codes_of(h->of_runs, LENGTHS, codes);
    for (int i = 0; i < h->n_runs; i++) {
        put(w, codes[h->runs[i]], h->of_runs[h->runs[i]]);
        put(w, h->extras[i], run_extra(h->runs[i]));
    }
}

/* The tokens from x on, and the end of the block. */
static void put_tokens(BitWriter *w, const uint8_t *x, const Token *tokens, int32_t n, const uint8_t *lengths,
    int literals, int distances) {
    uint16_t codes[LITERALS + 2], distance_codes[DISTANCES];
    const uint8_t *distance_lengths = lengths + literals;
    codes_of(lengths, literals, codes);
    codes_of(distance_lengths, distances, distance_codes);
    for (int32_t i = 0; i < n; x += length_of(tokens[i++])) {
        int32_t distance = distance_of(tokens[i]);
        if (!distance) {
            put(w, codes[*x], lengths[*x]);
            continue;
        }
        int k = token_length_code(tokens[i]), d = distance_code(distance);
        if (257 + k < literals) put(w, codes[257 + k], lengths[257 + k]);
        put(w, (uint32_t)(length_of(tokens[i]) - LENGTH_BASE[k]), LENGTH_EXTRA[k]);
        if (d < distances) put(w, distance_codes[d], distance_lengths[d]);
        put(w, (uint32_t)(distance - DISTANCE_BASE[d]), DISTANCE_EXTRA[d]);
    }
    put(w, codes[END_OF_BLOCK], lengths[END_OF_BLOCK]);
}

static void put_stored(BitWriter *w, const uint8_t *x, int32_t n, uint32_t padding) {
    put_padding(w, padding);
    put(w, (uint32_t)n, 16);
    put(w, (uint32_t)n ^ 0xffff, 16);
    for (int32_t i = 0; i < n; i++) put(w, x[i], 8);
}

#endif
