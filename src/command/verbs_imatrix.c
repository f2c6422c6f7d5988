/* SPDX-License-Identifier: MIT */
/* The verb of importance matrices: imatrix collect, load, show, diff, merge, save. */
#include <math.h>
#include <stdlib.h>

#include "base/memory.h"
#include "command/cells.h"
#include "command/command.h"
#include "command/coverage.h"
#include "command/stops.h"
#include "command/verbs_change.h"
#include "file/text_file.h"
#include "kernels/statistics.h"
#include "study/collect.h"

static char *word_path(const struct call *c, int i)
{
    return x_strndup(c->words[i].text.p, c->words[i].text.n);
}

static bool is_word(const struct call *c, int i, const char *what)
{
    return i < c->n_words && !c->words[i].quoted && str_is(c->words[i].text, what);
}

static enum st open_word(const struct call *c, int i, struct imatrix **out, struct err *e)
{
    char *path = word_path(c, i);
    enum st st = imatrix_open(path, out, e);
    free(path);
    return st ? st_at(e, c->words[i].column, c->words[i].length) : ST_OK;
}

/* Written in the form that the name says: .dat the older one. */
static enum st save_word(const struct imatrix *m, const struct call *c, int i, struct result *out,
                         struct err *e)
{
    char *path = word_path(c, i);
    const bool dat = str_ends(c->words[i].text, ".dat");
    enum st st = imatrix_save(m, dat ? IMATRIX_DAT : IMATRIX_GGUF, path, e);
    if (!st)
        result_note(out, "%zu %s written to %s (%s)", m->n, text_plural(m->n, "entry", "entries"),
                    path, dat ? "older form" : "GGUF");
    if (!st && dat && m->text)
        result_note(out, "the older form has no place for what its text was: `kl` will compare the "
                         "name alone");
    free(path);
    return st ? st_at(e, c->words[i].column, c->words[i].length) : ST_OK;
}

/* `to FILE` at the end; *at: its word, or n_words where there is none. */
static enum st find_target(const struct call *c, int first, int *at, int *end, struct err *e)
{
    *end = *at = c->n_words;
    for (int i = first; i < c->n_words; i++)
        if (is_word(c, i, "to")) {
            if (i + 2 != c->n_words)
                return call_fail(c, i + 1, e, ST_SYNTAX,
                                 i + 1 < c->n_words ? "one file, and nothing after it"
                                                    : "to which file?");
            *end = i;
            *at = i + 1;
            return ST_OK;
        }
    return ST_OK;
}

static void put_summary(const struct imatrix *m, const char *path, struct result *out)
{
    struct table *t = result_table(out, "imatrix", TABLE_RECORD);
    TABLE_COLUMNS(t, { COL_STRING, "from" }, { COL_STRING, "form" }, { COL_INT, "entries" },
                  { COL_INT, "chunks" }, { COL_INT, "chunk_size", "token" },
                  { COL_STRING, "texts" });
    struct buf texts = { 0 };
    for (size_t i = 0; i < m->n_datasets; i++)
        buf_printf(&texts, "%s%s", i ? ", " : "", m->datasets[i]);
    table_row(t);
    table_str(t, path);
    table_str(t, m->form == IMATRIX_DAT ? "older" : "GGUF");
    table_int(t, (int64_t)m->n);
    table_int(t, m->chunks);
    put_positive(t, m->chunk_size);
    table_str(t, buf_str(&texts));
    buf_free(&texts);
}

/* ---- show ---- */

static enum st show(struct session *s, const struct call *c, struct result *out, struct err *e)
{
    struct imatrix *own = NULL;
    if (c->n_words > 2)
        return call_fail(c, 2, e, ST_SYNTAX, "one file");
    enum st st = c->n_words == 2 ? open_word(c, 1, &own, e) : ST_OK;
    const struct imatrix *m = own ? own : s->imatrix;
    if (!st && !m) {
        st = st_fail(e, ST_STATE, "there is no importance matrix");
        st_hint(e, "`imatrix collect TEXT` makes one, `imatrix load FILE` reads one");
    }
    if (st)
        return st;
    char *path = own ? word_path(c, 1) : x_strdup(s->imatrix_path);
    put_summary(m, path, out);
    coverage_put(m, s->models.model ? s->models.model->model->weights : NULL, out);
    free(path);
    imatrix_free(own);
    return ST_OK;
}

