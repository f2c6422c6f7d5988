/* SPDX-License-Identifier: MIT */
/* Plans that come from a mix or from another file. */
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "command/plan_parts.h"
#include "kernels/encode.h"
#include "quant/mix.h"
#include "quant/second_scale.h"

static enum st list_mixes(struct result *out)
{
    struct table *t = result_table(out, "mixes", TABLE_ROWS);
    TABLE_COLUMNS(t, { COL_STRING, "mix" }, { COL_STRING, "mostly" }, { COL_STRING, "meaning" });
    for (size_t i = 0; mix_at(i); i++) {
        table_row(t);
        table_str(t, mix_at(i)->name);
        table_str(t, mix_at(i)->usual);
        table_str(t, mix_at(i)->brief);
    }
    return ST_OK;
}

static const char *mix_name(const void *data, size_t i)
{
    (void)data;
    return mix_at(i) ? mix_at(i)->name : NULL;
}

static enum st no_mix(const struct call *c, struct err *e)
{
    struct buf b = { 0 };
    size_t n = 0;
    while (mix_at(n))
        n++;
    const struct str t = c->words[1].text;
    call_fail(c, 1, e, ST_NOTFOUND, "no mix `%.*s`", (int)(t.n > 40 ? 40 : t.n), t.p);
    suggest(t, mix_name, NULL, n, &b);
    st_hint(e, "%s", b.n ? buf_str(&b) : "`plan stock` lists them");
    buf_free(&b);
    return ST_NOTFOUND;
}

enum st plan_of_mix(struct session *s, const struct session_model *m, const struct mix *mix,
                    struct plan_items *x, struct result *out, struct err *e)
{
    const struct weights *w = m->model->weights;
    enum format *f = x_alloc((w->n + 1) * sizeof *f);
    size_t given_up = 0;
    enum st st = mix_formats(mix, w, s->imatrix != NULL, f, &given_up, e);
    for (size_t i = 0; i < w->n && !st; i++)
        if (f[i] != FORMAT_NONE && !w->list[i].problem)
            plan_add(x, &(struct quant_item){ .w = &w->list[i], .format = numeric_storage(f[i]) });
        else if (changes_form(s, m, &w->list[i]))
            plan_add(x, &(struct quant_item){ .w = &w->list[i], .orig = true });
    free(f);
    if (given_up)
        result_note(out, "llama-quantize gives up here: no block fits %zu %s, which are in f16",
                    given_up, text_plural(given_up, "weight", "weights"));
    return st;
}

enum st plan_stock(struct session *s, struct session_model *m, const struct call *c,
                   struct result *out, struct err *e)
{
    bool dry;
    if (c->n_words == 1)
        return list_mixes(out);
    enum st st = plan_words(c, "which mix?", &dry, e);
    const struct mix *mix = st ? NULL : mix_find(c->words[1].text);
    if (st || !mix)
        return st ? st : no_mix(c, e);
    struct plan_items x = { 0 };
    if ((st = plan_of_mix(s, m, mix, &x, out, e)))
        plan_items_free(&x);
    return st ? st : plan_finish(s, m, c, dry, &x, out, e);
}

/* In how many of the weights that it speaks of does the file differ from the mix? -1: it cannot be
 * built. */
static int64_t deviations(const struct mix *mix, const struct weights *w, bool importance)
{
    enum format *f = x_alloc((w->n + 1) * sizeof *f);
    int64_t n = mix_formats(mix, w, importance, f, NULL, NULL) ? -1 : 0;
    for (size_t i = 0; i < w->n && n >= 0; i++)
        n += f[i] != FORMAT_NONE && encode_fallback(f[i], w->list[i].cols) != w->list[i].format;
    free(f);
    return n;
}

/* The mixes that come nearest to the file. */
static void nearest(const struct weights *w, struct result *out)
{
    struct table *t = result_table(out, "mixes", TABLE_ROWS);
    TABLE_COLUMNS(t, { COL_STRING, "mix" }, { COL_INT, "deviations", "weight" });
    int64_t least = INT64_MAX;
    for (int pass = 0; pass < 2; pass++)
        for (size_t i = 0; mix_at(i); i++) {
            const int64_t a = deviations(mix_at(i), w, false), b = deviations(mix_at(i), w, true);
            const int64_t n = a < 0 || (b >= 0 && b < a) ? b : a;
            if (n >= 0 && n < least && !pass)
                least = n;
            if (!pass || n != least)
                continue;
            table_row(t);
            table_str(t, mix_at(i)->name);
            table_int(t, n);
        }
}

static bool same_shape(const struct weight *a, const struct weight *b)
{
    return a->rank == b->rank && !memcmp(a->ne, b->ne, sizeof a->ne);
}

enum st plan_infer(struct session *s, struct session_model *m, const struct call *c,
                   struct result *out, struct err *e)
{
    bool dry;
    struct weights *w;
    enum st st = plan_words(c, "from which file?", &dry, e);
    if (st)
        return st;
    char *path = x_strndup(c->words[1].text.p, c->words[1].text.n);
    st = weights_open(path, &w, e);
    free(path);
    if (st)
        return st;
    struct plan_items x = { 0 };
    const struct weights *own = m->model->weights;
    size_t missing = 0;
    for (size_t i = 0; i < own->n; i++) {
        const struct weight *other = weights_find(w, own->list[i].name);
        if (!other || !same_shape(other, &own->list[i]) || other->format == FORMAT_NONE) {
            missing++;
            continue;
        }
        const struct numeric is = second_scale_format(&own->list[i]);
        const struct numeric becomes = second_scale_format(other);
        if (own->list[i].rank > 1 && !own->list[i].problem
            && (!numeric_equal(&is, &becomes) || changes_form(s, m, &own->list[i])))
            plan_add(&x, &(struct quant_item){ .w = &own->list[i], .format = becomes });
    }
    nearest(w, out);
    if (missing == own->n) {
        st = call_fail(c, 1, e, ST_NOTFOUND, "the file has no weight of this model");
        plan_items_free(&x);
    } else if (!x.n)
        result_note(out, "the model is stored as that file is");
    else
        st = plan_finish(s, m, c, dry, &x, out, e);
    if (!st && missing)
        result_note(out, "%zu %s not in that file, or have another shape: they stay", missing,
                    text_plural(missing, "weight is", "weights are"));
    weights_close(w);
    return st;
}
