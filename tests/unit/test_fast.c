/* SPDX-License-Identifier: MIT */
/* Mode fast: every level within its bound, the same bits whatever the threads; decoders of the
 * levels give the bits of the codecs. */
#include "tests/harness/unit.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "kernels/level.h"
#include "kernels/matrix.h"
#include "kernels/statistics.h"
#include "study/floor.h"
#include "tests/harness/models.h"

static uint64_t state = 1;

static uint32_t draw(void)
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(state >> 32);
}

/* Numbers of both signs over many magnitudes. */
static float number(void)
{
    const int exponent = (int)(draw() % 24) - 12;
    return ldexpf((float)(int32_t)draw() / 2147483648.0f, exponent);
}

static float *numbers(int64_t n)
{
    float *x = x_alloc((size_t)n * sizeof *x);
    for (int64_t i = 0; i < n; i++)
        x[i] = number();
    return x;
}

/* A row of random blocks of sane size: where chance gives none, zeros. */
static void draw_row(const struct format_info *f, uint8_t *row, int64_t cols)
{
    for (int64_t c = 0; c < cols; c += f->block, row += f->bytes) {
        bool sane = false;
        for (int tries = 0; !sane && tries < 200; tries++) {
            float x[FORMAT_MAX_BLOCK];
            for (int i = 0; i < f->bytes; i++)
                row[i] = (uint8_t)draw();
            f->decode(row, x, f->block);
            sane = true;
            for (int i = 0; i < f->block; i++)
                sane = sane && isfinite(x[i]) && fabsf(x[i]) < 1e10f
                       && (x[i] == 0 || fabsf(x[i]) > 1e-10f);
        }
        if (!sane)
            memset(row, 0, (size_t)f->bytes);
    }
}

static struct matrix draw_matrix(enum format f, int64_t rows, int64_t cols)
{
    struct matrix m = { f, NULL, 0, rows, cols, NULL };
    assert_true(format_row_bytes(f, (uint64_t)cols, &m.row_bytes));
    uint8_t *data = x_alloc(m.row_bytes * (size_t)rows);
    for (int64_t r = 0; r < rows; r++)
        draw_row(format_info(f), data + (size_t)r * m.row_bytes, cols);
    m.data = data;
    return m;
}

/* The bound of docs/modes.md for formats that are multiplied as floats, of the sum of abs(w * x);
 * operands of 2 bytes are brain floats. */
static double bound(const struct level *l, int64_t tokens, int64_t cols)
{
    if (tokens < FAST_LEAST_FLOATS)
        return ldexp(1, -20);
    const double sums = ldexp((double)(cols + 4), -24);
    return l->fast->bytes == 2 ? ldexp(1, -7) + ldexp(1, -16) + sums : sums;
}

/* For weights in integers: activations lie within half a step of the largest of their block, 2^-15
 * of it, of many tokens in groups of 256 2^-13; as much again for sums in float. */
static double fine_bound(const struct native_format *f, const float *w, const float *x, int64_t n,
                         int64_t tokens)
{
    const bool super = f->group == 256, many = tokens >= FAST_LEAST_TOKENS;
    const int block = !super ? 32 : many ? 128 : 256;
    double sum = 0;
    for (int64_t c = 0; c < n; c += block) {
        double largest = 0, weights = 0;
        for (int i = 0; i < block; i++) {
            largest = fmax(largest, fabs((double)x[c + i]));
            weights += fabs((double)w[c + i]);
        }
        sum += largest * weights;
    }
    return ldexp(sum, super && many ? -12 : -14);
}

static void check(const struct level *l, const struct matrix *w, const float *bias,
                  const float *x, int64_t tokens)
{
    const int64_t n = w->cols;
    const bool integers = tokens < FAST_LEAST_TOKENS || l->words;
    const struct native_format *f = integers ? native_format(w->format) : NULL;
    float *y = x_alloc((size_t)(tokens * w->rows) * sizeof *y), *row = numbers(n);
    level_force(l);
    matrix_mul(w, bias, x, tokens, y, COMPUTE_FAST, NULL, NULL);
    level_force(NULL);
    for (int64_t r = 0; r < w->rows; r++) {
        format_info(w->format)->decode((const char *)w->data + (size_t)r * w->row_bytes, row, n);
        for (int64_t t = 0; t < tokens; t++) {
            double sum = bias ? bias[r] : 0, size = fabs(sum);
            for (int64_t c = 0; c < n; c++) {
                sum += (double)row[c] * x[t * n + c];
                size += fabs((double)row[c] * x[t * n + c]);
            }
            const double most = f ? fine_bound(f, row, x + t * n, n, tokens) + 1e-6 * size
                                  : bound(l, tokens, n) * size;
            if (!(fabs(y[t * w->rows + r] - sum) <= most))
                fail_msg("%s: %s %lld x %lld, %lld tokens: y[%lld][%lld] = %.9g, not %.9g", l->name,
                         format_info(w->format)->name, (long long)w->rows, (long long)n,
                         (long long)tokens, (long long)t, (long long)r, (double)y[t * w->rows + r],
                         sum);
        }
    }
    free(y);
    free(row);
}

