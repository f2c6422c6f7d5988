/* SPDX-License-Identifier: MIT */
#include "study/qerr.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "kernels/statistics.h"
#include "kernels/view.h"

enum {
    CHUNK = 1 << 16, /* elements of a chunk: as many whole rows, at least one */
    PIECE = 1 << 13, /* elements decoded at a time, a multiple of every block */
    SLOTS = 16,      /* chunks between two looks at the progress */
};

/* What a chunk leaves behind; added up in the order of the chunks. */
struct part {
    struct qerr_sums sums;
    double maxerr;
    int64_t maxerr_at;
    struct step_error steps;
    bool uneven; /* levels are not evenly spaced */
    int64_t *count; /* [CODE_SPAN] */
    struct qerr_sums *cols;
    struct qerr_block *worst; /* [o->worst] */
    size_t n_worst;
};

struct worker {
    float ref[PIECE], x[PIECE];
    struct block_view view;
    struct qerr_block *blocks; /* of a chunk */
};

struct job {
    const struct weight *ref, *w;
    const struct format_info *f;
    const struct qerr_options *o;
    int64_t rows, cols, per_chunk, first; /* rows of a chunk; chunk that slot 0 stands for */
    struct qerr_sums *by_row;
    struct part *parts; /* [SLOTS] */
    struct worker *workers;
};

double qerr_relerr(const struct qerr_sums *s)
{
    return s->error == 0 ? (s->n ? 0 : (double)NAN) : sqrt(s->error / s->ref);
}

double qerr_sqnr(const struct qerr_sums *s)
{
    return s->error == 0 ? (s->n ? (double)INFINITY : (double)NAN)
                         : 10 * log10(s->ref / s->error);
}

static void add_sums(struct qerr_sums *to, const struct qerr_sums *s)
{
    to->n += s->n;
    to->nonfinite += s->nonfinite;
    to->ref += s->ref;
    to->error += s->error;
}

static void add_element(struct qerr_sums *s, float ref, float x)
{
    const double r = (double)ref, d = (double)x - r;
    if (!isfinite(d)) {
        s->nonfinite++;
        return;
    }
    s->n++;
    s->ref += r * r;
    s->error += d * d;
}

/* ---- blocks ---- */

/* Put a block into the list of the worst; of equals the one that came first stays. */
static void keep(struct part *p, int most, const struct qerr_block *b)
{
    size_t at = p->n_worst;
    while (at > 0 && b->relerr > p->worst[at - 1].relerr)
        at--;
    if (at >= (size_t)most)
        return;
    if (p->n_worst < (size_t)most)
        p->n_worst++;
    memmove(&p->worst[at + 1], &p->worst[at], (p->n_worst - 1 - at) * sizeof *p->worst);
    p->worst[at] = *b;
}

/* Is level = code + constant over the whole block? */
static bool even_levels(const struct block_view *v)
{
    const float zero = v->level[0] - (float)v->code[0];
    for (int i = 1; i < v->n; i++)
        if (v->level[i] - (float)v->code[i] != zero)
            return false;
    return true;
}

/* The quantization block at an element: its codes, its error in steps, its sums. */
static void look_at_block(const struct job *j, struct part *p, struct block_view *v, int64_t at,
                          const float *ref, const float *x, struct qerr_block *b)
{
    struct step_error steps = { 0 };
    view_numbers(j->f, j->w->data + at / j->f->block * j->f->bytes, v);
    if (j->w->scale)
        view_times(v, weight_scale(j->w, (uint64_t)(at / j->cols)));
    for (int i = 0; i < v->n; i++)
        p->count[v->code[i] - CODE_MIN]++;
    p->uneven = p->uneven || !even_levels(v);
    step_error_add(ref, x, v->n, v->scale, v->sub_size, &steps);
    p->steps.n += steps.n;
    p->steps.clipped += steps.clipped;
    p->steps.squares += steps.squares;
    b->steps = step_error_rms(&steps);
    for (int i = 0; i < v->n; i++) {
        const double d = fabs((double)x[i] - (double)ref[i]);
        add_element(&b->sums, ref[i], x[i]);
        b->maxerr = d > b->maxerr ? d : b->maxerr;
    }
    b->relerr = b->sums.nonfinite ? (double)INFINITY : qerr_relerr(&b->sums);
}

static void rank_blocks(struct part *p, int most, const struct qerr_block *blocks, int64_t n)
{
    const double mean = p->sums.error / (double)n;
    for (int64_t i = 0; i < n; i++)
        if (blocks[i].sums.nonfinite
            || (blocks[i].sums.error > 0 && blocks[i].sums.error >= mean))
            keep(p, most, &blocks[i]);
}

