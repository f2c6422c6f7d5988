/* SPDX-License-Identifier: MIT */
/* Cells of a table that are absent where there is nothing to say. */
#ifndef QDB_COMMAND_CELLS_H
#define QDB_COMMAND_CELLS_H

#include <stddef.h>
#include <stdint.h>

#include "base/table.h"
#include "study/interval.h"

/* Absent where the number is NaN. */
void put_number(struct table *t, double x);
void put_numbers(struct table *t, const double *x, size_t n);
/* Absent where the index is negative. */
void put_index(struct table *t, int64_t i);
/* Absent unless it is positive. */
void put_positive(struct table *t, int64_t i);
/* Three cells: the value and the two ends of its interval. A mean over what is not a number is
 * absent: whoever measures says why (command/broken.h). */
void put_share(struct table *t, const struct share *s);
void put_mean(struct table *t, const struct clustered_mean *m);
/* A KL below the floor of mode fast is no figure: people read `<floor`. floor: NaN in other modes.
 */
void put_kl(struct table *t, double kl, double floor);
/* 3 cells. */
void put_kl_mean(struct table *t, const struct clustered_mean *kl, double floor);
/* Is it below: absent in other modes; and with the floor itself and the level of kernels that both
 * belong to, cells of FLOOR_COLUMNS. */
void put_below_floor(struct table *t, double kl, double floor);
void put_floor(struct table *t, double kl, double floor);
#define FLOOR_COLUMNS \
    { COL_BOOL, "below_floor", .quiet = true }, { COL_FLOAT, "fast_floor", "nat/token", 4 }, \
    { \
        COL_STRING, "level" \
    }
/* The level of kernels in use, whose own the figures of mode fast are; absent in other modes. */
void put_level(struct table *t, bool fast);
/* n cells that are absent. */
void put_absent(struct table *t, int n);

#endif
