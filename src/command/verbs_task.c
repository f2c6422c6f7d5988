/* SPDX-License-Identifier: MIT */
/* `task FILE`: questions with known answers, and what a change does to them. */
#include "command/verbs_task.h"

#include <stdlib.h>

#include "base/memory.h"
#include "command/broken.h"
#include "command/cells.h"
#include "command/verbs_change.h"
#include "file/text_file.h"
#include "study/answers.h"
#include "study/interval.h"

static void put_right(struct table *t, const struct answers *a, size_t n)
{
    int64_t hits = 0;
    if (a->broken.tokens[1]) {
        put_absent(t, 3);
        return;
    }
    for (size_t i = 0; i < n; i++)
        hits += a->right[i];
    const struct share s = share_of(hits, (int64_t)n);
    put_share(t, &s);
}

static void put_answers(const struct questions *q, const char *path, const struct answers *a,
                        const struct answers *ref, size_t n, enum compute mode, struct result *out)
{
    struct table *t = result_table(out, "task", TABLE_RECORD);
    TABLE_COLUMNS(t, { COL_STRING, "task" }, { COL_INT, "questions" },
                  { COL_FLOAT, "accuracy", "", 5 }, { COL_FLOAT, "low", "", 5 },
                  { COL_FLOAT, "high", "", 5 }, { COL_FLOAT, "ref_accuracy", "", 5 },
                  { COL_FLOAT, "ref_low", "", 5 }, { COL_FLOAT, "ref_high", "", 5 },
                  { COL_INT, "to_wrong" }, { COL_INT, "to_right" }, { COL_FLOAT, "flips", "", 4 },
                  { COL_FLOAT, "mcnemar", "", 4 }, { COL_STRING, "compute" },
                  { COL_STRING, "level" });
    table_row(t);
    table_str(t, path);
    table_int(t, (int64_t)n);
    put_right(t, a, n);
    int64_t wrong = 0, mended = 0;
    const bool flips = ref && !ref->broken.tokens[1] && !a->broken.tokens[1];
    for (size_t i = 0; flips && i < n; i++) {
        wrong += ref->right[i] && !a->right[i];
        mended += !ref->right[i] && a->right[i];
    }
    if (ref)
        put_right(t, ref, n);
    else
        put_absent(t, 3);
    if (flips) {
        table_int(t, wrong);
        table_int(t, mended);
        table_float(t, (double)(wrong + mended) / (double)n);
        table_float(t, mcnemar_p(wrong, mended));
    } else
        put_absent(t, 4);
    table_str(t, compute_name(mode));
    put_level(t, mode == COMPUTE_FAST);
    if (!(wrong + mended))
        return;
    enum { SHOWN = 10 };
    int shown = 0;
    t = result_table(out, "flips", TABLE_ROWS);
    TABLE_COLUMNS(t, { COL_INT, "line" }, { COL_STRING, "now" }, { COL_STRING, "prompt" });
    for (size_t i = 0; i < n && shown < SHOWN; i++) {
        if (ref->right[i] == a->right[i])
            continue;
        struct buf b = { 0 };
        const struct str prompt = str_from(q->list[i].prompt);
        buf_visible(&b, str_of(prompt.p, prompt.n < 60 ? prompt.n : 60));
        table_row(t);
        table_int(t, q->list[i].line);
        table_str(t, a->right[i] ? "right" : "wrong");
        table_str(t, buf_str(&b));
        buf_free(&b);
        shown++;
    }
}

static enum st answer(struct session *s, const struct questions *q, const char *path,
                      struct result *out, struct err *e)
{
    struct session_model *m, *ref = s->models.ref;
    enum st st = session_need_graph(s, &m, e);
    if (st)
        return st;
    struct answers a[2] = { 0 };
    const bool both = ref || session_changed(s);
    const struct run_options plain = session_measure_options(s);
    struct run_options o = plain;
    struct plan plan;
    struct changes_left left;
    size_t n = 0;
    changes_plan(s, m, &plan, &left);
    o.plan = &plan;
    for (int i = 0; i < 2; i++)
        a[i].right = x_alloc(q->n * sizeof *a[i].right + 1);
    if (both)
        st = answers_of(ref ? ref->model : m->model, &plain, q, s->progress, &a[1], e);
    if (!st)
        st = answers_of(m->model, &o, q, s->progress, &a[0], e);
    plan_free(&plan);
    n = a[0].done;
    if (n && (!st || st == ST_CANCELLED)) {
        put_answers(q, path, &a[0], both ? &a[1] : NULL, n, o.mode, out);
        struct broken_logits broken = a[0].broken;
        broken.tokens[0] = a[1].broken.tokens[1];
        broken.segment[0] = a[1].broken.segment[1];
        broken.at[0] = a[1].broken.at[1];
        if (broken_note(&broken, a[0].scored, "the model", "line", out))
            out->status = RESULT_FOUND;
        changes_left_out(&left, out);
        if (both && !ref)
            result_note(out, "reference = this file as opened; its own loss is not seen");
        if (st)
            out->status = RESULT_PARTIAL;
    }
    free(a[0].right);
    free(a[1].right);
    return st;
}

enum st task_file(struct session *s, const struct call *c, struct result *out, struct err *e)
{
    struct questions q;
    struct buf text = { 0 };
    if (c->n_words > 1)
        return call_fail(c, 1, e, ST_SYNTAX, "one file, and nothing after it");
    char *path = x_strndup(c->words[0].text.p, c->words[0].text.n);
    enum st st = text_file_read(path, QUESTIONS_MAX, &text, e);
    if (st == ST_IO)
        st_hint(e, "a task is add, or a file of questions");
    if (!st)
        st = questions_parse(str_of(buf_str(&text), text.n), path, &q, e);
    if (st)
        st_at(e, c->words[0].column, c->words[0].length);
    else {
        st = answer(s, &q, path, out, e);
        questions_free(&q);
    }
    buf_free(&text);
    free(path);
    return st;
}
