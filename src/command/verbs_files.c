/* SPDX-License-Identifier: MIT */
/* The verbs of files: open, close, use, lint, diff. */
#include <string.h>

#include "command/command.h"
#include "command/facts.h"
#include "command/verbs_info.h"
#include "file/diff.h"
#include "file/lint.h"
#include "session/capture.h"
#include "session/reference.h"

static enum st run_open(struct session *s, const struct call *c, struct result *out, struct err *e)
{
    if (!c->n_words)
        return call_fail(c, 0, e, ST_SYNTAX, "which file?");
    char name[NAME_SIZE];
    bool given;
    enum st st = call_name(c, 1, name, &given, e);
    if (st)
        return st;
    struct buf path = { 0 };
    buf_add(&path, c->words[0].text.p, c->words[0].text.n);
    struct session_model *m;
    st = session_open(s, buf_str(&path), given ? name : NULL, &m, e);
    buf_free(&path);
    if (st)
        return st;
    if (m->capture)
        capture_facts(m->capture, out);
    else
        facts_model(m, out);
    return ST_OK;
}

/* The model or run that word i names. */
static enum st named_model(struct session *s, const struct call *c, int i,
                           struct session_model **out, struct err *e)
{
    if (i >= c->n_words)
        return session_active_model(s, out, e);
    *out = session_find_model(s, c->words[i].text);
    if (*out)
        return ST_OK;
    call_fail(c, i, e, ST_NOTFOUND, "no model `%.*s`", (int)c->words[i].text.n, c->words[i].text.p);
    return st_hint(e, "`info models` lists them");
}

static enum st run_close(struct session *s, const struct call *c, struct result *out, struct err *e)
{
    struct session_model *m;
    if (c->n_words > 1)
        return call_fail(c, 1, e, ST_SYNTAX, "one model at a time");
    enum st st = named_model(s, c, 0, &m, e);
    if (st || (st = confirm(s, e, "Close %s and its runs?", m->name)))
        return st;
    const bool active = s->models.model == m, ref = s->models.ref == m;
    result_note(out, "closed %s (%s)", m->name, m->path);
    session_close(s, m);
    const struct session_model *now = s->models.model;
    if (ref)
        result_note(out, "it was the reference: there is none any more");
    if (active && now)
        result_note(out, "%s (%s) is active now%s", now->name, now->path,
                    s->models.ref == now ? ", and no reference any more" : "");
    /* nothing is measured beside itself */
    return now && s->models.ref == now ? session_set_ref(s, NULL, e) : ST_OK;
}

static enum st run_use(struct session *s, const struct call *c, struct result *out, struct err *e)
{
    if (c->n_words != 1)
        return call_fail(c, c->n_words ? 1 : 0, e, ST_SYNTAX,
                         c->n_words ? "one run or model" : "use which run or model?");
    struct session_run *r = session_find_run(s, c->words[0].text);
    struct session_model *m = r ? r->model : session_find_model(s, c->words[0].text);
    if (!m) {
        call_fail(c, 0, e, ST_NOTFOUND, "no run or model `%.*s`", (int)c->words[0].text.n,
                  c->words[0].text.p);
        return st_hint(e, "`info runs` and `info models` list them");
    }
    if (r)
        session_use_run(s, r);
    else
        session_use_model(s, m);
    result_note(out, "model %s, run %s", m->name, s->models.run ? s->models.run->name : "none");
    return ST_OK;
}

/* The weights that word i stands for: an open model, a file, or the active model when there is no
 * such word. *owned: to be closed by the caller. */
static enum st weights_of(struct session *s, const struct call *c, int i,
                          const struct weights **out, struct weights **owned, struct err *e)
{
    struct session_model *m = NULL;
    enum st st = ST_OK;
    *owned = NULL;
    if (i >= c->n_words)
        st = session_need_model(s, &m, e);
    else if (!c->words[i].quoted)
        m = session_find_model(s, c->words[i].text);
    if (st)
        return st;
    if (m) {
        *out = m->model->weights;
        return session_use_bytes(s, m, e);
    }
    struct buf path = { 0 };
    buf_add(&path, c->words[i].text.p, c->words[i].text.n);
    st = weights_open(buf_str(&path), owned, e);
    buf_free(&path);
    *out = *owned;
    return st;
}

