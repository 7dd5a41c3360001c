/* Fused kernels of the exact engine, called from native.py through ctypes: the same bits as the torch operations of
 * models/ops.py, several times faster.
 * No Python API is used: PyInit is there so that the build backend can treat this as an extension module.
 */
#define _GNU_SOURCE
#include <float.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "_export.h"
#ifdef _OPENMP
#include <omp.h>
static inline int omp_thread(void) { return omp_get_thread_num(); }
#else
static inline int omp_thread(void) { return 0; }
#endif

#if FLT_EVAL_METHOD != 0
#error "float arithmetic must round after every operation"
#endif
#ifdef __FAST_MATH__
#error "never with -ffast-math"
#endif

#define TINY 0x1p-60f
#define MAX_HEAD_DIM 512
#define HEAD_ROWS 64
#define MAX_LINES 32 /* activation lines, one for each digit, that meet a panel of weights at once */
#define ESCAPE_SCORE -4096
enum { STORE = 0, ADD = 1, SWIGLU = 2 }; /* what linear does with its result */

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

typedef struct {
    float *floats;
    int32_t *ints;
    int16_t *shorts;
} Scratch;

static inline Scratch scratch_of(const Buffers *b, int thread) {
    uint8_t *at = b->scratch + (int64_t)thread * b->scratch_floats * 12;
    return (Scratch){(float *)at, (int32_t *)(at + b->scratch_floats * 4), (int16_t *)(at + b->scratch_floats * 8)};
}

#define VNNI 0
#define AVX2 0
#define AMX 0
#define NAME(f) f##_portable
#include "_kernels.h"
#undef NAME
#undef AVX2

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define X86 1
#include <immintrin.h>
#pragma GCC push_options
#pragma GCC target("avx2,bmi2")
#define AVX2 1
#define NAME(f) f##_avx2
#include "_kernels.h"
#undef NAME
#undef AVX2
#undef VNNI
#pragma GCC pop_options
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,bmi2,prefer-vector-width=512")
#define VNNI 1
#define AVX2 0
#define NAME(f) f##_vnni
#include "_kernels.h"
#undef NAME
#undef AMX
#pragma GCC pop_options
#else
#define X86 0
#endif

#if X86 && defined(__linux__) && __GNUC__ >= 12
#define TILES 1
#include <sys/syscall.h>
#include <unistd.h>
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,bmi2,prefer-vector-width=512,amx-tile,amx-int8")
#define AMX 1
#define NAME(f) f##_amx
#include "_kernels.h"
#pragma GCC pop_options

/* Whether the CPU has tiles of int8 and the kernel lets this process use them. */
static int may_use_tiles(void) {
    enum { ARCH_REQ_XCOMP_PERM = 0x1023, XTILEDATA = 18 };
    return __builtin_cpu_supports("amx-tile") && __builtin_cpu_supports("amx-int8") &&
           syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XTILEDATA) == 0;
}
#else
#define TILES 0
#endif

/* Levels: 0 portable, 1 avx2, 2 avx512-vnni, 3 amx. */
EXPORT int llmzip_best_level(void) {
#if X86
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vnni"))
#if TILES
        return may_use_tiles() ? 3 : 2;
#else
        return 2;
#endif
    if (__builtin_cpu_supports("avx2")) return 1;
#endif
    return 0;
}

/* What Python mirrors by hand and native.py compares: how many numbers follow, a version, the structures in their
 * order there, and the sizes that arrays are made by. */
EXPORT const int64_t *llmzip_layout(void) {
    static const int64_t layout[] = {11, 6, 7, sizeof(Matrix), sizeof(Layer), sizeof(Model), sizeof(Cache),
        sizeof(Rows), sizeof(Activations), sizeof(Buffers), HEAD_ROWS, MAX_HEAD_DIM};
    return layout;
}

EXPORT int llmzip_threaded(void) {
#ifdef _OPENMP
    return 1;
#else
    return 0;
#endif
}

#if TILES
#define DISPATCH(f, ...)                                                                                               \
    (level == 3      ? f##_amx(__VA_ARGS__)                                                                            \
        : level == 2 ? f##_vnni(__VA_ARGS__)                                                                           \
        : level == 1 ? f##_avx2(__VA_ARGS__)                                                                           \
                     : f##_portable(__VA_ARGS__))
#elif X86
#define DISPATCH(f, ...)                                                                                               \
    (level == 2 ? f##_vnni(__VA_ARGS__) : level == 1 ? f##_avx2(__VA_ARGS__) : f##_portable(__VA_ARGS__))
#else
#define DISPATCH(f, ...) ((void)level, f##_portable(__VA_ARGS__))
#endif

EXPORT void llmzip_pack(
    int level, const int8_t *w, int64_t n, int64_t k, int64_t k_stride, int paired, uint8_t *out, int threads) {
    DISPATCH(pack, w, n, k, k_stride, paired, out, threads);
}

EXPORT void llmzip_forward(
    int level, const Model *m, const Cache *cache, Buffers *b, const Rows *tokens, int16_t *scores, int threads) {
    DISPATCH(forward, m, cache, b, tokens, scores, threads);
}

/* One linear layer by itself, for the self-test: x (rows, k) -> out (rows, n). */
EXPORT void llmzip_linear(
    int level, const Matrix *w, Activations *a, const float *x, int64_t rows, float *out, int threads) {
#pragma omp parallel num_threads(threads)
    {
        DISPATCH(quantize_rows, x, rows, (int)w->k, (int)w->k_stride, a);
        DISPATCH(linear, w, a, 0, rows, STORE, out, w->n);
    }
}

/* of the last bit of 1; as local variables GCC computes with them itself */
static volatile float one = 1, half = 0x1p-24f;

/* Whether each of so many threads rounds to the nearest. */
EXPORT int llmzip_rounding(int threads) {
    int sound = 1;
#pragma omp parallel num_threads(threads) reduction(& : sound)
    {
        float up = one + half, down = -one - half, even = one + half * 2;
        even += half;
        sound = up == 1 && down == -1 && even == 1 + 0x1p-22f;
    }
    return sound;
}

/* A module with nothing in it: the functions above are reached through ctypes. */
typedef struct _object PyObject;
EXPORT PyObject *PyInit__kernels(void) { return 0; }
