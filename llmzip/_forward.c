/* The exact Llama forward and the coder's tables, compiled once for each instruction set (CMakeLists.txt), with
 *   KERNELS  the name of what is made: a Kernels of this set
 *   AVX2     defined for AVX2
 *   VNNI     defined for AVX-512 VNNI, and AMX for its tiles, too
 *   NEON     defined for the dot product of ARM
 * or none of them, for portable C. Every set gives the same bits: sums are over integers within the bounds stated
 * beside them, everything else is one correctly rounded IEEE operation at a time (compiled with -ffp-contract=off;
 * docs/exactness.md has the definition, models/ops.py the torch twin).
 */
#include <float.h>
#include <math.h>
#include <string.h>

#include "_kernels.h"
#ifdef _OPENMP
#include <omp.h>
static inline int omp_thread(void) { return omp_get_thread_num(); }
#else
static inline int omp_thread(void) { return 0; }
#endif
#if defined(AVX2) || defined(VNNI)
#include <immintrin.h>
#endif
#ifdef NEON
#include <arm_neon.h>
#endif

#if FLT_EVAL_METHOD != 0
#error "float arithmetic must round after every operation"
#endif
#ifdef __FAST_MATH__
#error "never with -ffast-math"
#endif

#define TINY 0x1p-60f
#define MAX_LINES 32 /* activation lines, one for each digit, that meet a panel of weights at once */
#define ESCAPE_SCORE -4096
enum { STORE = 0, ADD = 1, SWIGLU = 2 }; /* what linear does with its result */
enum { MAX_PART = 1040 };                /* inputs whose sum fits into int32: 16256 * 127 * 1040 < 2^31 */

/* Sets that multiply bytes four at a time have activations as int8 digits, the others as int16. */
#if defined(VNNI) || defined(NEON)
#define BYTES 1
#define GROUP 4
#else
#define BYTES 0
#define GROUP 2
#endif
/* What is added to weights and keys: VNNI multiplies unsigned by signed bytes. */
#ifdef VNNI
#define OFFSET 128
#else
#define OFFSET 0
#endif
#ifdef AMX
#define TILES 1
#else
#define TILES 0
#endif

typedef struct {
    float *floats;
    int32_t *ints;
    int16_t *shorts;
} Scratch;

static inline Scratch scratch_of(const Buffers *b, int thread) {
    uint8_t *at = b->scratch + (int64_t)thread * b->scratch_floats * 12;
    return (Scratch){(float *)at, (int32_t *)(at + b->scratch_floats * 4), (int16_t *)(at + b->scratch_floats * 8)};
}

/* ---- small exact pieces ------------------------------------------------------------------------------------------ */

/* Round half to even, |x| <= 2^22: the sum has no fractional bits left. */
static inline float round_even(float x) { return (x + 12582912.0f) - 12582912.0f; }

/* 2^d for |d| <= 120: polynomial on the fraction, exponent added as bits. */
static inline float power_of_two(float d) {
    int32_t whole = (int32_t)d;
    whole -= (float)whole > d;
    float f = d - (float)whole;
    float p = 0x1.c541740000000p-13f;
    p = p * f + 0x1.46d64c0000000p-10f;
    p = p * f + 0x1.3d0b920000000p-7f;
    p = p * f + 0x1.c689120000000p-5f;
    p = p * f + 0x1.ebfd580000000p-3f;
    p = p * f + 0x1.62e42c0000000p-1f;
    p = p * f + 1.0f;
    int32_t bits;
    memcpy(&bits, &p, 4);
    bits += whole * (1 << 23);
    memcpy(&p, &bits, 4);
    return p;
}

/* max |x[i]|, at least TINY. On the bits: for finite floats the order of magnitudes is the order of the integers. */
static inline float max_abs(const float *x, int n) {
    int32_t best = 0;
    for (int i = 0; i < n; i++) {
        int32_t bits;
        memcpy(&bits, x + i, 4);
        bits &= 0x7fffffff;
        best = bits > best ? bits : best;
    }
    float m;
    memcpy(&m, &best, 4);
    return m > TINY ? m : TINY;
}

/* max x[i]. On the bits, too, so that it is done many at a time: negative ones are turned round, and order as
 * integers do. */
static inline float largest(const float *x, int n) {
    int32_t best = INT32_MIN;
    for (int i = 0; i < n; i++) {
        int32_t bits;
        memcpy(&bits, x + i, 4);
        bits ^= (bits >> 31) & 0x7fffffff;
        best = bits > best ? bits : best;
    }
    best ^= (best >> 31) & 0x7fffffff;
    float m;
    memcpy(&m, &best, 4);
    return m;
}

/* A head's row as int8; returns its scale. */
static inline float quantize8(const float *x, int n, int8_t *q) {
    float m = max_abs(x, n), inverse = 127.0f / m;
    for (int i = 0; i < n; i++) q[i] = (int8_t)round_even(x[i] * inverse);
    return m * (1.0f / 127.0f);
}

