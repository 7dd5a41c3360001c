/* See _cm.h. Integers only. */
#include "_cm.h"
#include "_learning.h"
#include <string.h>

enum { MATCH_INPUT = 2 * CM_CONTEXTS, CONSTANT_INPUT };
enum { MATCH_MINIMUM = 7, LONGEST = 511, HISTORY_LIMIT = 255, SLOT_LIMIT = 60, MATCH_LIMIT = 400, REFINE_LIMIT = 255 };
enum { RATE_BITS = 15 };

typedef struct { /* one byte */
    uint32_t contexts[CM_CONTEXTS];
    uint32_t *lines[CM_CONTEXTS];
    int32_t proposed; /* by the match, or -1 */
    int32_t match_class;
    uint32_t before;  /* the byte before */
} Byte;

typedef struct { /* one decision */
    int32_t inputs[CM_INPUTS];
    int32_t sets[CM_MIXERS], p_of[CM_MIXERS];
    int32_t p, refined;
} Node;

static inline int length_class(int64_t n) {
    return (int)(n < 16 ? n : n < 32 ? 16 + (n - 16) / 4 : 20 + (n - 32) / 32);
}

static inline int is_word(uint8_t c) { return ((c | 32) >= 'a' && (c | 32) <= 'z') || (c >= '0' && c <= '9') || c >= 128; }

/* ---- what is known before a byte --------------------------------------------------------------------------------------------- */

static void find_contexts(const Cm *m, Byte *byte) {
    const uint8_t *now = m->data + m->at;
    uint32_t c1 = now[-1], c2 = now[-2], c3 = now[-3], c4 = now[-4], *context = byte->contexts;
    byte->before = c1;
    context[0] = 0;
    context[1] = c1;
    context[2] = c1 | c2 << 8;
    context[3] = c1 | c2 << 8 | c3 << 16;
    context[4] = c1 | c2 << 8 | c3 << 16 | c4 << 24;
    context[5] = hash(hash(context[4], now[-5]), now[-6]);
    context[6] = c2 | c3 << 8;
    if (m->stride) {
        uint32_t above = now[-m->stride], above2 = now[-2 * m->stride], left = now[-m->stride - 1], right = now[1 - m->stride];
        uint32_t column = hash(0, (uint32_t)(m->at % m->stride));
        if (m->stride == 1) right = 0; /* that is the byte to be coded */
        context[7] = c1 | above << 8 | left << 16;
        context[8] = hash(column, above | above2 << 8);
        context[9] = hash(column, c1 | above << 8);
        context[10] = hash(column, c1 | above << 8 | right << 16);
        context[11] = column;
    } else {
        int64_t column = m->at - m->line;
        uint32_t above = m->line_before + column < m->line ? m->data[m->line_before + column] : 0;
        context[7] = hash(hash(m->word, m->word_before), c1);
        context[8] = m->word ? m->word : c1;
        context[9] = c1 | above << 8;
        context[10] = above | (uint32_t)(column < 255 ? column : 255) << 8;
        context[11] = c2 | c3 << 8 | c4 << 16;
    }
    byte->proposed = m->match_length ? m->data[m->match_at] : -1;
    byte->match_class = length_class(m->match_length);
}

/* The slots of the next four decisions; those of another context that hashed to the same place are forgotten. */
static void find_lines(const Cm *m, Byte *byte, uint32_t path) {
    for (int c = 0; c < CM_CONTEXTS; c++) {
        uint32_t h = hash(hash(byte->contexts[c], (uint32_t)c), path), check = h | 1;
        uint32_t *line = byte->lines[c] = m->lines + (((int64_t)c << m->table_bits) + (h >> (32 - m->table_bits))) * 16;
        if (line[0] != check) {
            memset(line, 0, 16 * sizeof *line);
            line[0] = check;
        }
    }
}

/* ---- one decision ------------------------------------------------------------------------------------------------------------ */

