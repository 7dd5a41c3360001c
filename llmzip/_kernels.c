/* The C library, called from native.py through ctypes: the same bits as the torch operations of models/ops.py, several
 * times faster. It uses nothing of Python. HAVE_AVX2, HAVE_VNNI, HAVE_AMX and HAVE_NEON say which instruction sets
 * _forward.c was compiled for; which of them this CPU has is asked at run time.
 */
#define _GNU_SOURCE
#include "_kernels.h"

#include <stddef.h>

#include "_export.h"
#if defined(HAVE_AVX2) || defined(HAVE_VNNI) || defined(HAVE_AMX)
#include <cpuid.h>
#endif
#ifdef HAVE_AMX
#include <sys/syscall.h>
#include <unistd.h>
#endif
#if defined(HAVE_NEON) && defined(__linux__)
#include <sys/auxv.h>
#elif defined(HAVE_NEON) && defined(_WIN32)
#include <windows.h>
#endif

enum { PORTABLE, AVX2, VNNI, AMX, NEON, LEVELS }; /* the names in native.py have this order */

static const Kernels *const kernels[LEVELS] = {
    [PORTABLE] = &kernels_portable,
#ifdef HAVE_AVX2
    [AVX2] = &kernels_avx2,
#endif
#ifdef HAVE_VNNI
    [VNNI] = &kernels_vnni,
#endif
#ifdef HAVE_AMX
    [AMX] = &kernels_amx,
#endif
#ifdef HAVE_NEON
    [NEON] = &kernels_neon,
#endif
};

/* ---- what this CPU has ------------------------------------------------------------------------------------------- */

#if defined(HAVE_AVX2) || defined(HAVE_VNNI) || defined(HAVE_AMX)
/* cpuid and xgetbv themselves: what compilers have instead knows fewer names, or needs a library. */
enum {
    OSXSAVE = 1 << 27,                        /* leaf 1, ecx */
    EBX_AVX2 = 1 << 5 | 1 << 8,               /* leaf 7: avx2, bmi2 */
    EBX_AVX512 = 1 << 16 | 1 << 17 | 1 << 30, /* f, dq, bw */
    ECX_VNNI = 1 << 11,
    EDX_AMX = 1 << 24 | 1 << 25, /* tile, int8 */
    STATE_AVX = 0x6,             /* registers that the system keeps for us */
    STATE_AVX512 = 0xe6,
    STATE_AMX = 0x60000
};
#define EBX_AVX512VL (1u << 31)

static int has_all(uint32_t have, uint32_t wanted) { return (have & wanted) == wanted; }

static int may_use_tiles(void) {
#ifdef HAVE_AMX
    enum { ARCH_REQ_XCOMP_PERM = 0x1023, XTILEDATA = 18 };
    return syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XTILEDATA) == 0;
#else
    return 0;
#endif
}

static int cpu_levels(void) {
    uint32_t a, b, c, d, state, high;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !has_all(c, OSXSAVE)) return 0;
    __asm__("xgetbv" : "=a"(state), "=d"(high) : "c"(0));
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !has_all(state, STATE_AVX) || !has_all(b, EBX_AVX2)) return 0;
    int found = 1 << AVX2;
    if (!has_all(state, STATE_AVX512) || !has_all(b, EBX_AVX512 | EBX_AVX512VL) || !has_all(c, ECX_VNNI)) return found;
    found |= 1 << VNNI;
    if (has_all(state, STATE_AMX) && has_all(d, EDX_AMX) && may_use_tiles()) found |= 1 << AMX;
    return found;
}
#elif defined(HAVE_NEON) && defined(__linux__)
static int cpu_levels(void) { return getauxval(AT_HWCAP) & 1 << 20 /* HWCAP_ASIMDDP */ ? 1 << NEON : 0; }
#elif defined(HAVE_NEON) && defined(_WIN32)
static int cpu_levels(void) {
    return IsProcessorFeaturePresent(43 /* PF_ARM_V82_DP_INSTRUCTIONS_AVAILABLE */) ? 1 << NEON : 0;
}
#elif defined(HAVE_NEON) && defined(__APPLE__) /* every CPU that macOS runs on has it */
static int cpu_levels(void) { return 1 << NEON; }
#else
static int cpu_levels(void) { return 0; }
#endif

/* ---- what Python calls ------------------------------------------------------------------------------------------- */

/* Bit n: whether level n is here and this CPU has it. */
EXPORT int llmzip_levels(void) {
    int found = 0, have = 1 << PORTABLE | cpu_levels();
    for (int level = 0; level < LEVELS; level++)
        if (kernels[level] && have >> level & 1) found |= 1 << level;
    return found;
}

/* What Python mirrors by hand and native.py compares: how many numbers follow, a version, the structures in their
 * order there, and the sizes that arrays are made by. */
EXPORT const int64_t *llmzip_layout(void) {
    static const int64_t layout[] = {11, 8, 7, sizeof(Matrix), sizeof(Layer), sizeof(Model), sizeof(Cache),
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

EXPORT void llmzip_pack(
    int level, const int8_t *w, int64_t n, int64_t k, int64_t k_stride, int paired, uint8_t *out, int threads) {
    kernels[level]->pack(w, n, k, k_stride, paired, out, threads);
}

EXPORT void llmzip_forward(
    int level, const Model *m, const Cache *cache, Buffers *b, const Rows *tokens, int16_t *scores, int threads) {
    kernels[level]->forward(m, cache, b, tokens, scores, threads);
}

EXPORT void llmzip_linear(
    int level, const Matrix *w, Activations *a, const float *x, int64_t rows, float *out, int threads) {
    kernels[level]->linear(w, a, x, rows, out, threads);
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
