/* SPDX-License-Identifier: MIT */
#include "file/questions.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "file/json_read.h"

static void question_free(struct question *q)
{
    for (size_t i = 0; i < q->n; i++)
        free(q->choices[i]);
    free(q->choices);
    free(q->prompt);
}

/* A text of the file, without zero bytes; NULL after a mistake. */
static char *read_text(struct jread *j)
{
    struct buf b = { 0 };
    if (!jread_string(j, &b, QUESTION_TEXT) || (b.n && memchr(b.p, 0, b.n))) {
        jread_fail(j, "a text with a zero byte");
        buf_free(&b);
        return NULL;
    }
    char *text = x_strndup(buf_str(&b), b.n);
    buf_free(&b);
    return text;
}

static void read_choices(struct jread *j, struct question *q)
{
    if (!jread_open(j, '['))
        return;
    while (jread_next(j)) {
        if (q->n == QUESTION_CHOICES) {
            jread_fail(j, "more choices than 64");
            return;
        }
        char *text = read_text(j);
        if (!text)
            return;
        q->choices[q->n++] = text;
    }
}

/* What stands under "answer". */
struct answer {
    char *text; /* NULL: a number, or nothing */
    int64_t number;
    bool given;
};

/* Which of the keys that mean something it is, -1 none; one that is there twice is a mistake. */
static int which_key(struct jread *j, struct str key, bool *seen)
{
    static const struct {
        const char *name, *twice;
    } keys[] = { { "prompt", "\"prompt\" is there twice" },
                 { "choices", "\"choices\" is there twice" },
                 { "answer", "\"answer\" is there twice" } };
    for (int i = 0; i < 3; i++)
        if (str_is(key, keys[i].name)) {
            if (seen[i])
                jread_fail(j, keys[i].twice);
            seen[i] = true;
            return i;
        }
    return -1;
}

static void read_question(struct jread *j, struct question *q, struct answer *a)
{
    struct buf key = { 0 };
    bool seen[3] = { false };
    q->choices = x_alloc((QUESTION_CHOICES + 1) * sizeof *q->choices);
    for (bool more = jread_open(j, '{') && jread_next(j); more; more = jread_next(j)) {
        if (!jread_key(j, &key, 64))
            break;
        const int k = which_key(j, str_of(buf_str(&key), key.n), seen);
        if (j->problem)
            break;
        if (k == 0)
            q->prompt = read_text(j);
        else if (k == 1)
            read_choices(j, q);
        else if (k == 2 && jread_peek(j) == '"')
            a->text = read_text(j);
        else if (k == 2)
            jread_int(j, 0, QUESTION_CHOICES - 1, &a->number);
        else
            jread_skip(j);
    }
    a->given = seen[2];
    buf_free(&key);
    jread_end(j);
}

/* NULL, or what is wrong. Takes the text of the answer over where it is the only choice. */
static const char *settle(struct question *q, struct answer *a)
{
    if (!q->prompt)
        return "no \"prompt\"";
    if (!a->given)
        return "no \"answer\"";
    if (!q->n) {
        if (!a->text || !*a->text)
            return "without \"choices\" the answer is a text";
        q->choices[q->n++] = a->text;
        a->text = NULL;
        q->exact = true;
        return NULL;
    }
    if (q->n < 2)
        return "a single choice";
    if (a->text) {
        while (q->answer < q->n && strcmp(q->choices[q->answer], a->text) != 0)
            q->answer++;
    } else
        q->answer = (size_t)a->number;
    return q->answer < q->n ? NULL : "the answer is none of the choices";
}

static enum st read_line(struct str line, int number, const char *name, struct questions *all,
                         struct err *e)
{
    struct question q = { .line = number };
    struct answer a = { 0 };
    struct jread j = jread_of(line.p, line.n);
    if (!jread_peek(&j))
        return ST_OK;
    read_question(&j, &q, &a);
    struct err why = ERR_INIT;
    const char *problem = jread_status(&j, 0, &why) ? why.msg : settle(&q, &a);
    free(a.text);
    if (problem) {
        st_fail(e, ST_FORMAT, "line %d: %s", number, problem);
        st_where(e, "%s", name);
        question_free(&q);
        return ST_FORMAT;
    }
    x_grow(&all->list, &all->cap, all->n + 1, sizeof *all->list);
    all->list[all->n++] = q;
    return ST_OK;
}

enum st questions_parse(struct str text, const char *name, struct questions *out, struct err *e)
{
    struct questions all = { 0 };
    struct jread j = jread_of(text.p, text.n);
    const int first = jread_peek(&j);
    if (first && first != '{') {
        st_fail(e, ST_FORMAT, "holds no questions: these are JSON objects, one a line");
        return st_where(e, "%s", name);
    }
    enum st st = ST_OK;
    int number = 1;
    for (size_t at = 0; at < text.n && !st; number++) {
        const char *end = memchr(text.p + at, '\n', text.n - at);
        const size_t n = end ? (size_t)(end - text.p) - at : text.n - at;
        st = read_line(str_of(text.p + at, n), number, name, &all, e);
        at += n + 1;
    }
    if (!st && !all.n) {
        st = st_fail(e, ST_FORMAT, "there is no question in it");
        st_where(e, "%s", name);
    }
    if (st)
        questions_free(&all);
    else
        *out = all;
    return st;
}

void questions_free(struct questions *q)
{
    for (size_t i = 0; i < q->n; i++)
        question_free(&q->list[i]);
    free(q->list);
    *q = (struct questions){ 0 };
}
