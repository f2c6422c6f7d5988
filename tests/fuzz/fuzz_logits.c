/* SPDX-License-Identifier: MIT */
/* Fuzz target: a file of log-probabilities; of a sound one the tokens are of its vocabulary. */
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>

#include "base/memory.h"
#include "file/logits.h"

const char *const fuzz_words[] = { "_logits_", "\x08\0\0\0", "\xff\xff\xff\x7f", NULL };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct logits_base *b;
    if (logits_parse(map_borrow(data, size, "fuzz"), &b, NULL))
        return 0;
    float *row = x_alloc((size_t)b->n_vocab * sizeof *row);
    for (int64_t c = 0; c < b->n_chunk; c++)
        for (int64_t i = 0; i < b->scored; i++)
            if (!logits_row(b, c, i, row, NULL) && !(row[0] <= row[0]))
                abort();
    for (int64_t i = 0; i < b->n_chunk * b->n_ctx; i++)
        if (b->tokens[i] < 0 || b->tokens[i] >= b->n_vocab)
            abort();
    free(row);
    logits_free(b);
    return 0;
}
