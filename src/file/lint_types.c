/* SPDX-License-Identifier: MIT */
/* Lint of the tensor directory: types, names, places and sizes, without looking at the data. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "file/lint_checks.h"

#define U(x) ((unsigned long long)(x))

/* ---- types ---- */

/* What general.file_type calls the file, and the type that most weights of such a file have. */
static const struct {
    int id;
    const char *label, *mostly, *or_mostly;
} labels[] = {
    { 0, "F32", "f32", NULL },
    { 1, "F16", "f16", NULL },
    { 2, "Q4_0", "q4_0", NULL },
    { 3, "Q4_1", "q4_1", NULL },
    { 7, "Q8_0", "q8_0", NULL },
    { 8, "Q5_0", "q5_0", NULL },
    { 9, "Q5_1", "q5_1", NULL },
    { 10, "Q2_K", "q2_k", "q3_k" },
    { 11, "Q3_K_S", "q3_k", NULL },
    { 12, "Q3_K_M", "q3_k", NULL },
    { 13, "Q3_K_L", "q3_k", "q5_k" },
    { 14, "Q4_K_S", "q4_k", NULL },
    { 15, "Q4_K_M", "q4_k", NULL },
    { 16, "Q5_K_S", "q5_k", NULL },
    { 17, "Q5_K_M", "q5_k", NULL },
    { 18, "Q6_K", "q6_k", NULL },
    { 19, "IQ2_XXS", "iq2_xxs", NULL },
    { 20, "IQ2_XS", "iq2_xs", NULL },
    { 21, "Q2_K_S", "q2_k", NULL },
    { 22, "IQ3_XS", "iq3_xxs", "iq3_s" },
    { 23, "IQ3_XXS", "iq3_xxs", NULL },
    { 24, "IQ1_S", "iq1_s", NULL },
    { 25, "IQ4_NL", "iq4_nl", NULL },
    { 26, "IQ3_S", "iq3_s", NULL },
    { 27, "IQ3_M", "iq3_s", NULL },
    { 28, "IQ2_S", "iq2_xs", "iq2_s" },
    { 29, "IQ2_M", "iq2_s", NULL },
    { 30, "IQ4_XS", "iq4_xs", NULL },
    { 31, "IQ1_M", "iq1_m", NULL },
    { 32, "BF16", "bf16", NULL },
    { 36, "TQ1_0", "tq1_0", NULL },
    { 37, "TQ2_0", "tq2_0", NULL },
    { 38, "MXFP4_MOE", "mxfp4", "q8_0" },
    { 39, "NVFP4", "nvfp4", NULL },
    { 40, "Q1_0", "q1_0", NULL },
    { 41, "Q2_0", "q2_0", NULL },
};

enum { FTYPE_GUESSED = 1024 };

struct mix {
    uint64_t *tensors, *elements; /* per format */
    uint64_t matrix_elements;     /* of all formats */
    int most;                     /* format of most matrix elements, -1 if there are none */
};

static uint64_t share(const struct mix *m, const char *name, uint64_t *tensors)
{
    enum format f = name ? format_by_name(name) : FORMAT_NONE;
    *tensors = f == FORMAT_NONE ? 0 : m->tensors[f];
    return f == FORMAT_NONE ? 0 : m->elements[f];
}

static void check_label(const struct weights *w, const struct mix *m, struct lint *l)
{
    const struct gguf_kv *kv = weights_kv(w, "general.file_type");
    if (!kv || !gguf_is_integer(kv->type) || m->most < 0)
        return;
    int64_t id = gguf_integer(kv, 0) & ~(int64_t)FTYPE_GUESSED;
    size_t i = 0, n = sizeof labels / sizeof *labels;
    while (i < n && labels[i].id != id)
        i++;
    if (i == n) {
        lint_add(l, LINT_NOTE, "file-type", kv->key, "the label %lld is unknown here",
                 (long long)id);
        return;
    }
    uint64_t t1, t2, first = share(m, labels[i].mostly, &t1),
                     second = share(m, labels[i].or_mostly, &t2);
    uint64_t most = m->elements[m->most];
    double percent = 100.0 * (double)most / (double)m->matrix_elements;
    const char *real = format_info((enum format)m->most)->type;
    if (!t1 && !t2)
        lint_add(l, LINT_WARNING, "file-type", kv->key,
                 "the label is %s, but no matrix has that type; most weights (%.0f %%) are %s",
                 labels[i].label, percent, real);
    else if (first < most && second < most)
        lint_add(l, LINT_NOTE, "file-type", kv->key,
                 "the label is %s, but most weights (%.0f %%) are %s", labels[i].label, percent,
                 real);
}

static void check_version(const struct weights *w, bool quantized, struct lint *l)
{
    static const char key[] = "general.quantization_version";
    const struct gguf_kv *kv = weights_kv(w, key);
    if (!quantized)
        return;
    if (!kv)
        lint_add(l, LINT_WARNING, "quantization-version", str_from(key),
                 "absent, though tensors are quantized");
    else if (!gguf_is_integer(kv->type) || gguf_integer(kv, 0) != 2)
        lint_add(l, LINT_WARNING, "quantization-version", str_from(key),
                 "not 2, the version in use");
}

/* The second-level scale of NVFP4 lies in a tensor of its own, named X.scale beside X.weight. */
static void check_nvfp4(const struct weights *w, struct lint *l)
{
    enum format nvfp4 = format_by_name("nvfp4");
    uint64_t all = 0, without = 0;
    struct str first = { 0 };
    for (size_t i = 0; i < w->n; i++) {
        if (w->list[i].format != nvfp4 || nvfp4 == FORMAT_NONE)
            continue;
        all++;
        if (!w->list[i].scale && !without++)
            first = w->list[i].name;
    }
    if (without)
        lint_add(l, LINT_NOTE, "nvfp4-scale", first,
                 "%llu of %llu NVFP4 tensors %s no .scale tensor; %s values are taken as stored",
                 U(without), U(all), text_plural(without, "has", "have"),
                 text_plural(without, "its", "their"));
}

