/* SPDX-License-Identifier: MIT */
/* Errors of quantized weights equal what is computed here in double, and planted faults are the
 * worst block of their weight. */
#include "tests/harness/unit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "kernels/statistics.h"
#include "study/qerr.h"
#include "tests/harness/models.h"

enum { CODES = 16 };

static void assert_close(double got, double want)
{
    if (isnan(got) != isnan(want) || !(isnan(got) || fabs(got - want) <= 1e-9 * fmax(1, want)))
        fail_msg("got %.12g, expected %.12g", got, want);
}

static struct weights *open_weights(const char *file)
{
    struct weights *w;
    struct err e = ERR_INIT;
    assert_ok(weights_open(golden_path(file), &w, &e), &e);
    return w;
}

static float *decoded(const struct weight *w)
{
    struct err e = ERR_INIT;
    float *x = x_alloc((size_t)(w->rows * w->cols) * sizeof *x);
    assert_ok(weight_decode(w, 0, w->rows, x, &e), &e);
    return x;
}

/* All sums of a q4_0 weight anew: value = half scale * (code - 8). */
static void check_weight(const struct weight *ref, const struct weight *w, const struct qerr *q)
{
    float *a = decoded(ref), *b = decoded(w);
    const int64_t n = (int64_t)(w->rows * w->cols), cols = (int64_t)w->cols;
    double r2 = 0, e2 = 0, steps = 0, most = 0, clipped = 0, counted = 0, count[CODES] = { 0 };
    for (int64_t i = 0; i < n; i++) {
        const uint8_t *p = w->data + i / 32 * 18;
        const double d = f16_to_f32((uint16_t)(p[0] | p[1] << 8));
        const double err = (double)b[i] - (double)a[i];
        r2 += (double)a[i] * (double)a[i];
        e2 += err * err;
        most = fmax(most, fabs(err));
        count[i % 32 < 16 ? p[2 + i % 16] & 15 : p[2 + i % 16] >> 4]++;
        if (d != 0) {
            counted++;
            steps += err / d * (err / d);
            clipped += fabs(err / d) > 0.51;
        }
    }
    double bits = 0, used = 0;
    for (int i = 0; i < CODES; i++) {
        used += count[i] > 0;
        bits -= count[i] > 0 ? count[i] / (double)n * log2(count[i] / (double)n) : 0;
    }
    assert_int_equal(q->all.n, n);
    assert_close(q->relerr, sqrt(e2 / r2));
    assert_close(q->sqnr, 10 * log10(r2 / e2));
    assert_close(q->rmse, sqrt(e2 / (double)n));
    assert_close(q->maxerr, most);
    assert_close(fabs((double)b[q->maxerr_at] - (double)a[q->maxerr_at]), most);
    assert_close(q->steps, sqrt(steps / counted));
    assert_close(q->clipped, clipped / counted);
    assert_close(q->code_entropy, bits);
    assert_close(q->used, used / CODES);
    double *by_col = x_alloc((size_t)cols * sizeof *by_col);
    for (int64_t r = 0; r < (int64_t)w->rows; r++) {
        double row = 0;
        for (int64_t c = 0; c < cols; c++) {
            const double err = (double)b[r * cols + c] - (double)a[r * cols + c];
            row += err * err;
            by_col[c] += err * err;
        }
        assert_close(q->rows[r].error, row);
        assert_int_equal(q->rows[r].n, cols);
    }
    for (int64_t c = 0; c < cols; c++)
        assert_close(q->cols[c].error, by_col[c]);
    free(by_col);
    free(a);
    free(b);
}

