/* SPDX-License-Identifier: MIT */
/* Fuzz target: an importance matrix, read, asked, merged, and written in both forms; in its own it
 * is the same again. */
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "file/imatrix.h"

const char *const fuzz_words[] = { "GGUF",
                                   "general.type",
                                   "imatrix",
                                   "imatrix.datasets",
                                   "imatrix.chunk_count",
                                   "imatrix.chunk_size",
                                   "blk.0.ffn_up.weight",
                                   ".in_sum2",
                                   ".counts",
                                   "\xff\xff\xff\x7f",
                                   NULL };

static void require(bool fact)
{
    if (!fact)
        abort();
}

static void ask(const struct imatrix *m)
{
    for (size_t i = 0; i < m->n; i++) {
        const struct imatrix_entry *x = &m->list[i];
        float *mean = x_alloc((size_t)x->n_in * sizeof *mean);
        require(imatrix_find(m, x->name) == x);
        for (uint64_t k = 0; k < x->n_mat && k < 8; k++)
            require(imatrix_importance(x, x->n_in, x->n_mat, k, mean) && mean[0] >= 0);
        free(mean);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct imatrix *m, *again, *all = imatrix_new();
    struct buf out = { 0 }, twice = { 0 }, other = { 0 };
    if (size && !imatrix_parse(map_borrow(data, size, "fuzz"), &m, NULL)) {
        ask(m);
        require(!imatrix_print(m, m->form, &out, NULL));
        require(m->form != IMATRIX_DAT || (out.n == size && !memcmp(out.p, data, size)));
        require(!imatrix_parse(map_borrow(out.p, out.n, "again"), &again, NULL));
        require(again->n == m->n);
        require(!imatrix_print(again, m->form, &twice, NULL));
        require(out.n == twice.n && !memcmp(out.p, twice.p, out.n));
        imatrix_free(again);
        (void)!imatrix_print(m, m->form == IMATRIX_DAT ? IMATRIX_GGUF : IMATRIX_DAT, &other, NULL);
        (void)!imatrix_merge(all, m, 512, NULL);
        imatrix_free(m);
    }
    imatrix_free(all);
    buf_free(&out);
    buf_free(&twice);
    buf_free(&other);
    return 0;
}
