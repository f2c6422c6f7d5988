/* SPDX-License-Identifier: MIT */
/* Formats: the table, every decoder bit for bit, the views, half and brain floats. */
#include "tests/harness/unit.h"

#include <math.h>
#include <string.h>

#include "kernels/codebooks.h"
#include "kernels/format.h"
#include "tests/golden/dequant_vectors.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

static uint32_t bits(float f)
{
    uint32_t b;
    memcpy(&b, &f, sizeof b);
    return b;
}

static unsigned hex_digit(char c) { return c <= '9' ? (unsigned)c - '0' : (unsigned)c - 'a' + 10; }

static void bytes_of_hex(const char *hex, uint8_t *out)
{
    for (; *hex; hex += 2)
        *out++ = (uint8_t)(hex_digit(hex[0]) << 4 | hex_digit(hex[1]));
}

static uint32_t word_of_hex(const char *hex)
{
    uint32_t w = 0;
    for (int i = 0; i < 8; i++)
        w = w << 4 | hex_digit(hex[i]);
    return w;
}

/* Every vector decodes bit for bit, from every alignment. */
static void decoders_equal_the_vectors(void **state)
{
    (void)state;
    for (size_t k = 0; k < COUNT(dequant_vectors); k++) {
        const struct dequant_vector *t = &dequant_vectors[k];
        enum format f = format_by_name(t->type);
        const struct format_info *info = format_info(f);
        uint8_t raw[4 + 1024];
        float y[2 * FORMAT_MAX_BLOCK];
        assert_non_null(info);
        assert_int_equal(info->id, t->id);
        assert_int_equal(info->block, t->block);
        assert_int_equal(info->bytes, t->bytes);
        assert_int_equal(t->n, 2 * t->block);
        for (int shift = 0; shift < 4; shift++) {
            bytes_of_hex(t->hex, raw + shift);
            info->decode(raw + shift, y, t->n);
            for (int i = 0; i < t->n; i++)
                if (bits(y[i]) != word_of_hex(t->floats + 8 * i))
                    fail_msg("%s[%d] is %.9g (%08x), not %.8s", t->type, i, (double)y[i],
                             bits(y[i]), t->floats + 8 * i);
        }
    }
}

/* Kernels take the first block of a row to begin where the row does. */
static void what_is_decoded_has_no_row_header(void **state)
{
    (void)state;
    int headers = 0;
    for (int f = 0; f < format_count(); f++) {
        const struct format_info *info = format_info((enum format)f);
        headers += info->row_header > 0;
        if (info->decode && info->row_header)
            fail_msg("%s has a row header", info->name);
    }
    assert_true(headers > 0);
}

/* What the vectors do not cover has its definition written out here. */
static void activation_formats_decode(void **state)
{
    (void)state;
    uint8_t raw[292] = { 0 };
    float y[256];
    const uint16_t half = 0xb800; /* -0.5 */
    const float d = 0.1f;
    memcpy(raw, &half, 2);
    for (int i = 0; i < 32; i++)
        raw[4 + i] = (uint8_t)(i * 8 - 128);
    format_info(format_by_name("q8_1"))->decode(raw, y, 32);
    for (int i = 0; i < 32; i++)
        assert_true(y[i] == -0.5f * (float)(i * 8 - 128));
    memcpy(raw, &d, 4);
    for (int i = 0; i < 256; i++)
        raw[4 + i] = (uint8_t)(i - 128);
    format_info(format_by_name("q8_k"))->decode(raw, y, 256);
    for (int i = 0; i < 256; i++)
        assert_true(y[i] == d * (float)(i - 128));
}

