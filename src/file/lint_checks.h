/* SPDX-License-Identifier: MIT */
/* The checks that lint is made of; private to src/file. */
#ifndef QDB_FILE_LINT_CHECKS_H
#define QDB_FILE_LINT_CHECKS_H

#include "file/lint.h"

/* Add a finding; the subject is made printable. */
void lint_add(struct lint *l, enum lint_severity severity, const char *check, struct str subject,
              const char *fmt, ...) PRINTF_LIKE(5, 6);

void lint_hyper_parameters(const struct weights *w, struct lint *l);
NODISCARD enum st lint_tokenizer(const struct weights *w, struct lint *l, struct err *e);
/* Types: quantization version, label against the mix, types that do not decode, NVFP4 scales. */
void lint_types(const struct weights *w, struct lint *l);
/* Names, places and sizes, without the data. */
void lint_directory(const struct weights *w, struct lint *l);
NODISCARD enum st lint_data(const struct weights *w, uint64_t max_elements, struct progress *p,
                            struct lint *l, struct err *e);

#endif
