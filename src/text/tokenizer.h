/* SPDX-License-Identifier: MIT */
/* Tokenizers: from text to token ids and back, built from a model file's own metadata. */
#ifndef QDB_TEXT_TOKENIZER_H
#define QDB_TEXT_TOKENIZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/text.h"
#include "file/weights.h"

enum token_type {
    TOKEN_NORMAL = 1,
    TOKEN_UNKNOWN,
    TOKEN_CONTROL, /* found in text on request only */
    TOKEN_USER,    /* found in text always, before everything else */
    TOKEN_UNUSED,
    TOKEN_BYTE /* <0xNN>: one byte, for what no piece can write */
};

struct tokenizer;

/* Build from the tokenizer.ggml.* keys: models "llama" (SentencePiece-style) and "gpt2" (byte-level
 * BPE) with the pre-tokenizers of GPT-2, Llama 3, Qwen 2 and others. Borrows strings of w, which
 * must outlive it. ST_NOTFOUND: the file has no tokenizer; ST_UNSUPPORTED: one that is not known;
 * ST_FORMAT: one that is wrong. Where keys are absent, llama.cpp's defaults hold. */
NODISCARD enum st tokenizer_new(const struct weights *w, struct tokenizer **out, struct err *e);
void tokenizer_free(struct tokenizer *t);

enum {
    TOKENIZE_SPECIAL = 1, /* text such as "<s>" is parsed as the special token */
    TOKENIZE_NO_BOS = 2,  /* never put BOS in front (else as the file says) */
    TOKENIZE_NO_SPACE = 4 /* no space prefix, whatever the file says (continuations) */
};

/* Append the ids of text to *ids (grown with x_grow; caller frees); on failure *n stays as it was.
 * Any byte string is legal. With all 256 bytes in the vocabulary, decode gives back exactly what
 * was encoded; without, what cannot be written becomes the unknown token, or nothing if there is
 * none.
 * Of special tokens the leftmost wins, then the longest. EOS is never added. */
NODISCARD enum st tokenizer_encode(const struct tokenizer *t, struct str text, int flags,
                                   int32_t **ids, size_t *n, size_t *cap, struct err *e);
/* Append the bytes that the ids stand for. Control tokens and the unknown token give nothing unless
 * `special`. Ids out of range are ST_RANGE. `start`: the ids begin a text, so the spaces that
 * encode put in front of it and after special tokens are taken away again. */
NODISCARD enum st tokenizer_decode(const struct tokenizer *t, const int32_t *ids, size_t n,
                                   bool start, bool special, struct buf *out, struct err *e);

/* A hash of all pieces in order: whether ids of two tokenizers mean the same. */
uint32_t tokenizer_identity(const struct tokenizer *t);
int32_t tokenizer_size(const struct tokenizer *t);
const char *tokenizer_model(const struct tokenizer *t); /* "llama", "gpt2" */
const char *tokenizer_pre(const struct tokenizer *t);   /* "gpt-2", "qwen2"; "" for "llama" */
struct str tokenizer_piece(const struct tokenizer *t, int32_t id); /* as in the file, borrowed */
/* The bytes that the token stands for in running text, appended to out. */
void tokenizer_bytes(const struct tokenizer *t, int32_t id, struct buf *out);
enum token_type tokenizer_type(const struct tokenizer *t, int32_t id);
float tokenizer_score(const struct tokenizer *t, int32_t id); /* 0 if the file has none */
int32_t tokenizer_bos(const struct tokenizer *t);             /* -1 if none; likewise the others */
int32_t tokenizer_eos(const struct tokenizer *t);
int32_t tokenizer_unk(const struct tokenizer *t);
bool tokenizer_adds_bos(const struct tokenizer *t);
/* EOS, EOT and their kin: generation stops. */
bool tokenizer_ends(const struct tokenizer *t, int32_t id);
/* Id of a token whose piece is exactly this, -1 if none. */
int32_t tokenizer_find(const struct tokenizer *t, struct str piece);

#endif
