/* SPDX-License-Identifier: MIT */
#include "session/session.h"

#include <stdlib.h>

#include "base/memory.h"
#include "kernels/level.h"
#include "session/expression.h"

static enum st force_level(enum kernels_choice choice, struct err *e)
{
    static const char *const names[] = { NULL, "c", "avx2", "avx512", "avx512bf16" };
    const struct level *l = choice ? level_find(names[choice]) : NULL;
    if (choice && !(l && level_supported(l))) {
        st_fail(e, ST_UNSUPPORTED, "this machine cannot run the level %s", names[choice]);
        return st_hint(e, "`info kernels` lists what it can");
    }
    level_force(l);
    return ST_OK;
}

/* What depends on settings follows them. */
static enum st follow(void *data, enum setting_id id, struct err *e)
{
    struct session *s = data;
    int64_t v = setting_int(&s->settings, id);
    switch (id) {
    case SETTING_MEM_BUDGET: mem_set_budget(v ? (size_t)v : mem_available() / 5 * 2); break;
    case SETTING_KERNELS: return force_level((enum kernels_choice)v, e);
    default: break;
    }
    return ST_OK;
}

struct session *session_new(void)
{
    struct session *s = x_alloc(sizeof *s);
    s->quit_status = -1;
    settings_init(&s->settings);
    s->settings.changed = follow;
    s->settings.changed_data = s;
    for (int id = 0; id < SETTING_COUNT; id++)
        follow(s, id, NULL);
    return s;
}

void session_free(struct session *s)
{
    if (!s)
        return;
    for (size_t i = 0; i < s->n_aliases; i++) {
        free(s->aliases[i].name);
        free(s->aliases[i].text);
    }
    free(s->aliases);
    session_models_free(s);
    free(s->marks);
    values_free(&s->values);
    displays_free(&s->displays);
    free(s->examine.address);
    breakpoints_free(&s->breaks);
    session_said_clear(s);
    free(s->said.lines);
    buf_free(&s->pending);
    settings_free(&s->settings);
    free(s);
}

enum { SAID_MAX = 10000 };

void session_say(struct session *s, const char *line)
{
    if (s->said.n == SAID_MAX) {
        s->said.lost++;
        return;
    }
    x_grow(&s->said.lines, &s->said.cap, s->said.n + 1, sizeof *s->said.lines);
    s->said.lines[s->said.n++] = x_strdup(line);
}

void session_said_clear(struct session *s)
{
    while (s->said.n)
        free(s->said.lines[--s->said.n]);
    s->said.lost = 0;
}

bool session_collects(const struct session *s) { return s->breaks.collects != 0; }

void session_collect(struct session *s, struct str line)
{
    struct breakpoint *b = breakpoint_find(&s->breaks, s->breaks.collects);
    if (!b || str_is(line, "end")) {
        s->breaks.collects = 0;
        return;
    }
    struct buf text = { 0 };
    buf_adds(&text, b->commands ? b->commands : "");
    buf_add(&text, line.p, line.n);
    buf_addc(&text, '\n');
    free(b->commands);
    b->commands = buf_take(&text);
}

bool session_changed(const struct session *s)
{
    (void)s;
    return false;
}

enum st session_assign(struct session *s, struct str name, struct str expr, struct result *out,
                       struct err *e)
{
    struct view v;
    enum st st = expression_eval(s, expr, &v, e);
    if (st)
        return st;
    struct buf as = { 0 };
    buf_printf(&as, "$%.*s", (int)name.n, name.p);
    values_show(buf_str(&as), &v, out);
    buf_free(&as);
    values_name(&s->values, name, &v);
    return ST_OK;
}
