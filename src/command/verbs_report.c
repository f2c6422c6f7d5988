/* SPDX-License-Identifier: MIT */
/* `report`: several files against one reference, a row of a model card for each. */
#include <math.h>
#include <stdlib.h>

#include "base/memory.h"
#include "command/broken.h"
#include "command/cells.h"
#include "command/command.h"
#include "command/verbs_kl.h"
#include "session/measure.h"
#include "study/floor.h"
#include "study/worst.h"

enum { WORST = 3 };

/* A file, or an open model as its file has it. */
struct entry {
    struct session_model m;
    bool owned; /* opened here */
    bool measured;
    struct divergence d;
    struct worst_token worst[WORST];
    int64_t n_worst;
    struct overlap overlap; /* of the evaluation set with the text that weighed the file */
    struct err problem;     /* why it was not measured */
};

static enum st entry_open(const struct session *s, const struct call *c, int i, struct entry *out,
                          struct err *e)
{
    const struct word *w = &c->words[i];
    const struct session_model *open = w->quoted ? NULL : session_find_model(s, w->text);
    if (open) {
        out->m = *open;
        return session_use_bytes(s, open, e);
    }
    struct weights *weights;
    char *path = x_strndup(w->text.p, w->text.n);
    enum st st = session_open_weights(path, &weights, e);
    if (st) {
        free(path);
        return st_at(e, w->column, w->length);
    }
    *out = (struct entry){ .m = { .path = path, .model = model_new(weights) }, .owned = true };
    return ST_OK;
}

static void entry_close(struct entry *x)
{
    if (!x->owned)
        return;
    model_free(x->m.model);
    free(x->m.path);
}

/* Tokens must mean the same; where a file has no tokenizer, their number is all there is. */
static enum st same_pieces(const struct model *ref, const struct model *m, struct err *e)
{
    const struct tokenizer *a = ref->tokenizer, *b = m->tokenizer;
    if (!a || !b || a == b)
        return ST_OK;
    if (tokenizer_size(a) != tokenizer_size(b))
        return st_fail(e, ST_UNSUPPORTED, "the vocabularies differ: %d tokens, reference %d",
                       (int)tokenizer_size(b), (int)tokenizer_size(a));
    for (int32_t id = 0; id < tokenizer_size(a); id++) {
        const struct str x = tokenizer_piece(b, id), y = tokenizer_piece(a, id);
        if (str_eq(x, y))
            continue;
        struct buf have = { 0 }, want = { 0 };
        buf_visible(&have, x);
        buf_visible(&want, y);
        st_fail(e, ST_UNSUPPORTED,
                "the vocabularies differ: token %d is `%.40s`, in the reference `%.40s`", (int)id,
                buf_str(&have), buf_str(&want));
        buf_free(&have);
        buf_free(&want);
        return ST_UNSUPPORTED;
    }
    return ST_OK;
}

/* The progress of one file as that of all; the first takes twice as long, as the reference runs. */
struct shown {
    struct progress *front;
    double at, share, of;
};

static void show_part(struct progress *p, const char *label, double done, double total)
{
    const struct shown *x = p->data;
    (void)label;
    if (x->front && total > 0)
        progress_tick(x->front, "report", x->at + x->share * done / total, x->of);
}

static enum st measure_entry(struct evaluator *ev, struct entry *x, struct shown *shown,
                             struct err *e)
{
    struct progress inside = { show_part, shown->front ? shown->front->cancel : NULL, shown };
    struct worst w = { .list = x->worst, .most = WORST };
    struct measurement m;
    enum st st = same_pieces(evaluator_of(ev)->ref, x->m.model, e);
    if (!st)
        st = evaluator_set_model(ev, x->m.model, e);
    if (st)
        return st;
    measurement_begin(ev, PART_CHECK, 0, &m);
    m.token = worst_collect;
    m.data = &w;
    st = evaluator_measure(ev, NULL, &m, &inside, e);
    if (!st) {
        measurement_divergence(&m, &x->d);
        x->n_worst = w.n;
        x->measured = true;
    }
    measurement_free(&m);
    return st;
}

static void put_size(struct table *t, const struct weights *w)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < w->n_files; i++)
        bytes += w->files[i]->map.size;
    table_int(t, (int64_t)bytes);
    put_number(t, w->n_params ? 8 * (double)w->n_bytes / (double)w->n_params : NAN);
}

