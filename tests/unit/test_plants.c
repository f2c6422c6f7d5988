/* SPDX-License-Identifier: MIT */
/* Ground truth: files with one known fault, planted at random, and what each tool must find:
 * exactly that weight, row, block or channel, and nothing else. */
#include "tests/harness/unit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/memory.h"
#include "file/lint.h"
#include "kernels/codec.h"
#include "kernels/statistics.h"
#include "study/compare.h"
#include "study/why.h"

enum { PLANTS = 200, N_IDS = 8 };
static const int32_t ids[N_IDS] = { 5, 9, 3, 7, 11, 2, 8, 4 };

/* ---- files ---- */

struct original {
    char *bytes;
    size_t n;
    struct model *m;
};

static struct model *open_model(const char *path)
{
    struct err e = ERR_INIT;
    struct weights *w;
    assert_ok(weights_open(path, &w, &e), &e);
    return model_new(w);
}

static struct original original(const char *name)
{
    struct original o = { .m = open_model(golden_path(name)) };
    o.bytes = unit_read(golden_path(name), &o.n);
    return o;
}

static void original_free(struct original *o)
{
    model_free(o->m);
    free(o->bytes);
}

/* The bytes of a weight in a copy of the file. */
static uint8_t *bytes_of(const struct original *o, char *copy, const struct weight *w)
{
    char *found = memmem(o->bytes, o->n, w->data, w->bytes);
    assert_non_null(found);
    return (uint8_t *)copy + (found - o->bytes);
}

static struct model *open_copy(const struct original *o, const char *copy)
{
    char path[] = "/tmp/qdb-plant-XXXXXX";
    const int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, copy, o->n), (ssize_t)o->n);
    close(fd);
    struct model *m = open_model(path);
    unlink(path); /* it stays mapped */
    return m;
}

static struct run *run_through(const struct model *m)
{
    struct err e = ERR_INIT;
    struct run *r = run_new(m, &(struct run_options){ .mode = COMPUTE_EXACT });
    assert_ok(run_input(r, ids, NULL, NULL, N_IDS, &e), &e);
    assert_ok(run_forward(r, run_end(r), NULL, NULL, &e), &e);
    return r;
}

/* A matrix of this format, drawn. */
static const struct weight *draw_matrix(const struct original *o, const char *format,
                                        uint64_t *seed)
{
    const struct weights *all = o->m->weights;
    for (;;) {
        const struct weight *w = &all->list[unit_random(seed) % all->n];
        if (w->rank == 2 && !strcmp(format_info(w->format)->name, format))
            return w;
    }
}

/* ---- a NaN scale ---- */

static bool lint_finds(const struct model *m, const struct weight *planted, int64_t row)
{
    struct err e = ERR_INIT;
    struct lint l;
    char text[40];
    int errors = 0, right = 0;
    snprintf(text, sizeof text, "row %d", (int)row);
    assert_ok(lint_weights(m->weights, 0, NULL, &l, &e), &e);
    for (size_t i = 0; i < l.n; i++) {
        if (strcmp(l.list[i].check, "nan"))
            continue;
        errors++;
        const char *at = strstr(l.list[i].message, text);
        right += str_is(planted->name, l.list[i].subject) && at
                 && (at[strlen(text)] < '0' || at[strlen(text)] > '9');
    }
    lint_free(&l);
    return errors == 1 && right == 1;
}

static bool why_finds(struct run *r, const struct weight *planted, int64_t row, int64_t block)
{
    struct err e = ERR_INIT;
    struct tensor x;
    struct why w;
    const struct graph *g = run_graph(r);
    assert_ok(run_read(r, 0, g->logits, &x, &e), &e);
    int64_t at = shape_count(&x.shape) - 1;
    while (at >= 0 && !isnan(x.data[at]))
        at--;
    if (at < 0)
        return false;
    assert_ok(why_of(r, 0, g->logits, at, &w, &e), &e);
    const struct why_step *birth = &w.steps[w.n - 1];
    const struct node *node = &g->nodes[g->values[birth->value].node];
    const bool right = birth->verdict == WHY_WEIGHT
                       && str_eq(node->w[birth->cause.slot]->name, planted->name)
                       && birth->cause.row == row
                       && birth->cause.col / format_info(planted->format)->block == block;
    why_free(&w);
    return right;
}