static void rmsnorm(const float *x, const float *weight, int n, double eps, float *out) {
    float m = max_abs(x, n), to_int = 32767.0f / m;
    int64_t squares = 0; /* <= 2^30 n < 2^53 */
    for (int i = 0; i < n; i++) {
        int32_t q = (int32_t)round_even(x[i] * to_int);
        squares += (int64_t)q * q;
    }
    double unit = (double)m * (1.0 / 32767.0);
    double mean = (double)squares * unit;
    mean = mean * unit;
    mean = mean * (1.0 / (double)n);
    mean = mean + eps;
    float inverse = (float)(1.0 / sqrt(mean));
    for (int i = 0; i < n; i++) {
        float t = x[i] * inverse;
        out[i] = t * weight[i];
    }
}

/* ---- linear layers ----------------------------------------------------------------------------------------------- */

/* Activations of a row: BYTES: `digits` lines of int8 digits (high, low); else one line of int16. `sums` is OFFSET
 * times the sum of the row. */
static void quantize_row(
    const float *x, int k, int k_stride, int digits, void *lines, int64_t row, float *scale, int64_t *sums) {
    float top = digits == 2 ? 16256.0f : 127.0f; /* 127 * 128: the high digit is at most 127 */
    float m = max_abs(x, k), inverse = top / m;
    int64_t sum = 0;
#if BYTES
    int8_t *high = (int8_t *)lines + row * digits * k_stride, *low = high + k_stride;
    if (digits == 2) {
        int32_t s = 0; /* <= 16256 * 65536 < 2^31 */
        for (int i = 0; i < k; i++) {
            int32_t q = (int32_t)round_even(x[i] * inverse);
            int32_t h = (q + 64) >> 7;
            high[i] = (int8_t)h;
            low[i] = (int8_t)(q - h * 128);
            s += q;
        }
        sum = s;
        for (int i = k; i < k_stride; i++) high[i] = low[i] = 0;
    } else {
        int32_t s = 0;
        for (int i = 0; i < k; i++) {
            int32_t q = (int32_t)round_even(x[i] * inverse);
            high[i] = (int8_t)q;
            s += q;
        }
        sum = s;
        for (int i = k; i < k_stride; i++) high[i] = 0;
    }
#else
    int16_t *q = (int16_t *)lines + row * k_stride;
    for (int i = 0; i < k; i++) q[i] = (int16_t)round_even(x[i] * inverse);
    for (int i = k; i < k_stride; i++) q[i] = 0;
#endif
    *scale = m * (digits == 2 ? 1.0f / 16256.0f : 1.0f / 127.0f);
    *sums = OFFSET * sum;
}

/* Row of the weight matrix that column c (0..31) of panel p holds, or -1. Paired: 16 gates, then the 16 ups that
 * belong to them. */
static inline int64_t panel_row(int64_t p, int c, int64_t n, int paired) {
    int64_t row = paired ? p * 16 + (c & 15) : p * 32 + c;
    if (row >= (paired ? n / 2 : n)) return -1;
    return paired && c >= 16 ? n / 2 + row : row;
}

/* [panel][k / GROUP][32 columns][GROUP] of weight + OFFSET. */
static void pack(const int8_t *w, int64_t n, int64_t k, int64_t k_stride, int paired, uint8_t *out, int threads) {
    int64_t panels = paired ? (n / 2 + 15) / 16 : (n + 31) / 32;
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t p = 0; p < panels; p++) {
        uint8_t *panel = out + p * k_stride * 32;
        for (int c = 0; c < 32; c++) {
            int64_t row = panel_row(p, c, n, paired);
            for (int64_t i = 0; i < k_stride; i++) {
                int value = row >= 0 && i < k ? w[row * k + i] : 0;
                panel[(i / GROUP * 32 + c) * GROUP + i % GROUP] = (uint8_t)(value + OFFSET);
            }
        }
    }
}

#ifdef VNNI
/* `count` lines times one panel: sums[line][32], of weight + 128 times digit. |sum| <= 255 * 127 * k < 2^31
 * for k <= 66 000 */
static inline __attribute__((always_inline)) void lines_kernel(
    const int8_t *a, int64_t stride, const uint8_t *panel, int64_t k, const int count, int32_t *sums) {
    __m512i acc[12][2];
#pragma GCC unroll 12
    for (int r = 0; r < count; r++) acc[r][0] = acc[r][1] = _mm512_setzero_si512();
    for (int64_t i = 0; i < k; i += 4) {
        __m512i w0 = _mm512_loadu_si512(panel + i * 32), w1 = _mm512_loadu_si512(panel + i * 32 + 64);
#pragma GCC unroll 12
        for (int r = 0; r < count; r++) {
            int32_t four;
            memcpy(&four, a + r * stride + i, 4);
            __m512i digits = _mm512_set1_epi32(four);
            acc[r][0] = _mm512_dpbusd_epi32(acc[r][0], w0, digits);
            acc[r][1] = _mm512_dpbusd_epi32(acc[r][1], w1, digits);
        }
    }
#pragma GCC unroll 12
    for (int r = 0; r < count; r++) {
        _mm512_storeu_si512(sums + r * 32, acc[r][0]);
        _mm512_storeu_si512(sums + r * 32 + 16, acc[r][1]);
    }
}
#endif

#ifdef NEON
static inline int8x16_t four_digits(const int8_t *a) {
    int32_t four;
    memcpy(&four, a, 4);
    return vreinterpretq_s8_s32(vdupq_n_s32(four));
}

