/* SPDX-License-Identifier: MIT */
/* The verb that keeps points of runs as they are produced. */
#include <inttypes.h>

#include "command/command.h"
#include "command/verbs_record.h"
#include "engine/record.h"
#include "session/record.h"

static void entry_row(const struct run *r, int span, int value, struct table *t)
{
    const struct recorded *x = run_recorded(r, span, value);
    if (!x)
        return;
    const struct summary *s = &x->summary;
    const double figures[] = { s->min, s->max, s->absmax, s->mean, s->sd, s->rms, s->kurt };
    table_row(t);
    if (run_n_spans(r) > 1)
        table_fmt(t, "s%d:%s", span, run_graph(r)->values[value].name);
    else
        table_str(t, run_graph(r)->values[value].name);
    table_int(t, s->n);
    table_int(t, s->nan);
    table_int(t, s->inf);
    for (size_t i = 0; i < sizeof figures / sizeof *figures; i++)
        table_float(t, figures[i]);
    table_str(t, x->data ? "numbers" : "statistics");
}

enum st record_show(struct session *s, struct result *out, struct err *e)
{
    struct session_run *sr;
    const char *text = setting_text(&s->settings, SETTING_RECORD);
    if (!text[0]) {
        result_note(out, "nothing is recorded; `record GLOB` begins");
        return ST_OK;
    }
    const enum st st = session_need_run(s, &sr, e);
    if (st)
        return st;
    struct run *r = sr->run;
    struct table *t = result_table(out, "record", TABLE_ROWS);
    TABLE_COLUMNS(t, { COL_ADDRESS, "point" }, { COL_INT, "n" }, { COL_INT, "nan" },
                  { COL_INT, "inf" }, { COL_FLOAT, "min" }, { COL_FLOAT, "max" },
                  { COL_FLOAT, "absmax" }, { COL_FLOAT, "mean" }, { COL_FLOAT, "sd" },
                  { COL_FLOAT, "rms" }, { COL_FLOAT, "kurt" }, { COL_STRING, "kept" });
    for (int span = 0; span < run_n_spans(r); span++)
        for (int v = 0; v < run_graph(r)->n_values; v++)
            entry_row(r, span, v, t);
    const struct record_use u = run_record_use(r);
    char used[32], most[32];
    result_note(out,
                "record %s: %d %s chosen, %" PRId64 " recorded, %" PRId64
                " with numbers: %s of %s",
                text, u.points, text_plural((uint64_t)u.points, "point", "points"), u.entries,
                u.whole, text_bytes(used, sizeof used, u.bytes),
                text_bytes(most, sizeof most, u.limit));
    if (u.hidden)
        result_note(out, "%d of them %s inside fused kernels: `record -all` opens these", u.hidden,
                    text_plural((uint64_t)u.hidden, "lies", "lie"));
    if (u.whole < u.entries)
        result_note(out, "the others have statistics alone: a larger `set mem-budget`, fewer "
                         "points");
    return ST_OK;
}

static enum st run_record_verb(struct session *s, const struct call *c, struct result *out,
                               struct err *e)
{
    if (!c->n_words)
        return record_show(s, out, e);
    const int last = c->n_words - 1;
    if (last > 1 || (last == 1 && !str_is(c->words[0].text, "-all")))
        return call_fail(c, last, e, ST_SYNTAX, "expected one glob of points: blk.*.out");
    const bool off = str_is(c->words[last].text, "off");
    const enum st st =
        settings_set(&s->settings, SETTING_RECORD, off ? str_of(NULL, 0) : c->rest, e);
    if (st)
        return st_at(e, c->words[last].column, c->words[last].length);
    if (off) {
        result_note(out, "nothing is recorded any more");
        return ST_OK;
    }
    const struct session_run *r = s->models.run;
    const struct record_use u = r ? run_record_use(r->run) : (struct record_use){ 0 };
    if (!r)
        result_note(out, "recorded in runs to come");
    else
        result_note(out, "%d %s recorded%s", u.points,
                    text_plural((uint64_t)u.points, "point is", "points are"),
                    run_position(r->run).span || run_position(r->run).node
                        ? "; what lies behind, when it is run again: `goto start`, `run`"
                        : "");
    return ST_OK;
}

const struct verb verbs_record[] = {
    { .name = "record",
      .class = "data",
      .args = "[[-all] GLOB|off]",
      .brief = "keep statistics and numbers of points as runs produce them",
      .help = "Of every point that GLOB names, in all runs to come: its statistics (those of "
              "summary), and its numbers as long as those of the run stay within a quarter of the "
              "memory budget; beyond it the statistics alone. What is kept with its numbers is "
              "read by every command without being computed again, over the whole run: summary, "
              "dump, compare. A change of the run forgets what it touches. -all opens fused "
              "kernels that hide points (attention scores); else these are recorded only where "
              "they are produced. `set record GLOB` is the same. Without an argument, and with "
              "`info record`: what the active run has.",
      .examples = "record blk.*.out\nprompt \"kalo\"\nrun\nrecord\ndump blk.*.out "
                  "stream.safetensors\nrecord off",
      .kinds = { ARG_POINT },
      .words = "-all|off",
      .run = run_record_verb },
    { 0 },
};