static void a_nan_scale_is_found_by_lint_and_why(void **unused)
{
    (void)unused;
    struct original o = original("models/llama-gqa-tied-q4_0.gguf");
    uint64_t seed = 11;
    int lint = 0, why = 0;
    for (int i = 0; i < PLANTS; i++) {
        const struct weight *w = draw_matrix(&o, "q4_0", &seed);
        const struct format_info *f = format_info(w->format);
        const int64_t row = (int64_t)(unit_random(&seed) % w->rows);
        const int64_t block = (int64_t)(unit_random(&seed) % (w->cols / (uint64_t)f->block));
        char *copy = x_alloc(o.n);
        memcpy(copy, o.bytes, o.n);
        uint8_t *p = bytes_of(&o, copy, w) + (size_t)row * w->row_bytes
                     + (size_t)(block * f->bytes);
        p[0] = 0;
        p[1] = 0x7e; /* the scale, a half */
        struct model *m = open_copy(&o, copy);
        struct run *r = run_through(m);
        lint += lint_finds(m, w, row);
        why += why_finds(r, w, row, block);
        run_free(r);
        model_free(m);
        free(copy);
    }
    print_message("# NaN scales: lint %d, why %d of %d\n", lint, why, PLANTS);
    assert_int_equal(lint, PLANTS);
    assert_int_equal(why, PLANTS);
    original_free(&o);
}

/* ---- a weight that is wrong but finite, beside the file as it was ---- */

struct verdict {
    int nodes, right; /* nodes that make an error here; those that use the weight, at its row */
};

/* What diverge goes by: which ops make an error of their own on the reference's input. */
static struct verdict made_here(struct run *r, struct run *ref, const struct weight *planted,
                                int64_t row)
{
    struct err e = ERR_INIT;
    struct verdict v = { 0, 0 };
    const struct graph *g = run_graph(r);
    for (int i = 0; i < g->n_nodes; i++) {
        struct point_error p;
        const int value = g->nodes[i].out;
        if (run_skips(r, value))
            continue;
        assert_ok(compare_made_here(r, &(struct ref_source){ .run = ref }, 0, value, &p, &e), &e);
        if (p.maxerr_at < 0)
            continue;
        const struct weight *w = g->nodes[i].w[0];
        const int64_t per = shape_per_token(&g->values[value].shape);
        const int64_t at = g->nodes[i].op == OP_EMBED ? ids[p.maxerr_at / per] : p.maxerr_at % per;
        v.nodes++;
        v.right += w && str_eq(w->name, planted->name) && at == row;
    }
    return v;
}

/* Plants made by `spoil` in matrices of a format: they are found by what their op makes. */
static void spoiled(const char *file, const char *format, uint64_t seed, const char *what,
                    bool (*spoil)(uint8_t *row, const struct weight *w, uint64_t *seed))
{
    struct original o = original(file);
    struct run *ref = run_through(o.m);
    int found = 0, claims = 0, right = 0;
    for (int i = 0; i < PLANTS;) {
        const struct weight *w = draw_matrix(&o, format, &seed);
        const int64_t row = (int64_t)(unit_random(&seed) % w->rows);
        char *copy = x_alloc(o.n);
        memcpy(copy, o.bytes, o.n);
        if (spoil(bytes_of(&o, copy, w) + (size_t)row * w->row_bytes, w, &seed)) {
            struct model *m = open_copy(&o, copy);
            struct run *r = run_through(m);
            const struct verdict v = made_here(r, ref, w, row);
            found += v.right > 0;
            claims += v.nodes;
            right += v.right;
            run_free(r);
            model_free(m);
            i++;
        }
        free(copy);
    }
    print_message("# %s: found %d of %d, %d of %d claims right\n", what, found, PLANTS, right,
                  claims);
    assert_int_equal(found, PLANTS);
    assert_true(right >= 0.95 * claims);
    run_free(ref);
    original_free(&o);
}

static bool zero_row(uint8_t *row, const struct weight *w, uint64_t *seed)
{
    (void)seed;
    memset(row, 0, w->row_bytes);
    return true;
}

