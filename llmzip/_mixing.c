/* See _mixing.h. Integers only; the sums over the whole vocabulary are in _kernels.h, where the instruction sets are. */
#include "_mixing.h"
#include "_learning.h"
#include <string.h>

enum { MODEL_INPUT = 0, MATCH_INPUT = CONTEXTS + 1 };
enum { MATCH_MINIMUM = 8, LONGEST = 511, COUNT_LIMIT = 200, ADAPT_LIMIT = 400, REFINE_LIMIT = 200 };
enum { SLOT_TOP = 1 << 28, RATE_BITS = 16 };
static const int CONTEXT_LENGTHS[LENGTHS] = {1, 2, 3, 4, 6};

static inline int depth_class(int depth) { return depth < 3 ? depth : depth < 5 ? 3 : depth < 8 ? 4 : 5; }

static inline int count_class(int n) { return n < 3 ? n : n < 5 ? 3 : n < 8 ? 4 : n < 16 ? 5 : 6; }

static inline int length_class(int n) {
    return n < 16 ? n : n < 32 ? 16 + (n - 16) / 4 : n < 64 ? 20 + (n - 32) / 8 : n < 512 ? 24 + (n - 64) / 64 : 31;
}

/* 256 log2 x, x >= 1 */
static inline int32_t log2_of(const Mixing *m, uint64_t x) {
    int exponent = 63 - __builtin_clzll(x);
    uint64_t mantissa = exponent >= 10 ? x >> (exponent - 10) : x << (10 - exponent);
    return exponent * 256 + m->log2[mantissa - 1024];
}

static inline int32_t token_at(const Mixing *m, int64_t lane, int64_t step) { return step >= 0 ? m->ids[lane * m->steps + step] : 0x7fffffff; }

/* ---- the experts: what follows the last tokens ---------------------------------------------------------------------------- */

static void find_context(const Mixing *m, Row *row, int c, uint32_t context) {
    row->checks[c] = context | 1;
    row->found[c] = m->grams + ((int64_t)c << m->table_bits) + (context >> (32 - m->table_bits));
    row->alive[c] = row->found[c]->check == row->checks[c] ? (1 << SUCCESSORS) - 1 : 0;
}

static void find_contexts(const Mixing *m, int64_t lane, Row *row) {
    uint32_t h = 0;
    int length = 0;
    row->before = token_at(m, lane, m->step - 1);
    for (int c = 0; c < LENGTHS; c++) {
        for (; length < CONTEXT_LENGTHS[c]; length++) h = hash(h, (uint32_t)token_at(m, lane, m->step - 1 - length));
        find_context(m, row, c, hash(h, (uint32_t)length));
    }
    find_context(m, row, LENGTHS, hash(hash(0x777, (uint32_t)m->columns[lane]), (uint32_t)row->before));
    int32_t *match = m->matches + lane * 2;
    int known = match[1] && match[0] % m->steps < m->step; /* lanes advance together: what they code now is not known yet */
    row->proposed = known ? m->ids[match[0]] : -1;
    row->match_class = known ? length_class(match[1]) : 0;
}

static void learn_successor(Successors *s, uint32_t check, uint32_t token) {
    if (s->check != check) {
        memset(s, 0, sizeof *s);
        s->check = check;
    }
    int at = 0;
    while (at < SUCCESSORS - 1 && (s->entries[at] & 255) && s->entries[at] >> 8 != token) at++;
    uint32_t count = s->entries[at] >> 8 == token ? s->entries[at] & 255 : 0;
    count += count < COUNT_LIMIT;
    for (int i = 0; i < SUCCESSORS; i++) {
        uint32_t other = s->entries[i] & 255;
        if (i != at && other > 2) s->entries[i] -= (other + 7) / 8; /* what was seen long ago counts less */
    }
    memmove(s->entries + 1, s->entries, (size_t)at * sizeof *s->entries);
    s->entries[0] = token << 8 | count;
}

