/* What each decision cost, and who said what, for those who ask (`llmzip explain`). Changes nothing that is coded.
 * predictor/recording.py is its twin.
 */
#ifndef LLMZIP_RECORDING_H
#define LLMZIP_RECORDING_H
#include "predictor.h"

/* Whose an input is, n contexts in use. The constant counts as a context. */
static inline int party_of(int input, int n) {
    return input >= model_inputs(n)                                ? MODEL_SAYS
           : input >= match_inputs(n) && input < constant_input(n) ? MATCHES_SAY
                                                                   : CONTEXTS_SAY;
}

/* What each party adds to the stretch before it is limited. A weight times an input is below 2^31, their sum over
   256 below 2^30, its share below 2^54. */
static void parties(int32_t *const *weights, int32_t *const *seconds, const int32_t *inputs, int n_inputs,
    int n_contexts, int32_t *said) {
    int64_t sums[PARTIES] = {0};
    for (int i = 0; i < SETS; i++) {
        int64_t of_set[PARTIES] = {0}, share = 0;
        for (int k = 0; k < SECONDS; k++) share += seconds[k][i];
        for (int j = 0; j < n_inputs; j++) of_set[party_of(j, n_contexts)] += (int64_t)weights[i][j] * inputs[j];
        for (int party = 0; party < PARTIES; party++) sums[party] += (of_set[party] >> 16) * share;
    }
    for (int party = 0; party < PARTIES; party++) said[party] = clip((sums[party] >> 16) / SECONDS, PARTY_TOP);
}

#endif
