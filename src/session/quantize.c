/* SPDX-License-Identifier: MIT */
#include "session/quantize.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "graph/glob.h"
#include "quant/mix.h"
#include "quant/second_scale.h"
#include "session/lookup.h"
#include "session/measure.h"

enum { LOCAL_TOKENS = 32, LOCAL_WORK = 600000000 }; /* products that layers' errors may cost */

const struct weight *quantize_source(const struct session *s, const struct weight *w)
{
    const struct weight *ref = s->models.ref ? weights_find(s->models.ref->model->weights, w->name)
                                             : NULL;
    if (ref && ref->rank == w->rank && !memcmp(ref->ne, w->ne, sizeof w->ne) && !ref->problem)
        return ref;
    return w;
}

/* ---- which weights ---- */

/* A vector, or a bad tensor: said of a weight that is named alone. */
static enum st one_weight(const struct weight *w, struct err *e)
{
    if (w->rank > 1)
        return weight_check(w, e);
    st_fail(e, ST_UNSUPPORTED, "%.*s is a vector: gains and biases stay as they are",
            (int)w->name.n, w->name.p);
    return ST_UNSUPPORTED;
}

const struct weight *quantize_named(const struct session *s, struct str text)
{
    return s->models.model ? weights_find(s->models.model->model->weights, text) : NULL;
}

/* Of the text as an address. */
static enum st weights_at(struct session *s, struct str glob, struct session_model **m,
                          const struct weight ***out, size_t *n, struct err *e)
{
    struct address *a = x_alloc(sizeof *a);
    struct match *list = NULL;
    struct session_run *r;
    const struct weight **found = NULL;
    size_t matches = 0, kept = 0;
    enum st st = address_parse(glob, a, e);
    const bool pattern = !st && glob_is_pattern(a->name);
    if (!st && a->used < glob.n)
        st = st_fail(e, ST_SYNTAX, "unexpected text after the name");
    if (!st && a->sliced)
        st = st_fail(e, ST_SYNTAX, "a weight has one format: it is named whole");
    if (!st)
        st = lookup_who(s, a, m, &r, e);
    if (!st)
        st = lookup_names(s, a, &list, &matches, e);
    if (!st)
        found = x_alloc((matches + 1) * sizeof *found);
    for (size_t i = 0; !st && i < matches; i++) {
        const struct weight *w = list[i].weight;
        if (w && !pattern)
            st = one_weight(w, e);
        if (w && !st && (!pattern || (mix_allows(w) && !weight_check(w, NULL))))
            found[kept++] = w;
    }
    if (!st && !kept) {
        st_fail(e, ST_NOTFOUND,
                matches ? "no weight among these that can be quantized" : "no weight of that name");
        st = st_hint(e, "`info tensors` lists the weights; `**` is all of them");
    }
    free(list);
    free(a);
    if (st) {
        free(found);
        return st;
    }
    *out = found;
    *n = kept;
    return ST_OK;
}

enum st quantize_glob(struct session *s, struct str glob, struct session_model **m,
                      const struct weight ***out, size_t *n, struct err *e)
{
    const struct weight *w = quantize_named(s, glob);
    enum st st = w ? one_weight(w, e) : weights_at(s, glob, m, out, n, e);
    if (st)
        return e && e->column < 0 ? st_at(e, 0, (int)glob.n) : st;
    if (!w)
        return ST_OK;
    *m = s->models.model;
    *out = x_alloc(sizeof **out);
    **out = w;
    *n = 1;
    return ST_OK;
}

/* ---- making ---- */

static struct quant_cache *cache(struct session *s)
{
    if (!s->forms)
        s->forms = quant_cache_new();
    return s->forms;
}

static bool quantized_format(enum format f)
{
    const struct format_info *info = format_info(f);
    return info && info->quantized;
}

