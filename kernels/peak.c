/* SPDX-License-Identifier: MIT */
#include "kernels/peak.h"

#include <string.h>

#ifdef __x86_64__
#include <immintrin.h>
#endif

/* A round is PEAK_STEPS independent sums: enough to hide the latency of an addition (4 cycles, two
 * a cycle). `a` is hidden from the compiler before each step, which it would else do once for all.
 */
#define ROUNDS(vector, attribute, name, initial, step) \
    attribute static void name(int64_t rounds) \
    { \
        vector sum[PEAK_STEPS], a = initial, b = initial; \
        for (int i = 0; i < PEAK_STEPS; i++) { \
            sum[i] = initial; \
            __asm__("" : HIDE(sum[i])); \
        } \
        __asm__("" : HIDE(b)); \
        for (int64_t r = 0; r < rounds; r++) { \
            _Pragma("GCC unroll 10") for (int i = 0; i < PEAK_STEPS; i++) \
            { \
                __asm__("" : HIDE(a)); \
                sum[i] = step; \
            } \
        } \
        for (int i = 0; i < PEAK_STEPS; i++) \
            __asm__ volatile("" : HIDE(sum[i])); \
    }

typedef float floats16 __attribute__((vector_size(16)));

#ifdef __x86_64__
#define HIDE(v) "+x"(v)
#define NONE
ROUNDS(floats16, NONE, mul_add_c, (floats16){ 0 }, sum[i] + a * b)

#define AVX2 __attribute__((target("avx2,fma")))
ROUNDS(__m256, AVX2, mul_add_avx2, _mm256_setzero_ps(), sum[i] + a * b)
ROUNDS(__m256, AVX2, fma_avx2, _mm256_setzero_ps(), _mm256_fmadd_ps(a, b, sum[i]))
ROUNDS(__m256i, AVX2, dot8_avx2, _mm256_setzero_si256(),
       _mm256_add_epi32(sum[i], _mm256_madd_epi16(_mm256_maddubs_epi16(a, b), b)))

#undef HIDE
#define HIDE(v) "+v"(v)
#define AVX512  __attribute__((target("avx512f,avx512bw,avx512vnni")))
ROUNDS(__m512, AVX512, mul_add_avx512, _mm512_setzero_ps(), sum[i] + a * b)
ROUNDS(__m512, AVX512, fma_avx512, _mm512_setzero_ps(), _mm512_fmadd_ps(a, b, sum[i]))
ROUNDS(__m512i, AVX512, vnni_avx512, _mm512_setzero_si512(), _mm512_dpbusd_epi32(sum[i], a, b))
ROUNDS(__m512i, AVX512, dot8_avx512, _mm512_setzero_si512(),
       _mm512_add_epi32(sum[i], _mm512_madd_epi16(_mm512_maddubs_epi16(a, b), b)))

#define BF16 __attribute__((target("avx512f,avx512bf16")))
ROUNDS(__m512, BF16, bf16_avx512, _mm512_setzero_ps(),
       _mm512_dpbf16_ps(sum[i], (__m512bh)a, (__m512bh)b))

/* Tiles of 16 rows of 64 bytes: five sums, one after the other, hide the latency of a product. The
 * configuration is an operand of 64 bytes, so that all of them count as read. */
#define TILE_STEPS(op) \
    op " %%tmm6, %%tmm5, %%tmm0\n\t" op " %%tmm6, %%tmm5, %%tmm1\n\t" op \
       " %%tmm6, %%tmm5, %%tmm2\n\t" op " %%tmm6, %%tmm5, %%tmm3\n\t" op \
       " %%tmm6, %%tmm5, %%tmm4\n\t"
#define TILES(name, op) \
    static void name(int64_t rounds) \
    { \
        static const uint8_t \
            config[64] = { \
                [0] = 1,   [16] = 64, [18] = 64, [20] = 64, [22] = 64, \
                [24] = 64, [26] = 64, [28] = 64, [48] = 16, [49] = 16, \
                [50] = 16, [51] = 16, [52] = 16, [53] = 16, [54] = 16, \
            }; \
        __asm__ volatile("ldtilecfg %0\n\ttilezero %%tmm0\n\ttilezero %%tmm1\n\t" \
                         "tilezero %%tmm2\n\ttilezero %%tmm3\n\ttilezero %%tmm4\n\t" \
                         "tilezero %%tmm5\n\ttilezero %%tmm6" \
                         : \
                         : "m"(config)); \
        for (int64_t r = 0; r < rounds; r++) \
            __asm__ volatile(TILE_STEPS(op) TILE_STEPS(op)::); \
        __asm__ volatile("tilerelease" ::); \
    }
