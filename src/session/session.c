/* SPDX-License-Identifier: MIT */
#include "session/session.h"

#include <stdlib.h>

#include "base/memory.h"

struct session *session_new(void)
{
    struct session *s = x_alloc(sizeof *s);
    settings_init(&s->settings);
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
    settings_free(&s->settings);
    free(s);
}

bool session_changed(const struct session *s)
{
    (void)s;
    return false;
}

enum st session_assign(struct session *s, struct str name, struct str expr, struct result *out, struct err *e)
{
    (void)s, (void)name, (void)expr, (void)out;
    return st_fail(e, ST_UNSUPPORTED, "convenience variables are not built yet");
}
