/* SPDX-License-Identifier: MIT */
/* Addresses: MODEL!NAME[SLICE]@POSITION, how a user names weights, points and parts of them.
 *
 *   address = [ who "!" ] name [ slice ] [ "@" position ]
 *   who     = model | run | model ":" run
 *   name    = glob over dotted segments (graph/glob.h)
 *   slice   = "[" [ item { "," item } ] "]"          item = [ axis "=" ] index
 *   index   = int | [int] ":" [int] [ ":" int ] | "*" | "{" int {"," int} "}"
 *           | ("top"|"bot") int "(" statistic ")" | string (token text, as tables show it)
 *
 * Indices are 0-based, negative ones count from the end, a missing axis is "*". Named and
 * positional items do not mix. `name -- slice` tells a slice from a glob set where both would do.
 */
#ifndef QDB_GRAPH_ADDRESS_H
#define QDB_GRAPH_ADDRESS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/text.h"
#include "graph/shape.h"

enum { ADDRESS_MAX_ITEMS = 6, ADDRESS_MAX_LIST = 64 };

enum index_kind {
    INDEX_ALL,
    INDEX_ONE,
    INDEX_RANGE,
    INDEX_LIST,
    INDEX_TOP,
    INDEX_BOTTOM,
    INDEX_TEXT
};

struct index {
    enum axis axis; /* AXIS__COUNT: positional */
    enum index_kind kind;
    int64_t from, to, step; /* ONE: from; RANGE: as written; TOP and BOTTOM: from = how many */
    bool has_from, has_to;  /* RANGE */
    int64_t list[ADDRESS_MAX_LIST];
    int n_list;
    struct str text;    /* TEXT: the string; TOP, BOTTOM: the statistic. Borrowed from the input */
    int column, length; /* where it stood in the input */
};

struct address {
    struct str model, run; /* empty = the active one; `who` alone is put in model */
    struct str name;
    struct index items[ADDRESS_MAX_ITEMS];
    int n_items;
    bool sliced;         /* there were brackets */
    struct str position; /* after `@`, empty if none */
    int column, length;  /* of the name in the input */
    size_t used;         /* bytes of the input that the address took */
};

/* Parse the address at the beginning of text; *out borrows from it. Stops before a blank or an
 * operator that cannot be part of an address (used says where). Errors carry the column. */
NODISCARD enum st address_parse(struct str text, struct address *out, struct err *e);
/* Append in the canonical form; parsing that gives the same address. */
void address_print(const struct address *a, struct buf *out);

/* Turn an index into the list of entries of an axis with n entries (n >= 0): *list is allocated
 * with x_alloc, the caller frees it. TOP, BOTTOM and TEXT need the data: ST_STATE here. */
NODISCARD enum st index_resolve(const struct index *i, enum axis axis, int64_t n, int64_t **list,
                                int64_t *count, struct err *e);
/* Which item speaks of dimension `d` of the shape; NULL = all of it. ST_SYNTAX when a named axis
 * does not exist in the shape, or there are more positional items than dimensions. */
NODISCARD enum st address_item(const struct address *a, const struct shape *s, int d,
                               const struct index **out, struct err *e);
NODISCARD enum st address_check(const struct address *a, const struct shape *s, struct err *e);

#endif
