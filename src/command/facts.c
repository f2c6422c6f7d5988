/* SPDX-License-Identifier: MIT */
#include "command/facts.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/memory.h"
#include "command/cells.h"
#include "graph/foreign.h"
#include "graph/glob.h"

/* "q4_k 60 %, q6_k 40 %": the formats by bytes, most first. */
static void formats_of(const struct weights *w, struct buf *out)
{
    const int n = format_count();
    uint64_t *bytes = x_alloc((size_t)n * sizeof *bytes);
    uint64_t all = 0;
    for (size_t i = 0; i < w->n; i++)
        if (w->list[i].format >= 0) {
            bytes[w->list[i].format] += w->list[i].bytes;
            all += w->list[i].bytes;
        }
    for (int shown = 0; shown < 4; shown++) {
        int best = 0;
        for (int f = 1; f < n; f++)
            best = bytes[f] > bytes[best] ? f : best;
        if (!bytes[best])
            break;
        buf_printf(out, "%s%s %.0f %%", shown ? ", " : "", format_info((enum format)best)->name,
                   100.0 * (double)bytes[best] / (double)all);
        bytes[best] = 0;
    }
    free(bytes);
}

void facts_model(const struct session_model *m, struct result *out)
{
    const struct weights *w = m->model->weights;
    const struct graph *g = m->model->graph;
    struct buf formats = { 0 };
    formats_of(w, &formats);
    struct str name = weights_string(w, "general.name", "");
    struct table *t = result_table(out, "model", TABLE_RECORD);
    TABLE_COLUMNS(t, { COL_STRING, "label" }, { COL_STRING, "name" }, { COL_STRING, "file" },
                  { COL_STRING, "architecture" }, { COL_INT, "parameters" },
                  { COL_INT, "bytes", "B" }, { COL_FLOAT, "bits_per_weight", "bit" },
                  { COL_STRING, "formats" }, { COL_INT, "tensors" }, { COL_INT, "blocks" },
                  { COL_INT, "width" }, { COL_INT, "heads" }, { COL_INT, "kv_heads" },
                  { COL_INT, "head_size" }, { COL_INT, "context" }, { COL_INT, "vocabulary" });
    table_row(t);
    table_str(t, m->name);
    table_strn(t, name);
    table_str(t, m->path);
    table_strn(t, weights_string(w, "general.architecture", "?"));
    table_int(t, (int64_t)w->n_params);
    table_int(t, (int64_t)w->n_bytes);
    if (w->n_params)
        table_float(t, 8.0 * (double)w->n_bytes / (double)w->n_params);
    else
        table_skip(t);
    table_str(t, buf_str(&formats));
    table_int(t, (int64_t)w->n);
    put_positive(t, g ? g->n_blocks : 0);
    put_positive(t, g ? g->width : 0);
    put_positive(t, g ? g->heads : 0);
    put_positive(t, g ? g->kv_heads : 0);
    put_positive(t, g ? g->head_size : 0);
    put_positive(t, g ? g->context : 0);
    put_positive(t, m->model->tokenizer ? tokenizer_size(m->model->tokenizer) : g ? g->vocab : 0);
    buf_free(&formats);
    if (!g)
        result_note(out, "it cannot run: %s", m->model->no_graph.msg);
    if (!m->model->tokenizer)
        result_note(out, "no tokenizer: %s", m->model->no_tokenizer.msg);
    size_t bad = 0;
    for (size_t i = 0; i < w->n; i++)
        bad += w->list[i].problem != NULL;
    if (bad)
        result_note(out, "%zu %s a problem: `lint` says which", bad,
                    text_plural(bad, "tensor has", "tensors have"));
}

void facts_kv_cell(const struct gguf *g, const struct gguf_kv *kv, struct table *t)
{
    if (!kv) {
        table_skip(t);
        return;
    }
    struct buf b = { 0 };
    gguf_print(g, kv, 4, 60, &b);
    table_str(t, buf_str(&b));
    buf_free(&b);
}

void facts_weight_cell(const struct weight *w, struct table *t)
{
    if (!w) {
        table_skip(t);
        return;
    }
    const struct format_info *f = format_info(w->format);
    struct buf b = { 0 };
    if (f)
        buf_printf(&b, "%s ", f->name);
    else
        buf_printf(&b, "type %" PRIu32 " ", w->type_id);
    if (w->rank > 1)
        buf_printf(&b, "%" PRIu64 "x", w->rows);
    buf_printf(&b, "%" PRIu64, w->cols);
    table_str(t, buf_str(&b));
    buf_free(&b);
}

void facts_kv(const struct session_model *m, struct result *out)
{
    struct table *t = result_table(out, "kv", TABLE_ROWS);
    TABLE_COLUMNS(t, { COL_STRING, "key" }, { COL_STRING, "type" }, { COL_STRING, "value" });
    const struct gguf *g = m->model->weights->files[0];
    for (size_t i = 0; i < g->n_kvs; i++) {
        const struct gguf_kv *kv = &g->kvs[i];
        table_row(t);
        table_strn(t, kv->key);
        if (kv->type == GGUF_ARRAY)
            table_fmt(t, "%s[%" PRIu64 "]", gguf_type_name(kv->elem), kv->n);
        else
            table_str(t, gguf_type_name(kv->type));
        facts_kv_cell(g, kv, t);
    }
}

