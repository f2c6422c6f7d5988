/* SPDX-License-Identifier: MIT */
/* Files of a reference's log-probabilities over a text, as llama-perplexity writes and reads them
 * (--kl-divergence-base): 16 bits a token of the vocabulary, over a range of at most 16 nats. */
#ifndef QDB_FILE_LOGITS_H
#define QDB_FILE_LOGITS_H

#include "file/map.h"
#include "file/save.h"

/* Of each chunk of n_ctx tokens the positions n_ctx / 2 .. n_ctx - 2 have a row. The tokens are the
 * text's: the first of each chunk gives way to BOS when it is run, where the vocabulary adds one.
 */
struct logits_base {
    int64_t n_ctx, n_vocab, n_chunk;
    int64_t scored;      /* rows of a chunk: n_ctx - 1 - n_ctx / 2 */
    int32_t *tokens;     /* [n_chunk][n_ctx], each of the vocabulary */
    size_t row;          /* bytes of a row */
    const uint8_t *rows; /* [n_chunk][scored][row], in the map */
    struct map map;
};

/* ST_FORMAT names the byte and the fact: other files, sizes that the file does not have, tokens
 * outside the vocabulary. */
NODISCARD enum st logits_open(const char *path, struct logits_base **out, struct err *e);
/* The same over a map, which is taken over, also on failure. */
NODISCARD enum st logits_parse(struct map map, struct logits_base **out, struct err *e);
void logits_free(struct logits_base *b);
/* Log-probabilities at position n_ctx / 2 + i of the chunk, out [n_vocab]. ST_FORMAT when the row's
 * scale is not finite. */
NODISCARD enum st logits_row(const struct logits_base *b, int64_t chunk, int64_t i, float *out,
                             struct err *e);

/* Writing one, row by row in the order of the text. */
struct logits_writer {
    struct save save;
    int64_t n_vocab, left; /* rows still to come */
    uint8_t *row;
    size_t row_bytes;
};
/* tokens [n_chunk][n_ctx]. The disk's free space is checked first. */
NODISCARD enum st logits_create(struct logits_writer *w, const char *path, int64_t n_ctx,
                                int64_t n_vocab, int64_t n_chunk, const int32_t *tokens,
                                struct err *e);
void logits_put(struct logits_writer *w, const float *logits); /* [n_vocab] */
void logits_put_row(struct logits_writer *w, const void *row); /* as a file has it */
/* ST_STATE when rows are missing. Ends *w, as logits_abort does. */
NODISCARD enum st logits_finish(struct logits_writer *w, struct err *e);
void logits_abort(struct logits_writer *w);

/* The row that stands for these logits: the largest is kept, what lies more than 16 below it gets
 * the lowest code. row: 2 * ((n + 1) / 2) + 4 times 16 bits. */
void logits_encode(const float *logits, int64_t n, uint8_t *row);
size_t logits_row_bytes(int64_t n); /* of a row */
/* The log-probabilities that a row stands for. */
void logits_decode(const uint8_t *row, int64_t n, float *out);

#endif
