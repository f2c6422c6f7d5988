/* SPDX-License-Identifier: MIT */
/* The verb that gives weights other formats: quant. */
#include <stdlib.h>

#include "base/memory.h"
#include "command/breaks.h"
#include "command/quant.h"
#include "quant/mix.h"
#include "session/lookup.h"

/* What N bits per weight stand for. */
static const char *const by_bits[] = { "drop", "tq1_0", "q2_k", "q3_k", "q4_k",
                                       "q5_k", "q6_k",  NULL,   "q8_0" };

struct ask {
    bool orig;
    struct numeric format;
    const struct quant_method *method;
    bool rounds; /* `act` is given */
    struct numeric act;
};

static enum st bits(const struct call *c, struct numeric *out, struct err *e)
{
    int64_t n;
    if (c->n_words < 3)
        return call_fail(c, 3, e, ST_SYNTAX, "how many bits?");
    if (parse_i64(c->words[2].text, 0, 8, &n, e) || !by_bits[n]) {
        call_fail(c, 2, e, ST_RANGE, "bits are 0, 1, 2, 3, 4, 5, 6 or 8");
        return st_hint(e, "8 q8_0, 6 q6_k, 5 q5_k, 4 q4_k, 3 q3_k, 2 q2_k, 1 tq1_0, 0 drop");
    }
    return numeric_parse(str_from(by_bits[n]), out, e);
}

static enum st format(const struct call *c, struct numeric *out, struct err *e)
{
    const struct word *w = &c->words[1];
    if (str_starts(w->text, "act=")) {
        call_fail(c, 1, e, ST_SYNTAX, "a format comes first, or `orig`");
        return st_hint(e, "quant %.*s orig %.*s", (int)c->words[0].text.n, c->words[0].text.p,
                       (int)w->text.n, w->text.p);
    }
    enum st st = breaks_shift(e, numeric_parse(w->text, out, e), w->column);
    const struct mix *mix = st ? mix_find(w->text) : NULL;
    if (mix) {
        call_fail(c, 1, e, st, "%s is a mix: it gives each weight a format of its own", mix->name);
        st_hint(e, "plan stock %s", mix->name);
    }
    return st;
}

/* The format of activations that are not rounded. */
static struct numeric as_they_are(void) { return numeric_storage(format_by_name("f32")); }

/* FORMAT | orig, after act= */
static enum st act(struct str word, struct ask *a, struct err *e)
{
    a->rounds = true;
    a->act = as_they_are();
    return str_is(word, "orig") ? ST_OK : numeric_parse(word, &a->act, e);
}

/* FORMAT | bits N | orig, then method=NAME, act=FORMAT|orig */
static enum st parse(const struct call *c, struct ask *a, struct err *e)
{
    enum st st = ST_OK;
    int at = 2;
    *a = (struct ask){ .method = quant_method_at(0) };
    if (c->n_words < 2) {
        call_fail(c, c->n_words, e, ST_SYNTAX,
                  c->n_words ? "into which format?" : "which weights?");
        return st_hint(e, "quant blk.*.ffn_down.weight q4_k; quant ** bits 4");
    }
    if (str_is(c->words[1].text, "bits")) {
        st = bits(c, &a->format, e);
        at = 3;
    } else if (str_is(c->words[1].text, "orig")) {
        a->orig = true;
        a->format = as_they_are();
    } else
        st = format(c, &a->format, e);
    for (; at < c->n_words && !st; at++) {
        const struct str t = c->words[at].text;
        if (str_starts(t, "act=")) {
            if (a->rounds)
                return call_fail(c, at, e, ST_SYNTAX, "that has been said already");
            st = act(str_of(t.p + 4, t.n - 4), a, e);
            st = breaks_shift(e, st, c->words[at].column + 4);
            continue;
        }
        if (!str_starts(t, "method="))
            return call_fail(c, at, e, ST_SYNTAX, "expected method=NAME or act=FORMAT");
        st = quant_method_find(str_of(t.p + 7, t.n - 7), &a->method, e);
        if (st)
            return st_at(e, c->words[at].column + 7, (int)t.n - 7);
    }
    return st;
}

/* Does the glob name points alone? */
static bool names_points(struct session *s, struct str glob)
{
    struct address *a = x_alloc(sizeof *a);
    struct match *list = NULL;
    size_t n = 0;
    bool points = !quantize_named(s, glob) && !address_parse(glob, a, NULL)
                  && !lookup_names(s, a, &list, &n, NULL);
    for (size_t i = 0; i < n; i++)
        points &= !list[i].weight;
    free(list);
    free(a);
    return points && n;
}

static enum st weights(struct session *s, const struct call *c, const struct ask *a,
                       const char *text, struct result *out, struct err *e)
{
    struct session_model *m;
    const struct weight **w = NULL;
    size_t n;
    enum st st = breaks_shift(e, quantize_glob(s, c->words[0].text, &m, &w, &n, e),
                              c->words[0].column);
    if (st)
        return st;
    struct quant_item *list = x_alloc(n * sizeof *list);
    for (size_t i = 0; i < n; i++)
        list[i] = (struct quant_item){ w[i], a->orig, a->format, NULL };
    const struct quant_rounding act = { .inputs = a->rounds ? &a->act : NULL };
    st = quant_apply(s, m, list, n, a->method, &act, text, out, e);
    free(list);
    free(w);
    return st;
}

