/* SPDX-License-Identifier: MIT */
/* The keys of files that are made: those of the model's file, and what has become of it. */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "quant/file_type.h"
#include "session/export_parts.h"
#include "session/overlap.h"

/* The mix that the last plan of the model came from; NULL if it did not come from one. */
static const struct mix *mix_named(const struct session *s, const struct session_model *m)
{
    static const char words[] = "plan stock ";
    const struct mix *mix = NULL;
    for (size_t i = 0; i < s->changes.n; i++) {
        const struct change *c = s->changes.list[i];
        if (c->model == m && str_starts(str_from(c->text), words))
            mix = mix_find(str_from(c->text + strlen(words)));
    }
    return mix;
}

/* What loaders call the file, and that something in it is quantized. */
static void label(const struct session *s, const struct session_model *m, const struct export *x,
                  struct gguf_meta *meta)
{
    const struct mix *mix = x->maker ? x->maker->as->mix : mix_named(s, m);
    const struct weights *all = m->model->weights;
    enum format *f = x_alloc((all->n + 1) * sizeof *f); /* of what is left out: plain numbers */
    bool quantized = false;
    for (size_t i = 0; i < all->n; i++)
        f[i] = all->list[i].format;
    for (size_t i = 0; i < x->n_tensors; i++) {
        const enum format is = format_by_id(x->tensors[i].type_id);
        if (!x->from[i].name)
            f[x->from[i].of - all->list] = is;
        quantized |= is != FORMAT_NONE && format_info(is)->quantized;
    }
    const int file_type = file_type_of(all, f, mix);
    free(f);
    if (quantized)
        gguf_meta_integer(meta, "general.quantization_version", GGUF_U32, 2);
    if (file_type >= 0)
        gguf_meta_integer(meta, "general.file_type", GGUF_U32, (uint64_t)file_type);
}

static void say_how(const struct session *s, const struct session_model *m, const struct export *x,
                    struct gguf_meta *meta)
{
    struct str *list = x_alloc((s->changes.n + 1) * sizeof *list);
    size_t n = 0;
    for (size_t i = 0; i < s->changes.n && !x->maker; i++)
        if (s->changes.list[i]->model == m)
            list[n++] = str_from(s->changes.list[i]->text);
    if (x->maker)
        list[n++] = str_from(x->maker->as->text);
    gguf_meta_string(meta, "qdb.version", str_from(PACKAGE_VERSION));
    gguf_meta_string(meta, "qdb.source", str_base(str_from(m->path)));
    gguf_meta_strings(meta, "qdb.changes", list, n);
    free(list);
}

/* What weighed the encoders, under the keys and types that llama-quantize gives it; what an older
 * matrix left in the file goes. */
static void say_importance(const struct change_imatrix *x, struct gguf_meta *meta)
{
    shingles_unput(meta);
    if (x->text)
        shingles_put(x->text, meta);
    gguf_meta_drop(meta, "quantize.imatrix.dataset");
    gguf_meta_drop(meta, "quantize.imatrix.chunks_count");
    gguf_meta_string(meta, "quantize.imatrix.file", str_from(x->file));
    if (x->dataset)
        gguf_meta_string(meta, "quantize.imatrix.dataset", str_from(x->dataset));
    gguf_meta_integer(meta, "quantize.imatrix.entries_count", GGUF_U32, x->entries);
    if (x->chunks > 0)
        gguf_meta_integer(meta, "quantize.imatrix.chunks_count", GGUF_U32, (uint64_t)x->chunks);
}

/* How far the resident evaluation set was in the text that weighed the encoders. */
static void say_overlap(const struct session *s, const struct session_model *m,
                        struct gguf_meta *meta)
{
    gguf_meta_drop(meta, "qdb.calibration.shared");
    gguf_meta_drop(meta, "qdb.calibration.compared");
    gguf_meta_drop(meta, "qdb.calibration.compared_with");
    if (!s->data.set.segments)
        return;
    const struct overlap x = session_overlap(s, m, true, m, &s->data.set, s->data.path);
    if (!x.share.asked)
        return;
    gguf_meta_integer(meta, "qdb.calibration.shared", GGUF_U32, (uint64_t)x.share.found);
    gguf_meta_integer(meta, "qdb.calibration.compared", GGUF_U32, (uint64_t)x.share.asked);
    gguf_meta_string(meta, "qdb.calibration.compared_with", str_base(str_from(s->data.path)));
}

void export_metadata(const struct session *s, const struct session_model *m, struct export *x)
{
    static const char *const split[] = { "split.no", "split.count", "split.tensors.count" };
    const struct weights *all = m->model->weights;
    gguf_meta_take(&x->metas[0], all->files[0]);
    for (size_t i = 0; i < sizeof split / sizeof *split; i++)
        gguf_meta_drop(&x->metas[0], split[i]);
    if (x->n_changed) {
        label(s, m, x, &x->metas[0]);
        say_how(s, m, x, &x->metas[0]);
    }
    struct change weighted = { 0 };
    if (x->maker && s->imatrix)
        change_weighted(&weighted, s->imatrix_path, s->imatrix);
    const struct change_imatrix *imatrix = x->maker ? weighted.imatrix : changes_imatrix(s, m);
    if (imatrix)
        say_importance(imatrix, &x->metas[0]);
    if (imatrix && !x->maker)
        say_overlap(s, m, &x->metas[0]);
    change_imatrix_free(weighted.imatrix);
    for (size_t k = 0; k < x->n_parts && x->n_parts > 1; k++) {
        gguf_meta_integer(&x->metas[k], split[0], GGUF_U16, k);
        gguf_meta_integer(&x->metas[k], split[1], GGUF_U16, x->n_parts);
        gguf_meta_integer(&x->metas[k], split[2], GGUF_I32, x->n_tensors);
        const struct gguf_kv *alignment = weights_kv(all, "general.alignment");
        if (k && alignment && alignment->type == GGUF_U32)
            gguf_meta_integer(&x->metas[k], "general.alignment", GGUF_U32,
                              (uint64_t)gguf_integer(alignment, 0));
    }
}
