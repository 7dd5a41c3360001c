/* What learns: cells, slots of bit histories, weights, APMs. Integers only. predictor/learning.py is its twin. */
#ifndef LLMZIP_PREDICTOR_LEARNING_H
#define LLMZIP_PREDICTOR_LEARNING_H
#include <stdint.h>

enum { TOP = 5120, BUCKETS = 33, WEIGHT_TOP = (1 << 18) - 1, SECOND_TOP = 1 << 20 };
enum {
    RATE_BITS = 17,
    SECOND_RATE_BITS = 18,
    LASTING = 256,       /* of the rate of weights, in 1/256, in the long run */
    PLAIN_LASTING = 176, /* without a model */
    BOOST = 3,
    BOOST_BYTES = 1500,
    RECORD_BOOST_BYTES = 32000,
    CONSTANT = 256,
    OWN_SHARE = 2,     /* of 16: how much of what a weight set learns is its own error */
    LEAST_ERROR = 512, /* up to it a weight set learns nothing */
    ERROR_TOP = 1 << 18
};
enum {
    SLOT_LIMIT = 60,
    HISTORY_LIMIT = 1023,
    RUN_LIMIT = 1023,
    MATCH_LIMIT = 400,
    MODEL_LIMIT = 1000,
    APM_LIMIT = 255
};

#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__)
#define CLONES __attribute__((target_clones("arch=x86-64-v4", "avx2", "default"), optimize("O3")))
#else
#define CLONES
#endif

static inline uint32_t hash(uint32_t h, uint32_t x) {
    h = (h + x + 1) * 0x9E3779B1u;
    return h ^ h >> 15;
}

static inline int32_t clip(int64_t x, int32_t top) { return x > top ? top : x < -top ? -top : (int32_t)x; }

static inline int32_t limited(int64_t p) { return p < 16 ? 16 : (p > (1 << 24) - 16) ? (1 << 24) - 16 : (int32_t)p; }

/* A cell: probability of a one, 22 bits << 10 | how often it has learnt. |difference| < 2^22, reciprocal <= 43690:
   below 2^38 */
static inline void learn_cell(const int32_t *reciprocal, uint32_t *cell, int bit, uint32_t limit) {
    uint32_t n = *cell & 1023;
    int64_t p = *cell >> 10, target = bit ? (1 << 22) - 1 : 0;
    p += ((target - p) * reciprocal[n]) >> 16;
    *cell = (uint32_t)p << 10 | (n + (n < limit));
}

/* A slot: probability of a one << 16 | observations << 10 | zeros << 6 | ones << 2 | the last two bits; the lower
   ten are the history. At first 2^15 * 43690, then below 2^16 * 26214: below 2^31 */
static inline uint32_t learnt_slot(uint32_t slot, int32_t rate, int bit) {
    /* no branches: many slots are learnt side by side */
    uint32_t same_at = 6 - 4 * (uint32_t)bit, other_at = 8 - same_at;
    uint32_t n = slot >> 10 & 63, same = slot >> same_at & 15, other = slot >> other_at & 15;
    int32_t p = n ? (int32_t)(slot >> 16) : 1 << 15;
    p += ((65535 * bit - p) * rate) >> 16;
    same += same < 15;
    other = other > 2 ? (other + (other <= 5)) / 2 + 1 : other; /* what was before counts less */
    return (uint32_t)p << 16 | (n + (n < SLOT_LIMIT)) << 10 | same << same_at | other << other_at | (slot & 1) << 1 |
           (uint32_t)bit;
}

/* What the histories of n slots have come to, and the reciprocals of the counts of both. */
CLONES static void look_up(const uint32_t *restrict histories, const int32_t *restrict reciprocal,
    const uint32_t *restrict slots, uint32_t *restrict cells, int32_t *restrict slot_rates,
    int32_t *restrict cell_rates, int n) {
    for (int i = 0; i < n; i++) {
        uint32_t cell = histories[i << 10 | (int)(slots[i] & 1023)];
        cells[i] = cell;
        slot_rates[i] = reciprocal[slots[i] >> 10 & 63];
        cell_rates[i] = reciprocal[cell & 1023];
    }
}

