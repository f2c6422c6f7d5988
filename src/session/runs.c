/* SPDX-License-Identifier: MIT */
#include "session/runs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "kernels/level.h"
#include "models/demo.h"
#include "session/measure.h"
#include "session/capture.h"
#include "session/record.h"
#include "session/session.h"
#include "study/source.h"

static struct session_models *state(const struct session *s)
{
    return (struct session_models *)&s->models;
}

struct session_model *session_find_model(const struct session *s, struct str name)
{
    for (size_t i = 0; i < s->models.n_models; i++)
        if (str_is(name, s->models.models[i]->name))
            return s->models.models[i];
    return NULL;
}

struct session_run *session_run_of(const struct session *s, const struct session_run *r)
{
    for (size_t i = 0; i < s->models.n_runs; i++)
        if (s->models.runs[i] == r)
            return s->models.runs[i];
    return NULL;
}

struct session_run *session_find_run(const struct session *s, struct str name)
{
    for (size_t i = 0; i < s->models.n_runs; i++)
        if (str_is(name, s->models.runs[i]->name))
            return s->models.runs[i];
    return NULL;
}

enum st session_open_weights(const char *path, struct weights **out, struct err *e)
{
    static const char flag[] = "--demo";
    if (strncmp(path, flag, sizeof flag - 1))
        return weights_open(path, out, e);
    const char *name = path[sizeof flag - 1] == '=' ? path + sizeof flag : NULL;
    size_t n;
    const struct demo_model *all = demo_models(&n), *m = name ? demo_find(name)
                                                         : n  ? &all[0]
                                                              : NULL;
    if (!m) {
        st_fail(e, ST_NOTFOUND, "there is no demo model `%.60s`", name ? name : "");
        struct buf b = { 0 };
        for (size_t i = 0; i < n; i++)
            buf_printf(&b, "%s%s", i ? ", " : "", all[i].name);
        st_hint(e, "there are: %s", buf_str(&b));
        buf_free(&b);
        return ST_NOTFOUND;
    }
    return weights_borrow(m->start, (size_t)(m->end - m->start), m->name, out, e);
}

/* A capture has no weights: an empty file stands for them. */
static enum st open_capture(const char *path, struct weights **w, struct capture **out,
                            struct err *e)
{
    static const uint8_t empty[32] = { 'G', 'G', 'U', 'F', 3 };
    struct stored_tensors file;
    struct capture *c;
    enum st st = stored_open(path, &file, e);
    if (!st)
        st = capture_parse(&file, &c, e);
    if (st)
        return st;
    if ((st = weights_borrow(empty, sizeof empty, path, w, e)))
        capture_free(c);
    else
        *out = c;
    return st;
}

/* a, b, ... z, then m27, m28, ... */
static char *free_label(struct session *s)
{
    char name[16];
    do {
        int i = state(s)->next_label++;
        if (i < 26)
            snprintf(name, sizeof name, "%c", 'a' + i);
        else
            snprintf(name, sizeof name, "m%d", i + 1);
    } while (session_find_model(s, str_from(name)));
    return x_strdup(name);
}

enum st session_open(struct session *s, const char *path, const char *name,
                     struct session_model **out, struct err *e)
{
    struct session_models *all = state(s);
    if (name && (session_find_model(s, str_from(name)) || session_find_run(s, str_from(name))))
        return st_fail(e, ST_STATE, "the name `%.60s` is taken", name);
    struct weights *w;
    struct capture *capture = NULL;
    enum st st = capture_is(path) ? open_capture(path, &w, &capture, e)
                                  : session_open_weights(path, &w, e);
    if (st)
        return st;
    struct session_model *m = x_alloc(sizeof *m);
    m->model = model_new(w);
    m->capture = capture;
    if (capture) {
        st_fail(&m->model->no_graph, ST_UNSUPPORTED,
                "this is a capture: it holds what was saved of a run, and cannot run");
        m->model->no_tokenizer = m->model->no_graph;
    }
    m->path = x_strdup(path);
    m->name = name ? x_strdup(name) : free_label(s);
    x_grow(&all->models, &all->cap_models, all->n_models + 1, sizeof *all->models);
    all->models[all->n_models++] = m;
    session_use_model(s, m);
    *out = m;
    return ST_OK;
}

