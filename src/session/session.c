/* SPDX-License-Identifier: MIT */
#include "session/session.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "kernels/level.h"
#include "session/expression.h"
#include "session/measure.h"
#include "session/record.h"

/* What a level lacks, and those that run. */
static enum st refuse_level(const char *name, struct err *e)
{
    struct buf why = { 0 }, others = { 0 };
    if (level_find(name))
        level_missing(level_find(name), &why);
    else
        buf_adds(&why, "it is for other CPUs");
    for (size_t i = 0; level_at(i); i++)
        if (level_supported(level_at(i)))
            buf_printf(&others, ", %s", level_at(i)->name);
    st_fail(e, ST_UNSUPPORTED, "this machine cannot run the level %s (%s)", name, buf_str(&why));
    st_hint(e, "choose auto%s", buf_str(&others));
    buf_free(&why);
    buf_free(&others);
    return ST_UNSUPPORTED;
}

/* The level that the setting names, if any; unless told otherwise, it was set by `set`. */
static enum st force_level(struct session *s, struct err *e)
{
    struct buf name = { 0 };
    settings_print(&s->settings, SETTING_KERNELS, &name);
    const struct level *l = level_find(buf_str(&name));
    enum st st = ST_OK;
    if (l ? !level_supported(l) : setting_int(&s->settings, SETTING_KERNELS) != 0)
        st = refuse_level(buf_str(&name), e);
    else {
        level_force(l); /* NULL for "auto" */
        s->kernels_by = l ? "set kernels" : NULL;
    }
    buf_free(&name);
    return st;
}

/* What depends on settings follows them. */
static enum st follow(void *data, enum setting_id id, struct err *e)
{
    struct session *s = data;
    int64_t v = setting_int(&s->settings, id);
    switch (id) {
    case SETTING_MEM_BUDGET: mem_set_budget(v ? (size_t)v : mem_available() / 5 * 2); break;
    case SETTING_KERNELS: return force_level(s, e);
    case SETTING_RECORD: return record_follow(s, e);
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
    changes_free(s);
    for (size_t i = 0; i < s->n_plans; i++) {
        free(s->plans[i].name);
        free(s->plans[i].text);
    }
    free(s->plans);
    free(s->marks);
    values_free(&s->values);
    session_data(s, NULL, 0, NULL);
    for (size_t i = 0; i < s->n_looked; i++)
        free(s->looked[i].reference);
    free(s->looked);
    session_imatrix(s, NULL, NULL);
    quant_cache_free(s->forms);
    displays_free(&s->displays);
    free(s->examine.address);
    breakpoints_free(&s->breaks);
    session_said_clear(s);
    free(s->said.lines);
    break_commands_free(&s->pending);
    settings_free(&s->settings);
    free(s);
}

void session_imatrix(struct session *s, const char *path, struct imatrix *m)
{
    imatrix_free(s->imatrix);
    free(s->imatrix_path);
    s->imatrix = m;
    s->imatrix_path = m ? x_strdup(path) : NULL;
}

void session_data(struct session *s, const char *path, uint64_t text,
                  const struct evaluation_set *set)
{
    session_measure_forget(s);
    free(s->data.path);
    evaluation_free(&s->data.set);
    s->data = (struct session_data){ 0 };
    if (set)
        s->data = (struct session_data){ x_strdup(path), *set, text };
}

int64_t session_look(struct session *s, const char *reference)
{
    for (size_t i = 0; i < s->n_looked; i++)
        if (s->looked[i].text == s->data.text && !strcmp(s->looked[i].reference, reference))
            return ++s->looked[i].looks;
    x_grow(&s->looked, &s->cap_looked, s->n_looked + 1, sizeof *s->looked);
    s->looked[s->n_looked++] = (struct looked){ s->data.text, x_strdup(reference), 1 };
    return 1;
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

void session_collect(struct session *s, struct str command, const char *script, int line)
{
    struct breakpoint *b = breakpoint_find(&s->breaks, s->breaks.collects);
    if (!b || str_is(command, "end")) {
        s->breaks.collects = 0;
        return;
    }
    char *text = x_strndup(command.p, command.n);
    const struct break_command added = { text, b->number, (char *)script, line };
    break_commands_add(&b->commands, &added);
    free(text);
}

void session_collect_drop(struct session *s)
{
    struct breakpoint *b = breakpoint_find(&s->breaks, s->breaks.collects);
    s->breaks.collects = 0;
    if (b)
        break_commands_free(&b->commands);
}

bool session_changed(const struct session *s)
{
    return s->models.model && changes_hold(s, s->models.model);
}

bool session_stale(const struct session *s, const struct mark *k)
{
    return k->changes != changes_before(s, k->run, k->at);
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
