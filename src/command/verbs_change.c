/* SPDX-License-Identifier: MIT */
/* The verbs that change what a run computes: set tensor, ablate, patch, skip, undo, reset. */
#include "command/verbs_change.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#include "base/memory.h"
#include "command/breaks.h"
#include "command/quant.h"
#include "file/npy.h"
#include "session/changes.h"
#include "session/control.h"
#include "session/expression.h"

/* --- what is shown -----------------------------------------------------------------------------
 */

/* In a line the numbers need their units to be read. */
static void change_columns(struct table *t)
{
    const bool line = t->form == TABLE_LINE;
    TABLE_COLUMNS(t, { COL_INT, "number" }, { COL_STRING, "what" });
    table_column(t, COL_INT, "points", line ? "points" : "");
    table_column(t, COL_INT, "weights", line ? "weights" : "");
    table_column(t, COL_INT, "runs", line ? "runs" : "");
    table_column(t, COL_STRING, "model", "");
}

static void put_change(const struct session *s, const struct change *c, struct table *t)
{
    table_int(t, c->number);
    table_str(t, c->text);
    const size_t n[] = { c->n_targets, c->n_forms };
    for (int i = 0; i < 2; i++)
        if (n[i])
            table_int(t, (int64_t)n[i]);
        else
            table_skip(t);
    table_int(t, (int64_t)change_runs(s, c));
    table_str(t, c->model->name);
}

static void change_row(const struct session *s, const struct change *c, struct table *t)
{
    table_row(t);
    put_change(s, c, t);
}

void changes_left_out(const struct changes_left *left, struct result *out)
{
    if (left->n)
        result_note(out, "%zu %s of tokens of a prompt, or of one run: left out here (%s%s)",
                    left->n, text_plural(left->n, "change", "changes"), left->first->text,
                    left->n > 1 ? ", ..." : "");
    if (left->logits)
        result_note(out, "%s stays as it is here: evaluations make the logits by themselves",
                    left->logits);
}

void changes_list(const struct session *s, struct result *out)
{
    struct table *t = result_table(out, "changes", TABLE_ROWS);
    change_columns(t);
    for (size_t i = 0; i < s->changes.n; i++)
        change_row(s, s->changes.list[i], t);
}

/* Where the runs stand; the caller frees it. */
static struct position *places(const struct session *s)
{
    struct position *at = x_alloc(s->models.n_runs * sizeof *at);
    for (size_t i = 0; i < s->models.n_runs; i++)
        at[i] = run_position(s->models.runs[i]->run);
    return at;
}

/* Say which runs no longer stand where they did. */
static void show_moved(const struct session *s, const struct position *before, struct result *out)
{
    struct buf b = { 0 };
    for (size_t i = 0; i < s->models.n_runs; i++) {
        const struct session_run *r = s->models.runs[i];
        const struct position at = run_position(r->run);
        if (!position_compare(at, before[i]))
            continue;
        buf_clear(&b);
        position_print(r->run, at, &b);
        result_note(out, "run %s is back at %s; `continue` goes on", r->name, buf_str(&b));
    }
    buf_free(&b);
}

/* --- making ------------------------------------------------------------------------------------
 */

void change_enter(struct session *s, const char *text, struct change *change, struct result *out)
{
    struct position *before = places(s);
    changes_add(s, change, text);
    struct table *t = result_table(out, "change", TABLE_LINE);
    TABLE_COLUMNS(t, { COL_STRING, "kind", .quiet = true });
    change_columns(t);
    table_row(t);
    table_str(t, "change");
    put_change(s, change, t);
    show_moved(s, before, out);
    free(before);
}

/* Under the command that was typed. */
static void enter(struct session *s, const struct call *c, struct change *change,
                  struct result *out)
{
    struct buf text = { 0 };
    buf_printf(&text, "%s %.*s", c->verb->name, (int)c->rest.n, c->rest.p);
    change_enter(s, buf_str(&text), change, out);
    buf_free(&text);
}