static enum st run_lint(struct session *s, const struct call *c, struct result *out, struct err *e)
{
    const struct weights *w;
    struct weights *owned;
    if (c->n_words > 1)
        return call_fail(c, 1, e, ST_SYNTAX, "one file or model at a time");
    enum st st = weights_of(s, c, 0, &w, &owned, e);
    if (st)
        return st;
    struct lint found;
    st = lint_weights(w, 0, s->progress, &found, e);
    struct table *t = result_table(out, "findings", TABLE_ROWS);
    TABLE_COLUMNS(t, { COL_STRING, "severity" }, { COL_STRING, "check" }, { COL_STRING, "subject" },
                  { COL_STRING, "message" });
    for (size_t i = 0; i < found.n; i++) {
        table_row(t);
        table_str(t, lint_severity_name(found.list[i].severity));
        table_str(t, found.list[i].check);
        table_str(t, found.list[i].subject);
        table_str(t, found.list[i].message);
    }
    const size_t *n = found.count;
    result_note(out, "%zu %s, %zu %s, %zu %s", n[LINT_ERROR],
                text_plural(n[LINT_ERROR], "error", "errors"), n[LINT_WARNING],
                text_plural(n[LINT_WARNING], "warning", "warnings"), n[LINT_NOTE],
                text_plural(n[LINT_NOTE], "note", "notes"));
    if (found.count[LINT_ERROR] || found.count[LINT_WARNING])
        out->status = RESULT_FOUND;
    lint_free(&found);
    weights_close(owned);
    return st;
}

static void diff_keys(const struct diff *d, const struct weights *a, const struct weights *b,
                      struct result *out)
{
    struct table *t = result_table(out, "keys", TABLE_ROWS);
    TABLE_COLUMNS(t, { COL_STRING, "change" }, { COL_STRING, "key" }, { COL_STRING, "a" },
                  { COL_STRING, "b" });
    for (size_t i = 0; i < d->n_keys; i++) {
        table_row(t);
        table_str(t, diff_change_name(d->keys[i].change));
        table_strn(t, d->keys[i].key);
        facts_kv_cell(a->files[0], d->keys[i].a, t);
        facts_kv_cell(b->files[0], d->keys[i].b, t);
    }
}

static void diff_tensors(const struct diff *d, struct result *out)
{
    struct table *t = result_table(out, "tensors", TABLE_ROWS);
    TABLE_COLUMNS(t, { COL_STRING, "change" }, { COL_ADDRESS, "tensor" }, { COL_STRING, "a" },
                  { COL_STRING, "b" }, { COL_FLOAT, "relative_l2" }, { COL_FLOAT, "sqnr", "dB" },
                  { COL_FLOAT, "max_abs" }, { COL_STRING, "remark" });
    for (size_t i = 0; i < d->n_tensors; i++) {
        const struct diff_tensor *x = &d->tensors[i];
        if (x->change == DIFF_SAME)
            continue;
        table_row(t);
        table_str(t, diff_change_name(x->change));
        table_strn(t, x->name);
        facts_weight_cell(x->a, t);
        facts_weight_cell(x->b, t);
        bool compared = x->change == DIFF_CHANGED && !x->uncompared;
        for (int k = 0; k < 3; k++)
            if (compared)
                table_float(t, k == 0 ? x->relative_l2 : k == 1 ? x->sqnr_db : x->max_abs);
            else
                table_skip(t);
        table_str(t, x->uncompared);
    }
}