/* ---- load, save, off ---- */

static enum st load(struct session *s, const struct call *c, struct result *out, struct err *e)
{
    struct imatrix *m;
    if (c->n_words != 2)
        return call_fail(c, c->n_words > 1 ? 2 : 1, e, ST_SYNTAX,
                         c->n_words > 1 ? "one file" : "which file?");
    enum st st = open_word(c, 1, &m, e);
    if (st)
        return st;
    char *path = word_path(c, 1);
    session_imatrix(s, path, m);
    put_summary(m, path, out);
    coverage_warn(m, s->models.model ? s->models.model->model->weights : NULL, out);
    free(path);
    return ST_OK;
}

static enum st save(struct session *s, const struct call *c, struct result *out, struct err *e)
{
    if (c->n_words != 2)
        return call_fail(c, c->n_words > 1 ? 2 : 1, e, ST_SYNTAX,
                         c->n_words > 1 ? "one file" : "to which file?");
    if (!s->imatrix)
        return st_fail(e, ST_STATE, "there is no importance matrix");
    return save_word(s->imatrix, c, 1, out, e);
}

static enum st off(struct session *s, const struct call *c, struct result *out, struct err *e)
{
    if (c->n_words != 1)
        return call_fail(c, 1, e, ST_SYNTAX, "nothing more is expected");
    result_note(out,
                s->imatrix ? "no importance matrix any more" : "there was no importance matrix");
    session_imatrix(s, NULL, NULL);
    return ST_OK;
}

/* ---- merge, diff ---- */

static enum st merge(struct session *s, const struct call *c, struct result *out, struct err *e)
{
    int at, end;
    enum { CHUNK = 512 /* of files that do not say */ };
    enum st st = find_target(c, 1, &at, &end, e);
    if (!st && end < 3)
        st = call_fail(c, end, e, ST_SYNTAX, "expected two files or more, and to FILE");
    struct imatrix *all = imatrix_new();
    for (int i = 1; i < end && !st; i++) {
        struct imatrix *m;
        if ((st = open_word(c, i, &m, e)))
            break;
        if (m->form == IMATRIX_DAT)
            result_note(out, "%.*s does not say its chunk size: %d tokens a call are assumed",
                        (int)c->words[i].text.n, c->words[i].text.p, CHUNK);
        if ((st = imatrix_merge(all, m, CHUNK, e)))
            st_at(e, c->words[i].column, c->words[i].length);
        imatrix_free(m);
    }
    if (!st && at < c->n_words)
        st = save_word(all, c, at, out, e);
    if (st) {
        imatrix_free(all);
        return st;
    }
    session_imatrix(s, "merged", all);
    put_summary(all, "merged", out);
    return ST_OK;
}

/* Importances of one entry against another's, matrix by matrix; rows of the table. */
static void diff_entry(const struct imatrix_entry *a, const struct imatrix_entry *b,
                       struct table *t, size_t *differ)
{
    const size_t n = (size_t)(a->n_in * a->n_mat);
    float *x = x_alloc(2 * n * sizeof *x + 1), *y = x + n;
    struct pair_error p = { 0 };
    bool same = a->n_in == b->n_in && a->n_mat == b->n_mat;
    for (uint64_t k = 0; k < a->n_mat && same; k++)
        same = imatrix_importance(a, a->n_in, a->n_mat, k, x + k * a->n_in)
               && imatrix_importance(b, a->n_in, a->n_mat, k, y + k * a->n_in);
    if (same)
        pair_error_of(x, y, (int64_t)n, &p);
    if (!same || p.relerr > 0) {
        ++*differ;
        table_row(t);
        table_strn(t, a->name);
        table_str(t, same ? NULL : "another shape");
        if (same) {
            table_float(t, p.relerr);
            table_float(t, p.cos);
            table_float(t, p.gain);
        }
    }
    free(x);
}

