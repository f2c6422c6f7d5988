/* SPDX-License-Identifier: MIT */
#include "command/coverage.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#include "base/memory.h"
#include "file/imatrix.h"
#include "file/weights.h"

/* One line: what the entry says about its matrices. */
static void put_entry(const struct imatrix_entry *x, const struct weight *w, struct table *t)
{
    const uint64_t n_in = w ? w->cols : x->n_in;
    const uint64_t n_mat = n_in && x->n_mat == 1 && x->n_in % n_in == 0 ? x->n_in / n_in : x->n_mat;
    enum { LISTED = 16 };
    struct buf list = { 0 };
    uint64_t unseen = 0, zero = 0;
    double least = INFINITY, most = 0;
    for (uint64_t k = 0; k < x->n_mat; k++) {
        least = fmin(least, (double)x->count[k]);
        most = fmax(most, (double)x->count[k]);
    }
    for (uint64_t k = 0; k < n_mat; k++) {
        uint64_t nil = 0;
        for (uint64_t i = 0; i < n_in; i++)
            nil += x->sum[k * n_in + i] <= 0;
        if ((nil == n_in || (k < x->n_mat && x->count[k] <= 0 && n_mat > 1)) && unseen++ < LISTED)
            buf_printf(&list, "%s%" PRIu64, unseen > 1 ? "," : "", k);
        zero += nil < n_in ? nil : 0;
    }
    table_int(t, (int64_t)n_in);
    table_int(t, (int64_t)n_mat);
    table_int(t, (int64_t)(n_mat - unseen));
    table_int(t, (int64_t)zero);
    table_int(t, (int64_t)least);
    table_int(t, (int64_t)most);
    if (unseen > LISTED)
        buf_adds(&list, ",...");
    table_str(t, n_mat > 1 && unseen ? buf_str(&list) : NULL);
    buf_free(&list);
}

/* Matrices that quantization would touch. */
static bool is_matrix(const struct weight *w)
{
    return w->rank >= 2 && w->rows > 1 && str_ends(w->name, "weight");
}

static bool fits(const struct imatrix_entry *x, const struct weight *w)
{
    float *row = x_alloc((size_t)w->cols * sizeof *row + 1);
    const uint64_t n_mat = w->rank > 2 ? w->ne[2] * w->ne[3] : 1;
    const bool ok = imatrix_importance(x, w->cols, n_mat, 0, row);
    free(row);
    return ok;
}

void coverage_put(const struct imatrix *m, const struct weights *all, struct result *out)
{
    struct table *t = result_table(out, "coverage", TABLE_ROWS);
    TABLE_COLUMNS(t, { COL_ADDRESS, "weight" }, { COL_STRING, "state" }, { COL_INT, "channels" },
                  { COL_INT, "matrices" }, { COL_INT, "seen" }, { COL_INT, "zero_channels" },
                  { COL_INT, "least", "count" }, { COL_INT, "most", "count" },
                  { COL_STRING, "unseen" });
    size_t missing = 0, wrong = 0, foreign = 0;
    for (size_t i = 0; all && i < all->n; i++) {
        const struct weight *w = &all->list[i];
        const struct imatrix_entry *x = imatrix_find(m, w->name);
        if (w->problem || (!x && !is_matrix(w)))
            continue;
        table_row(t);
        table_strn(t, w->name);
        table_str(t, !x               ? "missing"
                     : !fits(x, w)    ? "another shape"
                     : imatrix_saw(x) ? "ok"
                                      : "saw nothing");
        missing += !x;
        wrong += x && !fits(x, w);
        if (x && fits(x, w))
            put_entry(x, w, t);
    }
    for (size_t i = 0; i < m->n; i++) {
        if (all && weights_find(all, m->list[i].name))
            continue;
        table_row(t);
        table_strn(t, m->list[i].name);
        table_str(t, all ? "not in the model" : "ok");
        put_entry(&m->list[i], NULL, t);
        foreign++;
    }
    if (missing)
        result_note(out,
                    "%zu %s no entry: iq1_s, iq1_m, iq2_xxs, iq2_xs, iq2_s and the mix Q2_K_S "
                    "need one; other formats are encoded unweighted",
                    missing, text_plural(missing, "matrix has", "matrices have"));
    if (wrong || (all && foreign))
        result_note(out,
                    "it was made from another model: %zu of another shape, %zu not in this one",
                    wrong, foreign);
}

void coverage_warn(const struct imatrix *m, const struct weights *all, struct result *out)
{
    const struct imatrix_entry *wrong = NULL, *blind = NULL;
    size_t n_wrong = 0, n_blind = 0;
    uint64_t cols = 0;
    for (size_t i = 0; i < m->n; i++) {
        const struct imatrix_entry *x = &m->list[i];
        const struct weight *w = all ? weights_find(all, x->name) : NULL;
        if (!imatrix_saw(x) && !n_blind++)
            blind = x;
        if (w && !w->problem && !fits(x, w) && !n_wrong++) {
            wrong = x;
            cols = w->cols;
        }
    }
    if (wrong)
        result_note(out,
                    "%zu %s of another shape than the weight, which is encoded unweighted: %.*s "
                    "has %" PRIu64 " channels, the weight %" PRIu64,
                    n_wrong, text_plural(n_wrong, "entry is", "entries are"), (int)wrong->name.n,
                    wrong->name.p, wrong->n_in, cols);
    if (blind)
        result_note(out, "%zu %s nothing, and their weights are encoded unweighted: %.*s%s",
                    n_blind, text_plural(n_blind, "entry saw", "entries saw"), (int)blind->name.n,
                    blind->name.p, n_blind > 1 ? ", ..." : "");
}
