/* SPDX-License-Identifier: MIT */
#include "file/diff.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

enum { PIECE = 1 << 15 }; /* elements decoded at a time: a multiple of every block */

const char *diff_change_name(enum diff_change c)
{
    static const char *const names[] = { "same", "added", "removed", "changed" };
    return names[c];
}

/* ---- metadata ---- */

static bool same_value(const struct gguf_kv *x, const struct gguf_kv *y)
{
    return x->type == y->type && x->elem == y->elem && x->n == y->n && x->bytes == y->bytes
           && !memcmp(x->data, y->data, x->bytes);
}

static void add_key(struct diff *d, enum diff_change change, const struct gguf_kv *a,
                    const struct gguf_kv *b)
{
    x_grow(&d->keys, &d->cap_keys, d->n_keys + 1, sizeof *d->keys);
    d->keys[d->n_keys++] = (struct diff_key){ change, a ? a->key : b->key, a, b };
}

static const struct gguf_kv *same_key(const struct gguf *g, struct str key)
{
    int64_t i = names_find(&g->by_key, key);
    return i == NAMES_NONE ? NULL : &g->kvs[i];
}

static void compare_keys(const struct gguf *a, const struct gguf *b, struct diff *d)
{
    for (size_t i = 0; i < a->n_kvs; i++) {
        const struct gguf_kv *x = &a->kvs[i], *y = same_key(b, x->key);
        if (!y)
            add_key(d, DIFF_REMOVED, x, NULL);
        else if (same_value(x, y))
            d->n_keys_same++;
        else
            add_key(d, DIFF_CHANGED, x, y);
    }
    for (size_t i = 0; i < b->n_kvs; i++)
        if (!same_key(a, b->kvs[i].key))
            add_key(d, DIFF_ADDED, NULL, &b->kvs[i]);
}

/* ---- values ---- */

struct sums {
    double error, reference; /* sums of squares */
    double worst;
    uint64_t worst_at, compared, non_finite;
};

/* Sums in eight lanes, so that additions overlap; the order is fixed, hence the result too. A piece
 * with a value that is no number, or a square that overflows, is gone through one by one. */
static bool add_finite(struct sums *s, const float *a, const float *b, size_t n, uint64_t at)
{
    double error[8] = { 0 }, reference[8] = { 0 }, worst[8] = { 0 };
    for (size_t i = 0; i + 8 <= n; i += 8)
        for (size_t k = 0; k < 8; k++) {
            double x = (double)a[i + k], y = (double)b[i + k] - x, m = fabs(y);
            error[k] += y * y;
            reference[k] += x * x;
            worst[k] = m > worst[k] ? m : worst[k];
        }
    for (size_t i = n & ~(size_t)7; i < n; i++) {
        double x = (double)a[i], y = (double)b[i] - x, m = fabs(y);
        error[i & 7] += y * y;
        reference[i & 7] += x * x;
        worst[i & 7] = m > worst[i & 7] ? m : worst[i & 7];
    }
    double e = 0, r = 0, w = 0;
    for (int k = 0; k < 8; k++) {
        e += error[k];
        r += reference[k];
        w = worst[k] > w ? worst[k] : w;
    }
    if (!isfinite(e) || !isfinite(r))
        return false;
    s->error += e;
    s->reference += r;
    s->compared += n;
    if (w > s->worst) {
        size_t i = 0;
        while (fabs((double)b[i] - (double)a[i]) < w)
            i++;
        s->worst = w;
        s->worst_at = at + i;
    }
    return true;
}

static void add_piece(struct sums *s, const float *a, const float *b, size_t n, uint64_t at)
{
    if (add_finite(s, a, b, n, at))
        return;
    for (size_t i = 0; i < n; i++)
        if (!add_finite(s, a + i, b + i, 1, at + i))
            s->non_finite++;
}

static void finish(struct diff_tensor *t, const struct sums *s)
{
    t->non_finite = s->non_finite;
    t->max_abs = s->worst;
    t->max_at = s->worst_at;
    t->rms_error = s->compared ? sqrt(s->error / (double)s->compared) : 0;
    t->relative_l2 = s->error > 0 ? sqrt(s->error / s->reference) : 0;
    t->sqnr_db = s->error > 0 ? 10 * log10(s->reference / s->error) : (double)INFINITY;
}

/* ---- tensors ---- */

