/* SPDX-License-Identifier: MIT */
/* Matches: which weights and points of which model an address names. */
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "graph/glob.h"
#include "session/capture.h"
#include "session/lookup.h"
#include "session/reference.h"
#include "session/session.h"

/* Underline what stands in front of the `!`. */
static enum st at_who(const struct address *a, struct err *e)
{
    const int length = (int)(a->model.n + (a->run.n ? a->run.n + 1 : 0));
    return st_at(e, a->column - 1 - length, length);
}

/* Does `ref!` mean the trace that is the reference? */
static bool is_trace(const struct session *s, const struct address *a)
{
    return s->models.trace && !a->run.n && str_is(a->model, "ref")
           && !session_find_model(s, a->model) && !session_find_run(s, a->model);
}

/* The model whose points an address means that are the reference's beside the active run: no run
 * of the reference has been made by itself. NULL: it does not. */
static struct session_model *beside_run(const struct session *s, const struct address *a)
{
    struct session_model *ref = s->models.ref;
    if (is_trace(s, a))
        return s->models.run ? s->models.run->model : s->models.model;
    if (!ref || !a->model.n || a->run.n || session_find_model(s, a->model) != ref
        || session_find_run(s, a->model))
        return NULL;
    for (size_t i = 0; i < s->models.n_runs; i++)
        if (s->models.runs[i]->model == ref)
            return NULL;
    return ref;
}

enum st lookup_who(struct session *s, const struct address *a, struct session_model **m,
                   struct session_run **r, struct err *e)
{
    *r = s->models.run;
    if (!a->model.n && !a->run.n)
        return session_need_model(s, m, e);
    struct str run = a->run.n ? a->run : a->model;
    *m = session_find_model(s, a->model);
    *r = session_find_run(s, run);
    if (a->run.n && (!*m || !*r || (*r)->model != *m)) {
        st_fail(e, ST_NOTFOUND, "no run `%.*s` of a model `%.*s`", (int)run.n, run.p,
                (int)a->model.n, a->model.p);
        st_hint(e, "`info runs` lists them");
        return at_who(a, e);
    }
    if (*r && !*m)
        *m = (*r)->model;
    if (!*m && is_trace(s, a)) {
        st_fail(e, ST_UNSUPPORTED, "the reference is a trace: its points can be read, no more");
        return at_who(a, e);
    }
    if (!*m) {
        st_fail(e, ST_NOTFOUND, "no model or run `%.*s`", (int)a->model.n, a->model.p);
        st_hint(e, "`info models` and `info runs` list them");
        return at_who(a, e);
    }
    if (*r && (*r)->model != *m)
        *r = NULL;
    for (size_t i = 0; !*r && i < s->models.n_runs; i++)
        if (s->models.runs[i]->model == *m)
            *r = s->models.runs[i];
    return session_use_bytes(s, *m, e);
}

struct shape weight_shape(const struct weight *w)
{
    if (w->rank < 2)
        return shape1(dim(AXIS_CHAN, (int64_t)w->cols));
    if (w->rank == 2)
        return shape2(dim(AXIS_ROW, (int64_t)w->rows), dim(AXIS_COL, (int64_t)w->cols));
    const int64_t rows = (int64_t)w->ne[1];
    return shape3(dim(AXIS_EXP, rows ? (int64_t)w->rows / rows : 0), dim(AXIS_ROW, rows),
                  dim(AXIS_COL, (int64_t)w->cols));
}

/* --- names that are not there ------------------------------------------------------------------
 */

static size_t segment_end(struct str s, size_t i)
{
    int depth = 0; /* the dots of {0..3} divide nothing */
    for (; i < s.n && (depth || s.p[i] != '.'); i++)
        depth += (s.p[i] == '{') - (s.p[i] == '}');
    return i;
}

/* The name with each segment that the pattern's segment matches written as in the pattern:
 * blk.0.out for blk.*.ot is blk.*.out, so that what differs is the mistake. */
static char *in_words_of(struct str pattern, struct str name)
{
    struct buf b = { 0 };
    size_t i = 0, k = 0;
    while (k < name.n) {
        const size_t end = segment_end(pattern, i < pattern.n ? i : pattern.n),
                     stop = segment_end(name, k);
        struct str one = str_of(name.p + k, stop - k);
        if (end > i && glob_match(str_of(pattern.p + i, end - i), one))
            one = str_of(pattern.p + i, end - i);
        buf_add(&b, one.p, one.n);
        if (stop < name.n)
            buf_addc(&b, '.');
        i = end + 1;
        k = stop + 1;
    }
    return buf_take(&b);
}

static const char *name_in(const void *list, size_t i) { return ((char *const *)list)[i]; }

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* What `name` may have meant, of n names; a glob's candidates are many and the same. */
static void suggest_name(struct str name, char **list, size_t n, struct buf *out)
{
    size_t kept = n;
    if (glob_is_pattern(name) && n) {
        qsort(list, n, sizeof *list, by_name);
        kept = 1;
        for (size_t i = 1; i < n; i++)
            if (strcmp(list[i], list[kept - 1])) {
                char *one = list[i];
                list[i] = list[kept];
                list[kept++] = one;
            }
    }
    suggest(name, name_in, list, kept, out);
}

