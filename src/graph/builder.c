/* SPDX-License-Identifier: MIT */
#include "graph/builder.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "graph/foreign.h"

enum { NAME_MAX_LENGTH = 160 };

enum st b_fail(struct builder *b, const char *fmt, ...)
{
    if (b->st)
        return b->st;
    va_list ap;
    va_start(ap, fmt);
    char msg[256];
    vsnprintf(msg, sizeof msg, fmt, ap);
    va_end(ap);
    st_fail(b->e, ST_FORMAT, "%s", msg);
    if (b->w->path)
        st_where(b->e, "%s", b->w->path);
    return b->st = ST_FORMAT;
}

void builder_begin(struct builder *b, const struct weights *w, const char *arch, struct err *e)
{
    struct graph *g = x_alloc(sizeof *g);
    *b = (struct builder){ .g = g, .w = w, .e = e, .block = -1, .sub = "embd" };
    g->arch = x_strdup(arch);
    b_scope(b, g->arch, "");
    g->embedding = g->hidden = g->logits = -1;
    g->causal = true;
}

void b_scope(struct builder *b, const char *keys, const char *names)
{
    b->keys = keys;
    b->names = names;
}

static void key_of(struct builder *b, const char *name, char out[NAME_MAX_LENGTH])
{
    snprintf(out, NAME_MAX_LENGTH, "%s.%s", b->keys, name);
}

static bool is_number(enum gguf_type t) { return t != GGUF_STRING && t != GGUF_ARRAY; }

/* The i-th number of a key, or false with the sticky error unless `optional` and absent. */
static bool number(struct builder *b, const char *name, int i, bool optional, double *out)
{
    char key[NAME_MAX_LENGTH];
    key_of(b, name, key);
    const struct gguf_kv *kv = b->st ? NULL : weights_kv(b->w, key);
    if (!kv) {
        if (!optional)
            b_fail(b, "the key %s is missing", key);
        return false;
    }
    bool array = kv->type == GGUF_ARRAY;
    if (!is_number(array ? kv->elem : kv->type) || (array && (uint64_t)i >= kv->n)) {
        b_fail(b, "the key %s holds no number for block %d", key, i);
        return false;
    }
    *out = gguf_number(kv, array ? (uint64_t)i : 0);
    return true;
}

static int64_t whole(struct builder *b, const char *name, int i, int64_t lo, int64_t hi,
                     bool optional, int64_t otherwise)
{
    double v;
    if (!number(b, name, i, optional, &v))
        return otherwise;
    if (!(v >= (double)lo && v <= (double)hi) || v != floor(v)) {
        b_fail(b, "%s.%s is %g, expected a whole number in %" PRId64 "..%" PRId64, b->keys, name, v,
               lo, hi);
        return otherwise;
    }
    return (int64_t)v;
}

int64_t b_int(struct builder *b, const char *name, int64_t lo, int64_t hi)
{
    return whole(b, name, 0, lo, hi, false, lo);
}

int64_t b_int_or(struct builder *b, const char *name, int64_t lo, int64_t hi, int64_t otherwise)
{
    return whole(b, name, 0, lo, hi, true, otherwise);
}

int64_t b_int_of(struct builder *b, const char *name, int i, int64_t lo, int64_t hi)
{
    return whole(b, name, i, lo, hi, false, lo);
}

static double real(struct builder *b, const char *name, double lo, double hi, bool optional,
                   double otherwise)
{
    double v;
    if (!number(b, name, 0, optional, &v))
        return otherwise;
    if (!(v >= lo && v <= hi)) {
        b_fail(b, "%s.%s is %g, expected a number in %g..%g", b->keys, name, v, lo, hi);
        return otherwise;
    }
    return v;
}

double b_float_or(struct builder *b, const char *name, double lo, double hi, double otherwise)
{
    return real(b, name, lo, hi, true, otherwise);
}

bool b_bool_or(struct builder *b, const char *name, bool otherwise)
{
    double v;
    return number(b, name, 0, true, &v) ? v != 0 : otherwise;
}

struct str b_string_or(struct builder *b, const char *name, const char *otherwise)
{
    char key[NAME_MAX_LENGTH];
    key_of(b, name, key);
    return weights_string(b->w, key, otherwise);
}

/* "blk.3." + name + tail, or without the block outside the blocks. */
static void full_name(const struct builder *b, const char *name, const char *tail,
                      char out[NAME_MAX_LENGTH])
{
    if (b->block >= 0)
        snprintf(out, NAME_MAX_LENGTH, "%sblk.%d.%s%s", b->names, b->block, name, tail);
    else
        snprintf(out, NAME_MAX_LENGTH, "%s%s%s", b->names, name, tail);
}

const struct weight *b_optional(struct builder *b, const char *name, const char *tail)
{
    char full[NAME_MAX_LENGTH];
    full_name(b, name, tail, full);
    return weights_find(b->w, str_from(full));
}

bool b_has(struct builder *b, const char *weight) { return b_optional(b, weight, "") != NULL; }

/* NAME.scale beside NAME.weight that is not one float32 for each matrix: what is it? */
static void refuse_scale(struct builder *b, const char *name)
{
    const struct weight *s = b_optional(b, name, ".scale");
    bool ones = s && s->format == format_by_name("f32") && !weight_check(s, NULL);
    if (s && s->beside)
        return;
    for (uint64_t i = 0; ones && i < s->rows * s->cols; i++) {
        float factor;
        memcpy(&factor, s->data + i * sizeof factor, sizeof factor);
        ones = factor == 1;
    }
    if (s && !ones && !b->st) {
        b->st =
            st_fail(b->e, ST_UNSUPPORTED, "%.*s is not a float32 for each matrix beside it",
                    (int)s->name.n, s->name.p);
        st_hint(b->e, "the file can be looked at, planned and exported, not run");
    }
}

