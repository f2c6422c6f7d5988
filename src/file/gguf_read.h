/* SPDX-License-Identifier: MIT */
/* A bounded reader over a map: every read is checked, every failure names file, byte and fact. */
#ifndef QDB_FILE_GGUF_READ_H
#define QDB_FILE_GGUF_READ_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/text.h"

struct reader {
    const uint8_t *p;
    size_t size, at; /* at <= size */
    const char *path;
    struct err *e;
};

enum { READER_NAME = 96 };

static inline size_t reader_left(const struct reader *r) { return r->size - r->at; }

/* Fill the error with "byte N: fact" and the file, return st. */
enum st reader_fail(struct reader *r, size_t at, enum st st, const char *fmt, ...)
    PRINTF_LIKE(4, 5);
/* `what` names the thing being read, for the message. Outputs are written on success only. */
NODISCARD enum st reader_u32(struct reader *r, uint32_t *out, const char *what);
NODISCARD enum st reader_u64(struct reader *r, uint64_t *out, const char *what);
/* u64 length and bytes, borrowed from the map. */
NODISCARD enum st reader_string(struct reader *r, struct str *out, const char *what);
/* Magic and version; names what else the file may be, old versions and big-endian files. */
NODISCARD enum st reader_magic(struct reader *r, uint32_t *version);
/* A name from the file, shortened and made visible. */
void reader_show(char out[READER_NAME], struct str name);

#endif
