/* The predictor of bits and its loop, the same for both directions. See predictor.h; predictor/reference.py is its
   twin. */
#include "../../_export.h"
#include "contexts.h"
#include "recording.h"
#include "spelling.h"
#include <stddef.h>
#include <string.h>

typedef struct { /* one decision */
    int32_t inputs[INPUTS] __attribute__((aligned(64)));
    int32_t said[SAID_ROOM] __attribute__((aligned(64))); /* stretches of the weight sets, a constant, zeros */
    int32_t *weights[SETS], *seconds[SECONDS], of_set[SETS], of_second[SECONDS];
    uint32_t slots[CONTEXT_ROOM] __attribute__((aligned(64))), cells[CONTEXT_ROOM]; /* before it */
    int32_t slot_rates[CONTEXT_ROOM], cell_rates[CONTEXT_ROOM];                     /* reciprocals of their counts */
    int32_t runs[CONTEXT_ROOM], run_rates[CONTEXT_ROOM]; /* 1, -1 or 0: what the byte that came last says */
    int32_t last[CONTEXT_ROOM];                          /* that byte and 256, or 0 */
    uint32_t *const *lines, *histories, *match_cells[MATCHES], *model_cell;
    int64_t refined[APMS], model_refined[MODEL_APMS]; /* cells; before refining, rows */
    int32_t n_contexts, n_wide, n_inputs, within, known, match[MATCHES], proposed[MATCHES], certainty;
} Decision;

/* Where in its byte: bits before the first of them are `path`, with a one above; END: the token ends here. */
typedef struct {
    int32_t bit, model;
    uint32_t path;
} Place;

static const int32_t SET_ROWS[SETS] = {
    8 * 5 * 3, 256, 256 * 9, 512 * 3, 512, 16 * 16 * 4, 64 * 9, 2048, 512, 257 * 2, 256, 512};

/* ---- where what is known lies ------------------------------------------------------------------------------------ */

static inline int n_contexts(const Predictor *p) {
    return p->stride ? RECORD_CONTEXTS : p->with_model ? USED_WITH_MODEL : TEXT_CONTEXTS;
}

/* The number of the i-th context in use. */
static inline int context_of(const Predictor *p, int i) { return p->with_model ? WITH_MODEL[i] : i; }

static inline uint64_t spread(uint32_t h, uint32_t path) {
    uint64_t z = ((uint64_t)h << 8 | path) * 0x9E3779B97F4A7C15u;
    return (z ^ z >> 29) * 0xD6E8FEB86659FD93u;
}

/* Lines of the contexts of one nibble; fresh: in place of those that do not exist, zeros as long as nothing is learnt. */
typedef struct {
    uint32_t *lines[CONTEXTS];
    Line fresh[CONTEXTS] __attribute__((aligned(64)));
} Nibble;

static inline int is_new(const Nibble *nibble, int i) { return nibble->lines[i][0] == 0; }

/* Where a context may wait that has come once, WAYS entries: check << 8 | the byte that came. */
static inline uint32_t *entries_of(const Predictor *p, uint64_t z) {
    return p->once + (z >> (64 - p->line_bits + 2)) * WAYS;
}

/* So many bits of a hash, never 0. */
static inline uint32_t check_of(uint64_t z, int bits) {
    uint32_t check = z >> 8 & ((1u << bits) - 1);
    return check + !check;
}

/* Tell the processor which lines the next four bits take, while there is still something to do: they are rarely in
   its caches. What is new in the first nibble is so in the second. */
static void aim_lines(const Predictor *p, Lane *lane, const Nibble *first, uint32_t path) {
    int n = n_contexts(p), shift = 64 - p->line_bits;
    for (int i = 0; i < n; i++) {
        if (first && is_new(first, i)) continue;
        uint64_t z = lane->places[i] = spread(lane->contexts[i], path);
        __builtin_prefetch(p->lines + (z >> shift));
        __builtin_prefetch(p->lines + (z >> shift ^ 1));
        __builtin_prefetch(entries_of(p, z));
    }
}

static void keep_once(const Predictor *p, uint64_t z, uint32_t c) {
    entries_of(p, z)[p->n_coded % WAYS] = check_of(z, 24) << 8 | c;
}

/* The byte that came in a context that has come once, and is given up there; or -1. */
static int32_t take_once(const Predictor *p, uint64_t z) {
    uint32_t *entries = entries_of(p, z), check = check_of(z, 24);
    int place = -1;
    for (int k = 0; k < WAYS; k++) place = entries[k] >> 8 == check ? k : place;
    if (place < 0) return -1;
    uint32_t c = entries[place] & 255;
    entries[place] = 0;
    return (int32_t)c;
}

