/* SPDX-License-Identifier: MIT */
/* Fuzz target: a model file, opened, listed, decoded, linted, compared with itself. */
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>

#include "base/memory.h"
#include "file/diff.h"
#include "file/lint.h"
#include "file/weights.h"

enum { MOST_COLUMNS = 1 << 16, MOST_ELEMENTS = 1 << 14 };

const char *const fuzz_words[] = { "GGUF",
                                   "general.architecture",
                                   "general.alignment",
                                   "general.file_type",
                                   "split.count",
                                   "llama.block_count",
                                   "llama.attention.head_count",
                                   "tokenizer.ggml.tokens",
                                   "tokenizer.ggml.merges",
                                   "tokenizer.ggml.bos_token_id",
                                   "token_embd.weight",
                                   "blk.0.attn_q.weight",
                                   ".scale",
                                   "\xff\xff\xff\xff\xff\xff\xff\x7f",
                                   "\xff\xff\xff\xff\xff\xff\xff\xff",
                                   NULL };

static void require(bool fact)
{
    if (!fact)
        abort();
}

/* Strings lie in the file; numbers convert whatever their type. */
static void list_keys(const struct gguf *g)
{
    struct buf out = { 0 };
    for (size_t i = 0; i < g->n_kvs; i++) {
        const struct gguf_kv *kv = &g->kvs[i];
        for (uint64_t k = 0; k < kv->n; k++) {
            if (kv->elem != GGUF_STRING) {
                require(gguf_number(kv, k) < 0 || gguf_integer(kv, k) >= 0);
                continue;
            }
            struct str s = gguf_string(g, kv, k);
            const uint8_t *p = (const uint8_t *)s.p;
            require(p >= g->map.p && s.n <= (size_t)(g->map.p + g->map.size - p));
        }
        buf_clear(&out);
        gguf_print(g, kv, 16, 64, &out);
    }
    buf_free(&out);
}

static void look_at(const struct weight *w, float *row)
{
    struct err e = ERR_INIT;
    if (weight_check(w, &e)) {
        require(e.msg[0] && e.where[0]);
        return;
    }
    require(w->rows && w->cols && w->rows * w->row_bytes == w->bytes);
    if (w->cols > MOST_COLUMNS)
        return;
    require(!weight_decode(w, 0, 1, row, &e) && !weight_decode(w, w->rows - 1, 1, row, &e));
    require(weight_decode(w, w->rows, 1, row, &e) == ST_RANGE);
    const struct format_info *f = format_info(w->format);
    struct block_view view;
    if (f->view)
        f->view(w->data, &view);
}

static void use(const struct weights *w)
{
    struct err e = ERR_INIT;
    struct lint l;
    struct diff d;
    list_keys(w->files[0]);
    float *row = malloc(MOST_COLUMNS * sizeof *row);
    for (size_t i = 0; i < w->n && row; i++) {
        require(weights_find(w, w->list[i].name) == &w->list[i]);
        look_at(&w->list[i], row);
    }
    free(row);
    require(!lint_weights(w, MOST_ELEMENTS, NULL, &l, &e));
    lint_free(&l);
    require(!diff_weights(w, w, NULL, &d, &e));
    require(!d.n_keys && d.n_tensors == w->n && !d.n_changed);
    diff_free(&d);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct weights *w;
    struct err e = ERR_INIT;
    if (weights_borrow(data, size, "fuzz", &w, &e)) {
        require(e.msg[0] && e.where[0]);
    } else {
        use(w);
        weights_close(w);
    }
    require(!mem_used());
    return 0;
}
