/* SPDX-License-Identifier: MIT */
#include "graph/foreign.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

/* Where a row holds only for some graphs. */
enum { WITH_BIAS = 1, /* the linear op has one */
       WITH_GATE = 2, /* the feed-forward layer is gated */
       WITHOUT_GATE = 4 };

#define TL NAMING_TRANSFORMER_LENS
#define LC NAMING_LLAMA_CPP

/* The one table. `#` is the number of the block. Of several rows with one name the first whose
 * point exists holds.
 *
 * TransformerLens: names and meanings of HookedTransformer (checked with 3.9) with weights as they
 * are in the file: from_pretrained_no_processing(). Its default processing leaves most hooks alone
 * but centres what is written to the stream (hook_resid_*, hook_attn_out, hook_mlp_out of models
 * with LayerNorm lose their mean) and moves the bias of values from hook_v and hook_z into the
 * output's. Queries and keys have the channels of a head in the order of Hugging Face's files,
 * halves apart, where a GGUF file has the pairs side by side.
 *
 * llama.cpp: names that its callback sees (checked with 3f545becc) without flash attention. Where a
 * graph gives one name to several tensors, the last: Qcur and Kcur are after rotation. */
static const struct row {
    enum naming naming;
    const char *name, *point;
    enum derivation derive;
    unsigned when;
} rows[] = {
    { TL, "hook_embed", "embd.token", DERIVE_SAME, 0 },
    { TL, "hook_embed", "embd.out", DERIVE_SAME, 0 },
    { TL, "hook_pos_embed", "embd.out", DERIVE_POSITIONS, 0 },
    { TL, "blocks.#.hook_resid_pre", "blk.#.in", DERIVE_SAME, 0 },
    { TL, "blocks.#.ln1.hook_scale", "blk.#.attn_norm.out", DERIVE_DIVISOR, 0 },
    { TL, "blocks.#.ln1.hook_normalized", "blk.#.attn_norm.out", DERIVE_BARE, 0 },
    { TL, "blocks.#.attn.hook_q", "blk.#.attn_q.out", DERIVE_HALVES, 0 },
    { TL, "blocks.#.attn.hook_k", "blk.#.attn_k.out", DERIVE_HALVES, 0 },
    { TL, "blocks.#.attn.hook_v", "blk.#.attn_v.out", DERIVE_SAME, 0 },
    { TL, "blocks.#.attn.hook_rot_q", "blk.#.attn_q.rope", DERIVE_HALVES, 0 },
    { TL, "blocks.#.attn.hook_rot_k", "blk.#.attn_k.rope", DERIVE_HALVES, 0 },
    { TL, "blocks.#.attn.hook_attn_scores", "blk.#.attn.score", DERIVE_SAME, 0 },
    { TL, "blocks.#.attn.hook_pattern", "blk.#.attn.prob", DERIVE_SAME, 0 },
    { TL, "blocks.#.attn.hook_z", "blk.#.attn.z", DERIVE_SAME, 0 },
    { TL, "blocks.#.attn.hook_result", "blk.#.attn.z", DERIVE_RESULT, 0 },
    { TL, "blocks.#.hook_attn_out", "blk.#.attn_output.out", DERIVE_SAME, 0 },
    { TL, "blocks.#.hook_resid_mid", "blk.#.mid", DERIVE_SAME, 0 },
    { TL, "blocks.#.ln2.hook_scale", "blk.#.ffn_norm.out", DERIVE_DIVISOR, 0 },
    { TL, "blocks.#.ln2.hook_normalized", "blk.#.ffn_norm.out", DERIVE_BARE, 0 },
    { TL, "blocks.#.mlp.hook_pre", "blk.#.ffn_gate.out", DERIVE_SAME, WITH_GATE },
    { TL, "blocks.#.mlp.hook_pre", "blk.#.ffn_up.out", DERIVE_SAME, WITHOUT_GATE },
    { TL, "blocks.#.mlp.hook_pre_linear", "blk.#.ffn_up.out", DERIVE_SAME, WITH_GATE },
    { TL, "blocks.#.mlp.hook_post", "blk.#.ffn_act.out", DERIVE_SAME, 0 },
    { TL, "blocks.#.hook_mlp_out", "blk.#.ffn_down.out", DERIVE_SAME, 0 },
    { TL, "blocks.#.hook_resid_post", "blk.#.out", DERIVE_SAME, 0 },
    { TL, "ln_final.hook_scale", "output_norm.out", DERIVE_DIVISOR, 0 },
    { TL, "ln_final.hook_normalized", "output_norm.out", DERIVE_BARE, 0 },
    { TL, "unembed.hook_in", "output_norm.out", DERIVE_SAME, 0 },
    { TL, "unembed.hook_out", "output.out", DERIVE_SAME, 0 },
    { LC, "embd", "embd.token", DERIVE_SAME, 0 },
    { LC, "embd", "embd.out", DERIVE_SAME, 0 },
    { LC, "inp_embd", "embd.token", DERIVE_SAME, 0 }, /* until 2025 */
    { LC, "inp_embd", "embd.out", DERIVE_SAME, 0 },
    { LC, "pos_embd", "embd.out", DERIVE_POSITIONS, 0 },
    { LC, "inpL", "embd.out", DERIVE_SAME, 0 },
    { LC, "attn_norm-#", "blk.#.attn_norm.out", DERIVE_SAME, 0 },
    { LC, "wqkv-#", "blk.#.attn_qkv.out", DERIVE_NO_BIAS, 0 },
    { LC, "wqkv_b-#", "blk.#.attn_qkv.out", DERIVE_SAME, WITH_BIAS },
    { LC, "Qcur-#", "blk.#.attn_q.rope", DERIVE_SAME, 0 },
    { LC, "Qcur-#", "blk.#.attn_q.out", DERIVE_SAME, 0 },
    { LC, "Kcur-#", "blk.#.attn_k.rope", DERIVE_SAME, 0 },
    { LC, "Kcur-#", "blk.#.attn_k.out", DERIVE_SAME, 0 },
    { LC, "Vcur-#", "blk.#.attn_v.out", DERIVE_SAME, 0 },
    { LC, "kq-#", "blk.#.attn.score", DERIVE_PRODUCTS, 0 },
    { LC, "kq_soft_max-#", "blk.#.attn.prob", DERIVE_SAME, 0 },
    { LC, "kqv-#", "blk.#.attn.z", DERIVE_HEADS, 0 },
    { LC, "kqv_out-#", "blk.#.attn_output.in", DERIVE_SAME, 0 },
    { LC, "attn_out-#", "blk.#.attn_output.out", DERIVE_SAME, 0 },
    { LC, "ffn_inp-#", "blk.#.mid", DERIVE_SAME, 0 },
    { LC, "ffn_norm-#", "blk.#.ffn_norm.out", DERIVE_SAME, 0 },
    { LC, "ffn_up-#", "blk.#.ffn_up.out", DERIVE_NO_BIAS, 0 },
    { LC, "ffn_up_b-#", "blk.#.ffn_up.out", DERIVE_SAME, WITH_BIAS },
    { LC, "ffn_gate-#", "blk.#.ffn_gate.out", DERIVE_NO_BIAS, 0 },
    { LC, "ffn_gate_b-#", "blk.#.ffn_gate.out", DERIVE_SAME, WITH_BIAS },
    { LC, "ffn_silu-#", "blk.#.ffn_act.gate", DERIVE_SAME, WITH_GATE }, /* until 2025 */
    { LC, "ffn_gate_par-#", "blk.#.ffn_act.out", DERIVE_SAME, WITH_GATE }, /* until 2025 */
    { LC, "ffn_swiglu-#", "blk.#.ffn_act.out", DERIVE_SAME, WITH_GATE },
    { LC, "ffn_gelu-#", "blk.#.ffn_act.out", DERIVE_SAME, WITHOUT_GATE },
    { LC, "ffn_down-#", "blk.#.ffn_down.out", DERIVE_NO_BIAS, WITH_BIAS },
    { LC, "ffn_out-#", "blk.#.ffn_down.out", DERIVE_SAME, 0 },
    { LC, "l_out-#", "blk.#.out", DERIVE_SAME, 0 },
    { LC, "result_norm", "output_norm.out", DERIVE_SAME, 0 },
    { LC, "result_output", "output.out", DERIVE_SAME, 0 },
};

