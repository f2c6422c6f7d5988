/* SPDX-License-Identifier: MIT */
#include "tests/harness/models.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "study/perplexity.h"
#include "tests/harness/unit.h"

struct model *models_open(const char *path)
{
    struct err e = ERR_INIT;
    struct weights *w = NULL;
    assert_ok(weights_open(path, &w, &e), &e);
    return model_new(w);
}

struct model *models_build(struct build *b)
{
    static struct {
        uint8_t *p;
    } *images; /* kept reachable: models borrow them */
    static size_t n, cap;
    struct err e = ERR_INIT;
    struct weights *w = NULL;
    size_t size;
    x_grow(&images, &cap, n + 1, sizeof *images);
    images[n].p = build_image(b, &size);
    build_free(b);
    assert_ok(weights_borrow(images[n++].p, size, "built", &w, &e), &e);
    return model_new(w);
}

const struct weight *models_weight(const struct model *m, const char *name)
{
    const struct weight *w = weights_find(m->weights, str_from(name));
    if (!w)
        fail_msg("there is no weight %s", name);
    return w;
}

float *models_decoded(const struct weight *w)
{
    float *x = x_alloc((size_t)(w->rows * w->cols) * sizeof *x);
    weight_decode_flat(w, 0, w->rows * w->cols, x);
    return x;
}

struct run *models_run(const struct model *m, const struct run_options *o, const int32_t *ids,
                       int64_t n)
{
    struct err e = ERR_INIT;
    const struct run_options plain = { 0 };
    struct run *r = run_new(m, o ? o : &plain);
    assert_ok(run_input(r, ids, NULL, NULL, n, &e), &e);
    return r;
}

void models_finish(struct run *r)
{
    struct err e = ERR_INIT;
    assert_ok(run_forward(r, run_end(r), NULL, NULL, &e), &e);
    assert_true(run_done(r));
}

struct tensor models_read(struct run *r, int span, const char *point)
{
    struct err e = ERR_INIT;
    struct shape shape;
    const char *brief;
    struct tensor x;
    int v = graph_point(run_graph(r), str_from(point), &shape, &brief);
    if (v < 0)
        fail_msg("there is no point %s", point);
    assert_ok(run_read(r, span, v, &x, &e), &e);
    int64_t n = shape_count(&x.shape);
    const int keys = shape_axis(&x.shape, AXIS_KEY);
    x.shape = shape_resolve(shape, run_span(r, span).n, keys < 0 ? 0 : x.shape.d[keys].n);
    assert_int_equal(shape_count(&x.shape), n);
    return x;
}

float *models_output(struct run *r, const char *point, int64_t *n)
{
    float *out = NULL;
    size_t cap = 0, used = 0;
    for (int s = 0; s < run_n_spans(r); s++) {
        struct tensor x = models_read(r, s, point);
        size_t count = (size_t)shape_count(&x.shape);
        x_grow(&out, &cap, used + count, sizeof *out);
        memcpy(out + used, x.data, count * sizeof *out);
        used += count;
    }
    if (n)
        *n = (int64_t)used;
    return out;
}

double models_perplexity(const char *path, const char *text, enum compute mode, int64_t context,
                         int64_t chunks)
{
    struct err e = ERR_INIT;
    struct model *m = models_open(path);
    size_t bytes, n = 0, cap = 0;
    int32_t *ids = NULL;
    char *words = unit_read(text, &bytes);
    assert_ok(tokenizer_encode(m->tokenizer, str_of(words, bytes), 0, &ids, &n, &cap, &e), &e);
    struct pool *pool = pool_new(pool_cpus());
    struct run_options o = { .mode = mode, .pool = pool };
    struct perplexity p;
    const struct perplexity_options how = { .context = context, .limit = chunks };
    assert_ok(perplexity_of(m, &o, ids, (int64_t)n, &how, NULL, &p, &e), &e);
    pool_free(pool);
    free(words);
    free(ids);
    model_free(m);
    return p.value;
}
