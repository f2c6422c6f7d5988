/* SPDX-License-Identifier: MIT */
/* A hash index over names that stay where they are: find one, or its second use, in O(1). */
#ifndef QDB_FILE_NAMES_H
#define QDB_FILE_NAMES_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/text.h"

/* Item i's name is the struct str at the start of base + i * stride; the items belong to the caller
 * and outlive the index. */
struct names {
    const void *base;
    size_t stride;
    uint32_t *slots; /* item + 1; 0 = free */
    size_t n_slots;  /* a power of two, at least twice the items */
    uint64_t key;    /* drawn at random, so that no file can be built to make all names collide */
};

enum { NAMES_NONE = -1 };

/* Room for n items (n < 2^31). ST_NOMEM. */
NODISCARD enum st names_init(struct names *x, const void *base, size_t stride, size_t n,
                             struct err *e);
void names_free(struct names *x);
/* Add item i; returns an item that has the same name (then i is not added), else NAMES_NONE. */
int64_t names_add(struct names *x, size_t i);
int64_t names_find(const struct names *x, struct str name); /* NAMES_NONE if there is none */

#endif
