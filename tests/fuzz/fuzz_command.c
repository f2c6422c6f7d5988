/* SPDX-License-Identifier: MIT */
/* Fuzz target: command lines are cut, parsed and completed, never run. */
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "command/command.h"
#include "command/complete.h"
#include "session/session.h"

const char *const fuzz_words[] = { "echo ", "with ", "set ",  "width",   "=",
                                   " -- ",  "help ", "!",     "?",       ";",
                                   "|",     ">",     ">>",    "#",       "\"",
                                   "'",     "\\x4",  "\\u{",  "[tok=\"", "{0..3}",
                                   "(",     "$x = ", "/16f ", "alias ",  NULL };

/* What the parser says about a piece lies inside of it. */
static void parses(struct session *s, const struct piece *p)
{
    struct buf store = { 0 };
    struct call c;
    struct err e = ERR_INIT;
    int end = (int)p->command.n;
    if (command_parse(p->command, &c, &store, &e)) {
        if (e.column < 0 || e.column > end)
            abort();
    } else {
        for (int i = 0; i < c.n_words; i++)
            if (c.words[i].column < 0 || c.words[i].column + c.words[i].length > end)
                abort();
        if (c.rest_column < 0 || c.rest_column + (int)c.rest.n > end)
            abort();
    }
    buf_free(&store);
    struct completions found;
    complete(s, p->command, 50, &found);
    if (found.from < 0 || found.from > end || found.n > 50)
        abort();
    completions_free(&found);
}

/* Quoting a word and reading it gives the word back. */
static void quotes(struct str word)
{
    struct buf line = { 0 }, store = { 0 };
    struct call c;
    struct err e = ERR_INIT;
    buf_adds(&line, "echo ");
    command_quote(&line, word);
    if (command_parse(str_of(line.p, line.n), &c, &store, &e) || c.n_words != 1
        || !str_eq(c.words[0].text, word))
        abort();
    buf_free(&line);
    buf_free(&store);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct session *s = session_new();
    struct str line = str_of((const char *)data, size);
    struct buf store = { 0 };
    for (size_t at = 0, before = 0;; before = at) {
        struct piece p;
        struct err e = ERR_INIT;
        if (command_next(s, line, &at, &p, &store, &e)) {
            if (e.column < 0 || e.column > (int)size)
                abort();
            break;
        }
        if (!p.command.n)
            break;
        if (at <= before || (size_t)p.column + p.command.n > size)
            abort();
        parses(s, &p);
    }
    quotes(line);
    buf_free(&store);
    session_free(s);
    return 0;
}
