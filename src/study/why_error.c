/* SPDX-License-Identifier: MIT */
#include "study/why_error.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "study/compare.h"
#include "study/why.h"

const char *error_verdict_name(enum error_verdict v)
{
    static const char *const names[] = { "arrived",  "weight error",  "inherited", "made here",
                                         "rounding", "set by change", "no error",  "not traced" };
    return names[v];
}

int64_t largest_error(const float *x, const float *ref, int64_t n)
{
    int64_t best = -1;
    for (int64_t i = 0; i < n; i++) {
        if (!isfinite(ref[i]) || x[i] == ref[i])
            continue;
        if (!isfinite(x[i]))
            return i;
        if (best < 0 || fabsf(x[i] - ref[i]) > fabsf(x[best] - ref[best]))
            best = i;
    }
    return best;
}

static double total(const struct error_term *t) { return t->weight + t->inherited + t->scale; }

/* ---- the two sides ---- */

struct sides {
    struct run *r;
    struct ref_source *ref;
    float *held; /* a point of a trace */
};

static enum st their_point(void *data, int span, int value, struct tensor *out, struct err *e)
{
    struct sides *s = data;
    if (s->ref->run)
        return run_read(s->ref->run, span, value, out, e);
    struct tensor x;
    const enum st st = compare_input(s->r, s->ref, span, value, &x, e);
    if (st)
        return st;
    mem_free(s->held);
    s->held = x.data;
    *out = x;
    return ST_OK;
}

static enum st their_terms(struct sides *s, const struct error_step *step, int64_t at,
                           enum term_kind *kind, struct op_term **out, int64_t *n, struct err *e)
{
    return s->ref->run
               ? run_terms(s->ref->run, step->span, step->value, at, kind, out, n, e)
               : run_terms_on(s->r, step->span, step->value, at, their_point, s, kind, out, n, e);
}

/* ---- the terms of a step ---- */

/* What a norm's gain, which is a weight, has of the change of its factor. */
static double gain_part(const struct node *a, const struct node *b, const struct error_term *t)
{
    if (t->run.slot != 0 || !a->v[0] || !b->v[0] || a->v[0][t->run.col] == 0)
        return 0;
    const double gain = (double)b->v[0][t->run.col] / (double)a->v[0][t->run.col];
    return t->run.factor * (1 - gain) * t->ref.x;
}

static void split(const struct node *a, const struct node *b, enum op op, struct error_term *t)
{
    const double dx = t->run.x - t->ref.x, dw = t->run.factor - t->ref.factor;
    if (op == OP_RMS_NORM || op == OP_LAYER_NORM) {
        if (t->run.in >= 0 && t->run.factor == 0)
            return; /* another element of the row */
        t->weight = t->run.in < 0 ? dw : gain_part(a, b, t);
        t->inherited = t->run.in < 0 ? 0 : dx * t->run.factor;
        t->scale = t->run.product - t->ref.product - t->weight - t->inherited;
    } else if (t->run.slot >= 0) {
        t->weight = dw * t->ref.x;
        t->inherited = t->run.in < 0 ? 0 : dx * t->run.factor;
    } else
        t->inherited = t->run.product - t->ref.product;
}

/* Products of two activations: the first n have the one, the others the other. */
static void split_pairs(enum op op, struct error_term *list, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        struct error_term *a = &list[i], *b = &list[n + i];
        const double da = a->run.x - a->ref.x, db = b->run.x - b->ref.x;
        if (op == OP_SCORE) { /* b's factor: a's x, scaled */
            a->inherited = da * a->run.factor;
            b->inherited = db * b->ref.factor;
        } else {
            a->inherited = da * b->ref.x;
            b->inherited = db * a->run.x;
        }
    }
}

static struct error_term *both(const struct sides *of, struct error_step *s,
                               const struct op_term *a, const struct op_term *b, int64_t n)
{
    const struct graph *g = run_graph(of->r), *h = of->ref->run ? run_graph(of->ref->run) : g;
    const struct node *x = &g->nodes[g->values[s->value].node],
                      *y = &h->nodes[h->values[s->value].node];
    struct error_term *list = x_alloc((size_t)(n + 1) * sizeof *list);
    for (int64_t i = 0; i < n; i++)
        list[i] = (struct error_term){ .run = a[i], .ref = b[i] };
    if (x->op == OP_SCORE || x->op == OP_MIX || x->op == OP_MUL)
        split_pairs(x->op, list, n / 2);
    else
        for (int64_t i = 0; i < n; i++)
            split(x, y, x->op, &list[i]);
    for (int64_t i = 0; i < n; i++) {
        s->weight += list[i].weight;
        s->inherited += list[i].inherited;
        s->scale += list[i].scale;
    }
    s->rest = s->x - s->ref - s->weight - s->inherited - s->scale;
    return list;
}

