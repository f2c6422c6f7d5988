/* SPDX-License-Identifier: MIT */
/* SentencePiece-style encoding: pieces with scores, spaces as U+2581, bytes <0xNN> for the rest. */
#ifndef QDB_TEXT_SPM_H
#define QDB_TEXT_SPM_H

#include "text/merge.h"
#include "text/vocab.h"

#define SPM_SPACE "\xe2\x96\x81"

struct spm {
    const struct vocab *vocab;
    int32_t space;            /* token of U+2581, -1 if none */
    int32_t ascii[128];       /* tokens of single characters, -1 if none */
    uint8_t joins[65536 / 8]; /* bit a << 8 | b: some piece has byte b after byte a */
};

void spm_init(struct spm *s, const struct vocab *v);
/* Append the ids of text, with a space in front if `space`. m and b are
 * room to work in. ST_NOMEM. */
NODISCARD enum st spm_encode(const struct spm *s, struct str text, bool space, struct merge *m,
                             struct buf *b, struct id_list *out, struct err *e);
/* Append a piece with its U+2581 as spaces. */
void spm_unescape(struct str piece, struct buf *out);

#endif
