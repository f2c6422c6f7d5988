/* SPDX-License-Identifier: MIT */
/* The grammar of numeric formats: what it prints it reads, and texts drawn from it, or a byte
 * beside, are read as what they say or refused with one error. */
#include "tests/harness/unit.h"

#include <ctype.h>
#include <string.h>

#include "kernels/numeric.h"

static uint64_t seed = 88172645463325252u;

static uint64_t draw(uint64_t n) { return unit_random(&seed) % n; }

static double uniform(void) { return ((double)draw(1u << 30) + 0.5) / (1u << 30); }

static void refused(const char *text, enum st want, int column)
{
    struct numeric f;
    struct err e = ERR_INIT;
    assert_fails(numeric_parse(str_from(text), &f, &e), want, &e);
    assert_int_equal(e.column, column);
}

/* ---- values ---- */

/* The text of f is read as f, and f's text again is that one. */
static void returns(const struct numeric *f)
{
    struct buf b = { 0 }, again = { 0 };
    struct numeric g;
    struct err e = ERR_INIT;
    numeric_print(f, &b);
    assert_ok(numeric_parse(str_from(buf_str(&b)), &g, &e), &e);
    if (!numeric_equal(f, &g))
        fail_msg("%s is read as something else", buf_str(&b));
    numeric_print(&g, &again);
    assert_string_equal(buf_str(&b), buf_str(&again));
    buf_free(&b);
    buf_free(&again);
}

/* Any format, as a value. */
static struct numeric any(void)
{
    struct numeric f = { .storage = FORMAT_NONE, .clip = 1 };
    f.base = (enum numeric_base)draw(NUMERIC__BASES);
    if (f.base == NUMERIC_STORAGE)
        return numeric_storage((enum format)draw((uint64_t)format_count()));
    if (f.base == NUMERIC_MXFP6 || f.base == NUMERIC_MXFP8) {
        f.grain = GRAIN_GROUP;
        f.n = 32;
    }
    if (f.base == NUMERIC_MXFP6 || f.base == NUMERIC_MXFP8 || f.base == NUMERIC_DROP)
        return f;
    f.bits = f.base == NUMERIC_INT     ? 1 + (int)draw(8)
             : f.base == NUMERIC_SHIFT ? 2 + (int)draw(5)
                                       : 0;
    if (f.base == NUMERIC_FLOAT) {
        f.exponent = 1 + (int)draw(8);
        f.mantissa = (int)draw(11);
    }
    f.grain = (enum numeric_grain)draw(5);
    f.n = f.grain == GRAIN_GROUP || f.grain == GRAIN_BLOCK ? 1 + (int64_t)draw(1000) : 0;
    f.m = f.grain == GRAIN_BLOCK ? 1 + (int64_t)draw(1000) : 0;
    f.scale = (enum numeric_scale)draw(5);
    f.asym = f.base == NUMERIC_INT && draw(2);
    if (numeric_ranged(&f) || f.base == NUMERIC_INT)
        f.clip = draw(2) ? uniform() : 1;
    f.fixed = numeric_ranged(&f) && (f.grain == GRAIN_TENSOR || f.grain == GRAIN_CHANNEL)
              && draw(2);
    return f;
}

static void what_is_printed_is_read_as_the_same(void **unused)
{
    (void)unused;
    static const char *const table[][2] = {
        { "INT4:G64:S=F16", "int4:g64:s=f16" },
        { "int8:tok", "int8" },
        { "nf4:g64:clip=1", "nf4" },
        { "E4M3:b128x128", "e4m3:b128x128" },
        { "Q4_K", "q4_k" },
        { "int8:static:tensor", "int8:tensor:static" },
        { "NVFP4:Tensor", "nvfp4:tensor" },
    };
    for (int i = 0; i < 20000; i++) {
        const struct numeric f = any();
        returns(&f);
    }
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        struct buf b = { 0 };
        struct numeric f;
        struct err e = ERR_INIT;
        assert_ok(numeric_parse(str_from(table[i][0]), &f, &e), &e);
        numeric_print(&f, &b);
        assert_string_equal(buf_str(&b), table[i][1]);
        buf_free(&b);
    }
}

/* ---- texts ---- */

