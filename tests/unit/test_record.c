/* SPDX-License-Identifier: MIT */
/* The recorder keeps what a run produces: the same bits, without computing again, within its
 * memory, and forgets what a change touches. */
#include "tests/harness/unit.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "engine/record.h"
#include "session/session.h"
#include "tests/harness/commands.h"
#include "tests/harness/models.h"

static const int32_t ids[] = { 3, 70, 5, 9, 200, 17 };

static struct run *start(struct model **m, int64_t span)
{
    *m = models_open(golden_path("models/llama-gqa-tied.gguf"));
    return models_run(*m, &(struct run_options){ .span = span }, ids, 6);
}

static void end(struct run *r, struct model *m)
{
    run_free(r);
    model_free(m);
}

static void keeps_the_bits_of_every_point(void **state)
{
    (void)state;
    struct model *m, *other;
    struct run *r = start(&m, 4), *plain = start(&other, 4);
    struct err e = ERR_INIT;
    for (int v = 0; v < m->graph->n_values; v++)
        run_record(r, v, RECORD_OPENED);
    models_finish(r);
    models_finish(plain);
    for (int span = 0; span < 2; span++)
        for (int v = 0; v < m->graph->n_values; v++) {
            struct tensor x, y;
            const struct recorded *kept = run_recorded(r, span, v);
            assert_non_null(kept);
            assert_ok(run_read(plain, span, v, &y, &e), &e);
            const size_t n = (size_t)shape_count(&y.shape);
            assert_true(shape_equal(&kept->shape, &y.shape));
            assert_memory_equal(kept->data, y.data, n * sizeof *y.data);
            assert_int_equal(kept->summary.n, n);
            assert_ok(run_read(r, span, v, &x, &e), &e);
            assert_memory_equal(x.data, y.data, n * sizeof *y.data);
        }
    end(r, m);
    end(plain, other);
    assert_int_equal(mem_used(), 0);
}

/* Reading what is recorded leaves the rest alone: nothing of the first span is computed again. */
static void computes_nothing_again(void **state)
{
    (void)state;
    struct model *m;
    struct run *r = start(&m, 2);
    struct err e = ERR_INIT;
    struct tensor x, y;
    const int first = graph_point(m->graph, STR("blk.0.ffn_act.out"), NULL, NULL),
              second = graph_point(m->graph, STR("blk.1.attn_q.out"), NULL, NULL);
    run_record(r, first, RECORD_ON);
    run_record(r, second, RECORD_ON);
    models_finish(r);
    const struct run_memory before = run_memory(r);
    assert_ok(run_read(r, 0, first, &x, &e), &e);
    const float *data = x.data;
    assert_ok(run_read(r, 1, second, &y, &e), &e);
    assert_ptr_equal(data, run_recorded(r, 0, first)->data);
    assert_ptr_equal(y.data, run_recorded(r, 1, second)->data);
    assert_int_equal(run_memory(r).values, before.values);
    struct record_use u = run_record_use(r);
    assert_int_equal(u.points, 2);
    assert_int_equal(u.entries, 6);
    assert_int_equal(u.whole, 6);
    assert_int_equal(u.bytes, (64 + 32) * 6 * sizeof(float));
    run_record(r, first, RECORD_OFF);
    assert_null(run_recorded(r, 0, first));
    u = run_record_use(r);
    assert_int_equal(u.bytes, 32 * 6 * sizeof(float));
    end(r, m);
}

static void keeps_statistics_where_memory_ends(void **state)
{
    (void)state;
    int32_t many[40];
    for (int i = 0; i < 40; i++)
        many[i] = 3 + i;
    struct model *m = models_open(golden_path("models/llama-gqa-tied.gguf"));
    struct run *r = models_run(m, NULL, many, 40);
    for (int v = 0; v < m->graph->n_values; v++)
        run_record(r, v, RECORD_ON);
    mem_set_budget(mem_used() + 300000); /* a quarter of it is for numbers */
    const size_t most = mem_budget() / 4;
    models_finish(r);
    const struct record_use u = run_record_use(r);
    mem_set_budget(0);
    assert_true(u.entries > 30);
    assert_true(u.whole > 0 && u.whole < u.entries);
    assert_true(u.bytes <= most && u.bytes > most / 2);
    const int last = m->graph->logits;
    assert_null(run_recorded(r, 0, last)->data);
    assert_true(run_recorded(r, 0, last)->summary.absmax > 0);
    end(r, m);
}

static void zero(void *data, const struct event *ev, float *x)
{
    (void)data;
    memset(x, 0, (size_t)shape_count(&ev->x->shape) * sizeof *x);
}

static void forgets_what_changes(void **state)
{
    (void)state;
    struct model *m;
    struct run *r = start(&m, 0);
    const int before = graph_point(m->graph, STR("blk.0.out"), NULL, NULL),
              at = graph_point(m->graph, STR("blk.1.mid"), NULL, NULL),
              after = graph_point(m->graph, STR("blk.1.out"), NULL, NULL);
    run_record(r, before, RECORD_ON);
    run_record(r, after, RECORD_ON);
    models_finish(r);
    const double was = run_recorded(r, 0, after)->summary.rms;
    const int handle = run_transform(r, at, zero, NULL);
    assert_non_null(run_recorded(r, 0, before));
    assert_null(run_recorded(r, 0, after));
    models_finish(r);
    assert_true(run_recorded(r, 0, after)->summary.rms != was);
    run_untransform(r, handle);
    models_finish(r);
    assert_true(run_recorded(r, 0, after)->summary.rms == was);
    end(r, m);
}

static void is_a_setting_and_a_verb(void **state)
{
    (void)state;
    static const char *const good[] = { "record blk.*.{mid,out}", "prompt -t 3,5,9", "run" };
    struct session *s = session_new();
    struct err e = ERR_INIT;
    struct session_model *m;
    assert_ok(session_open(s, golden_path("models/llama-gqa-tied.gguf"), NULL, &m, &e), &e);
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        command(s, "%s", good[i]);
    struct result out = answer(s, "info record");
    assert_int_equal(out.tables[0]->n_rows, 4);
    assert_string_equal(table_cell(out.tables[0], 3, 0)->s, "blk.1.out");
    result_free(&out);
    refused(s, ST_NOTFOUND, ANYWHERE, "", "record nothing.here");
    refused(s, ST_SYNTAX, ANYWHERE, "", "record a b c");
    assert_string_equal(setting_text(&s->settings, SETTING_RECORD), "blk.*.{mid,out}");
    command(s, "set record l_out-1");
    assert_int_equal(run_record_use(s->models.run->run).points, 1);
    command(s, "record off");
    assert_int_equal(run_record_use(s->models.run->run).points, 0);
    session_free(s);
}

UNIT_MAIN(CASE(keeps_the_bits_of_every_point), CASE(computes_nothing_again),
          CASE(keeps_statistics_where_memory_ends), CASE(forgets_what_changes),
          CASE(is_a_setting_and_a_verb))
