/* SPDX-License-Identifier: MIT */
/* The verb for plans: what the weights of a model become, as a whole. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/memory.h"
#include "command/plan_parts.h"
#include "command/quant.h"
#include "file/save.h"
#include "file/text_file.h"
#include "quant/plan_file.h"

void plan_add(struct plan_items *x, const struct quant_item *item)
{
    x_grow(&x->list, &x->cap, x->n + 1, sizeof *x->list);
    x->list[x->n++] = *item;
}

void plan_items_free(struct plan_items *x)
{
    free(x->list);
    free(x->points);
    *x = (struct plan_items){ 0 };
}

void plan_add_point(struct plan_items *x, const struct round_point *p)
{
    x_grow(&x->points, &x->cap_points, x->n_points + 1, sizeof *x->points);
    x->points[x->n_points++] = *p;
}

enum st plan_finish(struct session *s, struct session_model *m, const struct call *c, bool dry,
                    struct plan_items *x, struct result *out, struct err *e)
{
    struct buf text = { 0 };
    enum st st = ST_OK;
    if (!x->n && !x->n_points)
        result_note(out, "nothing changes: the weights are as planned");
    else if (dry)
        st = plan_preview(s, m, x->list, x->n, out, e);
    else {
        buf_printf(&text, "plan %.*s", (int)c->rest.n, c->rest.p);
        const struct quant_rounding act = { .points = x->points, .n_points = x->n_points };
        st = quant_apply(s, m, x->list, x->n, quant_method_at(0), &act, buf_str(&text), out, e);
        if (st == ST_NOMEM)
            st_hint(e, "`dry` shows what it would be, `export gguf FILE as` writes it without "
                       "holding it; or a larger `--mem`");
    }
    buf_free(&text);
    plan_items_free(x);
    return st;
}

/* WHAT NAME [dry] */
enum st plan_words(const struct call *c, const char *what, bool *dry, struct err *e)
{
    *dry = c->n_words == 3 && str_is(c->words[2].text, "dry");
    if (c->n_words < 2)
        return call_fail(c, 1, e, ST_SYNTAX, "%s", what);
    if (c->n_words > 2 + *dry)
        return call_fail(c, 2, e, ST_SYNTAX, "expected `dry`, or nothing more");
    return ST_OK;
}

/* ---- text ---- */

/* A file is written with a dot or a slash, a name of the session without. */
static bool is_file(struct str t) { return memchr(t.p, '.', t.n) || memchr(t.p, '/', t.n); }

static struct session_plan *find(const struct session *s, struct str name)
{
    for (size_t i = 0; i < s->n_plans; i++)
        if (str_is(name, s->plans[i].name))
            return &s->plans[i];
    return NULL;
}

/* What a point is rounded to now; NULL: nothing. */
static const struct numeric *rounded(const struct session *s, const struct session_model *m, int v)
{
    const struct change_target *t = changes_rounding(s, m, NULL, v);
    return t && !round_nothing(&t->edit.format) ? &t->edit.format : NULL;
}

struct counts {
    size_t weights, points;
    size_t others; /* weights that were not made by quant or plan: left out */
};

static enum st print_points(const struct session *s, const struct session_model *m,
                            struct counts *n, struct buf *out, struct err *e)
{
    const struct graph *g = m->model->graph;
    enum st st = ST_OK;
    for (int v = 0; g && v < g->n_values && !st; v++) {
        const struct numeric *f = rounded(s, m, v);
        if (!f)
            continue;
        st = plan_file_line(
            &(struct plan_line){ .format = *f, .name = str_from(g->values[v].name) }, out, e);
        n->points++;
    }
    return st;
}

