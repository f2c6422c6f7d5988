/* SPDX-License-Identifier: MIT */
/* The further tables of `kl`: how two models agree, and the figures as other engines print them. */
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

void show_peer_figures(const struct peer_figures *p, struct result *out)
{
    struct table *t = result_table(out, "compat", TABLE_RECORD);
    TABLE_COLUMNS(
        t, { COL_FLOAT, "ppl", "", 8 }, { COL_FLOAT, "ppl_error", "", 6 },
        { COL_FLOAT, "base_ppl", "", 8 }, { COL_FLOAT, "base_ppl_error", "", 6 },
        { COL_FLOAT, "correlation", "%", 4 }, { COL_FLOAT, "ln_ppl_ratio", "", 6 },
        { COL_FLOAT, "ln_ppl_ratio_error", "", 6 }, { COL_FLOAT, "kl", "nat/token", 6 },
        { COL_FLOAT, "kl_error", "nat/token", 6 }, { COL_FLOAT, "kl_max", "nat/token", 6 },
        { COL_FLOAT, "kl_p999", "nat/token", 6 }, { COL_FLOAT, "kl_p99", "nat/token", 6 },
        { COL_FLOAT, "kl_median", "nat/token", 6 }, { COL_FLOAT, "kl_p1", "nat/token", 6 },
        { COL_FLOAT, "kl_min", "nat/token", 6 }, { COL_FLOAT, "delta_p", "%", 4 },
        { COL_FLOAT, "delta_p_error", "%", 4 }, { COL_FLOAT, "delta_p_rms", "%", 4 },
        { COL_FLOAT, "delta_p_rms_error", "%", 4 }, { COL_FLOAT, "same_top", "%", 5 },
        { COL_FLOAT, "same_top_error", "%", 4 }, { COL_INT, "scored", "token" });
    table_row(t);
    put_numbers(t,
                (const double[]){ p->ppl,
                                  p->ppl_error,
                                  p->base_ppl,
                                  p->base_ppl_error,
                                  p->correlation,
                                  p->log_ratio,
                                  p->log_ratio_error,
                                  p->kl,
                                  p->kl_error,
                                  p->kl_max,
                                  p->kl_p999,
                                  p->kl_p99,
                                  p->kl_median,
                                  p->kl_p1,
                                  p->kl_min,
                                  p->delta_p,
                                  p->delta_p_error,
                                  p->delta_p_rms,
                                  p->delta_p_rms_error,
                                  p->same_top,
                                  p->same_top_error },
                21);
    table_int(t, p->n);
    result_note(out, "compat: terms with ln p > -16 alone; errors take tokens as independent");
}
