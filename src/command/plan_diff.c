/* SPDX-License-Identifier: MIT */
/* Where two plans differ. */
#include <inttypes.h>

#include "base/memory.h"
#include "command/plan_parts.h"
#include "quant/second_scale.h"

/* Format of a weight in a plan: the file's own where it is not named. */
static struct numeric format_in(const struct plan_lines *l, const struct weight *w)
{
    for (size_t i = 0; i < l->n; i++)
        if (l->list[i].method && str_eq(l->list[i].name, w->name))
            return l->list[i].format;
    return second_scale_format(w);
}

/* Format of a point in a plan; false: the plan does not name it, and it is f32. */
static bool point_in(const struct plan_lines *l, struct str name, struct numeric *out)
{
    for (size_t i = 0; i < l->n; i++)
        if (!l->list[i].method && str_eq(l->list[i].name, name)) {
            *out = l->list[i].format;
            return true;
        }
    *out = numeric_storage(format_by_name("f32"));
    return false;
}

static void put(struct table *t, const struct numeric *f)
{
    struct buf b = { 0 };
    if (f->base != NUMERIC_STORAGE || f->storage != FORMAT_NONE)
        numeric_print(f, &b);
    table_str(t, b.n ? buf_str(&b) : "unknown");
    buf_free(&b);
}

/* Of points, a's and those of b alone; f32 where a plan does not name one. How many differ? */
static size_t diff_points(const struct plan_lines *a, const struct plan_lines *b, struct table *t)
{
    const struct plan_lines *both[] = { a, b };
    size_t n = 0;
    for (int k = 0; k < 2; k++)
        for (size_t i = 0; i < both[k]->n; i++) {
            const struct plan_line *l = &both[k]->list[i];
            struct numeric f[2] = { l->format, l->format };
            const bool other = point_in(both[!k], l->name, &f[!k]);
            if (l->method || (k && other) || numeric_equal(&f[0], &f[1]))
                continue;
            n++;
            table_row(t);
            table_strn(t, l->name);
            put(t, &f[0]);
            put(t, &f[1]);
        }
    return n;
}

static void show_diff(const struct session_model *m, const struct plan_lines *a,
                      const struct plan_lines *b, struct result *out)
{
    const struct weights *all = m->model->weights;
    struct table *t = result_table(out, "differences", TABLE_ROWS);
    TABLE_COLUMNS(t, { COL_ADDRESS, "weight" }, { COL_STRING, "a" }, { COL_STRING, "b" },
                  { COL_INT, "bytes_a", "B" }, { COL_INT, "bytes_b", "B" });
    uint64_t bytes[2] = { 0, 0 };
    size_t n = 0;
    for (size_t i = 0; i < all->n; i++) {
        const struct weight *w = &all->list[i];
        const struct numeric f[] = { format_in(a, w), format_in(b, w) };
        uint64_t size[2];
        for (int k = 0; k < 2; k++) {
            size[k] = second_scale_stored(w, &f[k]) ? w->bytes : quant_bytes(&f[k], w);
            bytes[k] += size[k];
        }
        if (numeric_equal(&f[0], &f[1]))
            continue;
        n++;
        table_row(t);
        table_strn(t, w->name);
        put(t, &f[0]);
        put(t, &f[1]);
        table_int(t, (int64_t)size[0]);
        table_int(t, (int64_t)size[1]);
    }
    result_note(out, "%zu of %zu weights differ; %" PRIu64 " and %" PRIu64 " bytes", n, all->n,
                bytes[0], bytes[1]);
    const size_t points = diff_points(a, b, t);
    if (points)
        result_note(out, "%zu %s rounded otherwise", points,
                    text_plural(points, "point is", "points are"));
    if (n || points)
        out->status = RESULT_FOUND;
}

enum st plan_diff(struct session *s, struct session_model *m, const struct call *c,
                  struct result *out, struct err *e)
{
    static const struct word now = { .text = { "now", 3 } };
    struct plan_lines a, b;
    if (c->n_words < 2 || c->n_words > 3)
        return call_fail(c, c->n_words > 3 ? 3 : 1, e, ST_SYNTAX, "expected PLAN [PLAN]");
    enum st st = plan_lines_of(s, m, &c->words[1], &a, e);
    if (st)
        return st;
    const struct word *second = c->n_words > 2 ? &c->words[2] : &now;
    if (!(st = plan_lines_of(s, m, second, &b, e))) {
        if ((st = plan_lines_fit(m, &a, e)))
            st_at(e, c->words[1].column, c->words[1].length);
        else if ((st = plan_lines_fit(m, &b, e)))
            st_at(e, second->column, second->length);
        else
            show_diff(m, &a, &b, out);
        plan_lines_free(&b);
    }
    plan_lines_free(&a);
    return st;
}
