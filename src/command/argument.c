/* SPDX-License-Identifier: MIT */
#include "command/argument.h"

#include <string.h>

const struct arg_after *argument_behind(const struct verb *v, struct str word,
                                        const struct arg_after *rule)
{
    if (rule && rule->kind == ARG_CONDITION)
        return rule;
    for (const struct arg_after *a = v->after; a && a->words; a++)
        for (const char *p = a->words; *p;) {
            const size_t n = strcspn(p, "|");
            if (str_eq(str_of(p, n), word))
                return a;
            p += n + (p[n] == '|');
        }
    return NULL;
}

enum arg_kind argument_kind(const struct verb *v, int i)
{
    int last = VERB_MAX_ARGS - 1;
    while (last > 0 && v->kinds[last] == ARG_NONE)
        last--;
    return v->kinds[i < last ? i : last];
}

enum st argument_check(const struct call *c, struct err *e)
{
    const struct arg_after *rule = NULL;
    for (int i = 0; i < c->n_words; i++) {
        const struct str text = c->words[i].text;
        if (!text.n && (rule ? rule->kind : argument_kind(c->verb, i)) == ARG_FILE)
            return call_fail(c, i, e, ST_SYNTAX, "the name of a file is empty");
        rule = argument_behind(c->verb, text, rule);
    }
    return ST_OK;
}