static uint32_t match_hash(const Mixing *m, int64_t lane, int64_t end) {
    uint32_t h = 0;
    for (int i = 1; i <= MATCH_MINIMUM; i++) h = hash(h, (uint32_t)m->ids[lane * m->steps + end - i]);
    return h >> (32 - m->table_bits);
}

/* After the token of this step: the match of the lane goes on, or another one is looked for. */
static void follow_match(const Mixing *m, int64_t lane, uint32_t token) {
    int32_t *match = m->matches + lane * 2;
    int64_t end = m->step + 1, here = lane * m->steps + end;
    if (match[1] && match[0] % m->steps < m->step && (uint32_t)m->ids[match[0]] == token) {
        match[0]++;
        match[1] += match[1] < LONGEST;
        if (match[0] % m->steps == 0) match[1] = 0; /* the end of that lane */
    } else {
        match[1] = 0;
    }
    if (end < MATCH_MINIMUM) return;
    int32_t *latest = m->latest + match_hash(m, lane, end);
    int64_t then = (int64_t)*latest - 1;
    if (!match[1] && then >= 0 && then % m->steps) {
        int64_t length = 0, most = then % m->steps;
        most = most < end ? most : end;
        most = most < LONGEST ? most : LONGEST;
        while (length < most && m->ids[then - 1 - length] == m->ids[here - 1 - length]) length++;
        if (length >= MATCH_MINIMUM) match[0] = (int32_t)then, match[1] = (int32_t)length;
    }
    if (end < m->steps) *latest = (int32_t)here + 1;
}

/* ---- one decision --------------------------------------------------------------------------------------------------------- */

/* Counts of the successors that go to one and to zero, as the index of a cell; -1 where there are none. */
static inline int32_t count_cell(const Row *row, int c, int shift, int depth) {
    int ones = 0, zeros = 0, latest = -1;
    const uint32_t *entries = row->found[c]->entries;
    for (uint32_t left = row->alive[c]; left; left &= left - 1) {
        uint32_t entry = entries[__builtin_ctz(left)];
        if (!(entry & 255)) break; /* the rest is empty, too */
        int bit = entry >> (8 + shift) & 1;
        if (bit) ones += entry & 255;
        else zeros += entry & 255;
        if (latest < 0) latest = bit;
    }
    if (latest < 0) return -1;
    return ((((c * DEPTH_CLASSES + depth_class(depth)) * 7 + count_class(ones)) * 7 + count_class(zeros)) << 1) + latest;
}

#define MATCH_CELLS (CONTEXTS * DEPTH_CLASSES * 7 * 7 * 2)

static inline int32_t stretch_cell(const Mixing *m, int32_t cell) { return m->stretch[m->cells[cell] >> 20]; }

static void gather(const Mixing *m, const Row *row, int depth, int32_t model, Node *node) {
    int shift = m->depth - 1 - depth, highest = 0, class = depth_class(depth);
    node->inputs[MODEL_INPUT] = model;
    node->cells[MODEL_INPUT] = -1;
    for (int c = 0; c < CONTEXTS; c++) {
        int32_t cell = row->alive[c] ? count_cell(row, c, shift, depth) : -1;
        node->cells[c + 1] = cell;
        node->inputs[c + 1] = cell < 0 ? 0 : stretch_cell(m, cell);
        if (cell >= 0 && c < LENGTHS) highest = c + 1;
    }
    int32_t matched = 0, cell = -1;
    node->flipped = 0;
    if (row->proposed >= 0) {
        cell = MATCH_CELLS + class * 32 + row->match_class;
        node->flipped = !(row->proposed >> shift & 1);
        matched = node->flipped ? -stretch_cell(m, cell) : stretch_cell(m, cell);
    }
    node->inputs[MATCH_INPUT] = matched;
    node->cells[MATCH_INPUT] = cell;
    int32_t sure = model < 0 ? -model : model, l = row->match_class;
    int length = row->proposed < 0 ? 0 : l < 4 ? 1 : l < 8 ? 2 : l < 16 ? 3 : l < 20 ? 4 : 5;
    node->sets[0] = highest * DEPTH_CLASSES + class;
    node->sets[1] = (length * 4 + (sure < 256 ? 0 : sure < 768 ? 1 : sure < 2048 ? 2 : 3)) * DEPTH_CLASSES + class;
    node->sets[2] = (int32_t)(hash((uint32_t)row->before, 0) >> (32 - SET_C_BITS));
    node->slot = (int32_t)(hash(hash(77, (uint32_t)row->before), (uint32_t)row->path) >> (32 - SLOT_BITS));
}