void session_kill(struct session *s, struct session_run *r)
{
    struct session_models *all = state(s);
    for (size_t i = 0; i < all->n_runs; i++)
        if (all->runs[i] == r) {
            memmove(all->runs + i, all->runs + i + 1, (all->n_runs - i - 1) * sizeof *all->runs);
            all->n_runs--;
            break;
        }
    if (all->run == r)
        all->run = NULL;
    size_t kept = 0;
    for (size_t i = 0; i < s->n_marks; i++)
        if (s->marks[i].run == r)
            free(s->marks[i].name);
        else
            s->marks[kept++] = s->marks[i];
    s->n_marks = kept;
    if (s->hit.run == r)
        s->hit = (struct element){ 0 };
    values_forget_run(&s->values, r);
    changes_forget_run(s, r);
    run_free(r->ref);
    run_free(r->run);
    free(r->name);
    free(r);
}

void session_close(struct session *s, struct session_model *m)
{
    struct session_models *all = state(s);
    const bool was_ref = all->ref == m;
    session_measure_forget(s);
    quant_cache_forget(s->forms, m->model->weights);
    for (size_t i = all->n_runs; i-- > 0;)
        if (all->runs[i]->model == m)
            session_kill(s, all->runs[i]);
        else if (all->runs[i]->ref_model == m) {
            run_free(all->runs[i]->ref);
            all->runs[i]->ref = NULL;
            all->runs[i]->ref_model = NULL;
        }
    if (all->ref == m)
        all->ref = NULL;
    if (all->trace_model == m)
        all->trace_model = NULL;
    for (size_t i = 0; i < all->n_models; i++)
        if (all->models[i] == m) {
            memmove(all->models + i, all->models + i + 1,
                    (all->n_models - i - 1) * sizeof *all->models);
            all->n_models--;
            break;
        }
    if (all->model == m) {
        all->model = NULL;
        if (all->n_models)
            session_use_model(s, all->models[all->n_models - 1]);
    }
    changes_forget_model(s, m);
    if (was_ref)
        changes_new_reference(s);
    values_forget_weights(&s->values, m->model->weights);
    capture_free(m->capture);
    model_free(m->model);
    free(m->name);
    free(m->path);
    free(m);
}

void session_drop_trace(struct session *s)
{
    struct session_models *all = state(s);
    if (all->trace)
        trace_points_free(all->trace);
    free(all->trace);
    all->trace = NULL;
    all->trace_model = NULL;
}

void session_models_free(struct session *s)
{
    struct session_models *all = state(s);
    while (all->n_models)
        session_close(s, all->models[all->n_models - 1]);
    session_drop_trace(s);
    free(all->models);
    free(all->runs);
    pool_free(all->pool);
}

void session_use_run(struct session *s, struct session_run *r)
{
    state(s)->run = r;
    state(s)->model = r->model;
}

/* The model's latest run becomes active with it. */
void session_use_model(struct session *s, struct session_model *m)
{
    struct session_models *all = state(s);
    all->model = m;
    if (all->run && all->run->model == m)
        return;
    all->run = NULL;
    for (size_t i = 0; i < all->n_runs; i++)
        if (all->runs[i]->model == m)
            all->run = all->runs[i];
}

enum st session_use_bytes(const struct session *s, const struct session_model *m, struct err *e)
{
    enum st st = weights_use(m->model->weights, e);
    if (!st && m->capture)
        st = map_use(&m->capture->file.map, e);
    if (!st && s->models.ref && s->models.ref != m)
        st = weights_use(s->models.ref->model->weights, e);
    return st;
}

enum st session_active_model(const struct session *s, struct session_model **out, struct err *e)
{
    if (!s->models.model) {
        st_fail(e, ST_STATE, "no model is open");
        return st_hint(e, "`open FILE`, or `open --demo`");
    }
    *out = s->models.model;
    return ST_OK;
}

enum st session_need_model(const struct session *s, struct session_model **out, struct err *e)
{
    struct session_model *m = NULL;
    enum st st = session_active_model(s, &m, e);
    if (!st)
        st = session_use_bytes(s, m, e);
    if (!st)
        *out = m;
    return st;
}

enum st session_need_graph(const struct session *s, struct session_model **out, struct err *e)
{
    struct session_model *m = NULL;
    enum st st = session_need_model(s, &m, e);
    if (!st && !m->model->graph) {
        *e = m->model->no_graph;
        return e->st;
    }
    if (!st)
        *out = m;
    return st;
}

enum st session_need_tokenizer(const struct session *s, struct session_model **out, struct err *e)
{
    struct session_model *m = NULL;
    enum st st = session_need_model(s, &m, e);
    if (!st && !m->model->tokenizer) {
        *e = m->model->no_tokenizer;
        return e->st;
    }
    if (!st)
        *out = m;
    return st;
}