static void every_target(struct change *c, enum edit_op op, float number)
{
    for (size_t i = 0; i < c->n_targets; i++) {
        c->targets[i].edit.op = op;
        c->targets[i].edit.number = number;
    }
}

static enum st number_of(struct str text, float *out, struct err *e)
{
    double v;
    enum st st = parse_f64(text, &v, e);
    if (!st && isfinite(v) && !isfinite((float)v))
        st = st_fail(e, ST_RANGE, "%.*s is too large for float32", (int)text.n, text.p);
    if (!st)
        *out = (float)v;
    return st;
}

/* Fill the targets with what a file holds. */
static enum st copy_file(struct session *s, struct change *change, struct str path, struct err *e)
{
    char *name = x_strndup(path.p, path.n);
    struct npy a;
    struct view v = { .value = -1 };
    enum st st = npy_read(name, &a, e);
    free(name);
    if (st)
        return st;
    struct shape shape = { .rank = a.rank };
    if (a.rank > SHAPE_MAX)
        st = st_fail(e, ST_RANGE, "%d axes are more than any point has", a.rank);
    for (int d = 0; d < a.rank && !st; d++) /* no point has blocks: paired from the last axis on */
        shape.d[d] = dim(AXIS_BLKQ, (int64_t)a.shape[d]);
    if (!st && !(st = view_new(&shape, NULL, &v, e))) {
        for (size_t i = 0; i < a.n; i++)
            v.data[i] = a.data[i];
        st = change_copy(s, change, &v, e);
        view_free(&v);
    }
    npy_free(&a);
    return st;
}

/* What stands behind `=`, at that column: fill the targets. */
static enum st assign(struct session *s, const struct call *c, struct str text, int column,
                      struct change *change, struct err *e)
{
    float x = 0;
    if (str_is(text, "zero")) {
        every_target(change, EDIT_SET, 0);
        return ST_OK;
    }
    if (str_starts(text, "file ") || str_is(text, "file")) {
        const struct word *last = &c->words[c->n_words - 1];
        if (last->column <= column || c->n_words < 2 || (last - 1)->column > column)
            return call_fail(c, c->n_words, e, ST_SYNTAX, "expected the name of one .npy file");
        enum st st = copy_file(s, change, last->text, e);
        return st ? st_at(e, last->column, last->length) : ST_OK;
    }
    const char first = text.p[0];
    if (first == '*' || first == '+') {
        enum st st = number_of(str_of(text.p + 1, text.n - 1), &x, e);
        if (st)
            return st_at(e, column, (int)text.n);
        every_target(change, first == '*' ? EDIT_SCALE : EDIT_ADD, x);
        return ST_OK;
    }
    struct err ignored = ERR_INIT;
    enum st st = number_of(text, &x, &ignored);
    if (!st || st == ST_RANGE) {
        every_target(change, EDIT_SET, x);
        return st ? number_of(text, &x, e), st_at(e, column, (int)text.n) : ST_OK;
    }
    struct view v;
    if ((st = breaks_shift(e, expression_eval(s, text, &v, e), column)))
        return st;
    st = change_copy(s, change, &v, e);
    view_free(&v);
    return st ? st_at(e, column, (int)text.n) : ST_OK;
}

