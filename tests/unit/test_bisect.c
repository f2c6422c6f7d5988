/* SPDX-License-Identifier: MIT */
/* Bisection on ground truth: one wrong scale in a file, to be found at exactly its weight and row;
 * two that need each other; nothing to find. */
#include "tests/harness/unit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "kernels/codec.h"
#include "study/bisect.h"
#include "tests/harness/models.h"

#ifdef __SANITIZE_ADDRESS__
enum { PLANTS = 20 }; /* 200 take ten minutes there; the plain build runs them */
#else
enum { PLANTS = 200 };
#endif
enum { SEGMENTS = 24, TOKENS = 12, FIRST = 2 };
static const struct metric by_kl = { .kind = METRIC_KL };

struct bench {
    struct model *ref, *m; /* m: of which forms are planted */
    struct evaluation_set set;
    struct evaluator *ev;
    struct err e;
};

static void begin(struct bench *b, const char *ref, const char *m)
{
    int32_t ids[SEGMENTS * TOKENS];
    uint64_t state = 3;
    *b = (struct bench){ .ref = models_open(golden_path(ref)), .m = models_open(golden_path(m)) };
    for (int i = 0; i < SEGMENTS * TOKENS; i++)
        ids[i] = (int32_t)(unit_random(&state) % (uint64_t)b->m->graph->vocab);
    assert_ok(evaluation_cut(ids, SEGMENTS * TOKENS, SEGMENTS, TOKENS, FIRST, -1, &b->set, &b->e),
              &b->e);
    const struct evaluation what = { .ref = b->ref,
                                     .model = b->m,
                                     .options = { .mode = COMPUTE_EXACT },
                                     .set = &b->set,
                                     .memory = (size_t)1 << 30 };
    assert_ok(evaluator_new(&what, &b->ev, &b->e), &b->e);
}

static void end(struct bench *b)
{
    evaluator_free(b->ev);
    evaluation_free(&b->set);
    model_free(b->ref);
    model_free(b->m);
}

/* A weight of the file with a scale of one row multiplied: sign or exponent. */
static struct form *plant(struct bench *b, const struct weight *w, int64_t row, int64_t block,
                          bool flip)
{
    const struct format_info *f = format_info(w->format);
    struct form *form;
    void *data;
    uint16_t scale;
    assert_ok(mem_alloc(&data, w->bytes, "a planted weight", &b->e), &b->e);
    memcpy(data, w->data, w->bytes);
    uint8_t *p = (uint8_t *)data + (size_t)row * w->row_bytes + (size_t)(block * f->bytes);
    memcpy(&scale, p, sizeof scale);
    scale = flip ? scale ^ 0x8000 : (uint16_t)(scale + ((scale & 0x7fff) ? 4 << 10 : 0));
    memcpy(p, &scale, sizeof scale);
    assert_ok(form_new(b->m, w, w->format, data, &form, &b->e), &b->e);
    return form;
}

/* Every weight of the model beside that of the reference, and every edit of the plan, whose changes
 * are numbered from 100 on. */
static struct bisect_part *all_parts(struct bench *b, const struct plan *plan, size_t *n)
{
    const size_t edits = plan ? plan->n_transforms : 0;
    struct bisect_part *list = x_alloc((b->m->weights->n + edits) * sizeof *list);
    *n = 0;
    for (size_t i = 0; i < b->m->weights->n; i++) {
        const struct weight *w = &b->m->weights->list[i];
        struct bisect_part *x = &list[(*n)++];
        *x = (struct bisect_part){ .w = w, .now = plan_form(plan, b->m, w) };
        assert_ok(form_borrow(b->m, w, weights_find(b->ref->weights, w->name), &x->mended, &b->e),
                  &b->e);
    }
    for (size_t i = 0; i < edits; i++)
        list[(*n)++] = (struct bisect_part){ .transform = i, .change = 100 + (int)i };
    return list;
}

