/* SPDX-License-Identifier: MIT */
#include "session/settings.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "kernels/pool.h"

static const struct setting table[SETTING_COUNT] = {
    [SETTING_COLOR] = {
        .name = "color", .type = TYPE_CHOICE, .initial = "auto", .choices = "auto|always|never",
        .brief = "use colour",
        .help = "auto asks, in this order: NO_COLOR, CLICOLOR_FORCE, whether the output is a "
                "terminal, TERM. Nothing is ever said by colour alone.",
    },
    [SETTING_COMPUTE] = {
        .name = "compute", .type = TYPE_CHOICE, .initial = "auto",
        .choices = "exact|native|fast|auto",
        .brief = "how products of weights and activations are computed",
        .help = "exact: weights decoded, float32 products. native: as the deployed CPU engine "
                "computes, activations rounded to 8 bits. fast: operands rounded to "
                "bfloat16 or better. auto: exact for runs, native for evaluations (ppl, kl, "
                "task and what rests on them), as users will get it. "
                "Figures of different modes are never mixed; every figure names its mode.",
    },
    [SETTING_CONFIRM] = {
        .name = "confirm", .type = TYPE_BOOL, .initial = "on",
        .brief = "ask before work is destroyed",
        .help = "Only at a terminal; scripts are never asked.",
    },
    [SETTING_ELEMENTS] = {
        .name = "elements", .type = TYPE_INT, .initial = "64", .lo = 1, .hi = 1000000,
        .brief = "most values that print, x and block show of one tensor",
    },
    [SETTING_GLYPHS] = {
        .name = "glyphs", .type = TYPE_CHOICE, .initial = "auto", .choices = "auto|half|ascii",
        .brief = "what heat maps are drawn with",
        .help = "half: coloured cells, two pixels in each where there are many rows; needs "
                "colour and UTF-8. ascii: the ramp \" .:-=+*#%@\", with signs \"Nn=- .+xX\". "
                "auto takes half where colour is on.",
    },
    [SETTING_HEAT_SCALE] = {
        .name = "heat-scale", .type = TYPE_CHOICE, .initial = "lin", .choices = "lin|log|rank",
        .brief = "how values become shades in heat maps",
        .help = "lin: proportional between the extremes. log: by the logarithm of the "
                "magnitude. rank: by the order of the values.",
    },
    [SETTING_HEIGHT] = {
        .name = "height", .type = TYPE_INT, .initial = "0", .lo = 0, .hi = 100000,
        .zero = "the terminal's",
        .brief = "lines of the screen, for pagination",
    },
    [SETTING_HISTORY_SIZE] = {
        .name = "history-size", .type = TYPE_INT, .initial = "1000", .lo = 0, .hi = 1000000,
        .zero = "keep nothing",
        .brief = "typed lines that are kept between sessions",
    },
    [SETTING_KERNELS] = {
        .name = "kernels", .type = TYPE_CHOICE, .initial = "auto",
        .choices = "auto|c|avx2|avx512|avx512bf16|amx",
        .brief = "CPU level of the kernels",
        .help = "auto takes the best that this machine has; c is portable C. All give the same "
                "bits, except in `set compute fast`. The environment variable QDB_KERNELS and the "
                "option --kernels set it too. `info kernels` says what each needs, and which was "
                "forced by whom.",
    },
    [SETTING_LEVEL] = {
        .name = "level", .type = TYPE_CHOICE, .initial = "node", .choices = "node|sub|block|span",
        .brief = "what `next` steps over",
        .help = "node: one operation. sub: one sub-layer (attention, feed-forward). block: one "
                "block. span: all blocks of a span of tokens.",
    },
    [SETTING_MAX_COMPLETIONS] = {
        .name = "max-completions", .type = TYPE_INT, .initial = "200", .lo = 0, .hi = 100000,
        .brief = "most candidates that the Tab key lists", .zero = "none",
    },
    [SETTING_MEM_BUDGET] = {
        .name = "mem-budget", .type = TYPE_SIZE, .initial = "0", .zero = "40 % of available memory",
        .brief = "bytes that qdb may allocate for itself; mapped files are counted apart",
        .help = "Write 512M or 4G. What does not fit is refused with the option that would fit.",
    },
    [SETTING_OUTPUT] = {
        .name = "output", .type = TYPE_CHOICE, .initial = "text", .choices = "text|json|csv|md",
        .brief = "how results are written",
        .help = "json: one object per command on one line. csv and md: the tables; notes go to "
                "standard error in csv.",
    },
    [SETTING_PAGINATION] = {
        .name = "pagination", .type = TYPE_BOOL, .initial = "on",
        .brief = "page output that is longer than the screen",
        .help = "Through $PAGER, else less -FRX. Only at a terminal.",
    },
    [SETTING_PRECISION] = {
        .name = "precision", .type = TYPE_INT, .initial = "5", .lo = 1, .hi = 17,
        .brief = "significant digits of numbers shown to people",
        .help = "json and csv always carry every digit.",
    },
    [SETTING_PROGRESS] = {
        .name = "progress", .type = TYPE_CHOICE, .initial = "auto", .choices = "auto|always|never",
        .brief = "show how far long work is, on standard error",
        .help = "auto: at a terminal, after 0.2 s.",
    },
    [SETTING_PROMPT] = {
        .name = "prompt", .type = TYPE_TEXT, .initial = "(qdb%*) ",
        .brief = "what is printed before a line is read",
        .help = "%* is a star when changes are active, %l the level, %% a percent sign.",
    },
    [SETTING_RECORD] = {
        .name = "record", .type = TYPE_TEXT, .initial = "",
        .brief = "points whose statistics and numbers are kept as runs produce them",
        .help = "A glob of points, -all in front to open fused kernels; empty or off: none. `help "
                "record` says more.",
    },
    [SETTING_SEED] = {
        .name = "seed", .type = TYPE_INT, .initial = "1", .lo = 0, .hi = INT64_MAX,
        .brief = "seed of everything that is drawn at random",
    },
    [SETTING_SPAN] = {
        .name = "span", .type = TYPE_INT, .initial = "0", .lo = 0, .hi = 1 << 24,
        .zero = "the whole prompt",
        .brief = "tokens of a prompt that pass the graph together",
        .help = "1 runs token by token. Results do not depend on it, except in `set compute fast`.",
    },
    [SETTING_THREADS] = {
        .name = "threads", .type = TYPE_INT, .initial = "0", .lo = 0, .hi = POOL_MAX_THREADS,
        .zero = "one per core",
        .brief = "threads that compute",
        .help = "Results do not depend on it.",
    },
    [SETTING_WIDTH] = {
        .name = "width", .type = TYPE_INT, .initial = "0", .lo = 0, .hi = 10000,
        .zero = "the terminal's; no limit elsewhere",
        .brief = "columns of a line of output",
    },
};