static void plain_numbers_decode(void **state)
{
    (void)state;
    const int8_t i8[2] = { -128, 127 };
    const int16_t i16[2] = { -32768, 32767 };
    const int32_t i32[2] = { INT32_MIN, 16777217 };
    const int64_t i64[2] = { INT64_MIN, 3 };
    const double f64[2] = { 0.1, -1e-300 };
    const float f32[2] = { 0.1f, -INFINITY };
    float y[2];
    format_info(format_by_name("I8"))->decode(i8, y, 2);
    assert_true(y[0] == -128 && y[1] == 127);
    format_info(format_by_name("I16"))->decode(i16, y, 2);
    assert_true(y[0] == -32768 && y[1] == 32767);
    format_info(format_by_name("I32"))->decode(i32, y, 2);
    assert_true(y[0] == -0x1p31f && y[1] == 16777216);
    format_info(format_by_name("I64"))->decode(i64, y, 2);
    assert_true(y[0] == -0x1p63f && y[1] == 3);
    format_info(format_by_name("F64"))->decode(f64, y, 2);
    assert_true(y[0] == 0.1f && bits(y[1]) == 0x80000000u);
    format_info(format_by_name("F32"))->decode(f32, y, 2);
    assert_true(y[0] == 0.1f && y[1] == -INFINITY);
}

/* A view says what decode says, and its scales, levels and offsets explain every value. */
static void check_view(const struct format_info *info, const uint8_t *block, bool finite)
{
    static struct block_view v;
    float y[FORMAT_MAX_BLOCK];
    memset(&v, 0xa5, sizeof v);
    info->view(block, &v);
    info->decode(block, y, info->block);
    assert_int_equal(v.n, info->block);
    assert_true(v.sub_size > 0 && v.n % v.sub_size == 0 && v.n / v.sub_size <= BLOCK_MAX_SUB);
    assert_true(v.n_fields > 0 && v.n_fields <= BLOCK_MAX_FIELDS);
    for (int i = 0; i < v.n_fields; i++) {
        assert_true(v.fields[i].name[0] && v.fields[i].text[0]);
        assert_true(strlen(v.fields[i].text) < sizeof v.fields[i].text);
    }
    for (int i = 0; i < v.n; i++) {
        int s = i / v.sub_size;
        float scale = v.scale[s], explained = scale * v.level[i] + v.offset[s];
        assert_true(bits(v.value[i]) == bits(y[i]) || (isnan(v.value[i]) && isnan(y[i])));
        if (finite)
            assert_true(fabsf(explained - y[i]) <= 1e-6f * fabsf(scale) * (1 + fabsf(v.level[i])));
    }
}

static void views_explain_the_vectors(void **state)
{
    (void)state;
    for (size_t k = 0; k < COUNT(dequant_vectors); k++) {
        const struct dequant_vector *t = &dequant_vectors[k];
        uint8_t raw[1024];
        bytes_of_hex(t->hex, raw);
        check_view(format_info(format_by_name(t->type)), raw, true);
        check_view(format_info(format_by_name(t->type)), raw + t->bytes, true);
    }
}

static const struct block_view *view_of(const char *type, struct block_view *v)
{
    for (size_t k = 0; k < COUNT(dequant_vectors); k++) {
        uint8_t raw[1024];
        if (strcmp(dequant_vectors[k].type, type))
            continue;
        bytes_of_hex(dequant_vectors[k].hex, raw);
        format_info(format_by_name(type))->view(raw, v);
    }
    return v;
}

static void views_name_the_fields(void **state)
{
    (void)state;
    static struct block_view v;
    view_of("Q4_0", &v); /* the block begins 5c a7 2a */
    assert_string_equal(v.fields[0].name, "d");
    assert_string_equal(v.fields[0].text, "0xa75c = -0.0287476");
    assert_string_equal(v.fields[1].name, "qs");
    assert_int_equal(v.code[0], 10);
    assert_int_equal(v.code[16], 2);
    assert_true(v.level[0] == 2 && v.level[16] == -6);
    view_of("Q4_K", &v);
    assert_int_equal(v.sub_size, 32);
    assert_string_equal(v.fields[2].name, "scales");
    assert_string_equal(v.fields[4].name, "qs");
    assert_string_equal(v.fields[4].text + strlen(v.fields[4].text) - 4, " ...");
    view_of("MXFP4", &v);
    assert_string_equal(v.fields[0].name, "e");
}