/* `count` lines, up to 4, times 16 columns of a panel: their sums and the weights fit into the registers. */
static inline __attribute__((always_inline)) void lines_of(
    const int8_t *a, int64_t stride, const uint8_t *panel, int64_t k, const int count, int32_t *sums) {
    int32x4_t acc[4][4];
    for (int r = 0; r < count; r++)
        for (int c = 0; c < 4; c++) acc[r][c] = vdupq_n_s32(0);
    for (int64_t i = 0; i < k; i += 4) {
        int8x16x4_t w = vld1q_s8_x4((const int8_t *)panel + i * 32);
        for (int r = 0; r < count; r++) {
            int8x16_t digits = four_digits(a + r * stride + i);
            for (int c = 0; c < 4; c++) acc[r][c] = vdotq_s32(acc[r][c], w.val[c], digits);
        }
    }
    for (int r = 0; r < count; r++)
        for (int c = 0; c < 4; c++) vst1q_s32(sums + r * 32 + c * 4, acc[r][c]);
}

/* `count` lines, an even number, times one panel: sums[line][32]. |sum| <= 127 * 127 * k < 2^31 for k <= 66 000 */
static inline void lines_kernel(
    const int8_t *a, int64_t stride, const uint8_t *panel, int64_t k, int count, int32_t *sums) {
    for (int half = 0; half < 2; half++) {
        int r = 0;
        for (; r + 4 <= count; r += 4)
            lines_of(a + r * stride, stride, panel + half * 64, k, 4, sums + r * 32 + half * 16);
        if (r < count) lines_of(a + r * stride, stride, panel + half * 64, k, 2, sums + r * 32 + half * 16);
    }
}
#endif

#ifdef AMX
/* Tiles: 0-3 sums, 4-5 lines, 6-7 weights; each 16 rows of 64 bytes. Every thread sets its own. */
static inline void tiles_on(void) {
    struct {
        uint8_t palette, start_row, reserved[14];
        uint16_t row_bytes[16];
        uint8_t rows[16];
    } config = {.palette = 1};
    for (int i = 0; i < 8; i++) config.row_bytes[i] = 64, config.rows[i] = 16;
    _tile_loadconfig(&config);
}

/* The same for 32 lines, k a multiple of 64. */
static inline void tile_kernel(const int8_t *a, int64_t stride, const uint8_t *panel, int64_t k, int32_t *sums) {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (int64_t i = 0; i < k; i += 64) {
        _tile_loadd(4, a + i, stride);
        _tile_loadd(5, a + 16 * stride + i, stride);
        _tile_loadd(6, panel + i * 32, 128);
        _tile_loadd(7, panel + i * 32 + 64, 128);
        _tile_dpbsud(0, 4, 6);
        _tile_dpbsud(1, 4, 7);
        _tile_dpbsud(2, 5, 6);
        _tile_dpbsud(3, 5, 7);
    }
    _tile_stored(0, sums, 128);
    _tile_stored(1, sums + 16, 128);
    _tile_stored(2, sums + 16 * 32, 128);
    _tile_stored(3, sums + 16 * 32 + 16, 128);
}
#endif

#if !BYTES
#ifdef AVX2
/* Inputs `begin` to `end` of `count` rows, up to 3, times one panel: sums[row][32]. */
static inline __attribute__((always_inline)) void rows_of(const int16_t *a, int64_t stride, const uint8_t *panel,
    int64_t begin, int64_t end, const int count, int32_t *sums) {
    __m256i acc[3][4];
#pragma GCC unroll 3
    for (int r = 0; r < count; r++) acc[r][0] = acc[r][1] = acc[r][2] = acc[r][3] = _mm256_setzero_si256();
    for (int64_t i = begin; i < end; i += 2) {
        __m256i inputs[3];
#pragma GCC unroll 3
        for (int r = 0; r < count; r++) {
            int32_t two;
            memcpy(&two, a + r * stride + i, 4);
            inputs[r] = _mm256_set1_epi32(two);
        }
#pragma GCC unroll 4
        for (int c = 0; c < 4; c++) { /* widened once for all rows */
            __m256i w = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(panel + i * 32) + c));
#pragma GCC unroll 3
            for (int r = 0; r < count; r++) acc[r][c] = _mm256_add_epi32(acc[r][c], _mm256_madd_epi16(w, inputs[r]));
        }
    }
#pragma GCC unroll 3
    for (int r = 0; r < count; r++)
#pragma GCC unroll 4
        for (int c = 0; c < 4; c++) _mm256_storeu_si256((__m256i *)(sums + r * 32) + c, acc[r][c]);
}

static void rows_kernel(
    const int16_t *a, int64_t stride, const uint8_t *panel, int64_t begin, int64_t end, int count, int32_t *sums) {
    switch (count) { /* of a number that the compiler knows: unrolled */
    case 3: rows_of(a, stride, panel, begin, end, 3, sums); break;
    case 2: rows_of(a, stride, panel, begin, end, 2, sums); break;
    default: rows_of(a, stride, panel, begin, end, 1, sums);
    }
}
#else
/* Inputs `begin` to `end` of `count` rows times one panel: sums[row][32]. */
static void rows_kernel(
    const int16_t *a, int64_t stride, const uint8_t *panel, int64_t begin, int64_t end, int count, int32_t *sums) {
    memset(sums, 0, (size_t)count * 32 * sizeof *sums);
    for (int r = 0; r < count; r++, a += stride, sums += 32)
        for (int64_t i = begin; i < end; i += 2) {
            const int8_t *w = (const int8_t *)panel + i * 32;
            for (int c = 0; c < 32; c++) sums[c] += w[2 * c] * a[i] + w[2 * c + 1] * a[i + 1];
        }
}
#endif
#endif

