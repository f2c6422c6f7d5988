/* SPDX-License-Identifier: MIT */
/* Building blocks of the functions that take one quantization block apart for people. */
#ifndef QDB_KERNELS_VIEW_H
#define QDB_KERNELS_VIEW_H

#include <stdint.h>

#include "kernels/format.h"

/* What info->view tells of a block but for the fields (n_fields is 0): many times faster, for walks
 * over whole weights. */
void view_numbers(const struct format_info *info, const void *block, struct block_view *v);

/* Start: no fields, scales 1, offsets 0. */
void view_begin(struct block_view *v, int n, int sub_size);
/* Append a field; a field beyond BLOCK_MAX_FIELDS is dropped, a text too long ends in "...". */
void view_f16(struct block_view *v, const char *name, const void *p); /* "0x2e1f = 0.0957" */
void view_f32(struct block_view *v, const char *name, const void *p);
void view_bytes(struct block_view *v, const char *name, const uint8_t *p, int n); /* "3f 01 ..." */
void view_ints(struct block_view *v, const char *name, const int *p, int n);      /* "3 -1 7" */
/* Times a scale that lies outside the block. */
void view_times(struct block_view *v, float scale);
/* All sub-blocks get the same scale and offset. */
void view_uniform(struct block_view *v, float scale, float offset);

#endif