const struct setting *setting_info(enum setting_id id) { return &table[id]; }

/* Choice number `index` of "a|b|c"; false after the last. */
static bool choice_at(const char *choices, int index, struct str *out)
{
    const char *p = choices;
    for (; p && index > 0; index--) {
        p = strchr(p, '|');
        if (p)
            p++;
    }
    if (!p)
        return false;
    *out = str_of(p, strcspn(p, "|"));
    return true;
}

static enum st parse_bool(struct str v, int64_t *out, struct err *e)
{
    static const char *const words[][2] = {
        { "off", "on" }, { "no", "yes" }, { "false", "true" }, { "0", "1" }
    };
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        for (int on = 0; on < 2; on++)
            if (str_is(v, words[i][on])) {
                *out = on;
                return ST_OK;
            }
    return st_fail(e, ST_SYNTAX, "`%.*s` is neither on nor off", (int)v.n, v.p);
}

static enum st parse_choice(const struct setting *t, struct str v, int64_t *out, struct err *e)
{
    struct str one;
    int matches = 0;
    bool exact = false;
    for (int i = 0; choice_at(t->choices, i, &one) && !exact; i++) {
        exact = str_eq(one, v);
        if (exact || (v.n && v.n < one.n && !memcmp(one.p, v.p, v.n))) {
            matches = exact ? 1 : matches + 1;
            *out = i;
        }
    }
    if (matches != 1) {
        st_fail(e, matches ? ST_SYNTAX : ST_NOTFOUND, "`%.*s` is %s", (int)v.n, v.p,
                matches ? "ambiguous" : "not a choice");
        return st_hint(e, "%s", t->choices);
    }
    return ST_OK;
}

static enum st parse_value(const struct setting *t, struct str v, struct setting_value *out,
                           struct err *e)
{
    size_t bytes;
    switch (t->type) {
    case TYPE_BOOL: return parse_bool(v, &out->i, e);
    case TYPE_INT: return parse_i64(v, t->lo, t->hi, &out->i, e);
    case TYPE_CHOICE: return parse_choice(t, v, &out->i, e);
    case TYPE_SIZE: {
        enum st st = parse_size(v, &bytes, e);
        if (!st)
            out->i = (int64_t)bytes;
        return st;
    }
    case TYPE_TEXT: out->s = x_strndup(v.p, v.n); return ST_OK;
    }
    return st_fail(e, ST_INTERNAL, "setting %s has no type", t->name);
}

void settings_init(struct settings *s)
{
    *s = (struct settings){ 0 };
    for (int id = 0; id < SETTING_COUNT; id++) {
        struct err e = ERR_INIT;
        enum st st = parse_value(&table[id], str_from(table[id].initial), &s->values[id], &e);
        assert(st == ST_OK);
        (void)st;
    }
}