/* Exact integer sums of `rows` rows times one panel as float32, rounded once: y[row][32]. */
static void panel_sums(const void *lines, int64_t row, int rows, int64_t k_stride, int digits, const int64_t *offsets,
    const uint8_t *panel, float *y) {
#if BYTES
    int32_t sums[MAX_LINES * 32];
    const int8_t *a = (const int8_t *)lines + row * digits * k_stride;
    /* the lines past the last give nothing, and cost less than odd ends */
    int lines_done = rows * digits > 12 ? 32 : (rows * digits + 1) & ~1;
#ifdef NEON
    lines_kernel(a, k_stride, panel, k_stride, lines_done, sums);
#else
    switch (lines_done) { /* of a number that the compiler knows: unrolled */
#ifdef AMX
    case 32: tile_kernel(a, k_stride, panel, k_stride, sums); break;
#endif
    case 12: lines_kernel(a, k_stride, panel, k_stride, 12, sums); break;
    case 10: lines_kernel(a, k_stride, panel, k_stride, 10, sums); break;
    case 8: lines_kernel(a, k_stride, panel, k_stride, 8, sums); break;
    case 6: lines_kernel(a, k_stride, panel, k_stride, 6, sums); break;
    case 4: lines_kernel(a, k_stride, panel, k_stride, 4, sums); break;
    default: lines_kernel(a, k_stride, panel, k_stride, 2, sums);
    }
#endif
    for (int r = 0; r < rows; r++) {
        const int32_t *high = sums + r * digits * 32, *low = high + 32;
        float *out = y + r * 32;
        int64_t offset = offsets[row + r];
        if (digits == 1) {
            for (int c = 0; c < 32; c++) out[c] = (float)(high[c] - (int32_t)offset); /* <= 127 * 127 k < 2^31 */
        } else if (k_stride <= MAX_PART) {
            /* the true sum fits; what wraps on the way there cancels */
            for (int c = 0; c < 32; c++)
                out[c] = (float)(int32_t)((uint32_t)high[c] * 128u + (uint32_t)low[c] - (uint32_t)offset);
        } else {
            for (int c = 0; c < 32; c++) /* < 2^53 */
                out[c] = (float)((double)high[c] * 128.0 + (double)low[c] - (double)offset);
        }
    }
#else
    (void)digits, (void)offsets;
    const int16_t *a = (const int16_t *)lines + row * k_stride;
    for (int r = 0, count; r < rows; r += count, a += count * k_stride, y += count * 32) {
        int32_t sums[3 * 32];
        count = rows - r < 3 ? rows - r : 3;
        if (k_stride <= MAX_PART) {
            rows_kernel(a, k_stride, panel, 0, k_stride, count, sums);
            for (int c = 0; c < count * 32; c++) y[c] = (float)sums[c];
            continue;
        }
        int64_t total[3 * 32] = {0};
        for (int64_t begin = 0; begin < k_stride; begin += MAX_PART) {
            rows_kernel(
                a, k_stride, panel, begin, begin + MAX_PART < k_stride ? begin + MAX_PART : k_stride, count, sums);
            for (int c = 0; c < count * 32; c++) total[c] += sums[c];
        }
        for (int c = 0; c < count * 32; c++) y[c] = (float)total[c];
    }
#endif
}

/* silu(g) u = g * 1/(1 + 2^(-g log2 e)) * u of 16 gates v[0..15] and v[16..31]. A function of its own, and clamps in a
 * loop of their own: inlined or together the compiler branches, and does one at a time. */
__attribute__((noinline)) static void swiglu16(const float *restrict v, float *restrict h) {
    float d[16];
    for (int c = 0; c < 16; c++) {
        float t = v[c] * -0x1.715476p+0f;
        t = t < -30.0f ? -30.0f : t;
        d[c] = t > 30.0f ? 30.0f : t;
    }
    for (int c = 0; c < 16; c++) {
        float gate = v[c] * (1.0f / (1.0f + power_of_two(d[c])));
        h[c] = gate * v[16 + c];
    }
}

/* y = q(x) W^T: out[row][column], stored, added, or silu(gate) * up. Called by every thread of a parallel region;
 * ends in a barrier. */
