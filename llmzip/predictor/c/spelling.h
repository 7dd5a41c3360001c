/* The model's scores as probabilities of the next bit: prefix sums over the sorted vocabulary. The only part that
   knows tokens. predictor/spelling.py is its twin. */
#ifndef LLMZIP_SPELLING_H
#define LLMZIP_SPELLING_H
#include "predictor.h"

#define GROUP 64 /* entries whose weights are summed together: at most 64 * 2^23 = 2^29 */

/* entries that begin with the `depth` bytes so far, and the sums of the weights there */
typedef struct {
    int64_t low, high, depth, below, up_to;
} Range;

static int32_t log2_of(const int16_t *log2, uint64_t x) {
    int e = 63 - __builtin_clzll(x);
    uint64_t m = e >= 10 ? x >> (e - 10) : x << (10 - e);
    return e * 256 + log2[m - 1024];
}

/* 2^(22 + score / 256), but for 0.4 per cent, of the entries of a GROUP; returns their sum. Scores are at most 0. */
static inline uint32_t weigh_group(const int16_t *restrict scores, uint32_t *restrict weights, int64_t n) {
    uint32_t sum = 0;
    for (int64_t i = 0; i < n; i++) {
        int32_t score = scores[i];
        uint32_t part = (uint32_t)score & 255, shift = (uint32_t)-(score >> 8);
        uint32_t weight = ((1u << 22) + part * (10752 + 22 * part)) >> (shift > 31 ? 31 : shift);
        weights[i] = weight;
        sum += weight;
    }
    return sum;
}

/* All entries; returns the sum of all. */
CLONES static int64_t spelling_weigh(const Spelling *s, const int16_t *restrict scores) {
    int64_t sum = 0, i = 0;
    for (; i + GROUP <= s->n; i += GROUP) {
        s->sums[i / GROUP] = sum;
        sum += weigh_group(scores + i, s->weights + i, GROUP);
    }
    if (i < s->n) s->sums[i / GROUP] = sum, sum += weigh_group(scores + i, s->weights + i, s->n - i);
    return sum;
}

/* The sum of the weights before an entry that is not past the last. */
static inline int64_t spelling_sum(const Spelling *s, int64_t at) {
    int64_t sum = s->sums[at / GROUP];
    for (int64_t i = at / GROUP * GROUP; i < at; i++) sum += s->weights[i];
    return sum;
}

/* The stretch of a one, from the weights of what goes there and of what does not. */
static int32_t spelling_odds(const Predictor *p, int64_t ones, int64_t zeros) {
    return clip(log2_of(p->log2, 4 * (uint64_t)ones + 1) - log2_of(p->log2, 4 * (uint64_t)zeros + 1), TOP);
}

/* The first entry of the range whose next byte is not below `byte`. */
static int64_t spelling_split(const Spelling *s, const Range *r, uint32_t byte) {
    int64_t low = r->low, high = r->high;
    while (low < high) {
        int64_t middle = (low + high) / 2;
        if (s->bytes[s->starts[middle] + r->depth] < byte) low = middle + 1;
        else high = middle;
    }
    return low;
}

/* The entries that are spelled out: how many, all at the start of the range. */
static int64_t spelling_whole(const Spelling *s, const Range *r) {
    int64_t n = 0;
    while (r->depth && r->low + n < r->high && s->lengths[r->low + n] == r->depth) n++;
    return n;
}

#endif