/* The line of this place, or NULL. */
static inline uint32_t *line_at(const Predictor *p, uint64_t z, uint32_t check) {
    uint64_t at = z >> (64 - p->line_bits);
    uint32_t *line = p->lines[at].words, *other = p->lines[at ^ 1].words;
    return line[0] >> 16 == check ? line : other[0] >> 16 == check ? other : NULL;
}

/* A line that has learnt what byte c, whose nibble this is, has taught: in place of the one of two that has been visited
   less. The other may count a visit less, so that what has long been of no use is given up, too. */
static uint32_t *new_line(const Predictor *p, uint64_t z, uint32_t check, uint32_t c, uint32_t nibble) {
    uint64_t at = z >> (64 - p->line_bits);
    uint32_t *line = p->lines[at].words, *other = p->lines[at ^ 1].words, within = 1;
    if ((other[0] & 255) < (line[0] & 255)) {
        uint32_t *kept = line;
        line = other, other = kept;
    }
    other[0] -= z % 8 == 0 && (other[0] & 255);
    memset(line, 0, sizeof(Line));
    line[0] = check << 16 | c << 8 | 1;
    for (int i = 3; i >= 0; i--) {
        int bit = nibble >> i & 1;
        line[within] = learnt_slot(0, p->reciprocal[0], bit);
        within = within << 1 | (uint32_t)bit;
    }
    return line;
}

/* The byte that has come in a context that has no line, if it has come at all and is known; or -1. In the second nibble
   it is the one that came last, if it began with the same nibble. One that did not waits for its time. */
static int32_t came_before(const Predictor *p, const Lane *lane, const Nibble *first, int i, uint32_t path) {
    if (first) {
        uint32_t head = first->lines[i][0], last = head >> 8 & 255;
        if ((last >> 4 | 16) == path) return (int32_t)last;
        if ((head & 255) == 2) keep_once(p, spread(lane->contexts[i], last >> 4 | 16), last);
    }
    return take_once(p, lane->places[i]);
}

/* The lines aimed at, or new ones for what has come once. */
static void find_lines(const Predictor *p, const Lane *lane, Nibble *nibble, const Nibble *first, uint32_t path) {
    for (int i = 0, n = n_contexts(p); i < n; i++) {
        uint64_t z = lane->places[i];
        uint32_t check = check_of(z, 16), *line = NULL;
        if (!first || !is_new(first, i)) {
            line = line_at(p, z, check);
            int32_t c = line ? -1 : came_before(p, lane, first, i, path);
            if (c >= 0) line = new_line(p, z, check, (uint32_t)c, (uint32_t)(first ? c & 15 : c >> 4));
        }
        if (line) line[0] += (line[0] & 255) < 255;
        else memset(line = nibble->fresh[i].words, 0, sizeof(Line));
        nibble->lines[i] = line;
    }
}

/* The bytes that came last in these lines, of first nibbles. */
static void find_last(const Predictor *p, const Nibble *first, int32_t *last) {
    for (int i = 0, n = n_contexts(p); i < n; i++) {
        uint32_t head = first->lines[i][0];
        last[i] = (head & 255) > 1 ? (int32_t)(head >> 8 & 255) | 256 : 0;
    }
}

/* Byte c has come in all contexts, in some for the first time. */
static void put_last(const Predictor *p, const Lane *lane, const Nibble *nibbles, uint32_t c) {
    for (int i = 0, n = n_contexts(p); i < n; i++) {
        uint32_t *line = nibbles[0].lines[i], context = lane->contexts[i];
        if (is_new(nibbles, i)) {
            keep_once(p, spread(context, 1), c);
        } else {
            line[0] = (line[0] & 0xffff00ff) | c << 8;
            if (is_new(nibbles + 1, i)) keep_once(p, spread(context, c >> 4 | 16), c);
        }
    }
}

static inline uint32_t end_hash(const Lane *lane, int i) { return hash(lane->contexts[i], END) * 0x2545F491u; }

static void aim_ends(const Predictor *p, const Lane *lane) {
    for (int i = 0; i < USED_WITH_MODEL; i++) __builtin_prefetch(p->ends + (end_hash(lane, i) >> (32 - p->end_bits)));
}