void lint_types(const struct weights *w, struct lint *l)
{
    size_t n = (size_t)format_count();
    struct mix m = { x_alloc(n * sizeof *m.tensors), x_alloc(n * sizeof *m.elements), 0, -1 };
    bool quantized = false;
    for (size_t i = 0; i < w->n; i++) {
        const struct weight *x = &w->list[i];
        const struct format_info *f = format_info(x->format);
        if (!f || x->problem)
            continue;
        quantized = quantized || f->quantized;
        if (!f->decode)
            lint_add(l, LINT_NOTE, "opaque", x->name,
                     "%s is known by name and size; it does not decode here", f->type);
        if (x->rank < 2)
            continue;
        m.tensors[x->format]++;
        m.elements[x->format] += x->rows * x->cols;
        m.matrix_elements += x->rows * x->cols;
        if (m.most < 0 || m.elements[x->format] > m.elements[m.most])
            m.most = (int)x->format;
    }
    check_label(w, &m, l);
    check_version(w, quantized, l);
    check_nvfp4(w, l);
    free(m.tensors);
    free(m.elements);
}

/* ---- places ---- */

static void report_problem(const struct weights *w, const struct weight *x, struct lint *l)
{
    const struct gguf *g = w->files[x->file];
    const char *removed = x->format == FORMAT_NONE ? format_removed(x->type_id) : NULL;
    char shape[96];
    int n = snprintf(shape, sizeof shape, "%llu", U(x->ne[0]));
    for (int d = 1; d < x->rank; d++)
        n += snprintf(shape + n, sizeof shape - (size_t)n, " x %llu", U(x->ne[d]));
    lint_add(
        l, LINT_ERROR, "tensor", x->name,
        "%s (type %lu, shape %s, %zu bytes at offset %llu; the file has %zu bytes of data)%s%s",
        x->problem, (unsigned long)x->type_id, shape, x->bytes, U(x->offset),
        g->map.size > g->data_offset ? (size_t)(g->map.size - g->data_offset) : 0,
        removed ? "; " : "", removed ? removed : "");
}

/* Strict readers want every tensor where the one before it ends, rounded up to the alignment. */
static void check_order(const struct weights *w, int file, size_t begin, size_t end, struct lint *l)
{
    const struct gguf *g = w->files[file];
    uint64_t expected = 0, last = 0, odd = 0;
    const struct weight *first = NULL;
    for (size_t i = begin; i < end; i++) {
        const struct weight *x = &w->list[i];
        if (x->problem)
            return; /* worse has been said */
        if (x->offset != expected && !odd++)
            first = x;
        uint64_t up = g->alignment - 1;
        expected = (x->offset + x->bytes + up) & ~up;
        last = x->offset + x->bytes > last ? x->offset + x->bytes : last;
    }
    if (odd)
        lint_add(l, LINT_WARNING, "order", first->name,
                 "%llu %s not lie right behind the one before (gaps or another order); "
                 "llama.cpp refuses such a file",
                 U(odd), text_plural(odd, "tensor does", "tensors do"));
    uint64_t size = g->map.size > g->data_offset ? g->map.size - g->data_offset : 0;
    if (end > begin && size > last + g->alignment)
        lint_add(l, LINT_NOTE, "tail", STR("file"), "%llu %s the last tensor", U(size - last),
                 text_plural(size - last, "byte follows", "bytes follow"));
}

static bool odd_name(struct str s)
{
    for (size_t i = 0; i < s.n;) {
        int32_t cp;
        int n = utf8_decode(s.p + i, s.n - i, &cp);
        if (cp <= ' ' || cp == 127)
            return true;
        i += (size_t)n;
    }
    return false;
}

static void check_names(const struct weights *w, struct lint *l)
{
    enum { LONGEST_ELSEWHERE = 63 };
    for (size_t i = 0; i < w->n; i++) {
        struct str name = w->list[i].name;
        if (name.n > LONGEST_ELSEWHERE)
            lint_add(l, LINT_WARNING, "name", name,
                     "the name has %zu bytes; llama.cpp refuses more than %d", name.n,
                     LONGEST_ELSEWHERE);
        if (odd_name(name))
            lint_add(l, LINT_WARNING, "name", name,
                     "the name holds blanks, control bytes or bad UTF-8");
    }
    for (size_t f = 0; f < w->n_files; f++)
        for (size_t i = 0; i < w->files[f]->n_kvs; i++)
            if (odd_name(w->files[f]->kvs[i].key))
                lint_add(l, LINT_WARNING, "name", w->files[f]->kvs[i].key,
                         "the key holds blanks, control bytes or bad UTF-8");
}

void lint_directory(const struct weights *w, struct lint *l)
{
    check_names(w, l);
    for (size_t i = 0; i < w->n; i++)
        if (w->list[i].problem)
            report_problem(w, &w->list[i], l);
    size_t begin = 0;
    for (size_t f = 0; f < w->n_files; f++) {
        check_order(w, (int)f, begin, begin + w->files[f]->n_tensors, l);
        begin += w->files[f]->n_tensors;
    }
    if (w->files[0]->alignment < 8)
        lint_add(l, LINT_NOTE, "alignment", STR("general.alignment"),
                 "%llu; the format asks for a multiple of 8", U(w->files[0]->alignment));
}
