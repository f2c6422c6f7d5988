/* SPDX-License-Identifier: MIT */
/* Recipes as commands: recipe explain, and what export recipe shares with it. */
#include "command/verbs_recipe.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "command/cells.h"
#include "command/quant.h"
#include "file/recipe.h"
#include "file/save.h"
#include "file/text_file.h"
#include "kernels/encode.h"
#include "quant/mix.h"
#include "quant/second_scale.h"
#include "session/export.h"

/* `for KIND` at word i, the last but one of the call. */
static enum st kind_word(const struct call *c, int i, enum recipe_kind *kind, bool *given,
                         struct err *e)
{
    *given = i < c->n_words;
    if (!*given)
        return ST_OK;
    if (!str_is(c->words[i].text, "for") || c->n_words > i + 2)
        return call_fail(c, i, e, ST_SYNTAX, "expected for llama-quantize, ik or thireus");
    if (i + 1 == c->n_words || !recipe_kind_find(c->words[i + 1].text, kind))
        return call_fail(c, i + 1, e, ST_SYNTAX, "expected llama-quantize, ik or thireus");
    return ST_OK;
}

/* A matrix of numbers: what quantizing programs look for in recipes. Thireus's tools fetch tensor
 * after tensor as the recipe says, vectors too. */
static bool in_recipes(const struct gguf_tensor *t, enum format f, enum recipe_kind kind)
{
    const struct format_info *info = format_info(f);
    if (kind == RECIPE_THIREUS)
        return info != NULL;
    return t->rank >= 2 && t->ne[1] * t->ne[2] * t->ne[3] > 1 && str_ends(t->name, "weight") && info
           && (info->quantized || str_is(str_from(info->name), "f32")
               || str_is(str_from(info->name), "f16") || str_is(str_from(info->name), "bf16"));
}

/* A weight's format of files as it is now: nvfp4:tensor where a scale lies beside it. */
static struct numeric format_now(const struct session *s, const struct session_model *m,
                                 const struct weight *w)
{
    const struct form *f = changes_form(s, m, w);
    return second_scale_format(f ? &f->w : w);
}

static void say_scales(const struct session *s, const struct session_model *m, struct result *out)
{
    const struct weights *all = m->model->weights;
    size_t n = 0;
    for (size_t i = 0; i < all->n; i++) {
        const struct numeric now = format_now(s, m, &all->list[i]);
        n += numeric_second_scale(&now);
    }
    if (n)
        result_note(out,
                    "%zu %s nvfp4:tensor: recipes have no word for the scales beside weights, and "
                    "make it plain nvfp4",
                    n, text_plural(n, "weight is", "weights are"));
}

/* ---- export recipe ---- */

/* What stands in front of a recipe that may hold comments: the tensors of each format. */
static void put_comments(const struct session_model *m, const struct recipe_tensor *list, size_t n,
                         const struct gguf_tensor *tensors, size_t n_tensors, struct buf *out)
{
    uint64_t bytes = 0, elements = 0;
    for (size_t i = 0; i < n_tensors; i++) {
        bytes += tensors[i].bytes;
        elements += tensors[i].ne[0] * tensors[i].ne[1] * tensors[i].ne[2] * tensors[i].ne[3];
    }
    const struct str name = str_base(str_from(m->path));
    buf_printf(out, "# %.*s: %.4f bits per weight, %llu bytes of tensors\n", (int)name.n, name.p,
               elements ? 8 * (double)bytes / (double)elements : 0, (unsigned long long)bytes);
    for (int f = 0; f < format_count(); f++) {
        size_t count = 0;
        for (size_t i = 0; i < n; i++)
            count += (int)list[i].format == f;
        if (count)
            buf_printf(out, "# %-8s %zu\n", format_info((enum format)f)->name, count);
    }
}

