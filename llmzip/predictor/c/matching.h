/* What followed the same bytes before: three lengths, each going on after a miss, and one in which digits stand for
   each other. predictor/matching.py is its twin. */
#ifndef LLMZIP_MATCHING_H
#define LLMZIP_MATCHING_H
#include "predictor.h"
#include <stddef.h>

enum { LONGEST = 65535, LONGEST_LOOK = 400, MOST_MISSES = 8, MASKED_LONGEST = 60, MASKED_LENGTH = 7 };
static const int MINIMUM[MATCHES] = {6, 14, 0, 4};

static inline int is_digit(uint32_t c) { return c >= '0' && c <= '9'; }

static inline int length_class(int64_t n) {
    return (int)(n < 16     ? n
                 : n < 32   ? 16 + (n - 16) / 4
                 : n < 512  ? 20 + (n - 32) / 32
                 : n < 2048 ? 36 + (n - 512) / 256
                            : 43);
}

/* Where it is kept what followed the last bytes, before lane->at, as many as the match takes at least; NULL if there
   are not so many. */
static int32_t *latest_of(const Predictor *p, const Lane *lane, int which) {
    int minimum = MINIMUM[which];
    uint32_t h = 0;
    if (lane->at - lane->start < minimum) return NULL;
    for (int i = 1; i <= minimum; i++) h = hash(h, p->data[lane->at - i]);
    return p->latest + ((int64_t)which << LATEST_BITS) + (h >> (32 - LATEST_BITS));
}

/* Rarely in the processor's caches, and needed soon. */
static void aim_matches(const Predictor *p, const Lane *lane, int32_t **latest) {
    for (int i = 0; i < MATCHES; i++) {
        latest[i] = i == MASKED ? NULL : latest_of(p, lane, i);
        if (latest[i]) __builtin_prefetch(latest[i]);
    }
}

/* After byte c, which stands before lane->at. */
static void follow_match(const Predictor *p, const Lane *lane, int which, int32_t *latest, Match *m, uint32_t c) {
    const uint8_t *data = p->data, *flags = p->flags;
    if (m->length) {
        if (data[m->at] == c) {
            m->length += m->length < LONGEST;
            if (m->length >= 16) m->misses = 0;
        } else {
            m->misses++;
            m->length = m->misses > MOST_MISSES ? 0 : m->length > 32 ? 4 : m->length > 16 ? 2 : 1;
        }
        m->at++;
        if (!flags[m->at]) m->length = 0;
        if (!m->length) m->misses = 0;
    }
    if (!latest) return;
    int64_t then = *latest, n = 0;
    if ((!m->length || m->misses) && then && flags[then]) {
        while (n < LONGEST_LOOK && n < lane->at - lane->start && flags[then - 1 - n] &&
               data[then - 1 - n] == data[lane->at - 1 - n])
            n++;
        if (n >= MINIMUM[which] && n > m->length) *m = (Match){then, n, 0, -1};
    }
    *latest = (int32_t)lane->at;
}

/* Goes on over numbers of other lengths. */
static void follow_masked(const Predictor *p, const Lane *lane, Match *m, uint32_t c) {
    const uint8_t *data = p->data, *flags = p->flags;
    if (m->length) {
        uint32_t expected = data[m->at];
        if (expected == c) {
            m->at++, m->length += m->length < MASKED_LONGEST, m->misses = 0;
        } else if (is_digit(expected) && is_digit(c)) {
            m->at++, m->misses = 1;
        } else if (is_digit(expected)) {
            while (flags[m->at] && is_digit(data[m->at])) m->at++;
            if (flags[m->at] && data[m->at] == c) m->at++;
            else m->length = 0;
        } else if (!is_digit(c) || !is_digit(data[m->at - 1])) {
            m->length = 0;
        }
        if (!flags[m->at]) m->length = 0;
    }
    if (is_digit(c)) return;
    uint32_t h = 0;
    for (int i = 0; i < MASKED_LENGTH; i++) h = hash(h, (uint32_t)(lane->mask >> 8 * i & 255));
    int32_t *latest = p->latest + ((int64_t)MASKED << LATEST_BITS) + (h >> (32 - LATEST_BITS));
    if (*latest && flags[*latest] && !m->length) *m = (Match){*latest, 1, 0, -1};
    *latest = (int32_t)lane->at;
}

static void follow_matches(const Predictor *p, Lane *lane, int32_t *const *latest, uint32_t c) {
    for (int i = 0; i < MATCHES; i++) {
        Match *m = &lane->matches[i];
        if (i == MASKED) follow_masked(p, lane, m, c);
        else follow_match(p, lane, i, latest[i], m, c);
        m->expected = m->length ? p->data[m->at] : -1;
    }
}

#endif