static void linear(
    const Matrix *w, const Activations *x, int64_t first_row, int64_t rows, int mode, float *out, int64_t out_stride) {
    int64_t n = w->n, panels = mode == SWIGLU ? (n / 2 + 15) / 16 : (n + 31) / 32;
    int step = BYTES ? 12 / x->digits : 6, tiled = TILES && w->k_stride % 64 == 0 ? 32 / x->digits : 0;
#ifdef AMX
    tiles_on();
#endif
#pragma omp for schedule(dynamic, 4)
    for (int64_t p = 0; p < panels; p++) {
        const uint8_t *panel = w->packed + p * w->k_stride * 32;
        float scale[32], bias[32] = {0}, y[MAX_LINES * 32];
        for (int c = 0; c < 32; c++) {
            int64_t source = panel_row(p, c, n, mode == SWIGLU);
            scale[c] = source >= 0 ? w->scale[source] : 0.0f;
            if (w->bias && source >= 0) bias[c] = w->bias[source];
        }
        for (int64_t row = first_row, count; row < first_row + rows; row += count) {
            int64_t left = first_row + rows - row;
            count = tiled && left > step ? (left < tiled ? left : tiled) : left < step ? left : step;
            panel_sums(x->lines, row, (int)count, w->k_stride, x->digits, x->sums, panel, y);
            for (int r = 0; r < count; r++) {
                float *v = y + r * 32, row_scale = x->scales[row + r];
                for (int c = 0; c < 32; c++) {
                    float t = v[c] * row_scale;
                    v[c] = t * scale[c];
                }
                if (w->bias)
                    for (int c = 0; c < 32; c++) v[c] = v[c] + bias[c];
                if (mode == SWIGLU) {
                    int64_t width = n / 2 - p * 16 < 16 ? n / 2 - p * 16 : 16;
                    float h[16];
                    swiglu16(v, h);
                    memcpy(out + (row + r - first_row) * out_stride + p * 16, h, (size_t)width * 4);
                } else {
                    int64_t width = n - p * 32 < 32 ? n - p * 32 : 32;
                    float *to = out + (row + r - first_row) * out_stride + p * 32;
                    if (mode == ADD)
                        for (int64_t c = 0; c < width; c++) to[c] = to[c] + v[c];
                    else if (width == 32) memcpy(to, v, 32 * 4); /* of a size that the compiler knows: no call */
                    else memcpy(to, v, (size_t)width * 4);
                }
            }
        }
    }
#ifdef AMX
    _tile_release();
#endif
}

/* ---- attention --------------------------------------------------------------------------------------------------- */

static inline void rotate(float *x, const float *cos_, const float *sin_, int half) {
    for (int i = 0; i < half; i++) {
        float a = x[i] * cos_[i], b = x[half + i] * sin_[i];
        float c = x[half + i] * cos_[i], d = x[i] * sin_[i];
        x[i] = a - b;
        x[half + i] = c + d;
    }
}

/* The cache of one lane and kv head: K and V as int8, `capacity` positions (a multiple of 16) of `dim` (a multiple of
 * 16), laid out BYTES: K [position/16][dim/4][16][4] of k + OFFSET; VNNI: V [position/2][dim][2].
 * Else: [position][dim]. */
static void store_kv(const float *k, const float *v, int dim, int head_dim, int64_t pos, uint8_t *k_cache,
    int8_t *v_cache, float *k_scale, float *v_scale) {
    int8_t q[MAX_HEAD_DIM] = {0};
    k_scale[pos] = quantize8(k, head_dim, q);
#if BYTES
    uint8_t *block = k_cache + (pos / 16) * 16 * dim + (pos % 16) * 4;
    for (int d = 0; d < dim; d += 4)
        for (int j = 0; j < 4; j++) block[d * 16 + j] = (uint8_t)(q[d + j] + OFFSET);
#else
    memcpy(k_cache + pos * dim, q, (size_t)dim);
#endif
    memset(q, 0, sizeof q);
    v_scale[pos] = quantize8(v, head_dim, q);
#ifdef VNNI
    int8_t *pair = v_cache + (pos / 2) * 2 * dim + pos % 2;
    for (int d = 0; d < dim; d++) pair[2 * d] = q[d];
#else
    memcpy(v_cache + pos * dim, q, (size_t)dim);
#endif
}

#ifdef VNNI
/* `blocks` times 16 positions from j on: several at once, since each sum waits for itself. */
static inline __attribute__((always_inline)) void dots_of(
    const int8_t *q, const uint8_t *k_cache, int dim, int64_t j, const int blocks, __m512i correction, int32_t *dots) {
    const uint8_t *block = k_cache + j * dim;
    __m512i acc[4];
#pragma GCC unroll 4
    for (int b = 0; b < blocks; b++) acc[b] = _mm512_sub_epi32(_mm512_setzero_si512(), correction);
    for (int d = 0; d < dim; d += 4) {
        int32_t four;
        memcpy(&four, q + d, 4);
        __m512i digits = _mm512_set1_epi32(four);
#pragma GCC unroll 4
        for (int b = 0; b < blocks; b++)
            acc[b] = _mm512_dpbusd_epi32(acc[b], _mm512_loadu_si512(block + b * 16 * dim + d * 16), digits);
    }
#pragma GCC unroll 4
    for (int b = 0; b < blocks; b++) _mm512_storeu_si512(dots + j + b * 16, acc[b]);
}
#endif

#ifdef NEON
/* 16 positions from j on. */
static inline void dots_of(const int8_t *q, const uint8_t *k_cache, int dim, int64_t j, int32_t *dots) {
    const int8_t *block = (const int8_t *)k_cache + j * dim;
    int32x4_t acc[4] = {vdupq_n_s32(0), vdupq_n_s32(0), vdupq_n_s32(0), vdupq_n_s32(0)};
    for (int d = 0; d < dim; d += 4) {
        int8x16_t digits = four_digits(q + d);
        int8x16x4_t k = vld1q_s8_x4(block + d * 16);
        for (int i = 0; i < 4; i++) acc[i] = vdotq_s32(acc[i], k.val[i], digits);
    }
    for (int i = 0; i < 4; i++) vst1q_s32(dots + j + i * 4, acc[i]);
}
#endif