/* A scale with the wrong sign, or 16 times too large; nothing where the scale is 0. */
static bool wrong_scale(uint8_t *row, const struct weight *w, uint64_t *seed)
{
    const struct format_info *f = format_info(w->format);
    const int64_t block = (int64_t)(unit_random(seed) % (w->cols / (uint64_t)f->block));
    uint8_t *p = row + block * f->bytes;
    uint16_t scale;
    memcpy(&scale, p, sizeof scale);
    if (!(scale & 0x7fff))
        return false;
    scale = unit_random(seed) % 2 ? scale ^ 0x8000 : (uint16_t)(scale + (4 << 10));
    memcpy(p, &scale, sizeof scale);
    return true;
}

static void a_zeroed_row_is_where_the_error_is_made(void **unused)
{
    (void)unused;
    spoiled("models/llama-gqa-tied.gguf", "f32", 12, "zeroed rows", zero_row);
}

static void a_wrong_scale_is_where_the_error_is_made(void **unused)
{
    (void)unused;
    spoiled("models/llama-gqa-tied-q8_0.gguf", "q8_0", 13, "wrong scales", wrong_scale);
}

/* ---- a channel 64 times larger whose readers are 64 times smaller ---- */

static void scale_by(uint8_t *p, float factor)
{
    float x;
    memcpy(&x, p, sizeof x);
    x *= factor;
    memcpy(p, &x, sizeof x);
}

static void a_large_channel_is_an_outlier_and_changes_nothing(void **unused)
{
    (void)unused;
    static const char *const readers[] = { "ffn_gate", "ffn_up" };
    struct original o = original("models/llama-gqa-tied.gguf");
    struct err e = ERR_INIT;
    uint64_t seed = 14;
    int found = 0, same = 0;
    struct run *ref = run_through(o.m);
    for (int i = 0; i < PLANTS; i++) {
        const int block = (int)(unit_random(&seed) % (uint64_t)run_graph(ref)->n_blocks);
        const int64_t channel = (int64_t)(unit_random(&seed) % (uint64_t)run_graph(ref)->width);
        char name[64], *copy = x_alloc(o.n);
        memcpy(copy, o.bytes, o.n);
        snprintf(name, sizeof name, "blk.%d.ffn_norm.weight", block);
        const struct weight *w = weights_find(o.m->weights, str_from(name));
        scale_by(bytes_of(&o, copy, w) + 4 * channel, 64);
        for (int k = 0; k < 2; k++) {
            snprintf(name, sizeof name, "blk.%d.%s.weight", block, readers[k]);
            w = weights_find(o.m->weights, str_from(name));
            for (uint64_t row = 0; row < w->rows; row++)
                scale_by(bytes_of(&o, copy, w) + row * w->row_bytes + 4 * (size_t)channel,
                         1.0f / 64);
        }
        struct model *m = open_copy(&o, copy);
        struct run *r = run_through(m);
        struct tensor x, y;
        assert_ok(run_read(r, 0, run_graph(r)->logits, &x, &e), &e);
        assert_ok(run_read(ref, 0, run_graph(ref)->logits, &y, &e), &e);
        same += !memcmp(x.data, y.data, (size_t)shape_count(&x.shape) * sizeof *x.data);
        snprintf(name, sizeof name, "blk.%d.ffn_norm.out", block);
        const int v = graph_point(run_graph(r), str_from(name), NULL, NULL);
        assert_ok(run_read(r, 0, v, &x, &e), &e);
        float absmax[64], scratch[64];
        int32_t row[64], hits[64];
        double squares[64];
        struct channel_table t = { absmax, row, hits, squares, NULL };
        struct outlier_report report;
        assert_true(x.shape.d[1].n <= 64);
        outliers_of(x.data, x.shape.d[0].n, x.shape.d[1].n, 1, 4, &t, scratch, &report);
        found += report.hits > 0 && report.absmax_col == channel;
        run_free(r);
        model_free(m);
        free(copy);
    }
    print_message("# large channels: %d of %d found, %d with the same logits\n", found, PLANTS,
                  same);
    assert_int_equal(same, PLANTS);      /* powers of two: the same bits */
    assert_true(found >= 0.95 * PLANTS); /* a channel may be next to nothing on this text */
    run_free(ref);
    original_free(&o);
}

UNIT_MAIN(CASE(a_nan_scale_is_found_by_lint_and_why), CASE(a_zeroed_row_is_where_the_error_is_made),
          CASE(a_wrong_scale_is_where_the_error_is_made),
          CASE(a_large_channel_is_an_outlier_and_changes_nothing))
