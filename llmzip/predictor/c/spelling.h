/* The model's scores as probabilities of the next bit: prefix sums over the sorted vocabulary. The only part that knows tokens.
 * predictor/spelling.py is its twin.
 */
#ifndef LLMZIP_SPELLING_H
#define LLMZIP_SPELLING_H
#include "predictor.h"

typedef struct { int64_t low, high, depth; } Range; /* entries that begin with the `depth` bytes so far */

static int32_t log2_of(const int16_t *log2, uint64_t x) {
    int e = 63 - __builtin_clzll(x);
    uint64_t m = e >= 10 ? x >> (e - 10) : x << (10 - e);
    return e * 256 + log2[m - 1024];
}

static void spelling_weigh(const Predictor *p, const int16_t *scores) {
    const Spelling *s = &p->spelling;
    int32_t best = -32768;
    for (int64_t i = 0; i < s->n; i++) best = scores[s->ids[i]] > best ? scores[s->ids[i]] : best;
    int64_t sum = 0;
    for (int64_t i = 0; i < s->n; i++) {
        int32_t d = scores[s->ids[i]] - best, shift = -(d >> 8);
        s->sums[i] = sum;
        sum += p->exp2[d & 255] >> (shift > 31 ? 31 : shift);
    }
    s->sums[s->n] = sum;
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