static enum st diff(struct session *s, const struct call *c, struct result *out, struct err *e)
{
    struct imatrix *own[2] = { 0 };
    if (c->n_words < 2 || c->n_words > 3)
        return call_fail(c, c->n_words < 2 ? 1 : 3, e, ST_SYNTAX, "expected one or two files");
    if (c->n_words == 2 && !s->imatrix)
        return st_fail(e, ST_STATE, "there is no importance matrix to compare with");
    enum st st = open_word(c, c->n_words - 1, &own[1], e);
    if (!st && c->n_words == 3)
        st = open_word(c, 1, &own[0], e);
    if (!st) {
        const struct imatrix *a = own[0] ? own[0] : s->imatrix, *b = own[1];
        struct table *t = result_table(out, "diff", TABLE_ROWS);
        size_t differ = 0;
        TABLE_COLUMNS(t, { COL_ADDRESS, "weight" }, { COL_STRING, "remark" },
                      { COL_FLOAT, "relative_l2", "", 4 }, { COL_FLOAT, "cos", "", 6 },
                      { COL_FLOAT, "gain", "", 4 });
        for (size_t i = 0; i < a->n + b->n; i++) {
            const struct imatrix_entry *x = i < a->n ? &a->list[i] : &b->list[i - a->n];
            const struct imatrix_entry *y = imatrix_find(i < a->n ? b : a, x->name);
            if (i < a->n && y)
                diff_entry(x, y, t, &differ);
            if (y)
                continue;
            table_row(t);
            table_strn(t, x->name);
            table_str(t, i < a->n ? "only in the first" : "only in the second");
            differ++;
        }
        result_note(out, "%zu of %zu entries differ", differ, a->n);
        if (differ)
            out->status = RESULT_FOUND;
    }
    imatrix_free(own[0]);
    imatrix_free(own[1]);
    return st;
}

/* ---- collect ---- */

struct collect_options {
    int64_t context, chunks;
    bool head;
    int first, end, at; /* words of the texts; of the target */
};

static enum st collect_words(const struct call *c, struct collect_options *o, struct err *e)
{
    *o = (struct collect_options){ .context = 512, .first = 1 };
    enum st st = find_target(c, 1, &o->at, &o->end, e);
    bool options = true;
    while (!st && o->end > 1 && options) {
        const int last = o->end - 1;
        const bool context = last > 1 && is_word(c, last - 1, "ctx");
        options = context || (last > 1 && is_word(c, last - 1, "chunks"));
        if (is_word(c, last, "output")) {
            o->head = options = true;
            o->end--;
        } else if (options) {
            st = parse_i64(c->words[last].text, 1, 1 << 24, context ? &o->context : &o->chunks, e);
            if (st)
                st_at(e, c->words[last].column, c->words[last].length);
            o->end -= 2;
        }
    }
    if (!st && o->end < 2)
        st = call_fail(c, 1, e, ST_SYNTAX, "over which text?");
    return st;
}

static enum st collect_text(struct session *s, const struct session_model *m, const char *path,
                            const struct collect_options *w, struct imatrix *into,
                            struct collected_text *sum, struct err *e)
{
    struct buf text = { 0 };
    int32_t *ids = NULL;
    size_t n = 0, cap = 0;
    struct changes_left left;
    struct run_options o = session_run_options(s);
    struct plan plan;
    struct collected_text done = { 0 };
    enum st st = text_file_read(path, PROMPT_FILE_MAX, &text, e);
    if (!st)
        st = tokenizer_encode(m->model->tokenizer, str_of(text.p, text.n), 0, &ids, &n, &cap, e);
    if (!st) {
        changes_plan(s, m, &plan, &left);
        o.plan = &plan;
        st = imatrix_collect(m->model, &o, ids, (int64_t)n, w->context, w->chunks, w->head, into,
                             s->progress, &done, e);
        plan_free(&plan);
    }
    if (!st || st == ST_CANCELLED) {
        imatrix_add_dataset(into, str_from(path));
        if (!into->text)
            into->text = shingles_new(tokenizer_identity(m->model->tokenizer));
        shingles_add(into->text, ids, done.chunks * w->context);
    }
    sum->chunks += done.chunks;
    sum->chunks_of += done.chunks_of;
    sum->tokens += done.tokens;
    free(ids);
    buf_free(&text);
    return st;
}