#ifdef AVX2
/* 4 positions from j on; q widened. */
static inline void dots_of(const int16_t *q, const uint8_t *k_cache, int dim, int64_t j, int32_t *dots) {
    const uint8_t *k = k_cache + j * dim;
    __m256i acc[4];
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) acc[i] = _mm256_setzero_si256();
    for (int d = 0; d < dim; d += 16) {
        __m256i digits = _mm256_loadu_si256((const __m256i *)(q + d));
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++) {
            __m256i keys = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(k + i * dim + d)));
            acc[i] = _mm256_add_epi32(acc[i], _mm256_madd_epi16(keys, digits));
        }
    }
    __m256i sums = _mm256_hadd_epi32(_mm256_hadd_epi32(acc[0], acc[1]), _mm256_hadd_epi32(acc[2], acc[3]));
    __m128i all = _mm_add_epi32(_mm256_castsi256_si128(sums), _mm256_extracti128_si256(sums, 1));
    _mm_storeu_si128((__m128i *)(dots + j), all);
}
#endif

/* dots[j] = q . k[j], |.| <= 127 * 127 * dim < 2^31, for positions begin <= j < end (rounded outwards to 16). */
static inline void dots(const int8_t *q, const uint8_t *k_cache, int dim, int64_t begin, int64_t end, int32_t *dots) {
#ifdef NEON
    for (int64_t j = begin & ~15; j < end; j += 16) dots_of(q, k_cache, dim, j, dots);
#elif defined(VNNI)
    int32_t sum = 0;
    for (int d = 0; d < dim; d++) sum += q[d];
    __m512i correction = _mm512_set1_epi32(128 * sum);
    int64_t j = begin & ~15;
    for (; j + 48 < end; j += 64) dots_of(q, k_cache, dim, j, 4, correction, dots);
    for (; j < end; j += 16) dots_of(q, k_cache, dim, j, 1, correction, dots);
#elif defined(AVX2)
    int16_t wide[MAX_HEAD_DIM];
    for (int d = 0; d < dim; d++) wide[d] = q[d];
    for (int64_t j = begin & ~3; j < end; j += 4) dots_of(wide, k_cache, dim, j, dots);
#else
    for (int64_t j = begin; j < end; j++) {
        const int8_t *k = (const int8_t *)k_cache + j * dim;
        int32_t sum = 0;
        for (int d = 0; d < dim; d++) sum += q[d] * k[d];
        dots[j] = sum;
    }
#endif
}

#ifdef VNNI
/* `parts` times 16 of the dimensions, from d on, in two sums each. */
static inline __attribute__((always_inline)) void weighted_of(const int16_t *p, const int8_t *v_cache, int dim,
    int64_t begin, int64_t end, int d, const int parts, int32_t *acc) {
    __m512i sum[2][4];
#pragma GCC unroll 4
    for (int i = 0; i < parts; i++) sum[0][i] = sum[1][i] = _mm512_setzero_si512();
    for (int64_t j = begin & ~1; j < end; j += 4) { /* p is zero after the end, and V is there */
#pragma GCC unroll 2
        for (int half = 0; half < 2; half++) {
            int32_t two;
            memcpy(&two, p + j + 2 * half, 4);
            const int8_t *v = v_cache + (j + 2 * half) * dim + 2 * d;
            __m512i weights = _mm512_set1_epi32(two);
#pragma GCC unroll 4
            for (int i = 0; i < parts; i++) {
                __m512i values = _mm512_cvtepi8_epi16(_mm256_loadu_si256((const __m256i *)(v + 32 * i)));
                sum[half][i] = _mm512_dpwssd_epi32(sum[half][i], values, weights);
            }
        }
    }
#pragma GCC unroll 4
    for (int i = 0; i < parts; i++) _mm512_storeu_si512(acc + d + 16 * i, _mm512_add_epi32(sum[0][i], sum[1][i]));
}
#endif

#ifdef AVX2
/* 16 of the dimensions, from d on: two positions at a time. */
static inline void weighted_of(
    const int16_t *p, const int8_t *v_cache, int dim, int64_t begin, int64_t end, int d, int32_t *acc) {
    __m256i low = _mm256_setzero_si256(), high = low;
    for (int64_t j = begin & ~1; j < end; j += 2) { /* p is zero before and after, and V is there */
        int32_t two;
        memcpy(&two, p + j, 4);
        __m256i weights = _mm256_set1_epi32(two);
        const __m128i *v = (const __m128i *)(v_cache + j * dim + d);
        __m128i one = _mm_loadu_si128(v), other = _mm_loadu_si128((const __m128i *)((const int8_t *)v + dim));
        __m256i values = _mm256_cvtepi8_epi16(_mm_unpacklo_epi8(one, other));
        low = _mm256_add_epi32(low, _mm256_madd_epi16(values, weights));
        values = _mm256_cvtepi8_epi16(_mm_unpackhi_epi8(one, other));
        high = _mm256_add_epi32(high, _mm256_madd_epi16(values, weights));
    }
    _mm256_storeu_si256((__m256i *)(acc + d), low);
    _mm256_storeu_si256((__m256i *)(acc + d + 8), high);
}
#endif

