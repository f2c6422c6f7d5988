/* SPDX-License-Identifier: MIT */
#include "command/quant.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#include "base/memory.h"
#include "command/broken.h"
#include "command/cells.h"
#include "command/verbs_change.h"
#include "session/measured.h"
#include "session/round.h"

static void put_weight(struct table *t, const struct weight *w)
{
    if (w)
        table_strn(t, w->name);
    else
        table_skip(t);
}

static void put_format(struct table *t, const struct quant_item *list, size_t n)
{
    struct buf b = { 0 };
    bool same = true;
    for (size_t i = 1; i < n; i++)
        same &= list[i].orig == list[0].orig
                && (list[i].orig || numeric_equal(&list[i].format, &list[0].format));
    if (!same)
        buf_adds(&b, "several");
    else if (list[0].orig)
        buf_adds(&b, "as in the file");
    else
        numeric_print(&list[0].format, &b);
    table_str(t, buf_str(&b));
    buf_free(&b);
}

/* What the file was before, too. */
#define SIZE_COLUMNS \
    { COL_INT, "file", "B", .was = "file_before" }, \
        { COL_INT, "size", "B", .was = "size_before" }, { COL_INT, "file_before", "B" }, \
        { COL_INT, "size_before", "B" }

void quant_put_size(struct table *t, const struct export_size *z)
{
    for (int no_file = 0; no_file < 2; no_file++)
        if (z->known && z->no_file == no_file)
            table_int(t, (int64_t)z->bytes);
        else
            table_skip(t);
}

void quant_say_no_file(const struct export_size *z, struct result *out)
{
    if (z->known && z->no_file)
        result_note(out, "%s", z->refused.msg);
}

static void now_table(const struct quantized *q, const struct quant_item *list, size_t n,
                      const struct quant_method *method, const struct export_size *was,
                      const struct export_size *is, struct table *t)
{
    TABLE_COLUMNS(t, { COL_STRING, "stage" }, { COL_INT, "weights" }, { COL_STRING, "format" },
                  { COL_STRING, "from" },
                  { COL_STRING, "method" }, { COL_INT, "bytes", "B", .was = "bytes_before" },
                  { COL_INT, "bytes_before", "B" }, SIZE_COLUMNS, { COL_FLOAT, "sqnr", "dB", 4 },
                  { COL_FLOAT, "worst", "dB", 4 }, { COL_ADDRESS, "worst_weight" });
    const size_t made = q->change->n_forms;
    table_row(t);
    table_str(t, "now");
    table_int(t, (int64_t)n);
    put_format(t, list, n);
    table_str(t, !q->from_reference         ? "the file"
                 : q->from_reference < made ? "the reference where it has them"
                                            : "the reference");
    table_str(t, method->name);
    table_int(t, (int64_t)q->bytes);
    table_int(t, (int64_t)q->bytes_before);
    quant_put_size(t, is);
    quant_put_size(t, was);
    put_number(t, quant_sqnr(q->signal, q->noise));
    put_number(t, q->worst_of ? q->worst : (double)NAN);
    put_weight(t, q->worst_of);
}

static void local_table(const struct quantized *q, struct result *out)
{
    if (!q->local.layers)
        return;
    struct table *t = result_table(out, "local", TABLE_BRIEF);
    TABLE_COLUMNS(t, { COL_STRING, "stage" }, { COL_FLOAT, "layer_sqnr", "dB", 4 },
                  { COL_FLOAT, "layer_worst", "dB", 4 }, { COL_ADDRESS, "worst_layer" },
                  { COL_INT, "layers" }, { COL_INT, "layer_tokens", "token" });
    table_row(t);
    table_str(t, "local");
    put_number(t, quant_sqnr(q->local.signal, q->local.noise));
    put_number(t, q->local_worst_of ? q->local_worst : (double)NAN);
    put_weight(t, q->local_worst_of);
    table_int(t, q->local.layers);
    table_int(t, q->local.tokens);
}

