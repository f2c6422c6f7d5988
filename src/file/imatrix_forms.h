/* SPDX-License-Identifier: MIT */
/* What the two forms of importance matrices share; for imatrix*.c alone. */
#ifndef QDB_FILE_IMATRIX_FORMS_H
#define QDB_FILE_IMATRIX_FORMS_H

#include "file/gguf_read.h"
#include "file/imatrix.h"

enum { IMATRIX_CHUNK = 512 /* tokens, where nothing says */ };

/* ST_FORMAT about an entry of the file at `path` (NULL: not said). */
enum st imatrix_fail(struct err *e, const char *path, struct str name, const char *what);
/* Room for an entry at the end of the list, its arrays not set, the index of names left alone. */
NODISCARD enum st imatrix_room(struct imatrix *m, struct str name, uint64_t n_in, uint64_t n_mat,
                               struct imatrix_entry **out, struct err *e);
/* It has values, and they are sums of squares and counts. */
NODISCARD enum st imatrix_check(const struct imatrix_entry *x, const char *path, struct err *e);

/* Read all entries into m, which is empty. The GGUF file is taken over. */
NODISCARD enum st imatrix_parse_dat(struct reader *r, struct imatrix *m);
NODISCARD enum st imatrix_parse_gguf(struct gguf *g, struct imatrix *m, struct err *e);
/* Append the file: of m in any form, of m in GGUF form. */
NODISCARD enum st imatrix_print_dat(const struct imatrix *m, struct buf *out, struct err *e);
NODISCARD enum st imatrix_print_gguf(const struct imatrix *m, struct buf *out, struct err *e);

#endif
