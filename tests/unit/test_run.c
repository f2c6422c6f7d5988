/* SPDX-License-Identifier: MIT */
/* Same bits: a run's values depend on model, prompt and mode, and on nothing else. */
#include "tests/harness/unit.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "tests/harness/models.h"

enum { TOKENS = 40, VOCAB = 320 };

/* Models with a fused and a split attention, rotary and learned positions, plain and quantized. */
static const char *const files[] = { "models/llama-gqa-tied.gguf",
                                     "models/llama-gqa-tied-q4_0.gguf", "models/gpt2.gguf" };
enum { FILES = 3 };

static struct model *open_file(int i) { return models_open(golden_path(files[i])); }

static void make_ids(uint64_t seed, int32_t ids[TOKENS])
{
    for (int t = 0; t < TOKENS; t++)
        ids[t] = (int32_t)(unit_random(&seed) % VOCAB);
}

/* What must not change: logits and hidden states of all tokens. */
struct outcome {
    float *logits, *hidden;
};

static struct outcome outcome_of(struct run *r)
{
    models_finish(r);
    return (struct outcome){ models_output(r, "output.out", NULL),
                             models_output(r, "output_norm.out", NULL) };
}

static void outcome_free(struct outcome o)
{
    free(o.logits);
    free(o.hidden);
}

static struct outcome plain_outcome(const struct model *m, const int32_t *ids, int64_t n)
{
    struct run *r = models_run(m, NULL, ids, n);
    struct outcome o = outcome_of(r);
    run_free(r);
    return o;
}

static void assert_same(const float *a, const float *b, int64_t n, const char *what, int64_t item)
{
    for (int64_t i = 0; i < n; i++)
        if (memcmp(&a[i], &b[i], sizeof *a))
            fail_msg("%s, case %d: entry %d is %.9g, was %.9g", what, (int)item, (int)i,
                     (double)a[i], (double)b[i]);
}

/* Finishes and frees r; compares with want. */
static void assert_outcome(struct run *r, struct outcome want, const char *what, int64_t item)
{
    struct outcome got = outcome_of(r);
    const int64_t width = run_graph(r)->width, n = run_n_tokens(r);
    assert_same(got.hidden, want.hidden, n * width, what, item);
    assert_same(got.logits, want.logits, n * VOCAB, what, item);
    outcome_free(got);
    run_free(r);
}

static void threads(void **state)
{
    (void)state;
    static const int counts[] = { 2, 3, 16 };
    for (int f = 0; f < FILES; f++) {
        struct model *m = open_file(f);
        int32_t ids[TOKENS];
        make_ids(1, ids);
        struct outcome want = plain_outcome(m, ids, TOKENS);
        for (int i = 0; i < 3; i++) {
            struct pool *pool = pool_new(counts[i]);
            struct run_options o = { .pool = pool };
            assert_outcome(models_run(m, &o, ids, TOKENS), want, "threads", counts[i]);
            pool_free(pool);
        }
        outcome_free(want);
        model_free(m);
    }
}

static void spans_of_equal_length(void **state)
{
    (void)state;
    for (int f = 0; f < FILES; f++) {
        struct model *m = open_file(f);
        int32_t ids[TOKENS];
        make_ids(2, ids);
        struct outcome want = plain_outcome(m, ids, TOKENS);
        for (int span = 1; span < 9; span++) {
            struct run_options o = { .span = span };
            struct run *r = models_run(m, &o, ids, TOKENS);
            assert_int_equal(run_n_spans(r), (TOKENS + span - 1) / span);
            assert_outcome(r, want, "span", span);
        }
        outcome_free(want);
        model_free(m);
    }
}

/* A prompt that arrives in pieces, the run moving on between some of them. */
static struct run *run_in_pieces(const struct model *m, const int32_t *ids, uint64_t *seed)
{
    struct err e = ERR_INIT;
    struct run_options o = { .span = (int64_t)(unit_random(seed) % 6) };
    int64_t n = 1 + (int64_t)(unit_random(seed) % TOKENS);
    struct run *r = models_run(m, &o, ids, n);
    if (unit_random(seed) % 2)
        run_want_all(r, 1);
    while (n < TOKENS) {
        if (unit_random(seed) % 2)
            models_finish(r);
        int64_t more = 1 + (int64_t)(unit_random(seed) % (uint64_t)(TOKENS - n));
        assert_ok(run_append(r, ids + n, more, &e), &e);
        n += more;
    }
    return r;
}

