/* SPDX-License-Identifier: MIT */
/* The verbs of execution: run, continue, stepping both ways, positions. */
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "command/command.h"
#include "command/stops.h"
#include "session/control.h"
#include "session/lookup.h"

/* The count that word i may be; 1 without. */
static enum st count_at(const struct call *c, int i, int64_t *n, struct err *e)
{
    *n = 1;
    if (i >= c->n_words)
        return ST_OK;
    enum st st = parse_i64(c->words[i].text, 1, 1 << 30, n, e);
    return st ? st_at(e, c->words[i].column, c->words[i].length) : ST_OK;
}

static enum st level_at(const struct call *c, int i, enum level_choice *level, struct err *e)
{
    static const char *const names[] = { "node", "sub", "block", "span" };
    for (int k = 0; k < 4; k++)
        if (str_is(c->words[i].text, names[k])) {
            *level = (enum level_choice)k;
            return ST_OK;
        }
    return call_fail(c, i, e, ST_SYNTAX, "a level is node, sub, block or span");
}

static enum level_choice level_of(const struct session *s)
{
    return (enum level_choice)setting_int(&s->settings, SETTING_LEVEL);
}

static enum st run_run(struct session *s, const struct call *c, struct result *out, struct err *e)
{
    (void)c;
    struct session_run *r;
    struct stop stop;
    enum st st = session_need_run(s, &r, e);
    if (!st)
        st = run_goto(r->run, (struct position){ 0, 0 }, s->progress, e);
    if (!st)
        st = control_forward(s, r, run_end(r->run), STOP_END, &stop, e);
    return show_stop(s, st, &stop, out, e);
}

static enum st run_continue(struct session *s, const struct call *c, struct result *out,
                            struct err *e)
{
    struct session_run *r;
    struct stop stop = { 0 };
    int64_t n;
    enum st st = session_need_run(s, &r, e);
    if (!st)
        st = count_at(c, 0, &n, e);
    if (!st && run_done(r->run)) {
        st_fail(e, ST_STATE, "the run is at its end");
        return st_hint(e, "`gen N` appends tokens; `run` starts again; `reverse-step` goes back");
    }
    for (int64_t i = 0; !st && i < n && !run_done(r->run); i++)
        st = control_forward(s, r, run_end(r->run), STOP_END, &stop, e);
    return show_stop(s, st, &stop, out, e);
}

typedef enum st step_fn(struct session *s, struct session_run *r, enum level_choice level,
                        int64_t n, struct stop *stop, struct err *e);

static enum st step_by(struct session *s, const struct call *c, enum level_choice level,
                       step_fn *fn, struct result *out, struct err *e)
{
    struct session_run *r;
    struct stop stop = { 0 };
    int64_t n;
    enum st st = session_need_run(s, &r, e);
    if (!st)
        st = count_at(c, 0, &n, e);
    if (!st && fn == control_step && run_done(r->run)) {
        st_fail(e, ST_STATE, "the run is at its end");
        return st_hint(e, "`reverse-step` goes back, `gen N` appends tokens");
    }
    if (!st)
        st = fn(s, r, level, n, &stop, e);
    return show_stop(s, st, &stop, out, e);
}

static enum st run_step(struct session *s, const struct call *c, struct result *out, struct err *e)
{
    return step_by(s, c, LEVEL_NODE, control_step, out, e);
}

static enum st run_next(struct session *s, const struct call *c, struct result *out, struct err *e)
{
    return step_by(s, c, level_of(s), control_step, out, e);
}

static enum st run_reverse_step(struct session *s, const struct call *c, struct result *out,
                                struct err *e)
{
    return step_by(s, c, LEVEL_NODE, control_reverse, out, e);
}

static enum st run_reverse_next(struct session *s, const struct call *c, struct result *out,
                                struct err *e)
{
    return step_by(s, c, level_of(s), control_reverse, out, e);
}

static enum st run_reverse_continue(struct session *s, const struct call *c, struct result *out,
                                    struct err *e)
{
    (void)c;
    struct session_run *r;
    struct stop stop = { 0 };
    enum st st = session_need_run(s, &r, e);
    if (!st)
        st = control_reverse_continue(s, r, &stop, e);
    return show_stop(s, st, &stop, out, e);
}

/* To the end or the beginning of the unit one level above: of the sub-layer when stepping nodes,
 * and so on; or of the level that is named. */