static void measured_table(const struct session *s, const struct measured *m, struct result *out)
{
    struct table *t = result_table(out, "measured", TABLE_BRIEF);
    TABLE_COLUMNS(
        t, { COL_STRING, "stage" },
        { COL_FLOAT, "kl", "nat/token", 4, .was = "kl_before", .low = "kl_low", .high = "kl_high" },
        { COL_FLOAT, "kl_low", "nat/token", 4 }, { COL_FLOAT, "kl_high", "nat/token", 4 },
        { COL_FLOAT, "kl_before", "nat/token", 4 },
        { COL_FLOAT, "kl_change", "nat/token", 4, .low = "change_low", .high = "change_high" },
        { COL_FLOAT, "change_low", "nat/token", 4 }, { COL_FLOAT, "change_high", "nat/token", 4 },
        { COL_FLOAT, "top1", "", 4 }, { COL_STRING, "compute" }, FLOOR_COLUMNS,
        { COL_BOOL, "before_below_floor", .quiet = true }, { COL_STRING, "text" },
        { COL_INT, "scored", "token" }, { COL_INT, "segments" }, { COL_INT, "segments_of" });
    table_row(t);
    table_str(t, "measured");
    const bool was_below = m->was.value < m->floor, both = was_below && m->now.kl.value < m->floor;
    put_kl_mean(t, &m->now.kl, m->is_itself ? NAN : m->floor);
    put_kl(t, m->was.value, m->was_itself ? NAN : m->floor);
    put_kl_mean(t, &m->change, both ? INFINITY : NAN);
    put_number(t, m->now.top1.value);
    table_str(t, compute_name(m->mode));
    put_floor(t, m->is_itself ? NAN : m->now.kl.value, m->floor);
    put_below_floor(t, m->was_itself ? NAN : m->was.value,
                    isnan(m->was.value) ? NAN : m->floor);
    table_str(t, s->data.path);
    table_int(t, m->now.scored);
    table_int(t, m->now.segments);
    table_int(t, m->now.segments_of);
    broken_note(&m->now.broken, m->now.scored, "the model", "segment", out);
    if (m->mode == COMPUTE_FAST)
        result_note(out, "both models ran in mode fast, whose own rounding adds to the kl%s",
                    isnan(m->floor) ? "; how much (its floor) is not measured yet" : "");
    if (m->itself)
        result_note(out, "reference = this file as opened; its own loss is not seen");
    changes_left_out(&m->left, out);
}

void quant_say_fallbacks(const struct fallbacks *f, struct result *out)
{
    for (size_t i = 0; i < f->n_kinds; i++) {
        struct buf b = { 0 };
        const struct weight *first = f->kinds[i].first;
        const size_t n = f->kinds[i].n;
        if (f->kinds[i].became.storage == f->kinds[i].asked.storage) {
            result_note(out, "%zu %s no second scale: loaders look for none beside %.*s%s", n,
                        text_plural(n, "weight gets", "weights get"), (int)first->name.n,
                        first->name.p, n > 1 ? ", ..." : "");
            continue;
        }
        numeric_print(&f->kinds[i].asked, &b);
        buf_adds(&b, ": ");
        numeric_print(&f->kinds[i].became, &b);
        result_note(out,
                    "%zu %s rows that do not fit %s instead (%.*s, %" PRIu64
                    " columns%s): %+" PRId64 " bytes",
                    n, text_plural(n, "weight has", "weights have"), buf_str(&b),
                    (int)first->name.n, first->name.p, first->cols, n > 1 ? ", ..." : "",
                    f->kinds[i].cost);
        buf_free(&b);
    }
}

static void notes(const struct session *s, const struct quantized *q, struct result *out)
{
    if (q->requantized)
        result_note(out,
                    "%zu %s quantized from what was quantized already (%.*s%s): loses twice; "
                    "`ref FILE` gives the original",
                    q->requantized, text_plural(q->requantized, "weight is", "weights are"),
                    (int)q->requantized_first->name.n, q->requantized_first->name.p,
                    q->requantized > 1 ? ", ..." : "");
    if (s->imatrix)
        result_note(out, "errors are weighted by %s in %zu of %zu weights", s->imatrix_path,
                    q->weighted, q->change->n_forms);
    quant_say_fallbacks(&q->fallbacks, out);
    if (q->waits)
        result_note(out, "%s run %s has not come to: `continue` takes it there",
                    q->local.layers ? "local leaves layers out that"
                                    : "no stage local: there are only layers that",
                    q->waits->name);
    if (!s->models.ref && !s->data.set.segments)
        result_note(out, "reference = this file as opened; its own loss is not seen");
}

/* Measure the change that has been entered, until a key is pressed: what is known by then is shown.
 * ST_CANCELLED after ^C; the change holds. */
