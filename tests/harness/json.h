/* SPDX-License-Identifier: MIT */
/* Reading JSON in tests: golden files and what qdb prints. Malformed
 * text fails the running case. */
#ifndef QDB_TESTS_HARNESS_JSON_H
#define QDB_TESTS_HARNESS_JSON_H

#include <stdbool.h>
#include <stddef.h>

enum json_kind { JSON_NULL, JSON_BOOL, JSON_NUMBER, JSON_STRING, JSON_LIST, JSON_OBJECT };

struct json {
    enum json_kind kind;
    double number;      /* true is 1 */
    char *text;         /* of a string: UTF-8, n bytes and a NUL; U+0000 may be among them */
    size_t n;           /* bytes of a string, items of a list or object */
    struct json *items; /* in the order of the text */
    char *key;          /* of an item of an object */
};

/* Parse n bytes, which must hold one value; or a whole file. Free with json_free. */
struct json *json_parse(const char *p, size_t n);
struct json *json_read(const char *path);
void json_free(struct json *j);

/* The value under a key: NULL, or a failed case, when there is none. */
const struct json *json_find(const struct json *object, const char *key);
const struct json *json_get(const struct json *object, const char *key);
/* The same, of a kind that is required; json_number also takes the i-th item of a list. */
const char *json_text(const struct json *object, const char *key);
const struct json *json_list(const struct json *object, const char *key);
double json_number(const struct json *list, size_t i);

#endif