static enum st run_diff(struct session *s, const struct call *c, struct result *out, struct err *e)
{
    if (c->n_words < 1 || c->n_words > 2)
        return call_fail(c, c->n_words ? 2 : 0, e, ST_SYNTAX, "expected two files or models");
    const struct weights *a, *b;
    struct weights *own_a = NULL, *own_b = NULL;
    int second = c->n_words - 1; /* one word: the active model against it */
    enum st st = weights_of(s, c, c->n_words == 2 ? 0 : CALL_MAX_WORDS, &a, &own_a, e);
    if (!st)
        st = weights_of(s, c, second, &b, &own_b, e);
    if (!st) {
        struct diff d;
        st = diff_weights(a, b, s->progress, &d, e);
        if (d.n_keys)
            diff_keys(&d, a, b, out);
        if (d.n_changed)
            diff_tensors(&d, out);
        result_note(out, "%zu %s, %zu %s the same; %zu of %zu %s", d.n_keys,
                    text_plural(d.n_keys, "key differs", "keys differ"), d.n_keys_same,
                    text_plural(d.n_keys_same, "is", "are"), d.n_changed, d.n_tensors,
                    text_plural(d.n_changed, "tensors differs", "tensors differ"));
        if (d.n_keys || d.n_changed)
            out->status = RESULT_FOUND;
        diff_free(&d);
    }
    weights_close(own_b);
    weights_close(own_a);
    return st;
}

const struct verb verbs_files[] = {
    { .name = "open",
      .alias = "o",
      .class = "files",
      .args = "FILE | --demo[=NAME] [as LABEL]",
      .brief = "open a model file (GGUF) or a built-in demo model; it becomes the active model",
      .help = "`--demo` is the model `sink`, `--demo=add` one that adds numbers; a capture (`help "
              "save`) opens as well. The file is mapped, not read: even a large one opens at once. "
              "All parts of a split "
              "file are opened when one is named. A file that cannot run (unknown architecture, "
              "damaged tensors) still opens for everything that needs no run. Without `as` the "
              "label is the next free letter.",
      .examples = "open --demo\nopen --demo=add as adder\ninfo models",
      .kinds = { ARG_FILE, ARG_TEXT },
      .run = run_open },
    { .name = "info",
      .alias = "i",
      .class = "files",
      .args = "[TOPIC [GLOB]]",
      .brief = "facts about files, models, runs and the session",
      .help = "Without a topic it lists the topics. tensors, points and names take a glob: `info "
              "points blk.0.*`.\n\n"
              "names: what TransformerLens (3, weights not processed) and llama.cpp (graph names "
              "without flash attention) call the points of a decoder. Each is an address: print "
              "blocks.0.hook_resid_mid. Where their tensor is not ours, the column computed says "
              "what is done: such a name can be looked at, not stopped at or changed.",
      .examples = "info\ninfo model\ninfo tensors blk.0.**\ninfo points blk.0.attn.*\ninfo names "
                  "l_out-*\ninfo memory 512",
      .kinds = { ARG_NONE, ARG_ADDRESS },
      .words = INFO_TOPICS,
      .run = run_info },
    { .name = "close",
      .class = "files",
      .args = "[MODEL]",
      .brief = "close a model and its runs",
      .help = "Without a label the active model is closed.",
      .examples = "open --demo as x\nclose x",
      .flags = VERB_EXACT,
      .kinds = { ARG_MODEL },
      .run = run_close },
    { .name = "use",
      .class = "files",
      .args = "RUN | MODEL",
      .brief = "make another run or model the active one",
      .help = "Commands without an explicit model or run are about the active ones.",
      .examples = "prompt \"one\" as first\nprompt \"two\" as second\nuse first",
      .kinds = { ARG_OWNER },
      .run = run_use },
    { .name = "lint",
      .class = "files",
      .args = "[FILE | MODEL]",
      .brief = "look for what is wrong in a model file, without running it",
      .help = "Checks the directory (overlaps, gaps, sizes, unknown types), the metadata "
              "(hyper-parameters, tokenizer tables) and all data (NaN and infinite values or "
              "scales, all-zero rows, duplicated tensors). Exit status 3 under -batch when there "
              "are errors or warnings; notes alone are fine.",
      .examples = "lint",
      .kinds = { ARG_FILE },
      .run = run_lint },
    { .name = "diff",
      .class = "files",
      .args = "[A] B",
      .brief = "compare two model files: metadata, types, shapes, values",
      .help = "A is the reference (the active model when only B is given). relative_l2 is |b - a| "
              "/ |a|; sqnr is 10 log10(|a|^2 / |b - a|^2) in dB; max_abs is the largest |b - a|; "
              "all over decoded values. Exit status 3 under -batch when the files differ.",
      .examples = "open --demo as one\ndiff one one",
      .kinds = { ARG_FILE, ARG_FILE },
      .run = run_diff },
    { 0 },
};