static void put_entry(struct table *t, const struct entry *x, double floor, struct result *out)
{
    table_row(t);
    table_str(t, x->m.path);
    put_size(t, x->m.model->weights);
    if (!x->measured) {
        result_note(out, "%s was not measured: %s", x->m.path, x->problem.msg);
        return;
    }
    put_number(t, exp(x->d.nll));
    put_kl_mean(t, &x->d.kl, floor);
    put_mean(t, &x->d.top1);
    put_number(t, overlap_share(&x->overlap));
    overlap_note(&x->overlap, x->m.path, out);
    if (broken_note(&x->d.broken, x->d.scored, x->m.path, "segment", out))
        out->status = RESULT_FOUND;
    const struct session_run of = { .model = (struct session_model *)&x->m };
    struct buf b = { 0 };
    for (int64_t i = 0; i < x->n_worst && x->worst[i].kl > 0; i++) {
        buf_adds(&b, i ? ", \"" : "\"");
        session_token_text(&of, x->worst[i].next, &b);
        buf_printf(&b, "\" %.2f", x->worst[i].kl);
    }
    table_str(t, b.n ? buf_str(&b) : NULL);
    put_below_floor(t, x->d.kl.value, floor);
    buf_free(&b);
}

/* What the rows are about. */
struct about {
    const struct entry *ref;
    const char *text;
    enum compute mode;
    double floor; /* of mode fast, NaN in others */
};

static void put_reference(const struct about *a, const struct divergence *d, struct result *out)
{
    struct table *t = result_table(out, "reference", TABLE_RECORD);
    TABLE_COLUMNS(t, { COL_STRING, "reference" }, { COL_INT, "bytes", "B" },
                  { COL_FLOAT, "bpw", "bit/weight", 5 }, { COL_FLOAT, "perplexity", "", 5 },
                  { COL_STRING, "compute" }, { COL_FLOAT, "fast_floor", "nat/token", 4 },
                  { COL_STRING, "level" },
                  { COL_STRING, "text" }, { COL_STRING, "part" }, { COL_INT, "scored", "token" },
                  { COL_INT, "segments" });
    table_row(t);
    table_str(t, a->ref->m.path);
    put_size(t, a->ref->m.model->weights);
    put_number(t, exp(d->ref_nll));
    table_str(t, compute_name(a->mode));
    put_number(t, a->floor);
    put_level(t, !isnan(a->floor));
    table_str(t, a->text);
    table_str(t, "check");
    table_int(t, d->scored);
    table_int(t, d->segments);
    if (d->segments < MIN_CLUSTERS)
        result_note(out, "fewer than %d segments: no intervals", MIN_CLUSTERS);
}

/* Rows of the first n. */
static void put_report(const struct about *a, const struct entry *list, int n, struct result *out)
{
    struct table *t = result_table(out, "report", TABLE_ROWS);
    TABLE_COLUMNS(t, { COL_STRING, "file" }, { COL_INT, "bytes", "B" },
                  { COL_FLOAT, "bpw", "bit/weight", 4 }, { COL_FLOAT, "perplexity", "", 5 },
                  { COL_FLOAT, "kl", "nat/token", 4 }, { COL_FLOAT, "kl_low", "nat/token", 4 },
                  { COL_FLOAT, "kl_high", "nat/token", 4 }, { COL_FLOAT, "top1", "", 4 },
                  { COL_FLOAT, "top1_low", "", 4 }, { COL_FLOAT, "top1_high", "", 4 },
                  { COL_FLOAT, "calibration_overlap", "", 4 }, { COL_STRING, "worst" },
                  { COL_BOOL, "below_floor", .quiet = true });
    const struct divergence *any = NULL;
    for (int i = 0; i < n; i++) {
        put_entry(t, &list[i], a->floor, out);
        if (!any && list[i].measured)
            any = &list[i].d;
    }
    if (any)
        put_reference(a, any, out);
}

/* Measure one after the other; what is wrong with a file is said in its row. */
static enum st measure_all(struct session *s, struct evaluator *ev, struct about *a,
                           struct entry *list, int n, struct result *out, struct err *e)
{
    const struct evaluation *what = evaluator_of(ev);
    const struct evaluation_set *set = what->set;
    struct fast_floor floor;
    enum st st = ST_OK;
    if (a->mode == COMPUTE_FAST) {
        st = fast_floor_of(what->ref, &what->options, set->ids, set->segments * set->tokens,
                           s->progress, &floor, e);
        if (st)
            return st;
        a->floor = floor.kl;
    }
    int done = 0, failed = 0;
    struct shown shown = { s->progress, 0, 2, n + 1 };
    for (; done < n; done++) {
        list[done].problem = (struct err)ERR_INIT;
        st = measure_entry(ev, &list[done], &shown, &list[done].problem);
        list[done].overlap = session_overlap(s, &list[done].m, false, &list[done].m, set, a->text);
        if (st == ST_CANCELLED)
            break;
        failed += st != ST_OK;
        shown.at = done + 2;
        shown.share = 1;
    }
    put_report(a, list, done, out);
    if (done > failed)
        measure_looked(s, part_segments(set, PART_CHECK), &a->ref->m, out);
    if (st == ST_CANCELLED) {
        *e = list[done].problem;
        out->status = RESULT_PARTIAL;
        result_note(out, "interrupted: %d of %d files", done, n);
        return st;
    }
    if (failed)
        return st_fail(e, ST_UNSUPPORTED, "%d of %d %s not measured", failed, n,
                       failed == 1 ? "files was" : "files were");
    return ST_OK;
}