/* ---- chunks ---- */

/* Elements [at, at + n) of the weight, decoded. */
static void add_piece(const struct job *j, struct part *p, int64_t at, int64_t n, const float *ref,
                      const float *x)
{
    struct pair_error e;
    pair_error_of(ref, x, n, &e);
    if (e.maxerr_at >= 0 && e.maxerr > p->maxerr) {
        p->maxerr = e.maxerr;
        p->maxerr_at = at + e.maxerr_at;
    }
    for (int64_t i = 0; i < n;) { /* along each row */
        const int64_t row = (at + i) / j->cols, col = (at + i) % j->cols;
        const int64_t m = j->cols - col < n - i ? j->cols - col : n - i;
        struct qerr_sums s = { 0 };
        for (int64_t k = 0; k < m; k++)
            add_element(&s, ref[i + k], x[i + k]);
        for (int64_t k = 0; p->cols && k < m; k++)
            add_element(&p->cols[col + k], ref[i + k], x[i + k]);
        if (j->by_row)
            add_sums(&j->by_row[row], &s);
        add_sums(&p->sums, &s);
        i += m;
    }
}

static void chunk(void *data, int64_t slot, int worker)
{
    const struct job *j = data;
    struct part *p = &j->parts[slot];
    struct worker *w = &j->workers[worker];
    const int64_t first = (j->first + slot) * j->per_chunk;
    const int64_t end = first + j->per_chunk < j->rows ? first + j->per_chunk : j->rows;
    const int block = j->f->block;
    int64_t blocks = 0;
    for (int64_t at = first * j->cols; at < end * j->cols; at += PIECE) {
        const int64_t n = end * j->cols - at < PIECE ? end * j->cols - at : PIECE;
        weight_decode_flat(j->ref, (uint64_t)at, (uint64_t)n, w->ref);
        weight_decode_flat(j->w, (uint64_t)at, (uint64_t)n, w->x);
        add_piece(j, p, at, n, w->ref, w->x);
        for (int64_t i = 0; j->f->view && i < n; i += block) {
            struct qerr_block *b = &w->blocks[blocks++];
            *b = (struct qerr_block){ .row = (at + i) / j->cols,
                                      .blkq = (at + i) % j->cols / block };
            look_at_block(j, p, &w->view, at + i, w->ref + i, w->x + i, b);
        }
    }
    rank_blocks(p, j->o->worst, w->blocks, blocks);
}

/* ---- a weight ---- */

static enum st allocate(struct job *j, struct err *e)
{
    const int workers = pool_threads(j->o->pool);
    const int64_t blocks = j->f->view ? j->per_chunk * j->cols / j->f->block : 0;
    const size_t cols = (size_t)j->cols * sizeof(struct qerr_sums);
    const size_t rows = (size_t)j->rows * sizeof(struct qerr_sums);
    void *p;
    enum st st = ST_OK;
    if (j->o->rows) {
        if ((st = mem_alloc(&p, rows, "rows of a weight", e)))
            return st;
        j->by_row = memset(p, 0, rows);
    }
    j->parts = x_alloc(SLOTS * sizeof *j->parts);
    j->workers = x_alloc((size_t)workers * sizeof *j->workers);
    for (int i = 0; i < workers && !st; i++) {
        st = mem_alloc(&p, (size_t)blocks * sizeof(struct qerr_block), "blocks of a weight", e);
        if (!st)
            j->workers[i].blocks = p;
    }
    for (int i = 0; i < SLOTS && !st; i++) {
        struct part *part = &j->parts[i];
        part->count = x_alloc(CODE_SPAN * sizeof *part->count);
        part->worst = x_alloc((size_t)j->o->worst * sizeof *part->worst + 1);
        if (j->o->cols && !(st = mem_alloc(&p, cols, "channels of a weight", e)))
            part->cols = memset(p, 0, cols);
    }
    return st;
}

static void job_free(struct job *j)
{
    for (int i = 0; j->workers && i < pool_threads(j->o->pool); i++)
        mem_free(j->workers[i].blocks);
    for (int i = 0; j->parts && i < SLOTS; i++) {
        free(j->parts[i].count);
        free(j->parts[i].worst);
        mem_free(j->parts[i].cols);
    }
    free(j->parts);
    free(j->workers);
}