/* What n slots come to; rates: the reciprocals of their counts. */
CLONES static void learn_slots(
    const uint32_t *restrict slots, const int32_t *restrict rates, uint32_t *restrict learnt, int n, int bit) {
    for (int i = 0; i < n; i++) learnt[i] = learnt_slot(slots[i], rates[i], bit);
}

/* As learn_cell, for vectors. The product is that of its upper bits and of its lower eight: below 2^30 + 2^16 */
static inline uint32_t learnt_cell(uint32_t cell, int32_t rate, int bit, uint32_t limit) {
    uint32_t n = cell & 1023;
    int32_t p = (int32_t)(cell >> 10), difference = ((1 << 22) - 1) * bit - p;
    p += ((difference >> 8) * rate + ((difference & 255) * rate >> 8)) >> 8;
    return (uint32_t)p << 10 | (n + (n < limit));
}

CLONES static void learn_cells(const uint32_t *restrict cells, const int32_t *restrict rates, uint32_t *restrict learnt,
    int n, int bit, uint32_t limit) {
    for (int i = 0; i < n; i++) learnt[i] = learnt_cell(cells[i], rates[i], bit, limit);
}

/* Of runs that say a one (1), a zero (-1) or nothing (0): whether they were right. */
CLONES static void learn_runs(
    uint32_t *restrict cells, const int32_t *restrict rates, const int32_t *restrict runs, int n, int bit) {
    for (int i = 0; i < n; i++) {
        uint32_t learnt = learnt_cell(cells[i], rates[i], runs[i] == 2 * bit - 1, RUN_LIMIT);
        cells[i] = runs[i] ? learnt : cells[i];
    }
}

/* For each of `sets` rows of weights: the sum of (weight * input) >> 8, n a multiple of 16. |weight| < 2^18, |input|
   <= 5120: a product is below 2^31, the sum of 128 of them >> 8 below 2^30. */
CLONES static void dots(int32_t *const *weights, int sets, const int32_t *inputs, int n, int32_t *sums) {
    for (int k = 0; k < sets; k++) {
        const int32_t *w = weights[k];
        int32_t sum = 0;
        for (int i = 0; i < n; i++) sum += (w[i] * inputs[i]) >> 8;
        sums[k] = sum;
    }
}

/* |error| <= 2^18, |input| <= 5120: a product is below 2^31 - 2^17. n as above; weights stay within +-top. Rows whose
   error is not above `least` stay as they are. */
CLONES static void train(int32_t *const *weights, int sets, const int32_t *inputs, int n, const int32_t *errors,
    int32_t least, int rate_bits, int32_t top) {
    int32_t half = 1 << (rate_bits - 1);
    for (int k = 0; k < sets; k++) {
        int32_t *w = weights[k], error = errors[k];
        if (error <= least && error >= -least) continue;
        for (int i = 0; i < n; i++) {
            int32_t v = w[i] + ((error * inputs[i] + half) >> rate_bits);
            v = v > top ? top : v;
            w[i] = v < -top ? -top : v;
        }
    }
}

/* What decisions of this stretch have come to, of 2^22, between two of the BUCKETS cells from `base` on; and the
   nearer of the two. */
static inline int64_t refine(const uint32_t *cells, int64_t base, int32_t stretch, int64_t *nearer) {
    int32_t within = clip(stretch, 4095) + 4096, part = within & 255;
    int64_t place = base + (within >> 8);
    *nearer = place + (part >= 128);
    return ((int64_t)(cells[place] >> 10) * (256 - part) + (int64_t)(cells[place + 1] >> 10) * part) >> 8;
}

#endif
