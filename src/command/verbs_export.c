/* SPDX-License-Identifier: MIT */
/* The verb that writes models to files: export. */
#include <stdlib.h>
#include <sys/stat.h>

#include "base/memory.h"
#include "command/plan_parts.h"
#include "command/quant.h"
#include "command/verbs_recipe.h"
#include "quant/second_scale.h"
#include "session/export.h"

static void put_export(const struct export *x, const struct gguf_exported *done,
                       const struct session_model *m, struct result *out)
{
    struct table *t = result_table(out, "export", TABLE_RECORD);
    TABLE_COLUMNS(t, { COL_STRING, "file" }, { COL_INT, "files" }, { COL_INT, "bytes", "B" },
                  { COL_INT, "before", "B" }, { COL_INT, "tensors" }, { COL_INT, "changed" },
                  { COL_FLOAT, "bpw", "bit/weight", 5 });
    uint64_t before = 0, elements = m->model->weights->n_params, stored = 0;
    for (size_t i = 0; i < m->model->weights->n_files; i++)
        before += m->model->weights->files[i]->map.size;
    for (size_t k = 0; k < x->n_parts; k++)
        for (size_t i = 0; i < x->files[k].n_tensors; i++)
            stored += x->files[k].tensors[i].bytes;
    table_row(t);
    table_str(t, x->parts[0].path);
    table_int(t, (int64_t)x->n_parts);
    table_int(t, (int64_t)done->bytes);
    table_int(t, (int64_t)before);
    table_int(t, (int64_t)done->tensors);
    table_int(t, (int64_t)x->n_changed);
    if (elements)
        table_float(t, 8 * (double)stored / (double)elements);
    if (done->kept)
        result_note(out, "%zu of %zu %s found whole from an earlier attempt", done->kept,
                    done->tensors, text_plural(done->kept, "tensor was", "tensors were"));
    if (x->n_scales)
        result_note(out,
                    "%zu %s beside weights (NAME.scale): not every loader applies them to every "
                    "matrix; compare the perplexity there",
                    x->n_scales, text_plural(x->n_scales, "scale", "scales"));
    if (!x->n_changed)
        result_note(out, "no weight has been changed: the tensors and keys are those of the file");
}

/* What follows the file of `gguf FILE [as MIX|PLAN] [split SIZE]`. */
struct export_words {
    const struct word *as; /* NULL: under the changes */
    size_t split;          /* 0: one file */
};

static enum st export_words(const struct call *c, struct export_words *out, struct err *e)
{
    *out = (struct export_words){ 0 };
    if (c->n_words < 2)
        return call_fail(c, 1, e, ST_SYNTAX, "into which file?");
    for (int i = 2; i < c->n_words; i += 2) {
        const struct word *name = &c->words[i], *value = name + 1;
        const bool as = str_is(name->text, "as");
        if ((!as && !str_is(name->text, "split")) || (as ? out->as != NULL : out->split != 0))
            return call_fail(c, i, e, ST_SYNTAX, "expected as MIX|PLAN or split SIZE");
        if (i + 1 == c->n_words)
            return call_fail(c, i + 1, e, ST_SYNTAX,
                             as ? "as which mix or plan?" : "split into parts of which size?");
        if (as) {
            out->as = value;
            continue;
        }
        enum st st = parse_size(value->text, &out->split, e);
        if (!st && !out->split)
            st = st_fail(e, ST_RANGE, "parts of no size");
        if (st)
            return st_at(e, value->column, value->length);
    }
    return ST_OK;
}

static enum st write_out(struct session *s, const struct session_model *m, struct export *x,
                         struct result *out, struct err *e)
{
    struct gguf_exported done;
    struct stat old;
    enum st st = ST_OK;
    if (!stat(x->parts[0].path, &old) && S_ISREG(old.st_mode))
        st = confirm(s, e, "Replace %s?", x->parts[0].path);
    if (!st)
        st = export_write(s, x, s->progress, &done, e);
    if (!st)
        put_export(x, &done, m, out);
    return st;
}

/* Where the plan gets another format than it asks for, or numbers that have lost already. */
static void say_losses(const struct session *s, const struct plan_items *items, struct result *out)
{
    struct fallbacks fallbacks = { 0 };
    size_t again = 0;
    for (size_t i = 0; i < items->n; i++) {
        const struct quant_item *x = &items->list[i];
        struct numeric f;
        if (x->orig || quant_format(&x->format, x->w, &f, NULL))
            continue;
        fallbacks_count(&fallbacks, x->w, &x->format, &f);
        const struct weight *from = quantize_source(s, x->w);
        const struct format_info *info = format_info(from->format);
        again += info && info->quantized && !(from == x->w && second_scale_stored(from, &f));
    }
    quant_say_fallbacks(&fallbacks, out);
    if (again)
        result_note(out, "%zu %s quantized from what was quantized already: loses twice; "
                    "`ref FILE` gives the original",
                    again, text_plural(again, "weight is", "weights are"));
}