static void random_divisions(void **state)
{
    (void)state;
    uint64_t seed = 3;
    for (int f = 0; f < FILES; f++) {
        struct model *m = open_file(f);
        int32_t ids[TOKENS];
        make_ids(3, ids);
        struct outcome want = plain_outcome(m, ids, TOKENS);
        for (int i = 0; i < 25; i++)
            assert_outcome(run_in_pieces(m, ids, &seed), want, "division", i);
        outcome_free(want);
        model_free(m);
    }
}

static void token_by_token(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    struct model *m = open_file(0);
    int32_t ids[TOKENS];
    make_ids(4, ids);
    struct outcome want = plain_outcome(m, ids, TOKENS);
    struct run *r = models_run(m, NULL, ids, 1);
    for (int t = 1; t < TOKENS; t++) {
        models_finish(r);
        assert_ok(run_append(r, ids + t, 1, &e), &e);
    }
    assert_int_equal(run_n_spans(r), TOKENS);
    assert_outcome(r, want, "token by token", 0);
    outcome_free(want);
    model_free(m);
}

/* Tokens of three sequences, mixed and in any number of spans, against each sequence alone. */
static void check_sequences(const struct model *m, uint64_t *seed)
{
    enum { SEQUENCES = 3 };
    struct err e = ERR_INIT;
    int32_t ids[TOKENS], seq[TOKENS], alone[SEQUENCES][TOKENS], place[SEQUENCES][TOKENS];
    int64_t n[SEQUENCES] = { 0 };
    make_ids(*seed, ids);
    for (int t = 0; t < TOKENS; t++) {
        seq[t] = (int32_t)(t < SEQUENCES ? (uint64_t)t : unit_random(seed) % SEQUENCES);
        place[seq[t]][n[seq[t]]] = t;
        alone[seq[t]][n[seq[t]]++] = ids[t];
    }
    struct run_options o = { .span = (int64_t)(unit_random(seed) % 20) };
    struct run *r = run_new(m, &o);
    assert_ok(run_input(r, ids, seq, NULL, TOKENS, &e), &e);
    struct outcome all = outcome_of(r);
    for (int s = 0; s < SEQUENCES; s++) {
        struct outcome one = plain_outcome(m, alone[s], n[s]);
        for (int64_t t = 0; t < n[s]; t++)
            assert_same(all.logits + place[s][t] * VOCAB, one.logits + t * VOCAB, VOCAB, "sequence",
                        s);
        outcome_free(one);
    }
    outcome_free(all);
    run_free(r);
}

static void sequences(void **state)
{
    (void)state;
    uint64_t seed = 5;
    for (int f = 0; f < FILES; f++) {
        struct model *m = open_file(f);
        for (int i = 0; i < 6; i++)
            check_sequences(m, &seed);
        model_free(m);
    }
}

/* What a probe saw: a copy of every value, by span and value. */
struct record {
    float **copy;
    int64_t *count;
    int n_values, calls;
    int stop_at; /* value at which to stop, -1 = none */
};

static bool look(void *data, const struct event *ev)
{
    struct record *rec = data;
    const size_t i = (size_t)(ev->at.span * rec->n_values + ev->value);
    const size_t n = (size_t)shape_count(&ev->x->shape);
    free(rec->copy[i]);
    rec->copy[i] = x_alloc(n * sizeof(float));
    memcpy(rec->copy[i], ev->x->data, n * sizeof(float));
    rec->count[i] = (int64_t)n;
    rec->calls++;
    return ev->value == rec->stop_at;
}

static struct record record_new(const struct run *r)
{
    const int values = run_graph(r)->n_values;
    const size_t n = (size_t)(values * run_n_spans(r));
    return (struct record){ x_alloc(n * sizeof(float *)), x_alloc(n * sizeof(int64_t)), values, 0,
                            -1 };
}

static void record_free(struct record *rec, int spans)
{
    for (int i = 0; i < spans * rec->n_values; i++)
        free(rec->copy[i]);
    free(rec->copy);
    free(rec->count);
}

