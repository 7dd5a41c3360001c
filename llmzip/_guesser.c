/* Which tokens may come next: what followed the longest context of tokens that was seen before. See guesser.py, which
   fills it. Nothing here is on the coded path: guesses change time, never content. */
#include "_export.h"
#include <stdint.h>

enum { ORDERS = 4, LONGEST = 6, STREAKS = 4, SLOT_BITS = 17 };
static const int TOKENS[ORDERS] = {6, 4, 3, 2}; /* of a context, the longest first */

typedef struct {
    int32_t
        *followed; /* (2^SLOT_BITS) by a hash of a context: token * STREAKS + how often the same came; -1: nothing */
    int32_t *contexts; /* (lanes, LONGEST) the last tokens of each, the newest first; -1: none yet */
    double right[ORDERS][STREAKS], tried[ORDERS][STREAKS]; /* guesses, by order and streak */
} Guesser;

/* Where it is kept what followed each context of these tokens: two that share a slot are taken for the same. */
static void find_slots(const int32_t *context, uint32_t *slots) {
    uint32_t h = 0;
    for (int i = 0, order = ORDERS - 1; order >= 0; order--) {
        for (; i < TOKENS[order]; i++) h = (h ^ (uint32_t)context[i]) * 0x9E3779B1u, h ^= h >> 15;
        slots[order] = (h + (uint32_t)order) * 0x85EBCA6Bu >> (32 - SLOT_BITS);
    }
}

static void append(int32_t *context, int32_t token) {
    for (int i = LONGEST - 1; i > 0; i--) context[i] = context[i - 1];
    context[0] = token;
}

/* The next token of a lane is known. */
EXPORT void llmzip_guesser_see(Guesser *g, int64_t lane, int32_t token) {
    int32_t *context = g->contexts + lane * LONGEST;
    uint32_t slots[ORDERS];
    int is_guess = 1; /* only the longest context that was seen guesses */
    find_slots(context, slots);
    for (int order = 0; order < ORDERS; order++) {
        int32_t *value = g->followed + slots[order], streak = *value < 0 ? 0 : *value % STREAKS;
        int is_right = *value >= 0 && *value / STREAKS == token;
        if (*value >= 0 && is_guess) {
            g->right[order][streak] += is_right;
            g->tried[order][streak] += 1;
            is_guess = 0;
        }
        *value = token * STREAKS + (is_right ? streak + (streak < STREAKS - 1) : 0);
    }
    append(context, token);
}

/* Tokens that may come next in a lane, at most so many, each as likely right as it must be to be worth it: how many. */
EXPORT int64_t llmzip_guesser_guess(const Guesser *g, int64_t lane, int64_t most, double worth, int32_t *guesses) {
    int32_t context[LONGEST];
    double chance = 1;
    int64_t n = 0;
    for (int i = 0; i < LONGEST; i++) context[i] = g->contexts[lane * LONGEST + i];
    while (n < most) {
        uint32_t slots[ORDERS];
        int order = 0;
        find_slots(context, slots);
        while (order < ORDERS && g->followed[slots[order]] < 0) order++;
        if (order == ORDERS) break;
        int32_t value = g->followed[slots[order]];
        chance *= g->right[order][value % STREAKS] / g->tried[order][value % STREAKS];
        if (chance < worth) break;
        guesses[n++] = value / STREAKS;
        append(context, value / STREAKS);
    }
    return n;
}

/* What Python makes arrays by: how many numbers follow, and they. */
EXPORT const int64_t *llmzip_guesser_layout(void) {
    static const int64_t layout[] = {4, sizeof(Guesser), 1 << SLOT_BITS, LONGEST, ORDERS * STREAKS};
    return layout;
}