/* No bit pattern makes a decoder or a view misbehave: all zeros, all ones, random, NaN scales. */
static void hostile_blocks_decode(void **state)
{
    (void)state;
    uint32_t seed = 12345;
    for (int k = 0; k < format_count(); k++) {
        const struct format_info *info = format_info((enum format)k);
        uint8_t raw[300];
        float y[FORMAT_MAX_BLOCK];
        if (!info->decode)
            continue;
        assert_true(info->bytes <= (int)sizeof raw);
        for (int round = 0; round < 66; round++) {
            for (int i = 0; i < info->bytes; i++) {
                seed = seed * 1664525 + 1013904223;
                raw[i] = round == 0 ? 0 : round == 1 ? 0xff : (uint8_t)(seed >> 24);
            }
            info->decode(raw, y, info->block);
            if (info->view)
                check_view(info, raw, round == 0);
            if (round == 0) /* zero bytes are zero weights wherever a scale is a float */
                assert_true(y[0] == 0 || !strcmp(info->name, "mxfp4"));
        }
    }
}

static void special_scales(void **state)
{
    (void)state;
    uint8_t q8[34] = { 0x00, 0x7e, 1 }, mx[17] = { 255, 0x77 }, nv[36] = { 0x7f, 0x7e, 0x80, 1 };
    float y[64];
    format_info(format_by_name("q8_0"))->decode(q8, y, 32);
    assert_true(isnan(y[0]) && isnan(y[31]));
    q8[1] = 0x7c;
    format_info(format_by_name("q8_0"))->decode(q8, y, 32);
    assert_true(isinf(y[0]) && isnan(y[1]));
    format_info(format_by_name("mxfp4"))->decode(mx, y, 32);
    assert_true(isinf(y[0])); /* 12 * 2^127 */
    mx[0] = 0;
    mx[1] = 0x12;
    format_info(format_by_name("mxfp4"))->decode(mx, y, 32);
    assert_true(y[0] == 0x1p-127f && y[16] == 0x1p-128f); /* denormal, not flushed */
    memset(nv + 4, 0x22, 32);
    format_info(format_by_name("nvfp4"))->decode(nv, y, 64);
    assert_true(y[0] == 0 && y[16] == 448 && y[32] == 0 && y[48] == 0x1p-9f);
}

static void names_and_ids(void **state)
{
    (void)state;
    for (int k = 0; k < format_count(); k++) {
        const struct format_info *info = format_info((enum format)k);
        assert_int_equal(format_by_id((uint32_t)info->id), k);
        assert_int_equal(format_by_name(info->name), k);
        assert_int_equal(format_by_name(info->type), k);
        assert_null(format_removed((uint32_t)info->id));
        assert_true(info->brief[0] && info->block > 0 && info->bytes > 0);
        assert_true(info->block <= FORMAT_MAX_BLOCK);
        assert_true(!info->view || info->decode);
        assert_true(!info->decode || info->quantized == (info->view != NULL));
    }
    assert_int_equal(format_by_name("q4_K"), format_by_name("Q4_k"));
    assert_int_equal(format_by_name("q4_k_m"), FORMAT_NONE);
    assert_int_equal(format_by_name(""), FORMAT_NONE);
    assert_int_equal(format_by_name(NULL), FORMAT_NONE);
    assert_int_equal(format_by_id(4), FORMAT_NONE);
    assert_int_equal(format_by_id(UINT32_MAX), FORMAT_NONE);
    assert_null(format_info(FORMAT_NONE));
    assert_null(format_info((enum format)format_count()));
    assert_non_null(strstr(format_removed(32), "requantize to Q4_0"));
    assert_null(format_removed(12345));
}