/* The mean of the mixers, in the stretched domain; then, by three sixteenths, what such decisions came to. */
static int32_t mix(const Mixing *m, Node *node) {
    const int32_t *weights[MIXERS] = {m->weights_a, m->weights_b, m->weights_c};
    int64_t bias = m->slots[node->slot], sum = 0;
    for (int i = 0; i < MIXERS; i++) {
        int32_t s = clip((dot(weights[i] + node->sets[i] * INPUTS, node->inputs, INPUTS) + bias) >> 16, TOP);
        node->p_of[i] = m->squash[s + TOP];
        sum += s;
    }
    int32_t s = clip(sum * 21845 >> 16, TOP); /* 21845 / 65536: a third */
    int64_t refined = refine(m->refining, (node->slot & ((1 << REFINING_BITS) - 1)) * BUCKETS, s, &node->refined);
    return limit(((int64_t)m->squash[s + TOP] * 13 + refined * 4 * 3) >> 4);
}

static void learn_node(const Mixing *m, const Node *node) {
    int32_t one = node->bit ? 1 << 24 : 0;
    int32_t *weights[MIXERS] = {m->weights_a, m->weights_b, m->weights_c};
    for (int i = 0; i < MIXERS; i++) learn_weights(weights[i] + node->sets[i] * INPUTS, node->inputs, INPUTS, one - node->p_of[i], RATE_BITS);
    m->slots[node->slot] = clip((int64_t)m->slots[node->slot] + (((int64_t)(one - node->p) * 40) >> 8), SLOT_TOP);
    for (int i = 1; i < INPUTS; i++)
        if (node->cells[i] >= 0) learn_cell(m->reciprocal, m->cells + node->cells[i], node->bit ^ (i == MATCH_INPUT && node->flipped), ADAPT_LIMIT);
    learn_cell(m->reciprocal, m->refining + node->refined, node->bit, REFINE_LIMIT);
}

EXPORT int64_t llmzip_mix_row_bytes(void) { return sizeof(Row); }

EXPORT int64_t llmzip_mix_node_bytes(void) { return sizeof(Node); }

/* ---- a step: every row has one symbol, `depth` decisions ------------------------------------------------------------------- */

/* The weights below the path that go to zero. */
static int64_t sum_of_zeros(const Mixing *m, int64_t r, int depth, int32_t path) {
    int group_bits = m->depth - 8;
    int64_t sum = 0;
    if (depth < group_bits) {
        int64_t half = m->n_groups >> (depth + 1);
        const int64_t *from = m->sums + r * m->n_groups + (int64_t)(path - (1 << depth)) * 2 * half;
        for (int64_t i = 0; i < half; i++) sum += from[i];
    } else {
        int64_t half = 128 >> (depth - group_bits), at = (int64_t)(path - (1 << depth)) * 2 * half;
        const int32_t *from = m->weights + r * m->n_groups * 256 + at;
        for (int64_t i = 0; i < half; i++) sum += from[i];
    }
    return sum;
}

void llmzip_mix_contexts(Mixing *m) {
    for (int64_t r = 0; r < m->n_rows; r++) {
        Row *row = m->rows + r;
        if (!m->plain) find_contexts(m, r, row);
        row->path = 1;
        row->sum = 0;
        for (int64_t g = 0; g < m->n_groups; g++) row->sum += m->sums[r * m->n_groups + g];
        row->inverse = ((int64_t)RATE << 24) / row->sum;
    }
}