static void errors_are_those_of_the_definition(void **state)
{
    (void)state;
    struct weights *ref = open_weights("models/llama-gqa-tied.gguf");
    struct weights *quant = open_weights("models/llama-gqa-tied-q4_0.gguf");
    struct pool *pool = pool_new(3);
    const struct qerr_options o = { .rows = true, .cols = true, .worst = 5 };
    struct qerr_options shared = o;
    shared.pool = pool;
    struct err e = ERR_INIT;
    int checked = 0;
    for (size_t i = 0; i < quant->n; i++) {
        const struct weight *w = &quant->list[i], *r = weights_find(ref, w->name);
        struct qerr q, again;
        assert_non_null(r);
        assert_ok(qerr_of(r, w, &o, &q, &e), &e);
        assert_ok(qerr_of(r, w, &shared, &again, &e), &e);
        assert_true(q.relerr == again.relerr && q.all.error == again.all.error);
        if (w->format == format_by_name("q4_0")) {
            check_weight(r, w, &q);
            assert_true(q.n_worst > 1 && q.n_worst <= 5 && q.n_worst == again.n_worst);
            for (size_t k = 0; k < q.n_worst; k++) {
                assert_memory_equal(&q.worst[k], &again.worst[k], sizeof q.worst[k]);
                assert_true(k == 0 || q.worst[k].relerr <= q.worst[k - 1].relerr);
            }
            checked++;
        } else {
            assert_true(isnan(q.steps) && isnan(q.used) && q.n_worst == 0);
            assert_true(q.relerr == 0 && q.sqnr == INFINITY && q.maxerr == 0);
        }
        qerr_free(&q);
        qerr_free(&again);
    }
    assert_true(checked > 3);
    pool_free(pool);
    weights_close(ref);
    weights_close(quant);
}

/* ---- planted faults ---- */

enum fault { X16, FLIPPED, ZEROED, NAN_SCALE, FAULTS };

static void plant(enum fault kind, uint8_t *block)
{
    uint16_t h = (uint16_t)(block[0] | block[1] << 8);
    switch (kind) {
    case X16: h = f32_to_f16(16 * f16_to_f32(h)); break;
    case FLIPPED: h ^= 0x8000; break;
    case ZEROED: h = 0; break;
    default: h = 0x7e00; break;
    }
    block[0] = (uint8_t)h;
    block[1] = (uint8_t)(h >> 8);
}

static void planted_blocks_are_the_worst(void **state)
{
    (void)state;
    struct weights *ref = open_weights("models/llama-gqa-tied.gguf"), *quant;
    struct err e = ERR_INIT;
    size_t bytes;
    uint8_t *image = (uint8_t *)unit_read(golden_path("models/llama-gqa-tied-q4_0.gguf"), &bytes);
    assert_ok(weights_borrow(image, bytes, "planted", &quant, &e), &e);
    uint64_t seed = 11;
    int found[FAULTS] = { 0 };
    for (int i = 0; i < 200 * FAULTS; i++) {
        const struct weight *w;
        do
            w = &quant->list[unit_random(&seed) % quant->n];
        while (w->format != format_by_name("q4_0"));
        const enum fault kind = (enum fault)(i % FAULTS);
        const int64_t per_row = (int64_t)w->cols / 32;
        const int64_t at = (int64_t)(unit_random(&seed) % (uint64_t)(per_row * (int64_t)w->rows));
        uint8_t *block = image + (w->data - image) + at * 18, kept[2] = { block[0], block[1] };
        struct qerr q;
        plant(kind, block);
        const struct qerr_options o = { .worst = 1 };
        assert_ok(qerr_of(weights_find(ref, w->name), w, &o, &q, &e), &e);
        found[kind] += q.n_worst == 1 && q.worst[0].row == at / per_row
                       && q.worst[0].blkq == at % per_row;
        if (kind == NAN_SCALE)
            assert_int_equal(q.all.nonfinite, 32);
        qerr_free(&q);
        memcpy(block, kept, 2);
    }
    for (int k = 0; k < FAULTS; k++)
        assert_int_equal(found[k], 200);
    weights_close(ref);
    weights_close(quant);
    free(image);
}

static void what_cannot_be_compared_is_said(void **state)
{
    (void)state;
    struct weights *ref = open_weights("models/llama-gqa-tied.gguf");
    struct err e = ERR_INIT;
    struct qerr q;
    const struct qerr_options o = { .worst = 1 };
    const struct weight *a = weights_find(ref, STR("token_embd.weight"));
    const struct weight *b = weights_find(ref, STR("output_norm.weight"));
    assert_fails(qerr_of(a, b, &o, &q, &e), ST_UNSUPPORTED, &e);
    volatile sig_atomic_t stop = 1;
    struct progress p = { .cancel = &stop };
    const struct qerr_options stopped = { .worst = 1, .progress = &p, .rows = true };
    assert_fails(qerr_of(a, a, &stopped, &q, &e), ST_CANCELLED, &e);
    weights_close(ref);
}

UNIT_MAIN(CASE(errors_are_those_of_the_definition), CASE(planted_blocks_are_the_worst),
          CASE(what_cannot_be_compared_is_said))
