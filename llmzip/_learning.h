/* What the coders that learn while they code have in common (_mixing.c, _cm.c): hashes, cells, mixers, the refinement. Integers only;
 * docs/format.md 6.3 defines them, mixing/reference.py has their twins.
 */
#ifndef LLMZIP_LEARNING_H
#define LLMZIP_LEARNING_H
#include <stdint.h>

#ifdef _WIN32 /* where one symbol is exported by name, no other is by itself */
#define EXPORT __declspec(dllexport)
#else
#define EXPORT __attribute__((visibility("default")))
#endif

enum { TOP = 5120, BUCKETS = 33, WEIGHT_TOP = 1 << 22, TOTAL_BITS = 24 };

static inline uint32_t hash(uint32_t h, uint32_t x) {
    h = (h + x + 1) * 0x9E3779B1u;
    return h ^ h >> 15;
}

static inline int32_t clip(int64_t x, int32_t top) { return x > top ? top : x < -top ? -top : (int32_t)x; }

/* A cell: probability of a one << 10 | how often it has learnt. |difference| < 2^22, reciprocal <= 43690: below 2^38 */
static inline void learn_cell(const int32_t *reciprocal, uint32_t *cell, int bit, uint32_t limit) {
    uint32_t n = *cell & 1023;
    int64_t p = *cell >> 10, target = bit ? (1 << 22) - 1 : 0;
    p += ((target - p) * reciprocal[n]) >> 16;
    *cell = (uint32_t)p << 10 | (n + (n < limit));
}

/* The weighted inputs: 16.16 weights, |weight| <= 2^22, |input| <= TOP, n < 32: below 2^40 */
static inline int64_t dot(const int32_t *weights, const int32_t *inputs, int n) {
    int64_t sum = 0;
    for (int i = 0; i < n; i++) sum += (int64_t)weights[i] * inputs[i];
    return sum;
}

/* |error| <= 2^24, |input| < 2^13: below 2^29 */
static inline void learn_weights(int32_t *weights, const int32_t *inputs, int n, int32_t error, int rate) {
    for (int i = 0; i < n; i++) weights[i] = clip(weights[i] + (((error >> 8) * inputs[i] + (1 << (rate - 1))) >> rate), WEIGHT_TOP);
}

/* What decisions of this stretch have come to, of 2^22, between two of the BUCKETS cells from `base` on; and the nearer of the two. */
static inline int64_t refine(const uint32_t *refining, int32_t base, int32_t stretch, int32_t *nearer) {
    int32_t within = clip(stretch, 4095) + 4096, place = base + (within >> 8), part = within & 255;
    const uint32_t *cells = refining + place;
    *nearer = place + (part >= 128);
    return ((int64_t)(cells[0] >> 10) * (256 - part) + (int64_t)(cells[1] >> 10) * part) >> 8;
}

static inline int32_t limit(int64_t p) { return p < 16 ? 16 : p > (1 << TOTAL_BITS) - 16 ? (1 << TOTAL_BITS) - 16 : (int32_t)p; }

#endif