static enum st bisect(struct bench *b, const struct plan *plan, double share,
                      enum bisect_level level, struct bisect *out)
{
    struct bisect_task t = { .ev = b->ev,
                             .part = { 0, 1 },
                             .plan = plan,
                             .metric = &by_kl,
                             .share = share,
                             .level = level };
    struct bisect_part *list = all_parts(b, plan, &t.n_parts);
    t.parts = list;
    const enum st st = bisect_run(&t, NULL, out, &b->e);
    for (size_t i = 0; i < t.n_parts; i++)
        form_drop(list[i].mended);
    free(list);
    return st;
}

static double kl_under(struct bench *b, const struct plan *plan)
{
    struct measurement m;
    measurement_begin(b->ev, (struct evaluation_part){ .from = 0, .step = 1 }, 0, &m);
    assert_ok(evaluator_measure(b->ev, plan, &m, NULL, &b->e), &b->e);
    const double kl = measurement_damage(&m, &by_kl).value;
    measurement_free(&m);
    return kl;
}

/* Scales 16 times too large, or with the wrong sign, in a q8_0 file; `least`: KL of a plant that
 * counts. */
static void find_plants(const char *ref, double least, uint64_t seed, const char *what)
{
    struct bench b;
    begin(&b, ref, "models/llama-gqa-tied-q8_0.gguf");
    int found = 0, claims = 0, right = 0, measured = 0, n = 0;
    for (int tries = 0; n < PLANTS && tries < 20 * PLANTS; tries++) {
        const struct weight *w = &b.m->weights->list[unit_random(&seed) % b.m->weights->n];
        if (w->rank != 2 || strcmp(format_info(w->format)->name, "q8_0"))
            continue;
        const int64_t row = (int64_t)(unit_random(&seed) % w->rows);
        const int64_t block = (int64_t)(unit_random(&seed)
                                        % (w->cols / (uint64_t)format_info(w->format)->block));
        struct form *form = plant(&b, w, row, block, unit_random(&seed) % 2);
        struct plan plan = { 0 };
        plan_set(&plan, b.m, w, form);
        form_drop(form);
        if (kl_under(&b, &plan) >= least) {
            struct bisect r;
            bool here = false;
            assert_ok(bisect(&b, &plan, 0.9, BISECT_CHANNEL, &r), &b.e);
            assert_true(r.complete && r.reached && r.share.value >= 0.9);
            for (size_t i = 0; i < r.n_places; i++) {
                const bool exact = r.places[i].row == row
                                   && !strncmp(r.places[i].name, w->name.p, w->name.n)
                                   && r.places[i].name[w->name.n] == '[';
                here |= exact;
                right += exact;
            }
            claims += (int)r.n_places;
            measured += (int)r.n_steps;
            found += here;
            n++;
            bisect_free(&r);
        }
        plan_free(&plan);
    }
    print_message("# %s: found %d of %d, %d of %d claims right, %d sets measured for each\n", what,
                  found, n, right, claims, measured / (n ? n : 1));
    assert_int_equal(n, PLANTS);
    assert_int_equal(found, n);
    assert_true(right >= 0.95 * claims);
    end(&b);
}

static void a_wrong_scale_is_found_beside_the_file_as_it_was(void **unused)
{
    (void)unused;
    find_plants("models/llama-gqa-tied-q8_0.gguf", 1e-4, 21, "wrong scales");
}

/* The rest of the file does damage too (KL near 1e-4): a plant counts where it does ten times it.
 */
static void a_wrong_scale_is_found_beside_the_original(void **unused)
{
    (void)unused;
    struct bench b;
    begin(&b, "models/llama-gqa-tied.gguf", "models/llama-gqa-tied-q8_0.gguf");
    const double rounding = kl_under(&b, NULL);
    end(&b);
    print_message("# KL of the rounding alone: %.3g\n", rounding);
    assert_true(rounding > 0);
    find_plants("models/llama-gqa-tied.gguf", 12 * rounding > 1e-4 ? 12 * rounding : 1e-4, 22,
                "wrong scales among rounded weights");
}