static void probes_change_nothing(void **state)
{
    (void)state;
    for (int f = 0; f < FILES; f++) {
        struct model *m = open_file(f);
        int32_t ids[TOKENS];
        make_ids(6, ids);
        struct outcome want = plain_outcome(m, ids, TOKENS);
        for (int all = 0; all < 2; all++) {
            struct run *r = models_run(m, NULL, ids, TOKENS);
            struct record rec = record_new(r);
            run_probe(r, look, &rec);
            run_want_all(r, all);
            models_finish(r);
            const int hidden = 2 * run_graph(r)->n_blocks; /* scores and probabilities */
            assert_int_equal(rec.calls, rec.n_values - (all ? 0 : hidden));
            record_free(&rec, 1);
            assert_outcome(r, want, "probes", all);
        }
        outcome_free(want);
        model_free(m);
    }
}

/* Points read after the run, in random order, equal what probes saw while it ran. */
static void check_reading(const struct model *m, int64_t span, size_t checkpoint_bytes,
                          uint64_t *seed)
{
    struct err e = ERR_INIT;
    int32_t ids[TOKENS];
    make_ids(7, ids);
    struct run_options o = { .span = span, .checkpoint_bytes = checkpoint_bytes };
    struct run *r = models_run(m, &o, ids, TOKENS);
    struct record rec = record_new(r);
    int probe = run_probe(r, look, &rec);
    run_want_all(r, 1);
    models_finish(r);
    run_unprobe(r, probe);
    run_want_all(r, -1);
    const int n = rec.n_values * run_n_spans(r), calls = rec.calls;
    assert_int_equal(calls, n);
    assert_true(run_memory(r).checkpoints <= run_memory(r).checkpoint_limit);
    for (int i = 0; i < 150; i++) {
        const int at = (int)(unit_random(seed) % (uint64_t)n);
        struct tensor x;
        assert_ok(run_read(r, at / rec.n_values, at % rec.n_values, &x, &e), &e);
        assert_int_equal(shape_count(&x.shape), rec.count[at]);
        assert_same(x.data, rec.copy[at], rec.count[at],
                    run_graph(r)->values[at % rec.n_values].name, at);
    }
    assert_int_equal(rec.calls, calls);
    record_free(&rec, run_n_spans(r));
    run_free(r);
}

static void reading_gives_what_probes_saw(void **state)
{
    (void)state;
    uint64_t seed = 7;
    for (int f = 0; f < FILES; f++) {
        struct model *m = open_file(f);
        check_reading(m, 0, 0, &seed);
        check_reading(m, 7, 0, &seed);
        check_reading(m, 7, 1, &seed);     /* no checkpoint fits */
        check_reading(m, 5, 12000, &seed); /* some do */
        model_free(m);
    }
}

static struct position random_position(const struct run *r, struct position last, uint64_t *seed)
{
    const int nodes = run_graph(r)->n_nodes;
    struct position p = { (int)(unit_random(seed) % (uint64_t)run_n_spans(r)),
                          (int)(unit_random(seed) % (uint64_t)(nodes + 1)) };
    return position_compare(p, last) > 0 ? last : p;
}

/* Go to and fro, sometimes on, sometimes looking, then on to the end. */
static void walk(struct run *r, uint64_t *seed)
{
    struct err e = ERR_INIT;
    for (int i = 0; i < 30; i++) {
        if (unit_random(seed) % 2) {
            assert_ok(run_goto(r, random_position(r, run_reached(r), seed), NULL, &e), &e);
        } else {
            struct position to = random_position(r, run_end(r), seed);
            assert_ok(run_forward(r, to, NULL, NULL, &e), &e);
        }
        const struct position at = run_position(r);
        const int value = (int)(unit_random(seed) % (uint64_t)run_graph(r)->n_values);
        struct tensor x;
        if (run_graph(r)->values[value].node < at.node)
            assert_ok(run_read(r, at.span, value, &x, &e), &e);
        else
            assert_fails(run_read(r, at.span, value, &x, &e), ST_STATE, &e);
    }
}

