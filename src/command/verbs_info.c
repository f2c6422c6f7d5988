/* SPDX-License-Identifier: MIT */
/* `info`: one table of topics; each is a read-only fact about the session. */
#include <string.h>

#include "base/memory.h"
#include "command/cells.h"
#include "command/plan_parts.h"
#include "command/command.h"
#include "command/facts.h"
#include "command/look.h"
#include "command/verbs_change.h"
#include "command/verbs_info.h"
#include "command/verbs_record.h"
#include "kernels/level.h"
#include "models/registry.h"
#include "session/capture.h"
#include "session/control.h"

/* Show what the glob after the topic names, or everything; a glob without a match is an error. */
/* session_need_model and its kin: the active model, if it has what is asked for. */
typedef enum st need_model(const struct session *s, struct session_model **m, struct err *e);

static enum st show_model(struct session *s, need_model *need,
                          void (*show)(const struct session_model *m, struct result *out),
                          struct result *out, struct err *e)
{
    struct session_model *m;
    const enum st st = need(s, &m, e);
    if (!st)
        show(m, out);
    return st;
}

/* What the glob of the command names; an error when that is nothing. */
static enum st show_named(struct session *s, need_model *need, const struct call *c, unsigned of,
                          void (*show)(const struct session_model *m, struct str glob,
                                       struct result *out),
                          struct result *out, struct err *e)
{
    struct session_model *m;
    const struct str glob = c->n_words > 1 ? c->words[1].text : str_of(NULL, 0);
    const enum st st = need(s, &m, e);
    if (st)
        return st;
    show(m, glob, out);
    if (!glob.n || out->tables[out->n_tables - 1]->n_rows)
        return ST_OK;
    result_free(out);
    lookup_no_name(m, glob, of, e);
    return st_at(e, c->words[1].column, c->words[1].length);
}

static enum st info_model(struct session *s, const struct call *c, struct result *out,
                          struct err *e)
{
    (void)c;
    return show_model(s, session_need_model, facts_model, out, e);
}

static enum st info_kv(struct session *s, const struct call *c, struct result *out, struct err *e)
{
    (void)c;
    return show_model(s, session_need_model, facts_kv, out, e);
}

static enum st info_tokenizer(struct session *s, const struct call *c, struct result *out,
                              struct err *e)
{
    (void)c;
    return show_model(s, session_need_tokenizer, facts_tokenizer, out, e);
}

static enum st info_tensors(struct session *s, const struct call *c, struct result *out,
                            struct err *e)
{
    return show_named(s, session_need_model, c, NAMES_WEIGHTS, facts_tensors, out, e);
}

static enum st info_points(struct session *s, const struct call *c, struct result *out,
                           struct err *e)
{
    return show_named(s, session_need_graph, c, NAMES_POINTS, facts_points, out, e);
}

static enum st info_names(struct session *s, const struct call *c, struct result *out,
                          struct err *e)
{
    return show_named(s, session_need_graph, c, NAMES_FOREIGN, facts_names, out, e);
}

static enum st info_capture(struct session *s, const struct call *c, struct result *out,
                            struct err *e)
{
    struct session_model *m;
    const enum st st = session_need_model(s, &m, e);
    if (!st && !m->capture)
        return call_fail(c, 0, e, ST_STATE, "%s is a model, no capture", m->name);
    if (!st)
        capture_facts(m->capture, out);
    return st;
}

static enum st info_record(struct session *s, const struct call *c, struct result *out,
                           struct err *e)
{
    (void)c;
    return record_show(s, out, e);
}

static enum st info_tokens(struct session *s, const struct call *c, struct result *out,
                           struct err *e)
{
    (void)c;
    struct session_run *r;
    enum st st = session_need_run(s, &r, e);
    if (st)
        return st;
    struct table *t = result_table(out, "tokens", TABLE_ROWS);
    TABLE_COLUMNS(t, { COL_INT, "tok" }, { COL_INT, "span" }, { COL_INT, "id" },
                  { COL_STRING, "text" }, { COL_STRING, "from" });
    struct buf b = { 0 };
    for (int64_t i = 0; i < run_n_tokens(r->run); i++) {
        buf_clear(&b);
        session_token_text(r, run_tokens(r->run)[i], &b);
        table_row(t);
        table_int(t, i);
        table_int(t, run_span_of(r->run, i));
        table_int(t, run_tokens(r->run)[i]);
        table_str(t, buf_str(&b));
        table_str(t, (size_t)i < r->n_prompt ? "prompt" : "generated");
    }
    buf_free(&b);
    return ST_OK;
}

