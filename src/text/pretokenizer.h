/* SPDX-License-Identifier: MIT */
/* Pre-tokenizers: the regular expressions that cut text into words before byte-level BPE merges. */
#ifndef QDB_TEXT_PRETOKENIZER_H
#define QDB_TEXT_PRETOKENIZER_H

#include "base/error.h"
#include "base/text.h"

enum {
    PRE_WHOLE_WORDS = 1, /* a word that is in the vocabulary is taken as it is, without merges */
    PRE_ADDS_BOS = 2     /* BOS goes in front unless the file says otherwise */
};

struct pretokenizer;

/* By the name that files use; "" is "default". ST_UNSUPPORTED lists what is known. */
NODISCARD enum st pretokenizer_new(struct str name, struct pretokenizer **out, struct err *e);
void pretokenizer_free(struct pretokenizer *p);
int pretokenizer_flags(const struct pretokenizer *p);

typedef enum st pretoken_sink(void *context, struct str word, struct err *e);
/* Hand the words of text to sink, in order; together they are the text. Any byte string is legal: a
 * run of bytes that are not UTF-8 is a word of its own, and the text on either side is cut as if it
 * stood alone. ST_RANGE when a pattern runs into its match limit, else what sink returns. */
NODISCARD enum st pretokenize(const struct pretokenizer *p, struct str text, pretoken_sink *sink,
                              void *context, struct err *e);

#endif