/* What stands for the weights now, and what points are rounded to. */
static enum st print_now(const struct session *s, const struct session_model *m, struct buf *out,
                         struct counts *n, struct err *e)
{
    const struct weights *w = m->model->weights;
    struct buf points = { 0 };
    *n = (struct counts){ 0 };
    enum st st = print_points(s, m, n, &points, e);
    plan_file_begin(n->points, out);
    for (size_t i = 0; i < w->n && !st; i++) {
        const struct change_form *f = changes_entry(s, m, &w->list[i]);
        if (!f || !f->by)
            continue;
        struct plan_line l = { .format = f->note.format,
                               .method = f->note.method,
                               .rank = w->list[i].rank,
                               .name = w->list[i].name };
        memcpy(l.ne, w->list[i].ne, sizeof l.ne);
        if (!l.method)
            n->others++;
        else {
            st = plan_file_line(&l, out, e);
            n->weights++;
        }
    }
    buf_add(out, buf_str(&points), points.n);
    buf_free(&points);
    return st;
}

static enum st save_file(struct session *s, struct str name, const struct buf *text, struct err *e)
{
    struct stat old;
    char *path = x_strndup(name.p, name.n);
    enum st st = ST_OK;
    if (!stat(path, &old) && S_ISREG(old.st_mode))
        st = confirm(s, e, "Replace %s?", path);
    if (!st)
        st = save_bytes(path, buf_str(text), text->n, e);
    free(path);
    return st;
}

static enum st plan_save(struct session *s, struct session_model *m, const struct call *c,
                         struct result *out, struct err *e)
{
    struct buf text = { 0 };
    struct counts n;
    if (c->n_words != 2)
        return call_fail(c, c->n_words > 2 ? 2 : 1, e, ST_SYNTAX, "expected a file or a name");
    const struct str name = c->words[1].text;
    if (str_is(name, "now"))
        return call_fail(c, 1, e, ST_SYNTAX, "`now` is what holds: a plan needs another name");
    enum st st = print_now(s, m, &text, &n, e);
    if (!st && is_file(name))
        st = save_file(s, name, &text, e);
    else if (!st) {
        struct session_plan *p = find(s, name);
        if (!p) {
            x_grow(&s->plans, &s->cap_plans, s->n_plans + 1, sizeof *s->plans);
            p = &s->plans[s->n_plans++];
            p->name = x_strndup(name.p, name.n);
        }
        free(p->text);
        p->text = x_strdup(buf_str(&text));
    }
    buf_free(&text);
    if (st)
        return st;
    result_note(out, "%zu %s and %zu %s in %.*s", n.weights,
                text_plural(n.weights, "weight", "weights"), n.points,
                text_plural(n.points, "point", "points"), (int)name.n, name.p);
    if (n.others)
        result_note(out, "%zu that other commands changed %s left out", n.others,
                    text_plural(n.others, "is", "are"));
    return ST_OK;
}

/* The text of a name, or of a file; appended. "now": what holds. */
static enum st text_of(struct session *s, const struct session_model *m, const struct word *w,
                       struct buf *out, struct err *e)
{
    struct counts n;
    const struct session_plan *p = find(s, w->text);
    if (p)
        return buf_adds(out, p->text), ST_OK;
    if (str_is(w->text, "now"))
        return print_now(s, m, out, &n, e);
    if (!is_file(w->text)) {
        st_fail(e, ST_NOTFOUND, "no plan `%.*s`", (int)w->text.n, w->text.p);
        st_hint(e, "`plan` lists the names; a file has a dot or a slash in its name");
        return st_at(e, w->column, w->length);
    }
    char *path = x_strndup(w->text.p, w->text.n);
    enum st st = text_file_read(path, PLAN_FILE_MAX, out, e);
    free(path);
    return st;
}

/* The weight that a line is about. */
static enum st weight_of(const struct session_model *m, const struct plan_line *l,
                         const struct weight **out, struct err *e)
{
    const struct weight *w = weights_find(m->model->weights, l->name);
    const int n = (int)(l->name.n > 60 ? 60 : l->name.n);
    bool same = w && w->rank == l->rank;
    for (int i = 0; same && i < l->rank; i++)
        same = w->ne[i] == l->ne[i];
    if (same) {
        *out = w;
        return ST_OK;
    }
    st_fail(e, ST_RANGE,
            w ? "line %d: %.*s has another shape in this model" : "line %d: this model has no %.*s",
            l->line, n, l->name.p);
    return st_hint(e, "the plan was made for another model");
}

