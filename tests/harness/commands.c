/* SPDX-License-Identifier: MIT */
#include "tests/harness/commands.h"

#include <string.h>

#include "tests/harness/models.h"
#include "tests/harness/scratch.h"
#include "tests/harness/unit.h"

void sitting_open(struct sitting *f, const char *path)
{
    assert_ok(session_open(f->s, path, NULL, &f->m, &f->e), &f->e);
}

struct sitting sitting_begin(const char *path)
{
    struct sitting f = { .s = session_new(), .e = ERR_INIT };
    scratch_begin();
    if (path)
        sitting_open(&f, path);
    return f;
}

void sitting_end(struct sitting *f)
{
    session_free(f->s);
    scratch_end();
}

struct session *prompted(const char *path, const int32_t *ids, int64_t n, struct session_run **r)
{
    struct session *s = session_new();
    struct session_model *m;
    struct err e = ERR_INIT;
    assert_ok(session_open(s, path, NULL, &m, &e), &e);
    assert_ok(session_prompt(s, ids, n, NULL, r, &e), &e);
    return s;
}

float *sitting_logits(struct sitting *f, size_t *bytes)
{
    static const int32_t ids[] = { 1, 262, 269, 264, 270 };
    struct session_run *r = f->s->models.run;
    int64_t n;
    if (!r)
        assert_ok(session_prompt(f->s, ids, 5, NULL, &r, &f->e), &f->e);
    models_finish(r->run);
    float *x = models_output(r->run, "output.out", &n);
    *bytes = (size_t)n * sizeof *x;
    return x;
}

static struct result typed(struct session *s, enum st want, struct err *e, const char *fmt,
                           va_list ap)
{
    struct result out = { 0 };
    char line[1024];
    *e = (struct err)ERR_INIT;
    assert_in_range(vsnprintf(line, sizeof line, fmt, ap), 0, sizeof line - 1);
    unit_assert_st(command_run(s, str_from(line), false, &out, e), want, e, line, __FILE__,
                   __LINE__);
    return out;
}

struct result answer(struct session *s, const char *fmt, ...)
{
    va_list ap;
    struct err e;
    va_start(ap, fmt);
    struct result out = typed(s, ST_OK, &e, fmt, ap);
    va_end(ap);
    return out;
}

void command(struct session *s, const char *fmt, ...)
{
    va_list ap;
    struct err e;
    va_start(ap, fmt);
    struct result out = typed(s, ST_OK, &e, fmt, ap);
    va_end(ap);
    result_free(&out);
}

const struct err *refused(struct session *s, enum st st, int column, const char *says,
                          const char *fmt, ...)
{
    static struct err e;
    va_list ap;
    const size_t changes = s->changes.n;
    va_start(ap, fmt);
    struct result out = typed(s, st, &e, fmt, ap);
    va_end(ap);
    result_free(&out);
    if (column != ANYWHERE && e.column != column)
        fail_msg("%s: caret at %d, expected %d (%s)", fmt, e.column, column, e.msg);
    if (!strstr(e.msg, says) && !strstr(e.hint, says))
        fail_msg("%s: \"%s\" (%s) does not say \"%s\"", fmt, e.msg, e.hint, says);
    assert_int_equal(s->changes.n, changes);
    return &e;
}

const struct table *table_named(const struct result *r, const char *name)
{
    for (size_t i = 0; i < r->n_tables; i++)
        if (!strcmp(r->tables[i]->name, name))
            return r->tables[i];
    fail_msg("no table %s", name);
    return NULL;
}

const struct cell *cell_at(const struct table *t, size_t row, const char *column)
{
    const int c = table_find(t, column);
    if (c < 0 || row >= t->n_rows)
        fail_msg("%s: no row %zu or column %s", t->name, row, column);
    return table_cell(t, row, (size_t)c);
}

const struct cell *cell_named(const struct result *r, const char *table, const char *column)
{
    return cell_at(table_named(r, table), 0, column);
}

double number_at(const struct table *t, size_t row, const char *column)
{
    const struct cell *x = cell_at(t, row, column);
    assert_false(x->absent);
    return t->columns[table_find(t, column)].type == COL_FLOAT ? x->f : (double)x->i;
}

bool noted(const struct result *r, const char *part)
{
    for (size_t i = 0; i < r->n_notes; i++)
        if (strstr(r->notes[i], part))
            return true;
    return false;
}