static void products_stay_within_the_bound(void **unused)
{
    (void)unused;
    static const int64_t sizes[][3] = { { 1, 1, 5 },     { 3, 7, 6 },     { 31, 33, 16 },
                                        { 33, 64, 17 },  { 17, 65, 31 },  { 48, 255, 33 },
                                        { 16, 256, 48 }, { 40, 300, 8 },  { 70, 576, 100 },
                                        { 32, 2048, 5 }, { 8, 513, 530 }, { 5, 40, 4 } };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        const int64_t rows = sizes[i][0], cols = sizes[i][1], tokens = sizes[i][2];
        float *x = numbers(tokens * cols), *bias = numbers(rows);
        for (size_t k = 0; level_at(k); k++) {
            struct matrix w = draw_matrix(format_by_name(i % 2 ? "f16" : "f32"), rows, cols);
            if (level_supported(level_at(k)))
                check(level_at(k), &w, i % 3 ? bias : NULL, x, tokens);
            free((void *)w.data);
        }
        free(x), free(bias);
    }
}

static void every_format_is_multiplied(void **unused)
{
    (void)unused;
    for (enum format f = 0; f < format_count(); f++) {
        const struct format_info *info = format_info(f);
        if (!info->decode)
            continue;
        const int64_t cols = info->block == 256 ? 512 : 256 + 3 * info->block, tokens = 35;
        struct matrix w = draw_matrix(f, 35, cols);
        float *x = numbers(tokens * cols), *bias = numbers(35);
        for (size_t k = 0; level_at(k); k++)
            if (level_supported(level_at(k))) {
                check(level_at(k), &w, NULL, x, tokens);
                check(level_at(k), &w, bias, x, 2);
            }
        free(bias);
        free(x);
        free((void *)w.data);
    }
}

/* Random blocks, most of them with scales that no file has: what is a number is the same number. */
static void levels_decode_the_bits_of_the_codecs(void **unused)
{
    (void)unused;
    enum { MOST = 1024, GUARD = 7 };
    static float want[MOST], got[MOST + 1];
    for (enum format f = 0; f < format_count(); f++) {
        const struct format_info *info = format_info(f);
        if (!info->decode)
            continue;
        const struct decoder d = decoder_of(f);
        uint8_t *raw = x_alloc((size_t)(MOST / info->block * info->bytes + GUARD));
        for (int round = 0; round < 50; round++) {
            const int64_t blocks = 1 + (int64_t)(draw() % (unsigned)(MOST / info->block));
            const int64_t n = blocks * info->block;
            uint8_t *src = raw + round % GUARD;
            for (int64_t i = 0; i < decoder_bytes(&d, n); i++)
                src[i] = (uint8_t)draw();
            info->decode(src, want, n);
            for (size_t k = 0; level_at(k); k++) {
                if (!level_supported(level_at(k)))
                    continue;
                got[n] = 42;
                level_at(k)->decode(&d, src, got, n);
                assert_true(got[n] == 42);
                for (int64_t i = 0; i < n; i++)
                    if (memcmp(&got[i], &want[i], sizeof *got)
                        && !(isnan(got[i]) && isnan(want[i])))
                        fail_msg("%s: %s[%lld] is %.9g, not %.9g", level_at(k)->name, info->name,
                                 (long long)i, (double)got[i], (double)want[i]);
            }
        }
        free(raw);
    }
}