struct walk {
    float *a, *b; /* [PIECE] each */
    struct progress *progress;
    double done, total; /* elements */
};

static enum st tick(struct walk *k, double elements, struct err *e)
{
    if (progress_tick(k->progress, "diff", k->done += elements, k->total))
        return ST_OK;
    return st_fail(e, ST_CANCELLED, "diff was interrupted; not all tensors have been compared");
}

static enum st compare_values(struct walk *k, struct diff_tensor *t, struct err *e)
{
    struct sums s = { 0 };
    uint64_t all = t->a->rows * t->a->cols;
    enum st st = ST_OK;
    for (uint64_t at = 0; at < all && !st; at += PIECE) {
        uint64_t n = all - at < PIECE ? all - at : PIECE;
        weight_decode_flat(t->a, at, n, k->a);
        weight_decode_flat(t->b, at, n, k->b);
        add_piece(&s, k->a, k->b, (size_t)n, at);
        st = tick(k, (double)n, e);
    }
    finish(t, &s);
    return st;
}

static bool same_shape(const struct weight *a, const struct weight *b)
{
    return !memcmp(a->ne, b->ne, sizeof a->ne); /* [4] and [4, 1] are the same */
}

static enum st compare_tensor(struct walk *k, struct diff_tensor *t, struct err *e)
{
    const struct weight *a = t->a, *b = t->b;
    t->shape = !same_shape(a, b);
    t->type = a->type_id != b->type_id;
    bool readable = a->data && b->data;
    t->identical = readable && !t->shape && !t->type && !memcmp(a->data, b->data, a->bytes)
                   && weight_same_scales(a, b);
    if (t->shape)
        t->uncompared = "the shapes differ";
    else if (!readable)
        t->uncompared = a->data ? b->problem : a->problem;
    else if (weight_check(a, NULL) || weight_check(b, NULL))
        t->uncompared = "the type does not decode here";
    bool bad_alike = !readable && !t->shape && !t->type && !a->data == !b->data;
    t->change = t->identical || bad_alike ? DIFF_SAME : DIFF_CHANGED;
    if (t->identical)
        finish(t, &(struct sums){ 0 });
    if (t->identical || t->uncompared)
        return tick(k, a->data ? (double)a->rows * (double)a->cols : 0, e);
    return compare_values(k, t, e);
}

static struct diff_tensor *add_tensor(struct diff *d, enum diff_change change,
                                      const struct weight *a, const struct weight *b)
{
    x_grow(&d->tensors, &d->cap_tensors, d->n_tensors + 1, sizeof *d->tensors);
    struct diff_tensor *t = &d->tensors[d->n_tensors++];
    *t = (struct diff_tensor){ .change = change, .name = a ? a->name : b->name, .a = a, .b = b };
    if (!a || !b)
        t->uncompared = a ? "only in the first file" : "only in the second file";
    return t;
}

static enum st compare_tensors(struct walk *k, const struct weights *a, const struct weights *b,
                               struct diff *d, struct err *e)
{
    enum st st = ST_OK;
    for (size_t i = 0; i < a->n && !st; i++) {
        const struct weight *x = &a->list[i], *y = weights_find(b, x->name);
        struct diff_tensor *t = add_tensor(d, y ? DIFF_SAME : DIFF_REMOVED, x, y);
        if (y)
            st = compare_tensor(k, t, e);
    }
    for (size_t i = 0; i < b->n && !st; i++)
        if (!weights_find(a, b->list[i].name))
            add_tensor(d, DIFF_ADDED, NULL, &b->list[i]);
    for (size_t i = 0; i < d->n_tensors; i++)
        d->n_changed += d->tensors[i].change != DIFF_SAME;
    return st;
}

enum st diff_weights(const struct weights *a, const struct weights *b, struct progress *p,
                     struct diff *out, struct err *e)
{
    *out = (struct diff){ 0 };
    void *values;
    enum st st = mem_alloc(&values, 2 * PIECE * sizeof(float), "diff", e);
    if (st)
        return st;
    struct walk k = { values, (float *)values + PIECE, p, 0, (double)a->n_params };
    compare_keys(a->files[0], b->files[0], out);
    st = compare_tensors(&k, a, b, out, e);
    mem_free(values);
    return st;
}

void diff_free(struct diff *d)
{
    free(d->keys);
    free(d->tensors);
    *d = (struct diff){ 0 };
}