enum st session_need_run(const struct session *s, struct session_run **out, struct err *e)
{
    struct session_model *m = NULL;
    enum st st = session_need_graph(s, &m, e);
    if (st)
        return st;
    if (!s->models.run) {
        st_fail(e, ST_STATE, "there is no run");
        return st_hint(e, "`prompt \"TEXT\"` sets the input");
    }
    *out = s->models.run;
    return ST_OK;
}

static void set_pool(struct session_run *r, struct pool *pool)
{
    run_set_pool(r->run, pool);
    if (r->ref)
        run_set_pool(r->ref, pool);
}

struct pool *session_pool(struct session *s)
{
    struct session_models *all = state(s);
    int threads = (int)setting_int(&s->settings, SETTING_THREADS);
    if (threads <= 0)
        threads = pool_cpus();
    if (all->pool && pool_threads(all->pool) != threads) {
        for (size_t i = 0; i < all->n_runs; i++)
            set_pool(all->runs[i], NULL);
        pool_free(all->pool);
        all->pool = NULL;
    }
    if (!all->pool && threads > 1) {
        all->pool = pool_new(threads);
        for (size_t i = 0; i < all->n_runs; i++)
            set_pool(all->runs[i], all->pool);
    }
    return all->pool;
}

/* In the mode that is set, or in `otherwise` where the setting leaves it open. */
static struct run_options options(struct session *s, enum compute otherwise)
{
    const int64_t set = setting_int(&s->settings, SETTING_COMPUTE);
    return (struct run_options){ .mode = set == COMPUTE__COUNT ? otherwise : (enum compute)set,
                                 .pool = session_pool(s),
                                 .span = setting_int(&s->settings, SETTING_SPAN),
                                 .cancel = s->progress ? s->progress->cancel : NULL };
}

struct run_options session_run_options(struct session *s) { return options(s, COMPUTE_EXACT); }
struct run_options session_measure_options(struct session *s) { return options(s, COMPUTE_NATIVE); }

enum st session_fast_floor(struct session *s, struct session_model *m, const int32_t *ids,
                           int64_t n, struct fast_floor *out, struct err *e)
{
    if (!m->floor.scored || m->floor_level != level_now()) {
        const struct run_options o = session_run_options(s);
        enum st st = fast_floor_of(m->model, &o, ids, n, s->progress, &m->floor, e);
        if (st)
            return st;
        m->floor_level = level_now();
    }
    *out = m->floor;
    return ST_OK;
}

enum st session_prompt(struct session *s, const int32_t *ids, int64_t n, const char *name,
                       struct session_run **out, struct err *e)
{
    struct session_models *all = state(s);
    struct session_model *m = NULL;
    enum st st = session_need_graph(s, &m, e);
    if (st)
        return st;
    name = name ? name : "main";
    if (session_find_model(s, str_from(name)))
        return st_fail(e, ST_STATE, "the name `%.60s` is that of a model", name);
    struct run_options o = session_run_options(s);
    struct run *run = run_new(m->model, &o);
    if ((st = run_input(run, ids, NULL, NULL, n, e))) {
        run_free(run);
        return st;
    }
    struct session_run *old = session_find_run(s, str_from(name));
    if (old)
        session_kill(s, old);
    struct session_run *r = x_alloc(sizeof *r);
    *r = (struct session_run){
        .name = x_strdup(name), .model = m, .run = run, .n_prompt = (size_t)n
    };
    x_grow(&all->runs, &all->cap_runs, all->n_runs + 1, sizeof *all->runs);
    all->runs[all->n_runs++] = r;
    changes_new_run(s, r);
    record_apply(s, run);
    session_use_run(s, r);
    *out = r;
    return ST_OK;
}

void session_token_text(const struct session_run *r, int32_t id, struct buf *out)
{
    const struct tokenizer *t = r->model->model->tokenizer;
    if (!t || id < 0 || id >= tokenizer_size(t)) {
        buf_printf(out, "#%d", id);
        return;
    }
    struct buf bytes = { 0 };
    tokenizer_bytes(t, id, &bytes);
    if (bytes.n)
        buf_visible(out, str_of(bytes.p, bytes.n));
    else
        buf_visible(out,
                    tokenizer_piece(t, id)); /* control tokens stand for no text: show their name */
    buf_free(&bytes);
}
