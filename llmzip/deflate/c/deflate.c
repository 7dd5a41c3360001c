/* Deflate streams, opened and closed again to the bit. What Python may call; deflate/reference.py does the same. */
#include <stddef.h>

#include "../../_export.h"
#include "corrections.h"

/* Of the first so many tokens, how many this producer would not have made; counting ends at `stop`. */
static int64_t count_misses(const Job *job, int64_t n_tokens, int64_t stop) {
    Parser p;
    int32_t at = job->window, to_flush;
    int64_t missed = 0;
    start_parser(
        &p, &job->parameters, job->x, job->window, job->n, job->base, job->last, job->marks, job->head, job->links);
    to_flush = next_flush(job, 0, at);
    p.end = to_flush < 0 ? job->n : to_flush;
    for (int64_t i = 0; i < job->n_blocks; i++) {
        const Block *b = job->blocks + i;
        p.steps += STEPS_OF_BLOCK;
        if (is_slow(&p, at - job->window)) return stop;
        if (is_flush(b)) {
            to_flush = next_flush(job, i + 1, at);
            flush(&p, at, to_flush < 0 ? job->n : to_flush);
        }
        for (int32_t k = 0; b->type == STORED && k < b->length; k++, p.pending = 0) follow(&p, at++, 1, 1);
        if (b->type == STORED && (n_tokens -= b->length >> 4) <= 0) return missed;
        for (int32_t k = 0; k < b->n_tokens; k++) {
            Token token = job->tokens[b->first + k], predicted = predict(&p, at);
            missed += (token & ~LONG) != predicted;
            if (is_slow(&p, at - job->window)) return stop;
            if (missed >= stop || --n_tokens <= 0) return missed;
            follow(&p, at, token, predicted);
            at += length_of(token);
        }
    }
    return missed;
}

EXPORT int64_t llmzip_deflate_inflate(Inflation *s) { return inflate(s); }

EXPORT int64_t llmzip_deflate_misses(const Job *job, int64_t n_tokens, int64_t stop) {
    return count_misses(job, n_tokens, stop);
}

/* Bytes of the corrections, or what is wrong. */
EXPORT int64_t llmzip_deflate_write(Job *job) {
    Walk w;
    int failed = walk(&w, job, 0);
    return failed ? failed : job->silent ? 0 : coder_finish(&w.coder);
}

/* Bytes of the stream, or what is wrong. */
EXPORT int64_t llmzip_deflate_read(Job *job) {
    Walk w;
    int failed = walk(&w, job, 1);
    if (failed) return failed;
    if (!job->last) mark(&w.parser, job->n, job->marks_after);
    job->base_after = w.parser.base;
    job->lead_after = (int32_t)(w.out.held | (uint64_t)1 << w.out.n_held);
    return w.out.at;
}

/* Sizes and limits, for Python to compare with its own: how many, and they. */
EXPORT const int64_t *llmzip_deflate_layout(void) {
    static int64_t layout[32];
    int64_t values[] = {0, sizeof(Parameters), sizeof(Block), sizeof(Inflation), sizeof(Job), offsetof(Job, base_after),
        CELLS, NUMBER, CELL_LIMIT, ALL_BITS, STEPS_EACH, STEPS_ALWAYS, STEPS_OF_BLOCK, MOST_LOOKS, MOST_RANKS,
        LOOKAHEAD};
    values[0] = (int64_t)(sizeof values / sizeof *values) - 1;
    memcpy(layout, values, sizeof values);
    return layout;
}
