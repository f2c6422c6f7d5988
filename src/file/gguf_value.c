/* SPDX-License-Identifier: MIT */
/* Values of GGUF metadata: lookup, conversion, printing. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "file/gguf.h"

const struct gguf_kv *gguf_find(const struct gguf *g, const char *key)
{
    int64_t i = names_find(&g->by_key, str_from(key));
    return i == NAMES_NONE ? NULL : &g->kvs[i];
}

bool gguf_is_integer(enum gguf_type t) { return t <= GGUF_I32 || t == GGUF_U64 || t == GGUF_I64; }

bool gguf_is_number(enum gguf_type t)
{
    return gguf_is_integer(t) || t == GGUF_F32 || t == GGUF_F64 || t == GGUF_BOOL;
}

static uint64_t little(const uint8_t *p, int n)
{
    uint64_t v = 0;
    for (int i = n - 1; i >= 0; i--)
        v = v << 8 | p[i];
    return v;
}

struct str gguf_string(const struct gguf *g, const struct gguf_kv *kv, uint64_t i)
{
    const uint8_t *p = kv->strings ? g->map.p + kv->strings[i] : kv->data;
    return str_of((const char *)p + 8, (size_t)little(p, 8));
}

static double real(enum gguf_type t, const uint8_t *p)
{
    if (t == GGUF_F32) {
        uint32_t bits = (uint32_t)little(p, 4);
        float f;
        memcpy(&f, &bits, sizeof f);
        return (double)f;
    }
    uint64_t bits = little(p, 8);
    double d;
    memcpy(&d, &bits, sizeof d);
    return d;
}

static int64_t whole(double d)
{
    if (isnan(d))
        return 0;
    return d >= 0x1p63 ? INT64_MAX : d < -0x1p63 ? INT64_MIN : (int64_t)d;
}

int64_t gguf_integer(const struct gguf_kv *kv, uint64_t i)
{
    switch (kv->elem) {
    case GGUF_U8:
    case GGUF_BOOL: return kv->data[i];
    case GGUF_I8: return (int8_t)kv->data[i];
    case GGUF_U16: return (int64_t)little(kv->data + 2 * i, 2);
    case GGUF_I16: return (int16_t)little(kv->data + 2 * i, 2);
    case GGUF_U32: return (int64_t)little(kv->data + 4 * i, 4);
    case GGUF_I32: return (int32_t)little(kv->data + 4 * i, 4);
    case GGUF_I64: return (int64_t)little(kv->data + 8 * i, 8);
    case GGUF_U64: {
        uint64_t v = little(kv->data + 8 * i, 8);
        return v > INT64_MAX ? INT64_MAX : (int64_t)v;
    }
    case GGUF_F32: return whole(real(GGUF_F32, kv->data + 4 * i));
    case GGUF_F64: return whole(real(GGUF_F64, kv->data + 8 * i));
    default: return 0;
    }
}

double gguf_number(const struct gguf_kv *kv, uint64_t i)
{
    switch (kv->elem) {
    case GGUF_F32: return real(GGUF_F32, kv->data + 4 * i);
    case GGUF_F64: return real(GGUF_F64, kv->data + 8 * i);
    case GGUF_U64: return (double)little(kv->data + 8 * i, 8);
    default: return (double)gguf_integer(kv, i);
    }
}

static void print_string(struct str s, size_t width, struct buf *out)
{
    size_t n = s.n < width ? s.n : width;
    while (n && n < s.n && ((unsigned char)s.p[n] & 0xc0) == 0x80)
        n--; /* do not cut a character */
    buf_addc(out, '"');
    buf_visible(out, str_of(s.p, n));
    buf_adds(out, n < s.n ? "...\"" : "\"");
    if (n < s.n)
        buf_printf(out, " (%zu bytes)", s.n);
}

/* The shortest decimal that reads back as this float: 1e-05, not 9.99999975e-06. */
static void print_f32(float f, struct buf *out)
{
    char t[40];
    text_f64(t, sizeof t, (double)f); /* nan, inf */
    if (isfinite(f))
        for (int digits = 6; digits <= 9; digits++) {
            snprintf(t, sizeof t, "%.*g", digits, (double)f);
            if (strtof(t, NULL) == f)
                break;
        }
    buf_adds(out, t);
}

static void print_element(const struct gguf *g, const struct gguf_kv *kv, uint64_t i, size_t width,
                          struct buf *out)
{
    char t[40];
    if (kv->elem == GGUF_STRING)
        print_string(gguf_string(g, kv, i), width, out);
    else if (kv->elem == GGUF_BOOL)
        buf_adds(out, gguf_integer(kv, i) ? "true" : "false");
    else if (kv->elem == GGUF_U64)
        buf_printf(out, "%llu", (unsigned long long)little(kv->data + 8 * i, 8));
    else if (gguf_is_integer(kv->elem))
        buf_printf(out, "%lld", (long long)gguf_integer(kv, i));
    else if (kv->elem == GGUF_F32)
        print_f32((float)gguf_number(kv, i), out);
    else
        buf_adds(out, text_f64(t, sizeof t, gguf_number(kv, i)));
}

void gguf_print(const struct gguf *g, const struct gguf_kv *kv, uint64_t items, size_t width,
                struct buf *out)
{
    if (kv->type != GGUF_ARRAY) {
        print_element(g, kv, 0, width, out);
        return;
    }
    buf_addc(out, '[');
    for (uint64_t i = 0; i < kv->n && i < items; i++) {
        buf_adds(out, i ? ", " : "");
        print_element(g, kv, i, width, out);
    }
    buf_adds(out, kv->n > items ? (items ? ", ...]" : "...]") : "]");
    if (kv->n > items)
        buf_printf(out, " (%llu x %s)", (unsigned long long)kv->n, gguf_type_name(kv->elem));
}
