/* SPDX-License-Identifier: MIT */
/* Making changes: which points an address means, and what they shall hold. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "session/changes.h"
#include "session/lookup.h"
#include "session/region.h"
#include "session/session.h"

static void add_target(struct change *c, const struct match *m)
{
    for (size_t i = 0; i < c->n_targets; i++)
        if (c->targets[i].value == m->value && c->targets[i].weight == m->weight)
            return; /* under another name: once is enough */
    x_grow(&c->targets, &c->cap_targets, c->n_targets + 1, sizeof *c->targets);
    c->targets[c->n_targets++] = (struct change_target){
        m->value, m->weight, m->name, m->shape, { .data = { .value = -1 } }
    };
}

/* The run that a change is made in: its tokens say which indices exist. NULL if there is none. */
static struct session_run *made_in(const struct session *s, const struct change *c)
{
    if (c->only)
        return (struct session_run *)c->only;
    return s->models.run && s->models.run->model == c->model ? s->models.run : NULL;
}

/* How many entries of each axis the slice chooses; -1 where only a run can tell and there is none.
 */
static enum st chosen_shape(const struct session *s, const struct change *c,
                            const struct shape *shape, struct shape *out, struct err *e)
{
    const struct session_run *r = made_in(s, c);
    const int64_t tokens = r ? run_n_tokens(r->run) : -1;
    *out = *shape;
    enum st st = region_check(&c->address, shape, e);
    for (int d = 0; d < shape->rank && !st; d++) {
        const struct index *item;
        const int64_t n = shape->d[d].n < 0 ? tokens : shape->d[d].n;
        int64_t *list = NULL;
        out->d[d].n = n;
        if (!(st = address_item(&c->address, shape, d, &item, e)) && item && n >= 0)
            st = index_resolve(item, shape->d[d].axis, n, &list, &out->d[d].n, e);
        free(list);
    }
    return st;
}

static enum st find_targets(struct session *s, struct change *c, bool weights, struct err *e)
{
    struct match *list;
    size_t n;
    enum st st = lookup_names(s, &c->address, &list, &n, e), first = ST_OK;
    if (st)
        return st;
    struct err reason = ERR_INIT, one = ERR_INIT;
    for (size_t i = 0; i < n; i++) {
        struct shape chosen;
        if (list[i].weight && (!weights || c->only))
            continue;
        if (list[i].derived) {
            first = first ? first : match_is_point(c->model, &list[i], &reason);
            continue;
        }
        st = chosen_shape(s, c, &list[i].shape, &chosen, &one);
        if (!st)
            add_target(c, &list[i]);
        else if (!first) {
            first = st;
            reason = one;
        }
    }
    free(list);
    if (c->n_targets)
        return ST_OK;
    if (first) {
        if (e)
            *e = reason;
        return first;
    }
    st_fail(e, ST_UNSUPPORTED, "%.*s is a weight; %s changes points of a run",
            (int)(c->address.name.n > 100 ? 100 : c->address.name.n), c->address.name.p,
            weights ? "RUN!ADDR" : "this");
    st_hint(e, "`set tensor` edits weights, for all runs of a model");
    return st_at(e, c->address.column, c->address.length);
}

enum st change_at(struct session *s, struct str address, bool weights, struct change **out,
                  struct err *e)
{
    struct session_model *m;
    struct session_run *r;
    struct change *c = x_alloc(sizeof *c);
    c->address_text = x_strndup(address.p, address.n);
    enum st st = session_need_graph(s, &m, e);
    if (!st)
        st = address_parse(str_from(c->address_text), &c->address, e);
    if (!st && c->address.used < address.n) {
        st_fail(e, ST_SYNTAX, "unexpected text after the address");
        st = st_at(e, (int)c->address.used, (int)(address.n - c->address.used));
    }
    if (!st && c->address.position.n) {
        st_fail(e, ST_SYNTAX, "a change holds in every span");
        st_hint(e, "a slice of tokens chooses: [tok=3:7]");
        st = st_at(e, (int)(c->address.position.p - c->address_text), (int)c->address.position.n);
    }
    if (!st)
        st = lookup_who(s, &c->address, &m, &r, e);
    if (!st && !m->model->graph) {
        *e = m->model->no_graph;
        st = e->st;
    }
    if (!st) {
        const struct str who = c->address.run.n ? c->address.run : c->address.model;
        c->model = m;
        c->only = who.n ? session_find_run(s, who) : NULL;
        st = find_targets(s, c, weights, e);
    }
    if (st)
        change_free(c);
    else
        *out = c;
    return st;
}

