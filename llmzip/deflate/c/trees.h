/* The trees of a block as zlib makes them, with its ties, its limit of lengths and its runs. deflate/trees.py is the
   twin. */
#ifndef LLMZIP_DEFLATE_TREES_H
#define LLMZIP_DEFLATE_TREES_H
#include "codes.h"

enum { NODES = 2 * LITERALS };

typedef struct {
    uint32_t weights[NODES];
    uint8_t depths[NODES];
    int32_t heap[NODES + 1], n;
} Heap;

static inline int is_before(const Heap *h, int a, int b) {
    return h->weights[a] < h->weights[b] || (h->weights[a] == h->weights[b] && h->depths[a] <= h->depths[b]);
}

static void sift_down(Heap *h, int at) {
    int node = h->heap[at];
    for (int child = 2 * at; child <= h->n; at = child, child = 2 * at) {
        if (child < h->n && is_before(h, h->heap[child + 1], h->heap[child])) child++;
        if (is_before(h, node, h->heap[child])) break;
        h->heap[at] = h->heap[child];
    }
    h->heap[at] = node;
}

/* Where lengths were cut off at the limit, `over` of them: counts that are a code again, dealt out from the rarest
   leaf on. */
static void deal_lengths(const int32_t *order, int n, int limit, int32_t *counts, int over, uint8_t *lengths) {
    for (; over > 0; over -= 2) {
        int k = limit - 1;
        while (!counts[k]) k--;
        counts[k]--;
        counts[k + 1] += 2;
        counts[limit]--;
    }
    for (int k = limit; k; k--)
        for (int left = counts[k]; left; order++)
            if (*order < n) lengths[*order] = (uint8_t)k, left--;
}

/* Lengths of the codes of n symbols; returns one more than the last symbol that has one. At least two have. */
static int make_lengths(const uint32_t *counts, int n, int limit, uint8_t *lengths) {
    Heap h = {.n = 0};
    int32_t parents[NODES], order[NODES], levels[NODES], of_length[16] = {0};
    int last = -1, n_ordered = 0, node = n, over = 0;
    memset(lengths, 0, (size_t)n);
    for (int i = 0; i < n; i++)
        if ((h.weights[i] = counts[i])) h.heap[++h.n] = last = i;
    while (h.n < 2) {
        int added = last < 2 ? ++last : 0;
        h.heap[++h.n] = added;
        h.weights[added] = 1;
    }
    for (int i = h.n / 2; i >= 1; i--) sift_down(&h, i);
    while (h.n >= 2) {
        int a = h.heap[1];
        h.heap[1] = h.heap[h.n--];
        sift_down(&h, 1);
        int b = h.heap[1];
        order[n_ordered++] = a;
        order[n_ordered++] = b;
        h.weights[node] = h.weights[a] + h.weights[b];
        h.depths[node] = (uint8_t)((h.depths[a] > h.depths[b] ? h.depths[a] : h.depths[b]) + 1);
        parents[a] = parents[b] = node;
        h.heap[1] = node++;
        sift_down(&h, 1);
    }
    levels[h.heap[1]] = 0;
    for (int i = n_ordered - 1; i >= 0; i--) {
        int each = order[i], level = levels[parents[each]] + 1;
        if (level > limit) level = limit, over++;
        levels[each] = level;
        if (each < n) lengths[each] = (uint8_t)level, of_length[level]++;
    }
    if (over) deal_lengths(order, n, limit, of_length, over, lengths);
    return last + 1;
}

/* The next run that zlib makes of the lengths from i on; returns how many it takes. before: the value of the one
   before, or -1. */
static int next_run(const uint8_t *lengths, int n, int i, int before, uint8_t *symbol, uint8_t *extra) {
    int value = lengths[i], run = 1, most = value == 0 ? 138 : value == before ? 6 : 7;
    while (i + run < n && run < most && lengths[i + run] == value) run++;
    *extra = 0;
    *symbol = (uint8_t)value;
    if (value == 0) {
        if (run < 3) return 1;
        *symbol = run <= 10 ? 17 : 18;
        *extra = (uint8_t)(run - (run <= 10 ? 3 : 11));
        return run;
    }
    if (value != before || run < 3) return 1;
    *symbol = 16;
    *extra = (uint8_t)(run - 3);
    return run;
}

static int add_runs(const uint8_t *lengths, int n, uint8_t *runs, uint8_t *extras) {
    int k = 0, before = -1;
    for (int i = 0; i < n; k++) {
        int run = next_run(lengths, n, i, before, runs + k, extras + k);
        before = lengths[i];
        i += run;
    }
    return k;
}

/* The runs of both lists, or of the two as one. */
static void make_runs(Header *h, int joined) {
    if (joined) {
        h->n_runs = add_runs(h->lengths, h->literals + h->distances, h->runs, h->extras);
        return;
    }
    h->n_runs = add_runs(h->lengths, h->literals, h->runs, h->extras);
    h->n_runs += add_runs(h->lengths + h->literals, h->distances, h->runs + h->n_runs, h->extras + h->n_runs);
}

static int last_order(const uint8_t *of_runs) {
    int k = LENGTHS;
    while (k > 4 && !of_runs[ORDER[k - 1]]) k--;
    return k;
}

static void make_code_of_runs(const Header *h, uint8_t *of_runs) {
    uint32_t counts[LENGTHS] = {0};
    for (int i = 0; i < h->n_runs; i++) counts[h->runs[i]]++;
    make_lengths(counts, LENGTHS, 7, of_runs);
}

/* The header that zlib makes for a block with these counts; returns bytes of the block with it, and with the fixed
   codes. */
static void make_header(
    const uint32_t *literals, const uint32_t *distances, Header *h, int64_t *dynamic_bytes, int64_t *fixed_bytes) {
    uint8_t of_literals[LITERALS], of_distances[DISTANCES], fixed[318];
    int64_t bits = 0, fixed_bits = 0; /* <= 32767 tokens and more of other producers', 48 bits each: far below 2^63 */
    h->literals = make_lengths(literals, LITERALS, 15, of_literals);
    h->distances = make_lengths(distances, DISTANCES, 15, of_distances);
    memcpy(h->lengths, of_literals, (size_t)h->literals);
    memcpy(h->lengths + h->literals, of_distances, (size_t)h->distances);
    make_runs(h, 0);
    make_code_of_runs(h, h->of_runs);
    h->orders = last_order(h->of_runs);
    fixed_lengths(fixed);
    for (int i = 0; i < LITERALS; i++) {
        int extra = i > END_OF_BLOCK ? LENGTH_EXTRA[i - 257] : 0;
        bits += (int64_t)literals[i] * (of_literals[i] + extra);
        fixed_bits += (int64_t)literals[i] * (fixed[i] + extra);
    }
    for (int i = 0; i < DISTANCES; i++) {
        bits += (int64_t)distances[i] * (of_distances[i] + DISTANCE_EXTRA[i]);
        fixed_bits += (int64_t)distances[i] * (5 + DISTANCE_EXTRA[i]);
    }
    for (int i = 0; i < h->n_runs; i++) bits += h->of_runs[h->runs[i]] + run_extra(h->runs[i]);
    *dynamic_bytes = (bits + 3 * h->orders + 14 + 10) >> 3;
    *fixed_bytes = (fixed_bits + 10) >> 3;
}

#endif