const struct weight *b_weight(struct builder *b, const char *name, const char *tail)
{
    const struct weight *w = b->st ? NULL : b_optional(b, name, tail);
    if (!w && !b->st) {
        char full[NAME_MAX_LENGTH];
        full_name(b, name, tail, full);
        b_fail(b, "the tensor %s is missing", full);
    } else if (w && !w->data)
        b_fail(b, "the tensor %.*s cannot be read: %s", (int)w->name.n, w->name.p,
               w->problem ? w->problem : "no data");
    else if (w && !(format_info(w->format) && format_info(w->format)->decode))
        b_fail(b, "the tensor %.*s has a format that cannot be decoded here (%s)", (int)w->name.n,
               w->name.p, format_info(w->format) ? format_info(w->format)->type : "unknown type");
    if (w && !strcmp(tail, ".weight"))
        refuse_scale(b, name);
    return b->st ? NULL : w;
}

const float *b_vector(struct builder *b, const struct weight *w)
{
    struct graph *g = b->g;
    size_t bytes;
    void *v;
    if (!w || b->st || (b->st = weight_check(w, b->e)))
        return NULL;
    if (!mul_ok((size_t)(w->rows * w->cols), sizeof(float), &bytes)) {
        b_fail(b, "%.*s is too large", (int)w->name.n, w->name.p);
        return NULL;
    }
    if ((b->st = mem_alloc(&v, bytes, "a gain or bias", b->e)))
        return NULL;
    x_grow(&g->decoded, &g->cap_decoded, g->n_decoded + 1, sizeof *g->decoded);
    g->decoded[g->n_decoded++] = v;
    b->st = weight_decode(w, 0, w->rows, v, b->e);
    return v;
}

/* Append node n; its output value is named like the node. Returns the value, -1 after an error. */
static int append(struct builder *b, struct node n, const char *brief)
{
    struct graph *g = b->g;
    if (b->st)
        return -1;
    const struct op_info *op = op_info(n.op);
    struct shape in[NODE_MAX_IN] = { 0 }, out;
    for (int i = 0; i < n.n_in; i++)
        in[i] = g->values[n.in[i]].shape;
    b->st = op->shape(&n, in, &out, b->e);
    for (int i = 0; i < op->weights; i++)
        if (n.w[i] && !(i == 0 && op->matrix))
            n.v[i] = b_vector(b, n.w[i]);
    if (b->st) {
        if (b->w->path && b->e && !b->e->where[0])
            st_where(b->e, "%s", b->w->path);
        return -1;
    }
    x_grow(&g->nodes, &g->cap_nodes, (size_t)g->n_nodes + 1, sizeof *g->nodes);
    x_grow(&g->values, &g->cap_values, (size_t)g->n_values + 1, sizeof *g->values);
    n.name = x_strdup(n.name);
    n.block = b->block;
    n.sub = b->sub;
    n.out = g->n_values;
    for (int i = 0; i < n.n_in; i++)
        g->values[n.in[i]].last_use = g->n_nodes;
    g->values[g->n_values] = (struct value){ x_strdup(n.name), brief, out, g->n_nodes, g->n_nodes };
    g->nodes[g->n_nodes++] = n;
    return g->n_values++;
}

int b_node(struct builder *b, enum op op, const char *name, const char *tail, struct node n,
           const char *brief)
{
    char full[NAME_MAX_LENGTH];
    full_name(b, name, tail, full);
    n.op = op;
    n.name = full;
    n.n_in = op_info(op)->inputs;
    return append(b, n, brief);
}

void b_block(struct builder *b, int n, int input)
{
    struct graph *g = b->g;
    if (b->st)
        return;
    x_grow(&g->blocks, &g->cap_blocks, (size_t)n + 1, sizeof *g->blocks);
    g->blocks[n] = (struct block){
        .first = g->n_nodes, .end = g->n_nodes, .input = input, .output = input
    };
    g->n_blocks = n + 1;
    b->block = n;
    if (n == 0)
        g->embedding = input;
    b_alias(b, input, "in", "residual stream that enters the block");
}

void b_sub(struct builder *b, const char *sub) { b->sub = sub; }

void b_block_end(struct builder *b, int output)
{
    if (!b->st) {
        b->g->blocks[b->block].end = b->g->n_nodes;
        b->g->blocks[b->block].output = output;
    }
    b->block = -1;
    b->sub = "head";
}

void b_alias(struct builder *b, int x, const char *point, const char *brief)
{
    struct graph *g = b->g;
    if (b->st)
        return;
    char full[NAME_MAX_LENGTH];
    full_name(b, point, "", full);
    struct shape s = g->values[x].shape;
    if (s.rank > 2)
        s = shape2(s.d[0], dim(AXIS_CHAN, shape_per_token(&s)));
    x_grow(&g->aliases, &g->cap_aliases, (size_t)g->n_aliases + 1, sizeof *g->aliases);
    g->aliases[g->n_aliases++] =
        (struct point_alias){ .name = x_strdup(full), .brief = brief, .shape = s, .value = x };
}

enum st builder_end(struct builder *b, struct graph **out)
{
    struct graph *g = b->g;
    if (!b->st && !g->n_nodes)
        b_fail(b, "the model has no nodes");
    if (b->st) {
        graph_free(g);
        return b->st;
    }
    if (g->hidden < 0)
        g->hidden = g->n_values - 1;
    foreign_names(g);
    *out = g;
    return ST_OK;
}
