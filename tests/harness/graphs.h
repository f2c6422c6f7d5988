/* SPDX-License-Identifier: MIT */
/* Small models of any architecture, built tensor by tensor, and what every graph must be. */
#ifndef QDB_TESTS_HARNESS_GRAPHS_H
#define QDB_TESTS_HARNESS_GRAPHS_H

#include "tests/harness/models.h"

/* A tensor of f32, values made up; n0 is the row length, the first 0 ends the shape. */
void graphs_tensor(struct build *b, const char *name, uint64_t n0, uint64_t n1, uint64_t n2,
                   uint64_t n3);
/* PREFIXblk.BLOCK.NAME */
void graphs_block_tensor(struct build *b, const char *prefix, int block, const char *name,
                         uint64_t n0, uint64_t n1, uint64_t n2);
void graphs_u32(struct build *b, const char *key, int64_t v);

/* One line that says what the name means. */
void graphs_check_brief(const char *name, const char *brief);
/* There is a graph of so many blocks; its points have names of their own and meanings, its nodes
 * read what is before them. */
void graphs_check(const struct model *m, int blocks);
void graphs_assert_shape(const struct model *m, const char *point, const char *want);
/* A run is refused, with the op and the point that it lacks. */
void graphs_assert_refused(const struct model *m, const char *op, const char *point);

#endif
