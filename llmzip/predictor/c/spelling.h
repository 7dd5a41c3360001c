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

/* The largest score of what spells something. */
CLONES static int32_t best_score(const int16_t *scores, const int32_t *lengths, int64_t n) {
    int32_t best = -32768;
    for (int64_t i = 0; i < n; i++) {
        int32_t score = lengths[i] > 0 ? scores[i] : -32768;
        best = score > best ? score : best;
    }
    return best;
}

/* What spells nothing may have a larger score, and comes to nothing: no entry has its weight. */
CLONES static void weigh_scores(const int32_t *restrict exp2, const int16_t *restrict scores, int32_t best, uint32_t *restrict weights,
                                int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        int32_t d = scores[i] - best;
        uint32_t shift = (uint32_t)-(d >> 8);
        weights[i] = (uint32_t)exp2[d & 255] >> (shift > 31 ? 31 : shift);
    }
}

/* All weights in the order of the ids, side by side; then their sums in the order of the spellings. */
static void spelling_weigh(const Predictor *p, const int16_t *scores) {
    const Spelling *s = &p->spelling;
    const int32_t *ids = s->ids;
    const uint32_t *weights = s->weights;
    int64_t sum = 0, n = s->n, *sums = s->sums;
    weigh_scores(p->exp2, scores, best_score(scores, s->id_lengths, s->n_symbols), s->weights, s->n_symbols);
    for (int64_t i = 0; i < n; i++) {
        sums[i] = sum;
        sum += weights[ids[i]];
    }
    sums[n] = sum;
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
