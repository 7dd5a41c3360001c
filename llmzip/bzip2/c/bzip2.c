/* bzip2 streams, made as libbz2 makes them, block by block. What Python may call; bzip2/reference.py does the same. */
#include <stddef.h>

#include "../../_export.h"
#include "coding.h"

enum { UNIT = 100000, RESERVED = 19, MIN_RUN = 4, MAX_RUN = 255 };
#define BLOCK_MARK_HIGH 0x314159u
#define BLOCK_MARK_LOW 0x265359u
#define END_MARK_HIGH 0x177245u
#define END_MARK_LOW 0x385090u

/* A stream in the making; Python owns the arrays. A block has less than `room` symbols: what fills it is a run of at
   most MIN_RUN + 1. */
typedef struct {
    const uint8_t *plain;
    int64_t n, at; /* bytes of it, and those that are in blocks already */
    uint8_t *block, *column, *types, *selectors, *out;
    int32_t *order, *texts, *buckets;
    uint16_t *symbols;
    uint64_t held;
    int32_t n_held, level;
    uint32_t check, padding; /* of all blocks */
} Job;

/* CRC-32 with the most significant bit first. */
static uint32_t check_of(const uint8_t *data, int64_t n) {
    uint32_t table[BYTES], check = 0xffffffffu;
    for (uint32_t i = 0; i < BYTES; i++) {
        table[i] = i << 24;
        for (int bit = 0; bit < 8; bit++) table[i] = table[i] << 1 ^ (table[i] >> 31 ? 0x04c11db7u : 0);
    }
    for (int64_t i = 0; i < n; i++) check = check << 8 ^ table[check >> 24 ^ data[i]];
    return ~check;
}

/* Fill the block with the runs that follow; returns bytes of it. */
static int32_t fill_block(Job *job, uint8_t *is_used) {
    int32_t n = 0;
    memset(is_used, 0, BYTES);
    while (job->at < job->n && n < job->level * UNIT - RESERVED) {
        const uint8_t *run = job->plain + job->at;
        int64_t most = job->n - job->at < MAX_RUN ? job->n - job->at : MAX_RUN;
        int32_t length = 1;
        while (length < most && run[length] == run[0]) length++;
        for (int32_t i = 0; i < length && i < MIN_RUN; i++) job->block[n++] = run[0];
        is_used[run[0]] = 1;
        if (length >= MIN_RUN) is_used[job->block[n++] = (uint8_t)(length - MIN_RUN)] = 1;
        job->at += length;
    }
    return n;
}

static void put_block(Job *job, Bits *b) {
    uint8_t is_used[BYTES];
    int64_t start = job->at;
    int32_t n = fill_block(job, is_used);
    uint32_t check = check_of(job->plain + start, job->at - start);
    Sorter s = {.order = job->order, .texts = job->texts, .buckets = job->buckets, .types = job->types};
    Fronts f = {.symbols = job->symbols};
    Tables t = {.selectors = job->selectors};
    job->check = (job->check << 1 | job->check >> 31) ^ check;
    put(b, BLOCK_MARK_HIGH, 24);
    put(b, BLOCK_MARK_LOW, 24);
    put(b, check, 32);
    put(b, (uint32_t)sort_rotations(&s, job->block, n, job->column),
        25); /* below 2^20; the first bit: not randomized */
    put_used(b, is_used);
    move_to_front(&f, job->column, n, is_used);
    make_tables(&t, &f);
    put_selectors(b, &t);
    for (int k = 0; k < t.n; k++) put_lengths(b, t.lengths[k], f.n_symbols);
    put_symbols(b, &t, &f);
}

static void put_end(const Job *job, Bits *b) {
    put(b, END_MARK_HIGH, 24);
    put(b, END_MARK_LOW, 24);
    put(b, job->check, 32);
    put(b, 0, -b->n_held & 7);
}

/* The next block, or the end after the last one; returns whole bytes of it. */
EXPORT int64_t llmzip_bzip2_next(Job *job) {
    Bits b = {.out = job->out, .held = job->held, .n_held = job->n_held};
    if (job->at < job->n) put_block(job, &b);
    else put_end(job, &b);
    job->held = b.held & 255;
    job->n_held = b.n_held;
    return b.at;
}

/* Sizes and limits, for Python to compare with its own: how many, and they. */
EXPORT const int64_t *llmzip_bzip2_layout(void) {
    static const int64_t layout[] = {
        9, sizeof(Job), offsetof(Job, padding), UNIT, RESERVED, MIN_RUN, MAX_RUN, SYMBOLS, TABLES, MOST_LENGTH};
    return layout;
}