static void mend_but(struct bench *b, struct plan *plan, const char *const *names, int n)
{
    for (size_t i = 0; i < b->m->weights->n; i++) {
        const struct weight *w = &b->m->weights->list[i];
        struct form *form;
        bool leave = false;
        for (int k = 0; k < n; k++)
            leave |= str_is(w->name, names[k]);
        if (leave)
            continue;
        assert_ok(form_borrow(b->m, w, weights_find(b->ref->weights, w->name), &form, &b->e),
                  &b->e);
        plan_set(plan, b->m, w, form);
        form_drop(form);
    }
}

/* A model that is wrong in two weights of different blocks: both are found, each is needed, and the
 * figures are those of the sets. */
static void two_places_are_found_and_none_is_spare(void **unused)
{
    (void)unused;
    static const char *const wrong[] = { "blk.0.ffn_up.weight", "blk.1.attn_v.weight" };
    struct bench b;
    struct plan plan = { 0 };
    struct bisect r;
    begin(&b, "models/llama-gqa-tied.gguf", "models/llama-gqa-tied-q4_0.gguf");
    mend_but(&b, &plan, wrong, 2);
    const double before = kl_under(&b, &plan);
    assert_ok(bisect(&b, &plan, 0.98, BISECT_WEIGHT, &r), &b.e);
    assert_int_equal(r.n_places, 2);
    assert_true(r.complete && r.share.value >= 0.98 && r.all == 1 && r.only == 1);
    assert_true(r.before.value == before && r.after.clusters == SEGMENTS);
    double each[2];
    for (int i = 0; i < 2; i++) {
        struct plan one = { 0 };
        const char *name = r.places[i].name;
        assert_true(!strcmp(name, wrong[0]) || !strcmp(name, wrong[1]));
        mend_but(&b, &one, (const char *const[]){ !strcmp(name, wrong[0]) ? wrong[1] : wrong[0] },
                 1);
        each[i] = 1 - kl_under(&b, &one) / before;
        assert_true(fabs(r.places[i].alone - each[i]) < 1e-9);
        assert_true(r.places[i].without < 0.98);
        plan_free(&one);
    }
    assert_true(r.places[0].alone >= r.places[1].alone);
    assert_true(fabs(r.alone_sum - each[0] - each[1]) < 1e-9);
    bisect_free(&r);

    assert_ok(bisect(&b, &plan, 0.98, BISECT_BLOCK, &r), &b.e);
    assert_int_equal(r.n_places, 2);
    assert_true(!strcmp(r.places[0].name, "blk.0") || !strcmp(r.places[0].name, "blk.1"));
    bisect_free(&r);
    plan_free(&plan);
    end(&b);
}

enum { WRONG_ROWS = 4, WRONG_WEIGHTS = 4 };
struct wrong {
    const struct weight *w[WRONG_WEIGHTS];
    int64_t rows[WRONG_WEIGHTS][WRONG_ROWS];
};

static bool has_row(const struct bisect *found, const struct weight *w, int64_t row, size_t but)
{
    for (size_t k = 0; k < found->n_places; k++) {
        const struct bisect_place *p = &found->places[k];
        if (k != but && p->row == row && !strncmp(p->name, w->name.p, w->name.n)
            && p->name[w->name.n] == '[')
            return true;
    }
    return false;
}

/* A plan in which each of the rows has its first scale times 2, every second one the wrong way
 * round; those that were found (may be NULL), except place `but`, are as they were. */