/* A slot: probability of a one << 16 | observations << 10 | history. History: zeros << 6 | ones << 2 | the last two bits. */
static inline void learn_slot(const Cm *m, uint32_t *slot, int bit) {
    int32_t n = *slot >> 10 & 63, p = n ? (int32_t)(*slot >> 16) : 1 << 15, count[2] = {*slot >> 6 & 15, *slot >> 2 & 15};
    p += (((bit ? 65535 : 0) - p) * m->reciprocal[n]) >> 16; /* at first 2^15 * 43690, then below 2^16 * 26214: below 2^31 */
    count[bit] += count[bit] < 15;
    if (count[!bit] > 2) count[!bit] = (count[!bit] + (count[!bit] <= 5)) / 2 + 1; /* what was before counts less */
    *slot = (uint32_t)p << 16 | (uint32_t)(n + (n < SLOT_LIMIT)) << 10 | (uint32_t)count[0] << 6 | (uint32_t)count[1] << 2 | ((*slot & 1) << 1 | bit);
}

static inline uint32_t *match_cell(const Cm *m, const Byte *byte) { return m->match_cells + byte->match_class; }

static void gather(const Cm *m, const Byte *byte, int depth, uint32_t path, int within, Node *node) {
    int known = 0, match = 0;
    for (int c = 0; c < CM_CONTEXTS; c++) {
        uint32_t slot = byte->lines[c][within];
        int seen = (slot >> 10 & 63) > 0;
        node->inputs[2 * c] = seen ? m->stretch[m->histories[c * 1024 + (slot & 1023)] >> 20] : 0;
        node->inputs[2 * c + 1] = seen ? m->stretch[slot >> 20] : 0;
        known += seen && c >= 1 && c <= 5;
    }
    node->inputs[MATCH_INPUT] = 0;
    if (byte->proposed >= 0) {
        int32_t s = m->stretch[*match_cell(m, byte) >> 20], l = byte->match_class;
        node->inputs[MATCH_INPUT] = byte->proposed >> (7 - depth) & 1 ? s : -s;
        match = l < 8 ? 1 : l < 16 ? 2 : l < 24 ? 3 : 4;
    }
    node->inputs[CONSTANT_INPUT] = 256;
    node->sets[0] = (known * 5 + match) * 2 + (depth >= 4);
    node->sets[1] = (int32_t)path;
    node->sets[2] = (int32_t)byte->before * 8 + depth;
}

/* The mean of the mixers, in the stretched domain; then, by a quarter, what such decisions came to. */
static void mix(const Cm *m, uint32_t before, uint32_t path, Node *node) {
    const int32_t *weights[CM_MIXERS] = {m->weights_a, m->weights_b, m->weights_c};
    int64_t sum = 0;
    for (int i = 0; i < CM_MIXERS; i++) {
        int32_t s = clip(dot(weights[i] + node->sets[i] * CM_INPUTS, node->inputs, CM_INPUTS) >> 16, TOP);
        node->p_of[i] = m->squash[s + TOP];
        sum += s;
    }
    int32_t s = clip(sum * 21845 >> 16, TOP); /* 21845 / 65536: a third */
    int64_t refined = refine(m->refining, (int32_t)(before << 8 | path) * BUCKETS, s, &node->refined);
    node->p = limit(((int64_t)m->squash[s + TOP] * 3 + refined * 4) >> 2);
}

static void learn_decision(const Cm *m, Byte *byte, int depth, int within, const Node *node, int bit) {
    int32_t *weights[CM_MIXERS] = {m->weights_a, m->weights_b, m->weights_c};
    for (int i = 0; i < CM_MIXERS; i++)
        learn_weights(weights[i] + node->sets[i] * CM_INPUTS, node->inputs, CM_INPUTS, (bit << TOTAL_BITS) - node->p_of[i], RATE_BITS);
    for (int c = 0; c < CM_CONTEXTS; c++) {
        uint32_t *slot = byte->lines[c] + within;
        learn_cell(m->reciprocal, m->histories + c * 1024 + (*slot & 1023), bit, HISTORY_LIMIT);
        learn_slot(m, slot, bit);
    }
    learn_cell(m->reciprocal, m->refining + node->refined, bit, REFINE_LIMIT);
    if (byte->proposed >= 0) {
        int right = (byte->proposed >> (7 - depth) & 1) == bit;
        learn_cell(m->reciprocal, match_cell(m, byte), right, MATCH_LIMIT);
        if (!right) byte->proposed = -1;
    }
}

