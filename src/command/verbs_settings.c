/* SPDX-License-Identifier: MIT */
/* `set`, `show` and `with`: the settings of a session. */
#include "command/verbs_settings.h"

#include <string.h>

#include "base/memory.h"
#include "command/help.h"
#include "command/lex.h"
#include "command/verbs_change.h"

static void add_setting(struct session *s, struct table *t, enum setting_id id)
{
    struct buf value = { 0 }, domain = { 0 };
    settings_print(&s->settings, id, &value);
    setting_domain(id, &domain);
    table_row(t);
    table_str(t, setting_info(id)->name);
    table_str(t, buf_str(&value));
    table_str(t, buf_str(&domain));
    table_str(t, setting_info(id)->brief);
    buf_free(&value);
    buf_free(&domain);
}

enum st run_show(struct session *s, const struct call *c, struct result *out, struct err *e)
{
    enum setting_id id = 0;
    for (int i = 0; i < c->n_words; i++) {
        enum st st = setting_find(c->words[i].text, &id, e);
        if (st)
            return st_at(e, c->words[i].column, c->words[i].length);
    }
    struct table *t = result_table(out, "settings", c->n_words == 1 ? TABLE_RECORD : TABLE_ROWS);
    TABLE_COLUMNS(t, { COL_STRING, "setting" }, { COL_STRING, "value" }, { COL_STRING, "choices" },
                  { COL_STRING, "meaning" });
    for (int i = 0; i < c->n_words; i++)
        if (!setting_find(c->words[i].text, &id, e))
            add_setting(s, t, id);
    for (int i = 0; !c->n_words && i < SETTING_COUNT; i++)
        add_setting(s, t, i);
    return ST_OK;
}

/* The value of `set NAME VALUE`: the rest of the line as it stands, or one quoted word. */
static struct str set_value(const struct call *c)
{
    if (c->n_words == 2)
        return c->words[1].text;
    int from = c->words[1].column - c->rest_column;
    return str_of(c->rest.p + from, c->rest.n - (size_t)from);
}

enum st run_set(struct session *s, const struct call *c, struct result *out, struct err *e)
{
    if (!c->n_words)
        return run_show(s, c, out, e);
    if (str_is(c->words[0].text, "tensor"))
        return run_set_tensor(s, c, out, e);
    enum setting_id id;
    enum st st = setting_find(c->words[0].text, &id, e);
    if (st)
        return st_at(e, c->words[0].column, c->words[0].length);
    if (c->n_words == 1 && setting_info(id)->type == TYPE_BOOL)
        return settings_set(&s->settings, id, STR("on"), e);
    if (c->n_words == 1) {
        struct buf domain = { 0 };
        setting_domain(id, &domain);
        call_fail(c, 1, e, ST_SYNTAX, "set %s to what?", setting_info(id)->name);
        st_hint(e, "%s; `show %s` shows the value", buf_str(&domain), setting_info(id)->name);
        buf_free(&domain);
        return ST_SYNTAX;
    }
    if (c->n_words > 2 && setting_info(id)->type != TYPE_TEXT)
        return call_fail(c, 2, e, ST_SYNTAX, "set takes one value");
    st = settings_set(&s->settings, id, set_value(c), e);
    if (!st && (id == SETTING_COMPUTE || id == SETTING_KERNELS) && s->models.run)
        result_note(out, "runs that there are stay as they are; the next `prompt` takes it");
    return st ? st_at(e, c->words[1].column, c->words[1].length) : ST_OK;
}

/* One SETTING=VALUE of `with`. */
static enum st hold_one(struct session *s, const struct word *w, struct err *e)
{
    const char *equals = memchr(w->text.p, '=', w->text.n);
    if (!equals) {
        st_fail(e, ST_SYNTAX, "`with` takes SETTING=VALUE, then `--`, then a command");
        return st_at(e, w->column, w->length);
    }
    struct str name = str_of(w->text.p, (size_t)(equals - w->text.p));
    struct str value = str_of(equals + 1, w->text.n - name.n - 1);
    if (value.n > 1 && (value.p[0] == '"' || value.p[0] == '\'')
        && value.p[value.n - 1] == value.p[0])
        value = str_of(value.p + 1, value.n - 2);
    enum setting_id id;
    enum st st = setting_find(name, &id, e);
    if (st)
        return st_at(e, w->column, (int)name.n);
    st = settings_hold(&s->settings, id, value, e);
    return st ? st_at(e, w->column + (int)name.n + 1, w->length - (int)name.n - 1) : ST_OK;
}

enum st run_with(struct session *s, const struct call *c, struct result *out, struct err *e)
{
    int i = 0;
    for (; i < c->n_words && !str_is(c->words[i].text, "--"); i++)
        ;
    if (i == c->n_words || i == 0) {
        call_fail(c, i, e, ST_SYNTAX,
                  i ? "`--` and a command are missing" : "`with` takes a setting");
        return st_hint(e, "with precision=9 -- print 1/3");
    }
    for (int j = 0; j < i; j++) {
        enum st st = hold_one(s, &c->words[j], e);
        if (st)
            return st;
    }
    return call_rest(s, c, c->words[i].column + 2, out, e);
}