/* The point that a line is about. */
static enum st point_of(const struct session_model *m, const struct plan_line *l, int *out,
                        struct err *e)
{
    struct shape shape;
    const struct graph *g = m->model->graph;
    const int v = g ? graph_point(g, l->name, &shape, NULL) : -1;
    if (v >= 0 && !graph_alias(g, l->name)) {
        *out = v;
        return ST_OK;
    }
    st_fail(e, g ? ST_RANGE : ST_UNSUPPORTED,
            g ? "line %d: this model has no point %.*s"
              : "line %d: without a graph there is no %.*s to round",
            l->line, (int)(l->name.n > 60 ? 60 : l->name.n), l->name.p);
    return st_hint(e, "the plan was made for another model");
}

enum st plan_lines_fit(const struct session_model *m, const struct plan_lines *l, struct err *e)
{
    enum st st = ST_OK;
    for (size_t i = 0; i < l->n && !st; i++) {
        const struct weight *w;
        int v;
        st = l->list[i].method ? weight_of(m, &l->list[i], &w, e) : point_of(m, &l->list[i], &v, e);
    }
    return st;
}

enum st plan_lines_of(struct session *s, const struct session_model *m, const struct word *w,
                      struct plan_lines *out, struct err *e)
{
    *out = (struct plan_lines){ 0 };
    enum st st = text_of(s, m, w, &out->text, e);
    if (!st
        && (st = plan_file_parse(str_of(buf_str(&out->text), out->text.n), &out->list, &out->n, e)))
        st_at(e, w->column, w->length);
    if (st)
        buf_free(&out->text);
    return st;
}

void plan_lines_free(struct plan_lines *l)
{
    free(l->list);
    buf_free(&l->text);
}

/* What the lines say, and what they do not name as it is in the file. */
static enum st items_of(const struct session *s, const struct session_model *m,
                        const struct plan_lines *l, struct plan_items *x, struct err *e)
{
    const struct weights *all = m->model->weights;
    const int n_values = m->model->graph ? m->model->graph->n_values : 0;
    bool *named = x_alloc(all->n + 1), *rounds = x_alloc((size_t)n_values + 1);
    enum st st = ST_OK;
    for (size_t i = 0; i < l->n && !st; i++) {
        const struct plan_line *line = &l->list[i];
        const struct weight *w;
        int v;
        if (line->method && !(st = weight_of(m, line, &w, e))) {
            named[w - all->list] = true;
            plan_add(x, &(struct quant_item){ w, false, line->format, line->method });
        } else if (!line->method && !(st = point_of(m, line, &v, e))) {
            rounds[v] = true;
            plan_add_point(x, &(struct round_point){ v, line->format });
        }
    }
    for (size_t i = 0; i < all->n && !st; i++)
        if (!named[i] && changes_form(s, m, &all->list[i]))
            plan_add(x, &(struct quant_item){ .w = &all->list[i], .orig = true });
    for (int v = 0; v < n_values && !st; v++)
        if (!rounds[v] && rounded(s, m, v))
            plan_add_point(x, &(struct round_point){ v, numeric_storage(format_by_name("f32")) });
    free(named);
    free(rounds);
    return st;
}

static enum st plan_load(struct session *s, struct session_model *m, const struct call *c,
                         struct result *out, struct err *e)
{
    bool dry;
    struct plan_lines l;
    struct plan_items x = { 0 };
    enum st st = plan_words(c, "which plan?", &dry, e);
    if (!st)
        st = plan_lines_of(s, m, &c->words[1], &l, e);
    if (st)
        return st;
    if ((st = items_of(s, m, &l, &x, e))) {
        st_at(e, c->words[1].column, c->words[1].length);
        plan_items_free(&x);
    }
    plan_lines_free(&l);
    return st ? st : plan_finish(s, m, c, dry, &x, out, e);
}

enum st plan_of_word(struct session *s, const struct session_model *m, const struct word *w,
                     struct plan_items *x, const struct mix **mix, struct result *out,
                     struct err *e)
{
    struct plan_lines l;
    *x = (struct plan_items){ 0 };
    if ((*mix = w->quoted ? NULL : mix_find(w->text)))
        return plan_of_mix(s, m, *mix, x, out, e);
    enum st st = plan_lines_of(s, m, w, &l, e);
    if (st)
        return st;
    if ((st = items_of(s, m, &l, x, e)))
        st_at(e, w->column, w->length);
    plan_lines_free(&l);
    return st;
}