void settings_free(struct settings *s)
{
    while (s->n_holds)
        free(s->holds[--s->n_holds].text);
    free(s->holds);
    for (int id = 0; id < SETTING_COUNT; id++)
        free(s->values[id].s);
    *s = (struct settings){ 0 };
}

enum st settings_set(struct settings *s, enum setting_id id, struct str value, struct err *e)
{
    struct setting_value new = { 0 }, old = s->values[id];
    enum st st = parse_value(&table[id], value, &new, e);
    if (st) {
        st_where(e, "set %s", table[id].name);
        return st;
    }
    s->values[id] = new;
    if (s->changed && (st = s->changed(s->changed_data, id, e))) {
        s->values[id] = old;
        free(new.s);
        return st;
    }
    free(old.s);
    return ST_OK;
}

enum st settings_hold(struct settings *s, enum setting_id id, struct str value, struct err *e)
{
    struct buf old = { 0 };
    settings_print(s, id, &old);
    enum st st = settings_set(s, id, value, e);
    if (st) {
        buf_free(&old);
        return st;
    }
    x_grow(&s->holds, &s->cap_holds, s->n_holds + 1, sizeof *s->holds);
    s->holds[s->n_holds++] = (struct setting_hold){ id, buf_take(&old) };
    return ST_OK;
}

void settings_release(struct settings *s, size_t mark)
{
    while (s->n_holds > mark) {
        struct setting_hold h = s->holds[--s->n_holds];
        struct err e = ERR_INIT;
        enum st st = settings_set(s, h.id, str_from(h.text), &e);
        (void)st; /* it was valid before; when a listener refuses now, the held value stays */
        free(h.text);
    }
}

void settings_print(const struct settings *s, enum setting_id id, struct buf *out)
{
    const struct setting *t = &table[id];
    const struct setting_value *v = &s->values[id];
    struct str one = { 0 };
    switch (t->type) {
    case TYPE_BOOL: buf_adds(out, v->i ? "on" : "off"); break;
    case TYPE_INT: buf_printf(out, "%lld", (long long)v->i); break;
    case TYPE_CHOICE:
        if (choice_at(t->choices, (int)v->i, &one))
            buf_add(out, one.p, one.n);
        break;
    case TYPE_SIZE: {
        static const char suffix[] = { 'T', 'G', 'M', 'K' };
        for (int i = 0; i < 4; i++) {
            int64_t unit = (int64_t)1 << 10 * (4 - i);
            if (v->i && v->i % unit == 0) {
                buf_printf(out, "%lld%c", (long long)(v->i / unit), suffix[i]);
                return;
            }
        }
        buf_printf(out, "%lld", (long long)v->i);
        break;
    }
    case TYPE_TEXT: buf_adds(out, v->s); break;
    }
}

void setting_domain(enum setting_id id, struct buf *out)
{
    const struct setting *t = &table[id];
    switch (t->type) {
    case TYPE_BOOL: buf_adds(out, "on|off"); break;
    case TYPE_INT:
        if (t->hi == INT64_MAX)
            buf_printf(out, "%lld and up", (long long)t->lo);
        else
            buf_printf(out, "%lld..%lld", (long long)t->lo, (long long)t->hi);
        break;
    case TYPE_CHOICE: buf_adds(out, t->choices); break;
    case TYPE_SIZE: buf_adds(out, "bytes, as 512M or 4G"); break;
    case TYPE_TEXT: buf_adds(out, "text"); break;
    }
    if (t->zero && *t->zero)
        buf_printf(out, "; 0 = %s", t->zero);
}

enum st setting_find(struct str name, enum setting_id *out, struct err *e)
{
    int matches = 0, nearest = -1, distance = 4;
    struct buf candidates = { 0 };
    for (int id = 0; id < SETTING_COUNT; id++) {
        struct str full = str_from(table[id].name);
        if (str_eq(full, name)) {
            buf_free(&candidates);
            *out = id;
            return ST_OK;
        }
        if (name.n && name.n < full.n && !memcmp(full.p, name.p, name.n)) {
            buf_printf(&candidates, "%s%s", matches++ ? ", " : "", full.p);
            nearest = id;
        }
    }
    if (matches == 1) {
        buf_free(&candidates);
        *out = nearest;
        return ST_OK;
    }
    int show = (int)(name.n > 40 ? 40 : name.n);
    st_fail(e, ST_NOTFOUND, matches ? "setting `%.*s` is ambiguous" : "no setting `%.*s`", show,
            name.p);
    if (matches) {
        st_hint(e, "could be %s", buf_str(&candidates));
        buf_free(&candidates);
        return ST_NOTFOUND;
    }
    for (int id = 0; id < SETTING_COUNT; id++) {
        int d = text_distance(name, str_from(table[id].name));
        if (d < distance) {
            distance = d;
            nearest = id;
        }
    }
    return nearest >= 0 ? st_hint(e, "did you mean `%s`?", table[nearest].name)
                        : st_hint(e, "`show` lists all settings");
}