const char *naming_name(enum naming n)
{
    static const char *const names[] = { "qdb", "TransformerLens", "llama.cpp" };
    return names[n];
}

const char *derivation_brief(enum derivation d)
{
    static const char *const briefs[] = {
        [DERIVE_SAME] = "",
        [DERIVE_HALVES] = "channels of a head in two halves instead of pairs",
        [DERIVE_BARE] = "before gain and bias",
        [DERIVE_DIVISOR] = "what each token is divided by",
        [DERIVE_RESULT] = "what each head adds to the stream, without the bias",
        [DERIVE_PRODUCTS] = "products of queries and keys, neither scaled nor masked",
        [DERIVE_HEADS] = "heads in front of tokens",
        [DERIVE_NO_BIAS] = "before the bias",
        [DERIVE_POSITIONS] = "what the positions add",
    };
    return briefs[d];
}

/* "blk.#.out" for block 3: "blk.3.out". */
static char *numbered(const char *pattern, int block)
{
    struct buf b = { 0 };
    const char *mark = strchr(pattern, '#');
    if (mark)
        buf_printf(&b, "%.*s%d%s", (int)(mark - pattern), pattern, block, mark + 1);
    else
        buf_adds(&b, pattern);
    return buf_take(&b);
}

/* Is the value, turned by a rope, or going to be, of adjacent pairs? */
static bool turns_pairs(const struct graph *g, int value)
{
    const struct node *made = &g->nodes[g->values[value].node];
    for (int i = 0; i < g->n_nodes; i++) {
        const struct node *n = &g->nodes[i];
        if (n->op == OP_ROPE && (n == made || n->in[0] == value))
            return !g->ropes[n->p.rope].half_split;
    }
    return false;
}