static enum st info_formats(struct session *s, const struct call *c, struct result *out,
                            struct err *e)
{
    (void)s, (void)c, (void)e;
    struct table *t = result_table(out, "formats", TABLE_ROWS);
    TABLE_COLUMNS(t, { COL_STRING, "format" }, { COL_STRING, "type" }, { COL_INT, "id" },
                  { COL_INT, "block", "weights" }, { COL_INT, "bytes", "B" },
                  { COL_FLOAT, "bpw", "bit" }, { COL_BOOL, "decodes" },
                  { COL_STRING, "block_holds" });
    for (int i = 0; i < format_count(); i++) {
        const struct format_info *f = format_info((enum format)i);
        table_row(t);
        table_str(t, f->name);
        table_str(t, f->type);
        table_int(t, f->id);
        table_int(t, f->block);
        table_int(t, f->bytes);
        table_float(t, format_bpw((enum format)i));
        table_bool(t, f->decode != NULL);
        table_str(t, f->brief);
    }
    return ST_OK;
}

static void memory_row(struct table *t, const char *what, size_t bytes, const char *remark)
{
    table_row(t);
    table_str(t, what);
    table_int(t, (int64_t)bytes);
    table_str(t, remark);
}

static enum st info_memory(struct session *s, const struct call *c, struct result *out,
                           struct err *e)
{
    int64_t n = 0;
    if (c->n_words > 1 && parse_i64(c->words[1].text, 1, 1 << 30, &n, e))
        return st_at(e, c->words[1].column, c->words[1].length);
    struct table *t = result_table(out, "memory", TABLE_ROWS);
    TABLE_COLUMNS(t, { COL_STRING, "what" }, { COL_INT, "bytes", "B" }, { COL_STRING, "remark" });
    memory_row(t, "budget", mem_budget(), mem_budget() ? "set mem-budget, --mem" : "no limit");
    memory_row(t, "in use", mem_used(), "large buffers of qdb itself");
    memory_row(t, "peak", mem_peak(), "the most since the start");
    if (mem_mapped())
        memory_row(t, "mapped", mem_mapped(), "weights in other formats, in temporary files");
    for (size_t i = 0; i < s->models.n_models; i++)
        memory_row(t, "mapped", s->models.models[i]->model->weights->n_bytes,
                   s->models.models[i]->path);
    if (s->models.run) {
        struct run_memory m = run_memory(s->models.run->run);
        memory_row(t, "cache", m.state, "keys and values of the active run");
        memory_row(t, "values", m.values, "activations that are held now");
        memory_row(t, "checkpoints", m.checkpoints, "residual streams kept, to go back quickly");
    }
    struct session_model *m = s->models.model;
    if (n && m && m->model->graph) {
        const enum compute mode = session_run_options(s).mode;
        struct run_memory p = run_predict(m->model, mode, n,
                                          setting_int(&s->settings, SETTING_SPAN));
        struct buf b = { 0 };
        buf_printf(&b, "predicted for a prompt of %d %s", (int)n,
                   text_plural((uint64_t)n, "token", "tokens"));
        memory_row(t, "cache", p.state, buf_str(&b));
        memory_row(t, "values", p.values, buf_str(&b));
        memory_row(t, "checkpoints", p.checkpoints, buf_str(&b));
        buf_free(&b);
    }
    return ST_OK;
}

static enum st info_kernels(struct session *s, const struct call *c, struct result *out,
                            struct err *e)
{
    (void)c, (void)e;
    struct table *t = result_table(out, "kernels", TABLE_ROWS);
    TABLE_COLUMNS(t, { COL_STRING, "level" }, { COL_STRING, "state" }, { COL_STRING, "forced_by" },
                  { COL_INT, "threads" }, { COL_STRING, "meaning" },
                  { COL_STRING, "needs", .quiet = true }, /* the meaning says it in short */
                  { COL_STRING, "missing", .quiet = true });
    for (size_t i = 0; level_at(i); i++) {
        const struct level *l = level_at(i);
        const bool now = l == level_now();
        struct buf needs = { 0 }, missing = { 0 };
        level_needs(l, &needs);
        level_missing(l, &missing);
        table_row(t);
        table_str(t, l->name);
        table_str(t, now                      ? "in use"
                     : missing.n              ? "not here"
                     : l->slow && l->slow() ? "slower here"
                                              : "available");
        table_str(t, now ? s->kernels_by : NULL);
        table_int(t, pool_threads(session_pool(s)));
        table_str(t, l->brief);
        table_str(t, needs.n ? buf_str(&needs) : "nothing");
        table_str(t, missing.n ? buf_str(&missing) : NULL);
        if (missing.n)
            result_note(out, "%s: %s", l->name, buf_str(&missing));
        buf_free(&needs);
        buf_free(&missing);
    }
    return ST_OK;
}

