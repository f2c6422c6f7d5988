/* SPDX-License-Identifier: MIT */
#include "text/tokenizer.h"

#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "text/bpe.h"
#include "text/special.h"
#include "text/spm.h"
#include "text/vocab.h"

#define KEY "tokenizer.ggml."

struct tokenizer {
    struct vocab vocab;
    const struct model *model;
    struct spm *spm; /* model "llama" */
    struct bpe bpe;  /* model "gpt2" */
    struct specials specials;
    int32_t bos, eos;
    bool add_bos, add_space;
    char pre[64];
};

/* What a model means when its file does not say; llama.cpp's defaults. */
static const struct model {
    const char *name;
    int32_t bos, eos, unk;
    bool add_bos, add_space;
} models[] = {
    { "llama", 1, 2, 0, true, true },
    { "gpt2", 11, 11, -1, false, false },
};

/* Pieces that end a generation wherever they occur, since files often name one of several. They are
 * control tokens even if the file forgot to say so. */
static const char *const end_names[] = {
    "</s>",          "<EOT>",      "<end_of_turn>",   "<end_of_utterance>",
    "<eos>",         "<|call|>",   "<|end_of_text|>", "<|end|>",
    "<|endoftext|>", "<|eom_id|>", "<|eot_id|>",      "<|file_sep|>",
    "<|fim_pad|>",   "<|im_end|>", "<|repo_name|>",   "<|return|>",
    "[EOS]",         "[EOT]",      "_<EOT>",          "<\uff5cend\u2581of\u2581sentence\uff5c>",
};

static int32_t special_id(const struct tokenizer *t, const struct weights *w, const char *key,
                          int32_t otherwise)
{
    int64_t id = weights_integer(w, key, otherwise);
    if (id < 0 || id >= t->vocab.n)
        id = otherwise;
    return id < t->vocab.n ? (int32_t)id : -1;
}

static void load_ends(struct tokenizer *t, const struct weights *w)
{
    struct vocab *v = &t->vocab;
    for (size_t i = 0; i < sizeof end_names / sizeof *end_names; i++) {
        int32_t id = vocab_find(v, str_from(end_names[i]));
        if (id < 0)
            continue;
        v->ends[id] = 1;
        v->type[id] = TOKEN_CONTROL;
    }
    static const char *const keys[] = { KEY "eot_token_id", KEY "eom_token_id" };
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        int32_t id = special_id(t, w, keys[i], -1);
        if (id >= 0)
            v->ends[id] = 1;
    }
    if (t->eos >= 0)
        v->ends[t->eos] = 1;
    /* Harmony closes every message with <|end|>; a turn ends with <|return|> or <|call|>. */
    int32_t end = vocab_find(v, STR("<|end|>"));
    if (end >= 0 && vocab_find(v, STR("<|return|>")) >= 0 && vocab_find(v, STR("<|call|>")) >= 0)
        v->ends[end] = 0;
}

/* A file without token types: the named tokens are special all the same, if they look like it. */
static void guess_type(struct vocab *v, int32_t id, enum token_type type)
{
    struct str piece = id < 0 ? STR("") : vocab_piece(v, id);
    if (!v->typed && str_starts(piece, "<") && str_ends(piece, ">"))
        v->type[id] = (uint8_t)type;
}

static void load_specials(struct tokenizer *t, const struct weights *w)
{
    struct vocab *v = &t->vocab;
    t->bos = special_id(t, w, KEY "bos_token_id", t->model->bos);
    t->eos = special_id(t, w, KEY "eos_token_id", t->model->eos);
    v->unk = special_id(t, w, KEY "unknown_token_id", t->model->unk);
    guess_type(v, v->unk, TOKEN_UNKNOWN);
    guess_type(v, t->bos, TOKEN_CONTROL);
    guess_type(v, t->eos, TOKEN_CONTROL);
    load_ends(t, w);
}

static bool flag(const struct weights *w, const char *key, bool otherwise)
{
    return weights_number(w, key, otherwise) != 0;
}

static void load_byte_tokens(struct vocab *v)
{
    for (int32_t id = 0; id < v->n; id++) {
        int byte = v->type[id] == TOKEN_BYTE ? vocab_byte_piece(vocab_piece(v, id)) : -1;
        if (byte >= 0 && v->bytes[byte] < 0)
            v->bytes[byte] = id;
    }
    v->has_all_bytes = true;
    for (int b = 0; b < 256; b++)
        v->has_all_bytes &= v->bytes[b] >= 0;
}