static void find_ends(const Predictor *p, const Lane *lane, uint32_t **slots) {
    for (int i = 0; i < USED_WITH_MODEL; i++) {
        uint32_t h = end_hash(lane, i);
        End *end = p->ends + (h >> (32 - p->end_bits));
        if (end->check != (h | 1)) *end = (End){h | 1, 0};
        slots[i] = &end->slot;
    }
}

/* ---- inputs ------------------------------------------------------------------------------------------------------ */

/* The stretch of a cell, finely where it is nearly sure. */
static int32_t stretch_of(const Predictor *p, uint32_t cell) {
    uint32_t x = cell >> 10;
    if (x > 8192 && x < (1u << 22) - 8192) return p->stretch[x >> 8];
    return clip(log2_of(p->log2, 2 * (uint64_t)x + 1) - log2_of(p->log2, (8u << 20) - 1 - 2 * (uint64_t)x), TOP);
}

/* What histories have come to: in records by the bit, else by the last byte or for token ends. */
static uint32_t *histories(const Predictor *p, const Lane *l, const Place *place) {
    int of = p->stride ? place->bit : place->bit == END ? TOKEN_ENDS : kind_of(l->c1);
    return p->histories + ((int64_t)of * CONTEXTS << 10);
}

/* Pass by pass, so that the processor waits for many loads at once. */
static void gather_contexts(const Predictor *p, Decision *d) {
    const int16_t *stretch = p->stretch;
    int n = d->n_contexts, within = d->within;
    for (int i = 0; i < n; i++) d->slots[i] = d->lines[i][within];
    look_up(d->histories, p->reciprocal, d->slots, d->cells, d->slot_rates, d->cell_rates, d->n_wide);
    for (int i = 0; i < n; i++) {
        int32_t seen = -((d->slots[i] >> 10 & 63) > 0); /* all bits, or none */
        d->inputs[i] = stretch[d->cells[i] >> 18] & seen;
        d->inputs[n + i] = stretch[d->slots[i] >> 18] & seen;
    }
    d->known = 0;
    for (int i = 1; i <= 6; i++) d->known += (d->slots[i] >> 10 & 63) > 0;
}

/* What says the byte that came last in a context, while the bits so far are its own. */
static void gather_runs(const Predictor *p, const Place *place, Decision *d) {
    int n = d->n_contexts, bit = place->bit;
    int32_t *inputs = d->inputs + 2 * n;
    if (bit == END) {
        memset(inputs, 0, (size_t)n * sizeof *inputs);
        return;
    }
    const uint32_t *cells = p->run_cells + bit * CONTEXTS;
    for (int i = 0; i < n; i++) {
        int32_t same = -(d->last[i] >> (8 - bit) == (int32_t)place->path);
        d->runs[i] = ((d->last[i] >> (7 - bit) & 1) * 2 - 1) & same;
        d->run_rates[i] = p->reciprocal[cells[i] & 1023];
        inputs[i] = p->stretch[cells[i] >> 18] * d->runs[i];
    }
}

static void gather_matches(const Predictor *p, const Lane *lane, const Place *place, Decision *d) {
    int is_end = place->bit == END;
    for (int i = 0; i < MATCHES; i++) {
        const Match *m = &lane->matches[i];
        int32_t *inputs = d->inputs + match_inputs(d->n_contexts) + 2 * i;
        inputs[0] = inputs[1] = d->match[i] = 0;
        d->match_cells[i] = NULL;
        if (m->expected < 0) continue;
        int class = length_class(m->length);
        int one = d->proposed[i] = is_end ? (p->flags[m->at] & STARTS) != 0 : m->expected >> (7 - place->bit) & 1;
        d->match_cells[i] = p->match_cells + ((i * 64 + class) * 2 + (m->misses > 0)) * 2 + is_end;
        int32_t s = stretch_of(p, *d->match_cells[i]), long_ = (class < 32 ? class : 32) * 16;
        inputs[0] = one ? s : -s;
        inputs[1] = one ? long_ : -long_;
        d->match[i] = class < 8 ? 1 : class < 16 ? 2 : class < 24 ? 3 : 4;
    }
}

/* The number of a row of all APMs. */
static inline int64_t apm_row(int which, uint32_t row) {
    return (int64_t)which << APM_BITS | (row & ((1u << APM_BITS) - 1));
}

/* The first cell of a row, which is made when it is used first: it never is 0 then, as it counts for something. */
static inline int64_t apm_cells(const Predictor *p, int64_t at) {
    uint32_t *cells = p->apms + at * BUCKETS;
    if (!*cells) memcpy(cells, p->first_apms + (p->biases[at] + 128) * BUCKETS, BUCKETS * sizeof *cells);
    return at * BUCKETS;
}