static void bits_do_not_depend_on_threads(void **unused)
{
    (void)unused;
    enum { ROWS = 100, COLS = 288, TOKENS = 37 };
    struct matrix w = draw_matrix(format_by_name("q5_1"), ROWS, COLS);
    float *x = numbers(TOKENS * COLS);
    static float one[TOKENS * ROWS], three[TOKENS * ROWS];
    struct pool *pool = pool_new(3);
    for (size_t k = 0; level_at(k); k++) {
        if (!level_supported(level_at(k)))
            continue;
        level_force(level_at(k));
        matrix_mul(&w, NULL, x, TOKENS, one, COMPUTE_FAST, NULL, NULL);
        matrix_mul(&w, NULL, x, TOKENS, three, COMPUTE_FAST, pool, NULL);
        assert_memory_equal(one, three, sizeof one);
        /* Nor on the neighbours, as long as there are some. */
        matrix_mul(&w, NULL, x + COLS, 34, three, COMPUTE_FAST, NULL, NULL);
        assert_memory_equal(one + ROWS, three, 34 * ROWS * sizeof *one);
        matrix_mul(&w, NULL, x, 20, one, COMPUTE_FAST, pool, NULL);
        for (int t = 0; t < 20; t++)
            matrix_mul(&w, NULL, x + t * COLS, 1, three + t * ROWS, COMPUTE_FAST, NULL, NULL);
        assert_memory_equal(one, three, 20 * ROWS * sizeof *one);
    }
    level_force(NULL);
    pool_free(pool);
    free(x);
    free((void *)w.data);
}

/* What is no number stays in its row and its token. */
static void infinities_and_nan_stay_where_they_are(void **unused)
{
    (void)unused;
    enum { ROWS = 20, COLS = 70, TOKENS = 18 };
    float *w = numbers(ROWS * COLS), *x = numbers(TOKENS * COLS), y[TOKENS * ROWS];
    w[3 * COLS + 69] = INFINITY;
    x[4 * COLS + 68] = NAN;
    x[17 * COLS] = FLT_MAX; /* brain floats make it infinite */
    struct matrix m = { format_by_name("f32"), w, COLS * sizeof *w, ROWS, COLS, NULL };
    for (size_t k = 0; level_at(k); k++) {
        if (!level_supported(level_at(k)))
            continue;
        level_force(level_at(k));
        matrix_mul(&m, NULL, x, TOKENS, y, COMPUTE_FAST, NULL, NULL);
        for (int t = 0; t < TOKENS - 1; t++)
            for (int r = 0; r < ROWS; r++)
                assert_true(isfinite(y[t * ROWS + r]) == (t != 4 && r != 3));
    }
    level_force(NULL);
    free(w), free(x);
}

/* The demo model and the golden ones say nearly the same as in mode exact, and not the same. */
static void models_are_near_exact(void **unused)
{
    (void)unused;
    static const char *const files[] = { "models/llama-gqa-tied-q4_0.gguf",
                                         "models/llama-gqa-tied-q8_0.gguf" };
    for (int i = 0; i < 2; i++) {
        const char *path = golden_path(files[i]), *text = golden_path("text/prose.txt");
        const double exact = models_perplexity(path, text, COMPUTE_EXACT, 64, 0);
        for (size_t k = 0; level_at(k); k++) {
            if (!level_supported(level_at(k)))
                continue;
            level_force(level_at(k));
            const double fast = models_perplexity(path, text, COMPUTE_FAST, 64, 0);
            if (!(fabs(fast / exact - 1) < 0.005))
                fail_msg("%s at %s: perplexity %.6f, exact %.6f", files[i], level_at(k)->name, fast,
                         exact);
            if (level_at(k)->fast->bytes == 2)
                assert_true(fast != exact);
        }
        level_force(NULL);
    }
}

/* What rounding moves: little, the same each time, less where operands are not rounded. */
static void the_floor_is_what_rounding_moves(void **unused)
{
    (void)unused;
    struct err e = ERR_INIT;
    struct model *m = models_open(golden_path("models/llama-gqa-tied-q8_0.gguf"));
    struct run_options o = { .span = 3 };
    int32_t ids[300];
    for (int i = 0; i < 300; i++)
        ids[i] = 3 + i * 11 % 300;
    for (size_t k = 0; level_at(k); k++) {
        if (!level_supported(level_at(k)))
            continue;
        level_force(level_at(k));
        struct fast_floor f, again;
        assert_ok(fast_floor_of(m, &o, ids, 300, NULL, &f, &e), &e);
        assert_ok(fast_floor_of(m, &o, ids, 300, NULL, &again, &e), &e);
        assert_true(f.scored == FLOOR_TOKENS / 2 - 1);
        assert_memory_equal(&f, &again, sizeof f);
        /* Without rounded operands it is keys and values in f16 that move it. */
        assert_true(level_at(k)->fast->bytes == 2 ? f.kl > 1e-5 && f.kl < 1e-2
                                                  : f.kl > 0 && f.kl < 1e-5);
    }
    level_force(NULL);
    assert_fails(fast_floor_of(m, &o, ids, 3, NULL, &(struct fast_floor){ 0 }, &e), ST_RANGE, &e);
    model_free(m);
}