static void walks(void **state)
{
    (void)state;
    uint64_t seed = 8;
    for (int f = 0; f < FILES; f++) {
        struct model *m = open_file(f);
        int32_t ids[TOKENS];
        make_ids(8, ids);
        struct outcome want = plain_outcome(m, ids, TOKENS);
        for (int i = 0; i < 12; i++) {
            struct run_options o = { .span = (int64_t)(unit_random(&seed) % 12),
                                     .checkpoint_bytes = i % 3 ? 0 : 6000 };
            struct run *r = models_run(m, &o, ids, TOKENS);
            walk(r, &seed);
            assert_outcome(r, want, "walk", i);
        }
        outcome_free(want);
        model_free(m);
    }
}

/* Positions that a walk stands at, and what forward and goto make of bounds. */
static void positions(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    struct model *m = open_file(0);
    int32_t ids[TOKENS];
    make_ids(9, ids);
    struct run_options o = { .span = 16 };
    struct run *r = models_run(m, &o, ids, TOKENS);
    const int nodes = run_graph(r)->n_nodes;
    assert_int_equal(run_n_spans(r), 3);
    assert_int_equal(run_span_of(r, 15), 0);
    assert_int_equal(run_span_of(r, 16), 1);
    assert_fails(run_goto(r, (struct position){ 0, 1 }, NULL, &e), ST_STATE, &e);
    assert_ok(run_forward(r, (struct position){ 1, 0 }, NULL, NULL, &e), &e);
    assert_int_equal(run_position(r).span, 0);
    assert_int_equal(run_position(r).node, nodes);
    assert_ok(run_forward(r, (struct position){ 1, 3 }, NULL, NULL, &e), &e);
    assert_int_equal(run_position(r).node, 3);
    assert_ok(run_goto(r, (struct position){ 0, 5 }, NULL, &e), &e);
    assert_int_equal(run_reached(r).span, 1);
    assert_fails(run_goto(r, (struct position){ 1, 4 }, NULL, &e), ST_STATE, &e);
    assert_fails(run_goto(r, (struct position){ -1, 0 }, NULL, &e), ST_STATE, &e);
    assert_ok(run_forward(r, (struct position){ 99, 0 }, NULL, NULL, &e), &e);
    assert_true(run_done(r));
    assert_int_equal(run_position(r).span, 2);
    run_free(r);
    model_free(m);
}

/* A probe that leaves when it is called for the third time, and brings another in its place. */
struct leaver {
    struct run *run;
    int handle, calls, heir_calls;
};

static bool inherit(void *data, const struct event *ev)
{
    (void)ev;
    ((struct leaver *)data)->heir_calls++;
    return false;
}

static bool leave(void *data, const struct event *ev)
{
    struct leaver *l = data;
    if (++l->calls == 3) {
        run_unprobe(ev->run, l->handle);
        for (int i = 0; i < 9; i++) /* the list of probes is moved, too */
            run_unprobe(ev->run, run_probe(ev->run, inherit, l));
        run_probe(ev->run, inherit, l);
    }
    return false;
}

static void probes_come_and_go_while_they_are_called(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    struct model *m = open_file(0);
    int32_t ids[TOKENS];
    make_ids(11, ids);
    struct run *r = models_run(m, NULL, ids, TOKENS);
    struct record before = record_new(r), behind = record_new(r);
    struct leaver l = { .run = r };
    run_probe(r, look, &before);
    l.handle = run_probe(r, leave, &l);
    run_probe(r, look, &behind);
    run_want_all(r, 1);
    assert_ok(run_forward(r, run_end(r), NULL, NULL, &e), &e);
    assert_int_equal(l.calls, 3);
    assert_int_equal(l.heir_calls, before.calls - 3); /* from the next point on */
    assert_int_equal(behind.calls, before.calls);     /* the neighbour misses nothing */
    record_free(&before, run_n_spans(r));
    record_free(&behind, run_n_spans(r));
    run_free(r);
    model_free(m);
}

static void probes_stop_a_run(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    struct model *m = open_file(0);
    int32_t ids[TOKENS];
    make_ids(10, ids);
    struct run *r = models_run(m, NULL, ids, TOKENS);
    struct record rec = record_new(r);
    bool stopped = false;
    rec.stop_at = graph_point(run_graph(r), STR("blk.1.attn_norm.out"), NULL, NULL);
    run_probe(r, look, &rec);
    assert_ok(run_forward(r, run_end(r), NULL, &stopped, &e), &e);
    assert_true(stopped);
    assert_int_equal(run_position(r).node, run_graph(r)->values[rec.stop_at].node + 1);
    assert_ok(run_forward(r, run_end(r), NULL, &stopped, &e), &e);
    assert_false(stopped);
    assert_true(run_done(r));
    record_free(&rec, 1);
    run_free(r);
    model_free(m);
}