/* Bases as people write them, and the kinds of options that may follow: a grain, asym, a clip,
 * a scale, static. %d: lo to hi. */
static const struct base {
    const char *text;
    int lo, hi, m_lo, m_hi;
    const char *options;
} bases[] = {
    { "int%d", 2, 8, 0, 0, "gacsf" },
    { "int%d", 1, 1, 0, 0, "gacs" }, /* static: with asym alone */
    { "e%dm%d", 1, 8, 0, 10, "gcsf" },
    { "nf4", 0, 0, 0, 0, "gcsf" },
    { "mxfp6", 0, 0, 0, 0, "" },
    { "mxfp8", 0, 0, 0, 0, "" },
    { "shift%d", 2, 6, 0, 0, "gcsf" },
    { "binary", 0, 0, 0, 0, "gs" },
    { "ternary", 0, 0, 0, 0, "gs" },
    { "twn", 0, 0, 0, 0, "gs" },
    { "cpx", 0, 0, 0, 0, "gs" },
    { "drop", 0, 0, 0, 0, "" },
};
enum { BASES = sizeof bases / sizeof *bases };

static const struct option {
    const char *text;
    char kind;
    bool wide; /* static ranges can be had of it */
} options[] = {
    { "g1", 'g', false },        { "g64", 'g', false },      { "g999999999", 'g', false },
    { "b1x1", 'g', false },      { "b8x128", 'g', false },   { "row", 'g', false },
    { "tok", 'g', false },       { "tensor", 'g', true },    { "chan", 'g', true },
    { "asym", 'a', false },      { "clip=1", 'c', false },   { "clip=0.5", 'c', false },
    { "clip=1e-3", 'c', false }, { "clip=.75", 'c', false }, { "s=f32", 's', false },
    { "s=f16", 's', false },     { "s=bf16", 's', false },   { "s=e8m0", 's', false },
    { "s=ue4m3", 's', false },   { "static", 'f', false },
};
enum { OPTIONS = sizeof options / sizeof *options };

static void add_base(struct buf *out, const struct base *b)
{
    const int n = b->lo + (int)draw((uint64_t)(b->hi - b->lo) + 1);
    const int m = b->m_lo + (int)draw((uint64_t)(b->m_hi - b->m_lo) + 1);
    const char *number = strstr(b->text, "%d");
    if (!number) {
        buf_adds(out, b->text);
        return;
    }
    buf_printf(out, "%.*s%d", (int)(number - b->text), b->text, n);
    if (strstr(number + 1, "%d"))
        buf_printf(out, "m%d", m);
}

/* A text of the grammar's words; gives whether the words go together. */
static bool add_text(struct buf *out)
{
    const uint64_t which = draw(BASES + 2);
    const char *allowed = which < BASES ? bases[which].options : "";
    const int n = draw(3) ? (int)draw(5) : 0;
    char seen[8] = "";
    bool fits = true, wide = false;
    const enum format file = (enum format)draw((uint64_t)format_count());
    const bool second = which >= BASES && file == format_by_name("nvfp4");
    if (which < BASES)
        add_base(out, &bases[which]);
    else
        buf_adds(out, format_info(file)->name);
    for (int i = 0; i < n; i++) {
        const struct option *o = &options[draw(OPTIONS)];
        buf_printf(out, ":%s", o->text);
        fits &= !strchr(seen, o->kind)
                && (strchr(allowed, o->kind) || (which == 1 && o->kind == 'f')
                    || (second && !strcmp(o->text, "tensor")));
        wide |= o->wide;
        seen[strlen(seen)] = o->kind;
    }
    if (strchr(seen, 'f'))
        fits &= wide && (which != 1 || strchr(seen, 'a'));
    for (size_t i = 0; i < out->n; i++)
        if (draw(4) == 0)
            out->p[i] = (char)toupper((unsigned char)out->p[i]);
    return fits;
}