/* Weights of a mix or a plan, encoded as they are written. */
static enum st as_planned(struct session *s, const struct session_model *m, const struct word *w,
                          struct plan_items *items, struct export_as *as, struct buf *text,
                          struct result *out, struct err *e)
{
    enum st st = plan_of_word(s, m, w, items, &as->mix, out, e);
    if (!st && items->n_points) {
        st_fail(e, ST_STATE, "the plan rounds activations, which a file does not hold");
        st = st_at(e, w->column, w->length);
    }
    if (st)
        return st;
    say_losses(s, items, out);
    buf_printf(text, "plan %s %.*s", as->mix ? "stock" : "load", (int)w->text.n, w->text.p);
    as->list = items->list;
    as->n = items->n;
    as->text = buf_str(text);
    return ST_OK;
}

static enum st export_gguf(struct session *s, const struct call *c, struct result *out,
                           struct err *e)
{
    struct export_words words;
    struct session_model *m;
    enum st st = export_words(c, &words, e);
    if (!st)
        st = session_need_model(s, &m, e);
    if (st)
        return st;
    struct plan_items items = { 0 };
    struct export_as as = { 0 };
    struct buf text = { 0 };
    struct export x;
    char *path = x_strndup(c->words[1].text.p, c->words[1].text.n);
    if (words.as)
        st = as_planned(s, m, words.as, &items, &as, &text, out, e);
    if (!st)
        st = export_plan(s, m, words.as ? &as : NULL, path, words.split, &x, e);
    if (!st) {
        st = write_out(s, m, &x, out, e);
        export_free(&x);
    }
    free(path);
    plan_items_free(&items);
    buf_free(&text);
    return st;
}

static const struct kind {
    const char *name;
    enum st (*run)(struct session *s, const struct call *c, struct result *out, struct err *e);
} kinds[] = {
    { "gguf", export_gguf },
    { "recipe", export_recipe },
};

static enum st run_export(struct session *s, const struct call *c, struct result *out,
                          struct err *e)
{
    for (size_t i = 0; c->n_words && i < sizeof kinds / sizeof *kinds; i++)
        if (str_is(c->words[0].text, kinds[i].name))
            return kinds[i].run(s, c, out, e);
    call_fail(c, 0, e, ST_SYNTAX, "expected gguf FILE or recipe FILE");
    return st_hint(e, "`dump ADDR FILE` writes values");
}

const struct verb verbs_export[] = {
    { .name = "export",
      .class = "files",
      .args = "gguf FILE [as MIX|PLAN] [split SIZE] | recipe FILE [for PROGRAM]",
      .brief = "write the active model under its changes to a file, or its formats as a recipe",
      .help =
          "gguf writes every tensor as it is under the changes of weights, and the metadata as it "
          "was, in the same order; without changes the same tensors and keys, bit for bit. Under "
          "changes the keys general.file_type and general.quantization_version are brought up to "
          "date, and qdb.version, qdb.source and qdb.changes say how the file was made; where an "
          "importance matrix weighed the encoders (`imatrix`), quantize.imatrix.file, dataset, "
          "entries_count and chunks_count name it, the last one of several, with qdb.calibration.* "
          "about its text (`help imatrix`), and how much of the evaluation set was in it: shared "
          "of compared sequences. Changes that a file cannot hold (of activations, simulated "
          "formats, dropped weights) are refused by name. `as` leaves the changes aside and writes "
          "what `plan stock MIX` or `plan load PLAN` would make, each weight encoded as it is "
          "written: nothing is held, so the model may be larger than memory. `split SIZE` "
          "(500M, 2G) writes "
          "FILE-00001-of-0000N.gguf, each with at most SIZE bytes of tensors, or one tensor. bytes "
          "is the size of all files, before that of the model's, bpw = 8 bytes of tensors / "
          "elements of tensors. The files lie under FILE.qdb-part while they are written and take "
          "the place of FILE when all have been read back: an old FILE is whole until then. After "
          "^C, a kill or a full disk the same command goes on where it stopped. No graph is "
          "needed. recipe writes the format of every matrix as rules for programs that quantize: "
          "anchored at both ends, no tensor under two of them, tried on all names before the file "
          "is written, for PROGRAM llama-quantize, ik or thireus (`help recipe`), thireus with the "
          "vectors too.",
      .examples = "export gguf copy.gguf\ndiff copy.gguf\nexport gguf small.gguf as Q4_K_M",
      .kinds = { ARG_NONE, ARG_FILE, ARG_TEXT },
      .words = "gguf|recipe|as|split|for|llama-quantize|ik|thireus",
      .run = run_export },
    { 0 },
};