/* What it takes in this graph: some differences are not there in every model. */
static enum derivation needed(const struct graph *g, const struct row *r, int value)
{
    const struct node *n = &g->nodes[g->values[value].node];
    if (r->derive == DERIVE_HALVES)
        return turns_pairs(g, value) ? DERIVE_HALVES : DERIVE_SAME;
    if (r->derive == DERIVE_NO_BIAS)
        return n->w[1] ? DERIVE_NO_BIAS : DERIVE_SAME;
    return r->derive;
}

/* The linear op that reads attn.z: its weight splits into heads. */
static const struct node *reader_of(const struct graph *g, int value)
{
    for (int i = 0; i < g->n_nodes; i++)
        if (g->nodes[i].op == OP_LINEAR && g->nodes[i].in[0] == value)
            return &g->nodes[i];
    return NULL;
}

/* The shape of what is computed; false: it cannot be, here. */
static bool derived_shape(const struct graph *g, enum derivation d, int value, struct shape *s)
{
    const struct node *n = &g->nodes[g->values[value].node], *reader;
    switch (d) {
    case DERIVE_SAME:
    case DERIVE_NO_BIAS:
    case DERIVE_PRODUCTS: return true;
    case DERIVE_HALVES: return s->rank == 3 && s->d[2].n % 2 == 0;
    case DERIVE_BARE: return n->op == OP_RMS_NORM || n->op == OP_LAYER_NORM;
    case DERIVE_POSITIONS: return n->op == OP_POSITION;
    case DERIVE_DIVISOR:
        *s = shape2(s->d[0], dim(AXIS_CHAN, 1));
        return n->op == OP_RMS_NORM || n->op == OP_LAYER_NORM;
    case DERIVE_HEADS:
        *s = shape3(s->d[1], s->d[0], s->d[2]);
        return true;
    case DERIVE_RESULT:
        reader = reader_of(g, value);
        if (!reader || s->rank != 3)
            return false;
        *s = shape3(s->d[0], s->d[1], g->values[reader->out].shape.d[1]);
        return true;
    }
    return false;
}

