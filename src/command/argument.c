/* SPDX-License-Identifier: MIT */
#include "command/argument.h"

#include <string.h>

static const struct arg_after *rule_of(const struct verb *v, struct str word)
{
    for (const struct arg_after *a = v->after; a && a->words; a++)
        for (const char *p = a->words; *p;) {
            const size_t n = strcspn(p, "|");
            if (str_eq(str_of(p, n), word))
                return a;
            p += n + (p[n] == '|');
        }
    return NULL;
}

static const struct verb_sub *sub_of(const struct verb *v, struct str word)
{
    for (const struct verb_sub *s = v->subs; s && s->name; s++)
        if (str_is(word, s->name))
            return s;
    return NULL;
}

void argument_pass(struct arg_place *p, struct str word)
{
    if (!p->n)
        p->sub = sub_of(p->verb, word);
    if (!p->rule)
        p->rule = rule_of(p->verb, word);
    else if (p->rule->kind != ARG_CONDITION)
        p->rule = NULL;
    p->n++;
}

enum arg_kind argument_kind(const struct arg_place *p)
{
    if (p->rule)
        return p->rule->kind;
    const enum arg_kind *kinds = p->sub ? p->sub->kinds : p->verb->kinds;
    const int i = p->n - (p->sub != NULL);
    int last = VERB_MAX_ARGS - 1;
    while (last > 0 && kinds[last] == ARG_NONE)
        last--;
    return kinds[i < last ? i : last];
}

const char *argument_words(const struct arg_place *p)
{
    return p->rule ? p->rule->offers : p->sub ? p->sub->words : p->verb->words;
}

enum st argument_check(const struct call *c, struct err *e)
{
    struct arg_place p = { .verb = c->verb };
    bool rules[CALL_MAX_WORDS] = { false }; /* words that say what stands behind them */
    for (int i = 0; i < c->n_words; i++) {
        const struct str text = c->words[i].text;
        const bool ruled = p.rule;
        if (!text.n && argument_kind(&p) == ARG_FILE)
            return call_fail(c, i, e, ST_SYNTAX, "the name of a file is empty");
        argument_pass(&p, c->words[i].quoted ? STR("") : text);
        rules[i] = !ruled && p.rule;
        for (int k = 0; rules[i] && k < i; k++)
            if (rules[k] && str_eq(c->words[k].text, text))
                return call_fail(c, i, e, ST_SYNTAX, "that has been said already");
    }
    return ST_OK;
}