static enum st finish_by(struct session *s, const struct call *c, step_fn *fn, struct result *out,
                         struct err *e)
{
    struct session_run *r;
    struct stop stop = { 0 };
    enum level_choice level = level_of(s) == LEVEL_SPAN ? LEVEL_SPAN
                                                        : (enum level_choice)(level_of(s) + 1);
    enum st st = session_need_run(s, &r, e);
    if (!st && c->n_words)
        st = level_at(c, 0, &level, e);
    if (!st && fn == control_step && run_done(r->run))
        st = st_fail(e, ST_STATE, "the run is at its end");
    if (!st)
        st = fn(s, r, level, 1, &stop, e);
    return show_stop(s, st, &stop, out, e);
}

static enum st run_finish(struct session *s, const struct call *c, struct result *out,
                          struct err *e)
{
    return finish_by(s, c, control_step, out, e);
}

static enum st run_reverse_finish(struct session *s, const struct call *c, struct result *out,
                                  struct err *e)
{
    return finish_by(s, c, control_reverse, out, e);
}

static enum st position_at(struct session *s, const struct call *c, struct session_run **r,
                           struct position *to, struct err *e)
{
    enum st st = session_need_run(s, r, e);
    if (st)
        return st;
    if (c->n_words != 1)
        return call_fail(c, 0, e, ST_SYNTAX, "expected a position such as s0:blk.1.ffn_down.out");
    for (size_t i = 0; i < s->n_marks; i++)
        if (s->marks[i].run == *r && str_is(c->words[0].text, s->marks[i].name)) {
            *to = s->marks[i].at;
            return ST_OK;
        }
    st = position_parse((*r)->run, c->words[0].text, to, e);
    return st ? st_at(e, c->words[0].column, c->words[0].length) : ST_OK;
}

static enum st run_until(struct session *s, const struct call *c, struct result *out, struct err *e)
{
    struct session_run *r;
    struct position to;
    struct stop stop = { 0 };
    enum st st = position_at(s, c, &r, &to, e);
    if (!st && position_compare(to, run_position(r->run)) <= 0) {
        st_fail(e, ST_STATE, "the run is already there or past it");
        return st_hint(e, "`goto` moves in both directions");
    }
    if (!st)
        st = control_forward(s, r, to, STOP_POSITION, &stop, e);
    return show_stop(s, st, &stop, out, e);
}

static enum st run_goto_verb(struct session *s, const struct call *c, struct result *out,
                             struct err *e)
{
    struct session_run *r;
    struct position to;
    struct stop stop = { 0 };
    enum st st = position_at(s, c, &r, &to, e);
    for (size_t i = 0; !st && i < s->n_marks; i++)
        if (s->marks[i].run == r && str_is(c->words[0].text, s->marks[i].name)
            && session_stale(s, &s->marks[i]))
            result_note(out, "%s is stale: the changes before it are others than when it was named",
                        s->marks[i].name);
    if (!st)
        st = control_goto(s, r, to, &stop, e);
    return show_stop(s, st, &stop, out, e);
}

static enum st run_level(struct session *s, const struct call *c, struct result *out, struct err *e)
{
    enum level_choice level;
    enum st st = ST_OK;
    if (c->n_words && (st = level_at(c, 0, &level, e)))
        return st;
    if (c->n_words)
        st = settings_set(&s->settings, SETTING_LEVEL, c->words[0].text, e);
    struct buf b = { 0 };
    settings_print(&s->settings, SETTING_LEVEL, &b);
    result_note(out, "`next` goes to the end of the %s", buf_str(&b));
    buf_free(&b);
    return st;
}

static enum st run_when(struct session *s, const struct call *c, struct result *out, struct err *e)
{
    (void)c;
    struct session_run *r;
    enum st st = session_need_run(s, &r, e);
    if (st)
        return st;
    struct table *t = result_table(out, "when", TABLE_RECORD);
    TABLE_COLUMNS(t, { COL_ADDRESS, "position" }, { COL_STRING, "run" });
    struct buf b = { 0 };
    position_print(r->run, run_position(r->run), &b);
    table_row(t);
    table_str(t, buf_str(&b));
    table_str(t, r->name);
    buf_free(&b);
    return ST_OK;
}

static enum st run_where(struct session *s, const struct call *c, struct result *out, struct err *e)
{
    (void)c;
    struct session_run *r;
    enum st st = session_need_run(s, &r, e);
    if (!st)
        show_where(r, out);
    return st;
}

