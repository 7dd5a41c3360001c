/* The predictor of bits: what a group of blocks has taught, and the lanes of the block that is being coded.
   predictor/fused.py fills it. */
#ifndef LLMZIP_PREDICTOR_H
#define LLMZIP_PREDICTOR_H
#include "coder.h"
#include "learning.h"

enum { TEXT_CONTEXTS = 38, TOKEN_CONTEXTS = 3, CONTEXTS = TEXT_CONTEXTS + TOKEN_CONTEXTS, RECORD_CONTEXTS = 32 };
enum { USED_WITH_MODEL = 27 }; /* the others would say what the model has said */
static const uint8_t WITH_MODEL[USED_WITH_MODEL] = {
    0, 2, 3, 4, 7, 8, 10, 11, 13, 14, 18, 19, 20, 21, 27, 28, 29, 30, 32, 33, 34, 35, 36, 37, 38, 39, 40};
enum { CONTEXT_ROOM = 48, SAID_ROOM = 16 }; /* multiples of 16 */
enum { MATCHES = 4, MASKED = 2 };           /* the third match is that of masked text */
enum { HISTORY_SETS = 8, TOKEN_ENDS = 4 };  /* tables of what histories have come to; that of token ends */
/* Inputs, n contexts in use: n cells, n slots and n runs; two of each match; a constant; the model's; zeros up to a
   multiple of 16. */
enum { INPUTS = 128 };
static inline int match_inputs(int n) { return 3 * n; }
static inline int constant_input(int n) { return 3 * n + 2 * MATCHES; }
static inline int model_inputs(int n) { return constant_input(n) + 1; }
enum { SETS = 12, SECONDS = 4, SECOND_ROWS = 320, APMS = 5, MODEL_APMS = 2, END = 8, NO_MODEL = 32767 };
enum { SAID_BY_MODEL = 2 + MODEL_APMS };
enum { CONTEXTS_SAY, MATCHES_SAY, MODEL_SAYS, PARTIES, PARTY_TOP = 1 << 20 };
enum { STACK = 64, DONE = 1, STARTS = 2, LATEST_BITS = 20, APM_BITS = 16, WAYS = 16 };

/* expected: the byte there (bit 9: a token starts after it), or -1 */
typedef struct {
    int64_t at, length;
    int32_t misses, expected;
} Match;

typedef struct { /* one lane: where it is, and what its bytes so far are like */
    int64_t start, end, at, line, line_before, line_second, aligned;
    Match matches[MATCHES];
    /* the last eight: digits as one; runs as one; neither word nor space */
    uint64_t mask, skeleton, marks;
    uint32_t word, word1, word2, letters, first; /* hashes of words; of letters; first byte of the word */
    /* hashes: the line so far, digits as one; the line before; the number */
    uint32_t masked, masked1, number;
    uint32_t compared, digits;                  /* the number with that above it; its digits so far */
    uint32_t field_text;                        /* hash: the field so far */
    uint32_t field_classes, field_known[STACK]; /* what the field is like, and was in the line before */
    uint32_t punctuation, shape, head, head1, parent, outline[STACK];
    uint32_t brackets[STACK], key, quoted, quoted1, tag, tags[STACK], closing;
    uint32_t token, token1, token2, token3; /* hashes: the token so far; tokens before */
    int32_t field, place, indents[STACK], depth, indent, indenting, nesting, quoting, tag_depth, in_tag, word_length,
        in_token;
    uint64_t places[CONTEXTS]; /* hashes of the lines of the next four bits */
    /* then names of those in use: their numbers hashed in, and whether a token has begun */
    uint32_t contexts[CONTEXTS];
    uint32_t c1, c2, c3, above, aligned_byte, column;
    uint32_t characters[5]; /* the last, as far as its bytes have come, and those before it */
} Lane;

typedef struct {
    uint32_t words[16];
} Line; /* check << 16 | the byte that came last << 8 | visits, and the slots of the 15 decisions of a nibble */
typedef struct {
    uint32_t check, slot;
} End;

typedef struct {                           /* the vocabulary in the order of its spellings: a prefix is a range of it */
    const int32_t *ids, *starts, *lengths; /* (n) of each entry */
    const uint8_t *bytes;
    const int32_t *id_lengths; /* (symbols) bytes of each id */
    uint32_t *weights;         /* (n, rounded up to whole GROUPs) of each entry */
    int64_t *sums;             /* (GROUPs) of the weights before each GROUP */
    int64_t n;
} Spelling;

/* A decision: in which lane's byte, which of it, what came, what a one had of 2^24, the byte of the longest match or
   -1; said: what each party adds to the stretch of a one. */
typedef struct {
    int64_t at;
    int32_t bit, value, ones, expected, said[PARTIES];
} Record;

typedef struct {
    const int32_t *squash, *reciprocal;
    const int16_t *stretch, *log2;
    /* learnt */
    Line *lines;                /* (2^line_bits) */
    uint32_t *once;             /* (2^(line_bits + 2)) contexts that have come once, WAYS together */
    End *ends;                  /* (2^end_bits) */
    uint32_t *histories;        /* (HISTORY_SETS, CONTEXTS, 1024): what such a history has come to */
    uint32_t *run_cells;        /* (8, CONTEXTS): that the byte that came last comes again, by its bits that have */
    uint32_t *match_cells;      /* (MATCHES, 64, 2, 2): that it is right, by length, after misses, token end */
    uint32_t *model_cells;      /* (64, 9, 4): by what the model says, bit, place in the token */
    uint32_t *apms;             /* (APMS + MODEL_APMS, 2^APM_BITS, BUCKETS); 0: not used yet */
    const uint32_t *first_apms; /* (256, BUCKETS) what a row is at first, by its bias + 128 */
    const int8_t *biases;       /* (APMS + MODEL_APMS, 2^APM_BITS) */
    int32_t *weights;           /* (rows of all SETS, INPUTS) */
    int32_t *seconds;           /* (SECONDS, SECOND_ROWS, 16) */
    int32_t *latest;            /* (MATCHES, 2^LATEST_BITS) hash of what was last -> where what followed it is */
    uint32_t *followers;        /* (2^16) what followed two bytes, the last first */
    uint32_t *followers1, *followers3; /* (2^8, 2^16) what followed one byte in records, and three by their hash */
    /* the group's bytes, one block after the other, 64 zeros before them; for each DONE and STARTS */
    uint8_t *data, *flags;
    Lane *lanes;
    int64_t n_lanes, stride, n_coded; /* stride: bytes of a record; 0: text */
    int32_t line_bits, end_bits, with_model;
    Coder coder;
    Spelling spelling;
    Record *records; /* (enough for a call) what was decided; or NULL, if nobody asks */
    int64_t n_records;
} Predictor;

#endif
