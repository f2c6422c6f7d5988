/* SPDX-License-Identifier: MIT */
/* The verbs that make a session pleasant: help, settings, scripts, aliases, history, leaving. */
#include "command/command.h"

#include <string.h>

enum st verb_help(const struct verb *v, struct result *out)
{
    result_line(out, "help", "%s %s", v->name, v->args);
    result_line(out, "help", "%s", v->brief);
    return ST_OK;
}

static enum st run_quit(struct session *s, const struct call *c, struct result *out, struct err *e)
{
    (void)out;
    int64_t status = 0;
    if (c->n_words) {
        enum st st = parse_i64(c->words[0].text, 0, 125, &status, e);
        if (st)
            return st_at(e, c->words[0].column, c->words[0].length);
    }
    s->quit_status = (int)status;
    s->quit = true;
    return ST_OK;
}

const struct verb verbs_support[] = {
    { .name = "quit", .alias = "q exit", .class = "support", .args = "[STATUS]",
      .brief = "leave qdb",
      .help = "With a number, that is the exit status.",
      .examples = "quit", .flags = VERB_EXACT, .kinds = { ARG_NUMBER }, .run = run_quit },
    { 0 },
};
