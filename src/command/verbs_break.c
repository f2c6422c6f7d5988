/* SPDX-License-Identifier: MIT */
/* The verbs of breakpoints. */
#include <inttypes.h>
#include <stdlib.h>

#include "base/memory.h"
#include "command/breaks.h"
#include "command/verbs_capture.h"
#include "file/text_file.h"

static enum st add(struct session *s, const struct call *c, bool temporary, struct result *out,
                   struct err *e)
{
    struct breakpoint *b;
    struct condition *condition = NULL;
    if (!c->n_words)
        return call_fail(c, 0, e, ST_SYNTAX, "expected a point or glob: blk.2.ffn_down.out");
    enum st st = breaks_condition(s, c, 1, &condition, e);
    if (!st)
        st = breaks_add(s, BREAK_POINT, c->words[0].text, c->words[0].column, &b, e);
    for (int i = 0; !st && !condition && i < b->address.n_items; i++) {
        const enum axis axis = b->address.items[i].axis;
        if (axis == AXIS_TOK || axis == AXIS__COUNT)
            continue;
        call_fail(c, 0, e, ST_SYNTAX, "without a condition only tokens choose: [tok=3:7]");
        st = st_hint(e, "break %s if absmax > 10", b->text);
        breaks_undo(s, b);
    }
    if (st) {
        condition_free(condition);
        return st;
    }
    b->condition = condition;
    b->temporary = temporary;
    breaks_show(s, b, out);
    return ST_OK;
}

static enum st run_break(struct session *s, const struct call *c, struct result *out, struct err *e)
{
    return add(s, c, false, out, e);
}

static enum st run_tbreak(struct session *s, const struct call *c, struct result *out,
                          struct err *e)
{
    return add(s, c, true, out, e);
}

/* The breakpoint that word i names: its number, or `last` for the newest. */
static enum st break_at(struct session *s, const struct call *c, int i, struct breakpoint **out,
                        struct err *e)
{
    int64_t n = 0;
    if (i >= c->n_words)
        return call_fail(c, i, e, ST_SYNTAX, "expected the number of a breakpoint");
    const struct str word = c->words[i].text;
    if (str_is(word, "last") && s->breaks.n)
        n = s->breaks.list[s->breaks.n - 1].number;
    else if (parse_i64(word, 1, INT32_MAX, &n, e))
        n = 0;
    if (!n || !(*out = breakpoint_find(&s->breaks, (int)n))) {
        call_fail(c, i, e, ST_NOTFOUND, "no breakpoint `%.*s`", (int)word.n, word.p);
        return st_hint(e, "`info breaks` lists them");
    }
    return ST_OK;
}

/* Apply to the breakpoints that words name, or to all when there are no words. */
static enum st each(struct session *s, const struct call *c, struct err *e,
                    void (*fn)(struct session *s, struct breakpoint *b))
{
    struct breakpoint *b;
    enum st st;
    for (int i = 0; i < c->n_words; i++) /* all are checked before any is touched */
        if ((st = break_at(s, c, i, &b, e)))
            return st;
    for (size_t i = s->breaks.n; i-- > 0 && !c->n_words;)
        fn(s, &s->breaks.list[i]);
    for (int i = 0; i < c->n_words; i++)
        if (!break_at(s, c, i, &b, NULL)) /* a number that stands twice is gone by now */
            fn(s, b);
    return ST_OK;
}

static void enable(struct session *s, struct breakpoint *b) { (void)s, b->enabled = true; }
static void disable(struct session *s, struct breakpoint *b) { (void)s, b->enabled = false; }
static void delete (struct session *s, struct breakpoint *b)
{
    breakpoint_delete(&s->breaks, b->number);
}

static enum st run_enable(struct session *s, const struct call *c, struct result *out,
                          struct err *e)
{
    (void)out;
    return each(s, c, e, enable);
}

static enum st run_disable(struct session *s, const struct call *c, struct result *out,
                           struct err *e)
{
    (void)out;
    return each(s, c, e, disable);
}

static enum st run_delete(struct session *s, const struct call *c, struct result *out,
                          struct err *e)
{
    (void)out;
    return each(s, c, e, delete);
}

