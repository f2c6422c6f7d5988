/* SPDX-License-Identifier: MIT */
/* quant on points: activations in other formats, as they would be rounded by hand. */
#include "tests/harness/unit.h"

#include <stdlib.h>

#include "kernels/encode.h"
#include "tests/harness/commands.h"
#include "tests/harness/models.h"

/* A point of the active run, copied. */
static float *point(struct sitting *f, const char *name, int64_t *n)
{
    struct run *r = f->s->models.run->run;
    struct tensor x;
    const int v = graph_point(run_graph(r), str_from(name), NULL, NULL);
    assert_true(v >= 0);
    assert_ok(run_forward(r, run_end(r), NULL, NULL, &f->e), &f->e);
    assert_ok(run_read(r, 0, v, &x, &f->e), &f->e);
    *n = shape_count(&x.shape);
    float *y = malloc((size_t)*n * sizeof *y);
    memcpy(y, x.data, (size_t)*n * sizeof *y);
    return y;
}

/* What a point becomes under a format is what rounding it by hand gives. */
static void activations_are_rounded_as_by_hand(void **unused)
{
    (void)unused;
    static const struct {
        const char *point, *format;
    } cases[] = {
        { "blk.1.attn_k.out", "int4:g32" },
        { "blk.1.ffn_down.in", "int8" },
        { "blk.1.ffn_down.in", "e4m3:tensor" },
        { "blk.2.attn_v.out", "int3:chan:asym" },
        { "blk.0.attn_norm.out", "q8_0" },
        { "blk.0.attn_norm.out", "q4_k" },
        { "blk.3.ffn_norm.out", "int4:chan:static" },
        { "blk.3.ffn_norm.out", "int8:tensor:asym:static" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct sitting f = sitting_begin("--demo=add");
        struct numeric as;
        size_t bytes;
        int64_t n;
        free(sitting_logits(&f, &bytes));
        float *want = point(&f, cases[i].point, &n);
        struct buf line = { 0 };
        buf_printf(&line, "quant %s %s", cases[i].point, cases[i].format);
        command(f.s, "%s", buf_str(&line));
        float *got = point(&f, cases[i].point, &n);
        buf_free(&line);
        assert_ok(numeric_parse(str_from(cases[i].format), &as, &f.e), &f.e);
        as.fixed = false; /* over the same tokens static ranges are those of the moment */
        if (as.base == NUMERIC_STORAGE) {
            uint8_t *block = malloc(5 * 1024);
            assert_ok(encode_rows(as.storage, want, 5, (size_t)n / 5, NULL, block, &f.e), &f.e);
            format_info(as.storage)->decode(block, want, n);
            free(block);
        } else
            assert_ok(numeric_simulate(&as, want, 5, n / 5, NULL, NULL, &f.e), &f.e);
        assert_memory_equal(want, got, (size_t)n * sizeof *want);
        command(f.s, "undo");
        free(want);
        free(got);
        sitting_end(&f);
    }
}

static void what_cannot_be_rounded_is_refused(void **unused)
{
    (void)unused;
    struct sitting f = sitting_begin("--demo=add");
    refused(f.s, ST_STATE, 6, "prompt", "quant blk.0.ffn_norm.out int8:chan:static");
    size_t bytes;
    free(sitting_logits(&f, &bytes));
    struct result out = answer(f.s, "quant blk.0.ffn_*.weight q4_0 act=int8");
    assert_int_equal(f.s->changes.list[0]->n_targets, 2); /* gate and up read the same */
    assert_int_equal(f.s->changes.list[0]->n_forms, 3);
    result_free(&out);
    refused(f.s, ST_SYNTAX, 30, "activations", "quant blk.0.ffn_norm.out int8 act=int8");
    refused(f.s, ST_SYNTAX, 9, "a format comes first", "quant ** act=orig");
    refused(f.s, ST_SYNTAX, 23, "said already", "quant ** q8_0 act=orig act=int8");
    refused(f.s, ST_SYNTAX, 6, "whole", "quant blk.0.ffn_norm.out[tok=1] int8");
    refused(f.s, ST_UNSUPPORTED, 6, "keys", "quant blk.0.attn.prob int8:g8");
    refused(f.s, ST_RANGE, 6, "multiple", "quant blk.0.ffn_norm.out int8:g100");
    refused(f.s, ST_SYNTAX, 35, "int has", "quant blk.0.ffn_up.weight q8_0 act=int9");
    sitting_end(&f);
}

UNIT_MAIN(CASE(activations_are_rounded_as_by_hand), CASE(what_cannot_be_rounded_is_refused))
