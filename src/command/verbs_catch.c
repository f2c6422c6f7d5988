/* SPDX-License-Identifier: MIT */
/* The verbs that look at numbers while a run goes on: catch, watch, dprintf. */
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "command/breaks.h"
#include "kernels/statistics.h"

static enum st run_catch(struct session *s, const struct call *c, struct result *out, struct err *e)
{
    struct session_model *m;
    struct condition *condition;
    struct breakpoint *b;
    const int first = c->n_words && str_is(c->words[0].text, "-all");
    enum st st = session_need_graph(s, &m, e);
    if (st)
        return st;
    if (first >= c->n_words)
        return call_fail(c, first, e, ST_SYNTAX, "expected nan, inf, outlier(K), or a condition");
    st = breaks_compiled(s, c, first, &condition, e);
    if (!st && (st = breakpoint_add(&s->breaks, BREAK_CATCH, NULL, &b, e)))
        condition_free(condition);
    if (st)
        return st;
    b->condition = condition;
    b->opens = first > 0;
    breaks_show(s, b, out);
    return ST_OK;
}

/* STAT(ADDR): cut into its halves; a text without a parenthesis in front of its slice is an
 * address.
 */
static void split_statistic(struct str text, struct str *statistic, struct str *address)
{
    size_t n = 0;
    while (n < text.n && text.p[n] != '(' && text.p[n] != '[' && text.p[n] != '{')
        n++;
    const bool call = n && n < text.n && text.p[n] == '(' && text.p[text.n - 1] == ')';
    *statistic = str_of(text.p, call ? n : 0);
    *address = call ? str_of(text.p + n + 1, text.n - n - 2) : text;
}

/* The name of a statistic of one array; the caller frees *out. */
static enum st statistic_name(struct str name, int column, char **out, struct err *e)
{
    char *own = x_strndup(name.p, name.n);
    const struct statistic *t = statistic_find(own);
    enum st st = ST_OK;
    if (!t || !watch_takes(t)) {
        st = st_fail(e, ST_NOTFOUND, "`%.40s` is no statistic of one array", own);
        st_hint(e, "absmax rms mean sd min max median nan inf entropy; `help print` lists them");
        st_at(e, column, (int)(name.n ? name.n : 1));
    } else
        *out = x_strdup(t->name);
    free(own);
    return st;
}

/* `50%` or `50` at word i: the smallest change that counts. */
static enum st percent_at(const struct call *c, int *i, double *out, struct err *e)
{
    if (*i >= c->n_words || str_is(c->words[*i].text, "if"))
        return ST_OK;
    struct str text = c->words[*i].text;
    text.n -= str_ends(text, "%");
    double x;
    if (parse_f64(text, &x, e) || !(x >= 0))
        return call_fail(c, *i, e, ST_SYNTAX, "expected a relative change such as 10%%");
    *out = x;
    ++*i;
    return ST_OK;
}

/* One element has no statistic: every index of the slice must be a number. */
static bool one_element(const struct breakpoint *b)
{
    bool chan = false;
    for (int i = 0; i < b->address.n_items; i++)
        if (b->address.items[i].kind != INDEX_ONE)
            return false;
        else
            chan |= b->address.items[i].axis != AXIS_TOK;
    return chan;
}

static enum st run_watch(struct session *s, const struct call *c, struct result *out, struct err *e)
{
    if (!c->n_words)
        return call_fail(c, 0, e, ST_SYNTAX, "expected STAT(ADDR), or the address of one element");
    struct str name, text;
    struct breakpoint *b;
    struct condition *condition = NULL;
    char *statistic = NULL;
    double percent = 0;
    int next = 1;
    split_statistic(c->words[0].text, &name, &text);
    const int column = c->words[0].column;
    const char *open = name.n ? NULL : memchr(text.p, '(', text.n);
    if (open) {
        st_fail(e, ST_SYNTAX, "`(` without its `)`");
        return st_at(e, column + (int)(open - text.p), 1);
    }
    enum st st = name.n ? statistic_name(name, column, &statistic, e) : ST_OK;
    if (!st)
        st = percent_at(c, &next, &percent, e);
    if (!st)
        st = breaks_condition(s, c, next, &condition, e);
    if (!st)
        st = breaks_add(s, BREAK_WATCH, text, column + (int)(text.p - c->words[0].text.p), &b, e);
    if (!st && !name.n && !one_element(b)) {
        breaks_undo(s, b);
        call_fail(c, 0, e, ST_SYNTAX, "more than one element: which statistic of them?");
        st = st_hint(e, "watch absmax(%.*s), or one element: [tok=3, chan=17]",
                     (int)(text.n > 80 ? 80 : text.n), text.p);
    }
    if (st) {
        free(statistic);
        condition_free(condition);
        return st;
    }
    b->statistic = statistic;
    b->percent = percent;
    b->condition = condition;
    breaks_show(s, b, out);
    return ST_OK;
}