/* Give target i a copy of v, which must fit what the slice chooses of it. */
static enum st give(struct session *s, struct change *c, size_t i, const struct view *v,
                    struct err *e)
{
    struct change_target *t = &c->targets[i];
    struct shape chosen;
    struct view data;
    enum st st = chosen_shape(s, c, &t->shape, &chosen, e);
    if (st || (st = view_copy(v, &data, e)))
        return st;
    if ((st = edit_fit(&data, &chosen, e))) {
        view_free(&data);
        st_where(e, "%.*s", (int)t->name.n, t->name.p);
        return st_at(e, c->address.column, c->address.length);
    }
    view_free(&t->edit.data);
    t->edit = (struct edit){ .op = EDIT_COPY, .data = data };
    return ST_OK;
}

enum st change_copy(struct session *s, struct change *c, const struct view *v, struct err *e)
{
    enum st st = ST_OK;
    for (size_t i = 0; i < c->n_targets && !st; i++)
        st = give(s, c, i, v, e);
    return st;
}

/* Read what the slice chooses of target i in a run, of this model or of another one. */
static enum st read_from(struct session *s, const struct change *c, size_t i,
                         const struct session_run *from, struct view *out, struct err *e)
{
    struct address a = c->address;
    a.model = str_from(from->model->name);
    a.run = str_from(from->name);
    a.name = c->targets[i].name;
    enum st st = lookup_one(s, &a, out, e);
    return st ? st_at(e, c->address.column, c->address.length) : ST_OK;
}

enum st change_patch(struct session *s, struct change *c, const struct session_run *from,
                     struct err *e)
{
    enum st st = ST_OK;
    for (size_t i = 0; i < c->n_targets && !st; i++) {
        struct view v;
        if ((st = read_from(s, c, i, from, &v, e)))
            break;
        st = give(s, c, i, &v, e);
        view_free(&v);
    }
    c->but = from;
    return st;
}

/* Mean over dimension d, summed in double in the order of the entries. */
static enum st mean_over(const struct view *v, int d, struct view *out, struct err *e)
{
    struct shape shape = v->shape;
    shape.d[d].n = 1;
    enum st st = view_new(&shape, v->name, out, e);
    if (st)
        return st;
    int64_t inner = 1;
    const int64_t n = v->shape.d[d].n;
    for (int k = d + 1; k < shape.rank; k++)
        inner *= shape.d[k].n;
    for (int64_t i = 0, all = view_count(out); i < all; i++) {
        double sum = 0;
        for (int64_t k = 0; k < n; k++)
            sum += (double)v->data[(i / inner * n + k) * inner + i % inner];
        out->data[i] = (float)(sum / (double)n);
    }
    return ST_OK;
}

enum st change_mean(struct session *s, struct change *c, struct err *e)
{
    const struct session_run *r = made_in(s, c);
    enum st st = ST_OK;
    if (!r) {
        st_fail(e, ST_STATE, "a mean is taken over the tokens of a run, and there is none");
        return st_hint(e, "`prompt \"TEXT\"`, then `run`");
    }
    for (size_t i = 0; i < c->n_targets && !st; i++) {
        struct view v, mean = { .value = -1 };
        if ((st = read_from(s, c, i, r, &v, e)))
            break;
        const int tok = shape_axis(&v.shape, AXIS_TOK);
        st = tok < 0 ? st_fail(e, ST_UNSUPPORTED, "%.*s has no axis of tokens",
                               (int)c->targets[i].name.n, c->targets[i].name.p)
                     : mean_over(&v, tok, &mean, e);
        if (!st)
            st = give(s, c, i, &mean, e);
        view_free(&v);
        view_free(&mean);
    }
    return st;
}

/* --- weights -----------------------------------------------------------------------------------
 */

struct change *change_of_weights(struct session_model *m)
{
    struct change *c = x_alloc(sizeof *c);
    c->model = m;
    return c;
}

void change_form(struct change *c, const struct weight *w, struct form *by)
{
    x_grow(&c->forms, &c->cap_forms, c->n_forms + 1, sizeof *c->forms);
    c->forms[c->n_forms++] = (struct change_form){ .w = w, .by = form_keep(by) };
}

/* The numbers of a weight as they are now, edited. */
static enum st edited(const struct session *s, const struct change *c,
                      const struct change_target *t, struct form **out, struct err *e)
{
    const struct form *now = changes_form(s, c->model, t->weight);
    const struct weight *w = now ? &now->w : t->weight;
    struct chosen chosen;
    size_t n;
    void *x;
    enum st st = weight_check(w, e);
    if (st)
        return st;
    const struct weight *of = t->weight->beside;
    if (of) {
        st_fail(e, ST_UNSUPPORTED, "%.*s is a part of %.*s", (int)t->name.n, t->name.p,
                (int)of->name.n, of->name.p);
        return st_hint(e, "`set tensor %.*s` edits the matrix", (int)of->name.n, of->name.p);
    }
    if (!mul_ok((size_t)w->rows, (size_t)w->cols, &n) || !mul_ok(n, sizeof(float), &n))
        return st_fail(e, ST_RANGE, "a weight too large to edit");
    if ((st = mem_alloc(&x, n, "an edited weight", e)))
        return st;
    if ((st = weight_decode(w, 0, w->rows, x, e))) {
        mem_free(x);
        return st;
    }
    chosen_of(&c->address, &t->shape, 0, &chosen);
    edit_apply(&t->edit, &chosen, &t->shape, 0, x);
    return form_new(c->model->model, t->weight, format_by_name("f32"), x, out, e);
}