/* Read as a format that returns, or refused with one error inside the text; gives which. */
static bool reads_or_refuses(struct str text)
{
    struct numeric f, was;
    struct err e = ERR_INIT;
    memset(&f, 0x5a, sizeof f);
    memcpy(&was, &f, sizeof f);
    const enum st st = numeric_parse(text, &f, &e);
    if (!st) {
        returns(&f);
        return true;
    }
    assert_true(st == ST_SYNTAX || st == ST_NOTFOUND || st == ST_RANGE);
    assert_int_equal(e.st, st);
    assert_true(*e.msg);
    assert_true(e.column >= 0 && e.length > 0);
    assert_true((size_t)e.column + (size_t)e.length <= text.n + 1);
    assert_memory_equal(&f, &was, sizeof f);
    assert_int_equal(numeric_parse(text, &f, NULL), st);
    return false;
}

static void words_that_go_together_are_read(void **unused)
{
    (void)unused;
    int read = 0;
    struct buf b = { 0 };
    for (int i = 0; i < 40000; i++) {
        buf_clear(&b);
        const bool want = add_text(&b);
        if (reads_or_refuses(str_of(buf_str(&b), b.n)) != want)
            fail_msg("%s is %s", buf_str(&b), want ? "refused" : "read");
        read += want;
    }
    assert_true(read > 10000 && read < 30000);
    buf_free(&b);
}

/* One byte more, less, or another. */
static void a_byte_beside_a_format_is_one_too_or_an_error(void **unused)
{
    (void)unused;
    static const char bytes[] = "0149:=.-+ xgbcrtsmefk_A\t\n\x80\xff"; /* and the 0 that ends it */
    struct buf b = { 0 };
    char text[96];
    int64_t read = 0, bad = 0;
    for (int i = 0; i < 300; i++) {
        const struct numeric f = any();
        buf_clear(&b);
        numeric_print(&f, &b);
        const size_t n = b.n;
        const char *p = buf_str(&b);
        assert_true(n + 1 < sizeof text);
        for (size_t at = 0; at <= n; at++)
            for (size_t k = 0; k < 2 * sizeof bytes + 1; k++) {
                const size_t less = k < sizeof bytes ? 0 : 1; /* bytes of p that go */
                const size_t more = k < 2 * sizeof bytes ? 1 : 0;
                if (at + less > n)
                    continue;
                memcpy(text, p, at);
                text[at] = bytes[k % sizeof bytes];
                memcpy(text + at + more, p + at + less, n - at - less);
                const bool ok = reads_or_refuses(str_of(text, n + more - less));
                read += ok;
                bad += !ok;
            }
    }
    assert_true(read > 2000 && bad > 10 * read);
    buf_free(&b);
}

static void what_is_no_format_is_refused_where_it_goes_wrong(void **unused)
{
    (void)unused;
    refused("", ST_NOTFOUND, 0);
    refused("q4_z", ST_NOTFOUND, 0);
    refused("q4_k_m", ST_NOTFOUND, 0);
    refused("int9", ST_SYNTAX, 0);
    refused("int", ST_NOTFOUND, 0);
    refused("e0m3", ST_SYNTAX, 0);
    refused("e4m11", ST_SYNTAX, 0);
    refused("shift1", ST_SYNTAX, 0);
    refused("int4:", ST_SYNTAX, 5);
    refused("int4:g0", ST_SYNTAX, 5);
    refused("int4:g64:row", ST_SYNTAX, 9);
    refused("int4:g64:g64", ST_SYNTAX, 9);
    refused("int4:b8", ST_SYNTAX, 5);
    refused("int4:clip=0", ST_RANGE, 5);
    refused("int4:clip=1.5", ST_RANGE, 5);
    refused("int4:clip=nan", ST_RANGE, 5);
    refused("int4:s=f64", ST_SYNTAX, 5);
    refused("e2m1:asym", ST_SYNTAX, 5);
    refused("binary:clip=0.5", ST_SYNTAX, 7);
    refused("q4_k:g64", ST_SYNTAX, 5);
    refused("mxfp6:row", ST_SYNTAX, 6);
    refused("int8:static", ST_SYNTAX, 0);
    refused("int1:tensor:static", ST_SYNTAX, 0);
}

UNIT_MAIN(CASE(what_is_printed_is_read_as_the_same), CASE(words_that_go_together_are_read),
          CASE(a_byte_beside_a_format_is_one_too_or_an_error),
          CASE(what_is_no_format_is_refused_where_it_goes_wrong))