void fallbacks_count(struct fallbacks *f, const struct weight *w, const struct numeric *asked,
                     const struct numeric *became)
{
    enum { MOST = sizeof f->kinds / sizeof *f->kinds };
    size_t k = 0;
    if (numeric_equal(became, asked))
        return;
    while (k < f->n_kinds && k + 1 < MOST
           && !(numeric_equal(&f->kinds[k].asked, asked)
                && numeric_equal(&f->kinds[k].became, became)))
        k++;
    if (k == f->n_kinds) {
        f->kinds[f->n_kinds++].first = w;
        f->kinds[k].asked = *asked;
        f->kinds[k].became = *became;
    }
    f->kinds[k].n++;
    f->kinds[k].cost += (int64_t)quant_bytes(became, w)
                        - (int64_t)(format_bpw(asked->storage) / 8 * (double)(w->rows * w->cols));
}

static void count(struct quantized *q, const struct quant_item *item, const struct quant_note *note,
                  const struct weight *w)
{
    const double sqnr = quant_sqnr(note->signal, note->noise);
    q->signal += note->signal;
    q->noise += note->noise;
    if (!q->worst_of || sqnr < q->worst) {
        q->worst = sqnr;
        q->worst_of = w;
    }
    q->from_reference += note->from_reference;
    q->weighted += note->weighted;
    if (quantized_format(note->from) && note->format.base != NUMERIC_DROP && !q->requantized++)
        q->requantized_first = w;
    fallbacks_count(&q->fallbacks, w, &item->format, &note->format);
}

/* What stands for the weight of an item: into the change. */
static enum st make_one(struct session *s, struct quant_request *q, const struct quant_item *item,
                        struct quantized *out, struct err *e)
{
    struct numeric will;
    struct quant_note note = { 0 };
    struct form *f = NULL;
    const struct weight *w = item->w;
    const struct form *now = changes_form(s, out->change->model, w);
    out->bytes_before += now ? form_bytes(now) : w->bytes;
    q->of = w;
    q->from = quantize_source(s, w);
    q->format = item->format;
    q->importance = s->imatrix ? imatrix_find(s->imatrix, w->name) : NULL;
    if (item->method)
        q->method = item->method;
    enum st st = item->orig ? ST_OK : quant_format(&item->format, w, &will, e);
    if (st)
        return st;
    const bool own = !item->orig && q->from == w && second_scale_stored(w, &will);
    if (item->orig || own) {
        change_form(out->change, w, NULL);
        out->bytes += w->bytes;
        return ST_OK;
    }
    if ((st = quant_make(cache(s), q, &f, &note, e)))
        return st;
    change_quant(out->change, w, f, &note);
    out->bytes += note.bytes;
    count(out, item, &note, w);
    form_drop(f);
    return ST_OK;
}

/* Dropping a linear's weight drops its bias: its output is zero. */
static enum st drop_biases(struct session *s, struct session_model *m, const struct weight *w,
                           struct quant_request *q, struct quantized *out, struct err *e)
{
    const struct graph *g = m->model->graph;
    enum st st = ST_OK;
    for (int i = 0; g && i < g->n_nodes && !st; i++)
        if (g->nodes[i].op == OP_LINEAR && g->nodes[i].w[0] == w && g->nodes[i].w[1]) {
            const struct numeric drop = { .base = NUMERIC_DROP, .storage = FORMAT_NONE, .clip = 1 };
            const struct quant_item bias = { g->nodes[i].w[1], false, drop, NULL };
            st = make_one(s, q, &bias, out, e);
        }
    return st;
}

static enum st make_all(struct session *s, struct session_model *m, const struct quant_item *list,
                        size_t n, const struct quant_method *method, struct quantized *out,
                        struct err *e)
{
    struct quant_request q = {
        .model = m->model, .method = method, .pool = session_pool(s), .progress = s->progress
    };
    enum st st = ST_OK;
    for (size_t i = 0; i < n; i++)
        q.total += (double)list[i].w->rows * (double)list[i].w->cols;
    for (size_t i = 0; i < n && !st; i++) {
        q.method = method;
        st = progress_cancelled(s->progress) ? st_fail(e, ST_CANCELLED, "interrupted")
                                             : make_one(s, &q, &list[i], out, e);
        if (!st && !list[i].orig && list[i].format.base == NUMERIC_DROP)
            st = drop_biases(s, m, list[i].w, &q, out, e);
        q.done += (double)list[i].w->rows * (double)list[i].w->cols;
    }
    return st;
}