/* Rows of APMs are rarely in the processor's caches, so nothing looks at them before they are needed, and which of their
   cells is needed is known only then. */
static void aim_apm(const Predictor *p, int64_t row) {
    for (int k = 0; k < BUCKETS; k += 16) __builtin_prefetch(p->apms + row * BUCKETS + k);
}

static void choose_model_apms(const Predictor *p, const Lane *lane, const Place *place, Decision *d) {
    uint32_t is_end = place->bit == END, known = is_end ? lane->token : hash(lane->token1, place->path);
    uint32_t rows[MODEL_APMS] = {lane->c1 * 9 + (uint32_t)place->bit, hash(known, lane->token + is_end) >> 8};
    for (int i = 0; i < MODEL_APMS; i++) aim_apm(p, d->model_refined[i] = apm_row(APMS + i, rows[i]));
}

static void choose_apms(const Predictor *p, const Lane *l, const Place *place, Decision *d) {
    uint32_t path = place->bit == END ? 256 : place->path, two = l->c1 | l->c2 << 8;
    uint32_t expected = (uint32_t)(l->matches[0].expected + 1) | (uint32_t)(d->match[0] > 2) << 9;
    uint32_t rows[APMS] = {
        hash(l->c1, path) >> 8,
        hash(hash(two, 0), path) >> 8,
        hash(hash(expected, 1), path) >> 8,
        hash(hash(l->word, (uint32_t)(l->in_token > 0)), path) >> 8,
        hash((uint32_t)l->skeleton, path) >> 8,
    };
    for (int i = 0; i < APMS; i++) aim_apm(p, d->refined[i] = apm_row(i, rows[i]));
}

static void gather_model(const Predictor *p, const Lane *lane, const Place *place, Decision *d) {
    int later = lane->in_token < 3 ? lane->in_token : 3, s = place->model;
    int32_t *inputs = d->inputs + model_inputs(d->n_contexts);
    d->model_cell = NULL;
    d->certainty = 0;
    memset(inputs, 0, SAID_BY_MODEL * sizeof *inputs);
    if (s == NO_MODEL) return;
    int size = s < 0 ? -s : s;
    d->certainty = size < 128 ? 1 : size < 384 ? 2 : size < 768 ? 3 : size < 1536 ? 4 : 5;
    d->model_cell = p->model_cells + ((clip(s, 2047) + 2048) >> 6) * 36 + place->bit * 4 + later;
    inputs[0] = s;
    inputs[1] = stretch_of(p, *d->model_cell);
    for (int i = 0; i < MODEL_APMS; i++) {
        int64_t base = apm_cells(p, d->model_refined[i]);
        inputs[2 + i] = p->stretch[refine(p->apms, base, s, &d->model_refined[i]) >> 8];
    }
}

/* ---- mixing ------------------------------------------------------------------------------------------------------ */

/* Their rows are on their way while the contexts are gathered, of which the first set needs how many are known. */
static void choose_weights(const Predictor *p, const Lane *l, const Place *place, Decision *d) {
    int is_end = place->bit == END, third = is_end ? 2 : place->bit >= 4, bit = place->bit;
    uint32_t two = hash(l->c1 | l->c2 << 8, 0);
    int32_t path = is_end ? 0 : (int32_t)place->path, later = l->in_token < 3 ? l->in_token : 3;
    int32_t field = l->field < 15 ? l->field : 15, at = l->place < 15 ? l->place : 15;
    uint32_t skeleton = hash((uint32_t)l->skeleton & 0xffffff, 0) >> 24;
    int32_t letters = l->word_length < 7 ? l->word_length : 7;
    int32_t rows[SETS] = {
        d->match[0] * 3 + third, /* and 15 for each that is known, found later */
        path,
        (int32_t)l->c1 * 9 + bit,
        (int32_t)((class_of(l->c1) * 8 + class_of(l->c2)) * 8 + class_of(l->c3)) * 3 + third,
        (int32_t)(p->stride || l->c1 >= 128 ? l->c2 : skeleton) * 2 + is_end,
        p->stride ? (int32_t)l->above * 4 + third : ((field * 16 + at) * 2 + is_digit(l->c1)) * 2 + is_end,
        (letters * 8 + (int32_t)class_of(l->above)) * 9 + bit,
        (int32_t)(two >> 22) * 2 + is_end,
        (int32_t)(l->column < 255 ? l->column : 255) * 2 + is_end,
        (l->matches[0].expected + 1) * 2 + is_end,
        p->stride ? (int32_t)back(p, l, p->stride + 1) : (letters * 5 + d->match[0]) * 5 + d->match[3],
        (int32_t)(p->stride ? l->c3 : hash(hash(l->tag, l->key), (uint32_t)l->in_tag) >> 24) * 2 + is_end,
    };
    for (int i = 0, base = 0; i < SETS; base += SET_ROWS[i++]) {
        d->weights[i] = p->weights + (int64_t)(base + rows[i]) * INPUTS;
        for (int k = 0; k < d->n_inputs; k += 16) __builtin_prefetch(d->weights[i] + k);
    }
    int32_t second[SECONDS] = {
        is_end ? 32 + later : bit * 4 + (p->with_model ? later : (d->match[0] + 1) / 2),
        is_end ? 256 : path,
        p->with_model ? (d->match[0] * 6 + d->certainty) * 2 + is_end : d->match[0] * 8 + (int32_t)class_of(l->c1),
        is_end ? 256 : (int32_t)(p->stride ? l->c1 : skeleton),
    };
    for (int i = 0; i < SECONDS; i++) d->seconds[i] = p->seconds + (i * SECOND_ROWS + second[i]) * SAID_ROOM;
}