/* Tables of the coder for the decision at `depth` of every row: (rows, 2), of 2^24, each less the one that the coder adds. */
EXPORT void llmzip_mix_predict(Mixing *m, int depth, double *out) {
    for (int64_t r = 0; r < m->n_rows; r++) {
        Row *row = m->rows + r;
        Node *node = m->nodes + r * m->depth + depth;
        node->zeros = sum_of_zeros(m, r, depth, row->path);
        /* A quarter of the smallest weight stands for none. Sums are below 2^38. */
        int32_t model = clip(log2_of(m, (uint64_t)(row->sum - node->zeros) * 4 + 1) - log2_of(m, (uint64_t)node->zeros * 4 + 1), TOP);
        if (m->plain) {
            node->p = m->squash[model + TOP];
        } else {
            gather(m, row, depth, model, node);
            node->p = mix(m, node);
        }
        out[r * 2] = (double)((1 << 24) - node->p - 1);
        out[r * 2 + 1] = (double)(node->p - 1);
    }
}

EXPORT void llmzip_mix_accept(Mixing *m, int depth, const int32_t *bits) {
    int shift = m->depth - 1 - depth;
    for (int64_t r = 0; r < m->n_rows; r++) {
        Row *row = m->rows + r;
        Node *node = m->nodes + r * m->depth + depth;
        int32_t bit = node->bit = bits[r];
        row->path = row->path * 2 + bit;
        row->sum = bit ? row->sum - node->zeros : node->zeros;
        if (m->plain) continue;
        for (int c = 0; c < CONTEXTS; c++)
            for (uint32_t left = row->alive[c]; left; left &= left - 1) {
                int at = __builtin_ctz(left);
                if ((int32_t)(row->found[c]->entries[at] >> (8 + shift) & 1) != bit) row->alive[c] &= ~(1u << at);
            }
        if (row->proposed >= 0 && (row->proposed >> shift & 1) != bit) row->proposed = -1;
    }
}

/* All decisions of a step whose symbols are known: tables (depth, rows, 2) and bits (depth, rows). */
EXPORT void llmzip_mix_known(Mixing *m, const int32_t *symbols, double *tables, int32_t *bits) {
    for (int d = 0; d < m->depth; d++) {
        llmzip_mix_predict(m, d, tables + d * m->n_rows * 2);
        for (int64_t r = 0; r < m->n_rows; r++) bits[d * m->n_rows + r] = symbols[r] >> (m->depth - 1 - d) & 1;
        llmzip_mix_accept(m, d, bits + d * m->n_rows);
    }
}

/* Whether the paths lead to symbols that exist; they are written into ids. */
int llmzip_mix_symbols(Mixing *m) {
    int sound = 1;
    for (int64_t r = 0; r < m->n_rows; r++) {
        int32_t symbol = m->ids[r * m->steps + m->step] = m->rows[r].path - (1 << m->depth);
        sound &= symbol < m->n_symbols;
    }
    return sound;
}

/* What there is to learn from a step, row by row. */
void llmzip_mix_learn(Mixing *m) {
    for (int64_t r = 0; r < m->n_rows; r++) {
        Row *row = m->rows + r;
        uint32_t token = (uint32_t)m->ids[r * m->steps + m->step];
        for (int d = 0; d < m->depth; d++) learn_node(m, m->nodes + r * m->depth + d);
        for (int c = 0; c < CONTEXTS; c++) learn_successor(row->found[c], row->checks[c], token);
        follow_match(m, r, token);
        m->columns[r] = m->line_ends[token] ? 0 : m->columns[r] + 1;
        m->bias[token] = clip((int64_t)m->bias[token] + RATE, BIAS_TOP);
    }
}
