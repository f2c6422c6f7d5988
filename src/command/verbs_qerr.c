/* SPDX-License-Identifier: MIT */
/* `qerr`: what quantization did to the weights, against those of the reference. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "command/cells.h"
#include "command/command.h"
#include "graph/glob.h"
#include "session/lookup.h"
#include "study/qerr.h"

enum by { BY_DEFAULT, BY_TENSOR, BY_ROW, BY_CHANNEL, BY_BLOCK };

/* A row, a channel or a block among all that have been looked at. */
struct entry {
    const struct weight *w;
    int64_t row, at; /* -1 where it has none: at is the channel or the block */
    struct qerr_block b;
};

struct qerr_call {
    const struct session_model *model;
    enum by by;
    int64_t show;
    struct table *tensors; /* NULL if not wanted */
    struct entry *entries; /* the worst first, at most `show` */
    size_t n, cap;
    int64_t compared, missing, left; /* weights; without a partner; not comparable */
    struct err why;                  /* of the first one that is left */
};

static void begin_tensors(struct qerr_call *q, struct result *out)
{
    struct table *t = q->tensors = result_table(out, "qerr", TABLE_ROWS);
    TABLE_COLUMNS(t, { COL_ADDRESS, "weight" }, { COL_STRING, "format" },
                  { COL_STRING, "reference" }, { COL_FLOAT, "sqnr", "dB", 4 },
                  { COL_FLOAT, "relerr", "", 3 }, { COL_FLOAT, "rmse/scale", "", 3 },
                  { COL_FLOAT, "clipped", "", 3 }, { COL_FLOAT, "code_entropy", "bit", 3 },
                  { COL_FLOAT, "used", "", 3 }, { COL_FLOAT, "maxerr", "", 3 },
                  { COL_INT, "nonfinite" });
}

/* simulates: NULL or "", or the format that w's only stands for */
static void tensor_row(struct table *t, const struct weight *ref, const struct weight *w,
                       const char *simulates, const struct qerr *q)
{
    table_row(t);
    table_strn(t, w->name);
    table_str(t, simulates && *simulates ? simulates : format_info(w->format)->name);
    table_str(t, format_info(ref->format)->name);
    put_number(t, q->sqnr);
    put_number(t, q->relerr);
    put_number(t, q->steps);
    put_number(t, q->clipped);
    put_number(t, q->code_entropy);
    put_number(t, q->used);
    put_number(t, q->maxerr);
    table_int(t, q->all.nonfinite);
}

/* Into the ranking, by relerr; of equals the one that came first stays in front. */
static void add_entry(struct qerr_call *q, const struct entry *x)
{
    size_t at = q->n;
    if (!(x->b.relerr > 0))
        return;
    while (at > 0 && x->b.relerr > q->entries[at - 1].b.relerr)
        at--;
    if ((int64_t)at >= q->show)
        return;
    if ((int64_t)q->n < q->show) {
        x_grow(&q->entries, &q->cap, q->n + 1, sizeof *q->entries);
        q->n++;
    }
    memmove(&q->entries[at + 1], &q->entries[at], (q->n - 1 - at) * sizeof *q->entries);
    q->entries[at] = *x;
}

static void add_sums(struct qerr_call *q, const struct weight *w, const struct qerr_sums *list,
                     int64_t n, bool rows)
{
    for (int64_t i = 0; list && i < n; i++) {
        const struct qerr_block b = {
            .sums = list[i],
            .relerr = list[i].nonfinite ? (double)INFINITY : qerr_relerr(&list[i])
        };
        add_entry(q, &(struct entry){ w, rows ? i : -1, rows ? -1 : i, b });
    }
}

/* A weight as the plan has it, against that of the reference; without one, against the file's. */
static enum st add_weight(struct session *s, struct qerr_call *q, const struct weight *own,
                          struct qerr_options *o, struct err *e)
{
    const struct session_model *other = s->models.ref;
    const struct form *f = changes_form(s, q->model, own);
    const struct weight *w = f ? &f->w : own;
    const struct weight *ref = other ? weights_find(other->model->weights, own->name) : own;
    struct qerr r;
    struct err why = ERR_INIT;
    if (!other && !f)
        return ST_OK;
    if (!ref) {
        q->missing++;
        return ST_OK;
    }
    enum st st = qerr_of(ref, w, o, &r, &why);
    if (st == ST_UNSUPPORTED || st == ST_FORMAT) {
        if (!q->left++)
            q->why = why;
        return ST_OK;
    }
    if (st) {
        *e = why;
        return st;
    }
    q->compared++;
    if (q->tensors)
        tensor_row(q->tensors, ref, w, f ? f->simulates : NULL, &r);
    add_sums(q, w, r.rows, (int64_t)w->rows, true);
    add_sums(q, w, r.cols, (int64_t)w->cols, false);
    for (size_t i = 0; i < r.n_worst; i++)
        add_entry(q, &(struct entry){ w, r.worst[i].row, r.worst[i].blkq, r.worst[i] });
    qerr_free(&r);
    return ST_OK;
}

