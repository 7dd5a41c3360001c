/* The rotations of a block in order, by induced sorting (SA-IS: Nong, Zhang and Chan, 2009): time in proportion to the
   block, whatever is in it. The least rotation is a Lyndon word, or that several times over, and the rotations of a
   Lyndon word have the order of its suffixes. bzip2/reference.py sorts them by doubling. */
#ifndef LLMZIP_BZIP2_SORTING_H
#define LLMZIP_BZIP2_SORTING_H
#include <stdint.h>
#include <string.h>

/* Each level has less than half of the symbols of the one before, and a block less than 2^20. */
enum { BYTES = 256, LEVELS = 21 };

/* A text whose suffixes are to be sorted. A suffix is of type S if it is less than the next one, and starred (LMS) if
   it is and the one before is not. The last one is not: what follows it is less than all. */
typedef struct {
    int32_t *text, *starred; /* where the starred ones begin: fewer than n / 2, no two of them neighbors */
    uint8_t *is_s;
    int32_t n, n_symbols, n_starred;
} Level;

typedef struct {
    int32_t *order;   /* n */
    int32_t *texts;   /* 3 n: texts and starred of all levels, less than 2 n and n */
    int32_t *buckets; /* max(BYTES, n / 2) */
    uint8_t *types;   /* 2 n */
    Level levels[LEVELS];
} Sorter;

static inline int is_starred(const Level *l, int32_t i) { return i > 0 && l->is_s[i] && !l->is_s[i - 1]; }

static void classify(Level *l) {
    l->is_s[l->n - 1] = 0;
    for (int32_t i = l->n - 2; i >= 0; i--)
        l->is_s[i] = l->text[i] < l->text[i + 1] || (l->text[i] == l->text[i + 1] && l->is_s[i + 1]);
    l->n_starred = 0;
    for (int32_t i = 1; i < l->n; i++)
        if (is_starred(l, i)) l->starred[l->n_starred++] = i;
}

/* Where in the order the suffixes with each first symbol begin, or end. */
static void set_buckets(const Level *l, int32_t *buckets, int ends) {
    memset(buckets, 0, sizeof *buckets * (size_t)l->n_symbols);
    for (int32_t i = 0; i < l->n; i++) buckets[l->text[i]]++;
    for (int32_t c = 0, sum = 0; c < l->n_symbols; c++) {
        int32_t count = buckets[c];
        buckets[c] = ends ? sum + count : sum;
        sum += count;
    }
}

/* From the starred ones, at the ends of their buckets, -1 elsewhere: the order of all. */
static void induce(const Level *l, int32_t *order, int32_t *buckets) {
    const int32_t *text = l->text;
    set_buckets(l, buckets, 0);
    order[buckets[text[l->n - 1]]++] = l->n - 1;
    for (int32_t i = 0; i < l->n; i++) {
        int32_t at = order[i] - 1;
        if (at >= 0 && text[at] >= text[at + 1]) order[buckets[text[at]]++] = at;
    }
    set_buckets(l, buckets, 1);
    for (int32_t i = l->n - 1; i >= 0; i--) {
        int32_t at = order[i] - 1;
        if (at >= 0 && l->is_s[at]) order[--buckets[text[at]]] = at;
    }
}

/* Whether both are the same up to the next starred one. */
static int are_same(const Level *l, int32_t a, int32_t b) {
    for (int32_t i = 0; a + i < l->n && b + i < l->n; i++) {
        if (l->text[a + i] != l->text[b + i] || l->is_s[a + i] != l->is_s[b + i]) return 0;
        if (i && is_starred(l, a + i)) return is_starred(l, b + i);
    }
    return 0;
}

/* The next level: the starred ones, each named by its rank up to the next one; those that are the same share one. */
static void name_starred(const Level *l, Level *next, int32_t *order, int32_t *buckets) {
    int32_t n = 0, names = 0, before = -1;
    memset(order, -1, sizeof *order * (size_t)l->n);
    set_buckets(l, buckets, 1);
    for (int32_t i = 0; i < l->n_starred; i++) order[--buckets[l->text[l->starred[i]]]] = l->starred[i];
    induce(l, order, buckets);
    for (int32_t i = 0; i < l->n; i++)
        if (is_starred(l, order[i])) order[n++] = order[i];
    for (int32_t i = 0; i < n; before = order[i++]) {
        names += before < 0 || !are_same(l, before, order[i]);
        order[n + order[i] / 2] = names - 1; /* below l->n: both are below l->n / 2 */
    }
    for (int32_t i = 0; i < n; i++) next->text[i] = order[n + l->starred[i] / 2];
    next->n = n;
    next->n_symbols = names;
}

/* From the order of the starred ones, as numbers among them: the order of all. */
static void place_starred(const Level *l, int32_t *order, int32_t *buckets) {
    memset(order + l->n_starred, -1, sizeof *order * (size_t)(l->n - l->n_starred));
    set_buckets(l, buckets, 1);
    for (int32_t i = l->n_starred - 1; i >= 0; i--) { /* the place is i or after it */
        int32_t at = l->starred[order[i]];
        order[i] = -1;
        order[--buckets[l->text[at]]] = at;
    }
    induce(l, order, buckets);
}

/* The suffixes of the text of the first level. */
static void sort_suffixes(Sorter *s) {
    int depth = 0;
    for (;; depth++) {
        Level *l = s->levels + depth, *next = l + 1;
        l->starred = l->text + l->n;
        classify(l);
        next->text = l->starred + l->n_starred;
        next->is_s = l->is_s + l->n;
        name_starred(l, next, s->order, s->buckets);
        if (next->n_symbols == next->n) break;
    }
    const Level *last = s->levels + depth + 1;
    for (int32_t i = 0; i < last->n; i++) s->order[last->text[i]] = i;
    for (; depth >= 0; depth--) place_starred(s->levels + depth, s->order, s->buckets);
}

/* Where the least rotation begins; `period`: after how many bytes the block repeats itself, n if it does not. */
static int32_t least_rotation(const uint8_t *block, int32_t n, int32_t *period) {
    int32_t a = 0, b = 1, same = 0; /* a + same, b + same < 2 n */
    while (a < n && b < n && same < n) {
        uint8_t x = block[a + same < n ? a + same : a + same - n], y = block[b + same < n ? b + same : b + same - n];
        if (x == y) {
            same++;
            continue;
        }
        *(x > y ? &a : &b) += same + 1;
        b += a == b;
        same = 0;
    }
    *period = same < n ? n : a < b ? b - a : a - b;
    return a < b ? a : b;
}

/* The last bytes of the rotations in their order; returns the place of the block itself, the last of those like it. */
static int32_t sort_rotations(Sorter *s, const uint8_t *block, int32_t n, uint8_t *column) {
    int32_t period, first = least_rotation(block, n, &period), times = n / period, origin = 0;
    Level *l = s->levels;
    *l = (Level){.text = s->texts, .is_s = s->types, .n = period, .n_symbols = BYTES};
    for (int32_t i = 0; i < period; i++) l->text[i] = block[first + i < n ? first + i : first + i - n];
    sort_suffixes(s);
    for (int32_t i = 0; i < period; i++) {
        int32_t at = first + s->order[i]; /* < 2 n; the first of them is below the period */
        if (at >= period) at -= period;
        if (at == 0) origin = times * (i + 1) - 1;
        memset(column + (int64_t)times * i, block[at ? at - 1 : period - 1], (size_t)times);
    }
    return origin;
}

#endif