static void row_sizes(void **state)
{
    (void)state;
    size_t n = 7;
    assert_true(format_row_bytes(format_by_name("q4_k"), 512, &n) && n == 288);
    assert_true(format_row_bytes(format_by_name("f16"), 3, &n) && n == 6);
    assert_true(format_row_bytes(format_by_name("q8_0"), 0, &n) && n == 0);
    n = 7;
    assert_false(format_row_bytes(format_by_name("q4_k"), 128, &n));
    assert_false(format_row_bytes(format_by_name("f64"), UINT64_C(1) << 61, &n));
    assert_false(format_row_bytes(FORMAT_NONE, 32, &n));
    assert_int_equal(n, 7);
    assert_true(fabs(format_bpw(format_by_name("q6_k")) - 6.5625) < 1e-12);
    assert_true(fabs(format_bpw(format_by_name("iq1_s")) - 1.5625) < 1e-12);
}

/* The dialect: header once per row, then blocks; the sizes that published files rely on. */
static void dialect_sizes(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        int id, bytes_of_256, header;
    } known[] = {
        { "iq2_k", 137, 76, 0 },   { "iq3_k", 138, 110, 0 },   { "iq4_k", 139, 144, 0 },
        { "iq5_k", 140, 176, 0 },  { "iq6_k", 141, 212, 0 },   { "iq4_ks", 144, 136, 4 },
        { "iq4_kss", 146, 128, 4 }, { "iq5_ks", 152, 168, 4 }, { "iq2_ks", 145, 70, 2 },
        { "iq3_ks", 156, 102, 2 }, { "iq2_kl", 157, 86, 2 },   { "iq1_kt", 158, 56, 4 },
        { "iq2_kt", 153, 68, 4 },  { "iq3_kt", 154, 100, 4 },  { "iq4_kt", 155, 128, 4 },
        { "iq1_bn", 134, 52, 2 },  { "iq2_bn", 135, 64, 4 },   { "iq1_s_r4", 219, 48, 2 },
        { "iq1_m_r4", 229, 56, 2 }, { "q8_kv", 151, 256, 8 },  { "q8_kv_r8", 398, 256, 4 },
        { "q8_k16", 147, 256, 20 }, { "q6_0", 133, 208, 0 },   { "q8_k_r8", 399, 258, 0 },
    };
    for (size_t i = 0; i < COUNT(known); i++) {
        enum format f = format_by_name(known[i].name);
        size_t n;
        assert_int_equal(format_by_id((uint32_t)known[i].id), f);
        assert_true(format_row_bytes(f, 2 * 256, &n));
        assert_int_equal(n, known[i].header + 2 * known[i].bytes_of_256);
        assert_null(format_info(f)->decode);
    }
}

/* Value of a half by its definition. */
static double half_by_definition(unsigned h)
{
    int exponent = h >> 10 & 31, mantissa = h & 1023;
    double a = exponent ? ldexp(1024 + mantissa, exponent - 25) : ldexp(mantissa, -24);
    if (exponent == 31)
        a = mantissa ? NAN : INFINITY;
    return h & 0x8000 ? -a : a;
}

static void halves_round_trip(void **state)
{
    (void)state;
    static uint16_t all[65536];
    static float y[65536];
    for (unsigned h = 0; h < 65536; h++)
        all[h] = (uint16_t)h;
    format_info(format_by_name("f16"))->decode(all, y, 65536);
    for (unsigned h = 0; h < 65536; h++) {
        double want = half_by_definition(h);
        assert_true(isnan(want) ? isnan(y[h]) : (double)y[h] == want);
        assert_int_equal(!!signbit(y[h]), h >> 15);
        assert_int_equal(bits(f16_to_f32((uint16_t)h)), bits(y[h]));
        assert_int_equal(f32_to_f16(y[h]), h);
    }
    format_info(format_by_name("bf16"))->decode(all, y, 65536);
    for (unsigned h = 0; h < 65536; h++) {
        assert_int_equal(bits(y[h]), h << 16);
        assert_int_equal(bits(bf16_to_f32((uint16_t)h)), h << 16);
        assert_int_equal(f32_to_bf16(y[h]), h);
    }
}

