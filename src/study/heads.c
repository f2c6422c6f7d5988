/* SPDX-License-Identifier: MIT */
#include "study/heads.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "study/attention.h"
#include "study/norms.h"
#include "study/outliers.h"

enum { TILE = 64 /* rows of the projection decoded at a time */, OUTLIER = 6 /* times the rms */ };

void head_works_free(struct head_works *w)
{
    free(w->heads);
    free(w->feeds);
    *w = (struct head_works){ 0 };
}

/* Where the heads of a block write: z = mix of values -> projection -> addition. */
struct path {
    int z, before, sum; /* values of the graph */
    const struct weight *w;
};

static bool find_path(const struct run *r, int block, struct path *out)
{
    const struct graph *g = run_graph(r);
    struct addition *list;
    size_t n;
    bool found = false;
    stream_additions(g, &list, &n);
    for (int i = 0; i < g->n_nodes && !found; i++) {
        const struct node *node = &g->nodes[i];
        const int z = node->op == OP_LINEAR ? node->in[0] : -1;
        if (node->block != block || z < 0 || g->nodes[g->values[z].node].op != OP_MIX)
            continue;
        for (size_t k = 0; k < n && !found; k++)
            if (list[k].update == node->out) {
                *out = (struct path){ z, list[k].before, list[k].sum, run_weight(r, node->w[0]) };
                found = true;
            }
    }
    free(list);
    return found;
}

/* The rows of a value over all spans that have it; the caller frees *out with mem_free. */
static enum st gather(struct run *r, int value, float **out, int64_t *tokens, struct err *e)
{
    const int64_t width = shape_per_token(&run_graph(r)->values[value].shape);
    int64_t n = 0;
    void *p;
    for (int s = 0; s < run_n_spans(r) && run_has(r, s, value); s++)
        n += run_span(r, s).n;
    enum st st = mem_alloc(&p, (size_t)(n * width) * sizeof(float), "a point", e);
    if (st)
        return st;
    for (int s = 0; s < run_n_spans(r) && run_has(r, s, value) && !st; s++) {
        struct tensor x;
        const struct span at = run_span(r, s);
        if (!(st = run_read(r, s, value, &x, e)))
            memcpy((float *)p + at.first * width, x.data, (size_t)(at.n * width) * sizeof(float));
    }
    if (st) {
        mem_free(p);
        return st;
    }
    *out = p;
    *tokens = n;
    return ST_OK;
}

/* ---- how long what a head adds is ---- */

/* l2(W z) of a head's columns of W is sqrt(z' G z) with G = W' W: tokens cost size^2 then, not
 * width * size. */
struct gram {
    const float *rows; /* [n_rows][heads * size], a tile of W */
    int64_t n_rows, heads, size;
    double *g;               /* [heads][size][size] */
    const float *z, *before; /* [tokens][heads * size], [tokens][width] */
    int64_t tokens, width;
    const bool *queries;
    double *update; /* [heads] */
};

static void add_tile(void *data, int64_t head, int worker)
{
    const struct gram *m = data;
    (void)worker;
    for (int64_t r = 0; r < m->n_rows; r++) {
        const float *w = m->rows + (r * m->heads + head) * m->size;
        for (int64_t i = 0; i < m->size; i++) {
            double *g = m->g + (head * m->size + i) * m->size;
            const double x = (double)w[i];
            for (int64_t k = 0; k < m->size; k++)
                g[k] += x * (double)w[k];
        }
    }
}

static double length(const float *x, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += (double)x[i] * (double)x[i];
    return sqrt(sum);
}

static void measure(void *data, int64_t head, int worker)
{
    const struct gram *m = data;
    const double *g = m->g + head * m->size * m->size;
    double sum = 0;
    int64_t n = 0;
    (void)worker;
    for (int64_t t = 1; t < m->tokens; t++) {
        const float *z = m->z + (t * m->heads + head) * m->size;
        double square = 0;
        if (m->queries && !m->queries[t])
            continue;
        for (int64_t i = 0; i < m->size; i++) {
            double y = 0;
            for (int64_t k = 0; k < m->size; k++)
                y += g[i * m->size + k] * (double)z[k];
            square += y * (double)z[i];
        }
        sum += sqrt(fmax(square, 0)) / length(m->before + t * m->width, m->width);
        n++;
    }
    m->update[head] = n ? sum / (double)n : (double)NAN;
}

static enum st updates(const struct weight *w, struct gram *m, struct pool *pool, struct err *e)
{
    const size_t cols = (size_t)(m->heads * m->size);
    void *g = NULL, *rows = NULL;
    enum st st = mem_alloc(&g, cols * (size_t)m->size * sizeof(double), "the heads' products", e);
    if (!st)
        st = mem_alloc(&rows, TILE * cols * sizeof(float), "rows of a weight", e);
    if (!st)
        memset(g, 0, cols * (size_t)m->size * sizeof(double));
    m->g = g;
    m->rows = rows;
    for (uint64_t r = 0; r < w->rows && !st; r += TILE) {
        m->n_rows = (int64_t)(w->rows - r < TILE ? w->rows - r : TILE);
        if (!(st = weight_decode(w, r, (uint64_t)m->n_rows, rows, e)))
            pool_for(pool, m->heads, add_tile, m, NULL);
    }
    if (!st)
        pool_for(pool, m->heads, measure, m, NULL);
    mem_free(g);
    mem_free(rows);
    return st;
}

