/* SPDX-License-Identifier: MIT */
/* The verbs that turn text into tokens: prompt, tokens. */
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "command/command.h"
#include "command/stops.h"
#include "file/text_file.h"
#include "study/source.h"

static void show_tokens(const struct session_model *m, const int32_t *ids, size_t n,
                        struct result *out)
{
    struct table *t = result_table(out, "tokens", TABLE_ROWS);
    TABLE_COLUMNS(t, { COL_INT, "tok" }, { COL_INT, "id" }, { COL_STRING, "text" },
                  { COL_STRING, "kind" });
    static const char *const kinds[] = { "", "", "unknown", "control", "user", "unused", "byte" };
    const struct session_run view = { .model = (struct session_model *)m };
    struct buf b = { 0 };
    for (size_t i = 0; i < n; i++) {
        buf_clear(&b);
        session_token_text(&view, ids[i], &b);
        table_row(t);
        table_int(t, (int64_t)i);
        table_int(t, ids[i]);
        table_str(t, buf_str(&b));
        enum token_type type = m->model->tokenizer ? tokenizer_type(m->model->tokenizer, ids[i])
                                                   : TOKEN_NORMAL;
        table_str(t, (unsigned)type < 7 ? kinds[type] : "");
    }
    buf_free(&b);
}

static enum st parse_ids(const struct session *s, const struct call *c, int i, int32_t **ids,
                         size_t *n, size_t *cap, struct err *e)
{
    const struct session_model *m = s->models.model;
    const struct tokenizer *k = m ? m->model->tokenizer : NULL;
    const int64_t last = k ? tokenizer_size(k) - 1 : INT32_MAX;
    struct str text = c->words[i].text;
    for (size_t at = 0; at <= text.n;) {
        size_t end = at;
        while (end < text.n && text.p[end] != ',' && text.p[end] != ' ')
            end++;
        int64_t v;
        if (end > at) {
            enum st st = parse_i64(str_of(text.p + at, end - at), 0, last, &v, e);
            if (st)
                return st_at(e, c->words[i].column, c->words[i].length);
            x_grow(ids, cap, *n + 1, sizeof **ids);
            (*ids)[(*n)++] = (int32_t)v;
        }
        at = end + 1;
    }
    return *n ? ST_OK : call_fail(c, i, e, ST_SYNTAX, "expected token ids: 1,2,3");
}

/* The tokens of the trace that is the reference. */
static enum st trace_ids(const struct session *s, const struct call *c, int i, int32_t **ids,
                         size_t *n, struct err *e)
{
    const struct trace_points *t = s->models.trace;
    if (!t) {
        call_fail(c, i, e, ST_STATE, "the reference is no trace");
        return st_hint(e, "`ref trace DIR`");
    }
    *n = t->file.n_ids;
    *ids = x_alloc(*n * sizeof **ids);
    memcpy(*ids, t->file.ids, *n * sizeof **ids);
    return ST_OK;
}

/* The tokens that the words ask for: "TEXT", -f FILE, -t IDS, -r; [special]. *next: the first word
 * after. */