/* Between two neighbouring halves: the middle goes to the even one, a nudge to the nearer one. */
static void halves_round_to_nearest_even(void **state)
{
    (void)state;
    for (unsigned h = 0; h < 0x7c00; h++) { /* 0x7c00 itself stands for 65536 here */
        float low = f16_to_f32((uint16_t)h);
        float high = h == 0x7bff ? 65536 : f16_to_f32((uint16_t)(h + 1));
        float middle = (float)(((double)low + (double)high) / 2);
        unsigned even = h % 2 ? h + 1 : h;
        assert_int_equal(f32_to_f16(middle), even);
        assert_int_equal(f32_to_f16(nextafterf(middle, 0)), h);
        assert_int_equal(f32_to_f16(nextafterf(middle, INFINITY)), h + 1);
        assert_int_equal(f32_to_f16(-middle), even | 0x8000);
    }
    assert_int_equal(f32_to_f16(1e30f), 0x7c00);
    assert_int_equal(f32_to_f16(-INFINITY), 0xfc00);
    assert_int_equal(f32_to_f16(0x1p-149f), 0);
    assert_int_equal(f32_to_f16(-0.0f), 0x8000);
    assert_true((f32_to_f16(NAN) & 0x7fff) > 0x7c00);
}

static void brain_floats_round_to_nearest_even(void **state)
{
    (void)state;
    for (unsigned h = 0; h < 0x7f80; h++) {
        uint32_t middle = h << 16 | 0x8000, below = middle - 1, above = middle + 1;
        float f;
        memcpy(&f, &middle, 4);
        assert_int_equal(f32_to_bf16(f), h % 2 ? h + 1 : h);
        assert_int_equal(f32_to_bf16(-f), (h % 2 ? h + 1 : h) | 0x8000);
        memcpy(&f, &below, 4);
        assert_int_equal(f32_to_bf16(f), h);
        memcpy(&f, &above, 4);
        assert_int_equal(f32_to_bf16(f), h + 1);
    }
    uint32_t low_nan = 0x7f800001; /* its payload is in the half that is cut off */
    float f;
    memcpy(&f, &low_nan, 4);
    assert_true(isnan(bf16_to_f32(f32_to_bf16(f))));
    assert_true(isnan(f16_to_f32(f32_to_f16(f))));
}

static void codebooks_are_sound(void **state)
{
    (void)state;
    for (unsigned s = 0; s < 128; s++) {
        assert_int_equal(even_signs(s) & 127, s);
        assert_int_equal(__builtin_popcount(even_signs(s)) % 2, 0);
    }
    assert_memory_equal(codebook_iq2_xxs[1], "\x2b\x08\x08\x08\x08\x08\x08\x08", 8);
    for (int i = 1; i < 2048; i++) /* rows differ */
        assert_memory_not_equal(codebook_iq1_s[i - 1], codebook_iq1_s[i], 8);
}

UNIT_MAIN(CASE(decoders_equal_the_vectors),
          CASE(what_is_decoded_has_no_row_header),
          CASE(activation_formats_decode),
          CASE(plain_numbers_decode),
          CASE(views_explain_the_vectors),
          CASE(views_name_the_fields),
          CASE(hostile_blocks_decode),
          CASE(special_scales),
          CASE(names_and_ids),
          CASE(row_sizes),
          CASE(dialect_sizes),
          CASE(halves_round_trip),
          CASE(halves_round_to_nearest_even),
          CASE(brain_floats_round_to_nearest_even),
          CASE(codebooks_are_sound))