static const char *const usage[RECIPE__COUNT] = {
    [RECIPE_QUANTIZE] = "llama-quantize --tensor-type-file %s IN.gguf OUT.gguf Q8_0",
    [RECIPE_IK] = "llama-quantize --custom-q \"$(cat %s)\" IN.gguf OUT.gguf Q8_0",
    [RECIPE_THIREUS] = "quant_downloader.sh %s fetches it (the name must end in .recipe)",
};

static enum st write_recipe(const struct session_model *m, const struct export *x,
                            enum recipe_kind kind, const char *path, struct result *out,
                            struct err *e)
{
    const size_t n_all = x->n_tensors;
    struct recipe_tensor *list = x_alloc((n_all + 1) * sizeof *list);
    struct str *others = x_alloc((n_all + 1) * sizeof *others);
    size_t n = 0, n_others = 0, rules = 1;
    for (size_t i = 0; i < n_all; i++) {
        const struct gguf_tensor *t = &x->tensors[i];
        const enum format f = format_by_id(t->type_id);
        if (in_recipes(t, f, kind))
            list[n++] = (struct recipe_tensor){ t->name, f };
        else
            others[n_others++] = t->name;
    }
    struct buf text = { 0 };
    if (kind == RECIPE_THIREUS)
        put_comments(m, list, n, x->tensors, n_all, &text);
    const size_t head = text.n;
    enum st st = recipe_make(list, n, others, n_others, kind, &text, e);
    for (size_t i = head; i + 1 < text.n; i++)
        rules += text.p[i] == (kind == RECIPE_IK ? ',' : '\n');
    if (!st)
        st = save_bytes(path, text.p, text.n, e);
    if (!st) {
        struct table *t = result_table(out, "recipe", TABLE_RECORD);
        TABLE_COLUMNS(t, { COL_STRING, "file" }, { COL_STRING, "for" }, { COL_INT, "rules" },
                      { COL_INT, "tensors" });
        table_row(t);
        table_str(t, path);
        table_str(t, recipe_kind_name(kind));
        table_int(t, (int64_t)rules);
        table_int(t, (int64_t)n);
        struct buf how = { 0 };
        for (const char *p = usage[kind]; *p; p++)
            if (p[0] == '%' && p[1] == 's') {
                buf_adds(&how, path);
                p++;
            } else
                buf_addc(&how, *p);
        result_note(out, "%s", buf_str(&how));
        buf_free(&how);
    }
    buf_free(&text);
    free(others);
    free(list);
    return st;
}

enum st export_recipe(struct session *s, const struct call *c, struct result *out, struct err *e)
{
    struct session_model *m;
    enum recipe_kind kind = RECIPE_QUANTIZE;
    bool given;
    struct export x;
    if (c->n_words < 2)
        return call_fail(c, 1, e, ST_SYNTAX, "into which file?");
    enum st st = kind_word(c, 2, &kind, &given, e);
    if (!st)
        st = session_need_model(s, &m, e);
    if (!st)
        st = export_plan(s, m, NULL, "", 0, &x, e);
    if (st)
        return st;
    char *path = x_strndup(c->words[1].text.p, c->words[1].text.n);
    st = write_recipe(m, &x, kind, path, out, e);
    if (!st)
        say_scales(s, m, out);
    free(path);
    export_free(&x);
    return st;
}

static enum st recipe_word(const struct call *c, int i, struct recipe **out, struct err *e)
{
    enum recipe_kind kind;
    bool given;
    struct buf text = { 0 };
    if (i >= c->n_words)
        return call_fail(c, i, e, ST_SYNTAX, "which file?");
    enum st st = kind_word(c, i + 1, &kind, &given, e);
    if (st)
        return st;
    char *path = x_strndup(c->words[i].text.p, c->words[i].text.n);
    st = text_file_read(path, RECIPE_MAX, &text, e);
    if (!st)
        st = recipe_parse(str_of(buf_str(&text), text.n), path, given ? &kind : NULL, out, e);
    free(path);
    buf_free(&text);
    return st ? st_at(e, c->words[i].column, c->words[i].length) : ST_OK;
}

/* ---- recipe explain ---- */

