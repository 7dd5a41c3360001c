/* What the forward reads and fills, mirrored by native.py, and what is compiled for each instruction set. */
#ifndef LLMZIP_KERNELS_H
#define LLMZIP_KERNELS_H
#include <stdint.h>

#define MAX_HEAD_DIM 512
#define HEAD_ROWS 64

typedef struct {
    const uint8_t *packed;
    const float *scale, *bias;
    int64_t n, k, k_stride;
} Matrix;

typedef struct {
    const float *attn_norm, *mlp_norm, *q_norm, *k_norm;
    Matrix qkv, o, gate_up, down;
} Layer;

typedef struct {
    const Layer *layers;
    const int8_t *embed;
    const float *embed_scale, *norm, *rope_cos, *rope_sin;
    Matrix head; /* rows in the order of what their tokens spell, with one for each escape, which says nothing */
    const int32_t *escapes; /* (n_escapes) which rows these are */
    double norm_eps;
    int64_t n_escapes, n_layers, n_vocab;
    int32_t width, n_heads, n_kv_heads, head_dim, hidden, sliding_window, start_id, digits;
    float to_log2; /* log2 e / sqrt(head_dim) */
} Model;

typedef struct {
    uint8_t *k;
    int8_t *v;
    float *k_scale, *v_scale;
    int64_t lanes, capacity;
    int32_t dim;
} Cache;

typedef struct { /* tokens to be read, those of a lane in the order of their positions */
    const int32_t *ids, *lanes, *positions;
    int64_t n;
} Rows;

typedef struct {
    void *lines;
    float *scales;
    int64_t *sums;
    int32_t digits;
} Activations;

typedef struct {
    float *x, *wide, *attended, *logits;
    Activations activations;
    uint8_t *scratch; /* per thread */
    int64_t scratch_floats;
} Buffers;

typedef struct { /* of one instruction set; _forward.c says what each does */
    void (*pack)(const int8_t *w, int64_t n, int64_t k, int64_t k_stride, int paired, uint8_t *out, int threads);
    void (*forward)(const Model *m, const Cache *cache, Buffers *b, const Rows *tokens, int16_t *scores, int threads);
    void (*linear)(const Matrix *w, Activations *a, const float *x, int64_t rows, float *out, int threads);
} Kernels;

extern const Kernels kernels_portable, kernels_avx2, kernels_vnni, kernels_amx, kernels_neon;

#endif
