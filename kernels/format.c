/* SPDX-License-Identifier: MIT */
/* Formats: the table of how numbers are stored in a file, and how to find a row of it. */
#include "kernels/format.h"

#include <strings.h>

#include "kernels/codec.h"

#define PLAIN(id, name, type, bytes, brief) \
    { id, #name, type, brief, 1, bytes, 0, 0, false, decode_##name, NULL }
#define QUANT(id, name, type, block, bytes, codes, brief) \
    { id, #name, type, brief, block, bytes, codes, 0, true, decode_##name, view_##name }
/* Types of the ik_llama.cpp dialect: named and sized, so that their files open and add up. */
#define DIALECT(id, name, type, block, bytes, header, brief) \
    { id, name, type, "ik_llama.cpp: " brief, block, bytes, 0, header, true, NULL, NULL }

static const struct format_info formats[] = {
    PLAIN(0, f32, "F32", 4, "IEEE float"),
    PLAIN(1, f16, "F16", 2, "IEEE half"),
    QUANT(2, q4_0, "Q4_0", 32, 18, 16, "per 32: half scale, 4-bit codes around 8"),
    QUANT(3, q4_1, "Q4_1", 32, 20, 16, "per 32: half scale and minimum, 4-bit codes"),
    QUANT(6, q5_0, "Q5_0", 32, 22, 32, "per 32: half scale, 5-bit codes around 16"),
    QUANT(7, q5_1, "Q5_1", 32, 24, 32, "per 32: half scale and minimum, 5-bit codes"),
    QUANT(8, q8_0, "Q8_0", 32, 34, 256, "per 32: half scale, signed 8-bit codes"),
    QUANT(9, q8_1, "Q8_1", 32, 36, 256,
          "per 32: half scale and sum, signed 8-bit codes (activations)"),
    QUANT(10, q2_k, "Q2_K", 256, 84, 4,
          "per 256: two halves; per 16: 4-bit scale and minimum, 2-bit codes"),
    QUANT(11, q3_k, "Q3_K", 256, 110, 8,
          "per 256: half; per 16: 6-bit scale, 3-bit codes around 4"),
    QUANT(12, q4_k, "Q4_K", 256, 144, 16,
          "per 256: two halves; per 32: 6-bit scale and minimum, 4-bit codes"),
    QUANT(13, q5_k, "Q5_K", 256, 176, 32,
          "per 256: two halves; per 32: 6-bit scale and minimum, 5-bit codes"),
    QUANT(14, q6_k, "Q6_K", 256, 210, 64,
          "per 256: half; per 16: 8-bit scale, 6-bit codes around 32"),
    QUANT(15, q8_k, "Q8_K", 256, 292, 256,
          "per 256: float scale, signed 8-bit codes and their sums (activations)"),
    QUANT(16, iq2_xxs, "IQ2_XXS", 256, 66, 256,
          "per 256: half; per 32: 4-bit scale; per 8: one of 256 points, signs"),
    QUANT(17, iq2_xs, "IQ2_XS", 256, 74, 512,
          "per 256: half; per 16: 4-bit scale; per 8: one of 512 points, signs"),
    QUANT(18, iq3_xxs, "IQ3_XXS", 256, 98, 256,
          "per 256: half; per 32: 4-bit scale; per 4: one of 256 points, signs"),
    QUANT(19, iq1_s, "IQ1_S", 256, 50, 2048,
          "per 256: half; per 32: 3-bit scale, shift; per 8: one of 2048 ternary points"),
    QUANT(20, iq4_nl, "IQ4_NL", 32, 18, 16,
          "per 32: half scale, 4-bit codes into 16 uneven levels"),
    QUANT(21, iq3_s, "IQ3_S", 256, 110, 512,
          "per 256: half; per 32: 4-bit scale; per 4: one of 512 points, signs"),
    QUANT(22, iq2_s, "IQ2_S", 256, 82, 1024,
          "per 256: half; per 16: 4-bit scale; per 8: one of 1024 points, signs"),
    QUANT(23, iq4_xs, "IQ4_XS", 256, 136, 16,
          "per 256: half; per 32: 6-bit scale, 4-bit codes into 16 uneven levels"),
    PLAIN(24, i8, "I8", 1, "signed byte"),
    PLAIN(25, i16, "I16", 2, "16-bit integer"),
    PLAIN(26, i32, "I32", 4, "32-bit integer"),
    PLAIN(27, i64, "I64", 8, "64-bit integer"),
    PLAIN(28, f64, "F64", 8, "IEEE double"),
    QUANT(29, iq1_m, "IQ1_M", 256, 56, 2048,
          "per 256: half; per 16: 3-bit scale; per 8: shift, one of 2048 ternary points"),
    PLAIN(30, bf16, "BF16", 2, "upper half of an IEEE float"),
    QUANT(34, tq1_0, "TQ1_0", 256, 54, 3, "per 256: half scale, ternary digits, five to a byte"),
    QUANT(35, tq2_0, "TQ2_0", 256, 66, 4, "per 256: half scale, 2-bit codes around 1"),
    QUANT(39, mxfp4, "MXFP4", 32, 17, 16, "per 32: power-of-two scale (E8M0), 4-bit floats (E2M1)"),
    QUANT(40, nvfp4, "NVFP4", 64, 36, 16, "per 16: 8-bit float scale (UE4M3), 4-bit floats (E2M1)"),
    QUANT(41, q1_0, "Q1_0", 128, 18, 2, "per 128: half scale, signs"),
    QUANT(42, q2_0, "Q2_0", 64, 18, 4, "per 64: half scale, 2-bit codes around 1"),
    DIALECT(97, "q8_0_x4", "Q8_0_X4", 32, 34, 0, "8-bit activations"),
    DIALECT(98, "q8_1_x4", "Q8_1_X4", 32, 36, 0, "8-bit activations"),
    DIALECT(99, "q8_2_x4", "Q8_2_X4", 32, 36, 0, "8-bit activations"),
    DIALECT(133, "q6_0", "Q6_0", 32, 26, 0, "half scale, 6-bit codes"),
    DIALECT(134, "iq1_bn", "IQ1_BN", 64, 13, 2, "ternary, one scale per row"),
    DIALECT(135, "iq2_bn", "IQ2_BN", 64, 16, 4, "ternary, one scale per row"),
    DIALECT(136, "q8_k64", "Q8_K64", 64, 68, 0, "8-bit activations"),
    DIALECT(137, "iq2_k", "IQ2_K", 256, 76, 0, "non-uniform levels"),
    DIALECT(138, "iq3_k", "IQ3_K", 256, 110, 0, "non-uniform levels"),
    DIALECT(139, "iq4_k", "IQ4_K", 256, 144, 0, "non-uniform levels"),
    DIALECT(140, "iq5_k", "IQ5_K", 256, 176, 0, "non-uniform levels"),
    DIALECT(141, "iq6_k", "IQ6_K", 256, 212, 0, "non-uniform levels"),
    DIALECT(144, "iq4_ks", "IQ4_KS", 256, 136, 4, "non-uniform levels, row scale"),
    DIALECT(145, "iq2_ks", "IQ2_KS", 256, 70, 2, "non-uniform levels, row scale"),
    DIALECT(146, "iq4_kss", "IQ4_KSS", 256, 128, 4, "non-uniform levels, row scale"),
    DIALECT(147, "q8_k16", "Q8_K16", 64, 64, 20, "8-bit activations"),
    DIALECT(148, "q8_k32", "Q8_K32", 256, 292, 0, "8-bit activations"),
    DIALECT(149, "q8_kr8", "Q8_KR8", 256, 292, 0, "8-bit activations"),
    DIALECT(150, "q8_k128", "Q8_K128", 128, 140, 0, "8-bit activations"),
    DIALECT(151, "q8_kv", "Q8_KV", 32, 32, 8, "8-bit codes, row scale"),
    DIALECT(152, "iq5_ks", "IQ5_KS", 256, 168, 4, "non-uniform levels, row scale"),
    DIALECT(153, "iq2_kt", "IQ2_KT", 256, 68, 4, "trellis, row scale"),
    DIALECT(154, "iq3_kt", "IQ3_KT", 256, 100, 4, "trellis, row scale"),
    DIALECT(155, "iq4_kt", "IQ4_KT", 256, 128, 4, "trellis, row scale"),
    DIALECT(156, "iq3_ks", "IQ3_KS", 256, 102, 2, "non-uniform levels, row scale"),
    DIALECT(157, "iq2_kl", "IQ2_KL", 256, 86, 2, "non-uniform levels, row scale"),
    DIALECT(158, "iq1_kt", "IQ1_KT", 256, 56, 4, "trellis, row scale"),
    DIALECT(202, "q4_0_r8", "Q4_0_R8", 32, 18, 0, "q4_0 with 8 rows interleaved"),
    DIALECT(206, "q5_0_r4", "Q5_0_R4", 32, 22, 0, "q5_0 with 4 rows interleaved"),
    DIALECT(208, "q8_0_r8", "Q8_0_R8", 32, 34, 0, "q8_0 with 8 rows interleaved"),
    DIALECT(210, "q2_k_r4", "Q2_K_R4", 256, 84, 0, "q2_k with 4 rows interleaved"),
    DIALECT(211, "q3_k_r4", "Q3_K_R4", 256, 110, 0, "q3_k with 4 rows interleaved"),
    DIALECT(212, "q4_k_r4", "Q4_K_R4", 256, 144, 0, "q4_k with 4 rows interleaved"),
    DIALECT(213, "q5_k_r4", "Q5_K_R4", 256, 176, 0, "q5_k with 4 rows interleaved"),
    DIALECT(214, "q6_k_r4", "Q6_K_R4", 256, 210, 0, "q6_k with 4 rows interleaved"),
    DIALECT(216, "iq2_xxs_r4", "IQ2_XXS_R4", 256, 66, 0, "iq2_xxs with 4 rows interleaved"),
    DIALECT(217, "iq2_xs_r4", "IQ2_XS_R4", 256, 74, 0, "iq2_xs with 4 rows interleaved"),
    DIALECT(218, "iq3_xxs_r4", "IQ3_XXS_R4", 256, 98, 0, "iq3_xxs with 4 rows interleaved"),
    DIALECT(219, "iq1_s_r4", "IQ1_S_R4", 32, 6, 2, "iq1_s with 4 rows interleaved"),
    DIALECT(220, "iq4_nl_r4", "IQ4_NL_R4", 32, 18, 0, "iq4_nl with 4 rows interleaved"),
    DIALECT(221, "iq3_s_r4", "IQ3_S_R4", 256, 110, 0, "iq3_s with 4 rows interleaved"),
    DIALECT(222, "iq2_s_r4", "IQ2_S_R4", 256, 82, 0, "iq2_s with 4 rows interleaved"),
    DIALECT(223, "iq4_xs_r8", "IQ4_XS_R8", 256, 136, 0, "iq4_xs with 8 rows interleaved"),
    DIALECT(229, "iq1_m_r4", "IQ1_M_R4", 32, 7, 2, "iq1_m with 4 rows interleaved"),
    DIALECT(230, "bf16_r16", "BF16_R16", 1, 2, 0, "bf16 with 16 rows interleaved"),
    DIALECT(233, "q6_0_r4", "Q6_0_R4", 32, 26, 0, "q6_0 with 4 rows interleaved"),
    DIALECT(335, "iq2_bn_r4", "IQ2_BN_R4", 64, 16, 4, "iq2_bn with 4 rows interleaved"),
    DIALECT(337, "iq2_k_r4", "IQ2_K_R4", 256, 76, 0, "iq2_k with 4 rows interleaved"),
    DIALECT(338, "iq3_k_r4", "IQ3_K_R4", 256, 110, 0, "iq3_k with 4 rows interleaved"),
    DIALECT(339, "iq4_k_r4", "IQ4_K_R4", 256, 144, 0, "iq4_k with 4 rows interleaved"),
    DIALECT(340, "iq5_k_r4", "IQ5_K_R4", 256, 176, 0, "iq5_k with 4 rows interleaved"),
    DIALECT(344, "iq4_ks_r4", "IQ4_KS_R4", 256, 136, 4, "iq4_ks with 4 rows interleaved"),
    DIALECT(352, "iq5_ks_r4", "IQ5_KS_R4", 256, 168, 4, "iq5_ks with 4 rows interleaved"),
    DIALECT(353, "mxfp4_r8", "MXFP4_R8", 32, 17, 0, "mxfp4 with 8 rows interleaved"),
    DIALECT(397, "q8_k_r16", "Q8_K_R16", 256, 258, 0, "q8_k with 16 rows interleaved"),
    DIALECT(398, "q8_kv_r8", "Q8_KV_R8", 32, 32, 4, "q8_kv with 8 rows interleaved"),
    DIALECT(399, "q8_k_r8", "Q8_K_R8", 256, 258, 0, "q8_k with 8 rows interleaved"),
};

enum { N_FORMATS = sizeof formats / sizeof *formats };

static const struct {
    uint32_t id;
    const char *hint;
} removed[] = {
    { 4, "Q4_2 was removed in 2023: convert the original model again" },
    { 5, "Q4_3 was removed in 2023: convert the original model again" },
    { 31, "Q4_0_4_4 was removed: requantize to Q4_0" },
    { 32, "Q4_0_4_8 was removed: requantize to Q4_0" },
    { 33, "Q4_0_8_8 was removed: requantize to Q4_0" },
    { 36, "IQ4_NL_4_4 was removed: use IQ4_NL (BitNet's I2_S, also 36: use TQ2_0)" },
    { 37, "IQ4_NL_4_8 was removed: requantize to IQ4_NL" },
    { 38, "IQ4_NL_8_8 was removed: requantize to IQ4_NL" },
    { 142, "IQ2_TN was removed from ik_llama.cpp: convert to IQ2_BN or TQ2_0" },
    { 143, "IQ1_TN was removed from ik_llama.cpp: convert to IQ1_BN or TQ1_0" },
};

int format_count(void) { return N_FORMATS; }

const struct format_info *format_info(enum format f)
{
    return (int)f >= 0 && (int)f < N_FORMATS ? &formats[(int)f] : NULL;
}

enum format format_by_id(uint32_t id)
{
    for (int i = 0; i < N_FORMATS; i++)
        if ((uint32_t)formats[i].id == id)
            return (enum format)i;
    return FORMAT_NONE;
}

enum format format_by_name(const char *name)
{
    for (int i = 0; name && i < N_FORMATS; i++)
        if (!strcasecmp(formats[i].name, name)) /* the type differs in case alone */
            return (enum format)i;
    return FORMAT_NONE;
}

const char *format_removed(uint32_t id)
{
    for (size_t i = 0; i < sizeof removed / sizeof *removed; i++)
        if (removed[i].id == id)
            return removed[i].hint;
    return NULL;
}

bool format_row_bytes(enum format f, uint64_t n, size_t *bytes)
{
    const struct format_info *info = format_info(f);
    size_t size;
    if (!info || n % (uint64_t)info->block != 0)
        return false;
    if (__builtin_mul_overflow(n / (uint64_t)info->block, (uint64_t)info->bytes, &size) ||
        __builtin_add_overflow(size, (size_t)info->row_header, &size))
        return false;
    *bytes = size;
    return true;
}

double format_bpw(enum format f)
{
    const struct format_info *info = format_info(f);
    return info ? 8.0 * info->bytes / info->block : 0;
}
