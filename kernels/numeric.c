/* SPDX-License-Identifier: MIT */
/* Numeric formats: their grammar, and the room they take. */
#include "kernels/numeric.h"

#include <math.h>
#include <string.h>
#include <strings.h>

static const char *const scale_names[] = { "f32", "f16", "bf16", "e8m0", "ue4m3" };

/* What may follow a base. */
enum { OPT_GRAIN = 1, OPT_ASYM = 2, OPT_CLIP = 4, OPT_SCALE = 8, OPT_STATIC = 16 };
enum { OPT_MEAN = OPT_GRAIN | OPT_SCALE, OPT_RANGED = OPT_MEAN | OPT_CLIP | OPT_STATIC };

static const struct base {
    const char *name; /* in front of the numbers */
    enum numeric_grain grain;
    int64_t n; /* of the group */
    unsigned options;
    const char *words; /* for completion */
} bases[NUMERIC__BASES] = {
    [NUMERIC_STORAGE] = { "", GRAIN_ROW, 0, 0, "" },
    [NUMERIC_INT] = { "int", GRAIN_ROW, 0, OPT_RANGED | OPT_ASYM,
                      "int1 int2 int3 int4 int5 int6 int7 int8" },
    [NUMERIC_FLOAT] = { "e", GRAIN_ROW, 0, OPT_RANGED, "e2m1 e3m0 e2m3 e3m2 e4m3 e5m2" },
    [NUMERIC_NF4] = { "nf4", GRAIN_GROUP, 64, OPT_RANGED, "nf4" },
    [NUMERIC_MXFP6] = { "mxfp6", GRAIN_GROUP, 32, 0, "mxfp6" },
    [NUMERIC_MXFP8] = { "mxfp8", GRAIN_GROUP, 32, 0, "mxfp8" },
    [NUMERIC_SHIFT] = { "shift", GRAIN_ROW, 0, OPT_RANGED, "shift2 shift3 shift4" },
    [NUMERIC_BINARY] = { "binary", GRAIN_ROW, 0, OPT_MEAN, "binary" },
    [NUMERIC_TERNARY] = { "ternary", GRAIN_ROW, 0, OPT_MEAN, "ternary" },
    [NUMERIC_TWN] = { "twn", GRAIN_ROW, 0, OPT_MEAN, "twn" },
    [NUMERIC_CPX] = { "cpx", GRAIN_TENSOR, 0, OPT_MEAN, "cpx" },
    [NUMERIC_DROP] = { "drop", GRAIN_ROW, 0, 0, "drop" },
};

struct numeric numeric_storage(enum format f)
{
    return (struct numeric){ .storage = f, .clip = 1 };
}

bool numeric_second_scale(const struct numeric *f)
{
    return f->base == NUMERIC_STORAGE && f->grain == GRAIN_TENSOR
           && f->storage == format_by_name("nvfp4");
}

bool numeric_equal(const struct numeric *a, const struct numeric *b)
{
    return a->base == b->base && a->storage == b->storage && a->bits == b->bits
           && a->exponent == b->exponent && a->mantissa == b->mantissa && a->grain == b->grain
           && a->n == b->n && a->m == b->m && a->asym == b->asym && a->fixed == b->fixed
           && a->clip == b->clip && a->scale == b->scale;
}

struct str numeric_word(size_t i)
{
    for (int f = 0; f < format_count(); f++) {
        const struct format_info *info = format_info((enum format)f);
        if (info->decode && !strstr(info->brief, "(activations)") && !i--)
            return str_from(info->name);
    }
    for (int b = 0; b < NUMERIC__BASES; b++)
        for (const char *p = bases[b].words; *p;) {
            const size_t n = strcspn(p, " ");
            if (!i--)
                return str_of(p, n);
            p += n + (p[n] == ' ');
        }
    return str_of(NULL, 0);
}

/* ---- parsing ---- */

static bool is_word(struct str a, const char *b)
{
    return a.n == strlen(b) && !strncasecmp(a.p, b, a.n);
}

static bool has_prefix(struct str a, const char *b)
{
    return a.n > strlen(b) && !strncasecmp(a.p, b, strlen(b));
}