/* ---- dprintf ---- */

/* The next argument of a list separated by commas, which stand outside quotes and brackets; blanks
 * trimmed. False at the end. */
static bool next_argument(struct str text, size_t *at, struct str *out)
{
    int depth = 0;
    bool quoted = false;
    if (*at > text.n)
        return false;
    size_t i = *at;
    for (; i < text.n; i++) {
        const char ch = text.p[i];
        if (quoted && ch == '\\')
            i++;
        else if (ch == '"')
            quoted = !quoted;
        else if (!quoted && strchr("([{", ch))
            depth++;
        else if (!quoted && strchr(")]}", ch))
            depth--;
        else if (!quoted && ch == ',' && depth <= 0)
            break;
    }
    size_t from = *at, end = i < text.n ? i : text.n;
    *at = i + 1;
    while (from < end && text.p[from] == ' ')
        from++;
    while (end > from && text.p[end - 1] == ' ')
        end--;
    *out = str_of(text.p + from, end - from);
    return true;
}

static char *unquoted(struct str text)
{
    struct buf b = { 0 };
    buf_adds(&b, "");
    for (size_t i = 1; i + 1 < text.n; i++) {
        const char ch = text.p[i];
        if (ch != '\\' || i + 2 >= text.n)
            buf_addc(&b, ch);
        else {
            const char next = text.p[++i];
            buf_addc(&b, next == 'n' ? '\n' : next == 't' ? '\t' : next);
        }
    }
    return b.p ? buf_take(&b) : x_strdup("");
}

/* Without a format: "absmax %g, rms %g". */
static char *plain_format(const struct breakpoint *b)
{
    struct buf text = { 0 };
    for (int i = 0; i < b->n_statistics; i++)
        buf_printf(&text, "%s%s %%g", i ? ", " : "", b->statistics[i]);
    return buf_take(&text);
}

/* The conversions of a quoted format: of numbers alone, one for each statistic. */
static enum st format_conversions(struct str text, int column, int *n, struct err *e)
{
    for (size_t i = 0; i < text.n; i++) {
        const size_t from = i;
        if (text.p[i] != '%')
            continue;
        for (i++; i < text.n && strchr("-+ #0123456789.", text.p[i]);)
            i++;
        if (i < text.n && text.p[i] == '%' && i == from + 1)
            continue;
        if (i == text.n || !strchr("gefdGEF", text.p[i])) {
            st_fail(e, ST_SYNTAX, "a statistic is a number: %%g, %%e, %%f or %%d, and %%%% for %%");
            return st_at(e, column + (int)from, (int)(i - from) + (i < text.n));
        }
        ++*n;
    }
    return ST_OK;
}

static enum st print_arguments(struct breakpoint *b, struct str text, size_t at, int column,
                               struct err *e)
{
    struct str one, format = { 0 };
    int conversions = 0;
    for (bool first = true; next_argument(text, &at, &one); first = false) {
        const int where = column + (int)(one.p - text.p);
        if (first && one.n > 1 && one.p[0] == '"' && one.p[one.n - 1] == '"') {
            enum st st = format_conversions(one, where, &conversions, e);
            if (st)
                return st;
            b->format = unquoted(format = one);
            continue;
        }
        if (b->n_statistics == PRINT_MAX) {
            st_fail(e, ST_RANGE, "at most %d statistics", PRINT_MAX);
            return st_at(e, where, (int)one.n);
        }
        enum st st = statistic_name(one, where, &b->statistics[b->n_statistics], e);
        if (st)
            return st;
        b->n_statistics++;
    }
    if (!b->format && !b->n_statistics) {
        st_fail(e, ST_SYNTAX, "nothing to print");
        return st_hint(e, "dprintf blk.*.out, \"absmax %%g\", absmax");
    }
    if (format.n && conversions != b->n_statistics) {
        st_fail(e, ST_SYNTAX, "%d %s in the format, %d %s after it", conversions,
                text_plural((uint64_t)conversions, "number", "numbers"), b->n_statistics,
                text_plural((uint64_t)b->n_statistics, "statistic", "statistics"));
        return st_at(e, column + (int)(format.p - text.p), (int)format.n);
    }
    if (!b->format)
        b->format = plain_format(b);
    return ST_OK;
}