static enum st input_tokens(struct session *s, const struct call *c, int *next, int32_t **ids,
                            size_t *n, struct err *e)
{
    size_t cap = 0;
    int flags = 0, i = 0;
    struct session_model *m;
    if (i < c->n_words && !c->words[i].quoted && str_is(c->words[i].text, "-special")) {
        flags |= TOKENIZE_SPECIAL;
        i++;
    }
    if (i >= c->n_words)
        return call_fail(c, i, e, ST_SYNTAX, "expected a \"TEXT\", -f FILE or -t ID,ID,...");
    if (!c->words[i].quoted && str_is(c->words[i].text, "-r")) {
        *next = i + 1;
        return trace_ids(s, c, i, ids, n, e);
    }
    bool option = !c->words[i].quoted && c->words[i].text.n == 2 && c->words[i].text.p[0] == '-';
    if (option && i + 1 >= c->n_words)
        return call_fail(c, i + 1, e, ST_SYNTAX, "something is missing after %.2s",
                         c->words[i].text.p);
    if (option && c->words[i].text.p[1] == 't') {
        *next = i + 2;
        return parse_ids(s, c, i + 1, ids, n, &cap, e);
    }
    enum st st = session_need_tokenizer(s, &m, e);
    if (st)
        return st;
    if (option && c->words[i].text.p[1] == 'f') {
        struct buf path = { 0 }, text = { 0 };
        buf_add(&path, c->words[i + 1].text.p, c->words[i + 1].text.n);
        st = text_file_read(buf_str(&path), PROMPT_FILE_MAX, &text, e);
        if (!st)
            st = tokenizer_encode(m->model->tokenizer, str_of(text.p, text.n), flags, ids, n, &cap,
                                  e);
        buf_free(&path);
        buf_free(&text);
        *next = i + 2;
        return st;
    }
    if (option)
        return call_fail(c, i, e, ST_SYNTAX, "no option %.2s here", c->words[i].text.p);
    *next = i + 1;
    return tokenizer_encode(m->model->tokenizer, c->words[i].text, flags, ids, n, &cap, e);
}

static enum st run_prompt(struct session *s, const struct call *c, struct result *out,
                          struct err *e)
{
    struct session_model *m = NULL;
    int32_t *ids = NULL;
    size_t n = 0;
    int next = 0;
    enum st st = session_need_graph(s, &m, e);
    if (!st)
        st = input_tokens(s, c, &next, &ids, &n, e);
    char name[NAME_SIZE];
    bool given = false;
    if (!st)
        st = call_name(c, next, name, &given, e);
    struct session_run *r;
    if (!st)
        st = session_prompt(s, ids, (int64_t)n, given ? name : NULL, &r, e);
    if (!st)
        show_tokens(m, ids, n, out);
    const int64_t context = m && m->model->graph ? m->model->graph->context : 0;
    if (!st && context > 0 && n > (size_t)context)
        result_note(out, "longer than the %lld tokens that the model was trained on",
                    (long long)context);
    free(ids);
    return st;
}

static enum st run_tokens_verb(struct session *s, const struct call *c, struct result *out,
                               struct err *e)
{
    struct session_model *m;
    int32_t *ids = NULL;
    size_t n = 0;
    int next = 0;
    enum st st = session_need_tokenizer(s, &m, e);
    if (!st)
        st = input_tokens(s, c, &next, &ids, &n, e);
    if (!st && next < c->n_words)
        st = call_fail(c, next, e, ST_SYNTAX, "too many words");
    if (!st)
        show_tokens(m, ids, n, out);
    free(ids);
    return st;
}

static const struct arg_after prompt_after[] = {
    { "-f", ARG_FILE, NULL },
    { "-t|as", ARG_TEXT, NULL },
    { 0 },
};

const struct verb verbs_input[] = {
    { .name = "prompt",
      .class = "run",
      .args = "\"TEXT\" | -f FILE | -t ID,ID,... | -r [as NAME]",
      .brief = "set the input: a new run of the active model",
      .help = "Shows the tokens. BOS is put in front when the model's tokenizer says so; with "
              "-special first, names of special tokens in the text are parsed as such. `set span "
              "N` cuts the prompt into spans of at most N tokens that pass the model together (1 "
              "= token by token). -r takes the tokens of the trace that is the reference. `as "
              "NAME` keeps several runs alive.",
      .examples = "prompt \"kalo\"\nprompt -t 1,2,3 as ids",
      .kinds = { ARG_TEXT },
      .words = "-f|-t|-r|as",
      .after = prompt_after,
      .run = run_prompt },
    { .name = "tokens",
      .class = "run",
      .args = "\"TEXT\" | -f FILE | -t ID,ID,...",
      .brief = "show how a text becomes tokens, without running it",
      .help = "Control bytes are shown as \\n, \\x01, ...; kind says which tokens are bytes, "
              "control or unknown.",
      .examples = "tokens \"12+34=\"",
      .kinds = { ARG_TEXT },
      .words = "-f|-t",
      .after = prompt_after,
      .run = run_tokens_verb },
    { 0 },
};