/* Decimal digits at *at; false when there are none, or too many. */
static bool number_at(struct str t, size_t *at, int64_t *out)
{
    const size_t from = *at;
    int64_t v = 0;
    while (*at < t.n && t.p[*at] >= '0' && t.p[*at] <= '9' && *at < from + 9)
        v = v * 10 + (t.p[(*at)++] - '0');
    *out = v;
    return *at > from;
}

/* All of t behind `from` is one number in lo..hi. */
static bool number_in(struct str t, size_t from, int64_t lo, int64_t hi, int64_t *out)
{
    return number_at(t, &from, out) && from == t.n && *out >= lo && *out <= hi;
}

/* N and M of "eNmM". */
static bool float_base(struct str t, struct numeric *f)
{
    int64_t x, m;
    size_t at = 1;
    if (t.n < 4 || (t.p[0] | 32) != 'e' || !number_at(t, &at, &x) || at + 1 >= t.n
        || (t.p[at++] | 32) != 'm' || !number_at(t, &at, &m) || at != t.n)
        return false;
    f->exponent = (int)x;
    f->mantissa = (int)m;
    return true;
}

static enum st set_base(struct numeric *f, enum numeric_base base)
{
    f->base = base;
    f->grain = bases[base].grain;
    f->n = bases[base].n;
    return ST_OK;
}

static enum st no_base(struct str t, struct err *e)
{
    struct str w;
    st_fail(e, ST_NOTFOUND, "no format `%.*s`", (int)(t.n > 40 ? 40 : t.n), t.p);
    for (size_t i = 0; (w = numeric_word(i)).n; i++)
        if (text_distance(t, w) == 1)
            return st_hint(e, "did you mean `%.*s`?", (int)w.n, w.p);
    return st_hint(e, "`help quant` has the grammar, `info formats` the formats of files");
}

static enum st parse_base(struct str t, struct numeric *f, struct err *e)
{
    char name[24] = "";
    int64_t n;
    if (t.n && t.n < sizeof name) {
        memcpy(name, t.p, t.n);
        f->storage = strlen(name) == t.n ? format_by_name(name) : FORMAT_NONE;
        if (f->storage != FORMAT_NONE)
            return set_base(f, NUMERIC_STORAGE);
    }
    for (int b = NUMERIC_NF4; b < NUMERIC__BASES; b++)
        if (b != NUMERIC_SHIFT && is_word(t, bases[b].name))
            return set_base(f, (enum numeric_base)b);
    const bool whole = has_prefix(t, "int");
    if (whole || has_prefix(t, "shift")) {
        if (!number_in(t, whole ? 3 : 5, whole ? 1 : 2, whole ? 8 : 6, &n))
            return st_fail(e, ST_SYNTAX, whole ? "int has 1 to 8 bits" : "shift has 2 to 6 bits");
        f->bits = (int)n;
        return set_base(f, whole ? NUMERIC_INT : NUMERIC_SHIFT);
    }
    if (float_base(t, f)) {
        if (f->exponent < 1 || f->exponent > 8 || f->mantissa > 10)
            return st_fail(e, ST_SYNTAX, "a float has 1 to 8 exponent bits, 0 to 10 of mantissa");
        return set_base(f, NUMERIC_FLOAT);
    }
    return no_base(t, e);
}

/* gN, bRxC, row, tok, tensor, chan: false when it is none of them. */
static bool parse_grain(struct str t, struct numeric *f)
{
    static const struct {
        const char *word;
        enum numeric_grain grain;
    } words[] = { { "row", GRAIN_ROW },
                  { "tok", GRAIN_ROW },
                  { "tensor", GRAIN_TENSOR },
                  { "chan", GRAIN_CHANNEL } };
    int64_t n, m;
    size_t at = 1;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (is_word(t, words[i].word)) {
            f->grain = words[i].grain;
            f->n = f->m = 0;
            return true;
        }
    const char first = (char)(t.n ? t.p[0] | 32 : 0);
    if ((first != 'g' && first != 'b') || !number_at(t, &at, &n) || n < 1)
        return false;
    if (first == 'g' && at == t.n) {
        f->grain = GRAIN_GROUP;
        f->n = n;
        f->m = 0;
        return true;
    }
    if (first != 'b' || at + 1 >= t.n || (t.p[at++] | 32) != 'x' || !number_at(t, &at, &m)
        || at != t.n || m < 1)
        return false;
    f->grain = GRAIN_BLOCK;
    f->n = n;
    f->m = m;
    return true;
}