static enum st run_list(struct session *s, const struct call *c, struct result *out, struct err *e)
{
    struct session_run *r = NULL;
    struct session_model *m;
    enum { LINES = 10 };
    enum st st = session_need_graph(s, &m, e);
    if (st)
        return st;
    const struct graph *g = m->model->graph;
    r = s->models.run;
    int here = r ? run_position(r->run).node - 1 : -1;
    if (c->n_words > 1)
        return call_fail(c, 1, e, ST_SYNTAX, "one glob at a time");
    if (c->n_words && !str_is(c->words[0].text, "-")) {
        struct str glob = c->words[0].text;
        if (!graph_count_named(g, glob)) {
            lookup_no_name(m, glob, NAMES_POINTS, e);
            return st_at(e, c->words[0].column, c->words[0].length);
        }
        show_nodes(g, 0, g->n_nodes, here, glob, out);
        return ST_OK;
    }
    int first = here < LINES / 2 ? 0 : here - LINES / 2;
    if (c->n_words) /* back from what was listed last */
        first = s->list_next > 2 * LINES ? s->list_next - 2 * LINES : 0;
    else if (c->repeat)
        first = s->list_next;
    if (first >= g->n_nodes)
        return st_fail(e, ST_RANGE, "the list is at its end");
    s->list_next = first + LINES < g->n_nodes ? first + LINES : g->n_nodes;
    show_nodes(g, first, s->list_next, here, str_of(NULL, 0), out);
    return ST_OK;
}

static enum st run_checkpoint(struct session *s, const struct call *c, struct result *out,
                              struct err *e)
{
    struct session_run *r;
    enum st st = session_need_run(s, &r, e);
    if (st)
        return st;
    struct buf name = { 0 }, at = { 0 };
    if (c->n_words > 1)
        return call_fail(c, 1, e, ST_SYNTAX, "a checkpoint has one name");
    if (c->n_words && (str_is(c->words[0].text, "start") || str_is(c->words[0].text, "end")))
        return call_fail(c, 0, e, ST_SYNTAX, "`start` and `end` are the ends of the run already");
    if (c->n_words && memchr(c->words[0].text.p, ':', c->words[0].text.n))
        return call_fail(c, 0, e, ST_SYNTAX, "a name without `:`, which positions have");
    if (c->n_words)
        buf_add(&name, c->words[0].text.p, c->words[0].text.n);
    else
        buf_printf(&name, "c%zu", s->n_marks + 1);
    struct mark *k = NULL;
    for (size_t i = 0; i < s->n_marks; i++)
        if (s->marks[i].run == r && !strcmp(s->marks[i].name, buf_str(&name)))
            k = &s->marks[i];
    if (!k) {
        x_grow(&s->marks, &s->cap_marks, s->n_marks + 1, sizeof *s->marks);
        k = &s->marks[s->n_marks++];
        k->name = x_strdup(buf_str(&name));
        k->run = r;
    }
    k->at = run_position(r->run);
    k->changes = changes_before(s, r, k->at);
    position_print(r->run, k->at, &at);
    result_note(out, "%s is %s; `goto %s` comes back", k->name, buf_str(&at), k->name);
    buf_free(&name);
    buf_free(&at);
    return ST_OK;
}

static enum st run_kill(struct session *s, const struct call *c, struct result *out, struct err *e)
{
    struct session_run *r = NULL;
    enum st st = ST_OK;
    if (c->n_words) {
        r = session_find_run(s, c->words[0].text);
        if (!r)
            return call_fail(c, 0, e, ST_NOTFOUND, "no run `%.*s`", (int)c->words[0].text.n,
                             c->words[0].text.p);
    } else
        st = session_need_run(s, &r, e);
    if (st || (st = confirm(s, e, "Forget run %s?", r->name)))
        return st;
    result_note(out, "run %s is gone", r->name);
    session_kill(s, r);
    return ST_OK;
}

#define POSITION_HELP \
    "A position is (span, node), written s2:blk.3.ffn_down.out: that point has just been " \
    "produced in span 2. Without `sN:` the span of the position now. `start` and `end` are the " \
    "ends of the run, s1:end the end of a span; a name given by `checkpoint` will do too."

/* What rows that go so many steps have in common. */
#define COUNTED \
    .class = "run", .args = "[N]", .flags = VERB_REPEATS, .kinds = { ARG_NUMBER }

