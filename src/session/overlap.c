/* SPDX-License-Identifier: MIT */
#include "session/overlap.h"

#include <math.h>
#include <string.h>

/* Is the text one of those in a list of paths? */
static bool named(struct str list, struct str text)
{
    static const char between[] = ", ";
    const struct str name = str_base(text);
    for (size_t i = 0; i <= list.n && name.n;) {
        const char *end = list.n - i > 2 ? memmem(list.p + i, list.n - i, between, 2) : NULL;
        const size_t n = end ? (size_t)(end - list.p) - i : list.n - i;
        if (str_eq(str_base(str_of(list.p + i, n)), name))
            return true;
        i += n + 2;
    }
    return false;
}

/* Of the same tokens as `by` has. */
static struct shingle_share share_of_set(const struct shingles *x, const struct session_model *by,
                                         const struct evaluation_set *set)
{
    struct shingle_share sum = { 0 };
    const struct tokenizer *k = by->model->tokenizer;
    if (x && k && tokenizer_identity(k) == x->vocabulary)
        for (int64_t i = 0; i < set->segments; i++)
            shingles_count(x, set->ids + i * set->tokens + 1, set->tokens - 1, &sum);
    return sum;
}

struct overlap session_overlap(const struct session *s, const struct session_model *m, bool changes,
                               const struct session_model *by, const struct evaluation_set *set,
                               const char *text)
{
    struct overlap out = { 0 };
    const struct change_imatrix *x = changes ? changes_imatrix(s, m) : NULL;
    if (x) {
        out.weighted = true;
        out.same_name = x->dataset && named(str_from(x->dataset), str_from(text));
        out.share = share_of_set(x->text, by, set);
        return out;
    }
    const struct weights *w = m->model->weights;
    struct shingles *own;
    if (shingles_get(w->files[0], &own, NULL))
        own = NULL;
    const struct str dataset = weights_string(w, "quantize.imatrix.dataset", NULL);
    out.weighted = own || dataset.n || weights_kv(w, "quantize.imatrix.file");
    out.same_name = dataset.n && named(dataset, str_from(text));
    out.share = share_of_set(own, by, set);
    shingles_drop(own);
    return out;
}

double overlap_share(const struct overlap *x)
{
    return x->share.asked ? (double)x->share.found / (double)x->share.asked : (double)NAN;
}