static int32_t mix(const Predictor *p, Decision *d) {
    int32_t sums[SETS];
    int64_t mean = 0;
    dots(d->weights, SETS, d->inputs, d->n_inputs, sums);
    for (int i = 0; i < SETS; i++) {
        d->said[i] = clip(sums[i] >> 8, TOP);
        d->of_set[i] = p->squash[d->said[i] + TOP];
    }
    d->said[SETS] = CONSTANT;
    for (int i = SETS + 1; i < SAID_ROOM; i++) d->said[i] = 0;
    for (int k = 0; k < SECONDS; k++) {
        int64_t sum = 0;
        for (int i = 0; i <= SETS; i++) sum += (int64_t)d->seconds[k][i] * d->said[i];
        int32_t s = clip(sum >> 16, TOP);
        d->of_second[k] = p->squash[s + TOP];
        mean += s;
    }
    return clip(mean >> 2, TOP); /* of SECONDS */
}

/* The final probability: mostly what such stretches have come to, by five contexts. */
static int32_t refine_all(const Predictor *p, Decision *d, int32_t s) {
    int64_t sum = 0;
    for (int i = 0; i < APMS; i++) sum += refine(p->apms, apm_cells(p, d->refined[i]), s, &d->refined[i]);
    int share = p->with_model ? 2 : 3; /* of 4: what the APMs say */
    return limited((p->squash[s + TOP] * (int64_t)(4 - share) + sum * 4 / APMS * share) >> 2);
}

/* ---- learning ---------------------------------------------------------------------------------------------------- */

/* Two contexts may share a line: then the second learns from what the first has learnt. */
static __attribute__((noinline, cold)) void learn_again(const Predictor *p, uint32_t *slot, int bit) {
    *slot = learnt_slot(*slot, p->reciprocal[*slot >> 10 & 63], bit);
}

static void learn_contexts(const Predictor *p, const Decision *d, int bit) {
    uint32_t learnt[CONTEXT_ROOM] __attribute__((aligned(64)));
    int n = d->n_contexts, within = d->within;
    learn_cells(d->cells, d->cell_rates, learnt, d->n_wide, bit, HISTORY_LIMIT);
    for (int i = 0; i < n; i++) d->histories[i << 10 | (d->slots[i] & 1023)] = learnt[i];
    learn_slots(d->slots, d->slot_rates, learnt, d->n_wide, bit);
    for (int i = 0; i < n; i++) {
        uint32_t *slot = d->lines[i] + within;
        if (*slot == d->slots[i]) *slot = learnt[i];
        else learn_again(p, slot, bit);
    }
}

/* How fast weights learn, in 1/256 of the rate: faster at first, and for longer where nothing is known of them. At
   most 1024. */
static int64_t boost_of(const Predictor *p) {
    if (p->stride) return 64 + (int64_t)960 * RECORD_BOOST_BYTES / (RECORD_BOOST_BYTES + p->n_coded);
    return (p->with_model ? LASTING : PLAIN_LASTING) + (int64_t)BOOST * 256 * BOOST_BYTES / (BOOST_BYTES + p->n_coded);
}

/* Both layers. A weight set learns little of its own error, and most from what the second layer makes of it: the
   errors of its rows by the weight that each gives the set (backpropagation). |second weight| <= 2^20, |error| <= 2^16:
   the sum of four products is at most 2^38, what is learnt is limited to ERROR_TOP. */