/* All weights that the glob names, or all of the model. */
static enum st add_weights(struct session *s, struct qerr_call *q, const struct weights *all,
                           const struct match *list, size_t n, struct err *e)
{
    struct qerr_options o = { .rows = q->by == BY_ROW,
                              .cols = q->by == BY_CHANNEL,
                              .worst = q->by == BY_DEFAULT || q->by == BY_BLOCK ? (int)q->show : 0,
                              .pool = session_pool(s),
                              .progress = s->progress };
    enum st st = ST_OK;
    const size_t count = list ? n : all->n;
    for (int pass = 0; pass < 2; pass++) /* how much there is to do, then do it */
        for (size_t i = 0; i < count && !st; i++) {
            const struct weight *w = list ? list[i].weight : &all->list[i];
            if (w && pass)
                st = add_weight(s, q, w, &o, e);
            if (w)
                *(pass ? &o.done : &o.total) += (double)w->rows * (double)w->cols;
        }
    return st;
}

/* Which matrix of several, and the row in it. */
static void put_row(struct table *t, const struct entry *x, bool experts)
{
    const int64_t rows = x->w->rank > 2 ? (int64_t)x->w->ne[1] : (int64_t)x->w->rows;
    if (experts)
        put_index(t, x->w->rank > 2 && x->row >= 0 ? x->row / rows : -1);
    put_index(t, x->row < 0 ? -1 : x->row % rows);
}

static void show_entries(const struct qerr_call *q, struct result *out)
{
    static const char *const names[] = { "blocks", "", "rows", "channels", "blocks" };
    const bool blocks = q->by == BY_DEFAULT || q->by == BY_BLOCK;
    struct table *t = result_table(out, names[q->by], TABLE_ROWS);
    bool experts = false;
    for (size_t i = 0; i < q->n; i++)
        experts |= q->entries[i].w->rank > 2 && q->by != BY_CHANNEL;
    table_column(t, COL_ADDRESS, "weight", "");
    if (experts)
        table_column(t, COL_INT, "exp", "");
    if (q->by != BY_CHANNEL)
        table_column(t, COL_INT, "row", "");
    if (q->by != BY_ROW)
        table_column(t, COL_INT, blocks ? "blkq" : "col", "");
    TABLE_COLUMNS(t, { COL_FLOAT, "relerr", "", 3 }, { COL_FLOAT, "sqnr", "dB", 4 });
    if (blocks)
        TABLE_COLUMNS(t, { COL_FLOAT, "rmse/scale", "", 3 }, { COL_FLOAT, "maxerr", "", 3 });
    table_column(t, COL_INT, "nonfinite", "");
    for (size_t i = 0; i < q->n; i++) {
        const struct entry *x = &q->entries[i];
        table_row(t);
        table_strn(t, x->w->name);
        if (q->by != BY_CHANNEL)
            put_row(t, x, experts);
        if (q->by != BY_ROW)
            table_int(t, x->at);
        put_number(t, x->b.relerr);
        put_number(t, x->b.sums.nonfinite ? (double)NAN : qerr_sqnr(&x->b.sums));
        if (blocks) {
            put_number(t, x->b.steps);
            put_number(t, x->b.maxerr);
        }
        table_int(t, x->b.sums.nonfinite);
    }
}

static void notes(const struct session *s, const struct qerr_call *q, struct result *out)
{
    result_note(out, "%" PRId64 " weight%s against %s", q->compared, q->compared == 1 ? "" : "s",
                s->models.ref ? s->models.ref->path : "this file as opened");
    if (q->missing)
        result_note(out, "not in the reference: %" PRId64, q->missing);
    if (q->left)
        result_note(out, "not compared: %" PRId64 " (%s%s%s)", q->left, q->why.where,
                    *q->why.where ? ": " : "", q->why.msg);
}

/* [GLOB] [by tensor|row|channel|block] [N] */
static enum st parse(const struct call *c, struct qerr_call *q, int *glob, struct err *e)
{
    static const char *const ways[] = { "tensor", "row", "channel", "block" };
    *glob = -1;
    q->show = 10;
    for (int i = 0; i < c->n_words; i++) {
        const struct word *w = &c->words[i];
        if (str_is(w->text, "by") && !w->quoted) {
            q->by = BY_DEFAULT;
            for (int k = 0; k < 4 && i + 1 < c->n_words; k++)
                if (str_is(c->words[i + 1].text, ways[k]))
                    q->by = (enum by)(BY_TENSOR + k);
            if (q->by == BY_DEFAULT)
                return call_fail(c, i + 1, e, ST_SYNTAX,
                                 "expected tensor, row, channel or block after `by`");
            i++;
        } else if (w->text.n && w->text.p[0] >= '0' && w->text.p[0] <= '9') {
            enum st st = parse_i64(w->text, 1, QERR_WORST, &q->show, e);
            if (st)
                return st_at(e, w->column, w->length);
        } else if (*glob < 0)
            *glob = i;
        else
            return call_fail(c, i, e, ST_SYNTAX, "expected `by` or a number of rows");
    }
    return ST_OK;
}