/* Which option it is, with its value put into f; 0 and *e filled when it is none. */
static unsigned parse_option(struct str t, struct numeric *f, struct err *e)
{
    if (parse_grain(t, f))
        return OPT_GRAIN;
    if (is_word(t, "asym"))
        return f->asym = true, OPT_ASYM;
    if (is_word(t, "static"))
        return f->fixed = true, OPT_STATIC;
    if (has_prefix(t, "clip=")) {
        if (!parse_f64(str_of(t.p + 5, t.n - 5), &f->clip, e) && f->clip > 0 && f->clip <= 1)
            return OPT_CLIP;
        st_fail(e, ST_RANGE, "clip is a share of the range: above 0, at most 1");
        return 0;
    }
    for (int i = 0; i <= SCALE_UE4M3 && has_prefix(t, "s="); i++)
        if (is_word(str_of(t.p + 2, t.n - 2), scale_names[i]))
            return f->scale = (enum numeric_scale)i, OPT_SCALE;
    st_fail(e, ST_SYNTAX, "no option `%.*s` of a format", (int)(t.n > 40 ? 40 : t.n), t.p);
    st_hint(e, "gN bRxC row tensor tok chan asym clip=F s=f32|f16|bf16|e8m0|ue4m3 static");
    return 0;
}

static enum st refuse(const struct numeric *f, struct str base, struct err *e)
{
    if (f->base != NUMERIC_STORAGE)
        return st_fail(e, ST_SYNTAX, "%.*s does not take this option", (int)base.n, base.p);
    st_fail(e, ST_SYNTAX, "%.*s is a format of files: it is what it is", (int)base.n, base.p);
    const bool mx = is_word(base, "mxfp4"), nv = is_word(base, "nvfp4");
    return nv   ? st_hint(e, "nvfp4:tensor has a scale beside it; e2m1:g16:s=ue4m3 is simulated")
           : mx ? st_hint(e, "e2m1:g32:s=e8m0 is the simulated one")
                : st_hint(e, "options belong to simulated formats: int4:g64, e2m1:row");
}

/* What the parts of a format forbid together. */
static enum st check(const struct numeric *f, struct err *e)
{
    if (!f->fixed)
        return ST_OK;
    if (!numeric_ranged(f))
        return st_fail(e, ST_SYNTAX, "this format has no range that could be static");
    if (f->grain == GRAIN_TENSOR || f->grain == GRAIN_CHANNEL)
        return ST_OK;
    st_fail(e, ST_SYNTAX, "static ranges are those of a tensor or of channels");
    return st_hint(e, "int8:tensor:static, int8:chan:static");
}

enum st numeric_parse(struct str text, struct numeric *out, struct err *e)
{
    struct numeric f = { .storage = FORMAT_NONE, .clip = 1 };
    struct str base = { NULL, 0 };
    struct err unheard = ERR_INIT;
    unsigned seen = 0;
    e = e ? e : &unheard;
    for (size_t at = 0; at <= text.n;) {
        size_t end = at;
        while (end < text.n && text.p[end] != ':')
            end++;
        const struct str word = str_of(text.p + at, end - at);
        enum st st = ST_OK;
        if (!at) {
            base = word;
            st = parse_base(word, &f, e);
        } else {
            const unsigned option = parse_option(word, &f, e);
            if (!option)
                st = e->st;
            else if (option & ~(numeric_second_scale(&f) ? OPT_GRAIN : bases[f.base].options))
                st = refuse(&f, base, e);
            else if (option & seen)
                st = st_fail(e, ST_SYNTAX, "that has been said already");
            seen |= option;
        }
        if (st)
            return st_at(e, (int)at, (int)(word.n ? word.n : 1)), st;
        at = end + 1;
    }
    enum st st = check(&f, e);
    if (st)
        return st_at(e, 0, (int)text.n), st;
    *out = f;
    return ST_OK;
}