static enum st run_dprintf(struct session *s, const struct call *c, struct result *out,
                           struct err *e)
{
    struct str address;
    struct breakpoint *b;
    size_t at = 0;
    next_argument(c->rest, &at, &address);
    if (!address.n)
        return call_fail(c, 0, e, ST_SYNTAX, "expected ADDR, \"FORMAT\", STAT, ...");
    enum st st = breaks_add(s, BREAK_PRINT, address, c->rest_column + (int)(address.p - c->rest.p),
                            &b, e);
    if (st)
        return st;
    if ((st = print_arguments(b, c->rest, at, c->rest_column, e))) {
        breaks_undo(s, b);
        return st;
    }
    breaks_show(s, b, out);
    return ST_OK;
}

const struct verb verbs_catch[] = {
    { .name = "catch",
      .class = "break",
      .args = "[-all] COND",
      .brief = "stop at any point where a condition holds",
      .help =
          "Every point of the run is tested once it has been produced. Fused kernels stay closed; "
          "when a catch fires behind one, it is opened and the first point inside where the "
          "condition holds is named; -all opens them from the start. In a batch the exit status "
          "is 3.\n\n"
          "Tests: nan; inf; finite; dead (all zero); outlier(K): abs(x) > K * rms over channels "
          "that are not identically zero, the first token apart, K = 20; sat(SHARE): more than "
          "this share of the values has the largest magnitude, 0.01; sink(P): mean attention on "
          "the first key, 0.8; diverge(TOL): median over tokens of the relative error against the "
          "reference, 0.25.\n\n"
          "Comparisons: STAT < <= == != >= > NUMBER with any statistic (`help print`): absmax > "
          "100. any(ELEM), all(ELEM), count(ELEM) > N, frac(ELEM) > F look at single elements: "
          "any(abs(x) > 20*sigma), or any |x| > 20 sigma, frac(x == 0) > 0.5. Elements know x, "
          "prev (one token earlier), ref (the reference run), sigma mean rms absmax min max of the "
          "slice, + - * /, abs log exp sqrt. All of these combine with and, or, not.",
      .examples = "catch nan\ncatch outlier(20)\ncatch any(abs(x) > 1000) or inf\ninfo breaks\n"
                  "delete",
      .flags = VERB_COMPARES,
      .kinds = { ARG_CONDITION },
      .words = "-all",
      .run = run_catch },
    { .name = "watch",
      .alias = "w",
      .class = "break",
      .args = "STAT(ADDR) [PERCENT%] [if COND]",
      .brief = "stop when a statistic changes from one point to the next",
      .help = "Compares with the point that matches before it: the one before in the same span, or "
              "the last one of the span before. With a percentage, only changes larger than that "
              "share of the value before count. A slice that leaves one element needs no "
              "statistic: watch blk.*.out[tok=0, chan=3] 50%.\n\n"
              "Who wrote this: of one element of one point of the residual stream, the writes are "
              "watched, which are the embedding and every addition up to that point. A movement "
              "forward stops at one that adds more than the percentage of what was there (before "
              "the first there is 0; NaN and infinity always). "
              "reverse-continue goes back to the write that changed it most: the largest of the "
              "additions made to the element before the position (before the percentage; the "
              "first one that is NaN or infinite before all). It shows what the sub-layer added, "
              "the head or neuron whose share of that is the largest, its largest term "
              "activation * factor = product, and the block of the weight that the factor lies "
              "in; `why` goes on from there. Again: the largest before that one.",
      .examples = "watch absmax(blk.*.out) 100%\nwatch blk.*.out[tok=0,chan=3] 50%\ndelete\n"
                  "prompt \" memi nade ditto\"\nwatch blk.1.out[tok=2,chan=3] 80%\nrun\n"
                  "continue\nfinish\nreverse-continue\ndelete",
      .flags = VERB_COMPARES,
      .kinds = { ARG_WATCH, ARG_NONE },
      .after = breaks_after,
      .run = run_watch },
    { .name = "dprintf",
      .class = "break",
      .args = "ADDR, [\"FORMAT\",] STAT...",
      .brief = "note statistics of a point whenever it is produced, without stopping",
      .help = "The format takes one %g, %e, %f or %d for each statistic, with flags, width and "
              "precision. The lines are shown with the next stop, 10000 at most.",
      .examples = "dprintf blk.*.out, \"largest %.3g\", absmax\ndprintf blk.*.out, absmax, rms\n"
                  "delete",
      .flags = VERB_RAW,
      .kinds = { ARG_POINT },
      .run = run_dprintf },
    { 0 },
};