static enum st find_model(struct tokenizer *t, const struct weights *w, struct err *e)
{
    struct str name = weights_string(w, KEY "model", "");
    if (!name.n)
        return st_fail(e, ST_NOTFOUND, "the file does not name its tokenizer (" KEY "model)");
    if (str_is(name, "no_vocab") || str_is(name, "none"))
        return st_fail(e, ST_NOTFOUND, "the file has no tokenizer (" KEY "model is %.*s)",
                       (int)name.n, name.p);
    for (size_t i = 0; i < sizeof models / sizeof *models; i++)
        if (str_is(name, models[i].name))
            t->model = models + i;
    if (t->model)
        return ST_OK;
    struct buf shown = { 0 };
    buf_visible(&shown, str_of(name.p, name.n < 40 ? name.n : 40));
    st_fail(e, ST_UNSUPPORTED, "tokenizer model `%s` is not known", buf_str(&shown));
    buf_free(&shown);
    return st_hint(e, "known are llama (SentencePiece) and gpt2 (byte-level BPE)");
}

static enum st load(struct tokenizer *t, const struct weights *w, struct err *e)
{
    enum st st = find_model(t, w, e);
    if (!st)
        st = vocab_load(&t->vocab, w, e);
    if (st)
        return st;
    bool is_spm = str_is(str_from(t->model->name), "llama");
    if (is_spm)
        t->spm = x_alloc(sizeof *t->spm);
    load_specials(t, w); /* before the encoders: they leave special pieces out */
    t->add_bos = t->model->add_bos;
    if (is_spm) {
        load_byte_tokens(&t->vocab);
        spm_init(t->spm, &t->vocab);
        t->add_space = flag(w, KEY "add_space_prefix", t->model->add_space);
    } else {
        struct str pre = weights_string(w, KEY "pre", "");
        st = bpe_load(&t->bpe, &t->vocab, w, pre, e);
        if (st)
            return st;
        t->add_bos = pretokenizer_flags(t->bpe.pre) & PRE_ADDS_BOS;
        pre = pre.n ? pre : STR("default"); /* a known name, so a short one */
        memcpy(t->pre, pre.p, pre.n < sizeof t->pre ? pre.n : 0);
    }
    t->add_bos = flag(w, KEY "add_bos_token", t->add_bos) && t->bos >= 0;
    return specials_load(&t->specials, &t->vocab, is_spm, e);
}

enum st tokenizer_new(const struct weights *w, struct tokenizer **out, struct err *e)
{
    struct tokenizer *t = x_alloc(sizeof *t);
    t->bos = t->eos = -1;
    enum st st = load(t, w, e);
    if (st) {
        tokenizer_free(t);
        return st;
    }
    *out = t;
    return ST_OK;
}

void tokenizer_free(struct tokenizer *t)
{
    if (!t)
        return;
    specials_free(&t->specials);
    bpe_free(&t->bpe);
    free(t->spm);
    vocab_free(&t->vocab);
    free(t);
}

struct encoder {
    const struct tokenizer *t;
    int flags;
    struct merge m;
    struct buf work;
    struct id_list ids;
};

/* Text between two special tokens, or an end. */
static enum st encode_plain(struct encoder *c, struct str text, struct err *e)
{
    const struct tokenizer *t = c->t;
    if (!text.n)
        return ST_OK;
    if (!t->spm)
        return bpe_encode(&t->bpe, text, &c->m, &c->work, &c->ids, e);
    bool space = t->add_space && !(c->flags & TOKENIZE_NO_SPACE);
    return spm_encode(t->spm, text, space, &c->m, &c->work, &c->ids, e);
}

static enum st encode(struct encoder *c, struct str text, struct err *e)
{
    const struct tokenizer *t = c->t;
    if (t->add_bos && !(c->flags & TOKENIZE_NO_BOS))
        id_push(&c->ids, t->bos);
    enum st st = ST_OK;
    size_t at = 0, from, to;
    int32_t id;
    bool control = c->flags & TOKENIZE_SPECIAL;
    while (!st && specials_next(&t->specials, &t->vocab, text, at, control, &id, &from, &to)) {
        st = encode_plain(c, str_of(text.p + at, from - at), e);
        id_push(&c->ids, id);
        at = to;
    }
    return st ? st : encode_plain(c, str_of(text.p + at, text.n - at), e);
}