static void plan_wrong(struct bench *b, const struct wrong *x, const struct bisect *found,
                       size_t but, struct plan *out)
{
    for (int i = 0; i < WRONG_WEIGHTS; i++) {
        const struct weight *w = x->w[i];
        struct form *form;
        void *data;
        assert_ok(mem_alloc(&data, w->bytes, "a planted weight", &b->e), &b->e);
        memcpy(data, w->data, w->bytes);
        for (int k = 0; k < WRONG_ROWS; k++) {
            uint8_t *p = (uint8_t *)data + (size_t)x->rows[i][k] * w->row_bytes;
            uint16_t scale;
            memcpy(&scale, p, sizeof scale);
            scale = (uint16_t)((scale ^ (k % 2 ? 0x8000 : 0)) + ((scale & 0x7fff) ? 1 << 10 : 0));
            if (!found || !has_row(found, w, x->rows[i][k], but))
                memcpy(p, &scale, sizeof scale);
        }
        assert_ok(form_new(b->m, w, w->format, data, &form, &b->e), &b->e);
        plan_set(out, b->m, w, form);
        form_drop(form);
    }
}

/* Wrong rows in four weights of a block, whose errors mask each other: of the rows that are found
 * none can be left out, by our own measurement of every set with one row less. In the first two
 * cases one round of leaving out, weight by weight, keeps a row that is spare. */
static void rows_of_several_weights_are_found_and_none_is_spare(void **unused)
{
    (void)unused;
    static const struct {
        uint64_t seed;
        double share;
    } cases[] = {
        { 14220159662641846853u, 0.3 }, { 9649843785917070181u, 0.8 }, { 1, 0.5 }, { 2, 0.95 }
    };
    static const char *const names[] = { "blk.0.ffn_down.weight", "blk.0.attn_v.weight",
                                         "blk.0.ffn_up.weight", "blk.0.attn_output.weight" };
    struct bench b;
    begin(&b, "models/llama-gqa-tied-q8_0.gguf", "models/llama-gqa-tied-q8_0.gguf");
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        uint64_t seed = cases[k].seed;
        struct wrong x;
        struct plan plan = { 0 };
        struct bisect r;
        for (int i = 0; i < WRONG_WEIGHTS; i++) {
            x.w[i] = weights_find(b.m->weights, str_from(names[i]));
            const uint64_t part = x.w[i]->rows / WRONG_ROWS;
            for (uint64_t j = 0; j < WRONG_ROWS; j++)
                x.rows[i][j] = (int64_t)(j * part + unit_random(&seed) % part);
        }
        plan_wrong(&b, &x, NULL, 0, &plan);
        const double before = kl_under(&b, &plan);
        assert_ok(bisect(&b, &plan, cases[k].share, BISECT_CHANNEL, &r), &b.e);
        assert_true(r.complete && r.minimal && r.n_places > 1);
        for (size_t but = 0; but <= r.n_places; but++) {
            plan_wrong(&b, &x, &r, but, &plan);
            const double share = 1 - kl_under(&b, &plan) / before;
            const bool whole = but == r.n_places;
            assert_true(fabs(share - (whole ? r.share.value : r.places[but].without)) < 1e-9);
            assert_true((share >= cases[k].share) == whole);
        }
        bisect_free(&r);
        plan_free(&plan);
    }
    end(&b);
}

struct planted {
    int64_t chan;
    float by;
};

static void times(void *data, const struct event *ev, float *x)
{
    const struct planted *p = data;
    const int64_t n = ev->x->shape.d[ev->x->shape.rank - 1].n;
    for (int64_t i = p->chan % n; i < shape_count(&ev->x->shape); i += n)
        x[i] *= p->by;
}

/* An edit of a point among edits that do little, of a model whose weights are rounded as well: it
 * is found at its point, under the number of its change. */