/* acc[d] = sum of p[j] v[j][d], |.| <= 127 * (32640 + positions / 2) < 2^24. p is zero at begin - 1 and from end to
 * end + 2. */
static inline void weighted(
    const int16_t *p, const int8_t *v_cache, int dim, int64_t begin, int64_t end, int32_t *acc) {
#ifdef VNNI
    int d = 0;
    for (; d + 48 < dim; d += 64) weighted_of(p, v_cache, dim, begin, end, d, 4, acc);
    for (; d < dim; d += 16) weighted_of(p, v_cache, dim, begin, end, d, 1, acc);
#elif defined(AVX2)
    for (int d = 0; d < dim; d += 16) weighted_of(p, v_cache, dim, begin, end, d, acc);
#else
    memset(acc, 0, (size_t)dim * 4);
    for (int64_t j = begin; j < end; j++)
        for (int d = 0; d < dim; d++) acc[d] += p[j] * v_cache[j * dim + d];
#endif
}

/* One query head over positions begin <= j < end. `work` has room for capacity + 16 of each. */
static void attend(float *q, int head_dim, int dim, float to_log2, const uint8_t *k_cache, const int8_t *v_cache,
    const float *k_scale, const float *v_scale, int64_t begin, int64_t end, Scratch *work, float *out) {
    int8_t q8[MAX_HEAD_DIM] = {0};
    int32_t acc[MAX_HEAD_DIM], *e = work->ints;
    float *s = work->floats;
    int16_t *p = work->shorts;
    float q_scale = quantize8(q, head_dim, q8) * to_log2;
    dots(q8, k_cache, dim, begin, end, e);
    for (int64_t j = begin; j < end; j++) {
        float t = (float)e[j] * k_scale[j];
        s[j] = t * q_scale;
    }
    float best = largest(s + begin, (int)(end - begin));
    int64_t mass = 0; /* <= 2^16 positions */
    /* a loop of its own: together with exp2 the compiler branches, and does one at a time */
    for (int64_t j = begin; j < end; j++) {
        float d = s[j] - best;
        s[j] = d < -30.0f ? -30.0f : d;
    }
    for (int64_t j = begin; j < end; j++) e[j] = (int32_t)round_even(power_of_two(s[j]) * 65536.0f);
    for (int64_t j = begin; j < end; j++) mass += e[j];
    float top = 0.0f;
    for (int64_t j = begin; j < end; j++) s[j] = (float)e[j] * v_scale[j];
    top = max_abs(s + begin, (int)(end - begin));
    float inverse = 32767.0f / top;
    int64_t sum = 0; /* <= 2^15 positions */
    for (int64_t j = begin; j < end; j++) {
        e[j] = (int32_t)round_even(s[j] * inverse);
        sum += e[j];
    }
    float total = (float)sum, share = 32640.0f / (total > 1.0f ? total : 1.0f);
    p[begin & ~1] = 0;
    p[end] = p[end + 1] = p[end + 2] = 0;
    for (int64_t j = begin; j < end; j++) p[j] = (int16_t)round_even((float)e[j] * share);
    weighted(p, v_cache, dim, begin, end, acc);
    float unit = total * (1.0f / 32640.0f);
    unit = unit * (top * (1.0f / 32767.0f));
    unit = unit / (float)mass;
    for (int d = 0; d < head_dim; d++) out[d] = (float)acc[d] * unit;
}

/* ---- the forward ------------------------------------------------------------------------------------------------- */

static void norm_rows(const float *x, const float *weight, int64_t rows, int width, double eps, int k_stride,
    Activations *to, Scratch *work) {
#pragma omp for schedule(static)
    for (int64_t r = 0; r < rows; r++) {
        rmsnorm(x + r * width, weight, width, eps, work->floats);
        quantize_row(work->floats, width, k_stride, to->digits, to->lines, r, to->scales + r, to->sums + r);
    }
}

static void quantize_rows(const float *x, int64_t rows, int width, int k_stride, Activations *to) {
#pragma omp for schedule(static)
    for (int64_t r = 0; r < rows; r++)
        quantize_row(x + r * width, width, k_stride, to->digits, to->lines, r, to->scales + r, to->sums + r);
}