/* ---- outlier channels ---- */

static enum st feeds(const struct path *p, int block, const struct gram *m, const float *sum,
                     struct head_works *out, struct err *e)
{
    const int64_t cols = m->heads * m->size;
    struct outlier_scan scan;
    enum st st = ST_OK;
    float *row = x_alloc((size_t)cols * sizeof *row);
    outlier_scan_of(sum, m->tokens, m->width, OUTLIER, &scan);
    for (int64_t c = 0; c < scan.cols && !st; c++) {
        const struct outlier_channel *o = &scan.channels[c];
        if (o->kind == OUTLIER_NONE || (st = weight_decode(p->w, (uint64_t)c, 1, row, e)))
            continue;
        for (int64_t h = 0; h < m->heads; h++) {
            const float *z = m->z + (o->tok * m->heads + h) * m->size;
            double adds = 0;
            for (int64_t i = 0; i < m->size; i++)
                adds += (double)row[h * m->size + i] * (double)z[i];
            if (!(fabs(adds) >= FEED_SHARE * fabs((double)o->value)))
                continue;
            x_grow(&out->feeds, &out->cap_feeds, out->n_feeds + 1, sizeof *out->feeds);
            out->feeds[out->n_feeds++] = (struct head_feed){ block,  (int)h, c,
                                                             o->tok, adds,   (double)o->value };
        }
    }
    outlier_scan_free(&scan);
    free(row);
    return st;
}

/* ---- blocks ---- */

/* What the heads of a block add, into works [heads]; left as it is where there is no such path. */
static enum st measure_block(struct run *r, int block, int64_t heads, const bool *queries,
                             struct pool *pool, struct head_work *works, struct head_works *out,
                             struct err *e)
{
    const struct graph *g = run_graph(r);
    struct path p = { 0 };
    if (!find_path(r, block, &p) || !run_has(r, 0, p.sum))
        return ST_OK;
    const int64_t cols = shape_per_token(&g->values[p.z].shape);
    const int64_t width = shape_per_token(&g->values[p.before].shape);
    if (cols % heads || (int64_t)p.w->cols != cols || (int64_t)p.w->rows != width)
        return ST_OK;
    float *z = NULL, *before = NULL, *sum = NULL;
    struct gram m = { .heads = heads, .size = cols / heads, .width = width, .queries = queries };
    m.update = x_alloc((size_t)heads * sizeof *m.update);
    enum st st = gather(r, p.z, &z, &m.tokens, e);
    if (!st)
        st = gather(r, p.before, &before, &m.tokens, e);
    if (!st)
        st = gather(r, p.sum, &sum, &m.tokens, e); /* the latest: as many tokens as all have */
    m.z = z;
    m.before = before;
    if (!st)
        st = updates(p.w, &m, pool, e);
    for (int64_t h = 0; h < heads && !st; h++)
        works[h].update = m.update[h];
    if (!st)
        st = feeds(&p, block, &m, sum, out, e);
    mem_free(z);
    mem_free(before);
    mem_free(sum);
    free(m.update);
    return st;
}

static enum st one_block(struct run *r, int block, const bool *queries, struct pool *pool,
                         struct head_works *out, struct err *e)
{
    struct head_figures *list = NULL;
    size_t n = 0;
    const struct attention_options o = { .queries = queries };
    enum st st = attention_heads_with(r, block, &o, &list, &n, e);
    if (!st) {
        x_grow(&out->heads, &out->cap, out->n + n, sizeof *out->heads);
        struct head_work *works = out->heads + out->n;
        for (size_t i = 0; i < n; i++)
            works[i] = (struct head_work){ .block = list[i].block,
                                           .head = list[i].head,
                                           .sink = list[i].sink,
                                           .value = list[i].value,
                                           .update = NAN };
        st = n ? measure_block(r, block, (int64_t)n, queries, pool, works, out, e) : ST_OK;
        for (size_t i = 0; i < n; i++)
            works[i].noop = works[i].sink > NOOP_SINK && works[i].value < NOOP_VALUE
                            && works[i].update < NOOP_UPDATE;
        out->n += st ? 0 : n;
    }
    free(list);
    return st;
}

enum st head_works_of(struct run *r, int block, const bool *queries, struct pool *pool,
                      struct progress *p, struct head_works *out, struct err *e)
{
    const struct graph *g = run_graph(r);
    struct head_works w = { 0 };
    struct err why = ERR_INIT;
    enum st st = ST_OK;
    const int first = block < 0 ? 0 : block, end = block < 0 ? g->n_blocks : block + 1;
    for (int b = first; b < end && !st; b++) {
        if (!progress_tick(p, "heads", b - first, end - first))
            st = st_fail(e, ST_CANCELLED, "interrupted");
        else
            st = one_block(r, b, queries, pool, &w, &why);
        if (why.st == ST_STATE && w.n) { /* the blocks from here on are still to come */
            st = ST_OK;
            break;
        }
        if (why.st == ST_UNSUPPORTED && block < 0) /* a block without attention among others */
            st = ST_OK;
    }
    if (!st && !w.n)
        st = why.st;
    if (st && st != ST_CANCELLED && e)
        *e = why;
    if (st && st != ST_CANCELLED)
        head_works_free(&w);
    else
        *out = w;
    return st;
}