static enum st plan_list(const struct session *s, struct result *out)
{
    struct table *t = result_table(out, "plans", TABLE_ROWS);
    TABLE_COLUMNS(t, { COL_STRING, "plan" }, { COL_INT, "weights" }, { COL_INT, "points" });
    for (size_t i = 0; i < s->n_plans; i++) {
        int64_t lines = -1, points = 0;
        for (const char *p = s->plans[i].text; (p = strchr(p, '\n')); p++) {
            lines++;
            points += !strncmp(p + 1, "act ", 4);
        }
        table_row(t);
        table_str(t, s->plans[i].name);
        table_int(t, lines - points);
        table_int(t, points);
    }
    if (!s->n_plans)
        result_note(out, "no plan has a name; `info plan` shows the one that holds");
    return ST_OK;
}

static const struct kind {
    const char *name;
    enum st (*run)(struct session *s, struct session_model *m, const struct call *c,
                   struct result *out, struct err *e);
} kinds[] = {
    { "stock", plan_stock }, { "infer", plan_infer }, { "save", plan_save },
    { "load", plan_load },   { "diff", plan_diff },
};

static enum st run(struct session *s, const struct call *c, struct result *out, struct err *e)
{
    struct session_model *m;
    if (!c->n_words)
        return plan_list(s, out);
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (str_is(c->words[0].text, kinds[i].name)) {
            enum st st = session_need_model(s, &m, e);
            return st ? st : kinds[i].run(s, m, c, out, e);
        }
    call_fail(c, 0, e, ST_SYNTAX, "expected stock, infer, save, load or diff");
    return st_hint(e, "`info plan` shows the plan that holds, `quant` changes it");
}

static const struct arg_after plan_after[] = {
    { "stock", ARG_MIX, NULL },
    { "infer|save|load|diff", ARG_FILE, NULL },
    { 0 },
};

const struct verb verbs_plan[] = {
    { .name = "plan",
      .class = "change",
      .args = "[stock [MIX]|infer FILE|save PLAN|load PLAN|diff A [B]] [dry]",
      .brief = "formats of all weights at once: mixes, files, comparisons",
      .help =
          "What `quant`, `import recipe` and `plan` have made of the weights, as a whole; `info "
          "plan` shows it. No "
          "graph is needed. stock MIX gives every weight the format that llama-quantize (August "
          "2026) gives it under MIX, experts and rows that do not fit included; with the "
          "few rules for an importance matrix, where one is resident (`imatrix`). Alone it lists "
          "the "
          "mixes. infer FILE takes the formats of another "
          "GGUF file of the same model, and says which mix that is, or in how many weights it "
          "deviates from the nearest one. Weights that such a command does not speak of are as in "
          "the file afterwards. It is one change: undo takes it back. What it makes lies in memory "
          "up to half of the budget (`set mem-budget`), beyond that in temporary files without a "
          "name, in $TMPDIR or /var/tmp. dry: show it, make nothing.\n"
          "PLAN is a file, when there is a dot or a slash in it, or a name of this session; plan "
          "alone lists the names. A file has a line `FORMAT METHOD SHAPE NAME` for each weight "
          "that is not as in the model's file, and `act FORMAT POINT` for each point that is "
          "rounded (`quant POINT FORMAT`); static ranges are not in it: load takes those of the "
          "active run. load refuses a plan whose names or shapes are not "
          "those of the model. diff compares two plans, B being the one that holds if it is left "
          "out or `now`.",
      .examples = "plan stock Q8_0\ninfo plan blk.0.*.weight\nplan save eight\nquant ** bits 4\n"
                  "plan diff eight\nplan load eight\nplan stock Q4_0 dry",
      .kinds = { ARG_NONE },
      .words = "stock|infer|save|load|diff|dry|now",
      .after = plan_after,
      .run = run },
    { 0 },
};