static void learn_weights(const Predictor *p, Decision *d, int bit) {
    int32_t errors[SETS], second_errors[SECONDS];
    int64_t boost = boost_of(p);
    for (int k = 0; k < SECONDS; k++) second_errors[k] = ((bit << 24) - d->of_second[k]) >> 8;
    for (int i = 0; i < SETS; i++) {
        int64_t own = ((bit << 24) - d->of_set[i]) >> 8, through = 0;
        for (int k = 0; k < SECONDS; k++) through += (int64_t)d->seconds[k][i] * second_errors[k];
        through = through * (SETS / SECONDS) >> 16;
        errors[i] = clip((own * OWN_SHARE + through * (16 - OWN_SHARE)) * boost >> 12, ERROR_TOP);
    }
    train(d->weights, SETS, d->inputs, d->n_inputs, errors, LEAST_ERROR, RATE_BITS, WEIGHT_TOP);
    train(d->seconds, SECONDS, d->said, SAID_ROOM, second_errors, 0, SECOND_RATE_BITS, SECOND_TOP);
}

static void learn(const Predictor *p, Decision *d, const Place *place, int bit) {
    const int32_t *reciprocal = p->reciprocal;
    learn_weights(p, d, bit);
    learn_contexts(p, d, bit);
    if (place->bit != END) learn_runs(p->run_cells + place->bit * CONTEXTS, d->run_rates, d->runs, d->n_contexts, bit);
    for (int i = 0; i < APMS; i++) learn_cell(reciprocal, p->apms + d->refined[i], bit, APM_LIMIT);
    for (int i = 0; i < MATCHES; i++)
        if (d->match_cells[i]) learn_cell(reciprocal, d->match_cells[i], d->proposed[i] == bit, MATCH_LIMIT);
    if (!d->model_cell) return;
    learn_cell(reciprocal, d->model_cell, bit, MODEL_LIMIT);
    for (int i = 0; i < MODEL_APMS; i++) learn_cell(reciprocal, p->apms + d->model_refined[i], bit, APM_LIMIT);
}

/* ---- the loop of both directions --------------------------------------------------------------------------------- */

/* Code a bit by all that is known; it is learnt later, when what comes next is already on its way to the processor. */
static int code_bit(Predictor *p, Lane *lane, const Place *place, Decision *d, int bit) {
    if (p->with_model) choose_model_apms(p, lane, place, d);
    d->histories = histories(p, lane, place);
    gather_matches(p, lane, place, d);
    choose_apms(p, lane, place, d);
    if (p->with_model) gather_model(p, lane, place, d);
    else d->model_cell = NULL, d->certainty = 0;
    choose_weights(p, lane, place, d);
    gather_contexts(p, d);
    gather_runs(p, place, d);
    d->weights[0] += d->known * 15 * INPUTS;
    int32_t s = mix(p, d), final = refine_all(p, d, s);
    bit = coder_bit(&p->coder, (uint32_t) final, bit);
    if (p->records && bit >= 0) {
        Record *r = p->records + p->n_records++;
        *r = (Record){
            .at = lane->at, .bit = place->bit, .value = bit, .ones = final, .expected = lane->matches[0].expected};
        parties(d->weights, d->seconds, d->inputs, d->n_inputs, d->n_contexts, r->said);
    }
    return bit;
}

/* What all decisions of a byte share. */
static void start_decision(const Predictor *p, Decision *d) {
    int n = d->n_contexts = n_contexts(p), first = constant_input(n);
    d->n_wide = (n + 7) / 8 * 8; /* whole vectors, never above CONTEXTS */
    d->n_inputs = (first + 1 + (p->with_model ? SAID_BY_MODEL : 0) + 15) / 16 * 16;
    for (int i = n; i < d->n_wide; i++) d->slots[i] = 0;
    d->inputs[first] = CONSTANT;
    for (int i = first + 1; i < d->n_inputs; i++) d->inputs[i] = 0;
}

/* Matches that expected the other bit expect nothing of this byte any more. */
static void contradict(Lane *lane, int i, int bit) {
    for (int k = 0; k < MATCHES; k++) {
        Match *m = &lane->matches[k];
        if (m->expected >= 0 && (m->expected >> (7 - i) & 1) != bit) m->expected = -1;
    }
}

