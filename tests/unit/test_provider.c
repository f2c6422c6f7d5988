/* SPDX-License-Identifier: MIT */
/* Encodings that are kept: known by their content, and on the disk when memory is short. */
#include "tests/harness/unit.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "file/temporary.h"
#include "quant/provider.h"
#include "tests/harness/commands.h"
#include "tests/harness/models.h"

/* One form from the cache, or a new one if `may_make`; the status tells which. */
static enum st make(struct quant_cache *c, const struct model *m, const struct weight *of,
                    const struct weight *from, const struct imatrix_entry *importance,
                    bool may_make, struct form **out)
{
    static const volatile sig_atomic_t stop = 1, go_on = 0;
    struct progress progress = { .cancel = may_make ? &go_on : &stop };
    struct quant_request q = { .model = m, .of = of, .from = from,
                               .format = numeric_storage(format_by_name("q4_0")),
                               .method = quant_method_at(0), .importance = importance,
                               .progress = &progress };
    struct quant_note note;
    struct err e = ERR_INIT;
    return quant_make(c, &q, out, &note, &e);
}

/* A weight like w over other bytes: its own, with the lowest bit of one number turned. */
static struct weight turned(const struct weight *w)
{
    struct weight copy = *w;
    uint8_t *bytes = malloc(w->bytes);
    memcpy(bytes, w->data, w->bytes);
    bytes[w->bytes / 2] ^= 1;
    copy.data = bytes;
    return copy;
}

static void what_is_kept_is_known_by_its_content(void **unused)
{
    (void)unused;
    struct sitting f = sitting_begin("--demo=add");
    const struct model *m = f.m->model, *n;
    const struct weight *a = models_weight(f.m->model, "blk.0.ffn_up.weight"), *b;
    assert_ok(session_open(f.s, "--demo=add", NULL, &f.m, &f.e), &f.e);
    n = f.m->model;
    b = models_weight(f.m->model, "blk.0.ffn_up.weight");
    const struct weight other = turned(a);
    float sum[2048], one = 1;
    for (size_t i = 0; i < sizeof sum / sizeof *sum; i++)
        sum[i] = 1 + (float)(i % 7);
    const struct imatrix_entry uneven = { .n_in = a->cols, .n_mat = 1, .sum = sum, .count = &one };
    assert_true(a->cols <= sizeof sum / sizeof *sum);
    struct quant_cache *c = quant_cache_new();
    struct form *plain, *weighted, *form;
    assert_int_equal(make(c, m, a, a, NULL, true, &plain), ST_OK);
    assert_int_equal(make(c, m, a, a, &uneven, false, &form), ST_CANCELLED);
    assert_int_equal(make(c, m, a, a, &uneven, true, &weighted), ST_OK);
    assert_memory_not_equal(plain->w.data, weighted->w.data, plain->w.bytes);
    assert_int_equal(make(c, m, a, a, NULL, false, &form), ST_OK);
    assert_ptr_equal(form, plain);
    form_drop(form);
    assert_int_equal(make(c, m, a, &other, NULL, false, &form), ST_CANCELLED);
    /* the same numbers in another file: its own form, which outlives the first file */
    assert_int_equal(make(c, n, b, b, NULL, false, &form), ST_OK);
    assert_ptr_not_equal(form, plain);
    assert_ptr_equal(form->w.name.p, b->name.p);
    assert_memory_equal(form->w.data, plain->w.data, plain->w.bytes);
    form_drop(plain);
    form_drop(weighted);
    quant_cache_forget(c, m->weights);
    assert_int_equal(make(c, m, a, a, &uneven, false, &plain), ST_CANCELLED);
    assert_int_equal(make(c, n, b, b, NULL, false, &plain), ST_OK);
    assert_ptr_equal(form, plain);
    form_drop(plain);
    form_drop(form);
    quant_cache_free(c);
    free((void *)(uintptr_t)other.data);
    sitting_end(&f);
}

/* Beyond half of the budget encodings are mapped from the disk: the model runs as from memory. */
static void what_memory_cannot_hold_lies_on_the_disk(void **unused)
{
    (void)unused;
    float *x[2];
    size_t bytes;
    void *p;
    struct err e = ERR_INIT;
    if (temporary_alloc(&p, 1, "a byte", &e))
        SKIP_CASE("%s", e.msg);
    mem_free(p);
    for (int small = 0; small < 2; small++) {
        struct sitting f = sitting_begin("--demo=add");
        if (small)
            mem_set_budget(2 * (mem_used() + 100000));
        command(f.s, "plan stock Q4_K_M");
        assert_true(small ? mem_mapped() > 500000 : mem_mapped() == 0);
        x[small] = sitting_logits(&f, &bytes);
        command(f.s, "undo");
        mem_set_budget(0);
        sitting_end(&f);
        assert_int_equal(mem_mapped(), 0);
    }
    assert_memory_equal(x[0], x[1], bytes);
    free(x[0]);
    free(x[1]);
}

UNIT_MAIN(CASE(what_is_kept_is_known_by_its_content),
          CASE(what_memory_cannot_hold_lies_on_the_disk))