enum st run_set_tensor(struct session *s, const struct call *c, struct result *out, struct err *e)
{
    static const char usage[] = "set tensor blk.1.attn.z[head=3] = zero";
    struct address a;
    if (c->n_words < 2)
        return call_fail(c, 1, e, ST_SYNTAX, "expected ADDR = VALUE"), st_hint(e, "%s", usage);
    const int column = c->words[1].column;
    const struct str text = breaks_text(c, 1);
    enum st st = breaks_shift(e, address_parse(text, &a, e), column);
    if (st)
        return st;
    size_t at = a.used;
    while (at < text.n && text.p[at] == ' ')
        at++;
    const bool equals = at < text.n && text.p[at] == '=';
    at += equals;
    while (at < text.n && text.p[at] == ' ')
        at++;
    if (!equals || at == text.n) {
        st_fail(e, ST_SYNTAX, equals ? "expected a value" : "expected `=` here");
        st_hint(e, "%s", usage);
        return st_at(e, column + (int)at, 1);
    }
    struct change *change;
    st = breaks_shift(e, change_at(s, str_of(text.p, a.used), true, &change, e), column);
    if (st)
        return st;
    st = assign(s, c, str_of(text.p + at, text.n - at), column + (int)at, change, e);
    if (!st)
        st = change_bake(s, change, e);
    if (st)
        change_free(change);
    else
        enter(s, c, change, out);
    return st;
}

/* The address as word 0. */
static enum st change_here(struct session *s, const struct call *c, struct change **out,
                           struct err *e)
{
    if (!c->n_words)
        return call_fail(c, 0, e, ST_SYNTAX, "expected the address of points");
    return breaks_shift(e, change_at(s, c->words[0].text, false, out, e), c->words[0].column);
}

static enum st run_ablate(struct session *s, const struct call *c, struct result *out,
                          struct err *e)
{
    struct change *change;
    const bool mean = c->n_words > 1 && str_is(c->words[1].text, "mean");
    if (c->n_words > 1 + mean)
        return call_fail(c, 1 + mean, e, ST_SYNTAX, "expected `mean`, or nothing more");
    enum st st = change_here(s, c, &change, e);
    if (st)
        return st;
    if (mean && (st = breaks_shift(e, change_mean(s, change, e), c->words[0].column)))
        change_free(change);
    else
        enter(s, c, change, out);
    return st;
}

static enum st run_patch(struct session *s, const struct call *c, struct result *out, struct err *e)
{
    struct change *change;
    if (c->n_words < 2 || !str_is(c->words[1].text, "from"))
        return call_fail(c, c->n_words ? 1 : 0, e, ST_SYNTAX, "expected ADDR from RUN");
    if (c->n_words != 3)
        return call_fail(c, c->n_words > 3 ? 3 : 2, e, ST_SYNTAX, "expected one run");
    const struct session_run *from = session_find_run(s, c->words[2].text);
    if (!from) {
        call_fail(c, 2, e, ST_NOTFOUND, "no run `%.*s`", (int)c->words[2].text.n,
                  c->words[2].text.p);
        return st_hint(e, "`info runs` lists them; `prompt \"TEXT\" as NAME` makes one");
    }
    enum st st = change_here(s, c, &change, e);
    if (st)
        return st;
    if (change->only == from)
        st = call_fail(c, 2, e, ST_STATE, "that is the run itself");
    if (!st)
        st = breaks_shift(e, change_patch(s, change, from, e), c->words[0].column);
    if (st)
        change_free(change);
    else
        enter(s, c, change, out);
    return st;
}

static enum st run_splice(struct session *s, const struct call *c, struct result *out,
                          struct err *e)
{
    struct change *change;
    if (c->n_words > 1)
        return call_fail(c, 1, e, ST_SYNTAX, "nothing more is expected here");
    enum st st = change_here(s, c, &change, e);
    if (st)
        return st;
    if (!s->models.ref && !s->models.trace && !changes_hold(s, change->model)) {
        change_free(change);
        st_fail(e, ST_STATE, "there is no reference");
        return st_hint(e, "`ref FILE` opens one");
    }
    change->splice = true;
    enter(s, c, change, out);
    return ST_OK;
}

static enum st run_skip(struct session *s, const struct call *c, struct result *out, struct err *e)
{
    struct change *change;
    if (c->n_words != 1)
        return call_fail(c, c->n_words ? 1 : 0, e, ST_SYNTAX, "expected blk.N, blk.N.attn, ...");
    enum st st = breaks_shift(e, change_skip(s, c->words[0].text, &change, e), c->words[0].column);
    if (!st)
        enter(s, c, change, out);
    return st;
}