static enum st measured(struct session *s, const struct measured_before *before, struct result *out,
                        struct err *e)
{
    struct measured done;
    struct err why = ERR_INIT;
    bool known = false;
    if (!before->known)
        return ST_OK;
    if (s->front && s->front->so_far)
        s->front->so_far(s->front, out);
    const bool watch = s->front && s->front->keys;
    if (watch)
        s->front->keys(s->front, true);
    enum st st = session_measure_after(s, before, &done, &known, &why);
    const bool key = watch && s->front->keys(s->front, false);
    if (known)
        measured_table(s, &done, out);
    if (st && st != ST_CANCELLED)
        result_note(out, "not measured: %s", why.msg);
    if (st != ST_CANCELLED)
        return ST_OK;
    out->status = RESULT_PARTIAL;
    result_note(out, "%s before %s measured: the change holds, `undo` takes it back",
                key ? "ended by a key" : "interrupted",
                !known ? "anything was"
                : done.now.segments < done.now.segments_of ? "all segments were" : "the floor was");
    return key ? ST_OK : st_fail(e, st, "interrupted");
}

/* Before a change is entered: what holds is measured where it is one of the active model. */
static void look_before(struct session *s, const struct change *c, struct measured_before *out)
{
    *out = (struct measured_before){ .known = false };
    if (c->model == s->models.model && c->model->model->graph)
        session_measure_before(s, out);
}

void quant_moved_from(struct session *s, struct quant_place *out)
{
    out->size = (struct export_size){ .known = false };
    if (s->models.model)
        out->size = export_size(s, s->models.model);
    session_measure_before(s, &out->measured);
    measured_before_free(&out->measured); /* the changes of its plan may go */
}

void quant_moved(struct session *s, struct quant_place *from, struct result *out)
{
    struct measured known;
    const struct export_size *was = &from->size;
    const struct export_size is = was->known ? export_size(s, s->models.model) : *was;
    if (is.known && (is.bytes != was->bytes || is.no_file != was->no_file)) {
        struct table *t = result_table(out, "size", TABLE_BRIEF);
        TABLE_COLUMNS(t, { COL_STRING, "stage" }, SIZE_COLUMNS);
        table_row(t);
        table_str(t, "now");
        quant_put_size(t, &is);
        quant_put_size(t, was);
    }
    if (session_measure_known(s, &from->measured, &known))
        measured_table(s, &known, out);
}

/* Of a change that is about no weight. */
static void say_points(const struct change *c, struct result *out)
{
    result_note(out, "activations of %zu %s (%s%s), and no weight", c->n_targets,
                text_plural(c->n_targets, "point", "points"),
                c->model->model->graph->values[c->targets[0].value].name,
                c->n_targets > 1 ? ", ..." : "");
}

enum st quant_apply(struct session *s, struct session_model *m, const struct quant_item *list,
                    size_t n, const struct quant_method *method,
                    const struct quant_rounding *act,
                    const char *text, struct result *out, struct err *e)
{
    struct quantized q;
    struct measured_before before;
    enum st st = session_quantize(s, m, list, n, method, &q, e);
    if (st)
        return st;
    const struct export_size was = export_size(s, m);
    if (act && act->inputs)
        st = change_round_inputs(s, q.change, act->inputs, e);
    if (act && !st)
        st = change_round_points(s, q.change, act->points, act->n_points, e);
    if (st) {
        change_free(q.change);
        return st;
    }
    look_before(s, q.change, &before);
    change_enter(s, text, q.change, out);
    const struct export_size is = export_size(s, m);
    if (n)
        now_table(&q, list, n, method, &was, &is, result_table(out, "quant", TABLE_BRIEF));
    else
        say_points(q.change, out);
    local_table(&q, out);
    quant_say_no_file(&is, out);
    notes(s, &q, out);
    st = measured(s, &before, out, e);
    measured_before_free(&before);
    return st;
}

enum st quant_points(struct session *s, struct str address, const struct numeric *f,
                     const char *text, struct result *out, struct err *e)
{
    struct change *c;
    struct measured_before before;
    enum st st = change_at(s, address, false, &c, e);
    if (st)
        return st;
    if (c->address.sliced) {
        st_fail(e, ST_SYNTAX, "a point has one format: it is named whole");
        st = st_at(e, 0, (int)address.n);
    }
    if (!st)
        st = change_round(s, c, f, e);
    if (st) {
        change_free(c);
        return st;
    }
    look_before(s, c, &before);
    change_enter(s, text, c, out);
    say_points(c, out);
    st = measured(s, &before, out, e);
    measured_before_free(&before);
    return st;
}