enum { INVALID = -1, TOO_EARLY = -2 };

/* constriction's RangeDecoder, for one bit whose ones have the upper p of 2^24; INVALID where no encoder leads, TOO_EARLY where it wants
 * more words than an encoder leaves (rangecoder.py: Decoder). */
static int read_bit(Cm *m, int32_t p) {
    uint64_t scale = m->range >> TOTAL_BITS, zeros = (1u << TOTAL_BITS) - (uint32_t)p, quantile = (m->point - m->lower) / scale;
    if (quantile >> TOTAL_BITS) return INVALID;
    int bit = quantile >= zeros;
    m->lower += bit ? scale * zeros : 0;
    m->range = scale * (bit ? (uint64_t)p : zeros);
    if (m->range >> 32 == 0) {
        if (m->next_word == m->n_words) return TOO_EARLY;
        m->lower <<= 32;
        m->range <<= 32;
        m->point = m->point << 32 | m->words[m->next_word++];
    }
    return bit;
}

/* ---- after a byte ------------------------------------------------------------------------------------------------------------ */

static void follow_match(Cm *m) { /* m->at is the next byte's */
    const uint8_t *data = m->data;
    if (m->match_length && data[m->match_at] == data[m->at - 1]) {
        m->match_at++;
        m->match_length += m->match_length < LONGEST;
    } else {
        m->match_length = 0;
    }
    if (m->at < MATCH_MINIMUM) return;
    uint32_t h = 0;
    for (int i = 1; i <= MATCH_MINIMUM; i++) h = hash(h, data[m->at - i]);
    int32_t *latest = m->latest + (h >> (32 - CM_LATEST_BITS));
    if (!m->match_length && *latest) {
        int64_t then = *latest, length = 0;
        while (length < LONGEST && length < then && data[then - 1 - length] == data[m->at - 1 - length]) length++;
        if (length >= MATCH_MINIMUM) m->match_at = then, m->match_length = length;
    }
    *latest = (int32_t)m->at;
}

static void follow_text(Cm *m) {
    uint8_t c = m->data[m->at - 1];
    if (is_word(c)) {
        m->word = hash(m->word, c | 32);
    } else if (m->word) {
        m->word_before = m->word;
        m->word = 0;
    }
    if (c == '\n') {
        m->line_before = m->line;
        m->line = m->at;
    }
}

/* ---- the loop of both directions --------------------------------------------------------------------------------------------- */

/* Code the next n bytes: read them, or, without words, give the tables (n * 8, 2) of 2^24, each less the one that the coder adds, and
 * the bits (n * 8) of those that are there. 1, or INVALID or TOO_EARLY where the words are not what an encoder writes. */
EXPORT int llmzip_cm_code(Cm *m, int64_t n, double *tables, int32_t *bits) {
    for (int64_t end = m->at + n; m->at < end;) {
        Byte byte;
        uint32_t path = 1;
        find_contexts(m, &byte);
        for (int depth = 0; depth < 8; depth++) {
            if (depth % 4 == 0) find_lines(m, &byte, path);
            int within = (int)(depth < 4 ? path : (path & ((1u << (depth - 4)) - 1)) | 1u << (depth - 4));
            Node node;
            gather(m, &byte, depth, path, within, &node);
            mix(m, byte.before, path, &node);
            int bit = m->words ? read_bit(m, node.p) : m->data[m->at] >> (7 - depth) & 1;
            if (bit < 0) return bit;
            if (!m->words) {
                *tables++ = (double)((1 << TOTAL_BITS) - node.p - 1);
                *tables++ = (double)(node.p - 1);
                *bits++ = bit;
            }
            learn_decision(m, &byte, depth, within, &node, bit);
            path = path * 2 + (uint32_t)bit;
        }
        m->data[m->at++] = (uint8_t)path;
        follow_match(m);
        follow_text(m);
    }
    return 1;
}