/* --- taking back -------------------------------------------------------------------------------
 */

/* Take changes back from the last one on, n of them. */
static void take_back(struct session *s, size_t n, struct change *one, struct result *out)
{
    struct position *before = places(s);
    struct quant_place from;
    struct table *t = result_table(out, "undone", TABLE_ROWS);
    change_columns(t);
    quant_moved_from(s, &from);
    for (; n--; one = NULL) {
        struct change *c = one ? one : s->changes.list[s->changes.n - 1];
        change_row(s, c, t);
        changes_undo(s, c);
    }
    quant_moved(s, &from, out);
    show_moved(s, before, out);
    free(before);
}

static enum st run_undo(struct session *s, const struct call *c, struct result *out, struct err *e)
{
    const bool number = c->n_words && str_is(c->words[0].text, "change");
    int64_t n = 1;
    if (c->n_words > 1 + number)
        return call_fail(c, 1 + number, e, ST_SYNTAX, "nothing more is expected here");
    if (!s->changes.n)
        return st_fail(e, ST_STATE, "there is no change to take back");
    if (number && c->n_words < 2)
        return call_fail(c, 1, e, ST_SYNTAX, "expected the number of a change");
    const int64_t most = number ? s->changes.last : (int64_t)s->changes.n;
    if (c->n_words && parse_i64(c->words[number].text, 1, most, &n, e)) {
        call_fail(c, number, e, e->st, "`%.*s` is not in 1..%" PRId64, (int)c->words[number].text.n,
                  c->words[number].text.p, most);
        return st_hint(e, "undo N takes the last N back, undo change N the one with that number");
    }
    struct change *one = number ? changes_find(s, (int)n) : NULL;
    if (number && !one) {
        call_fail(c, 1, e, ST_NOTFOUND, "change %" PRId64 " has been taken back", n);
        return st_hint(e, "`info changes` lists those that hold");
    }
    take_back(s, number ? 1 : (size_t)n, one, out);
    return ST_OK;
}

static enum st run_redo(struct session *s, const struct call *c, struct result *out, struct err *e)
{
    int64_t n = 1;
    if (c->n_words > 1)
        return call_fail(c, 1, e, ST_SYNTAX, "nothing more is expected here");
    if (!s->changes.n_undone)
        return st_fail(e, ST_STATE, "there is no change that was taken back last");
    if (c->n_words && parse_i64(c->words[0].text, 1, (int64_t)s->changes.n_undone, &n, e))
        return call_fail(c, 0, e, e->st, "`%.*s` is not in 1..%zu", (int)c->words[0].text.n,
                         c->words[0].text.p, s->changes.n_undone);
    struct position *before = places(s);
    struct quant_place from;
    struct table *t = result_table(out, "redone", TABLE_ROWS);
    change_columns(t);
    quant_moved_from(s, &from);
    while (n--)
        change_row(s, changes_redo(s), t);
    quant_moved(s, &from, out);
    show_moved(s, before, out);
    free(before);
    return ST_OK;
}

static enum st run_reset(struct session *s, const struct call *c, struct result *out, struct err *e)
{
    if (c->n_words)
        return call_fail(c, 0, e, ST_SYNTAX, "nothing more is expected here");
    if (!s->changes.n)
        return ST_OK;
    enum st st = confirm(s, e, "Take %zu %s back?", s->changes.n,
                         text_plural(s->changes.n, "change", "changes"));
    if (!st)
        take_back(s, s->changes.n, NULL, out);
    return st;
}