/* The number in `blk.N.`, -1 if the name does not begin so. */
static int64_t block_of(struct str name)
{
    int64_t n;
    size_t end = 4;
    while (end < name.n && name.p[end] >= '0' && name.p[end] <= '9')
        end++;
    struct err ignored = ERR_INIT;
    if (!str_starts(name, "blk.")
        || parse_i64(str_of(name.p + 4, end - 4), 0, INT64_MAX, &n, &ignored))
        return -1;
    return n;
}

/* A glob that would match were a `*` not to end at a dot. */
static bool hint_deeper(const struct session_model *m, struct str glob, unsigned of, struct err *e)
{
    const struct weights *w = m->model->weights;
    const struct graph *g = m->model->graph;
    struct buf deeper = { 0 };
    size_t found = 0;
    glob_deeper(glob, &deeper);
    const struct str wide = str_of(buf_str(&deeper), deeper.n);
    for (size_t i = 0; of & NAMES_WEIGHTS && i < w->n; i++)
        found += glob_match(wide, w->list[i].name);
    for (int i = 0; g && of & (NAMES_POINTS | NAMES_FOREIGN) && i < graph_n_points(g); i++) {
        const bool foreign = i >= g->n_values && g->aliases[i - g->n_values].naming;
        found += of & (foreign ? NAMES_FOREIGN : NAMES_POINTS)
                 && glob_match(wide, str_from(graph_point_name(g, i)));
    }
    if (found)
        st_hint(e, "`*` ends at a dot; `%s` matches %zu %s", wide.p, found,
                text_plural(found, "name", "names"));
    buf_free(&deeper);
    return found > 0;
}

enum st lookup_no_name(const struct session_model *m, struct str name, unsigned of, struct err *e)
{
    static const char *const kinds[] = { "", "weight", "point", "weight or point", "foreign name" };
    static const char *const lists[] = { "", "`info tensors` lists", "`info points` lists",
                                         "`info points` and `info tensors` list",
                                         "`info names` lists" };
    const struct weights *w = m->model->weights;
    const struct graph *g = m->model->graph;
    const size_t n_weights = of & NAMES_WEIGHTS ? w->n : 0,
                 n = n_weights + (g && of & ~NAMES_WEIGHTS ? (size_t)graph_n_points(g) : 0);
    const bool glob = glob_is_pattern(name);
    st_fail(e, ST_NOTFOUND, glob ? "no %s matches `%.*s`" : "no %s `%.*s`",
            kinds[of], (int)(name.n > 200 ? 200 : name.n), name.p);
    const struct point_alias *computed = g ? graph_alias(g, name) : NULL;
    if (computed && computed->derive) {
        st_fail(e, ST_NOTFOUND, "%s is computed from %s, it is no point of the run", computed->name,
                g->values[computed->value].name);
        return st_hint(e, "take %s", g->values[computed->value].name);
    }
    if (g && block_of(name) >= g->n_blocks && g->n_blocks)
        return st_hint(e, "the last block is blk.%d", g->n_blocks - 1);
    if (glob && hint_deeper(m, name, of, e))
        return ST_NOTFOUND;
    char **list = x_alloc(n * sizeof *list);
    for (size_t i = 0; i < n; i++) {
        struct str one = i < n_weights ? w->list[i].name
                                       : str_from(graph_point_name(g, (int)(i - n_weights)));
        list[i] = glob ? in_words_of(name, one) : x_strndup(one.p, one.n);
    }
    struct buf b = { 0 };
    suggest_name(name, list, n, &b);
    if (b.n)
        st_hint(e, "%s", buf_str(&b));
    else if (!g && of & NAMES_POINTS)
        st_hint(e, "this model has weights only: %s", m->model->no_graph.msg);
    else
        st_hint(e, "%s the names", lists[of]);
    buf_free(&b);
    for (size_t i = 0; i < n; i++)
        free(list[i]);
    free(list);
    return ST_NOTFOUND;
}

/* --- names that are ----------------------------------------------------------------------------
 */

static void add_match(struct match **list, size_t *n, size_t *cap, struct match m)
{
    x_grow(list, cap, *n + 1, sizeof **list);
    (*list)[(*n)++] = m;
}

static struct match weight_match(const struct weight *w)
{
    return (struct match){ .name = w->name, .weight = w, .value = -1, .shape = weight_shape(w) };
}

/* The i-th point of the graph: a value or an alias. */
static struct match point_match(const struct graph *g, int i)
{
    const struct point_alias *a = i < g->n_values ? NULL : &g->aliases[i - g->n_values];
    return (struct match){ .name = str_from(graph_point_name(g, i)),
                           .value = a ? a->value : i,
                           .derived = a && a->derive ? a : NULL,
                           .shape = a ? a->shape : g->values[i].shape };
}

