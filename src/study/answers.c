/* SPDX-License-Identifier: MIT */
#include "study/answers.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "kernels/statistics.h"

/* Token ids that grow. */
struct ids {
    int32_t *p;
    size_t n, cap;
};

struct asking {
    const struct model *m;
    struct run *run;
    float *logits; /* [vocab] */
    struct ids prompt, whole;
    struct answers *out;
};

static enum st encode(const struct asking *a, const char *prompt, const char *choice,
                      struct ids *out, struct err *e)
{
    struct buf text = { 0 };
    buf_adds(&text, prompt);
    buf_adds(&text, choice);
    out->n = 0;
    enum st st = tokenizer_encode(a->m->tokenizer, str_of(buf_str(&text), text.n), 0, &out->p,
                                  &out->n, &out->cap, e);
    buf_free(&text);
    return st;
}

/* Log-probability of the tokens from `first` on, and whether each has the largest logit. */
static enum st score(struct asking *a, size_t first, int line, double *logp, bool *greedy,
                     struct err *e)
{
    const struct graph *g = a->m->graph;
    const size_t width = (size_t)shape_per_token(&g->values[g->hidden].shape);
    const size_t n = a->whole.n - first + 1; /* the token before the choice, and those of it */
    float *hidden = x_alloc(n * width * sizeof *hidden);
    enum st st = run_input(a->run, a->whole.p, NULL, NULL, (int64_t)a->whole.n, e);
    if (!st)
        st = run_tail(a->run, (int64_t)n, hidden, NULL, e);
    *logp = 0;
    *greedy = true;
    for (size_t t = first; t < a->whole.n && !st; t++) {
        if ((st = run_head(a->run, hidden + (t - first) * width, 1, a->logits, e)))
            break;
        const float of = a->logits[a->whole.p[t]];
        const double log_sum = log_sum_exp(a->logits, g->vocab);
        broken_count(&a->out->broken, 1, log_sum, line, (int64_t)t - 1);
        a->out->scored++;
        *greedy &= isfinite(log_sum);
        *logp += isfinite(log_sum) ? (double)of - log_sum : (double)NAN;
        for (int64_t k = 0; k < g->vocab; k++)
            *greedy &= !(a->logits[k] > of) && (a->logits[k] < of || k >= a->whole.p[t]);
    }
    free(hidden);
    return st;
}

static enum st ask(struct asking *a, const struct question *q, bool *right, struct err *e)
{
    double best = -INFINITY;
    size_t said = q->n; /* nothing */
    bool greedy = false;
    enum st st = encode(a, q->prompt, "", &a->prompt, e);
    for (size_t i = 0; i < q->n && !st; i++) {
        double logp;
        if ((st = encode(a, q->prompt, q->choices[i], &a->whole, e)))
            break;
        size_t first = 0;
        while (first < a->prompt.n && first < a->whole.n && a->prompt.p[first] == a->whole.p[first])
            first++;
        first += !first; /* nothing predicts the first token */
        if (first >= a->whole.n)
            return st_fail(e, ST_RANGE, "line %d: choice %zu adds no token to the prompt", q->line,
                           i + 1);
        st = score(a, first, q->line, &logp, &greedy, e);
        if (!st && (logp > best || (said == q->n && !isnan(logp)))) {
            best = logp;
            said = i;
        }
    }
    if (!st)
        *right = q->exact ? greedy : said == q->answer;
    return st;
}

enum st answers_of(const struct model *m, const struct run_options *o, const struct questions *q,
                   struct progress *p, struct answers *out, struct err *e)
{
    const struct err *missing = !m->graph ? &m->no_graph : !m->tokenizer ? &m->no_tokenizer : NULL;
    *out = (struct answers){ .right = out->right };
    if (missing) {
        if (e)
            *e = *missing;
        return missing->st;
    }
    if (m->graph->logits < 0)
        return st_fail(e, ST_UNSUPPORTED, "the model has no output head");
    void *logits;
    enum st st = mem_alloc(&logits, (size_t)m->graph->vocab * sizeof(float), "logits", e);
    if (st)
        return st;
    struct run_options options = *o;
    options.span = 0;
    options.checkpoint_bytes = RUN_NO_CHECKPOINTS;
    struct asking a = { .m = m, .run = run_new(m, &options), .logits = logits, .out = out };
    for (; out->done < q->n && !st; out->done += !st) {
        if (!progress_tick(p, "task", (double)out->done, (double)q->n))
            st = st_fail(e, ST_CANCELLED, "interrupted");
        else
            st = ask(&a, &q->list[out->done], &out->right[out->done], e);
    }
    run_free(a.run);
    free(a.prompt.p);
    free(a.whole.p);
    mem_free(logits);
    return st;
}

double mcnemar_p(int64_t one_way, int64_t other_way)
{
    const int64_t few = one_way < other_way ? one_way : other_way;
    const double n = (double)(one_way + other_way);
    double sum = 0;
    for (int64_t k = 0; k <= few; k++) /* C(n, k) / 2^n */
        sum += exp(lgamma(n + 1) - lgamma((double)k + 1) - lgamma(n - (double)k + 1) - n * log(2));
    return fmin(1, 2 * sum);
}