void facts_tensors(const struct session_model *m, struct str glob, struct result *out)
{
    struct table *t = result_table(out, "tensors", TABLE_ROWS);
    TABLE_COLUMNS(t, { COL_ADDRESS, "tensor" }, { COL_STRING, "format" }, { COL_STRING, "type" },
                  { COL_INT, "rows" }, { COL_INT, "cols" }, { COL_INT, "bytes", "B" },
                  { COL_FLOAT, "bpw", "bit" }, { COL_STRING, "problem" });
    const struct weights *w = m->model->weights;
    for (size_t i = 0; i < w->n; i++) {
        const struct weight *x = &w->list[i];
        const struct format_info *f = format_info(x->format);
        if (glob.n && !glob_match(glob, x->name))
            continue;
        table_row(t);
        table_strn(t, x->name);
        table_str(t, f ? f->name : NULL);
        if (f)
            table_str(t, f->type);
        else
            table_fmt(t, "%" PRIu32, x->type_id);
        table_int(t, (int64_t)x->rows);
        table_int(t, (int64_t)x->cols);
        table_int(t, (int64_t)x->bytes);
        if (x->rows && x->cols)
            table_float(t, 8.0 * (double)x->bytes / ((double)x->rows * (double)x->cols));
        else
            table_skip(t);
        table_str(t, x->problem);
    }
}

static void point_row(const struct graph *g, struct table *t, const char *name, const char *of,
                      const struct shape *s, const char *brief, int value)
{
    struct buf b = { 0 };
    shape_print(s, &b);
    table_row(t);
    table_str(t, name);
    table_str(t, buf_str(&b));
    table_str(t, of ? of : op_info(g->nodes[g->values[value].node].op)->name);
    table_str(t, brief);
    buf_free(&b);
}

void facts_points(const struct session_model *m, struct str glob, struct result *out)
{
    const struct graph *g = m->model->graph;
    struct table *t = result_table(out, "points", TABLE_ROWS);
    TABLE_COLUMNS(t, { COL_ADDRESS, "point" }, { COL_STRING, "axes" }, { COL_STRING, "op" },
                  { COL_STRING, "meaning" });
    for (int v = 0; v < g->n_values; v++) {
        const struct value *x = &g->values[v];
        if (!glob.n || glob_match(glob, str_from(x->name)))
            point_row(g, t, x->name, NULL, &x->shape, x->brief, v);
        for (int a = 0; a < g->n_aliases; a++) {
            struct buf same = { 0 };
            buf_printf(&same, "= %s", x->name);
            if (g->aliases[a].value == v && !g->aliases[a].naming
                && (!glob.n || glob_match(glob, str_from(g->aliases[a].name))))
                point_row(g, t, g->aliases[a].name, buf_str(&same), &g->aliases[a].shape,
                          g->aliases[a].brief, v);
            buf_free(&same);
        }
    }
}

void facts_names(const struct session_model *m, struct str glob, struct result *out)
{
    const struct graph *g = m->model->graph;
    struct table *t = result_table(out, "names", TABLE_ROWS);
    TABLE_COLUMNS(t, { COL_ADDRESS, "name" }, { COL_STRING, "axes" }, { COL_STRING, "of" },
                  { COL_ADDRESS, "point" }, { COL_STRING, "computed" });
    for (int i = 0; i < g->n_aliases; i++) {
        const struct point_alias *a = &g->aliases[i];
        const char *point = g->values[a->value].name;
        if (!a->naming
            || (glob.n && !glob_match(glob, str_from(a->name))
                && !glob_match(glob, str_from(point))))
            continue;
        struct buf axes = { 0 };
        shape_print(&a->shape, &axes);
        table_row(t);
        table_str(t, a->name);
        table_str(t, buf_str(&axes));
        table_str(t, naming_name(a->naming));
        table_str(t, point);
        table_str(t, derivation_brief(a->derive));
        buf_free(&axes);
    }
}

void facts_tokenizer(const struct session_model *m, struct result *out)
{
    const struct tokenizer *k = m->model->tokenizer;
    struct table *t = result_table(out, "tokenizer", TABLE_RECORD);
    TABLE_COLUMNS(t, { COL_STRING, "model" }, { COL_STRING, "pre" }, { COL_INT, "tokens" },
                  { COL_INT, "bos" }, { COL_INT, "eos" }, { COL_INT, "unknown" },
                  { COL_BOOL, "adds_bos" });
    table_row(t);
    table_str(t, tokenizer_model(k));
    table_str(t, tokenizer_pre(k));
    table_int(t, tokenizer_size(k));
    const int32_t ids[] = { tokenizer_bos(k), tokenizer_eos(k), tokenizer_unk(k) };
    for (int i = 0; i < 3; i++)
        put_index(t, ids[i]);
    table_bool(t, tokenizer_adds_bos(k));
}