static bool holds(const struct graph *g, const struct row *r, int value, bool gated)
{
    if (r->when & WITH_BIAS && !g->nodes[g->values[value].node].w[1])
        return false;
    return !(r->when & (gated ? WITHOUT_GATE : WITH_GATE));
}

/* The points of one block, or of what lies outside: their names behind "blk.N.". */
struct place {
    struct local {
        const char *name;
        int value;
        struct shape shape;
    } *points;
    size_t n, cap;
};

/* Which block a name is of: -1 outside; *local: what follows. */
static int block_of(const char *name, int n_blocks, const char **local)
{
    char *end;
    *local = name;
    if (strncmp(name, "blk.", 4))
        return -1;
    const long b = strtol(name + 4, &end, 10);
    if (end == name + 4 || *end != '.' || b < 0 || b >= n_blocks)
        return -1;
    *local = end + 1;
    return (int)b;
}

/* places[1 + block]; places[0] outside the blocks. */
static struct place *places_of(const struct graph *g)
{
    struct place *places = x_alloc((size_t)(g->n_blocks + 1) * sizeof *places);
    for (int i = 0; i < g->n_values + g->n_aliases; i++) {
        const struct point_alias *a = i < g->n_values ? NULL : &g->aliases[i - g->n_values];
        struct local l = { .value = a ? a->value : i,
                           .shape = a ? a->shape : g->values[i].shape };
        struct place *p =
            &places[1 + block_of(a ? a->name : g->values[i].name, g->n_blocks, &l.name)];
        x_grow(&p->points, &p->cap, p->n + 1, sizeof *p->points);
        p->points[p->n++] = l;
    }
    return places;
}

static const struct local *local_find(const struct place *p, const char *name)
{
    for (size_t i = 0; i < p->n; i++)
        if (!strcmp(p->points[i].name, name))
            return &p->points[i];
    return NULL;
}

/* Add the name of the row for one place; false: it does not hold there. */
static bool add(struct graph *g, const struct row *r, const struct place *p, int block)
{
    const bool gated = local_find(p, "ffn_gate.out") != NULL;
    const struct local *l = local_find(p, block < 0 ? r->point : r->point + strlen("blk.#."));
    if (!l || !holds(g, r, l->value, gated))
        return false;
    struct shape s = l->shape;
    const enum derivation d = needed(g, r, l->value);
    if (!derived_shape(g, d, l->value, &s))
        return false;
    x_grow(&g->aliases, &g->cap_aliases, (size_t)g->n_aliases + 1, sizeof *g->aliases);
    g->aliases[g->n_aliases++] =
        (struct point_alias){ .name = numbered(r->name, block),
                              .brief = d ? derivation_brief(d) : g->values[l->value].brief,
                              .shape = s, .value = l->value, .naming = r->naming, .derive = d };
    return true;
}

void foreign_names(struct graph *g)
{
    if (!g->causal || !g->heads) /* both have other names for encoders */
        return;
    struct place *places = places_of(g);
    for (int b = -1; b < g->n_blocks; b++) {
        const char *last = ""; /* rows of one name stand together */
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
            if ((b >= 0) == (strchr(rows[i].name, '#') != NULL) && strcmp(rows[i].name, last)
                && add(g, &rows[i], &places[1 + b], b))
                last = rows[i].name;
        free(places[1 + b].points);
    }
    free(places);
}