/* --- cancelling ------------------------------------------------------------------------------ */

struct stopper {
    volatile sig_atomic_t cancel;
    int left; /* calls of show until the user changes his mind */
};

static void count_down(struct progress *p, const char *label, double done, double total)
{
    (void)label;
    struct stopper *s = p->data;
    assert_true(done >= 0 && done <= total);
    if (s->left-- == 0)
        s->cancel = 1;
}

static void cancelled_runs_go_on(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    uint64_t seed = 11;
    struct model *m = open_file(0);
    int32_t ids[TOKENS];
    make_ids(11, ids);
    struct outcome want = plain_outcome(m, ids, TOKENS);
    for (int i = 0; i < 20; i++) {
        struct run_options o = { .span = (int64_t)(unit_random(&seed) % 12) };
        struct run *r = models_run(m, &o, ids, TOKENS);
        struct stopper s = { 0, (int)(unit_random(&seed)
                                      % (uint64_t)(run_graph(r)->n_nodes * run_n_spans(r))) };
        struct progress p = { count_down, &s.cancel, &s };
        assert_fails(run_forward(r, run_end(r), &p, NULL, &e), ST_CANCELLED, &e);
        assert_false(run_done(r));
        s = (struct stopper){ 0, 1 };
        struct position here = run_position(r), back = random_position(r, run_reached(r), &seed);
        if (run_goto(r, back, &p, &e)) { /* a cancelled move leaves the run where it was */
            assert_int_equal(e.st, ST_CANCELLED);
            assert_int_equal(position_compare(run_position(r), here), 0);
        }
        assert_outcome(r, want, "cancelled", i);
    }
    outcome_free(want);
    model_free(m);
}

/* What is computed again only to be looked at hears the user too. */
static void cancelled_reads(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    struct model *m = open_file(0);
    int32_t ids[TOKENS];
    make_ids(13, ids);
    volatile sig_atomic_t cancel = 0;
    struct run_options o = { .cancel = &cancel };
    struct run *r = models_run(m, &o, ids, TOKENS);
    assert_ok(run_forward(r, run_end(r), NULL, NULL, &e), &e);
    struct tensor x;
    cancel = 1;
    assert_fails(run_read(r, 0, run_graph(r)->nodes[0].out, &x, &e), ST_CANCELLED, &e);
    assert_ok(run_read(r, 0, run_graph(r)->logits, &x, &e), &e); /* is held */
    cancel = 0;
    assert_ok(run_read(r, 0, run_graph(r)->nodes[0].out, &x, &e), &e);
    run_free(r);
    model_free(m);
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

/* Cancelled in the middle of nodes, wherever the other thread strikes. */
static void cancelled_anywhere(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    struct model *m = open_file(1);
    int32_t ids[TOKENS];
    make_ids(12, ids);
    struct outcome want = plain_outcome(m, ids, TOKENS);
    struct pool *pool = pool_new(2);
    struct run_options o = { .pool = pool };
    struct run *r = models_run(m, &o, ids, TOKENS);
    struct alarm a = { 0 };
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, ring, &a), 0);
    struct progress p = { NULL, &a.cancel, NULL };
    for (int i = 0; i < 2000 && !run_done(r); i++) {
        a.cancel = 0;
        enum st st = run_forward(r, run_end(r), &p, NULL, &e);
        assert_true(st == ST_OK || st == ST_CANCELLED);
    }
    atomic_store(&a.quit, true);
    pthread_join(thread, NULL);
    assert_outcome(r, want, "alarm", 0);
    pool_free(pool);
    outcome_free(want);
    model_free(m);
}

/* --- transforms ------------------------------------------------------------------------------ */

static void halve(void *data, const struct event *ev, float *x)
{
    ++*(int *)data;
    for (int64_t i = 0; i < shape_count(&ev->x->shape); i++)
        x[i] *= 0.5f;
}

static void add_one(void *data, const struct event *ev, float *x)
{
    (void)data;
    for (int64_t i = 0; i < shape_count(&ev->x->shape); i++)
        x[i] += 1;
}