static void keep_top(struct error_step *s, const struct error_term *list, int64_t n)
{
    s->n_terms = n;
    for (int64_t i = 0; i < n; i++) {
        int64_t at = s->n_top;
        while (at > 0 && fabs(total(&list[i])) > fabs(total(&s->top[at - 1])))
            at--;
        if (at == ERROR_TOP || total(&list[i]) == 0)
            continue;
        s->n_top += s->n_top < ERROR_TOP;
        memmove(&s->top[at + 1], &s->top[at], (size_t)(s->n_top - 1 - at) * sizeof *s->top);
        s->top[at] = list[i];
    }
}

/* How far the error of a term's x stands out of those of its row: abs(error) / rms. */
static double stands_out(struct sides *of, const struct error_step *s, const struct error_term *t)
{
    int span, value;
    int64_t at;
    struct tensor x, y;
    run_term_place(of->r, s->span, s->value, &t->run, &span, &value, &at);
    if (run_read(of->r, span, value, &x, NULL) || their_point(of, span, value, &y, NULL))
        return 0;
    const int64_t n = x.shape.d[0].axis == AXIS_TOK ? shape_per_token(&x.shape)
                                                    : x.shape.d[x.shape.rank - 1].n;
    double square = 0;
    for (int64_t i = at / n * n; i < at / n * n + n; i++) {
        const double d = (double)x.data[i] - (double)y.data[i];
        square += d * d;
    }
    return square > 0 ? fabs(t->run.x - t->ref.x) / sqrt(square / (double)n) : 0;
}

/* The term with the largest of one of its parts. */
static const struct error_term *largest(const struct error_term *list, int64_t n, size_t part)
{
    const struct error_term *best = NULL;
    double most = 0;
    for (int64_t i = 0; i < n; i++) {
        double x;
        memcpy(&x, (const char *)&list[i] + part, sizeof x);
        if (fabs(x) > most) {
            most = fabs(x);
            best = &list[i];
        }
    }
    return best;
}

/* The element of a row whose square changed most: what changed the scale of all. */
static const struct error_term *scaled_by(const struct error_term *list, int64_t n)
{
    const struct error_term *best = NULL;
    double most = 0;
    for (int64_t i = 0; i < n; i++) {
        const double x = fabs(list[i].run.x * list[i].run.x - list[i].ref.x * list[i].ref.x);
        if (list[i].run.in >= 0 && x > most) {
            most = x;
            best = &list[i];
        }
    }
    return best;
}

static enum error_verdict judge(struct sides *of, struct error_step *s,
                                const struct error_term *list, int64_t n)
{
    const double w = fabs(s->weight), in = fabs(s->inherited), scale = fabs(s->scale);
    const struct error_term *t = NULL;
    if (fabs(s->rest) > fmax(fmax(w, in), scale))
        return of->ref->run ? ERROR_ROUNDED : ERROR_MADE;
    if (w >= in && w >= scale) {
        if ((t = largest(list, n, offsetof(struct error_term, weight))))
            s->cause = *t;
        return ERROR_WEIGHT;
    }
    t = scale > in ? scaled_by(list, n) : largest(list, n, offsetof(struct error_term, inherited));
    if (!t || t->run.in < 0)
        return ERROR_UNTRACED;
    s->cause = *t;
    if (scale > in || n <= 2)
        return ERROR_ARRIVED;
    const double share = fabs(t->inherited) / fabs(s->x - s->ref);
    return share >= ERROR_MOST || (share >= WHY_SHARE && stands_out(of, s, t) > WHY_STANDS_OUT)
               ? ERROR_ARRIVED
               : ERROR_SPREAD;
}

static enum st element(read_point_fn *read, void *data, const struct error_step *s, double *out,
                       struct err *e)
{
    struct tensor x;
    enum st st = read(data, s->span, s->value, &x, e);
    if (!st && (s->at < 0 || s->at >= shape_count(&x.shape)))
        st = st_fail(e, ST_RANGE, "there is no such element");
    if (!st)
        *out = (double)x.data[s->at];
    return st;
}

static enum st our_point(void *data, int span, int value, struct tensor *out, struct err *e)
{
    return run_read(data, span, value, out, e);
}

static enum st step(struct sides *of, struct error_step *s, struct err *e)
{
    struct op_term *a = NULL, *b = NULL;
    int64_t n = 0, m = 0;
    enum term_kind kind;
    enum st st = element(our_point, of->r, s, &s->x, e);
    if (!st)
        st = element(their_point, of, s, &s->ref, e);
    if (st)
        return st;
    s->cause.run = s->cause.ref = (struct op_term){
        .in = -1, .slot = -1, .token = -1, .row = -1, .col = -1
    };
    s->verdict = s->x == s->ref ? ERROR_NONE : ERROR_UNTRACED;
    if (s->x == s->ref)
        return ST_OK;
    st = run_terms(of->r, s->span, s->value, s->at, &kind, &a, &n, e);
    if (!st)
        st = their_terms(of, s, s->at, &kind, &b, &m, e);
    if (!st && n == m && n) {
        struct error_term *list = both(of, s, a, b, n);
        keep_top(s, list, n);
        s->verdict = judge(of, s, list, n);
        free(list);
    }
    free(a);
    free(b);
    return st == ST_UNSUPPORTED ? ST_OK : st;
}

/* ---- the blocks of a row ---- */

