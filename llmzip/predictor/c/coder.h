/* The binary range coder: knows bits and their probabilities, nothing else. Its stream is that of constriction's
   RangeEncoder (32-bit words, 64-bit state, 24-bit probabilities), big-endian. predictor/coder.py is its twin. */
#ifndef LLMZIP_CODER_H
#define LLMZIP_CODER_H
#include <stdint.h>

enum { TOTAL_BITS = 24, PAST_END = 8 }; /* words of zeros that a reader takes after the end */

typedef struct {
    uint64_t low, range, point; /* point: what a reader has before it */
    uint8_t *bytes;             /* (size) written to or read from */
    int64_t at, size;
    int32_t reads, past; /* past: words read after the end */
} Coder;

enum { DAMAGED = -1, FULL = -2 };

static inline void carry(Coder *c) {
    for (int64_t i = c->at; i-- && ++c->bytes[i] == 0;) {}
}

static int next_word(Coder *c) {
    uint32_t word = 0;
    if (!c->reads) {
        if (c->at + 16 > c->size) return FULL;
        for (int i = 0; i < 4; i++) c->bytes[c->at++] = (uint8_t)(c->low >> (56 - 8 * i));
    } else {
        if (c->at >= c->size && ++c->past > PAST_END) return DAMAGED;
        for (int i = 0; i < 4; i++, c->at++) word = word << 8 | (c->at < c->size ? c->bytes[c->at] : 0);
    }
    c->low <<= 32;
    c->range <<= 32;
    c->point = c->point << 32 | word;
    return 0;
}

/* Code a bit whose ones have p of 2^24, above the zeros: returns it, or what is wrong. */
static inline int coder_bit(Coder *c, uint32_t p, int bit) {
    uint64_t scale = c->range >> TOTAL_BITS, zeros = (1u << TOTAL_BITS) - p;
    if (c->reads) {
        uint64_t quantile = (c->point - c->low) / scale;
        if (quantile >> TOTAL_BITS) return DAMAGED;
        bit = quantile >= zeros;
    }
    if (bit) {
        uint64_t low = c->low + scale * zeros;
        if (low < c->low && !c->reads) carry(c);
        c->low = low;
    }
    c->range = scale * (bit ? p : zeros);
    int failed = c->range >> 32 == 0 ? next_word(c) : 0;
    return failed ? failed : bit;
}

static void coder_start(Coder *c, uint8_t *bytes, int64_t size, int reads) {
    *c = (Coder){0, ~(uint64_t)0, 0, bytes, 0, size, reads, 0};
    if (reads)
        for (; c->at < 8; c->at++) c->point = c->point << 8 | (c->at < size ? bytes[c->at] : 0);
}

/* Write the shortest string that leads a reader here; returns its size. Zeros at the end are left out, but no more
   than a reader adds. */
static int64_t coder_finish(Coder *c) {
    uint64_t last = c->low + (c->range - 1);
    int wraps = last < c->low, zeros = 64;
    int64_t least = c->at + 8 - 4 * PAST_END;
    if (!(c->low == 0 || wraps))
        for (zeros = 56; zeros > 0; zeros -= 8) {
            uint64_t step = (uint64_t)1 << zeros, up = (c->low + (step - 1)) & ~(step - 1);
            if (up >= c->low && up <= last) break;
        }
    if (zeros == 64) {
        if (c->low) carry(c);
    } else {
        uint64_t step = (uint64_t)1 << zeros, up = (c->low + (step - 1)) & ~(step - 1);
        for (int i = 56; i >= zeros; i -= 8) c->bytes[c->at++] = (uint8_t)(up >> i);
    }
    while (c->at > 0 && c->at > least && c->bytes[c->at - 1] == 0) c->at--;
    while (c->at < least) c->bytes[c->at++] = 0;
    return c->at;
}

#endif
