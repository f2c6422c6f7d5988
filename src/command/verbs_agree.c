/* SPDX-License-Identifier: MIT */
/* The further tables of `kl -v`: how two models agree. */
#include "command/cells.h"
#include "command/verbs_kl.h"

void show_agreement(const struct agreement *a, struct result *out)
{
    struct table *t = result_table(out, "agreement", TABLE_RECORD);
    TABLE_COLUMNS(t, { COL_FLOAT, "delta_p_mean", "%", 4 }, { COL_FLOAT, "delta_p_rms", "%", 4 },
                  { COL_FLOAT, "correlation", "", 6 }, { COL_FLOAT, "accepted", "", 5 },
                  { COL_FLOAT, "top_1", "", 5 }, { COL_FLOAT, "top_2", "", 5 },
                  { COL_FLOAT, "top_3", "", 5 }, { COL_FLOAT, "top_4", "", 5 },
                  { COL_FLOAT, "top_5", "", 5 });
    table_row(t);
    put_numbers(t, (const double[]){ a->delta_p_mean, a->delta_p_rms, a->correlation, a->accepted },
                4);
    put_numbers(t, a->top, AGREE_TOP);
    t = result_table(out, "confidence", TABLE_ROWS);
    TABLE_COLUMNS(t, { COL_FLOAT, "from", "", 2 }, { COL_FLOAT, "to", "", 2 },
                  { COL_INT, "tokens" }, { COL_FLOAT, "kl", "nat/token", 4 },
                  { COL_FLOAT, "top1", "", 4 });
    for (int b = 0; b < AGREE_BINS; b++) {
        table_row(t);
        table_float(t, a->bins[b].from);
        table_float(t, b + 1 < AGREE_BINS ? a->bins[b + 1].from : 1);
        table_int(t, a->bins[b].n);
        put_number(t, a->bins[b].kl);
        put_number(t, a->bins[b].top1);
    }
}
