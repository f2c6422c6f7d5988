/* SPDX-License-Identifier: MIT */
#include "study/perplexity.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/memory.h"
#include "kernels/statistics.h"
#include "study/anytime.h"

enum { TILE = 16 /* rows of logits at a time */ };

struct sums {
    double nll, square;
    int64_t n;
    int64_t chunk, first; /* that is scored; token of it that a span begins with */
    struct broken_logits broken;
    struct logits_writer *save; /* NULL: none */
};

/* Score positions [from, to) of a chunk whose hidden states are x. */
static enum st score(struct run *r, const struct tensor *x, const int32_t *ids, int64_t from,
                     int64_t to, float *logits, struct sums *sums, struct err *e)
{
    const struct graph *g = run_graph(r);
    const int64_t width = shape_per_token(&x->shape);
    for (int64_t first = from; first < to; first += TILE) {
        const int64_t n = to - first < TILE ? to - first : TILE;
        enum st st = run_head(r, x->data + first * width, n, logits, e);
        if (st)
            return st;
        for (int64_t t = 0; t < n; t++) {
            const float *row = logits + t * g->vocab;
            const double all = log_sum_exp(row, g->vocab);
            const double nll = all - row[ids[first + t + 1]];
            broken_count(&sums->broken, 1, all, sums->chunk, sums->first + first + t);
            sums->nll += nll;
            sums->square += nll * nll;
            sums->n++;
            if (sums->save)
                logits_put(sums->save, row);
        }
    }
    return ST_OK;
}

/* Run one chunk up to what the output head reads; the logits of unscored tokens are never made. */
static enum st chunk(struct run *r, const int32_t *ids, int32_t *input, int64_t context,
                     int32_t bos, float *logits, struct progress *p, struct sums *sums,
                     struct err *e)
{
    const struct graph *g = run_graph(r);
    memcpy(input, ids, (size_t)context * sizeof *input);
    if (bos >= 0)
        input[0] = bos;
    enum st st = run_input(r, input, NULL, NULL, context, e);
    for (int s = 0; !st && s < run_n_spans(r); s++) {
        const struct span span = run_span(r, s);
        struct tensor x;
        struct position to = { s, g->values[g->hidden].node + 1 };
        st = run_forward(r, to, p, NULL, e);
        if (!st)
            st = run_read(r, s, g->hidden, &x, e);
        int64_t from = context / 2 - span.first, end = context - 1 - span.first;
        from = from < 0 ? 0 : from;
        sums->first = span.first;
        end = end > span.n ? span.n : end;
        if (!st && from < end)
            st = score(r, &x, ids + span.first, from, end, logits, sums, e);
    }
    return st;
}