/* ---- the error of the layers themselves ---- */

/* Does what the weight became lose anything that a layer could show? */
static bool measurable(const struct change_form *f) { return f->by && f->note.method; }

static bool waits(const struct run *r, const struct change *c)
{
    bool any = false;
    for (size_t i = 0; i < c->n_forms && !any; i++)
        any = measurable(&c->forms[i]) && layers_waiting(r, c->forms[i].w);
    return any;
}

/* A run whose points can be looked at: the active one of the model, if it has come to all that the
 * layers read (an earlier change may have sent it back), else the evaluator's over the first
 * segments of the resident set, else the active one as far as it is; NULL: there is none. */
static enum st inputs(struct session *s, struct session_model *m, const struct plan *plan,
                      struct quantized *q, struct run **out, struct err *e)
{
    struct subject x = { .model = m, .ref = s->models.ref ? s->models.ref : m };
    struct session_run *active = s->models.run;
    struct evaluator *ev;
    *out = active && active->model == m ? active->run : NULL;
    if (*out && !waits(*out, q->change))
        return ST_OK;
    if (m == s->models.model && m->model->graph && s->data.set.segments
        && !session_evaluator(s, &x, &ev, NULL)) /* the measurement will say why */
        return evaluator_run(ev, PART_TUNE, plan, s->progress, out, e);
    q->waits = *out ? active : NULL;
    return ST_OK;
}

/* Where the layers of the change's weights find what comes in. */
static enum st layers(struct session *s, struct run *r, struct quantized *q, struct err *e)
{
    double work = 0;
    enum st st = ST_OK;
    for (size_t i = 0; i < q->change->n_forms && work < LOCAL_WORK && !st; i++) {
        const struct change_form *f = &q->change->forms[i];
        struct layer_error x = { 0 };
        if (!measurable(f))
            continue;
        st = layer_error_of(r, f->w, quantize_source(s, f->w), f->by, LOCAL_TOKENS, session_pool(s),
                            &x, e);
        if (st || !x.layers)
            continue;
        work += 2.0 * (double)x.tokens * (double)x.layers * (double)(f->w->rows * f->w->cols);
        q->local.signal += x.signal;
        q->local.noise += x.noise;
        q->local.layers += x.layers;
        q->local.tokens = x.tokens;
        if (quant_sqnr(x.signal, x.noise) < q->local_worst) {
            q->local_worst = quant_sqnr(x.signal, x.noise);
            q->local_worst_of = f->w;
        }
    }
    return st;
}

static enum st local(struct session *s, struct session_model *m, struct quantized *q, struct err *e)
{
    struct plan plan;
    struct run *r;
    struct changes_left left;
    q->local_worst = INFINITY;
    changes_plan_beside(s, m, &plan, &left);
    enum st st = inputs(s, m, &plan, q, &r, e);
    if (!st && r)
        st = layers(s, r, q, e);
    session_measure_settle(s);
    plan_free(&plan);
    return st;
}

enum st session_quantize(struct session *s, struct session_model *m, const struct quant_item *list,
                         size_t n, const struct quant_method *method, struct quantized *out,
                         struct err *e)
{
    struct quantized q = { .change = change_of_weights(m), .n = n, .worst = INFINITY };
    enum st st = make_all(s, m, list, n, method, &q, e);
    if (q.weighted)
        change_weighted(q.change, s->imatrix_path, s->imatrix);
    if (!st)
        st = local(s, m, &q, e);
    if (st)
        change_free(q.change);
    else
        *out = q;
    return st;
}