static void attention(const Model *m, const Layer *layer, const Cache *cache, int64_t index, const Rows *rows,
    float *qkv, float *out, Scratch *work) {
    int heads = m->n_heads, kv_heads = m->n_kv_heads, hd = m->head_dim, dim = cache->dim,
        row_width = (heads + 2 * kv_heads) * hd;
    int64_t per_head = cache->capacity * dim;
#pragma omp for schedule(static)
    for (int64_t r = 0; r < rows->n; r++) { /* rotate q and k, fill the cache */
        float *row = qkv + r * row_width;
        int64_t pos = rows->positions[r], lane = rows->lanes[r];
        for (int h = 0; h < heads + kv_heads; h++) {
            float *x = row + h * hd;
            if (layer->q_norm) rmsnorm(x, h < heads ? layer->q_norm : layer->k_norm, hd, m->norm_eps, x);
            rotate(x, m->rope_cos + pos * (hd / 2), m->rope_sin + pos * (hd / 2), hd / 2);
        }
        for (int h = 0; h < kv_heads; h++) {
            int64_t slot = (index * cache->lanes + lane) * kv_heads + h;
            store_kv(row + (heads + h) * hd, row + (heads + kv_heads + h) * hd, dim, hd, pos,
                cache->k + slot * per_head, cache->v + slot * per_head, cache->k_scale + slot * cache->capacity,
                cache->v_scale + slot * cache->capacity);
        }
    }
#pragma omp for schedule(dynamic, 4)
    for (int64_t r = 0; r < rows->n; r++) {
        int64_t end = rows->positions[r] + 1, lane = rows->lanes[r];
        int64_t begin = m->sliding_window && end > m->sliding_window ? end - m->sliding_window : 0;
        for (int h = 0; h < heads; h++) {
            int64_t slot = (index * cache->lanes + lane) * kv_heads + h / (heads / kv_heads);
            attend(qkv + r * row_width + h * hd, hd, dim, m->to_log2, cache->k + slot * per_head,
                cache->v + slot * per_head, cache->k_scale + slot * cache->capacity,
                cache->v_scale + slot * cache->capacity, begin, end, work, out + (r * heads + h) * hd);
        }
    }
}

/* Logits of one row to scores: t * 256 log2 e - the largest, rounded, int16. */
static void score_row(const Model *m, float *t, int16_t *out) {
    int64_t n = m->head.n;
    for (int64_t i = 0; i < m->n_escapes; i++) t[m->escapes[i]] = -FLT_MAX;
    float best = largest(t, (int)n);
    for (int64_t i = 0; i < n; i++) {
        float d = t[i] - best;
        d = d < -32768.0f ? -32768.0f : d;
        out[i] = (int16_t)round_even(d);
    }
    for (int64_t i = 0; i < m->n_escapes; i++) out[m->escapes[i]] = ESCAPE_SCORE;
}

/* Read these tokens -> scores (rows, rows of the head), or none. What a row sees of its lane has been read before, or
 * is among them; a token that was read at its place before is forgotten. */
static void forward(const Model *m, const Cache *cache, Buffers *b, const Rows *tokens, int16_t *scores, int threads) {
    int64_t rows = tokens->n, n = m->head.n;
    int width = m->width, attended = m->n_heads * m->head_dim;
#pragma omp parallel num_threads(threads)
    {
        Scratch work = scratch_of(b, omp_thread());
        Activations *a = &b->activations;
#pragma omp for schedule(static)
        for (int64_t r = 0; r < rows; r++) {
            int64_t id = tokens->ids[r] < m->n_vocab ? tokens->ids[r] : m->start_id;
            float scale = m->embed_scale[id];
            for (int i = 0; i < width; i++) b->x[r * width + i] = (float)m->embed[id * width + i] * scale;
        }
        for (int64_t i = 0; i < m->n_layers; i++) {
            const Layer *layer = m->layers + i;
            norm_rows(b->x, layer->attn_norm, rows, width, m->norm_eps, layer->qkv.k_stride, a, &work);
            linear(&layer->qkv, a, 0, rows, STORE, b->wide, layer->qkv.n);
            attention(m, layer, cache, i, tokens, b->wide, b->attended, &work);
            quantize_rows(b->attended, rows, attended, layer->o.k_stride, a);
            linear(&layer->o, a, 0, rows, ADD, b->x, width);
            norm_rows(b->x, layer->mlp_norm, rows, width, m->norm_eps, layer->gate_up.k_stride, a, &work);
            linear(&layer->gate_up, a, 0, rows, SWIGLU, b->wide, m->hidden);
            quantize_rows(b->wide, rows, m->hidden, layer->down.k_stride, a);
            linear(&layer->down, a, 0, rows, ADD, b->x, width);
        }
        if (scores) {
            norm_rows(b->x, m->norm, rows, width, m->norm_eps, m->head.k_stride, a, &work);
#pragma omp for schedule(static)
            for (int64_t r = 0; r < rows; r++) a->scales[r] = a->scales[r] * 0x1.715476p+8f; /* 256 log2 e */
            /* logits of a few rows at a time: they stay in the cache */
            for (int64_t first = 0; first < rows; first += HEAD_ROWS) {
                int64_t count = rows - first < HEAD_ROWS ? rows - first : HEAD_ROWS;
                linear(&m->head, a, first, count, STORE, b->logits, n);
#pragma omp for schedule(static)
                for (int64_t r = 0; r < count; r++) score_row(m, b->logits + r * n, scores + (first + r) * n);
            }
        }
    }
}

/* One linear layer by itself, for the self-test: x (rows, k) -> out (rows, n). */
static void linear_alone(const Matrix *w, Activations *a, const float *x, int64_t rows, float *out, int threads) {
#pragma omp parallel num_threads(threads)
    {
        quantize_rows(x, rows, (int)w->k, (int)w->k_stride, a);
        linear(w, a, 0, rows, STORE, out, w->n);
    }
}

const Kernels KERNELS = {pack, forward, linear_alone};