static enum st collect(struct session *s, const struct call *c, struct result *out, struct err *e)
{
    struct session_model *m;
    struct collect_options o;
    struct collected_text sum = { 0 };
    enum st st = session_need_graph(s, &m, e);
    if (!st)
        st = session_need_tokenizer(s, &m, e);
    if (!st)
        st = collect_words(c, &o, e);
    if (st)
        return st;
    struct imatrix *all = imatrix_new();
    for (int i = o.first; i < o.end && !st; i++) {
        char *path = word_path(c, i);
        if ((st = collect_text(s, m, path, &o, all, &sum, e)) && st != ST_CANCELLED)
            st_at(e, c->words[i].column, c->words[i].length);
        free(path);
    }
    if (!all->n || (st && st != ST_CANCELLED)) {
        imatrix_free(all);
        return st ? st : st_fail(e, ST_UNSUPPORTED, "the model has no linear in its blocks");
    }
    session_imatrix(s, "collected", all);
    put_summary(all, "collected", out);
    if (session_changed(s))
        result_note(out, "collected under the changes of the model (`info changes`)");
    if (st == ST_CANCELLED)
        out->status = RESULT_PARTIAL;
    if (!st && o.at < c->n_words)
        st = save_word(all, c, o.at, out, e);
    return st;
}

static const struct sub {
    const char *name;
    enum st (*run)(struct session *s, const struct call *c, struct result *out, struct err *e);
} subs[] = {
    { "show", show },   { "collect", collect }, { "load", load }, { "save", save },
    { "merge", merge }, { "diff", diff },       { "off", off },
};

static enum st run_imatrix(struct session *s, const struct call *c, struct result *out,
                           struct err *e)
{
    if (!c->n_words && s->imatrix) {
        put_summary(s->imatrix, s->imatrix_path, out);
        return ST_OK;
    }
    for (size_t i = 0; i < sizeof subs / sizeof *subs; i++)
        if (c->n_words ? is_word(c, 0, subs[i].name) : i == 0)
            return subs[i].run(s, c, out, e);
    return call_fail(c, 0, e, ST_SYNTAX, "expected collect, show, load, save, merge, diff or off");
}

static const struct arg_after imatrix_after[] = {
    { "ctx|chunks", ARG_NUMBER, NULL },
    { "to", ARG_FILE, NULL },
    { 0 },
};

const struct verb verbs_imatrix[] = {
    { .name = "imatrix",
      .class = "data",
      .args = "[collect|merge FILE... [to OUT]|load|save|show FILE|diff [A] B|off]",
      .brief = "importance matrices: how strongly each input channel of each weight is used",
      .help =
          "For each matrix of the blocks the sum over tokens of x^2 for every input channel, and "
          "the number of tokens; encoders weight errors with the mean, sum / count. collect runs "
          "text files through the active model under its changes, in the mode of `set compute`, "
          "in chunks of N tokens (512; what is left over is not used; BOS first where the "
          "vocabulary adds one); `output` takes the output head's matrix too. What was collected, "
          "loaded or merged stays in memory for the encoders; ^C keeps what was seen. Files are "
          "read and written in both forms: GGUF, and the older one for a FILE that ends in .dat, "
          "which keeps means times calls of a chunk of tokens. What collect writes in GGUF form "
          "holds, under qdb.calibration.*, 32-bit hashes of the text's sequences of 13 tokens (the "
          "8192 smallest, Broder 1997), by which `kl` tells whether the evaluation set is in it; "
          "other programs pass over them, and the older form has no place for them. show lists "
          "every matrix of the "
          "active model: channels, matrices (experts), how many were seen, channels that were "
          "always 0, the least and largest count, and which experts were not seen (their numbers "
          "from 0); an expert that was not seen weighs all channels alike, and a missing entry "
          "blocks the formats that need one. diff compares "
          "the means: relative_l2 = |b - a| / |a|, cos their cosine, gain = |b| / |a|; status 3 "
          "under -batch when they differ. merge adds sums and counts.",
      .examples = "imatrix collect text.txt ctx 16\nimatrix show\nimatrix save text.imatrix.gguf\n"
                  "imatrix diff text.imatrix.gguf\nimatrix off",
      .kinds = { ARG_NONE, ARG_FILE },
      .words = "collect|show|load|save|merge|diff|off|ctx|chunks|output|to",
      .after = imatrix_after,
      .run = run_imatrix },
    { 0 },
};