static void name_contexts(const Predictor *p, Lane *lane) {
    uint32_t begun = lane->in_token > 0;
    find_contexts(p, lane);
    for (int i = 0, n = n_contexts(p); i < n; i++) {
        uint32_t of = (uint32_t)context_of(p, i); /* never below i */
        lane->contexts[i] = hash(hash(lane->contexts[of], of), begun);
    }
}

/* Byte c has come. */
static void follow(Predictor *p, Lane *lane, uint32_t c) {
    int32_t *latest[MATCHES];
    p->data[lane->at] = (uint8_t)c;
    p->flags[lane->at++] |= DONE;
    lane->token = hash(lane->token, c);
    lane->in_token++;
    aim_matches(p, lane, latest);
    follow_text(p, lane, c);
    follow_matches(p, lane, latest, c);
    if (!p->with_model) lane->token = 0, lane->in_token = 0;
    name_contexts(p, lane);
    if (p->with_model) aim_ends(p, lane);
    else aim_lines(p, lane, NULL, 1);
}

static void narrow(Range *range, int64_t split, int64_t below, int bit) {
    if (bit) range->low = split, range->below = below;
    else range->high = split, range->up_to = below;
}

/* The next byte of the lane: of the entries in `range`, with a model, which is narrowed to those that go on so. */
static int code_byte(Predictor *p, Lane *lane, Range *range) {
    uint32_t path = 1;
    Nibble nibbles[2];
    const Spelling *s = &p->spelling;
    int known = p->data[lane->at];
    Decision d;
    start_decision(p, &d);
    for (int i = 0; i < 8; i++) {
        int bit = -1;
        Place place = {i, NO_MODEL, path};
        int64_t split = 0, below = 0;
        if (i == 0) find_lines(p, lane, nibbles, NULL, path), find_last(p, nibbles, d.last), d.lines = nibbles[0].lines;
        if (i == 4) find_lines(p, lane, nibbles + 1, nibbles, path), d.lines = nibbles[1].lines;
        if (range) {
            split = spelling_split(s, range, (path << 1 | 1) << (7 - i) & 255);
            if (split == range->low || split == range->high) bit = split == range->low;
            else {
                below = spelling_sum(s, split);
                place.model = spelling_odds(p, range->up_to - below, below - range->below);
            }
        }
        int is_forced = bit >= 0;
        if (!is_forced) {
            d.within = i < 4 ? (int)path : (int)((path & ((1u << (i - 4)) - 1)) | 1u << (i - 4));
            bit = code_bit(p, lane, &place, &d, known >> (7 - i) & 1);
            if (bit < 0) return bit;
        }
        contradict(lane, i, bit);
        if (range && !is_forced) narrow(range, split, below, bit);
        path = path << 1 | (uint32_t)bit;
        if (i == 3) aim_lines(p, lane, nibbles, path);
        if (i == 7) put_last(p, lane, nibbles, path & 255), follow(p, lane, path & 255);
        if (!is_forced) learn(p, &d, &place, bit);
    }
    p->n_coded++;
    return 0;
}

/* The token has come to its end. */
static void follow_token(const Predictor *p, Lane *lane) {
    lane->token3 = lane->token2, lane->token2 = lane->token1, lane->token1 = lane->token;
    lane->token = 0, lane->in_token = 0;
    name_contexts(p, lane);
}

/* Whether the token ends here, where entries that weigh `below` do and others go on: 1 or 0, or what is wrong. */
static int code_end(Predictor *p, Lane *lane, const Range *range, int64_t below, int known) {
    uint32_t *slots[CONTEXTS];
    Place place = {END, spelling_odds(p, below - range->below, range->up_to - below), 0};
    Decision d;
    start_decision(p, &d);
    d.lines = slots, d.within = 0;
    find_ends(p, lane, slots);
    int ends = code_bit(p, lane, &place, &d, known);
    if (ends < 0) return ends;
    if (ends) follow_token(p, lane);
    aim_lines(p, lane, NULL, 1);
    learn(p, &d, &place, ends);
    return ends;
}

/* A token of the lane, by the weights in the spelling: its id, or what is wrong. `known`: the one that is there, for
   a writer. */