/* Sums over tokens: of the error made here and the parts of the product that blocks give. */
struct block_sums {
    double ee, *ep, *pp; /* [n] */
    int64_t n, block;
};

/* One token: at: the element of its row. */
static enum st add_token(struct sides *of, const struct error_step *s, int64_t at,
                         struct block_sums *sums, struct err *e)
{
    struct op_term *list = NULL;
    enum term_kind kind;
    int64_t n;
    double ref, made = 0;
    struct error_step here = *s;
    here.at = at;
    enum st st = element(their_point, of, &here, &ref, e);
    if (!st)
        st = their_terms(of, s, at, &kind, &list, &n, e);
    if (st)
        return st;
    double *part = x_alloc((size_t)sums->n * sizeof *part);
    for (int64_t i = 0; i < n; i++) {
        made += list[i].product;
        if (list[i].slot == 0 && list[i].in >= 0)
            part[list[i].col / sums->block] += list[i].product;
    }
    made = ref - made; /* what the blocks would have to give more */
    sums->ee += made * made;
    for (int64_t b = 0; b < sums->n; b++) {
        sums->ep[b] += made * part[b];
        sums->pp[b] += part[b] * part[b];
    }
    free(part);
    free(list);
    return ST_OK;
}

static void rank_blocks(const struct block_sums *sums, int64_t cols, struct error_trace *out)
{
    for (int64_t b = 0; b < sums->n; b++) {
        if (!(sums->pp[b] > 0) || !(sums->ee > 0))
            continue;
        const struct error_block x = {
            b * sums->block,
            (b + 1) * sums->block < cols ? sums->block : cols - b * sums->block,
            sums->ep[b] * sums->ep[b] / (sums->pp[b] * sums->ee),
            1 + sums->ep[b] / sums->pp[b],
        };
        int at = out->n_blocks;
        while (at > 0 && x.share > out->blocks[at - 1].share)
            at--;
        if (at == ERROR_BLOCKS)
            continue;
        out->n_blocks += out->n_blocks < ERROR_BLOCKS;
        memmove(&out->blocks[at + 1], &out->blocks[at],
                (size_t)(out->n_blocks - 1 - at) * sizeof x);
        out->blocks[at] = x;
    }
}

/* Which blocks of its weight's row the error of the last step speaks of. */
static enum st blame_blocks(struct sides *of, struct error_trace *w, struct err *e)
{
    const struct error_step *s = &w->steps[w->n - 1];
    const struct graph *g = run_graph(of->r);
    const struct node *node = &g->nodes[g->values[s->value].node];
    if (s->verdict != ERROR_MADE || node->op != OP_LINEAR || !node->w[0])
        return ST_OK;
    struct form *form = plan_form(run_plan(of->r), run_model(of->r), node->w[0]);
    const struct weight *weight = form ? &form->w : node->w[0];
    const int64_t width = shape_per_token(&g->values[s->value].shape),
                  tokens = run_span(of->r, s->span).n;
    const int block = format_info(weight->format)->block;
    struct block_sums sums = { .block = block > 1 ? block : 32 };
    sums.n = ((int64_t)weight->cols + sums.block - 1) / sums.block;
    sums.ep = x_alloc(2 * (size_t)sums.n * sizeof *sums.ep);
    sums.pp = sums.ep + sums.n;
    enum st st = ST_OK;
    for (int64_t t = 0; t < tokens && !st; t++)
        st = add_token(of, s, t * width + s->at % width, &sums, e);
    if (!st) {
        w->weight = node->w[0];
        w->row = s->at % width;
        w->tokens = tokens;
        rank_blocks(&sums, (int64_t)weight->cols, w);
    }
    free(sums.ep);
    return st;
}

/* ---- all steps ---- */

enum st why_error_of(struct run *r, struct ref_source *ref, int span, int value, int64_t at,
                     changed_fn *changed, void *data, struct error_trace *out, struct err *e)
{
    struct sides of = { .r = r, .ref = ref };
    struct error_trace w = { 0 };
    enum st st = ST_OK;
    /* Every step goes to an earlier node, so this ends. */
    for (bool more = true; more && w.n <= (size_t)run_graph(r)->n_nodes;) {
        x_grow(&w.steps, &w.cap, w.n + 1, sizeof *w.steps);
        struct error_step *s = &w.steps[w.n];
        *s = (struct error_step){ .span = span, .value = value, .at = at };
        if ((st = step(&of, s, e)))
            break;
        w.n++;
        if (changed && s->verdict != ERROR_NONE && changed(data, span, value, at))
            s->verdict = ERROR_CHANGED;
        more = s->verdict == ERROR_ARRIVED;
        if (more)
            run_term_place(r, s->span, s->value, &s->cause.run, &span, &value, &at);
    }
    if (!st)
        st = blame_blocks(&of, &w, e);
    mem_free(of.held);
    if (st) {
        error_trace_free(&w);
        return st;
    }
    *out = w;
    return ST_OK;
}

void error_trace_free(struct error_trace *t)
{
    free(t->steps);
    *t = (struct error_trace){ 0 };
}