/* Empty a part into the total, but for its channels, which are added up at the end. */
static void collect(struct job *j, struct part *p, struct part *total)
{
    add_sums(&total->sums, &p->sums);
    if (p->maxerr > total->maxerr) {
        total->maxerr = p->maxerr;
        total->maxerr_at = p->maxerr_at;
    }
    total->steps.n += p->steps.n;
    total->steps.clipped += p->steps.clipped;
    total->steps.squares += p->steps.squares;
    total->uneven |= p->uneven;
    for (int i = 0; i < CODE_SPAN; i++)
        total->count[i] += p->count[i];
    for (size_t i = 0; i < p->n_worst; i++)
        keep(total, j->o->worst, &p->worst[i]);
    memset(p->count, 0, CODE_SPAN * sizeof *p->count);
    *p = (struct part){ .count = p->count, .cols = p->cols, .worst = p->worst };
}

static enum st walk(struct job *j, struct part *total, struct err *e)
{
    struct progress *p = j->o->progress;
    const int64_t chunks = pool_chunks(j->rows, j->per_chunk);
    for (j->first = 0; j->first < chunks; j->first += SLOTS) {
        const int64_t n = chunks - j->first < SLOTS ? chunks - j->first : SLOTS;
        const double done = (double)(j->first * j->per_chunk) * (double)j->cols;
        if (!progress_tick(p, "qerr", j->o->done + done, j->o->total)
            || !pool_for(j->o->pool, n, chunk, j, p ? p->cancel : NULL))
            return st_fail(e, ST_CANCELLED, "interrupted");
        for (int64_t i = 0; i < n; i++)
            collect(j, &j->parts[i], total);
    }
    return ST_OK;
}

static void finish(struct job *j, struct part *t, struct qerr *out)
{
    struct qerr q = { .all = t->sums,
                      .relerr = qerr_relerr(&t->sums),
                      .sqnr = qerr_sqnr(&t->sums),
                      .rmse = t->sums.n ? sqrt(t->sums.error / (double)t->sums.n) : (double)NAN,
                      .maxerr = t->sums.n ? t->maxerr : (double)NAN,
                      .maxerr_at = t->maxerr > 0 ? t->maxerr_at : -1,
                      .steps = NAN,
                      .clipped = NAN,
                      .code_entropy = code_entropy(t->count, CODE_SPAN),
                      .used = NAN,
                      .rows = j->by_row,
                      .worst = t->worst,
                      .n_worst = t->n_worst };
    if (!t->uneven && t->steps.n) {
        q.steps = step_error_rms(&t->steps);
        q.clipped = (double)t->steps.clipped / (double)t->steps.n;
    }
    for (size_t i = 0; t->uneven && i < q.n_worst; i++)
        q.worst[i].steps = NAN;
    if (j->f->codes) {
        int used = 0;
        for (int i = 0; i < CODE_SPAN; i++)
            used += t->count[i] > 0;
        q.used = (double)used / j->f->codes;
    }
    if (j->o->cols) { /* of slot 0 they become those of all */
        for (int i = 1; i < SLOTS; i++)
            for (int64_t c = 0; c < j->cols; c++)
                add_sums(&j->parts[0].cols[c], &j->parts[i].cols[c]);
        q.cols = j->parts[0].cols;
        j->parts[0].cols = NULL;
    }
    *out = q;
}

static enum st check(const struct weight *ref, const struct weight *w, struct err *e)
{
    enum st st = weight_check(w, e);
    if (!st)
        st = weight_check(ref, e);
    if (!st && memcmp(ref->ne, w->ne, sizeof w->ne)) /* [4] and [4, 1] are the same */
        st = st_fail(e, ST_UNSUPPORTED, "the shapes differ");
    return st;
}

enum st qerr_of(const struct weight *ref, const struct weight *w, const struct qerr_options *o,
                struct qerr *out, struct err *e)
{
    enum st st = check(ref, w, e);
    if (st)
        return st;
    struct job j = { .ref = ref, .w = w, .f = format_info(w->format), .o = o };
    j.rows = (int64_t)w->rows;
    j.cols = (int64_t)w->cols;
    j.per_chunk = j.cols < CHUNK ? CHUNK / j.cols : 1;
    j.per_chunk = j.per_chunk < j.rows ? j.per_chunk : j.rows;
    struct part total = { .count = x_alloc(CODE_SPAN * sizeof *total.count),
                          .worst = x_alloc((size_t)o->worst * sizeof *total.worst + 1) };
    st = allocate(&j, e);
    if (!st)
        st = walk(&j, &total, e);
    if (!st)
        finish(&j, &total, out);
    job_free(&j);
    free(total.count);
    if (st) {
        free(total.worst);
        mem_free(j.by_row);
    }
    return st;
}

void qerr_free(struct qerr *q)
{
    mem_free(q->rows);
    mem_free(q->cols);
    free(q->worst);
    *q = (struct qerr){ 0 };
}