/* The weights that word i names. */
static bool weights_match(const struct session *s, struct str glob)
{
    const struct weights *w = s->models.model->model->weights;
    for (size_t i = 0; i < w->n; i++)
        if (glob_match(glob, w->list[i].name))
            return true;
    return false;
}

static enum st named(struct session *s, const struct word *w, struct match **list, size_t *n,
                     struct err *e)
{
    struct address *a = x_alloc(sizeof *a);
    bool any = false;
    enum st st = address_parse(w->text, a, e);
    if (!st && a->used < w->text.n)
        st = st_fail(e, ST_SYNTAX, "unexpected text after the name");
    if (!st && a->sliced)
        st = st_fail(e, ST_SYNTAX, "names of weights only: they are compared whole");
    if (!st)
        st = lookup_names(s, a, list, n, e);
    free(a);
    for (size_t i = 0; !st && i < *n; i++)
        any |= (*list)[i].weight != NULL;
    if (!st && !any) {
        free(*list);
        *list = NULL;
        st_fail(e, ST_NOTFOUND, "these are activations, not weights");
        struct buf deeper = { 0 };
        glob_deeper(w->text, &deeper);
        st = st_hint(e, "`*` ends at a dot: %s names weights as well; `compare` is for activations",
                     buf_str(&deeper));
        if (!weights_match(s, str_of(buf_str(&deeper), deeper.n)))
            st = st_hint(e, "`compare` puts activations beside those of the reference");
        buf_free(&deeper);
    }
    return st ? st_at(e, w->column, w->length) : ST_OK;
}

static enum st run_qerr(struct session *s, const struct call *c, struct result *out, struct err *e)
{
    struct session_model *m;
    struct qerr_call q = { 0 };
    struct match *list = NULL;
    size_t n = 0;
    int glob;
    enum st st = session_need_model(s, &m, e);
    if (!st) {
        q.model = m;
        st = parse(c, &q, &glob, e);
    }
    if (!st && !s->models.ref && !changes_hold(s, m)) {
        st_fail(e, ST_STATE, "there is no reference");
        st = st_hint(e, "`ref FILE` opens one: the model before it was quantized");
    }
    if (!st && glob >= 0)
        st = named(s, &c->words[glob], &list, &n, e);
    if (st)
        return st;
    if (q.by <= BY_TENSOR)
        begin_tensors(&q, out);
    st = add_weights(s, &q, m->model->weights, list, n, e);
    if (!st || st == ST_CANCELLED) {
        if (q.by != BY_TENSOR)
            show_entries(&q, out);
        notes(s, &q, out);
    }
    if (!st && !q.compared) {
        st = q.left ? q.why.st : ST_NOTFOUND;
        if (q.left)
            *e = q.why;
        else
            st_fail(e, st, "the reference has no weight of that name");
    }
    free(q.entries);
    free(list);
    return st;
}

static const struct arg_after qerr_after[] = {
    { "by", ARG_TEXT, "tensor|row|channel|block" },
    { 0 },
};

const struct verb verbs_qerr[] = {
    { .name = "qerr",
      .class = "analyse",
      .args = "[GLOB] [by tensor|row|channel|block] [N]",
      .brief = "errors of the weights against those of the reference",
      .help =
          "Compares the weights that the glob names (all) with those of the same name in the "
          "reference (`ref FILE`); without one, weights that `quant` or `plan` changed with the "
          "file's. Nothing is run. Without `by`: a row per weight, and the N (10) worst blocks. "
          "`by row` ranks rows, which give one output each, `by channel` columns, "
          "which read one input each, over all these weights; the worst first.\n"
          "sqnr: 10 log10(sum ref^2 / sum (x - ref)^2). relerr: l2(x - ref) / l2(ref). "
          "rmse/scale: root of the mean of ((x - ref) / scale)^2, scale being the effective one "
          "of the sub-block: 0.289 is healthy rounding, more is clipping or damage, much less an "
          "idle range. clipped: share of elements with abs(x - ref) > 0.51 * scale, more than "
          "rounding can be. Both are there for evenly spaced levels only. code_entropy: - sum "
          "over codes of p log2 p; used: share of the format's codes that occur. nonfinite: "
          "elements that are NaN or infinite on either side, left out elsewhere.\n"
          "Blocks are ranked by relerr, those with a value that is not finite first; left out are "
          "blocks with less squared error than the mean of their surroundings (some 65536 "
          "elements), which hardly matter. `block WEIGHT[row=R, blkq=B]` takes one apart.",
      .examples = "open --demo\nref a\nqerr\nqerr blk.0.*.weight by row 3\nref off",
      .kinds = { ARG_WEIGHT, ARG_TEXT },
      .words = "by",
      .after = qerr_after,
      .run = run_qerr },
    { 0 },
};
