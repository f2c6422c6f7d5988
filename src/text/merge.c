/* SPDX-License-Identifier: MIT */
#include "text/merge.h"

#include <string.h>

#include "base/memory.h"

/* Grow *array to hold need elements; its first n are kept. */
static enum st grow(void **array, uint32_t n, uint32_t *cap, size_t need, size_t size,
                    struct err *e)
{
    if (need <= *cap)
        return ST_OK;
    size_t more = *cap ? *cap : 64;
    while (more < need)
        more *= 2;
    if (more > INT32_MAX)
        return st_fail(e, ST_NOMEM, "the text is too long to tokenize in one piece");
    void *p;
    enum st st = mem_alloc(&p, more * size, "tokenizer", e);
    if (st)
        return st;
    if (n)
        memcpy(p, *array, n * size);
    mem_free(*array);
    *array = p;
    *cap = (uint32_t)more;
    return ST_OK;
}

enum st merge_reserve(struct merge *m, size_t n, struct err *e)
{
    void *p = m->symbols;
    enum st st = grow(&p, m->n, &m->cap, n + m->n, sizeof *m->symbols, e);
    m->symbols = p;
    return st;
}

static void heap_push(struct merge *m, struct merge_pair pair)
{
    uint32_t i = m->n_heap++;
    for (; i; i = (i - 1) / 2) {
        uint32_t up = (i - 1) / 2;
        if (m->heap[up].order <= pair.order)
            break;
        m->heap[i] = m->heap[up];
    }
    m->heap[i] = pair;
}

static struct merge_pair heap_pop(struct merge *m)
{
    struct merge_pair top = m->heap[0], last = m->heap[--m->n_heap];
    uint32_t i = 0, n = m->n_heap;
    for (;;) {
        uint32_t down = 2 * i + 1;
        if (down >= n)
            break;
        if (down + 1 < n && m->heap[down + 1].order < m->heap[down].order)
            down++;
        if (last.order <= m->heap[down].order)
            break;
        m->heap[i] = m->heap[down];
        i = down;
    }
    m->heap[i] = last;
    return top;
}

static void consider(struct merge *m, merge_rule *rule, const void *context, int32_t left)
{
    if (left < 0 || m->symbols[left].after < 0)
        return;
    const struct symbol *a = m->symbols + left, *b = m->symbols + a->after;
    uint32_t key;
    int32_t id;
    if (rule(context, a, b, &key, &id))
        heap_push(m, (struct merge_pair){ (uint64_t)key << 32 | (uint32_t)left, a->n + b->n, id });
}

enum st merge_run(struct merge *m, merge_rule *rule, const void *context, struct err *e)
{
    if (!m->n)
        return ST_OK;
    m->symbols[m->n - 1].after = -1;
    /* n - 1 pairs to begin with; each of at most n - 1 merges takes one out and puts two in. */
    void *p = m->heap;
    enum st st = grow(&p, 0, &m->cap_heap, 2 * (size_t)m->n, sizeof *m->heap, e);
    m->heap = p;
    if (st)
        return st;
    m->n_heap = 0;
    for (uint32_t i = 0; i < m->n; i++)
        consider(m, rule, context, (int32_t)i);
    while (m->n_heap) {
        struct merge_pair pair = heap_pop(m);
        int32_t left = (int32_t)(pair.order & UINT32_MAX);
        struct symbol *a = m->symbols + left;
        /* Symbols only grow: the same bytes together means that neither has changed. */
        if (!a->n || a->after < 0 || a->n + m->symbols[a->after].n != pair.n)
            continue;
        struct symbol *b = m->symbols + a->after;
        a->n = pair.n;
        a->id = pair.id;
        a->after = b->after;
        b->n = 0;
        if (a->after >= 0)
            m->symbols[a->after].before = left;
        consider(m, rule, context, a->before);
        consider(m, rule, context, left);
    }
    return ST_OK;
}

void merge_free(struct merge *m)
{
    mem_free(m->symbols);
    mem_free(m->heap);
    *m = (struct merge){ 0 };
}
