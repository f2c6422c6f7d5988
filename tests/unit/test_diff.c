/* SPDX-License-Identifier: MIT */
/* Diff: keys, tensors, and the error of values against figures computed by hand. */
#include "tests/harness/unit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "file/diff.h"
#include "tests/harness/gguf_build.h"

struct pair {
    uint8_t *image[2];
    struct weights *w[2];
    struct diff d;
};

static struct pair compare(struct build *a, struct build *b)
{
    struct pair p = { 0 };
    struct build *builds[2] = { a, b };
    struct err e = ERR_INIT;
    for (int i = 0; i < 2; i++) {
        size_t n;
        p.image[i] = build_image(builds[i], &n);
        assert_ok(weights_borrow(p.image[i], n, i ? "b" : "a", &p.w[i], &e), &e);
        build_free(builds[i]);
    }
    assert_ok(diff_weights(p.w[0], p.w[1], NULL, &p.d, &e), &e);
    return p;
}

static void drop(struct pair *p)
{
    diff_free(&p->d);
    for (int i = 0; i < 2; i++) {
        weights_close(p->w[i]);
        free(p->image[i]);
    }
    assert_int_equal(mem_used(), 0);
}

static const struct diff_tensor *tensor(const struct pair *p, const char *name)
{
    for (size_t i = 0; i < p->d.n_tensors; i++)
        if (str_is(p->d.tensors[i].name, name))
            return &p->d.tensors[i];
    fail_msg("no tensor %s", name);
    return NULL;
}

static void finds_no_difference_in_a_copy(void **state)
{
    (void)state;
    struct build a = BUILD_INIT, b = BUILD_INIT;
    build_llama(&a);
    build_llama(&b);
    struct pair p = compare(&a, &b);
    assert_int_equal(p.d.n_keys, 0);
    assert_int_equal(p.d.n_keys_same, p.w[0]->files[0]->n_kvs);
    assert_int_equal(p.d.n_tensors, 11);
    assert_int_equal(p.d.n_changed, 0);
    for (size_t i = 0; i < 11; i++) {
        assert_true(p.d.tensors[i].identical);
        assert_true(p.d.tensors[i].relative_l2 == 0 && isinf(p.d.tensors[i].sqnr_db));
    }
    drop(&p);
}

static void finds_keys_that_differ(void **state)
{
    (void)state;
    static const char *const one[] = { "a", "bc" }, *const two[] = { "ab", "c" };
    struct build a = BUILD_INIT, b = BUILD_INIT;
    build_string(&a, "same", "x");
    build_string(&b, "same", "x");
    build_string(&a, "gone", "x");
    build_string(&a, "value", "x");
    build_string(&b, "value", "y");
    build_integer(&a, "type", GGUF_U32, 1);
    build_integer(&b, "type", GGUF_I32, 1);
    build_strings(&a, "list", one, 2);
    build_strings(&b, "list", two, 2);
    build_string(&b, "new", "x");
    struct pair p = compare(&a, &b);
    static const struct {
        const char *key;
        enum diff_change change;
    } want[] = {
        { "gone", DIFF_REMOVED }, { "value", DIFF_CHANGED }, { "type", DIFF_CHANGED },
        { "list", DIFF_CHANGED }, { "new", DIFF_ADDED },
    };
    assert_int_equal(p.d.n_keys, 5);
    assert_int_equal(p.d.n_keys_same, 1);
    for (int i = 0; i < 5; i++) {
        assert_true(str_is(p.d.keys[i].key, want[i].key));
        assert_int_equal(p.d.keys[i].change, want[i].change);
        assert_true(!p.d.keys[i].a == (want[i].change == DIFF_ADDED));
        assert_true(!p.d.keys[i].b == (want[i].change == DIFF_REMOVED));
    }
    drop(&p);
}

static void finds_tensors_that_differ(void **state)
{
    (void)state;
    static const uint64_t ne[2] = { 4, 2 };
    static const uint16_t half[8] = {
        0x3c00, 0x4000, 0x4200, 0x4400, 0, 0, 0, 0
    }; /* 1 2 3 4 0.. */
    static const float exact[8] = { 1, 2, 3, 4 };
    struct build a = BUILD_INIT, b = BUILD_INIT;
    build_f32(&a, "gone", 4, 1, NULL);
    build_f32(&b, "new", 4, 1, NULL);
    build_f32(&a, "shape", 4, 2, exact);
    build_f32(&b, "shape", 2, 4, exact);
    build_f32(&a, "type", 4, 2, exact);
    build_tensor(&b, "type", 1, 2, ne, half, sizeof half);
    struct pair p = compare(&a, &b);
    assert_int_equal(p.d.n_tensors, 4);
    assert_int_equal(p.d.n_changed, 4);
    assert_int_equal(tensor(&p, "gone")->change, DIFF_REMOVED);
    assert_int_equal(tensor(&p, "new")->change, DIFF_ADDED);
    const struct diff_tensor *shape = tensor(&p, "shape"), *type = tensor(&p, "type");
    assert_true(shape->shape && !shape->type && shape->uncompared);
    assert_true(type->type && !type->shape && !type->uncompared && !type->identical);
    assert_true(type->relative_l2 == 0 && type->max_abs == 0);
    drop(&p);
}

