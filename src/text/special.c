/* SPDX-License-Identifier: MIT */
#include "text/special.h"

#include <stdlib.h>
#include <string.h>

#include "text/spm.h"

static bool is_special(const struct vocab *v, int32_t id)
{
    size_t n = vocab_piece(v, id).n;
    return (v->type[id] == TOKEN_CONTROL || v->type[id] == TOKEN_USER
            || v->type[id] == TOKEN_UNKNOWN)
           && n && n <= SPECIAL_MAX;
}

static int by_bytes(const void *a, const void *b)
{
    const struct special *x = a, *y = b;
    size_t n = x->text.n < y->text.n ? x->text.n : y->text.n;
    int order = memcmp(x->text.p, y->text.p, n);
    if (order)
        return order;
    if (x->text.n != y->text.n)
        return x->text.n < y->text.n ? -1 : 1;
    return x->id < y->id ? -1 : 1;
}

/* Texts that differ from the file's are written one after the other into s->texts. */
static void place_texts(struct specials *s, const struct vocab *v)
{
    for (size_t i = 0; i < s->n; i++) {
        struct str *text = &s->list[i].text;
        if (v->type[s->list[i].id] != TOKEN_USER
            || !memmem(text->p, text->n, SPM_SPACE, strlen(SPM_SPACE)))
            continue;
        size_t at = s->texts.n;
        spm_unescape(*text, &s->texts);
        *text = str_of(NULL, s->texts.n - at); /* the buffer may still move */
    }
    size_t at = 0;
    for (size_t i = 0; i < s->n; i++)
        if (!s->list[i].text.p) {
            s->list[i].text.p = s->texts.p + at;
            at += s->list[i].text.n;
        }
}

enum st specials_load(struct specials *s, const struct vocab *v, bool spaces, struct err *e)
{
    *s = (struct specials){ 0 };
    size_t n = 0;
    for (int32_t id = 0; id < v->n; id++)
        n += is_special(v, id);
    if (!n)
        return ST_OK;
    void *p;
    enum st st = mem_alloc(&p, n * sizeof *s->list, "special tokens", e);
    if (st)
        return st;
    s->list = p;
    for (int32_t id = 0; id < v->n; id++)
        if (is_special(v, id))
            s->list[s->n++] = (struct special){ vocab_piece(v, id), id };
    if (spaces)
        place_texts(s, v);
    qsort(s->list, s->n, sizeof *s->list, by_bytes);
    for (size_t i = 0; i < s->n; i++) {
        unsigned char c = (unsigned char)s->list[i].text.p[0];
        s->first[1][c] = 1;
        if (v->type[s->list[i].id] == TOKEN_USER)
            s->first[0][c] = 1;
    }
    return ST_OK;
}

void specials_free(struct specials *s)
{
    mem_free(s->list);
    buf_free(&s->texts);
    *s = (struct specials){ 0 };
}

/* First entry of [lo, hi), all alike in `depth` bytes and longer, whose next byte is at least c. */
static size_t lower_bound(const struct specials *s, size_t lo, size_t hi, size_t depth, int c)
{
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if ((unsigned char)s->list[mid].text.p[depth] < c)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

/* The longest special token that text begins with; NULL if none. */
static const struct special *longest(const struct specials *s, const struct vocab *v,
                                     struct str text, bool control)
{
    const struct special *best = NULL;
    size_t lo = 0, hi = s->n;
    for (size_t depth = 0; depth < text.n && lo < hi; depth++) {
        int c = (unsigned char)text.p[depth];
        lo = lower_bound(s, lo, hi, depth, c);
        hi = lower_bound(s, lo, hi, depth, c + 1);
        bool found = false;
        for (; lo < hi && s->list[lo].text.n == depth + 1; lo++)
            if (!found && (control || v->type[s->list[lo].id] == TOKEN_USER)) {
                best = s->list + lo;
                found = true; /* of two with one name the first counts */
            }
    }
    return best;
}

bool specials_next(const struct specials *s, const struct vocab *v, struct str text, size_t at,
                   bool control, int32_t *id, size_t *from, size_t *to)
{
    if (!s->n)
        return false;
    for (; at < text.n; at++) {
        if (!s->first[control][(unsigned char)text.p[at]])
            continue;
        const struct special *x = longest(s, v, str_of(text.p + at, text.n - at), control);
        if (!x)
            continue;
        *id = x->id;
        *from = at;
        *to = at + x->text.n;
        return true;
    }
    return false;
}
