/* SPDX-License-Identifier: MIT */
#include "command/text_words.h"

#include "command/stops.h"
#include "file/text_file.h"

enum st text_tokens(struct session *s, const struct word *file, struct session_model **m,
                    int32_t **ids, int64_t *n, struct err *e)
{
    struct buf path = { 0 }, text = { 0 };
    size_t count = 0, cap = 0;
    buf_add(&path, file->text.p, file->text.n);
    *ids = NULL;
    enum st st = session_need_graph(s, m, e);
    if (!st)
        st = session_need_tokenizer(s, m, e);
    if (!st && (st = text_file_read(buf_str(&path), PROMPT_FILE_MAX, &text, e)))
        st_at(e, file->column, file->length);
    if (!st)
        st = tokenizer_encode((*m)->model->tokenizer, str_of(text.p, text.n), 0, ids, &count, &cap,
                              e);
    *n = (int64_t)count;
    buf_free(&text);
    buf_free(&path);
    return st;
}

int32_t text_first_token(const struct session_model *m)
{
    const struct tokenizer *k = m->model->tokenizer;
    return tokenizer_adds_bos(k) ? tokenizer_bos(k) : -1;
}

enum st number_options(const struct call *c, const struct number_option *list, int n, struct err *e)
{
    for (int i = 1; i < c->n_words; i += 2) {
        int k = 0;
        while (k < n && !str_is(c->words[i].text, list[k].name))
            k++;
        if (k == n)
            return call_fail(c, i, e, ST_SYNTAX, "expected %s N%s%s%s", list[0].name,
                             n > 1 ? " or " : "", n > 1 ? list[1].name : "", n > 1 ? " N" : "");
        if (i + 1 >= c->n_words)
            return call_fail(c, i + 1, e, ST_SYNTAX, "a number is missing");
        enum st st = parse_i64(c->words[i + 1].text, list[k].least, list[k].most, list[k].value, e);
        if (st)
            return st_at(e, c->words[i + 1].column, c->words[i + 1].length);
    }
    return ST_OK;
}