/* A pattern that named points alone: perhaps weights were meant. */
static void say_weights(struct session *s, struct str glob, struct result *out)
{
    static const char *const more[] = { "*", ".weight" };
    for (size_t i = 0; i < sizeof more / sizeof *more; i++) {
        struct buf b = { 0 };
        struct session_model *m;
        const struct weight **w = NULL;
        size_t n = 0;
        buf_add(&b, glob.p, glob.n);
        buf_adds(&b, more[i]);
        const bool meant = str_ends(glob, "*")
                           && !quantize_glob(s, str_of(b.p, b.n), &m, &w, &n, NULL);
        if (meant)
            result_note(out, "`quant %s` would be about %zu %s", buf_str(&b), n,
                        text_plural(n, "weight", "weights"));
        free(w);
        buf_free(&b);
        if (meant)
            return;
    }
}

static enum st run_quant(struct session *s, const struct call *c, struct result *out, struct err *e)
{
    struct ask a;
    struct session_model *m;
    struct buf text = { 0 };
    enum st st = session_need_model(s, &m, e);
    if (!st)
        st = parse(c, &a, e);
    if (st)
        return st;
    buf_printf(&text, "quant %.*s", (int)c->rest.n, c->rest.p);
    const struct word *w = &c->words[0];
    if (!names_points(s, w->text))
        st = weights(s, c, &a, buf_str(&text), out, e);
    else if (a.rounds) {
        st = call_fail(c, 2, e, ST_SYNTAX, "these are activations");
        st_hint(e, "quant POINT FORMAT rounds them, quant POINT orig leaves them");
    } else {
        st = breaks_shift(e, quant_points(s, w->text, &a.format, buf_str(&text), out, e),
                          w->column);
        if (!st)
            say_weights(s, w->text, out);
    }
    buf_free(&text);
    return st;
}

static const struct arg_after quant_after[] = {
    { "bits", ARG_NUMBER, "0|1|2|3|4|5|6|7|8" },
    { 0 },
};

const struct verb verbs_quant[] = {
    { .name = "quant",
      .class = "change",
      .args = "GLOB FORMAT|bits N|orig [method=rtn] [act=FORMAT|orig]",
      .brief = "give weights, or activations, another format and see what it costs",
      .help =
          "The weights that GLOB names get FORMAT; what is the name of one as it stands (in quotes "
          "if it has blanks) is that weight; under a pattern those alone that are worth it: "
          "matrices that are neither norms, routers nor tables of positions (`**`: all of these). "
          "Their numbers come from the reference where it has a weight of that name and shape, "
          "else from the file. It is a change like others: `undo` takes it back, a later one of "
          "the same weight wins, evaluations go under it. `orig`: as the file has it. `bits N`: 8 "
          "q8_0, 6 q6_k, 5 q5_k, 4 q4_k, 3 q3_k, 2 q2_k, 1 tq1_0, 0 drop (what the layer gives "
          "out is zero, its bias too).\n"
          "FORMAT = BASE{:OPT}. BASE is a format of files (`info formats`), or one that is "
          "rounded and kept as float32, which no file holds: int1..int8; eNmM, a float of N "
          "exponent and M mantissa bits; nf4; mxfp6 mxfp8; shift2..shift6, signs times powers of "
          "two; binary; ternary; twn; cpx. OPT: gN a scale per N neighbours in a row, bRxC per "
          "block of R rows and C columns, row (the default; of cpx it is tensor, of nf4 g64, of "
          "mxfp6 and mxfp8 g32), tensor, chan (a column); asym, with a zero point; clip=F, the "
          "range times F; s=f32|f16|bf16|e8m0|ue4m3, what scales are rounded to. Of formats of "
          "files nvfp4 alone takes one: nvfp4:tensor has a float "
          "beside each matrix (NAME.scale) that brings its 8-bit scales into their range; "
          "weights that loaders look for none beside (token_embd) become plain nvfp4. Where rows "
          "do not fit the blocks of a file format, the one that llama-quantize would take stands "
          "in, and is said.\n"
          "method: rtn, each block by itself, with the least squared error; in formats of files "
          "weighted by the mean squares of the input channels, where an importance matrix is "
          "resident (`imatrix`) and has the weight.\n"
          "Where GLOB names points, and no weight, these activations are rounded whenever they are "
          "produced (K and V, which are kept, too), and evaluations see it; act=FORMAT does that "
          "to what the layers of these weights read, and stays when the weights change again. The "
          "last format that a point got holds; `orig`: none. A token is a row (tok is row), a "
          "channel a column; tensor and chan go over the tokens that pass together. tensor:static "
          "and chan:static take the ranges that the active run has now, for good.\n"
          "Three stages follow. now: bytes of these weights, file as `export gguf` would write "
          "it (where it refuses: size, with simulated formats packed), "
          "sqnr = 10 log10(sum x^2 / sum (x' - x)^2) over them and of the worst one. local, "
          "on a run, or on the first segment of the evaluation set: layer_sqnr, the same of what "
          "their layers give out for what came in, in mode exact, for 32 tokens at most and until"
          " that has cost enough. measured, with an evaluation set (`data FILE`): kl to the "
          "reference on the half `tune`, before and after; kl_change is their difference paired "
          "by segment; in mode fast with its floor, as in `kl`. At a terminal the "
          "first two are shown while the third narrows; any key "
          "ends it with the segments that are done, and is the first of the next line. ^C ends it"
          " too; the change holds then.",
      .examples = "quant blk.0.ffn_down.weight q4_0\nquant blk.*.*.weight bits 8\n"
                  "quant blk.1.** int3:g32:asym\nundo\nquant ** orig\n"
                  "quant blk.0.attn_k.out int4:g16\nquant blk.1.ffn_*.weight q4_0 act=int8",
      .kinds = { ARG_WEIGHT, ARG_FORMAT, ARG_TEXT },
      .words = "bits|orig|method=rtn|act=",
      .after = quant_after,
      .run = run_quant },
    { 0 },
};