void numeric_print(const struct numeric *f, struct buf *out)
{
    const struct base *b = &bases[f->base];
    char number[32];
    buf_adds(out, f->base == NUMERIC_STORAGE ? format_info(f->storage)->name : b->name);
    if (f->base == NUMERIC_INT || f->base == NUMERIC_SHIFT)
        buf_printf(out, "%d", f->bits);
    if (f->base == NUMERIC_FLOAT)
        buf_printf(out, "%dm%d", f->exponent, f->mantissa);
    if (f->grain == GRAIN_GROUP && !(b->grain == GRAIN_GROUP && b->n == f->n))
        buf_printf(out, ":g%lld", (long long)f->n);
    else if (f->grain == GRAIN_BLOCK)
        buf_printf(out, ":b%lldx%lld", (long long)f->n, (long long)f->m);
    else if (f->grain != GRAIN_GROUP && f->grain != b->grain)
        buf_adds(out, f->grain == GRAIN_ROW      ? ":row"
                      : f->grain == GRAIN_TENSOR ? ":tensor"
                                                 : ":chan");
    if (f->asym)
        buf_adds(out, ":asym");
    if (f->clip != 1)
        buf_printf(out, ":clip=%s", text_f64(number, sizeof number, f->clip));
    if (f->scale)
        buf_printf(out, ":s=%s", scale_names[f->scale]);
    if (f->fixed)
        buf_adds(out, ":static");
}

/* ---- room ---- */

enum st numeric_fits(const struct numeric *f, uint64_t cols, struct err *e)
{
    size_t bytes;
    const uint64_t n = f->base == NUMERIC_STORAGE ? (uint64_t)format_info(f->storage)->block
                       : f->grain == GRAIN_GROUP  ? (uint64_t)f->n
                                                  : 1;
    if (f->base == NUMERIC_STORAGE ? !format_row_bytes(f->storage, cols, &bytes) : cols % n != 0)
        return st_fail(e, ST_RANGE, "rows of %llu are no multiple of %llu",
                       (unsigned long long)cols, (unsigned long long)n);
    const uint64_t unit = f->grain == GRAIN_GROUP   ? (uint64_t)f->n
                          : f->grain == GRAIN_BLOCK ? (uint64_t)f->m
                                                    : cols;
    if (f->base == NUMERIC_CPX && (unit % 2 || cols % 2 || f->grain == GRAIN_CHANNEL))
        return st_fail(e, ST_RANGE, "cpx takes numbers in pairs: groups and rows must be even");
    return ST_OK;
}

static uint64_t groups(const struct numeric *f, uint64_t rows, uint64_t cols)
{
    const uint64_t n = (uint64_t)f->n, m = (uint64_t)f->m;
    switch (f->grain) {
    case GRAIN_ROW: return rows;
    case GRAIN_GROUP: return rows * (cols / n);
    case GRAIN_BLOCK: return ((rows + n - 1) / n) * ((cols + m - 1) / m);
    case GRAIN_TENSOR: return 1;
    case GRAIN_CHANNEL: break;
    }
    return cols;
}

/* Bits of an element's code, in fifths. */
static int fifths(const struct numeric *f)
{
    switch (f->base) {
    case NUMERIC_INT:
    case NUMERIC_SHIFT: return 5 * f->bits;
    case NUMERIC_FLOAT: return 5 * (1 + f->exponent + f->mantissa);
    case NUMERIC_NF4: return 20;
    case NUMERIC_MXFP6: return 30;
    case NUMERIC_MXFP8: return 40;
    case NUMERIC_BINARY:
    case NUMERIC_CPX: return 5;
    case NUMERIC_TERNARY:
    case NUMERIC_TWN: return 8;
    default: return 0;
    }
}

uint64_t numeric_bytes(const struct numeric *f, uint64_t rows, uint64_t cols)
{
    static const int scale_bits[] = { 32, 16, 16, 8, 8 };
    size_t row;
    if (f->base == NUMERIC_DROP)
        return 0;
    if (f->base == NUMERIC_STORAGE)
        return format_row_bytes(f->storage, cols, &row) ? row * rows : 0;
    const bool mx = f->base == NUMERIC_MXFP6 || f->base == NUMERIC_MXFP8;
    uint64_t per_group = mx ? 8 : (uint64_t)scale_bits[f->scale];
    if (f->base == NUMERIC_CPX)
        per_group *= 2;
    if (f->asym)
        per_group += (uint64_t)f->bits;
    const uint64_t bits = (rows * cols * (uint64_t)fifths(f) + 4) / 5
                          + groups(f, rows, cols) * per_group + (f->scale == SCALE_UE4M3 ? 32 : 0);
    return (bits + 7) / 8;
}