/* What the rules do to the weights of a model. */
struct explained {
    const struct recipe *r;
    const struct weights *w;
    int64_t *rule_of;          /* [weights] the first that matches, -1 none */
    size_t *matches, *decides; /* [rules]; nothing decides about what no program touches */
    uint8_t *overlaps;         /* [rules][rules]: i and k match one name */
};

/* Does weight i get the format of rule k when that holds for it? Norms, vectors and the like stay
 * as they are; a rule may say so. */
static bool heeds(const struct explained *x, size_t i, size_t k)
{
    return mix_allows(&x->w->list[i]) || x->r->list[k].format == x->w->list[i].format;
}

static enum st explain(struct explained *x, struct progress *p, struct err *e)
{
    const size_t n = x->r->n;
    size_t *hits = x_alloc((n + 1) * sizeof *hits);
    enum st st = ST_OK;
    for (size_t i = 0; i < x->w->n && !st; i++) {
        size_t n_hits = 0;
        for (size_t k = 0; k < n && !st; k++) {
            bool hit = false;
            st = recipe_matches(x->r, k, x->w->list[i].name, &hit, e);
            if (hit)
                hits[n_hits++] = k;
        }
        x->rule_of[i] = n_hits ? (int64_t)hits[0] : -1;
        for (size_t a = 0; a < n_hits; a++) {
            x->matches[hits[a]]++;
            x->decides[hits[a]] += !a && heeds(x, i, hits[a]);
            for (size_t b = 0; x->overlaps && b < n_hits; b++)
                x->overlaps[hits[a] * n + hits[b]] = 1;
        }
        if (!st && !progress_tick(p, "recipe", (double)i, (double)x->w->n))
            st = st_fail(e, ST_CANCELLED, "interrupted");
    }
    free(hits);
    return st;
}

/* Is the rule the first one that matches some tensor? */
static bool is_first(const struct explained *x, size_t i)
{
    for (size_t k = 0; k < x->w->n; k++)
        if (x->rule_of[k] == (int64_t)i)
            return true;
    return false;
}

static void remark(const struct explained *x, size_t i, struct buf *out)
{
    const size_t n = x->r->n;
    int named = 0;
    if (!x->matches[i])
        buf_adds(out, "dead: matches no tensor");
    else if (!x->decides[i])
        buf_printf(out, "dead: %s",
                   is_first(x, i) ? "what it matches stays as it is"
                                  : "earlier rules decide all it matches");
    for (size_t k = 0; x->overlaps && k < n; k++)
        if (k != i && x->overlaps[i * n + k])
            buf_printf(out, named++ ? " %zu" : out->n ? "; overlaps %zu" : "overlaps %zu", k + 1);
}

static void put_rules(const struct explained *x, struct result *out)
{
    struct table *t = result_table(out, "rules", TABLE_ROWS);
    size_t dead = 0;
    TABLE_COLUMNS(t, { COL_INT, "rule" }, { COL_INT, "line" }, { COL_STRING, "pattern" },
                  { COL_STRING, "format" }, { COL_INT, "matches" }, { COL_INT, "decides" },
                  { COL_STRING, "remark" });
    for (size_t i = 0; i < x->r->n; i++) {
        struct buf b = { 0 };
        remark(x, i, &b);
        table_row(t);
        table_int(t, (int64_t)i + 1);
        table_int(t, x->r->list[i].line);
        table_str(t, x->r->list[i].pattern);
        table_str(t, format_info(x->r->list[i].format)->name);
        table_int(t, (int64_t)x->matches[i]);
        table_int(t, (int64_t)x->decides[i]);
        table_str(t, b.n ? buf_str(&b) : NULL);
        dead += !x->decides[i];
        buf_free(&b);
    }
    if (dead)
        result_note(out, "%zu of %zu rules decide nothing", dead, x->r->n);
}

