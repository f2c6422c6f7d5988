/* SPDX-License-Identifier: MIT */
/* Changes that make no sense are refused where the sense ends, and change nothing. */
#include "tests/harness/unit.h"

#include "session/session.h"
#include "tests/harness/commands.h"
#include "tests/harness/models.h"

static const int32_t ids[] = { 5, 9, 3, 7, 11, 2, 8, 4 };
enum { N_IDS = sizeof ids / sizeof *ids };

static void bad_changes_change_nothing(void **unused)
{
    (void)unused;
    struct session_run *r;
    struct session *s = prompted(golden_path("models/llama-gqa-tied.gguf"), ids, N_IDS, &r);
    const struct graph *g = run_graph(r->run);
    models_finish(r->run);
    refused(s, ST_SYNTAX, 10, "", "set tensor");
    refused(s, ST_SYNTAX, 20, "", "set tensor blk.0.out");
    refused(s, ST_SYNTAX, 22, "", "set tensor blk.0.out = ");
    refused(s, ST_SYNTAX, 27, "", "set tensor blk.0.out = file");
    refused(s, ST_SYNTAX, 31, "", "set tensor blk.0.out = file a b");
    refused(s, ST_NOTFOUND, 11, "", "set tensor blk.0.ot = 0");
    refused(s, ST_RANGE, 21, "", "set tensor blk.0.out[tok=8] = 0");
    refused(s, ST_SYNTAX, 21, "", "set tensor blk.0.out[head=1] = 0");
    refused(s, ST_UNSUPPORTED, 21, "", "set tensor blk.0.out[chan=top2(absmax)] = 0");
    refused(s, ST_SYNTAX, 21, "", "set tensor blk.0.out@s0 = 0");
    refused(s, ST_UNSUPPORTED, 7, "", "ablate blk.0.attn_q.weight");
    refused(s, ST_RANGE, 23, "", "set tensor blk.0.out = 1e99");
    refused(s, ST_SYNTAX, 23, "", "set tensor blk.0.out = *x");
    refused(s, ST_RANGE, 23, "", "set tensor blk.0.out = blk.0.out[tok=1:3]");
    refused(s, ST_IO, 28, "", "set tensor blk.0.out = file /nonexistent.npy");
    refused(s, ST_SYNTAX, 6, "", "ablate");
    refused(s, ST_SYNTAX, 17, "", "ablate blk.0.out median");
    refused(s, ST_NOTFOUND, 7, "", "ablate nobody!blk.0.out");
    assert_true(run_done(r->run)); /* it has not moved */
    command(s, "ablate **");       /* everything there is */
    assert_int_equal(s->changes.list[0]->n_targets, g->n_values);
    models_finish(r->run);
    for (int v = 0; v < g->n_values; v++) {
        const struct tensor x = models_read(r->run, 0, g->values[v].name);
        for (int64_t i = 0; i < shape_count(&x.shape); i++)
            assert_true(x.data[i] == 0);
    }
    session_close(s, s->models.model);
    assert_int_equal(s->changes.n, 0);
    session_free(s);
}

UNIT_MAIN(CASE(bad_changes_change_nothing))
