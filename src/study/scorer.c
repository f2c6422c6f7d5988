/* SPDX-License-Identifier: MIT */
#include "study/scorer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "kernels/logits.h"

/* Rows of logits that are made together share the decoding of the output matrix: as many as fit
 * these bytes, but no fewer than LEAST_ROWS. */
enum { LOGITS_BYTES = 64 << 20, LEAST_ROWS = 64 };

/* What the reference says about the scored tokens of a segment. */
struct kept {
    float *hidden; /* [scored][width]: what its output head reads; NULL = not kept */
    float *logits; /* [scored][vocab]: what that makes of it; NULL = not kept */
};

struct scorer {
    const struct evaluation_set *set;
    int64_t scored, vocab, width; /* tokens of a segment; of the reference */
    int group;                    /* segments whose logits are made together */
    int64_t rows;                 /* of logits at a time: of a group, or some of one segment */
    size_t memory, used;          /* bytes for what is kept */
    struct kept *kept;            /* [segments of the set] */
    float *logits[2];             /* [rows][vocab] */
    struct logits_pair *pairs;    /* [rows] */
    const float **ref;            /* [rows]: of the reference, where they lie */
};

/* How many rows of logits at a time, and of how many segments. */
static void share_rows(struct scorer *sc, int64_t rows)
{
    const int64_t fit = LOGITS_BYTES / (int64_t)sizeof(float) / sc->vocab;
    sc->rows = rows ? rows : fit > LEAST_ROWS ? fit : LEAST_ROWS;
    const int64_t segments = sc->rows / sc->scored;
    sc->group = (int)(segments < 1 ? 1 : segments < SCORER_BATCH ? segments : SCORER_BATCH);
    if (segments)
        sc->rows = sc->group * sc->scored;
}

enum st scorer_new(const struct evaluation_set *set, const struct model *ref, int64_t rows,
                   size_t memory, struct scorer **out, struct err *e)
{
    const struct graph *g = ref->graph;
    struct scorer x = { .set = set,
                        .scored = evaluation_scored(set),
                        .vocab = g->vocab,
                        .width = shape_per_token(&g->values[g->hidden].shape),
                        .memory = memory };
    void *logits;
    share_rows(&x, rows);
    enum st st = mem_alloc(&logits, (size_t)(2 * x.rows * x.vocab) * sizeof(float),
                           "the logits of two models", e);
    if (st)
        return st;
    x.logits[0] = logits;
    x.logits[1] = x.logits[0] + x.rows * x.vocab;
    x.kept = x_alloc((size_t)set->segments * sizeof *x.kept + 1);
    x.pairs = x_alloc((size_t)x.rows * sizeof *x.pairs);
    x.ref = x_alloc((size_t)x.rows * sizeof *x.ref);
    *out = x_alloc(sizeof x);
    **out = x;
    return ST_OK;
}

void scorer_free(struct scorer *sc)
{
    for (int64_t i = 0; sc && i < sc->set->segments; i++)
        mem_free(sc->kept[i].hidden), mem_free(sc->kept[i].logits);
    if (sc) {
        mem_free(sc->logits[0]);
        free(sc->kept);
        free(sc->pairs);
        free(sc->ref);
    }
    free(sc);
}

bool scorer_knows(const struct scorer *sc, int64_t segment)
{
    return sc->kept[segment].hidden != NULL;
}

/* ---- what is kept ---- */

static size_t segment_bytes(const struct scorer *sc, int64_t width)
{
    return (size_t)(sc->scored * width) * sizeof(float);
}

/* A copy of rows of a segment, if they fit in `limit` bytes with all that is kept; else NULL. */
static float *keep(struct scorer *sc, const float *rows, int64_t width, size_t limit)
{
    const size_t bytes = segment_bytes(sc, width);
    void *p;
    if (limit < bytes || sc->used > limit - bytes
        || mem_alloc(&p, bytes, "what the reference says", NULL))
        return NULL;
    memcpy(p, rows, bytes);
    sc->used += bytes;
    return p;
}

void scorer_keep(struct scorer *sc, const struct scorer_batch *b)
{
    for (int i = 0; i < b->n; i++) {
        struct kept *k = &sc->kept[b->segment[i]];
        if (!k->hidden)
            k->hidden = keep(sc, b->ref[i] + sc->set->first * sc->width, sc->width, sc->memory);
    }
}

/* ---- logits ---- */

/* Some scored tokens of segments `first` and on of a batch: the k-th and on. */
struct piece {
    const struct scorer_batch *b;
    int first;
    int64_t k, n;
};

static int piece_segment(const struct scorer *sc, const struct piece *p, int64_t j)
{
    return p->first + (int)((p->k + j) / sc->scored);
}

/* What the head reads for a token of the piece: of the reference, or of the model. */
static const float *hidden_row(const struct scorer *sc, const struct piece *p, bool ref,
                               int64_t j, int64_t width)
{
    const int i = piece_segment(sc, p, j);
    const int64_t at = (p->k + j) % sc->scored;
    if (ref && !p->b->ref[i])
        return sc->kept[p->b->segment[i]].hidden + at * width;
    return (ref ? p->b->ref : p->b->x)[i] + (sc->set->first + at) * width;
}

static enum st head(const struct scorer *sc, struct run *r, const struct piece *p, bool ref,
                    struct err *e)
{
    const struct graph *g = run_graph(r);
    const int64_t width = shape_per_token(&g->values[g->hidden].shape);
    float *x = x_scratch((size_t)(p->n * width) * sizeof *x);
    for (int64_t j = 0; j < p->n; j++)
        memcpy(x + j * width, hidden_row(sc, p, ref, j, width), (size_t)width * sizeof *x);
    enum st st = run_head(r, x, p->n, sc->logits[ref ? 0 : 1], e);
    free(x);
    return st;
}