static enum st run_condition(struct session *s, const struct call *c, struct result *out,
                             struct err *e)
{
    struct breakpoint *b;
    struct condition *condition = NULL;
    enum st st = break_at(s, c, 0, &b, e);
    if (!st && c->n_words < 2 && b->kind == BREAK_CATCH)
        st = call_fail(c, 1, e, ST_SYNTAX, "a catch is its condition: expected one");
    if (!st && c->n_words > 1)
        st = breaks_compiled(s, c, 1, &condition, e);
    if (st)
        return st;
    condition_free(b->condition);
    b->condition = condition;
    breaks_show(s, b, out);
    return ST_OK;
}

static enum st run_ignore(struct session *s, const struct call *c, struct result *out,
                          struct err *e)
{
    struct breakpoint *b;
    int64_t n = 0;
    enum st st = break_at(s, c, 0, &b, e);
    if (!st && c->n_words != 2)
        st = call_fail(c, 1, e, ST_SYNTAX, "expected how many hits to pass by");
    if (!st && (st = parse_i64(c->words[1].text, 0, INT32_MAX, &n, e)))
        st_at(e, c->words[1].column, c->words[1].length);
    if (st)
        return st;
    b->ignore = n;
    result_note(out, "the next %" PRId64 " hit%s of %d will pass by", n, n == 1 ? "" : "s",
                b->number);
    return ST_OK;
}

static enum st run_commands(struct session *s, const struct call *c, struct result *out,
                            struct err *e)
{
    struct breakpoint *b = s->breaks.n ? &s->breaks.list[s->breaks.n - 1] : NULL;
    enum st st = ST_OK;
    if (c->n_words || !b)
        st = break_at(s, c, 0, &b, e);
    if (!st && b->kind == BREAK_PRINT) {
        st_fail(e, ST_STATE, "a dprintf does not stop: it has no commands");
        st = st_hint(e, "`break` at the same point does");
    }
    if (st)
        return st;
    break_commands_free(&b->commands);
    s->breaks.collects = b->number;
    if (s->interactive)
        result_note(out, "type commands for breakpoint %d, one a line; `end` ends them", b->number);
    return ST_OK;
}

static enum st run_no_end(struct session *s, const struct call *c, struct result *out,
                          struct err *e)
{
    (void)s, (void)out;
    (void)c;
    st_fail(e, ST_STATE, "no commands are being typed");
    return st_hint(e, "`commands N` begins them");
}

static enum st run_save(struct session *s, const struct call *c, struct result *out, struct err *e)
{
    if (c->n_words && str_is(c->words[0].text, "capture"))
        return save_capture(s, c, out, e);
    if (c->n_words != 2 || !str_is(c->words[0].text, "breaks"))
        return call_fail(c, c->n_words && str_is(c->words[0].text, "breaks") ? 1 : 0, e, ST_SYNTAX,
                         "expected `save breaks FILE` or `save capture FILE`");
    struct buf text = { 0 };
    for (size_t i = 0; i < s->breaks.n; i++) {
        const struct breakpoint *b = &s->breaks.list[i];
        breakpoint_print(b, &text);
        buf_addc(&text, '\n');
        if (b->commands.n) {
            buf_adds(&text, "commands\n");
            break_commands_print(&b->commands, &text);
            buf_adds(&text, "end\n");
        }
        if (b->ignore)
            buf_printf(&text, "ignore last %" PRId64 "\n", b->ignore);
        if (!b->enabled)
            buf_adds(&text, "disable last\n");
    }
    char *path = x_strndup(c->words[1].text.p, c->words[1].text.n);
    enum st st = text_file_write(path, false, str_of(buf_str(&text), text.n), e);
    if (!st)
        result_note(out, "%zu breakpoint%s written; `source %s` makes them again", s->breaks.n,
                    s->breaks.n == 1 ? "" : "s", path);
    else
        st_at(e, c->words[1].column, c->words[1].length);
    free(path);
    buf_free(&text);
    return st;
}