enum st change_bake(struct session *s, struct change *c, struct err *e)
{
    size_t kept = 0;
    enum st st = ST_OK;
    for (size_t i = 0; i < c->n_targets; i++) {
        struct change_target *t = &c->targets[i];
        struct form *f;
        if (!t->weight) {
            c->targets[kept++] = *t;
            continue;
        }
        if (!st && !(st = edited(s, c, t, &f, e))) {
            change_form(c, t->weight, f);
            form_drop(f);
        }
        view_free(&t->edit.data);
    }
    c->n_targets = kept;
    return st;
}

void change_quant(struct change *c, const struct weight *w, struct form *by,
                  const struct quant_note *note)
{
    change_form(c, w, by);
    c->forms[c->n_forms - 1].note = *note;
}

void change_weighted(struct change *c, const char *path, const struct imatrix *m)
{
    const struct str name = str_base(str_from(path));
    struct buf dataset = { 0 };
    for (size_t i = 0; i < m->n_datasets; i++)
        buf_printf(&dataset, "%s%s", i ? ", " : "", m->datasets[i]);
    c->imatrix = x_alloc(sizeof *c->imatrix);
    *c->imatrix = (struct change_imatrix){ .file = x_strndup(name.p, name.n),
                                           .dataset = dataset.n ? buf_take(&dataset) : NULL,
                                           .text = shingles_keep(m->text),
                                           .entries = m->n,
                                           .chunks = m->chunks };
}

/* --- sub-layers --------------------------------------------------------------------------------
 */

/* Does value v lie on the residual stream of the block, from its input on? */
static bool on_stream(const struct graph *g, const struct block *b, int v)
{
    while (v != b->input) {
        const struct node *n = &g->nodes[g->values[v].node];
        if (g->values[v].node < b->first || !n->n_in)
            return false;
        if (n->op != OP_ADD && n->op != OP_RMS_NORM && n->op != OP_LAYER_NORM)
            return false;
        v = n->in[0];
    }
    return true;
}

/* Sums of the block that add something made by the sub-layer to the stream. */
static void add_branches(struct change *c, const struct graph *g, const struct block *b,
                         struct str sub)
{
    for (int i = b->first; i < b->end; i++) {
        const struct node *n = &g->nodes[i];
        if (n->op != OP_ADD || !on_stream(g, b, n->in[0]))
            continue;
        const struct value *added = &g->values[n->in[1]];
        if (!sub.n || str_is(sub, g->nodes[added->node].sub))
            add_target(c, &(struct match){ .name = str_from(added->name), .value = n->in[1],
                                           .shape = added->shape });
    }
}

enum st change_skip(struct session *s, struct str what, struct change **out, struct err *e)
{
    struct session_model *m;
    enum st st = session_need_graph(s, &m, e);
    if (st)
        return st;
    const struct graph *g = m->model->graph;
    const size_t start = str_starts(what, "blk.") ? 4 : what.n;
    size_t end = start;
    while (end < what.n && what.p[end] != '.')
        end++;
    const struct str number = str_of(what.p + start, end - start),
                     sub = end < what.n ? str_of(what.p + end + 1, what.n - end - 1)
                                        : str_of(NULL, 0);
    int64_t block;
    if (!number.n || parse_i64(number, 0, INT32_MAX, &block, e)) {
        st_fail(e, ST_SYNTAX, "expected blk.N, or one of its sub-layers");
        st_hint(e, "skip blk.1, skip blk.1.attn, skip blk.1.ffn");
        return st_at(e, 0, (int)what.n);
    }
    if (block >= g->n_blocks) {
        st_fail(e, ST_NOTFOUND, "there is no block %" PRId64, block);
        st_hint(e, "the blocks are blk.0 .. blk.%d", g->n_blocks - 1);
        return st_at(e, 0, (int)what.n);
    }
    struct change *c = x_alloc(sizeof *c);
    c->address_text = x_strndup(what.p, what.n);
    c->model = m;
    if (end < what.n && !sub.n)
        ; /* "blk.1." names nothing */
    else
        add_branches(c, g, &g->blocks[block], sub);
    if (c->n_targets) {
        *out = c;
        return ST_OK;
    }
    change_free(c);
    st_fail(e, ST_NOTFOUND, "nothing that `%.*s` could mean is added to the residual stream",
            (int)(what.n > 60 ? 60 : what.n), what.p);
    st_hint(e, "skip blk.%" PRId64 " leaves out the whole block; see `list blk.%" PRId64 ".*`",
            block, block);
    return st_at(e, 0, (int)what.n);
}
