/* Context mixing over bytes: no model, only what the block itself has taught. docs/format.md 3.5 is the definition, cm/reference.py the
 * twin in Python; both give the same integers.
 */
#ifndef LLMZIP_CM_H
#define LLMZIP_CM_H
#include <stdint.h>

#define CM_CONTEXTS 12
#define CM_INPUTS (2 * CM_CONTEXTS + 2) /* of a mixer: two for each context, the match, a constant */
#define CM_MIXERS 3
#define CM_LATEST_BITS 20

typedef struct {
    /* tables of mixing/tables.py */
    const int32_t *squash, *reciprocal;
    const int16_t *stretch;
    uint8_t *data;          /* (n_bytes), with zeros before: as many as a context looks back, and one */
    int64_t stride;         /* bytes of a record; 0: text */
    int32_t table_bits;
    /* learnt */
    uint32_t *lines;        /* (CM_CONTEXTS, 2^table_bits, 16): a check, and the slots of the 15 decisions of a nibble */
    uint32_t *histories;    /* (CM_CONTEXTS, 1024): what such a history has come to, probability << 10 | how often */
    uint32_t *match_cells;  /* (36) by length: that the match is right */
    int32_t *weights_a, *weights_b, *weights_c;
    uint32_t *refining;     /* (2^16, 33) by the byte before, path and stretch */
    int32_t *latest;        /* (2^20) hash of the last bytes -> where what followed them is */
    /* where it is */
    int64_t at, match_at, match_length;
    int64_t line, line_before; /* starts of this line and of the one before */
    uint32_t word, word_before; /* hashes; 0: not in a word */
    /* the range decoder; no words: an encoder */
    const uint32_t *words;
    int64_t n_words, next_word;
    uint64_t lower, range, point;
} Cm;

#endif
