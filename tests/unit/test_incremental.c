/* SPDX-License-Identifier: MIT */
/* Changes one after the other: what is measured again are the blocks from the change on, and it is
 * what a whole new measurement gives, bit for bit. */
#include "tests/harness/unit.h"

#include <string.h>

#include "session/measure.h"
#include "tests/harness/commands.h"

/* What holds now, measured on an evaluator. */
static struct measurement measure(struct sitting *f, const struct subject *x, struct evaluator *ev)
{
    struct measurement m;
    measurement_begin(ev, PART_TUNE, 0, &m);
    assert_ok(evaluator_measure(ev, &x->plan, &m, NULL, &f->e), &f->e);
    assert_true(m.segments == m.segments_of && m.segments > 1);
    return m;
}

/* The session's evaluator, which has seen all that came before, and one that has seen nothing. */
static void assert_as_from_the_start(struct sitting *f, const char *after)
{
    struct subject x;
    struct evaluator *old, *fresh;
    assert_ok(subject_of(f->s, true, &x, &f->e), &f->e);
    assert_ok(session_evaluator(f->s, &x, &old, &f->e), &f->e);
    assert_ok(subject_evaluator(f->s, &x, &f->s->data.set, 0, &fresh, &f->e), &f->e);
    struct measurement a = measure(f, &x, old), b = measure(f, &x, fresh);
    if (memcmp(a.sums, b.sums, (size_t)a.segments * sizeof *a.sums)
        || memcmp(a.kl, b.kl, (size_t)(a.segments * a.scored) * sizeof *a.kl))
        fail_msg("%s: not what a whole run gives", after);
    measurement_free(&a);
    measurement_free(&b);
    evaluator_free(fresh);
    session_measure_settle(f->s);
    subject_free(&x);
}

static void what_is_run_again_is_what_a_whole_run_gives(void **unused)
{
    (void)unused;
    static const char *const lines[] = {
        "quant blk.*.ffn_down.weight q8_0 act=int8",
        "quant blk.3.ffn_up.weight q4_0",
        "quant blk.1.ffn_down.weight q4_0 act=int8", /* another weight, the same rounding */
        "quant blk.1.ffn_down.weight q4_0 act=int4:g32",
        "quant blk.2.attn_k.out int4:g16",
        "quant blk.2.attn_k.out int4:g16:clip=0.5",
        "skip blk.0.ffn",
        "quant blk.3.** q8_0 act=e4m3",
        "set tensor blk.1.out[chan=3] = *1.5",
        "quant blk.2.attn_k.out orig",
        "set tensor blk.1.out[chan=4] = *1.5",
        "quant blk.3.attn_q.weight q4_k",
    };
    enum { LINES = sizeof lines / sizeof *lines };
    uint64_t state = 11;
    struct sitting f = sitting_begin("--demo=add");
    command(f.s, "data add tokens 800");
    for (int i = 0; i < LINES; i++) {
        command(f.s, "%s", lines[i]);
        assert_as_from_the_start(&f, lines[i]);
    }
    for (int i = 0; i < 20; i++) { /* back and forth; each change may go before others */
        const struct change *c = f.s->changes.n
                                     ? f.s->changes.list[unit_random(&state) % f.s->changes.n]
                                     : NULL;
        if (c && unit_random(&state) % 2)
            command(f.s, "undo change %d", c->number);
        else if (f.s->changes.n_undone)
            command(f.s, "redo");
        else
            command(f.s, "%s", lines[unit_random(&state) % LINES]);
        assert_as_from_the_start(&f, "back and forth");
    }
    sitting_end(&f);
}

static void count_nodes(struct progress *p, const char *label, double done, double total)
{
    (void)done;
    (void)total;
    *(int *)p->data += str_starts(str_from(label), "measured");
}

/* Nodes that a change costs until it is measured. */
static int nodes_of(struct sitting *f, const char *line)
{
    int n = 0;
    struct progress p = { count_nodes, NULL, &n };
    f->s->progress = &p;
    command(f->s, "%s", line);
    f->s->progress = NULL;
    return n;
}

static void roundings_that_stay_are_not_run_again(void **unused)
{
    (void)unused;
    struct sitting f = sitting_begin("--demo=add");
    command(f.s, "data add tokens 800");
    const int all = nodes_of(&f, "quant ** q8_0 act=int8");
    const int last = nodes_of(&f, "quant blk.3.ffn_down.weight q4_0"),
              again = nodes_of(&f, "quant blk.3.ffn_down.weight q5_0 act=int8"),
              first = nodes_of(&f, "quant blk.0.attn_q.weight q4_0"),
              other = nodes_of(&f, "quant blk.3.ffn_down.weight q5_0 act=int4"),
              back = nodes_of(&f, "quant blk.0.attn_norm.out int4");
    assert_true(last * 4 < all);
    assert_int_equal(again, last);
    assert_true(last < other && other < 2 * last); /* from where ffn_down.in is made */
    assert_true(first > 10 * last && back > first && back <= all);
    sitting_end(&f);
}

UNIT_MAIN(CASE(what_is_run_again_is_what_a_whole_run_gives),
          CASE(roundings_that_stay_are_not_run_again))