static float first_of(struct run *r, const char *point) { return models_read(r, 0, point).data[0]; }

static void transforms_come_before_probes(void **state)
{
    (void)state;
    struct model *m = open_file(0);
    int32_t ids[TOKENS];
    make_ids(13, ids);
    struct run *r = models_run(m, NULL, ids, TOKENS);
    models_finish(r);
    const float before = first_of(r, "embd.out");
    run_free(r);

    int calls = 0;
    r = models_run(m, NULL, ids, TOKENS);
    const int v = graph_point(run_graph(r), STR("embd.out"), NULL, NULL);
    struct record rec = record_new(r);
    run_probe(r, look, &rec);
    run_transform(r, v, halve, &calls); /* in the order of registration */
    run_transform(r, v, add_one, NULL);
    models_finish(r);
    assert_int_equal(calls, 1);
    assert_true(rec.copy[v][0] == before * 0.5f + 1);
    assert_true(first_of(r, "blk.0.in") == before * 0.5f + 1);
    assert_int_equal(calls, 2); /* recomputed, so transformed again */
    record_free(&rec, 1);
    run_free(r);
    model_free(m);
}

/* A transform of probabilities opens the fused kernel; one that goes away leaves no trace. */
static void transforms_come_and_go(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    static const char *const points[] = { "blk.1.attn.prob", "blk.0.out", "embd.out",
                                          "blk.0.attn_k.rope" };
    struct model *m = open_file(0);
    int32_t ids[TOKENS];
    make_ids(14, ids);
    struct outcome want = plain_outcome(m, ids, TOKENS);
    for (int i = 0; i < 4; i++) {
        struct run_options o = { .span = 15 };
        struct run *early = models_run(m, &o, ids, TOKENS), *late = models_run(m, &o, ids, TOKENS);
        const int v = graph_point(run_graph(early), str_from(points[i]), NULL, NULL);
        int calls = 0;
        run_transform(early, v, halve, &calls);
        struct outcome changed = outcome_of(early);
        assert_int_equal(calls, 3);
        assert_true(memcmp(changed.logits + (TOKENS - 1) * VOCAB,
                           want.logits + (TOKENS - 1) * VOCAB, VOCAB * sizeof(float)));
        models_finish(late);
        int handle = run_transform(late, v, halve, &calls);
        assert_false(run_done(late));
        assert_int_equal(run_position(late).span, 0);
        assert_int_equal(run_position(late).node, run_graph(late)->values[v].node);
        struct tensor x;
        assert_fails(run_read(late, 0, v, &x, &e), ST_STATE, &e);
        struct outcome again = outcome_of(late);
        assert_same(again.logits, changed.logits, TOKENS * VOCAB, points[i], i);
        run_untransform(late, handle);
        assert_outcome(late, want, "untransformed", i);
        outcome_free(again);
        outcome_free(changed);
        run_free(early);
    }
    outcome_free(want);
    model_free(m);
}

/* --- errors ---------------------------------------------------------------------------------- */

static void bad_input(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    struct model *m = open_file(2); /* 64 positions */
    struct run_options o = { 0 };
    struct run *r = run_new(m, &o);
    struct tensor x;
    int32_t ids[100] = { 0 }, seq[100] = { 0 }, pos[100] = { 0 };
    bool stopped;
    assert_fails(run_forward(r, (struct position){ 1, 0 }, NULL, &stopped, &e), ST_STATE, &e);
    assert_fails(run_read(r, 0, 0, &x, &e), ST_RANGE, &e);
    assert_fails(run_input(r, ids, NULL, NULL, 0, &e), ST_RANGE, &e);
    assert_fails(run_input(r, ids, NULL, NULL, 65, &e), ST_RANGE, &e);
    assert_string_equal(e.msg, "position 64 is not in 0..63");
    assert_ok(run_input(r, ids, NULL, NULL, 64, &e), &e);
    assert_fails(run_append(r, ids, 1, &e), ST_RANGE, &e);
    models_finish(r);
    ids[1] = VOCAB;
    assert_fails(run_input(r, ids, NULL, NULL, 2, &e), ST_RANGE, &e);
    assert_string_equal(e.msg, "token 320 is not in 0..319");
    ids[1] = -1;
    assert_fails(run_input(r, ids, NULL, NULL, 2, &e), ST_RANGE, &e);
    ids[1] = 0;
    seq[1] = -1;
    assert_fails(run_input(r, ids, seq, NULL, 2, &e), ST_RANGE, &e);
    seq[1] = 1 << 20;
    assert_fails(run_input(r, ids, seq, NULL, 2, &e), ST_RANGE, &e);
    seq[1] = 0;
    pos[1] = -1;
    assert_fails(run_input(r, ids, seq, pos, 2, &e), ST_RANGE, &e);
    pos[1] = 64;
    assert_fails(run_input(r, ids, seq, pos, 2, &e), ST_RANGE, &e);
    pos[1] = 63;
    assert_ok(run_input(r, ids, seq, pos, 2, &e), &e);
    models_finish(r);
    assert_fails(run_read(r, 1, 0, &x, &e), ST_RANGE, &e);
    assert_fails(run_read(r, 0, 1000, &x, &e), ST_RANGE, &e);
    run_free(r);
    model_free(m);
}