static enum st info_breaks(struct session *s, const struct call *c, struct result *out,
                           struct err *e)
{
    (void)c, (void)e;
    struct table *t = result_table(out, "breaks", TABLE_ROWS);
    TABLE_COLUMNS(t, { COL_INT, "number" }, { COL_BOOL, "enabled" }, { COL_STRING, "what" },
                  { COL_INT, "matches", "points" }, { COL_INT, "hits" }, { COL_INT, "ignore" },
                  { COL_STRING, "commands" });
    for (size_t i = 0; i < s->breaks.n; i++) {
        const struct breakpoint *b = &s->breaks.list[i];
        struct buf what = { 0 }, commands = { 0 };
        breakpoint_print(b, &what);
        break_commands_print(&b->commands, &commands);
        table_row(t);
        table_int(t, b->number);
        table_bool(t, b->enabled);
        table_str(t, buf_str(&what));
        if (s->models.model && s->models.model->model->graph)
            table_int(t, breakpoint_count(b, s->models.model->model->graph));
        else
            table_skip(t);
        table_int(t, b->hits);
        put_positive(t, b->ignore);
        table_str(t, commands.n ? buf_str(&commands) : NULL);
        buf_free(&commands);
        buf_free(&what);
    }
    return ST_OK;
}

static enum st info_checkpoints(struct session *s, const struct call *c, struct result *out,
                                struct err *e)
{
    (void)c;
    struct session_run *r;
    enum st st = session_need_run(s, &r, e);
    if (st)
        return st;
    struct run_memory m = run_memory(r->run);
    struct table *t = result_table(out, "checkpoints", TABLE_ROWS);
    TABLE_COLUMNS(t, { COL_STRING, "name" }, { COL_ADDRESS, "position" }, { COL_STRING, "run" },
                  { COL_BOOL, "stale" });
    struct buf b = { 0 };
    for (size_t i = 0; i < s->n_marks; i++) {
        const struct mark *k = &s->marks[i];
        if (k->run != r)
            continue;
        buf_clear(&b);
        position_print(r->run, k->at, &b);
        table_row(t);
        table_str(t, k->name);
        table_str(t, buf_str(&b));
        table_str(t, r->name);
        table_bool(t, session_stale(s, k));
    }
    buf_free(&b);
    char used[16], limit[16];
    result_note(out, "%d %s kept automatically (%s of at most %s); other places are recomputed",
                m.n_checkpoints,
                text_plural((uint64_t)m.n_checkpoints, "block boundary is", "block boundaries are"),
                text_bytes(used, sizeof used, m.checkpoints),
                text_bytes(limit, sizeof limit, m.checkpoint_limit));
    return ST_OK;
}

static enum st info_models(struct session *s, const struct call *c, struct result *out,
                           struct err *e)
{
    (void)c, (void)e;
    struct table *t = result_table(out, "models", TABLE_ROWS);
    TABLE_COLUMNS(t, { COL_STRING, "label" }, { COL_BOOL, "active" },
                  { COL_STRING, "architecture" }, { COL_INT, "parameters" },
                  { COL_INT, "bytes", "B" }, { COL_BOOL, "runs" }, { COL_STRING, "file" });
    for (size_t i = 0; i < s->models.n_models; i++) {
        const struct session_model *m = s->models.models[i];
        table_row(t);
        table_str(t, m->name);
        table_bool(t, m == s->models.model);
        table_strn(t, weights_string(m->model->weights, "general.architecture", "?"));
        table_int(t, (int64_t)m->model->weights->n_params);
        table_int(t, (int64_t)m->model->weights->n_bytes);
        table_bool(t, m->model->graph != NULL);
        table_str(t, m->path);
    }
    return ST_OK;
}

static enum st info_runs(struct session *s, const struct call *c, struct result *out, struct err *e)
{
    (void)c, (void)e;
    struct table *t = result_table(out, "runs", TABLE_ROWS);
    TABLE_COLUMNS(t, { COL_STRING, "run" }, { COL_BOOL, "active" }, { COL_STRING, "model" },
                  { COL_STRING, "compute" }, { COL_STRING, "level" }, { COL_INT, "tokens" },
                  { COL_INT, "spans" }, { COL_ADDRESS, "position" });
    struct buf b = { 0 };
    for (size_t i = 0; i < s->models.n_runs; i++) {
        const struct session_run *r = s->models.runs[i];
        buf_clear(&b);
        position_print(r->run, run_position(r->run), &b);
        table_row(t);
        table_str(t, r->name);
        table_bool(t, r == s->models.run);
        table_str(t, r->model->name);
        table_str(t, compute_name(run_mode(r->run)));
        run_mode(r->run) == COMPUTE_FAST ? table_str(t, run_kernels(r->run)->name) : table_skip(t);
        table_int(t, run_n_tokens(r->run));
        table_int(t, run_n_spans(r->run));
        table_str(t, buf_str(&b));
    }
    buf_free(&b);
    return ST_OK;
}

