/* What is made of the last bytes of the rotations: move to front, runs, up to six prefix codes, bits.
   bzip2/reference.py is the twin. */
#ifndef LLMZIP_BZIP2_CODING_H
#define LLMZIP_BZIP2_CODING_H
#include "sorting.h"

enum { RUN_A, RUN_B };
enum { SYMBOLS = BYTES + 2, TABLES = 6, ROW = 8, GROUP = 50, ROUNDS = 4, MOST_LENGTH = 17, UNLIKELY = 15 };

typedef struct {
    uint8_t *out;
    int64_t at;
    uint64_t held; /* the last n_held bits of it; below 8 between calls */
    int32_t n_held;
} Bits;

/* n <= 32 */
static inline void put(Bits *b, uint32_t value, int n) {
    b->held = b->held << n | value;
    for (b->n_held += n; b->n_held >= 8; b->n_held -= 8) b->out[b->at++] = (uint8_t)(b->held >> (b->n_held - 8));
}

/* A block as symbols: runs of the byte at the front as RUN_A and RUN_B, other places at the front plus 1, and the end. */
typedef struct {
    uint16_t *symbols; /* one more than the block has bytes */
    int32_t n, n_symbols, counts[SYMBOLS];
} Fronts;

static inline void add_symbol(Fronts *f, int symbol) {
    f->symbols[f->n++] = (uint16_t)symbol;
    f->counts[symbol]++;
}

/* The length in binary, its digits 1 and 2, least significant first: never more symbols than bytes. */
static void add_run(Fronts *f, int32_t length) {
    for (; length > 0; length = (length - 1) / 2) add_symbol(f, length & 1 ? RUN_A : RUN_B);
}

static void move_to_front(Fronts *f, const uint8_t *column, int32_t n, const uint8_t *is_used) {
    uint8_t front[BYTES];
    int32_t run = 0, n_used = 0;
    for (int i = 0; i < BYTES; i++)
        if (is_used[i]) front[n_used++] = (uint8_t)i;
    f->n = 0;
    f->n_symbols = n_used + 2;
    memset(f->counts, 0, sizeof f->counts);
    for (int32_t i = 0; i < n; i++) {
        uint8_t byte = column[i], before = front[0];
        if (byte == before) {
            run++;
            continue;
        }
        add_run(f, run);
        run = 0;
        int place = 0;
        do {
            uint8_t moved = front[++place];
            front[place] = before;
            before = moved;
        } while (before != byte);
        front[0] = byte;
        add_symbol(f, place + 1);
    }
    add_run(f, run);
    add_symbol(f, f->n_symbols - 1);
}

/* ---- prefix codes ------------------------------------------------------------------------------------------------ */

/* Nodes by weight in the upper 24 bits and depth in the lower 8. All together weigh less than 2^20 + SYMBOLS, and one
   of depth d at least the d-th of Fibonacci's numbers: so d is below 32. */
typedef struct {
    uint32_t keys[2 * SYMBOLS];
    int32_t nodes[SYMBOLS + 1], n; /* from 1 on */
} Heap;

static void insert(Heap *h, int node) {
    int at = ++h->n;
    for (; at > 1 && h->keys[node] < h->keys[h->nodes[at / 2]]; at /= 2) h->nodes[at] = h->nodes[at / 2];
    h->nodes[at] = node;
}

/* The last one goes to the top and sinks, below those as light as it is. */
static int take_first(Heap *h) {
    int first = h->nodes[1], node = h->nodes[h->n--], at = 1;
    for (int child = 2; child <= h->n; at = child, child *= 2) {
        child += child < h->n && h->keys[h->nodes[child + 1]] < h->keys[h->nodes[child]];
        if (h->keys[node] < h->keys[h->nodes[child]]) break;
        h->nodes[at] = h->nodes[child];
    }
    h->nodes[at] = node;
    return first;
}

/* Lengths of a code for these weights; returns the greatest. */
static int try_lengths(const uint32_t *weights, int n, uint8_t *lengths) {
    Heap h = {.n = 0};
    int parents[2 * SYMBOLS], levels[2 * SYMBOLS], node = n, greatest = 0;
    for (int i = 0; i < n; i++) {
        h.keys[i] = weights[i] << 8;
        insert(&h, i);
    }
    for (; h.n > 1; node++) {
        int a = take_first(&h), b = take_first(&h);
        uint32_t x = h.keys[a], y = h.keys[b], depth = (x & 255) > (y & 255) ? x & 255 : y & 255;
        h.keys[node] = ((x >> 8) + (y >> 8)) << 8 | (depth + 1);
        parents[a] = parents[b] = node;
        insert(&h, node);
    }
    levels[node - 1] = 0;
    for (int i = node - 2; i >= 0; i--) {
        levels[i] = levels[parents[i]] + 1;
        if (i < n) lengths[i] = (uint8_t)levels[i];
        if (i < n && levels[i] > greatest) greatest = levels[i];
    }
    return greatest;
}

static void make_lengths(const int32_t *counts, int n, uint8_t *lengths) {
    uint32_t weights[SYMBOLS];
    for (int i = 0; i < n; i++) weights[i] = counts[i] ? (uint32_t)counts[i] : 1;
    while (try_lengths(weights, n, lengths) > MOST_LENGTH)
        for (int i = 0; i < n; i++) weights[i] = weights[i] / 2 + 1;
}