TILES(tile8_amx, "tdpbssd")
TILES(tile_bf16_amx, "tdpbf16ps")
#else
#ifdef __aarch64__
#define HIDE(v) "+w"(v)
#else
#define HIDE(v) "+m"(v)
#endif
#define NONE
ROUNDS(floats16, NONE, mul_add_c, (floats16){ 0 }, sum[i] + a * b)
#endif

enum {
    NEEDS_AVX2 = FEATURES(AVX2) | FEATURES(FMA),
    NEEDS_AVX512 = NEEDS_AVX2 | FEATURES(AVX512F) | FEATURES(AVX512BW),
    NEEDS_VNNI = NEEDS_AVX512 | FEATURES(AVX512VNNI),
    NEEDS_BF16 = NEEDS_AVX512 | FEATURES(AVX512BF16),
    NEEDS_TILE8 = FEATURES(AMX_TILE) | FEATURES(AMX_INT8),
    NEEDS_TILE_BF16 = FEATURES(AMX_TILE) | FEATURES(AMX_BF16)
};

/* In the order of the levels, of each kind the best last. */
static const struct peak peaks[] = {
    { "c", PEAK_MUL_ADD, "128 bit mul, add", 0, 4, mul_add_c },
#ifdef __x86_64__
    { "avx2", PEAK_MUL_ADD, "256 bit mul, add", NEEDS_AVX2, 8, mul_add_avx2 },
    { "avx2", PEAK_FMA, "256 bit fma", NEEDS_AVX2, 8, fma_avx2 },
    { "avx2", PEAK_DOT8, "256 bit maddubs, madd, add", NEEDS_AVX2, 32, dot8_avx2 },
    { "avx512", PEAK_MUL_ADD, "512 bit mul, add", NEEDS_AVX512, 16, mul_add_avx512 },
    { "avx512", PEAK_FMA, "512 bit fma", NEEDS_AVX512, 16, fma_avx512 },
    { "avx512", PEAK_DOT8, "512 bit maddubs, madd, add", NEEDS_AVX512, 64, dot8_avx512 },
    { "avx512", PEAK_DOT8, "512 bit dpbusd", NEEDS_VNNI, 64, vnni_avx512 },
    { "avx512bf16", PEAK_BF16, "512 bit dpbf16", NEEDS_BF16, 32, bf16_avx512 },
    { "amx", PEAK_TILE8, "16 x 64 byte tiles, tdpbssd", NEEDS_TILE8, 16384, tile8_amx },
    { "amx", PEAK_TILE_BF16, "16 x 64 byte tiles, tdpbf16", NEEDS_TILE_BF16, 8192,
      tile_bf16_amx },
#endif
};

const struct peak *peak_find(const struct level *l, enum peak_kind kind)
{
    const struct peak *best = NULL;
    size_t peak = 0;
    /* Both tables go from the plainest level to the fastest. */
    for (size_t i = 0; level_at(i); i++) {
        for (; peak < sizeof peaks / sizeof *peaks && !strcmp(peaks[peak].level, level_at(i)->name);
             peak++)
            if (peaks[peak].kind == kind && !features_missing(peaks[peak].needs))
                best = &peaks[peak];
        if (level_at(i) == l)
            break;
    }
    return best;
}

double peak_ops(const struct peak *p, int64_t rounds)
{
    return 2.0 * p->lanes * PEAK_STEPS * (double)rounds;
}

typedef uint64_t words16 __attribute__((vector_size(16)));

static inline __attribute__((always_inline)) uint64_t read_all(const char *p, size_t n,
                                                               size_t ahead)
{
    words16 sum[8] = { 0 };
    for (size_t at = 0; at < n; at += 512) {
        for (size_t line = 0; ahead && line < 512; line += 64)
            __builtin_prefetch(p + at + ahead + line, 0, 3);
#pragma GCC unroll 32
        for (int i = 0; i < 32; i++)
            sum[i % 8] += *(const words16 *)(p + at + 16 * (size_t)i);
    }
#pragma GCC unroll 8
    for (int i = 1; i < 8; i++)
        sum[0] += sum[i];
    return sum[0][0] + sum[0][1];
}

uint64_t peak_read(const void *p, size_t n, size_t ahead)
{
    return ahead ? read_all(p, n, ahead) : read_all(p, n, 0);
}