static bool names_match(struct str wanted, bool glob, const char *name)
{
    return glob ? glob_match(wanted, str_from(name)) : str_is(wanted, name);
}

/* All aliases that the glob matches, of the naming that comes first: ours, else another's. */
static void add_aliases(const struct graph *g, struct str glob, struct match **list, size_t *n,
                        size_t *cap)
{
    const struct point_alias *first = NULL;
    for (int i = 0; i < g->n_aliases; i++)
        if (glob_match(glob, str_from(g->aliases[i].name))
            && (!*n || g->aliases[i].naming == first->naming)) {
            first = *n ? first : &g->aliases[i];
            add_match(list, n, cap, point_match(g, g->n_values + i));
        }
}

static void add_captured(const struct capture *c, struct str wanted, bool glob, struct match **list,
                         size_t *n, size_t *cap)
{
    for (size_t i = 0; c && i < c->n; i++)
        if (names_match(wanted, glob, c->list[i].x->name))
            add_match(list, n, cap,
                      (struct match){ .name = str_from(c->list[i].x->name),
                                      .value = -1,
                                      .captured = &c->list[i],
                                      .shape = c->list[i].shape });
}

enum st match_is_point(const struct session_model *m, const struct match *x, struct err *e)
{
    if (x->captured) {
        if (e)
            *e = m->model->no_graph;
        return m->model->no_graph.st;
    }
    if (!x->derived)
        return ST_OK;
    const char *from = m->model->graph->values[x->value].name;
    st_fail(e, ST_UNSUPPORTED, "%.*s is computed from %s, it is no point of the run",
            (int)x->name.n, x->name.p, from);
    return st_hint(e, "%s: %s", x->name.p, x->derived->brief);
}

/* Of the matches keep the points that the trace has. ST_NOTFOUND says what it has instead. */
static enum st keep_traced(struct session *s, const struct session_model *m, struct match *list,
                           size_t *n, struct err *e)
{
    struct trace_points *t;
    size_t kept = 0;
    enum st st = session_trace(s, m, &t, e);
    for (size_t i = 0; i < *n && !st; i++)
        if (!list[i].derived && t->bound[list[i].value].x)
            list[kept++] = list[i];
    if (st || kept) {
        *n = kept;
        return st;
    }
    for (size_t i = 0; i < *n; i++)
        if (list[i].derived && t->bound[list[i].value].x) {
            const char *from = m->model->graph->values[list[i].value].name;
            st_fail(e, ST_NOTFOUND, "%.*s is computed from %s, which is what is kept of the trace",
                    (int)list[i].name.n, list[i].name.p, from);
            return st_hint(e, "ref!%s", from);
        }
    return trace_points_lack(t, list[0].value, e);
}

/* Weights and points of a model; `trace`: points alone. */
static void add_names(const struct session_model *m, const struct address *a, bool trace,
                      struct match **list, size_t *n)
{
    size_t cap = 0;
    const struct weights *w = m->model->weights;
    const struct graph *g = m->model->graph;
    const bool glob = glob_is_pattern(a->name);
    const struct weight *exact = glob || trace ? NULL : weights_find(w, a->name);
    if (exact)
        add_match(list, n, &cap, weight_match(exact));
    for (size_t i = 0; glob && !trace && i < w->n; i++)
        if (glob_match(a->name, w->list[i].name))
            add_match(list, n, &cap, weight_match(&w->list[i]));
    /* aliases in a glob would show everything twice, unless only they match */
    for (int i = 0; g && !exact && i < graph_n_points(g) && !(glob && *n && i >= g->n_values); i++)
        if (names_match(a->name, glob, graph_point_name(g, i))) {
            if (glob && i >= g->n_values) {
                add_aliases(g, a->name, list, n, &cap);
                break;
            }
            add_match(list, n, &cap, point_match(g, i));
        }
    if (!trace)
        add_captured(m->capture, a->name, glob, list, n, &cap);
}

enum st lookup_names(struct session *s, const struct address *a, struct match **out, size_t *n,
                     struct err *e)
{
    const bool trace = is_trace(s, a);
    struct session_model *m = beside_run(s, a);
    struct session_run *r;
    const bool beside = m != NULL;
    enum st st = m       ? session_use_bytes(s, m, e)
                 : trace ? session_need_model(s, &m, e)
                         : lookup_who(s, a, &m, &r, e);
    if (st)
        return st;
    struct match *list = NULL;
    *n = 0;
    add_names(m, a, trace, &list, n);
    for (size_t i = 0; i < *n; i++)
        list[i].beside = beside && list[i].value >= 0;
    if (trace && *n)
        st = keep_traced(s, m, list, n, e);
    else if (trace && weights_find(m->model->weights, a->name))
        st = st_fail(e, ST_NOTFOUND, "the reference is a trace: it has no weights");
    else if (!*n)
        st = lookup_no_name(m, a->name, trace ? NAMES_POINTS : NAMES_WEIGHTS | NAMES_POINTS, e);
    if (!st) {
        *out = list;
        return ST_OK;
    }
    free(list);
    *n = 0;
    return st_at(e, a->column, a->length);
}