static void reading_ahead_names_the_position(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    struct model *m = open_file(0);
    int32_t ids[TOKENS];
    make_ids(15, ids);
    struct run *r = models_run(m, NULL, ids, TOKENS);
    struct tensor x;
    const int v = graph_point(run_graph(r), STR("blk.1.out"), NULL, NULL);
    assert_ok(run_forward(r, (struct position){ 0, 2 }, NULL, NULL, &e), &e);
    assert_fails(run_read(r, 0, v, &x, &e), ST_STATE, &e);
    assert_non_null(strstr(e.msg, "blk.1.out"));
    assert_non_null(strstr(e.msg, "s0:blk.0.attn_norm"));
    run_free(r);
    model_free(m);
}

/* A second prompt finds nothing of the first. */
static void a_new_prompt_forgets_the_old(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    struct model *m = open_file(0);
    int32_t a[TOKENS], b[TOKENS];
    make_ids(17, a);
    make_ids(18, b);
    struct run *fresh = models_run(m, NULL, b, TOKENS), *used = models_run(m, NULL, a, TOKENS);
    models_finish(fresh);
    models_finish(used);
    models_read(used, 0, "blk.0.attn_q.rope"); /* computed again, so held beside the run */
    assert_ok(run_input(used, b, NULL, NULL, TOKENS, &e), &e);
    models_finish(used);
    struct tensor want = models_read(fresh, 0, "blk.0.attn_q.rope"),
                  got = models_read(used, 0, "blk.0.attn_q.rope");
    assert_same(got.data, want.data, shape_count(&want.shape), "second prompt", 0);
    want = models_read(fresh, 0, "output.out");
    got = models_read(used, 0, "output.out");
    assert_same(got.data, want.data, shape_count(&want.shape), "second prompt", 1);
    run_free(fresh);
    run_free(used);
    model_free(m);
}

/* The budget is too small for the activations: an error, and the run can be freed. */
static void memory_runs_out(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    struct model *m = open_file(0);
    int32_t ids[TOKENS];
    make_ids(16, ids);
    struct outcome want = plain_outcome(m, ids, TOKENS);
    struct run *r = models_run(m, NULL, ids, TOKENS);
    mem_set_budget(mem_used() + 40000);
    assert_fails(run_forward(r, run_end(r), NULL, NULL, &e), ST_NOMEM, &e);
    assert_false(run_done(r));
    mem_set_budget(0);
    assert_outcome(r, want, "after the budget", 0);
    outcome_free(want);
    model_free(m);
}

UNIT_MAIN(CASE(threads), CASE(spans_of_equal_length), CASE(random_divisions), CASE(token_by_token),
          CASE(sequences), CASE(probes_change_nothing), CASE(reading_gives_what_probes_saw),
          CASE(walks), CASE(positions), CASE(probes_stop_a_run),
          CASE(probes_come_and_go_while_they_are_called), CASE(cancelled_runs_go_on),
          CASE(cancelled_anywhere), CASE(cancelled_reads), CASE(transforms_come_before_probes),
          CASE(transforms_come_and_go), CASE(bad_input), CASE(reading_ahead_names_the_position),
          CASE(a_new_prompt_forgets_the_old), CASE(memory_runs_out))
