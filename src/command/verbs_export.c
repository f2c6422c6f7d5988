/* SPDX-License-Identifier: MIT */
/* The verb that writes models to files: export. */
#include <stdlib.h>
#include <sys/stat.h>

#include "base/memory.h"
#include "command/verbs_recipe.h"
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
    if (!x->n_changed)
        result_note(out, "no weight has been changed: the tensors and keys are those of the file");
}

/* `gguf FILE [split SIZE]` */
static enum st export_gguf(struct session *s, const struct call *c, struct result *out,
                           struct err *e)
{
    size_t split = 0;
    if (c->n_words < 2)
        return call_fail(c, 1, e, ST_SYNTAX, "into which file?");
    if (c->n_words > 2 && (!str_is(c->words[2].text, "split") || c->n_words > 4))
        return call_fail(c, 2, e, ST_SYNTAX, "expected split SIZE");
    if (c->n_words == 3)
        return call_fail(c, 3, e, ST_SYNTAX, "split into parts of which size?");
    struct session_model *m;
    enum st st = session_need_model(s, &m, e);
    if (!st && c->n_words == 4) {
        const struct word *w = &c->words[3];
        if (!(st = parse_size(w->text, &split, e)) && !split)
            st = st_fail(e, ST_RANGE, "parts of no size");
        if (st)
            return st_at(e, w->column, w->length);
    }
    if (st)
        return st;
    struct export x;
    struct gguf_exported done;
    struct stat old;
    char *path = x_strndup(c->words[1].text.p, c->words[1].text.n);
    st = export_plan(s, m, path, split, &x, e);
    free(path);
    if (st)
        return st;
    if (!stat(x.parts[0].path, &old) && S_ISREG(old.st_mode))
        st = confirm(s, e, "Replace %s?", x.parts[0].path);
    if (!st)
        st = export_write(&x, s->progress, &done, e);
    if (!st)
        put_export(&x, &done, m, out);
    export_free(&x);
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
      .args = "gguf FILE [split SIZE] | recipe FILE [for llama-quantize|ik|thireus]",
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
          "formats, dropped weights) are refused by name. `split SIZE` (500M, 2G) writes "
          "FILE-00001-of-0000N.gguf, each with at most SIZE bytes of tensors, or one tensor. bytes "
          "is the size of all files, before that of the model's, bpw = 8 bytes of tensors / "
          "elements of tensors. The files lie under FILE.qdb-part while they are written and take "
          "the place of FILE when all have been read back: an old FILE is whole until then. After "
          "^C, a kill or a full disk the same command goes on where it stopped. No graph is "
          "needed. recipe writes the format of every matrix as rules for programs that quantize: "
          "anchored at both ends, no tensor under two of them, tried on all names before the file "
          "is written "
          "(`help recipe`).",
      .examples = "export gguf copy.gguf\ndiff copy.gguf",
      .kinds = { ARG_NONE, ARG_FILE, ARG_TEXT },
      .words = "gguf|recipe|split|for|llama-quantize|ik|thireus",
      .run = run_export },
    { 0 },
};