static enum st reference_logits(struct scorer *sc, struct run *r, const struct piece *p,
                                struct err *e)
{
    bool known = true;
    for (int64_t j = 0; j < p->n; j++) {
        const struct kept *k = &sc->kept[p->b->segment[piece_segment(sc, p, j)]];
        known &= k->logits != NULL;
        sc->ref[j] = known ? k->logits + (p->k + j) % sc->scored * sc->vocab : NULL;
    }
    if (known)
        return ST_OK;
    enum st st = head(sc, r, p, true, e);
    for (int64_t j = 0; j < p->n && !st; j++)
        sc->ref[j] = sc->logits[0] + j * sc->vocab;
    return st;
}

/* Of the segments that the piece holds whole, as long as there is room left for the hidden states
 * of all segments. */
static void keep_logits(struct scorer *sc, const struct piece *p)
{
    const size_t hidden = segment_bytes(sc, sc->width) * (size_t)sc->set->segments;
    for (int64_t j = 0; j + sc->scored <= p->n && !(p->k % sc->scored); j += sc->scored) {
        struct kept *k = &sc->kept[p->b->segment[piece_segment(sc, p, j)]];
        if (!k->logits && sc->memory > hidden)
            k->logits = keep(sc, sc->ref[j], sc->vocab, sc->memory - hidden);
    }
}

/* ---- scores ---- */

static int32_t next_token(const struct scorer *sc, int64_t segment, int64_t at)
{
    const struct evaluation_set *set = sc->set;
    return at + 1 < set->tokens ? set->ids[segment * set->tokens + at + 1] : -1;
}

struct job {
    struct scorer *sc;
    const struct piece *p;
};

static struct scored_token token_of(const struct scorer *sc, const struct piece *p, int64_t j)
{
    const int64_t segment = p->b->segment[piece_segment(sc, p, j)];
    const int64_t at = sc->set->first + (p->k + j) % sc->scored;
    return (struct scored_token){ .segment = segment,
                                  .at = at,
                                  .next = next_token(sc, segment, at),
                                  .vocab = sc->vocab,
                                  .logits = { sc->ref[j], sc->logits[1] + j * sc->vocab },
                                  .pair = &sc->pairs[j] };
}

static void one_pair(void *data, int64_t j, int worker)
{
    (void)worker;
    const struct job *x = data;
    const struct scored_token t = token_of(x->sc, x->p, j);
    logits_pair_of(t.logits[0], t.logits[1], t.vocab, t.next, &x->sc->pairs[j]);
}

static void add(struct measurement *m, const struct scored_token *t, struct segment_sums *s)
{
    const struct logits_pair *pair = t->pair;
    for (int i = 0; i < 2; i++)
        broken_count(&m->broken, i, pair->log_sum[i], t->segment, t->at);
    s->kl += pair->kl;
    const bool ranked = isfinite(pair->log_sum[0]) && isfinite(pair->log_sum[1]);
    s->top1 += ranked ? pair->top[0] == pair->top[1] : NAN; /* rows that are no numbers agree not */
    if (t->next >= 0) {
        s->log_ratio += pair->log_prob[0] - pair->log_prob[1];
        s->ref_nll -= pair->log_prob[0];
        s->nll -= pair->log_prob[1];
    }
    if (m->metric && m->metric->kind == METRIC_LOGITDIFF)
        s->logit_diff += (double)t->logits[0][m->metric->a] - (double)t->logits[0][m->metric->b]
                         - (double)t->logits[1][m->metric->a]
                         + (double)t->logits[1][m->metric->b];
    if (m->token)
        m->token(m->data, t);
}

static void add_piece(struct scorer *sc, const struct piece *p, int from, struct measurement *m)
{
    for (int64_t j = 0; j < p->n && m->segments < m->segments_of; j++) {
        const int64_t at = (p->k + j) % sc->scored;
        if (piece_segment(sc, p, j) < from)
            continue;
        struct segment_sums *s = &m->sums[m->segments];
        const struct scored_token t = token_of(sc, p, j);
        if (!at)
            *s = (struct segment_sums){ 0 };
        m->kl[m->segments * sc->scored + at] = t.pair->kl;
        add(m, &t, s);
        m->segments += at + 1 == sc->scored;
    }
}

enum st scorer_score(struct scorer *sc, struct run *const runs[2], const struct scorer_batch *b,
                     int from, struct pool *pool, struct measurement *m, struct progress *p,
                     struct err *e)
{
    enum st st = ST_OK;
    for (int g = from - from % sc->group; g < b->n && m->segments < m->segments_of;
         g += sc->group) {
        const int64_t n = (b->n - g < sc->group ? b->n - g : sc->group) * sc->scored;
        for (int64_t k = 0; k < n; k += sc->rows) {
            const struct piece one = { b, g, k, n - k < sc->rows ? n - k : sc->rows };
            if (progress_cancelled(p))
                return st_fail(e, ST_CANCELLED, "interrupted");
            if ((st = reference_logits(sc, runs[0], &one, e))
                || (st = head(sc, runs[1], &one, false, e)))
                return st;
            pool_for(pool, one.n, one_pair, &(struct job){ sc, &one }, NULL);
            add_piece(sc, &one, from, m);
            keep_logits(sc, &one);
        }
    }
    return st;
}
