/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "session/capture.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/memory.h"
#include "file/map.h"
#include "session/lookup.h"

/* __metadata__ has what follows, and for each tensor its axes ("tok 5, chan 64") under its name. */
static const struct {
    const char *key, *as;
} notes[] = {
    { "qdb.capture", "version" },  { "qdb.engine", "engine" },     { "qdb.model", "model" },
    { "qdb.hash", "hash" },        { "qdb.tokens", "tokens" },     { "qdb.text", "text" },
    { "qdb.settings", "settings" }, { "qdb.changes", "changes" },
};

enum { N_NOTES = sizeof notes / sizeof *notes, EDGE = 4096 };

/* ---- reading ---- */

bool capture_is(const char *path)
{
    struct map m;
    if (map_open(path, &m, NULL)) /* also a pipe, which must not be waited for */
        return false;
    const bool is = m.size > 8 && m.p[8] == '{' && memcmp(m.p, "GGUF", 4) != 0;
    map_close(&m);
    return is;
}

/* "tok 5, chan 64" of a tensor with these sizes. */
static bool parse_axes(const char *text, const struct stored_tensor *x, struct shape *out)
{
    struct shape s = { 0 };
    const char *p = text;
    while (*p && s.rank < SHAPE_MAX && s.rank < x->rank) {
        size_t n = 0, digits = 0;
        int64_t size;
        while (p[n] >= 'a' && p[n] <= 'z')
            n++;
        const enum axis axis = axis_find(str_of(p, n));
        if (axis == AXIS__COUNT || p[n] != ' ')
            return false;
        p += n + 1;
        while (p[digits] >= '0' && p[digits] <= '9')
            digits++;
        if (parse_i64(str_of(p, digits), 1, INT64_MAX, &size, NULL)
            || (uint64_t)size != x->shape[s.rank])
            return false;
        s.d[s.rank++] = dim(axis, size);
        p += digits;
        if (*p && strncmp(p, ", ", 2) != 0)
            return false;
        p += *p ? 2 : 0;
    }
    *out = s;
    return !*p && s.rank == x->rank && s.rank > 0;
}

enum st capture_parse(struct stored_tensors *file, struct capture **out, struct err *e)
{
    struct capture *c = x_alloc(sizeof *c);
    c->file = *file;
    *file = (struct stored_tensors){ 0 };
    c->list = x_alloc((c->file.n + 1) * sizeof *c->list);
    const char *version = stored_note(&c->file, notes[0].key);
    enum st st = ST_OK;
    if (!version)
        st = st_fail(e, ST_UNSUPPORTED, "a safetensors file that is no capture of qdb");
    else if (strcmp(version, "1") != 0)
        st = st_fail(e, ST_UNSUPPORTED, "version %.20s of captures; this qdb reads 1", version);
    for (size_t i = 0; i < c->file.n && !st; i++) {
        const struct stored_tensor *x = &c->file.list[i];
        const char *axes = stored_note(&c->file, x->name);
        if (x->type != NUMBER_F32 || !axes || !parse_axes(axes, x, &c->list[i].shape))
            st = st_fail(e, ST_FORMAT, "%.80s: the axes `%.80s` are not those of the array",
                         x->name, axes ? axes : "");
        c->list[c->n++].x = x;
    }
    if (st) {
        st_where(e, "%s", c->file.map.path);
        capture_free(c);
    } else
        *out = c;
    return st;
}

void capture_free(struct capture *c)
{
    if (!c)
        return;
    stored_close(&c->file);
    free(c->list);
    free(c);
}

void capture_facts(const struct capture *c, struct result *out)
{
    struct table *t = result_table(out, "capture", TABLE_RECORD);
    for (int i = 0; i < N_NOTES; i++)
        table_column(t, COL_STRING, notes[i].as, "");
    table_row(t);
    for (int i = 0; i < N_NOTES; i++)
        table_str(t, stored_note(&c->file, notes[i].key));
    t = result_table(out, "points", TABLE_ROWS);
    TABLE_COLUMNS(t, { COL_ADDRESS, "point" }, { COL_STRING, "axes" });
    for (size_t i = 0; i < c->n; i++) {
        struct buf axes = { 0 };
        shape_print(&c->list[i].shape, &axes);
        table_row(t);
        table_str(t, c->list[i].x->name);
        table_str(t, buf_str(&axes));
        buf_free(&axes);
    }
    result_note(out, "a capture: it can be looked at, not run");
}

/* ---- writing ---- */

static uint64_t hash_weight(const struct weight *w, uint64_t seed)
{
    uint64_t size = w->bytes;
    seed = hash_bytes(w->name.p, w->name.n, seed);
    seed = hash_bytes(&size, sizeof size, seed);
    if (!w->data)
        return seed;
    const size_t edge = w->bytes < EDGE ? w->bytes : EDGE;
    seed = hash_bytes(w->data, edge, seed);
    return hash_bytes(w->data + w->bytes - edge, edge, seed);
}