enum st tokenizer_encode(const struct tokenizer *t, struct str text, int flags, int32_t **ids,
                         size_t *n, size_t *cap, struct err *e)
{
    if (text.n > INT32_MAX / 4)
        return st_fail(e, ST_RANGE, "%zu bytes are too many to tokenize at once", text.n);
    struct encoder c = { .t = t, .flags = flags, .ids = { *ids, *n, *cap } };
    enum st st = encode(&c, text, e);
    merge_free(&c.m);
    buf_free(&c.work);
    *ids = c.ids.p; /* may have moved, whatever became of the rest */
    *cap = c.ids.cap;
    if (!st)
        *n = c.ids.n;
    return st;
}

void tokenizer_bytes(const struct tokenizer *t, int32_t id, struct buf *out)
{
    if (id < 0 || id >= t->vocab.n)
        return;
    struct str piece = vocab_piece(&t->vocab, id);
    switch ((enum token_type)t->vocab.type[id]) {
    case TOKEN_CONTROL:
    case TOKEN_UNKNOWN: return;
    case TOKEN_BYTE:
        if (vocab_byte_piece(piece) >= 0)
            buf_addc(out, (char)vocab_byte_piece(piece));
        return;
    case TOKEN_USER:
        if (!t->spm) {
            buf_add(out, piece.p, piece.n);
            return;
        }
        break;
    case TOKEN_NORMAL:
    case TOKEN_UNUSED: break;
    }
    if (t->spm)
        spm_unescape(piece, out);
    else
        bpe_unescape(piece, out);
}

static bool is_special(const struct tokenizer *t, int32_t id)
{
    int type = t->vocab.type[id];
    return type == TOKEN_CONTROL || type == TOKEN_UNKNOWN || type == TOKEN_USER;
}

enum st tokenizer_decode(const struct tokenizer *t, const int32_t *ids, size_t n, bool start,
                         bool special, struct buf *out, struct err *e)
{
    for (size_t i = 0; i < n; i++)
        if (ids[i] < 0 || ids[i] >= t->vocab.n)
            return st_fail(e, ST_RANGE, "token %d does not exist; the vocabulary has %d", ids[i],
                           t->vocab.n);
    bool strip = start && t->add_space;
    for (size_t i = 0; i < n; i++) {
        size_t before = out->n;
        tokenizer_bytes(t, ids[i], out);
        if (is_special(t, ids[i])) {
            if (special && t->vocab.type[ids[i]] != TOKEN_USER) {
                struct str piece = vocab_piece(&t->vocab, ids[i]);
                buf_add(out, piece.p, piece.n);
            }
            strip = start && t->add_space; /* encode puts a space after each */
        } else {
            if (strip && out->n > before && out->p[before] == ' ') {
                memmove(out->p + before, out->p + before + 1, out->n - before); /* with its NUL */
                out->n--;
            }
            strip = false;
        }
    }
    return ST_OK;
}

uint32_t tokenizer_identity(const struct tokenizer *t)
{
    uint64_t hash = 0;
    for (int32_t i = 0; i < t->vocab.n; i++) {
        const struct str piece = vocab_piece(&t->vocab, i);
        hash = hash_bytes(piece.p, piece.n, hash + piece.n);
    }
    return (uint32_t)(hash >> 32);
}

int32_t tokenizer_size(const struct tokenizer *t) { return t->vocab.n; }
const char *tokenizer_model(const struct tokenizer *t) { return t->model->name; }
const char *tokenizer_pre(const struct tokenizer *t) { return t->pre; }

struct str tokenizer_piece(const struct tokenizer *t, int32_t id)
{
    return id < 0 || id >= t->vocab.n ? STR("") : vocab_piece(&t->vocab, id);
}

enum token_type tokenizer_type(const struct tokenizer *t, int32_t id)
{
    return id < 0 || id >= t->vocab.n ? TOKEN_UNUSED : (enum token_type)t->vocab.type[id];
}

float tokenizer_score(const struct tokenizer *t, int32_t id)
{
    return id < 0 || id >= t->vocab.n ? 0 : t->vocab.score[id];
}

int32_t tokenizer_bos(const struct tokenizer *t) { return t->bos; }
int32_t tokenizer_eos(const struct tokenizer *t) { return t->eos; }
int32_t tokenizer_unk(const struct tokenizer *t) { return t->vocab.unk; }
bool tokenizer_adds_bos(const struct tokenizer *t) { return t->add_bos; }

bool tokenizer_ends(const struct tokenizer *t, int32_t id)
{
    return id >= 0 && id < t->vocab.n && t->vocab.ends[id];
}

int32_t tokenizer_find(const struct tokenizer *t, struct str piece)
{
    return vocab_find(&t->vocab, piece);
}
