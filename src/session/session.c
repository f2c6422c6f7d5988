/* SPDX-License-Identifier: MIT */
#include "session/session.h"

#include <stdlib.h>

#include "base/memory.h"

/* What depends on settings follows them. */
static enum st follow(void *data, enum setting_id id, struct err *e)
{
    struct session *s = data;
    (void)e;
    int64_t v = setting_int(&s->settings, id);
    switch (id) {
    case SETTING_MEM_BUDGET: mem_set_budget(v ? (size_t)v : mem_available() / 5 * 2); break;
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
    breakpoints_free(&s->breaks);
    settings_free(&s->settings);
    free(s);
}

bool session_changed(const struct session *s)
{
    (void)s;
    return false;
}

enum st session_assign(struct session *s, struct str name, struct str expr, struct result *out,
                       struct err *e)
{
    (void)s, (void)name, (void)expr, (void)out;
    return st_fail(e, ST_UNSUPPORTED, "convenience variables are not built yet");
}