const struct verb verbs_change[] = {
    { .name = "ablate",
      .class = "change",
      .args = "ADDR [mean]",
      .brief = "set points to zero, or to their mean over the tokens",
      .help = "`ablate ADDR` is `set tensor ADDR = zero` (see `help set`). `mean`: each element "
              "becomes the mean, over the tokens that ADDR chooses in the active run, of what is "
              "there now; that mean is kept and serves later runs too.",
      .examples = "prompt \"kalo\"\nrun\nablate blk.0.ffn_down.out mean\n"
                  "ablate blk.0.attn.z[head=0]\ncontinue",
      .kinds = { ARG_POINT },
      .words = "mean",
      .run = run_ablate },
    { .name = "patch",
      .class = "change",
      .args = "ADDR from RUN",
      .brief = "give points the values that they have in another run",
      .help = "The elements that ADDR names are read from RUN now, and stand in the place of what "
              "every other run of the active model computes there (RUN2!ADDR: that one alone). RUN "
              "may be a run of another model, where the point has the same name and shape; it must "
              "have produced the points. Both must choose the same number of tokens: [tok=-1] is "
              "the last one of each.",
      .examples = "prompt \"kalo\" as clean\nrun\nprompt \"kala\"\n"
                  "patch blk.0.out[tok=-1] from clean\nrun\ntopk 3",
      .kinds = { ARG_POINT, ARG_RUN },
      .words = "from",
      .run = run_patch },
    { .name = "skip",
      .class = "change",
      .args = "blk.N[.attn|.ffn]",
      .brief = "leave out what a block or a sub-layer adds to the residual stream",
      .help = "The output that is added becomes zero, so the residual stream passes unchanged (in "
              "a model that normalises behind the sum, that norm still applies). The names of "
              "sub-layers are those that `where` and `next` use.",
      .examples = "prompt \"kalo\"\nskip blk.1.attn\nskip blk.0\nrun\ninfo changes",
      .kinds = { ARG_SUB, ARG_NONE },
      .run = run_skip },
    { .name = "splice",
      .class = "change",
      .args = "ADDR",
      .brief = "feed what the reference computes into the active model from there on",
      .help = "Wherever a point that ADDR names is produced, the elements that it names become "
              "those that the reference (`ref FILE`; without one, the model as its file has it) "
              "computes at the same place from the same tokens. It holds for every run of the "
              "active model (RUN!ADDR: for that run alone), for generated tokens too, and in "
              "evaluations on the set of `data` (kl, verify, check, bisect), where the reference "
              "goes over each segment beside the model; a slice of tokens does not reach "
              "those, and ppl and task leave splices out. `splice blk.3.out` makes everything "
              "that the blocks up to 3 did wrong undone: what is left of the kl is made behind.",
      .examples = "skip blk.0.ffn\nprompt \"kalo\"\nsplice blk.0.out\nrun\n"
                  "compare blk.0.out output.out",
      .kinds = { ARG_POINT },
      .run = run_splice },
    { .name = "undo",
      .class = "change",
      .args = "[N | change N]",
      .brief = "take the last change back, the last N, or the one numbered N",
      .help = "The runs go back to before the first node that it touched; what they compute then "
              "is, bit for bit, what they would have without it. The size of the file is shown "
              "where it changes, and the kl where it has been measured before.",
      .examples = "skip blk.0.ffn\nundo\nskip blk.1.ffn\nskip blk.1.attn\nundo change 2",
      .kinds = { ARG_NUMBER },
      .words = "change",
      .run = run_undo },
    { .name = "redo",
      .class = "change",
      .args = "[N]",
      .brief = "make the change that undo took back last again, or the last N",
      .help = "Under its old number. A new change forgets what was taken back before.",
      .examples = "skip blk.0.ffn\nundo\nredo",
      .kinds = { ARG_NUMBER },
      .run = run_redo },
    { .name = "reset",
      .class = "change",
      .brief = "take every change back",
      .examples = "skip blk.0.ffn\nreset",
      .flags = VERB_EXACT,
      .run = run_reset },
    { 0 },
};