static void put_tensors(const struct session *s, const struct session_model *m,
                        const struct explained *x, struct result *out)
{
    struct table *t = result_table(out, "tensors", TABLE_ROWS);
    size_t without = 0, left = 0;
    TABLE_COLUMNS(t, { COL_ADDRESS, "tensor" }, { COL_INT, "rule" }, { COL_STRING, "format" },
                  { COL_STRING, "stored" }, { COL_STRING, "now" });
    for (size_t i = 0; i < x->w->n; i++) {
        const struct weight *w = &x->w->list[i];
        const struct numeric now = format_now(s, m, w);
        struct buf text = { 0 };
        if (x->rule_of[i] < 0 && (w->rank < 2 || w->rows < 2))
            continue;
        table_row(t);
        table_strn(t, w->name);
        without += x->rule_of[i] < 0;
        if (x->rule_of[i] < 0)
            put_absent(t, 3);
        else {
            const enum format to = x->r->list[x->rule_of[i]].format;
            const bool done = heeds(x, i, (size_t)x->rule_of[i]);
            const struct format_info *stored = format_info(done ? encode_fallback(to, w->cols)
                                                                : w->format);
            left += !done;
            table_int(t, x->rule_of[i] + 1);
            table_str(t, format_info(to)->name);
            table_str(t, stored ? stored->name : NULL);
        }
        if (format_info(now.storage))
            numeric_print(&now, &text);
        table_str(t, text.n ? buf_str(&text) : NULL);
        buf_free(&text);
    }
    if (left)
        result_note(out,
                    "%zu %s as the file has %s, whatever rules say: norms, vectors and others that "
                    "no program quantizes",
                    left, text_plural(left, "tensor stays", "tensors stay"),
                    text_plural(left, "it", "them"));
    if (without)
        result_note(out, "%zu %s no rule: the mix that the program is given decides", without,
                    text_plural(without, "matrix has", "matrices have"));
}

static enum st run_recipe(struct session *s, const struct call *c, struct result *out,
                          struct err *e)
{
    struct session_model *m;
    struct recipe *r;
    enum { MOST_OVERLAPS = 4096 };
    if (!c->n_words || !str_is(c->words[0].text, "explain")) {
        call_fail(c, 0, e, ST_SYNTAX, "expected explain FILE");
        return st_hint(e, "`export recipe FILE` writes one");
    }
    enum st st = session_need_model(s, &m, e);
    if (!st)
        st = recipe_word(c, 1, &r, e);
    if (st)
        return st;
    struct explained x = { .r = r, .w = m->model->weights };
    x.rule_of = x_alloc((x.w->n + 1) * sizeof *x.rule_of);
    x.matches = x_alloc(r->n * sizeof *x.matches);
    x.decides = x_alloc(r->n * sizeof *x.decides);
    x.overlaps = r->n <= MOST_OVERLAPS ? x_alloc(r->n * r->n) : NULL;
    st = explain(&x, s->progress, e);
    if (!st) {
        result_note(out, "read as %s does: of several rules that match the first one holds%s",
                    recipe_kind_name(r->kind),
                    r->kind == RECIPE_QUANTIZE ? "; patterns in lower case" : "");
        put_rules(&x, out);
        put_tensors(s, m, &x, out);
        say_scales(s, m, out);
    }
    free(x.overlaps);
    free(x.decides);
    free(x.matches);
    free(x.rule_of);
    recipe_free(r);
    return st;
}

/* ---- import recipe ---- */

/* What the recipe makes of the weights of the model; *n of them, the rest has that format, or no
 * rule. */
static enum st import_items(const struct session *s, const struct session_model *m,
                            const struct recipe *r, struct quant_item *list, size_t *n,
                            size_t *same, size_t *without, struct err *e)
{
    const struct weights *all = m->model->weights;
    *n = *same = *without = 0;
    for (size_t i = 0; i < all->n; i++) {
        const struct weight *w = &all->list[i];
        const struct form *f = changes_form(s, m, w);
        int64_t rule;
        enum st st = recipe_rule_of(r, w->name, &rule, e);
        if (st)
            return st;
        if (!mix_allows(w))
            continue;
        if (rule < 0) {
            ++*without;
            continue;
        }
        const enum format to = encode_fallback(r->list[rule].format, w->cols);
        if (f ? to == f->w.format && !f->simulates[0] : to == w->format)
            ++*same;
        else
            list[(*n)++] = (struct quant_item){ w, to == w->format,
                                                numeric_storage(r->list[rule].format), NULL };
    }
    return ST_OK;
}