static enum st info_arch(struct session *s, const struct call *c, struct result *out, struct err *e)
{
    (void)s, (void)c, (void)e;
    struct table *t = result_table(out, "architectures", TABLE_ROWS);
    TABLE_COLUMNS(t, { COL_STRING, "architecture" }, { COL_STRING, "meaning" });
    for (size_t i = 0; architecture_at(i); i++) {
        table_row(t);
        table_str(t, architecture_at(i)->name);
        table_str(t, architecture_at(i)->brief);
    }
    return ST_OK;
}

static enum st info_displays(struct session *s, const struct call *c, struct result *out,
                             struct err *e)
{
    (void)c, (void)e;
    displays_list(s, out);
    return ST_OK;
}

static enum st info_values(struct session *s, const struct call *c, struct result *out,
                           struct err *e)
{
    (void)c, (void)e;
    values_list(&s->values, out);
    return ST_OK;
}

static enum st info_changes(struct session *s, const struct call *c, struct result *out,
                            struct err *e)
{
    (void)c, (void)e;
    changes_list(s, out);
    return ST_OK;
}

static const struct topic {
    const char *name, *brief;
    int n_words; /* that may follow */
    enum st (*run)(struct session *s, const struct call *c, struct result *out, struct err *e);
} topics[] = {
    { "arch", "architectures that have a graph", 0, info_arch },
    { "breaks", "breakpoints", 0, info_breaks },
    { "capture", "what an opened capture says and holds", 0, info_capture },
    { "changes", "what has been changed in the runs; `undo` takes it back", 0, info_changes },
    { "checkpoints", "named places of the run, and memory for going back", 0, info_checkpoints },
    { "displays", "expressions that are shown at each stop", 0, info_displays },
    { "formats", "how weights can be stored", 0, info_formats },
    { "kernels", "which compute kernels are in use", 0, info_kernels },
    { "kv", "metadata of the model file", 0, info_kv },
    { "memory", "budget and use; `info memory N` predicts for a prompt of N tokens", 1,
      info_memory },
    { "model", "the active model", 0, info_model },
    { "models", "open models", 0, info_models },
    { "names", "what TransformerLens and llama.cpp call the points; `info names GLOB`", 1,
      info_names },
    { "plan", "what stands for the weights, and its size; `info plan GLOB`", 1, info_plan },
    { "points", "places where an activation can be looked at; `info points GLOB`", 1, info_points },
    { "record", "what the recorder has of the active run", 0, info_record },
    { "runs", "prompts on their way through a model", 0, info_runs },
    { "tensors", "weights; `info tensors GLOB`", 1, info_tensors },
    { "tokenizer", "the tokenizer of the active model", 0, info_tokenizer },
    { "tokens", "tokens of the active run", 0, info_tokens },
    { "values", "what print has kept as $N, and named values", 0, info_values },
};

enum { N_TOPICS = sizeof topics / sizeof *topics };

static const char *topic_name(const void *data, size_t i)
{
    (void)data;
    return topics[i].name;
}

static enum st list_topics(struct result *out)
{
    struct table *t = result_table(out, "topics", TABLE_ROWS);
    TABLE_COLUMNS(t, { COL_STRING, "topic" }, { COL_STRING, "meaning" });
    for (int i = 0; i < N_TOPICS; i++) {
        table_row(t);
        table_str(t, topics[i].name);
        table_str(t, topics[i].brief);
    }
    return ST_OK;
}

enum st run_info(struct session *s, const struct call *c, struct result *out, struct err *e)
{
    if (!c->n_words)
        return list_topics(out);
    struct str name = c->words[0].text;
    const struct topic *found = NULL;
    int matches = 0;
    for (int i = 0; i < N_TOPICS && !(found && matches < 0); i++)
        if (str_is(name, topics[i].name)) {
            found = &topics[i];
            matches = -1;
        } else if (str_begins(name, topics[i].name)) {
            found = &topics[i];
            matches++;
        }
    if (found && matches <= 1 && c->n_words - 1 > found->n_words) {
        call_fail(c, 1 + found->n_words, e, ST_SYNTAX, "nothing more is expected here");
        return st_hint(e, "info %s: %s", found->name, found->brief);
    }
    if (found && matches <= 1)
        return found->run(s, c, out, e);
    call_fail(c, 0, e, ST_NOTFOUND, matches > 1 ? "`info %.*s` is ambiguous" : "no topic `%.*s`",
              (int)(name.n > 40 ? 40 : name.n), name.p);
    struct buf b = { 0 };
    suggest(name, topic_name, NULL, N_TOPICS, &b);
    st_hint(e, "%s", b.n ? buf_str(&b) : "`info` lists the topics");
    buf_free(&b);
    return e->st;
}