static uint64_t hash_model(const struct weights *w)
{
    uint64_t h = 0;
    for (size_t i = 0; i < w->n_files; i++) {
        const struct map *m = &w->files[i]->map;
        const uint64_t head = w->files[i]->data_offset;
        h = hash_bytes(m->p, head < m->size ? (size_t)head : m->size, h);
    }
    for (size_t i = 0; i < w->n; i++)
        h = hash_weight(&w->list[i], h);
    return h;
}

/* One `set NAME VALUE` for each setting that is not as it begins. */
static void put_settings(const struct session *s, struct buf *out)
{
    struct settings fresh;
    settings_init(&fresh);
    for (int id = 0; id < SETTING_COUNT; id++) {
        struct buf now = { 0 }, first = { 0 };
        settings_print(&s->settings, id, &now);
        settings_print(&fresh, id, &first);
        if (strcmp(buf_str(&now), buf_str(&first)) != 0)
            buf_printf(out, "%sset %s %s", out->n ? "\n" : "", setting_info(id)->name,
                       buf_str(&now));
        buf_free(&now);
        buf_free(&first);
    }
    settings_free(&fresh);
}

static void put_changes(const struct session *s, const struct session_run *r, struct buf *out)
{
    for (size_t i = 0; i < s->changes.n; i++) {
        const struct change *c = s->changes.list[i];
        if (c->model == r->model && (!c->only || c->only == r) && c->but != r)
            buf_printf(out, "%s%s", out->n ? "\n" : "", c->text);
    }
}

static void put_tokens(const struct session_run *r, struct buf *ids, struct buf *text)
{
    for (int64_t i = 0; i < run_n_tokens(r->run); i++) {
        buf_printf(ids, "%s%" PRId32, i ? "," : "", run_tokens(r->run)[i]);
        session_token_text(r, run_tokens(r->run)[i], text);
    }
}

/* The texts in the order of notes[]. */
static void describe(struct session *s, const struct session_run *r, struct buf text[N_NOTES])
{
    const char *file = strrchr(r->model->path, '/');
    buf_adds(&text[0], "1");
    buf_printf(&text[1], "qdb %s, %s", PACKAGE_VERSION, compute_name(run_mode(r->run)));
    buf_adds(&text[2], file ? file + 1 : r->model->path);
    buf_printf(&text[3], "%016" PRIx64, hash_model(r->model->model->weights));
    put_tokens(r, &text[4], &text[5]);
    put_settings(s, &text[6]);
    put_changes(s, r, &text[7]);
}

static enum st read_points(struct session *s, struct session_run *r, const int *values, size_t n,
                           struct view *views, struct err *e)
{
    enum st st = ST_OK;
    for (size_t i = 0; i < n && !st; i++) {
        struct buf name = { 0 };
        buf_printf(&name, "%s:%s!%s", r->model->name, r->name,
                   run_graph(r->run)->values[values[i]].name);
        st = progress_tick(s->progress, "reading", (double)i, (double)n)
                 ? lookup_text(s, str_from(buf_str(&name)), &views[i], e)
                 : st_fail(e, ST_CANCELLED, "interrupted");
        buf_free(&name);
    }
    return st;
}

enum st capture_write(struct session *s, struct session_run *r, const int *values, size_t n,
                      const char *path, struct err *e)
{
    struct view *views = x_alloc((n + 1) * sizeof *views);
    struct safetensor *list = x_alloc((n + 1) * sizeof *list);
    struct buf *axes = x_alloc((n + 1) * sizeof *axes), text[N_NOTES] = { 0 };
    struct safetensor_note about[N_NOTES];
    enum st st = read_points(s, r, values, n, views, e);
    for (size_t i = 0; i < n && !st; i++) {
        shape_print(&views[i].shape, &axes[i]);
        list[i] = (struct safetensor){ .name = run_graph(r->run)->values[values[i]].name,
                                       .about = buf_str(&axes[i]),
                                       .rank = views[i].shape.rank,
                                       .data = views[i].data };
        for (int d = 0; d < views[i].shape.rank; d++)
            list[i].shape[d] = (uint64_t)views[i].shape.d[d].n;
    }
    if (!st) {
        describe(s, r, text);
        for (int i = 0; i < N_NOTES; i++)
            about[i] = (struct safetensor_note){ notes[i].key, buf_str(&text[i]) };
        st = safetensors_write_about(path, about, N_NOTES, list, n, s->progress, e);
    }
    for (size_t i = 0; i < n; i++) {
        view_free(&views[i]);
        buf_free(&axes[i]);
    }
    for (int i = 0; i < N_NOTES; i++)
        buf_free(&text[i]);
    free(views);
    free(list);
    free(axes);
    return st;
}