static void an_edit_is_found_among_others_and_rounded_weights(void **unused)
{
    (void)unused;
    enum { EDITS = 4, EDIT_PLANTS = PLANTS / 4 };
    struct bench b;
    uint64_t seed = 31;
    int n = 0, found = 0, claims = 0;
    begin(&b, "models/llama-gqa-tied.gguf", "models/llama-gqa-tied-q8_0.gguf");
    const double least = 12 * kl_under(&b, NULL);
    for (int tries = 0; n < EDIT_PLANTS && tries < 20 * EDIT_PLANTS; tries++) {
        struct planted data[EDITS];
        struct plan plan = { 0 };
        for (int i = 0; i < EDITS; i++) { /* number EDITS / 2 is the one */
            data[i] = (struct planted){ (int64_t)(unit_random(&seed) % 64),
                                        i == EDITS / 2 ? -6 : 1.0005f };
            const int v = (int)(unit_random(&seed) % (uint64_t)b.m->graph->hidden);
            plan_transform(&plan,
                           (struct plan_transform){ .value = v, .fn = times, .data = &data[i] });
        }
        if (kl_under(&b, &plan) >= least) {
            const struct value *v = &b.m->graph->values[plan.transforms[EDITS / 2].value];
            struct bisect r;
            assert_ok(bisect(&b, &plan, 0.9, BISECT_CHANNEL, &r), &b.e);
            assert_true(r.complete && r.minimal && r.all == 1 && r.share.value >= 0.9);
            for (size_t i = 0; i < r.n_places; i++)
                found += r.places[i].point && r.places[i].change == 100 + EDITS / 2
                         && !strcmp(r.places[i].name, v->name);
            claims += (int)r.n_places;
            n++;
            bisect_free(&r);
        }
        plan_free(&plan);
    }
    print_message("# edits: found %d of %d, %d claims\n", found, n, claims);
    assert_int_equal(n, EDIT_PLANTS);
    assert_int_equal(found, n);
    assert_true(found >= 0.95 * claims);
    end(&b);
}

static void halt(struct progress *p, const char *label, double done, double total)
{
    assert_string_equal(label, "bisect");
    assert_true(done <= total);
    if (done > 5)
        *(volatile sig_atomic_t *)p->data = 1;
}

static void a_model_without_damage_has_no_places(void **unused)
{
    (void)unused;
    struct bench b;
    struct bisect r;
    begin(&b, "models/llama-gqa-tied.gguf", "models/llama-gqa-tied.gguf");
    assert_fails(bisect(&b, NULL, 0.9, BISECT_WEIGHT, &r), ST_STATE, &b.e);
    bisect_free(&r);
    end(&b);
}

static void what_is_done_survives_an_interrupt(void **unused)
{
    (void)unused;
    volatile sig_atomic_t cancel = 0;
    struct progress p = { halt, &cancel, (void *)&cancel };
    struct bench b;
    struct bisect r;
    begin(&b, "models/llama-gqa-tied.gguf", "models/llama-gqa-tied-q4_0.gguf");
    struct bisect_task t = {
        .ev = b.ev, .part = { 0, 1 }, .metric = &by_kl, .share = 0.9, .level = BISECT_WEIGHT
    };
    struct bisect_part *list = all_parts(&b, NULL, &t.n_parts);
    t.parts = list;
    struct progress late = p;
    assert_fails(bisect_run(&t, &late, &r, &b.e), ST_CANCELLED, &b.e);
    assert_true(!r.complete && r.n_steps >= 4 && r.steps[0].share == 1);
    bisect_free(&r);
    cancel = 0;
    assert_ok(bisect_run(&t, NULL, &r, &b.e), &b.e); /* and the evaluator is as good as before */
    assert_true(r.complete);
    bisect_free(&r);
    for (size_t i = 0; i < t.n_parts; i++)
        form_drop(list[i].mended);
    free(list);
    end(&b);
}

UNIT_MAIN(CASE(a_wrong_scale_is_found_beside_the_file_as_it_was),
          CASE(a_wrong_scale_is_found_beside_the_original),
          CASE(two_places_are_found_and_none_is_spare),
          CASE(rows_of_several_weights_are_found_and_none_is_spare),
          CASE(an_edit_is_found_among_others_and_rounded_weights),
          CASE(a_model_without_damage_has_no_places), CASE(what_is_done_survives_an_interrupt))
