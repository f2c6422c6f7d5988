/* SPDX-License-Identifier: MIT */
#include "command/cells.h"

#include <math.h>

#include "kernels/level.h"

void put_number(struct table *t, double x)
{
    if (isnan(x))
        table_skip(t);
    else
        table_float(t, x);
}

void put_numbers(struct table *t, const double *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        put_number(t, x[i]);
}

void put_index(struct table *t, int64_t i)
{
    if (i < 0)
        table_skip(t);
    else
        table_int(t, i);
}

void put_positive(struct table *t, int64_t i) { put_index(t, i > 0 ? i : -1); }

void put_share(struct table *t, const struct share *s)
{
    put_numbers(t, (const double[]){ s->value, s->low, s->high }, 3);
}

void put_mean(struct table *t, const struct clustered_mean *m)
{
    put_numbers(t, (const double[]){ m->clusters ? m->value : NAN, m->low, m->high }, 3);
}

void put_kl(struct table *t, double kl, double floor)
{
    if (kl < floor)
        table_instead(t, "<floor");
    else
        put_number(t, kl);
}

void put_kl_mean(struct table *t, const struct clustered_mean *kl, double floor)
{
    if (kl->value < floor) {
        put_kl(t, kl->value, floor);
        put_absent(t, 2);
    } else
        put_mean(t, kl);
}

void put_below_floor(struct table *t, double kl, double floor)
{
    if (isnan(floor))
        table_skip(t);
    else
        table_bool(t, kl < floor);
}

void put_floor(struct table *t, double kl, double floor)
{
    put_below_floor(t, kl, floor);
    put_number(t, floor);
    put_level(t, !isnan(floor));
}

void put_level(struct table *t, bool fast)
{
    fast ? table_str(t, level_now()->name) : table_skip(t);
}

void put_absent(struct table *t, int n)
{
    for (int i = 0; i < n; i++)
        table_skip(t);
}