const struct verb verbs_control[] = {
    { .name = "run",
      .alias = "r",
      .class = "run",
      .brief = "run the prompt from the start to the next stop",
      .help = "Stops at breakpoints, else at the end. Breakpoints, changes and settings stay as "
              "they are.",
      .examples = "prompt \"kalo\"\nrun",
      .run = run_run },
    { .name = "continue",
      COUNTED,
      .alias = "c",
      .brief = "go on to the next stop, N times",
      .examples = "prompt \"kalo\"\nbreak blk.*.out\nrun\ncontinue",
      .run = run_continue },
    { .name = "step",
      COUNTED,
      .alias = "s",
      .brief = "execute one node of the graph, or N",
      .help =
          "Every node computes one point. Fused kernels are opened: each point in between exists.",
      .examples = "prompt \"kalo\"\nstep 5",
      .run = run_step },
    { .name = "next",
      COUNTED,
      .alias = "n",
      .brief = "go to the end of the unit of the current level: node, sub-layer, block or span",
      .help = "`level` says which. A breakpoint in between stops it.",
      .examples = "prompt \"kalo\"\nlevel block\nnext",
      .run = run_next },
    { .name = "finish",
      .alias = "fin",
      .class = "run",
      .args = "[LEVEL]",
      .brief = "go to the end of the enclosing unit",
      .help = "The unit one level above the current one, or of the level named.",
      .examples = "prompt \"kalo\"\nstep 5\nfinish\nfinish block",
      .words = "sub|block|span",
      .run = run_finish },
    { .name = "until",
      .alias = "u",
      .class = "run",
      .args = "POSITION",
      .brief = "run forward to a position, or to a breakpoint before it",
      .help = POSITION_HELP,
      .examples = "prompt \"kalo\"\nuntil blk.1.attn_output.out",
      .kinds = { ARG_POSITION },
      .run = run_until },
    { .name = "level",
      .class = "run",
      .args = "[node|sub|block|span]",
      .brief = "say what `next` means",
      .examples = "level block",
      .words = "node|sub|block|span",
      .run = run_level },
    { .name = "where",
      .alias = "bt",
      .class = "run",
      .brief = "where the run stands: span, block, sub-layer, node",
      .examples = "prompt \"kalo\"\nstep 3\nwhere",
      .run = run_where },
    { .name = "when",
      .class = "run",
      .brief = "the position, in the form that `goto` accepts",
      .help = POSITION_HELP,
      .examples = "prompt \"kalo\"\nstep 3\nwhen",
      .run = run_when },
    { .name = "goto",
      .class = "run",
      .args = "POSITION",
      .brief = "go to any position, forward or back, without stopping on the way",
      .help = POSITION_HELP
      " Going back restores the nearest checkpoint and computes the rest again: the same bits.",
      .examples = "prompt \"kalo\"\nrun\ngoto blk.1.out\ngoto start",
      .kinds = { ARG_POSITION },
      .run = run_goto_verb },
    { .name = "checkpoint",
      .class = "run",
      .args = "[NAME]",
      .brief = "give the position now a name that `goto` accepts",
      .examples = "prompt \"kalo\"\nstep 4\ncheckpoint here\nrun\ngoto here",
      .kinds = { ARG_TEXT },
      .run = run_checkpoint },
    { .name = "reverse-step",
      COUNTED,
      .alias = "rs",
      .brief = "go back one node, or N",
      .examples = "prompt \"kalo\"\nrun\nreverse-step 2",
      .run = run_reverse_step },
    { .name = "reverse-next",
      COUNTED,
      .alias = "rn",
      .brief = "go back to the beginning of the unit of the current level",
      .examples = "prompt \"kalo\"\nlevel block\nrun\nreverse-next",
      .run = run_reverse_next },
    { .name = "reverse-finish",
      .class = "run",
      .args = "[LEVEL]",
      .brief = "go back to the beginning of the enclosing unit",
      .help = "The unit one level above the current one, or of the level named.",
      .examples = "prompt \"kalo\"\nrun\nreverse-finish\nreverse-finish block",
      .words = "sub|block|span",
      .run = run_reverse_finish },
    { .name = "reverse-continue",
      .alias = "rc",
      .class = "run",
      .brief = "go back to the breakpoint before, or to the start",
      .examples = "prompt \"kalo\"\nbreak blk.*.out\nrun\ncontinue\nreverse-continue",
      .flags = VERB_REPEATS,
      .run = run_reverse_continue },
    { .name = "list",
      .alias = "l",
      .class = "run",
      .args = "[GLOB | -]",
      .brief = "ten nodes around the position; again: the next ten; `list -`: back",
      .help = "--> marks the point produced last. With a glob: all nodes whose point it names.",
      .examples = "list\nlist blk.0.attn*.*",
      .flags = VERB_REPEATS,
      .kinds = { ARG_POINT },
      .run = run_list },
    { .name = "kill",
      .class = "run",
      .args = "[RUN]",
      .brief = "forget a run",
      .examples = "prompt \"kalo\" as x\nkill x",
      .flags = VERB_EXACT,
      .kinds = { ARG_RUN },
      .run = run_kill },
    { 0 },
};
