/* The adaptive layer: what the blocks' own text teaches, mixed with the model's distribution, one binary decision at a time.
 * docs/format.md 6.3 is the definition, mixing/reference.py the twin in Python; both give the same integers.
 */
#ifndef LLMZIP_MIXING_H
#define LLMZIP_MIXING_H
#include <stdint.h>

#define LENGTHS 5      /* n-gram contexts */
#define CONTEXTS 6     /* these, and the column with the last token */
#define INPUTS 8       /* of a mixer: the model, CONTEXTS, the match */
#define MIXERS 3
#define SUCCESSORS 7   /* of a context */
#define DEPTH_CLASSES 6
#define SLOT_BITS 20
#define SET_C_BITS 12
#define REFINING_BITS 16
#define RATE 37888          /* of the bias: 0.1 nats, in 2^-10 of a score unit of 1/256 bit */
#define BIAS_TOP (1 << 24)

typedef struct {
    uint32_t check;
    uint32_t entries[SUCCESSORS]; /* token << 8 | count, the latest first; count 0: none */
} Successors;

typedef struct { /* of one lane and step */
    Successors *found[CONTEXTS];
    uint32_t checks[CONTEXTS];
    uint32_t alive[CONTEXTS]; /* successors that have not left the path */
    int32_t proposed;       /* token of the match, or -1 */
    int32_t match_class;
    int32_t path;           /* 1, then a bit for each decision */
    int32_t before;         /* the token before */
    int64_t sum;            /* of the model's weights below the path */
    int64_t inverse;        /* of the sum of all */
} Row;

typedef struct { /* one decision */
    int32_t inputs[INPUTS];
    int32_t cells[INPUTS]; /* where the input's probability is learnt, or -1 */
    int32_t sets[MIXERS], p_of[MIXERS];
    int32_t slot;    /* bias of this decision after the token before */
    int32_t refined; /* the cell that the final probability is refined by */
    int32_t p;
    int32_t flipped; /* the match proposes a zero */
    int32_t bit;
    int64_t zeros;   /* weights that go to zero */
} Node;

typedef struct {
    /* tables of mixing/tables.py */
    const int32_t *exp2, *squash, *reciprocal;
    const int16_t *log2, *stretch;
    const uint8_t *line_ends; /* (n_symbols) whether a symbol has a line end in it */
    int64_t n_symbols, n_groups, steps; /* n_groups: padded to a power of two; steps: row length of ids */
    int32_t depth, plain, table_bits;
    int32_t *ids;        /* (lanes, steps): what has been coded */
    /* learnt */
    int32_t *bias;       /* (n_symbols) 2^-10 of a score unit */
    Successors *grams;   /* (CONTEXTS, 2^table_bits) */
    uint32_t *cells;     /* probability << 10 | how often */
    int32_t *weights_a, *weights_b, *weights_c;
    int32_t *slots;      /* bias of a decision after a token */
    uint32_t *refining;  /* cells by decision after a token and stretch */
    int32_t *latest;     /* (2^table_bits) hash of the last tokens -> lane * steps + step of what followed, + 1 */
    int32_t *matches;    /* (lanes, 2): where the match of a lane goes on, and its length */
    int32_t *columns;    /* (lanes) tokens since the last line end */
    /* scratch */
    int32_t *weights;    /* (lanes, n_groups * 256) */
    int64_t *sums;       /* (lanes, n_groups) */
    Row *rows;
    Node *nodes;         /* (lanes, depth) */
    int64_t step, n_rows;
} Mixing;

#endif