/* Mean KL(exact || fast) over tokens that go through a model in spans. */
static double kl_in_spans(const struct model *m, const int32_t *ids, int64_t n, int64_t span)
{
    struct err e = ERR_INIT;
    struct run *run[2];
    double sum = 0;
    for (int i = 0; i < 2; i++) {
        const struct run_options o = { .span = span, .mode = i ? COMPUTE_FAST : COMPUTE_EXACT };
        run[i] = run_new(m, &o);
        assert_ok(run_input(run[i], ids, NULL, NULL, n, &e), &e);
        assert_ok(run_forward(run[i], run_end(run[i]), NULL, NULL, &e), &e);
    }
    const struct graph *g = run_graph(run[0]);
    for (int s = 0; s < run_n_spans(run[0]); s++) {
        struct tensor exact, fast;
        assert_ok(run_read(run[0], s, g->logits, &exact, &e), &e);
        assert_ok(run_read(run[1], s, g->logits, &fast, &e), &e);
        for (int64_t t = 0; t < run_span(run[0], s).n; t++)
            sum += kl_of_logits(exact.data + t * g->vocab, fast.data + t * g->vocab, g->vocab,
                                -INFINITY);
    }
    run_free(run[0]);
    run_free(run[1]);
    return sum / (double)n;
}

/* Few tokens lie below the floor that is measured with many; what is left is that of keys and
 * values in f16. */
static void few_tokens_are_nearer(void **unused)
{
    (void)unused;
    static const char *const files[] = { "models/llama-gqa-tied-q4_0.gguf",
                                         "models/llama-gqa-tied-q8_0.gguf" };
    int32_t ids[96];
    for (int i = 0; i < 96; i++)
        ids[i] = 3 + i * 11 % 300;
    for (int i = 0; i < 2; i++) {
        struct model *m = models_open(golden_path(files[i]));
        for (size_t k = 0; level_at(k); k++) {
            if (!level_supported(level_at(k)))
                continue;
            level_force(level_at(k));
            const double one = kl_in_spans(m, ids, 96, 1), few = kl_in_spans(m, ids, 96, 7);
            const double many = kl_in_spans(m, ids, 96, 96);
            assert_true(one > 0 && one < 1e-5);
            assert_true(few == one);
            if (level_at(k)->fast->bytes == 2)
                assert_true(many > 20 * one);
        }
        level_force(NULL);
        model_free(m);
    }
}

/* A point has the bits of the level that the run began with, also where it is computed again. */
static void a_run_keeps_its_level(void **unused)
{
    (void)unused;
    enum { TOKENS = 40 };
    const struct level *other = level_now();
    if (other == &level_c)
        skip();
    struct err e = ERR_INIT;
    struct model *m = models_open(golden_path("models/llama-gqa-tied-q8_0.gguf"));
    int32_t ids[TOKENS];
    for (int i = 0; i < TOKENS; i++)
        ids[i] = 3 + i * 11 % 300;
    const struct run_options o = { .mode = COMPUTE_FAST, .checkpoint_bytes = RUN_NO_CHECKPOINTS };
    const int point = m->graph->values[m->graph->logits].node / 2;
    struct tensor x;
    struct run *r[2];
    size_t bytes = 0;
    float *want = NULL;
    for (int i = 0; i < 2; i++) {
        level_force(&level_c);
        r[i] = run_new(m, &o);
        assert_ok(run_input(r[i], ids, NULL, NULL, TOKENS, &e), &e);
        level_force(i ? other : &level_c);
        assert_ok(run_forward(r[i], run_end(r[i]), NULL, NULL, &e), &e);
        assert_ok(run_read(r[i], 0, m->graph->nodes[point].out, &x, &e), &e);
        if (i) {
            assert_memory_equal(x.data, want, bytes);
            continue;
        }
        bytes = (size_t)shape_count(&x.shape) * sizeof *want;
        want = x_alloc(bytes);
        memcpy(want, x.data, bytes);
    }
    level_force(NULL);
    run_free(r[0]);
    run_free(r[1]);
    free(want);
    model_free(m);
}

UNIT_MAIN(CASE(products_stay_within_the_bound), CASE(every_format_is_multiplied),
          CASE(levels_decode_the_bits_of_the_codecs), CASE(bits_do_not_depend_on_threads),
          CASE(infinities_and_nan_stay_where_they_are), CASE(models_are_near_exact),
          CASE(the_floor_is_what_rounding_moves), CASE(few_tokens_are_nearer),
          CASE(a_run_keeps_its_level))