static void measures_the_error(void **state)
{
    (void)state;
    /* Longer than a piece, so that the sums run on; a = 3, b = 4 but for one element. */
    enum { COLS = 1000, ROWS = 101, N = COLS * ROWS };
    float *x = x_alloc(N * sizeof *x), *y = x_alloc(N * sizeof *y);
    for (int i = 0; i < N; i++) {
        x[i] = 3;
        y[i] = 4;
    }
    y[98765] = -2;
    struct build a = BUILD_INIT, b = BUILD_INIT;
    build_f32(&a, "x", COLS, ROWS, x);
    build_f32(&b, "x", COLS, ROWS, y);
    struct pair p = compare(&a, &b);
    const struct diff_tensor *t = tensor(&p, "x");
    double error = N - 1 + 25, reference = 9.0 * N;
    assert_true(t->change == DIFF_CHANGED && !t->identical && !t->non_finite);
    assert_true(fabs(t->relative_l2 - sqrt(error / reference)) < 1e-12);
    assert_true(fabs(t->sqnr_db - 10 * log10(reference / error)) < 1e-9);
    assert_true(fabs(t->rms_error - sqrt(error / N)) < 1e-12);
    assert_true(t->max_abs == 5 && t->max_at == 98765);
    drop(&p);
    free(x);
    free(y);
}

static void leaves_out_what_is_no_number(void **state)
{
    (void)state;
    static const float x[10] = { 1, (float)NAN, 3, 4, 5, 6, 7, 8, 9, 3e38f };
    static const float y[10] = { 1, 2, (float)INFINITY, 4, 5, 6, 7, 8, 8, 3e38f };
    struct build a = BUILD_INIT, b = BUILD_INIT;
    build_f32(&a, "x", 10, 1, x);
    build_f32(&b, "x", 10, 1, y);
    static const float zero[2] = { 0 }, one[2] = { 0, 1 };
    build_f32(&a, "zero", 2, 1, zero);
    build_f32(&b, "zero", 2, 1, one);
    struct pair p = compare(&a, &b);
    const struct diff_tensor *t = tensor(&p, "x"), *z = tensor(&p, "zero");
    assert_int_equal(t->non_finite, 2);
    assert_true(t->max_abs == 1 && t->max_at == 8);
    assert_true(fabs(t->rms_error - sqrt(1.0 / 8)) < 1e-12);
    assert_true(isinf(z->relative_l2) && z->sqnr_db < 0 && isinf(z->sqnr_db));
    drop(&p);
}

static void says_what_it_cannot_compare(void **state)
{
    (void)state;
    static const uint64_t ne[1] = { 256 };
    static const uint8_t block[144] = { 1 }, other[144] = { 2 };
    struct build a = BUILD_INIT, b = BUILD_INIT;
    build_tensor(&a, "opaque", 139, 1, ne, block, sizeof block);
    build_tensor(&b, "opaque", 139, 1, ne, other, sizeof other);
    build_record(&a, "bad", 0, 1, ne, 1 << 20);
    build_record(&b, "bad", 0, 1, ne, 160);
    build_put(&b.data, 0, 2048);
    struct pair p = compare(&a, &b);
    assert_int_equal(tensor(&p, "opaque")->change, DIFF_CHANGED);
    assert_non_null(strstr(tensor(&p, "opaque")->uncompared, "does not decode"));
    assert_int_equal(tensor(&p, "bad")->change, DIFF_CHANGED);
    assert_non_null(strstr(tensor(&p, "bad")->uncompared, "outside the file"));
    drop(&p);
}

static void stops_when_told(void **state)
{
    (void)state;
    struct build a = BUILD_INIT;
    build_llama(&a);
    size_t n;
    uint8_t *image = build_image(&a, &n);
    struct weights *w = NULL;
    struct err e = ERR_INIT;
    assert_ok(weights_borrow(image, n, "a", &w, &e), &e);
    sig_atomic_t stop = 1;
    struct progress progress = { .cancel = &stop };
    struct diff d;
    assert_fails(diff_weights(w, w, &progress, &d, &e), ST_CANCELLED, &e);
    assert_int_equal(d.n_tensors, 1);
    diff_free(&d);
    weights_close(w);
    free(image);
    build_free(&a);
    assert_int_equal(mem_used(), 0);
}

/* Files of an independent quantizer: 8 bits lie within 1 %, 4 bits within 15 %. */
static void measures_real_files(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    struct weights *f32 = NULL, *q8 = NULL, *q4 = NULL;
    assert_ok(weights_open(need_data("stories260K/stories260K-ffn192-f32.gguf"), &f32, &e), &e);
    assert_ok(weights_open(need_data("stories260K/stories260K-ffn192-Q8_0.gguf"), &q8, &e), &e);
    assert_ok(weights_open(need_data("stories260K/stories260K-ffn192-Q4_0.gguf"), &q4, &e), &e);
    struct weights *other[2] = { q8, q4 };
    for (int i = 0; i < 2; i++) {
        struct diff d;
        assert_ok(diff_weights(f32, other[i], NULL, &d, &e), &e);
        assert_int_equal(d.n_tensors, 47);
        size_t changed = 0;
        for (size_t k = 0; k < d.n_tensors; k++) {
            const struct diff_tensor *t = &d.tensors[k];
            changed += t->type;
            assert_null(t->uncompared);
            assert_true(t->type ? t->relative_l2 > 0 : t->identical);
            assert_true(t->relative_l2 < (t->b->format == format_by_name("q4_0") ? 0.15 : 0.01));
        }
        assert_int_equal(changed, 36); /* the matrices; norms stay f32 */
        diff_free(&d);
    }
    weights_close(f32);
    weights_close(q8);
    weights_close(q4);
}

UNIT_MAIN(CASE(finds_no_difference_in_a_copy), CASE(finds_keys_that_differ),
          CASE(finds_tensors_that_differ), CASE(measures_the_error),
          CASE(leaves_out_what_is_no_number), CASE(says_what_it_cannot_compare),
          CASE(stops_when_told), CASE(measures_real_files))