/* The reference that the call names, else the session's, else the active model as its file has it;
 * its vocabulary must be that which the set was encoded with. The caller closes it, also on
 * failure. */
static enum st reference_of(struct session *s, const struct call *c, int word, struct entry *out,
                            struct err *e)
{
    struct session_model *active = NULL;
    enum st st = ST_OK;
    if (word) {
        if ((st = entry_open(s, c, word, out, e)))
            return st;
        active = s->models.model;
        if (active && (st = same_pieces(active->model, out->m.model, e)))
            st_at(e, c->words[word].column, c->words[word].length);
        return st;
    }
    if (s->models.trace) {
        st_fail(e, ST_STATE, "the reference is a trace: this takes a model");
        return st_hint(e, "`report FILE... ref REF`");
    }
    if ((st = session_need_model(s, &active, e)))
        return st;
    out->m = s->models.ref ? *s->models.ref : *active;
    return ST_OK;
}

static enum st report(struct session *s, const struct entry *ref, struct entry *list, int n,
                      struct result *out, struct err *e)
{
    const struct evaluation what = { .ref = ref->m.model,
                                     .model = ref->m.model,
                                     .options = session_measure_options(s),
                                     .set = &s->data.set,
                                     .memory = session_measure_memory(),
                                     .once = true };
    struct about about = {
        .ref = ref, .text = s->data.path, .mode = what.options.mode, .floor = NAN
    };
    struct evaluator *ev;
    enum st st = evaluator_new(&what, &ev, e);
    if (st)
        return st;
    st = measure_all(s, ev, &about, list, n, out, e);
    evaluator_free(ev);
    return st;
}

static enum st run_report(struct session *s, const struct call *c, struct result *out,
                          struct err *e)
{
    int n = 0, opened = 0;
    while (n < c->n_words
           && (c->words[n].quoted
               || !(str_is(c->words[n].text, "ref") || str_is(c->words[n].text, "--ref"))))
        n++;
    if (!n)
        return call_fail(c, 0, e, ST_SYNTAX, "which files?");
    if (n < c->n_words && c->n_words != n + 2)
        return call_fail(c, n + 1 < c->n_words ? n + 2 : n + 1, e, ST_SYNTAX,
                         "expected ref REF at the end");
    if (!s->data.set.segments) {
        st_fail(e, ST_STATE, "there is no evaluation set");
        return st_hint(e, "`data FILE` keeps one");
    }
    if (measure_need_check(s, e))
        return ST_STATE;
    struct entry ref = { 0 }, *list = x_alloc((size_t)n * sizeof *list);
    enum st st = reference_of(s, c, n < c->n_words ? n + 1 : 0, &ref, e);
    while (!st && opened < n && !(st = entry_open(s, c, opened, &list[opened], e)))
        opened++;
    if (!st)
        st = report(s, &ref, list, n, out, e);
    for (int i = 0; i < opened; i++)
        entry_close(&list[i]);
    entry_close(&ref);
    free(list);
    return st;
}

const struct verb verbs_report[] = {
    { .name = "report",
      .class = "analyse",
      .args = "FILE... [ref|--ref REF]",
      .brief = "several files against one reference: the table of a model card",
      .help =
          "A row for each FILE (a file, `--demo[=NAME]`, or an open model as its file has it): "
          "bytes "
          "of the file, with all its parts; bpw = 8 bytes of tensors / elements of tensors; "
          "perplexity; kl to the reference and top1 with 95 % intervals (`help kl`); worst: the "
          "three scored tokens with the largest kl, each as the token that follows in the text, "
          "and its kl in nats. "
          "calibration_overlap: the share of the evaluation set that is in the text which the "
          "file's importance matrix was made from (`help kl`). "
          "All on the half `check` of the evaluation set (`data FILE`), in the mode of `set "
          "compute`: what `verify` gives for each. The second table is about the reference, REF, "
          "else that of `ref FILE`, else the active model, as its file has it.\n"
          "The reference runs once, as far as what it says fits into an eighth of the memory (`set "
          "mem-budget`); files are opened at once and measured one after the other. A file that "
          "cannot run, or has other tokens than the reference, has a row without figures, a note "
          "says why, and the command fails at its end; another architecture with the same tokens "
          "will do. In mode fast a kl below fast_floor (that of the reference, `help ppl`) is "
          "shown as <floor. ^C keeps the rows that are done. With `--output md` the tables are "
          "Markdown.",
      .examples = "open --demo=add\ndata add\nquant ** bits 4\nexport gguf "
                  "small.gguf\nundo\nreport small.gguf",
      .kinds = { ARG_FILE },
      .words = "ref",
      .run = run_report },
    { 0 },
};
