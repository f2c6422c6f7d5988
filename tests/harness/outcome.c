/* SPDX-License-Identifier: MIT */
#include "tests/harness/outcome.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "tests/harness/unit.h"

static const char *const files[] = { "models/llama-gqa-tied.gguf",
                                     "models/llama-gqa-tied-q4_0.gguf", "models/gpt2.gguf" };

struct model *open_file(int i) { return models_open(golden_path(files[i])); }

void make_ids(uint64_t seed, int32_t ids[TOKENS])
{
    for (int t = 0; t < TOKENS; t++)
        ids[t] = (int32_t)(unit_random(&seed) % VOCAB);
}

struct outcome outcome_of(struct run *r)
{
    models_finish(r);
    return (struct outcome){ models_output(r, "output.out", NULL),
                             models_output(r, "output_norm.out", NULL) };
}

void outcome_free(struct outcome o)
{
    free(o.logits);
    free(o.hidden);
}

struct outcome plain_outcome(const struct model *m, const int32_t *ids, int64_t n)
{
    struct run *r = models_run(m, NULL, ids, n);
    struct outcome o = outcome_of(r);
    run_free(r);
    return o;
}

void assert_same(const float *a, const float *b, int64_t n, const char *what, int64_t item)
{
    for (int64_t i = 0; i < n; i++)
        if (memcmp(&a[i], &b[i], sizeof *a))
            fail_msg("%s, case %d: entry %d is %.9g, was %.9g", what, (int)item, (int)i,
                     (double)a[i], (double)b[i]);
}

void assert_outcome(struct run *r, struct outcome want, const char *what, int64_t item)
{
    struct outcome got = outcome_of(r);
    const int64_t width = run_graph(r)->width, n = run_n_tokens(r);
    assert_same(got.hidden, want.hidden, n * width, what, item);
    assert_same(got.logits, want.logits, n * VOCAB, what, item);
    outcome_free(got);
    run_free(r);
}

struct position random_position(const struct run *r, struct position last, uint64_t *seed)
{
    const int nodes = run_graph(r)->n_nodes;
    struct position p = { (int)(unit_random(seed) % (uint64_t)run_n_spans(r)),
                          (int)(unit_random(seed) % (uint64_t)(nodes + 1)) };
    return position_compare(p, last) > 0 ? last : p;
}

struct alarm {
    volatile sig_atomic_t cancel;
    atomic_bool quit;
};

static void *ring(void *data)
{
    struct alarm *a = data;
    while (!atomic_load(&a->quit))
        a->cancel = 1;
    return NULL;
}

void run_under_alarm(struct run *r, int most)
{
    struct err e = ERR_INIT;
    struct alarm a = { 0 };
    struct progress p = { NULL, &a.cancel, NULL };
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, ring, &a), 0);
    for (int i = 0; i < most && !run_done(r); i++) {
        a.cancel = 0;
        const enum st st = run_forward(r, run_end(r), &p, NULL, &e);
        assert_true(st == ST_OK || st == ST_CANCELLED);
    }
    atomic_store(&a.quit, true);
    pthread_join(thread, NULL);
}