static void finish(const struct sums *s, struct perplexity *out)
{
    const double n = (double)s->n;
    out->scored = s->n;
    out->broken = s->broken;
    out->nll = s->n ? s->nll / n : NAN;
    out->value = exp(out->nll);
    double var = (s->square / n - out->nll * out->nll) / (n - 1);
    out->error = s->n > 1 ? out->value * sqrt(fmax(0, var)) : NAN;
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* What the front end's progress counts: chunks, and of the one that runs the part that is done. */
struct count {
    struct progress *front;
    const struct perplexity *chunks;
};

static bool show_chunks(const struct count *c, double part)
{
    return progress_tick(c->front, "perplexity", (double)c->chunks->chunks + part,
                         (double)c->chunks->chunks_of);
}

static void show_part(struct progress *p, const char *label, double done, double total)
{
    if (total > 0 && !strcmp(label, "run"))
        show_chunks(p->data, done / total);
}

/* The perplexity of what is done, with the interval of those who look at every chunk. */
static struct clustered_mean anytime_of(const double *nll, const int64_t *scored, int64_t chunks)
{
    struct clustered_mean m = anytime_mean_of(nll, scored, (size_t)chunks);
    m.value = exp(m.value);
    m.low = exp(m.low);
    m.high = exp(m.high);
    return m;
}

struct work {
    struct run *run;
    const struct perplexity_options *how;
    const int32_t *ids;
    int32_t bos, *input; /* [context] */
    float *logits;       /* [TILE][vocab] */
    double *nll;         /* [chunks_of] sums */
    int64_t *scored;     /* [chunks_of] */
    struct sums sums;
};

static enum st all_chunks(struct work *w, struct progress *p, struct perplexity *out, struct err *e)
{
    const struct perplexity_options *how = w->how;
    struct count count = { p, out };
    struct progress inside = { show_part, p ? p->cancel : NULL, &count };
    while (out->chunks < out->chunks_of
           && !(how->enough && how->enough(how->data, &out->anytime))) {
        const int64_t i = out->chunks;
        const int64_t at = how->enough ? anytime_at(i, out->chunks_of) : i;
        const struct sums before = w->sums;
        w->sums.chunk = at;
        if (!show_chunks(&count, 0))
            return st_fail(e, ST_CANCELLED, "interrupted");
        enum st st = chunk(w->run, w->ids + at * how->context, w->input, how->context, w->bos,
                           w->logits, &inside, &w->sums, e);
        if (st) {
            w->sums = before;
            return st;
        }
        w->nll[i] = w->sums.nll - before.nll;
        w->scored[i] = w->sums.n - before.n;
        out->chunks++;
        if (how->enough)
            out->anytime = anytime_of(w->nll, w->scored, out->chunks);
    }
    return ST_OK;
}

static enum st work_begin(const struct model *m, const struct run_options *o,
                          const struct perplexity_options *how, int64_t chunks, struct work *w,
                          struct err *e)
{
    void *logits;
    enum st st = mem_alloc(&logits, (size_t)(TILE * m->graph->vocab) * sizeof(float), "logits", e);
    if (st)
        return st;
    struct run_options options = *o;
    options.checkpoint_bytes = RUN_NO_CHECKPOINTS;
    w->how = how;
    w->bos = m->tokenizer && tokenizer_adds_bos(m->tokenizer) ? tokenizer_bos(m->tokenizer) : -1;
    w->logits = logits;
    w->input = x_alloc((size_t)how->context * sizeof *w->input);
    w->nll = x_alloc((size_t)chunks * sizeof *w->nll);
    w->scored = x_alloc((size_t)chunks * sizeof *w->scored);
    w->run = run_new(m, &options);
    w->sums.save = how->save;
    return ST_OK;
}

static void work_end(struct work *w)
{
    run_free(w->run);
    free(w->input);
    free(w->nll);
    free(w->scored);
    mem_free(w->logits);
}

enum st perplexity_of(const struct model *m, const struct run_options *o, const int32_t *ids,
                      int64_t n, const struct perplexity_options *how, struct progress *p,
                      struct perplexity *out, struct err *e)
{
    const int64_t context = how->context;
    if (!m->graph) {
        if (e)
            *e = m->no_graph;
        return m->no_graph.st;
    }
    if (m->graph->logits < 0)
        return st_fail(e, ST_UNSUPPORTED, "the model has no output head");
    if (context < 4)
        return st_fail(e, ST_RANGE, "a context of %d %s scores nothing; at least 4", (int)context,
                       text_plural((uint64_t)context, "token", "tokens"));
    if (n < context)
        return st_fail(e, ST_RANGE, "the text has %d %s, less than one chunk of %d", (int)n,
                       text_plural((uint64_t)n, "token", "tokens"), (int)context);
    for (int64_t i = 0; i < n; i++)
        if (ids[i] < 0 || ids[i] >= m->graph->vocab)
            return st_fail(e, ST_FORMAT, "token %d of the text is not in the model's vocabulary",
                           ids[i]);
    *out = (struct perplexity){ .tokens = n, .chunks_of = n / context };
    if (how->limit > 0 && how->limit < out->chunks_of)
        out->chunks_of = how->limit;
    struct work w = { .ids = ids };
    enum st st = work_begin(m, o, how, out->chunks_of, &w, e);
    if (st)
        return st;
    const double start = now();
    out->anytime = anytime_of(w.nll, w.scored, 0);
    st = all_chunks(&w, p, out, e);
    finish(&w.sums, out);
    out->seconds = now() - start;
    work_end(&w);
    return st;
}