static enum st run_import(struct session *s, const struct call *c, struct result *out,
                          struct err *e)
{
    struct session_model *m;
    struct recipe *r;
    const struct quant_method *method;
    size_t n, same, without;
    if (!c->n_words || !str_is(c->words[0].text, "recipe"))
        return call_fail(c, 0, e, ST_SYNTAX, "expected recipe FILE");
    enum st st = session_need_model(s, &m, e);
    if (!st)
        st = recipe_word(c, 1, &r, e);
    if (st)
        return st;
    struct quant_item *list = x_alloc((m->model->weights->n + 1) * sizeof *list);
    st = import_items(s, m, r, list, &n, &same, &without, e);
    if (!st)
        st = quant_method_find(STR("rtn"), &method, e);
    struct buf text = { 0 };
    buf_printf(&text, "import %.*s", (int)c->rest.n, c->rest.p);
    if (!st && n)
        st = quant_apply(s, m, list, n, method, NULL, buf_str(&text), out, e);
    if (!st && !n && !same)
        st = st_fail(e, ST_NOTFOUND, "no rule is about a weight of this model");
    if (!st && !n)
        result_note(out, "every weight has its format already");
    if (!st && without)
        result_note(out, "%zu %s as the rules do not name %s", without,
                    text_plural(without, "matrix stays", "matrices stay"),
                    text_plural(without, "it", "them"));
    buf_free(&text);
    free(list);
    recipe_free(r);
    return st;
}

const struct verb verbs_recipe[] = {
    { .name = "import",
      .class = "change",
      .args = "recipe FILE [for llama-quantize|ik|thireus]",
      .brief = "give weights the formats that a recipe says, as one change",
      .help = "As `quant` for every matrix that a rule is about (`help recipe`), rounded to "
              "nearest: of several rules that match the first one holds, and formats whose blocks "
              "do not fit the rows fall back as in llama-quantize. Weights without a rule stay as "
              "they are. `undo` takes all of it back.",
      .examples = "quant ** q8_0\nexport recipe my.recipe\nundo\nimport recipe my.recipe",
      .kinds = { ARG_NONE, ARG_FILE, ARG_TEXT },
      .words = "recipe|for|llama-quantize|ik|thireus",
      .run = run_import },
    { .name = "recipe",
      .class = "files",
      .args = "explain FILE [for llama-quantize|ik|thireus]",
      .brief = "which rule of a recipe decides about each tensor of the active model",
      .help = "A recipe gives tensors formats by rules PATTERN=TYPE: words or lines for "
              "llama-quantize --tensor-type-file (which reads patterns in lower case), parted by "
              "commas for --custom-q of ik_llama.cpp, lines with # comments for Thireus's tools; "
              "without `for` it is what it looks like. A pattern is a regular expression searched "
              "for in the tensor's name, and the first rule that matches holds. For each rule: "
              "how many tensors it matches, how many of them get its format (an earlier rule may "
              "hold, and programs leave norms, vectors and some small matrices as they are), and "
              "with which rules it overlaps; for each matrix, and whatever a rule matches: its "
              "rule, the rule's format, the format it is stored in (another one when blocks do not "
              "fit its rows, its own when it is left), and what it has now. A type that the "
              "program does not have is an error. `export recipe` writes recipes.",
      .examples = "export recipe my.recipe\nrecipe explain my.recipe",
      .kinds = { ARG_NONE, ARG_FILE, ARG_TEXT },
      .words = "explain|for|llama-quantize|ik|thireus",
      .run = run_recipe },
    { 0 },
};
