/* SPDX-License-Identifier: MIT */
/* Fuzz target: a vocabulary made of the input, and the rest of the input as text for it. Where the
 * vocabulary has all bytes, the text must come back whatever else is in it. */
#include "tests/fuzz/fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "text/tokenizer.h"

const char *const fuzz_words[] = { "\xe2\x96\x81", "<s>",      "</s>", "<unk>", "<0x41>",
                                   "\xc4\xa0",     "'s",       "a b",  "\r\n",  "\xf0\x9f\x98\x80",
                                   "\xff",         "\x03\x01", NULL };

#define KEY "tokenizer.ggml."

enum {
    BYTE_LEVEL = 1,
    ALL_BYTES = 2,
    NO_TYPES = 4,
    NO_SCORES = 8,
    NO_PREFIX = 16,
    SPECIAL = 32,
    PRE = 64 /* and 128: which of four pre-tokenizers */
};

struct input {
    const uint8_t *p;
    size_t n;
};

static uint8_t take(struct input *in)
{
    if (!in->n)
        return 0;
    in->n--;
    return *in->p++;
}

static struct str take_text(struct input *in, size_t n)
{
    n = n < in->n ? n : in->n;
    struct str s = str_of((const char *)in->p, n);
    in->p += n;
    in->n -= n;
    return s;
}

static void put(struct buf *b, uint64_t v, int bytes)
{
    for (int i = 0; i < bytes; i++)
        buf_addc(b, (char)(v >> (8 * i)));
}

static void put_string(struct buf *b, struct str s)
{
    put(b, s.n, 8);
    buf_add(b, s.p, s.n);
}

/* Key, then the type of a scalar, or the element type and length of an array. */
static void put_key(struct buf *b, const char *key, uint32_t type)
{
    put_string(b, str_from(key));
    put(b, type, 4);
}

static void put_array(struct buf *b, const char *key, uint32_t elem, uint64_t n)
{
    put_key(b, key, GGUF_ARRAY);
    put(b, elem, 4);
    put(b, n, 8);
}

struct vocabulary {
    struct buf pieces, types, scores, merges;
    uint64_t n, n_merges;
};

static void add(struct vocabulary *v, struct str piece, int32_t type, uint32_t score)
{
    put_string(&v->pieces, piece);
    put(&v->types, (uint32_t)type, 4);
    put(&v->scores, score, 4);
    v->n++;
}

static void add_bytes(struct vocabulary *v, int flags)
{
    char text[8];
    int extra = 0;
    for (int c = 0; c < 256; c++) {
        bool prints = (c > 32 && c < 127) || (c > 160 && c != 173);
        if (flags & BYTE_LEVEL)
            add(v,
                str_of(text,
                       (size_t)utf8_encode(text, prints ? (uint32_t)c : 256u + (uint32_t)extra++)),
                TOKEN_NORMAL, 0);
        else {
            snprintf(text, sizeof text, "<0x%02X>", (unsigned)c);
            add(v, str_from(text), TOKEN_BYTE, 0);
        }
    }
}

/* Up to 31 pieces and 31 merges, each with its length in front. */
static void read_vocabulary(struct vocabulary *v, struct input *in, int flags)
{
    add(v, STR("<unk>"), TOKEN_UNKNOWN, 0);
    add(v, STR("<s>"), TOKEN_CONTROL, 0);
    add(v, STR("</s>"), TOKEN_CONTROL, 0);
    if (flags & ALL_BYTES)
        add_bytes(v, flags);
    for (int n = take(in) % 32; n > 0; n--) {
        uint8_t head = take(in), score = take(in);
        add(v, take_text(in, head >> 3), head & 7, (uint32_t)score << 23 | 0x80000000u);
    }
    for (int n = take(in) % 32; n > 0; n--) {
        put_string(&v->merges, take_text(in, take(in) % 16));
        v->n_merges++;
    }
}

static void write_file(struct buf *out, const struct vocabulary *v, int flags)
{
    static const char *const pre[] = { "gpt-2", "llama-bpe", "qwen2", "default" };
    bool bpe = flags & BYTE_LEVEL, types = !(flags & NO_TYPES) || flags & ALL_BYTES;
    bool scored = !(flags & NO_SCORES);
    buf_adds(out, "GGUF");
    put(out, 3, 4);
    put(out, 0, 8);
    put(out, 5u + types + scored, 8);
    put_key(out, KEY "model", GGUF_STRING);
    put_string(out, bpe ? STR("gpt2") : STR("llama"));
    put_key(out, KEY "pre", GGUF_STRING);
    put_string(out, str_from(pre[flags / PRE % 4]));
    put_key(out, KEY "add_space_prefix", GGUF_BOOL);
    put(out, !(flags & NO_PREFIX), 1);
    put_array(out, KEY "tokens", GGUF_STRING, v->n);
    buf_add(out, v->pieces.p, v->pieces.n);
    put_array(out, KEY "merges", GGUF_STRING, v->n_merges);
    buf_add(out, v->merges.p, v->merges.n);
    if (types) {
        put_array(out, KEY "token_type", GGUF_I32, v->n);
        buf_add(out, v->types.p, v->types.n);
    }
    if (scored) {
        put_array(out, KEY "scores", GGUF_F32, v->n);
        buf_add(out, v->scores.p, v->scores.n);
    }
}

static void round_trip(const struct tokenizer *t, struct str text, int flags, bool exact)
{
    int32_t *ids = NULL;
    size_t n = 0, cap = 0;
    struct err e = ERR_INIT;
    struct buf back = { 0 };
    enum st st = tokenizer_encode(t, text, flags | TOKENIZE_NO_BOS, &ids, &n, &cap, &e);
    if (st)
        abort();
    bool start = !(flags & TOKENIZE_NO_SPACE), special = flags & TOKENIZE_SPECIAL;
    if (tokenizer_decode(t, ids, n, start, special, &back, &e))
        abort(); /* encode makes ids that exist */
    if (exact && !str_eq(text, str_of(back.p, back.n)))
        abort();
    buf_free(&back);
    free(ids);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = { data, size };
    struct vocabulary v = { 0 };
    struct buf file = { 0 };
    struct weights *w = NULL;
    struct tokenizer *t = NULL;
    struct err e = ERR_INIT;
    int flags = take(&in);
    read_vocabulary(&v, &in, flags);
    write_file(&file, &v, flags);
    if (weights_borrow(file.p, file.n, "fuzz.gguf", &w, &e))
        abort();
    enum st st = tokenizer_new(w, &t, &e);
    if (st && (st != ST_FORMAT || flags & NO_SCORES))
        abort(); /* a score that is no number is all that can be wrong */
    if (t) {
        struct str text = take_text(&in, in.n);
        int special = flags & SPECIAL ? TOKENIZE_SPECIAL : 0;
        round_trip(t, text, special, flags & ALL_BYTES);
        round_trip(t, text, special | TOKENIZE_NO_SPACE, flags & ALL_BYTES);
    }
    tokenizer_free(t);
    weights_close(w);
    buf_free(&file);
    buf_free(&v.pieces);
    buf_free(&v.types);
    buf_free(&v.scores);
    buf_free(&v.merges);
    return 0;
}
