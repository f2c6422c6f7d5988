/* SPDX-License-Identifier: MIT */
/* Text: string views, a growable buffer, UTF-8, numbers in and out, edit distance. */
#ifndef QDB_BASE_TEXT_H
#define QDB_BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/* A borrowed piece of text, not NUL-terminated. */
struct str {
    const char *p;
    size_t n;
};

#define STR(literal) ((struct str){ "" literal, sizeof(literal) - 1 })
static inline struct str str_of(const char *p, size_t n) { return (struct str){ p, n }; }
struct str str_from(const char *s);
bool str_eq(struct str a, struct str b);
bool str_is(struct str a, const char *s);
bool str_starts(struct str a, const char *prefix);
bool str_ends(struct str a, const char *suffix);
/* A path without its folders. */
struct str str_base(struct str path);
bool str_begins(struct str a, const char *of); /* not empty, and the beginning of a longer one */

/* A growable, always NUL-terminated byte string. Zero-initialise; buf_free when done. */
struct buf {
    char *p;
    size_t n, cap;
};

void buf_add(struct buf *b, const void *p, size_t n);
void buf_adds(struct buf *b, const char *s);
void buf_addc(struct buf *b, char c);
void buf_printf(struct buf *b, const char *fmt, ...) PRINTF_LIKE(2, 3);
void buf_clear(struct buf *b);
void buf_free(struct buf *b);
char *buf_take(struct buf *b); /* the caller owns the NUL-terminated result; b is empty after */
const char *buf_str(const struct buf *b); /* "" when empty; borrowed */

/* Decode one UTF-8 code point at s (n bytes left, n > 0): returns its length 1..4 and writes *cp;
 * an invalid byte gives length 1 and *cp = -1. */
int utf8_decode(const char *s, size_t n, int32_t *cp);
int utf8_encode(char out[4], uint32_t cp); /* returns the length, 0 if not a code point */

/* Append s with control bytes, invalid UTF-8 and quotes made visible: \n \t \x1b \xff. */
void buf_visible(struct buf *b, struct str s);
/* Append s as a JSON string with its quotes; invalid UTF-8 bytes become U+FFFD. */
void buf_json(struct buf *b, struct str s);
/* Without the byte order mark that some editors put in front of UTF-8. */
struct str text_unmarked(struct str s);
int text_columns(struct str s); /* terminal columns of valid UTF-8, wide characters count 2 */

/* Whole-string numbers: ST_SYNTAX or ST_RANGE. Integers decimal or 0x hexadecimal. */
NODISCARD enum st parse_i64(struct str s, int64_t lo, int64_t hi, int64_t *out, struct err *e);
NODISCARD enum st parse_f64(struct str s, double *out, struct err *e);
NODISCARD enum st parse_size(struct str s, size_t *out, struct err *e); /* 512, 64K, 1.5G */

/* Print into out and return out; text_digits shows people that many significant digits. */
char *text_f64(char *out, size_t size, double v); /* shortest that reads back exactly */
char *text_digits(char *out, size_t size, double v, int digits);
char *text_bytes(char *out, size_t size, uint64_t bytes); /* 1.50 GB (decimal) */

/* The word for n of a thing: "%zu %s", n, text_plural(n, "byte", "bytes"). */
static inline const char *text_plural(uint64_t n, const char *one, const char *many)
{
    return n == 1 ? one : many;
}

/* Damerau-Levenshtein distance, both at most 255 bytes considered. */
int text_distance(struct str a, struct str b);

/* The nearest of n names: those that begin with `name`, else the one with the smallest edit
 * distance; appends "could be a, b" or "did you mean `a`?" or nothing to out. */
void suggest(struct str name, const char *(*at)(const void *data, size_t i), const void *data,
             size_t n, struct buf *out);

#endif