typedef struct {
    int32_t n, n_selectors;
    uint8_t *selectors; /* (symbols + GROUP - 1) / GROUP */
    uint8_t lengths[TABLES][SYMBOLS];
} Tables;

static int count_tables(int32_t n_symbols) {
    return n_symbols < 200 ? 2 : n_symbols < 600 ? 3 : n_symbols < 1200 ? 4 : n_symbols < 2400 ? 5 : 6;
}

/* The symbols are dealt to the tables, the last table first, in ranges that occur about as often as each other. */
static void deal_symbols(Tables *t, const Fronts *f) {
    int32_t left = f->n, first = 0;
    for (int table = t->n - 1; table >= 0; table--) {
        int32_t wanted = left / (table + 1), sum = 0, end = first;
        while (sum < wanted && end < f->n_symbols) sum += f->counts[end++];
        if (end > first + 1 && table && (t->n - 1 - table) % 2) sum -= f->counts[--end];
        for (int i = 0; i < f->n_symbols; i++) t->lengths[table][i] = i >= first && i < end ? 0 : UNLIKELY;
        left -= sum;
        first = end;
    }
}

/* Each group of symbols chooses the table that takes least for it, then each table is made for those that chose it. */
static void choose_tables(Tables *t, const Fronts *f) {
    uint16_t costs[SYMBOLS][ROW] = {{0}}; /* a sum of GROUP is below 2^10 */
    int32_t counts[TABLES][SYMBOLS] = {{0}};
    for (int k = 0; k < t->n; k++)
        for (int i = 0; i < f->n_symbols; i++) costs[i][k] = t->lengths[k][i];
    t->n_selectors = 0;
    for (int32_t start = 0; start < f->n; start += GROUP) {
        int32_t end = start + GROUP < f->n ? start + GROUP : f->n;
        uint16_t sums[ROW] = {0};
        int best = 0;
        for (int32_t i = start; i < end; i++)
            for (int k = 0; k < ROW; k++) sums[k] = (uint16_t)(sums[k] + costs[f->symbols[i]][k]);
        for (int k = 1; k < t->n; k++)
            if (sums[k] < sums[best]) best = k;
        t->selectors[t->n_selectors++] = (uint8_t)best;
        for (int32_t i = start; i < end; i++) counts[best][f->symbols[i]]++;
    }
    for (int k = 0; k < t->n; k++) make_lengths(counts[k], f->n_symbols, t->lengths[k]);
}

static void make_tables(Tables *t, const Fronts *f) {
    t->n = count_tables(f->n);
    deal_symbols(t, f);
    for (int i = 0; i < ROUNDS; i++) choose_tables(t, f);
}

/* ---- what is written --------------------------------------------------------------------------------------------- */

static void put_used(Bits *b, const uint8_t *is_used) {
    uint32_t rows[BYTES / 16] = {0}, used = 0;
    for (int i = 0; i < BYTES; i++) rows[i / 16] = rows[i / 16] << 1 | is_used[i];
    for (int i = 0; i < BYTES / 16; i++) used = used << 1 | (rows[i] != 0);
    put(b, used, 16);
    for (int i = 0; i < BYTES / 16; i++)
        if (rows[i]) put(b, rows[i], 16);
}

static void put_selectors(Bits *b, const Tables *t) {
    uint8_t front[TABLES] = {0, 1, 2, 3, 4, 5};
    put(b, (uint32_t)t->n, 3);
    put(b, (uint32_t)t->n_selectors, 15); /* at most 900001 / GROUP, rounded up */
    for (int32_t i = 0; i < t->n_selectors; i++) {
        int place = 0;
        while (front[place] != t->selectors[i]) place++;
        memmove(front + 1, front, (size_t)place);
        front[0] = t->selectors[i];
        put(b, (1u << (place + 1)) - 2, place + 1);
    }
}

static void put_lengths(Bits *b, const uint8_t *lengths, int n) {
    int length = lengths[0];
    put(b, (uint32_t)length, 5);
    for (int i = 0; i < n; i++) {
        for (; length < lengths[i]; length++) put(b, 2, 2);
        for (; length > lengths[i]; length--) put(b, 3, 2);
        put(b, 0, 1);
    }
}

static void make_codes(const uint8_t *lengths, int n, uint32_t *codes) {
    for (uint32_t length = 1, code = 0; length <= MOST_LENGTH; length++, code <<= 1)
        for (int i = 0; i < n; i++)
            if (lengths[i] == length) codes[i] = code++;
}

static void put_symbols(Bits *b, const Tables *t, const Fronts *f) {
    uint32_t codes[TABLES][SYMBOLS] = {{0}};
    for (int k = 0; k < t->n; k++) make_codes(t->lengths[k], f->n_symbols, codes[k]);
    for (int32_t i = 0; i < f->n; i++) {
        int table = t->selectors[i / GROUP], symbol = f->symbols[i];
        put(b, codes[table][symbol], t->lengths[table][symbol]);
    }
}

#endif