const struct verb verbs_break[] = {
    { .name = "break",
      .alias = "b",
      .class = "break",
      .args = "GLOB[SLICE] [if COND]",
      .brief = "stop after a point has been produced",
      .help = "The glob names points (`info points`), canonical or by an alias: "
              "blk.2.ffn_down.out, blk.*.out, blk.{0..3}.attn_{q,k}.out. With tokens, as in "
              "[tok=3:7]: only in spans that hold one of them. With a condition: only when it "
              "holds for the slice; `help catch` has the conditions. A breakpoint inside a fused "
              "kernel opens it; the numbers stay the same.",
      .examples = "break blk.1.ffn_down.out\nbreak blk.*.out[tok=1:] if absmax > 100\n"
                  "info breaks\ndelete",
      .flags = VERB_COMPARES,
      .kinds = { ARG_POINT, ARG_NONE },
      .words = "if",
      .after = breaks_after,
      .run = run_break },
    { .name = "tbreak",
      .alias = "tb",
      .class = "break",
      .args = "GLOB[SLICE] [if COND]",
      .brief = "a breakpoint that is deleted once it has been hit",
      .examples = "tbreak blk.1.out\ndelete",
      .flags = VERB_COMPARES,
      .kinds = { ARG_POINT, ARG_NONE },
      .words = "if",
      .after = breaks_after,
      .run = run_tbreak },
    { .name = "delete",
      .alias = "d",
      .class = "break",
      .args = "[NUMBER...]",
      .brief = "delete breakpoints; without numbers all",
      .examples = "break blk.0.out\ndelete",
      .kinds = { ARG_BREAK },
      .run = run_delete },
    { .name = "enable",
      .class = "break",
      .args = "[NUMBER...]",
      .brief = "let breakpoints stop the run again",
      .examples = "enable",
      .kinds = { ARG_BREAK },
      .run = run_enable },
    { .name = "disable",
      .class = "break",
      .args = "[NUMBER...]",
      .brief = "keep breakpoints, but run past them",
      .examples = "disable",
      .kinds = { ARG_BREAK },
      .run = run_disable },
    { .name = "condition",
      .class = "break",
      .args = "NUMBER [COND]",
      .brief = "give a breakpoint another condition, or none",
      .help = "`help catch` has the conditions.",
      .examples = "break blk.*.out\ncondition 1 absmax > 100\ncondition 1\ndelete",
      .flags = VERB_COMPARES,
      .kinds = { ARG_BREAK, ARG_CONDITION },
      .run = run_condition },
    { .name = "ignore",
      .class = "break",
      .args = "NUMBER COUNT",
      .brief = "let the next hits of a breakpoint pass by",
      .examples = "break blk.*.out\nignore 1 2\ndelete",
      .kinds = { ARG_BREAK, ARG_NUMBER },
      .run = run_ignore },
    { .name = "commands",
      .class = "break",
      .args = "[NUMBER]",
      .brief = "commands that run whenever the breakpoint has stopped the run",
      .help =
          "The lines that follow, up to `end`, are the commands; none takes them away. Without "
          "a number: those of the breakpoint made last. What stands behind a command that moves "
          "the run is not run any more. An error in them names the breakpoint, and the line of the "
          "script that they stood in.",
      .examples = "break blk.0.out\ncommands 1\nsummary blk.0.out\nend\ndelete",
      .kinds = { ARG_BREAK },
      .run = run_commands },
    { .name = "end",
      .class = "break",
      .brief = "end the commands of a breakpoint",
      .flags = VERB_EXACT | VERB_HIDDEN,
      .run = run_no_end },
    { .name = "save",
      .class = "break",
      .args = "breaks FILE | capture FILE [GLOB]",
      .brief = "write the breakpoints as commands, or what a run computed for a bug report",
      .help = "breaks: commands that make them again.\n\n"
              "capture: the points of the active run that GLOB names (what enters and leaves the "
              "blocks, and the head), its tokens, mode, changes, settings, and a hash of the model "
              "(over the header of each file, and of each weight its name, size, first and last "
              "4096 bytes), as one safetensors file. `open FILE` looks at it, without the model: "
              "print, summary, hist, heat, channels, outliers, dump and expressions work on what "
              "it holds, `info capture` shows the rest, anything else is refused. `ref trace "
              "FILE` makes it the reference of a model or of another capture, for compare.",
      .examples = "save breaks /dev/null\nprompt \"kalo\"\nrun\nsave capture report\n"
                  "open report\ninfo capture\nsummary blk.*.out",
      .kinds = { ARG_NONE, ARG_FILE, ARG_POINT },
      .words = "breaks|capture",
      .run = run_save },
    { 0 },
};
