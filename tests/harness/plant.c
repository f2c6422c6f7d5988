/* SPDX-License-Identifier: MIT */
#include "tests/harness/plant.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/memory.h"
#include "kernels/codec.h"
#include "tests/harness/unit.h"

static struct model *open_model(const char *path)
{
    struct err e = ERR_INIT;
    struct weights *w;
    assert_ok(weights_open(path, &w, &e), &e);
    return model_new(w);
}

struct original original_open(const char *path)
{
    struct original o = { .m = open_model(path) };
    o.bytes = unit_read(path, &o.n);
    return o;
}

void original_free(struct original *o)
{
    model_free(o->m);
    free(o->bytes);
}

char *original_copy(const struct original *o)
{
    char *copy = x_alloc(o->n);
    memcpy(copy, o->bytes, o->n);
    return copy;
}

uint8_t *plant_at(const struct original *o, char *copy, const struct weight *w, int64_t row,
                  int64_t block)
{
    const char *found = memmem(o->bytes, o->n, w->data, w->bytes);
    assert_non_null(found);
    return (uint8_t *)copy + (found - o->bytes) + (size_t)row * w->row_bytes
           + (size_t)(block * format_info(w->format)->bytes);
}

const struct weight *plant_draw(const struct original *o, const char *format, uint64_t *seed)
{
    const struct weights *all = o->m->weights;
    for (;;) {
        const struct weight *w = &all->list[unit_random(seed) % all->n];
        if (w->rank == 2 && !strcmp(format_info(w->format)->name, format))
            return w;
    }
}

void plant_write(const struct original *o, const char *copy, char path[PLANT_PATH])
{
    memcpy(path, "/tmp/qdb-plant-XXXXXX", sizeof "/tmp/qdb-plant-XXXXXX");
    const int fd = mkstemp(path);
    assert_true(fd >= 0);
    for (size_t at = 0; at < o->n;) {
        const ssize_t n = write(fd, copy + at, o->n - at);
        assert_true(n > 0);
        at += (size_t)n;
    }
    close(fd);
}

struct model *plant_model(const struct original *o, const char *copy)
{
    char path[PLANT_PATH];
    plant_write(o, copy, path);
    struct model *m = open_model(path);
    unlink(path); /* it stays mapped */
    return m;
}

struct run *plant_run(const struct model *m, enum compute mode, const int32_t *ids, int64_t n)
{
    struct err e = ERR_INIT;
    struct run *r = run_new(m, &(struct run_options){ .mode = mode });
    assert_ok(run_input(r, ids, NULL, NULL, n, &e), &e);
    assert_ok(run_forward(r, run_end(r), NULL, NULL, &e), &e);
    return r;
}

void plant_score_add(struct plant_score *s, int claims, int right)
{
    s->plants++;
    s->found += right > 0;
    s->claims += claims;
    s->right += right;
}

void plant_score_expect(const char *what, const struct plant_score *s)
{
    print_message("# %s: found %d of %d, %d of %d claims right\n", what, s->found, s->plants,
                  s->right, s->claims);
    assert_int_equal(s->found, s->plants);
    assert_true(s->right >= 0.95 * s->claims);
}