static int32_t code_token(Predictor *p, Lane *lane, const int16_t *scores, int32_t known) {
    const Spelling *s = &p->spelling;
    Range range = {0, s->n, 0, 0, spelling_weigh(s, scores)};
    int64_t length = p->coder.reads ? 0 : s->id_lengths[known];
    p->flags[lane->at] |= STARTS;
    for (;;) {
        int64_t whole = spelling_whole(s, &range);
        if (whole) {
            int32_t id = s->ids[range.low];
            if (whole == range.high - range.low || lane->at == lane->end) {
                follow_token(p, lane);
                aim_lines(p, lane, NULL, 1);
                return id;
            }
            int64_t below = spelling_sum(s, range.low + whole);
            int ends = code_end(p, lane, &range, below, range.depth == length);
            if (ends) return ends < 0 ? ends : id;
            narrow(&range, range.low + whole, below, 1);
        } else if (range.depth) {
            aim_lines(p, lane, NULL, 1);
        }
        if (lane->at == lane->end) return DAMAGED;
        int failed = code_byte(p, lane, &range);
        if (failed) return failed;
        range.depth++;
    }
}

/* ---- what Python calls ------------------------------------------------------------------------------------------- */

/* Start a block of n lanes, whose starts and ends are set, read from or written to these bytes. */
EXPORT void llmzip_predictor_open(Predictor *p, uint8_t *bytes, int64_t size, int reads) {
    coder_start(&p->coder, bytes, size, reads);
    for (int64_t i = 0; i < p->n_lanes; i++) {
        Lane *l = p->lanes + i;
        int64_t start = l->start, end = l->end;
        memset(l, 0, sizeof *l);
        l->start = l->at = l->line = l->line_before = l->line_second = l->aligned = start;
        l->end = end;
        for (int k = 0; k < MATCHES; k++) l->matches[k].expected = -1;
        name_contexts(p, l);
        aim_lines(p, l, NULL, 1);
    }
}

/* Code the next n bytes of the only lane, without a model. 0, or what is wrong. */
EXPORT int llmzip_predictor_bytes(Predictor *p, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        int failed = code_byte(p, p->lanes, NULL);
        if (failed) return failed;
    }
    return 0;
}

/* Code a token of each of n lanes, from the first on, that has not come to its end, by its row of scores. ids: known
   to a writer, found by a reader. */
EXPORT int llmzip_predictor_step(Predictor *p, const int16_t *scores, int64_t scores_stride, int32_t *ids,
    int64_t ids_stride, int64_t first, int64_t n) {
    for (int64_t i = 0; i < n; i++, scores += scores_stride, ids += ids_stride) {
        Lane *lane = p->lanes + first + i;
        if (lane->at == lane->end) continue;
        int32_t id = code_token(p, lane, scores, *ids);
        if (id < 0) return id;
        *ids = id;
    }
    return 0;
}

EXPORT int64_t llmzip_predictor_finish(Predictor *p) { return coder_finish(&p->coder); }

/* Sizes and limits, for Python to compare with its own: how many, and they. */
EXPORT const int64_t *llmzip_predictor_layout(void) {
    static int64_t layout[80];
    // clang-format off
    int64_t values[] = {
        0, sizeof(Predictor), sizeof(Lane), sizeof(Line), sizeof(End), sizeof(Record), PARTIES, PARTY_TOP,
        offsetof(Lane, at), offsetof(Predictor, coder), offsetof(Predictor, spelling), TEXT_CONTEXTS, TOKEN_CONTEXTS,
        RECORD_CONTEXTS, USED_WITH_MODEL, MATCHES, HISTORY_SETS, TOKEN_ENDS, INPUTS, SETS, SECONDS, SECOND_ROWS, APMS,
        MODEL_APMS, BUCKETS, TOP, WEIGHT_TOP, SECOND_TOP, RATE_BITS, SECOND_RATE_BITS, BOOST, BOOST_BYTES,
        RECORD_BOOST_BYTES, SLOT_LIMIT, HISTORY_LIMIT, RUN_LIMIT, MATCH_LIMIT, MODEL_LIMIT, APM_LIMIT, LASTING,
        PLAIN_LASTING, LATEST_BITS, APM_BITS, WAYS, PAST_END, LONGEST, LONGEST_LOOK, MOST_MISSES, MASKED_LONGEST,
        MASKED_LENGTH, STACK, GROUP, SET_ROWS[0], SET_ROWS[1], SET_ROWS[2], SET_ROWS[3], SET_ROWS[4], SET_ROWS[5],
        SET_ROWS[6], SET_ROWS[7], SET_ROWS[8], SET_ROWS[9], SET_ROWS[10], SET_ROWS[11], OWN_SHARE, LEAST_ERROR,
        ERROR_TOP,
    };
    // clang-format on
    _Static_assert(sizeof values <= sizeof layout, "room for all");
    values[0] = (int64_t)(sizeof values / sizeof *values) - 1;
    memcpy(layout, values, sizeof values);
    return layout;
}
