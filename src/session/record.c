/* SPDX-License-Identifier: MIT */
#include "session/record.h"

#include "engine/record.h"
#include "session/lookup.h"

/* "-all GLOB": the glob, empty if nothing is recorded. */
static struct str glob_of(const struct session *s, bool *opens)
{
    struct str t = str_from(setting_text(&s->settings, SETTING_RECORD));
    *opens = str_starts(t, "-all ");
    if (*opens)
        t = str_of(t.p + 5, t.n - 5);
    while (t.n && t.p[0] == ' ')
        t = str_of(t.p + 1, t.n - 1);
    return str_is(t, "off") ? str_of(NULL, 0) : t;
}

int record_apply(const struct session *s, struct run *r)
{
    bool opens;
    const struct str glob = glob_of(s, &opens);
    const struct graph *g = run_graph(r);
    int n = 0;
    for (int v = 0; g && v < g->n_values; v++) {
        const bool on = glob.n && graph_names(g, glob, v);
        run_record(r, v, !on ? RECORD_OFF : opens ? RECORD_OPENED : RECORD_ON);
        n += on;
    }
    return n;
}

enum st record_follow(struct session *s, struct err *e)
{
    bool opens;
    const struct str glob = glob_of(s, &opens);
    const struct session_model *m = s->models.model;
    if (glob.n && m && m->model->graph && !graph_count_named(m->model->graph, glob))
        return lookup_no_name(m, glob, NAMES_POINTS, e);
    for (size_t i = 0; i < s->models.n_runs; i++)
        record_apply(s, s->models.runs[i]->run);
    return ST_OK;
}
