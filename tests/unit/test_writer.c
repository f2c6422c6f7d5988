/* SPDX-License-Identifier: MIT */
/* Who wrote an element of the residual stream: planted writes are found, going back, at exactly
 * their sub-layer, head or neuron, row and block. */
#include "tests/harness/unit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/memory.h"
#include "kernels/level.h"
#include "session/control.h"
#include "study/writer.h"
#include "tests/harness/commands.h"
#include "tests/harness/plant.h"

enum { PLANTS = 200, N_IDS = 8 };
static const int32_t ids[N_IDS] = { 5, 9, 3, 7, 11, 2, 8, 4 };

static const struct node *node_of(const struct graph *g, int block, const char *name)
{
    char point[64];
    snprintf(point, sizeof point, "blk.%d.%s.out", block, name);
    const int v = graph_point(g, str_from(point), NULL, NULL);
    assert_true(v >= 0);
    return &g->nodes[g->values[v].node];
}

/* One write made large: the term of activation `col` in row `chan` of a product at a token. */
struct planted {
    const struct node *node;
    int64_t tok, chan, col;
    double size; /* what the term becomes */
};

/* Draw a place where the activation is not next to nothing. */
static struct planted draw(struct run *clean, const char *product, uint64_t *seed)
{
    const struct graph *g = run_graph(clean);
    struct err e = ERR_INIT;
    for (;;) {
        struct planted p = { .size = unit_random(seed) % 2 ? 300 : -300 };
        p.node = node_of(g, (int)(unit_random(seed) % (uint64_t)g->n_blocks), product);
        p.tok = (int64_t)(unit_random(seed) % N_IDS);
        p.chan = (int64_t)(unit_random(seed) % p.node->w[0]->rows);
        p.col = (int64_t)(unit_random(seed) % p.node->w[0]->cols);
        struct tensor x;
        assert_ok(run_read(clean, 0, p.node->in[0], &x, &e), &e);
        const double a = (double)x.data[p.tok * (int64_t)p.node->w[0]->cols + p.col];
        if (fabs(a) > 0.01)
            return p;
    }
}

static float activation(struct run *clean, const struct planted *p, int64_t col)
{
    struct err e = ERR_INIT;
    struct tensor x;
    assert_ok(run_read(clean, 0, p->node->in[0], &x, &e), &e);
    return x.data[p->tok * (int64_t)p->node->w[0]->cols + col];
}

/* The weight itself, of a file in f32. */
static bool plant_f32(const struct original *o, char *copy, struct run *clean,
                      const struct planted *p)
{
    const float value = (float)(p->size / (double)activation(clean, p, p->col));
    memcpy(plant_at(o, copy, p->node->w[0], p->chan, p->col), &value, sizeof value);
    return true;
}

/* The scale of the block, of a file in q8_0, so that its largest term has the size. */
static bool plant_q8_0(const struct original *o, char *copy, struct run *clean,
                       const struct planted *p)
{
    uint8_t *block = plant_at(o, copy, p->node->w[0], p->chan, p->col / 32);
    double most = 0, sum = 0;
    for (int i = 0; i < 32; i++) {
        const double x = (double)(int8_t)block[2 + i]
                         * (double)activation(clean, p, p->col / 32 * 32 + i);
        most = fmax(most, fabs(x));
        sum += x;
    }
    if (most < 1 || fabs(sum) < most / 2) /* its terms take each other away */
        return false;
    const float scale = (float)(p->size / most);
    uint16_t half;
    level_now()->to_halves(&scale, 1, &half);
    memcpy(block, &half, sizeof half);
    return true;
}

/* Runs the file, watches the element where the last block leaves it, goes back: is what is found
 * what was planted? */
static bool found(const char *path, const struct planted *p, bool by_block)
{
    struct err e = ERR_INIT;
    struct session_run *r;
    struct session *s = prompted(path, ids, N_IDS, &r);
    struct breakpoint *b;
    struct stop stop;
    struct writer w;
    char text[80];
    const struct graph *g = run_graph(r->run);
    snprintf(text, sizeof text, "blk.%d.out[tok=%d, chan=%d]", g->n_blocks - 1, (int)p->tok,
             (int)p->chan);
    const struct str address = str_from(text);
    assert_ok(control_forward(s, r, run_end(r->run), STOP_END, &stop, &e), &e);
    assert_ok(breakpoint_add(&s->breaks, BREAK_WATCH, &address, &b, &e), &e);
    b->percent = 50;
    assert_ok(control_reverse_continue(s, r, &stop, &e), &e);
    const struct node *node = &g->nodes[g->values[p->node->out].node];
    bool right = stop.reason == STOP_WATCHPOINT && stop.wrote && stop.written == node->out;
    if (right) {
        const int64_t head = g->heads ? (int64_t)node->w[0]->cols / g->heads : 1;
        const bool heads = strstr(node->name, "attn");
        assert_ok(writer_of(r->run, s->hit.span, s->hit.value, s->hit.at, &w, &e), &e);
        right = w.made_by == node->out && w.term.row == p->chan
                && w.unit == (heads ? WRITER_HEAD : WRITER_NEURON);
        right = right
                && (by_block ? w.term.col / 32 == p->col / 32
                             : w.term.col == p->col && w.number == p->col / (heads ? head : 1));
        /* where it stands now the write has just been made */
        const struct position at = run_position(r->run);
        right = right && g->nodes[at.node - 1].op == OP_ADD
                && (g->nodes[at.node - 1].in[0] == node->out
                    || g->nodes[at.node - 1].in[1] == node->out);
    }
    session_free(s);
    return right;
}

static void planted_in(const char *path, int plants, uint64_t seed, bool by_block,
                       bool (*plant)(const struct original *o, char *copy, struct run *clean,
                                     const struct planted *p))
{
    static const char *const products[] = { "ffn_down", "attn_output" };
    struct original o = original_open(path);
    struct run *clean = plant_run(o.m, COMPUTE_EXACT, ids, N_IDS);
    for (int k = 0; k < 2; k++) {
        int right = 0;
        for (int i = 0; i < plants;) {
            char *copy = original_copy(&o), file[PLANT_PATH];
            const struct planted p = draw(clean, products[k], &seed);
            if (plant(&o, copy, clean, &p)) {
                plant_write(&o, copy, file);
                right += found(file, &p, by_block);
                unlink(file);
                i++;
            }
            free(copy);
        }
        print_message("# writes of %s: %d of %d found\n", products[k], right, plants);
        assert_int_equal(right, plants);
    }
    run_free(clean);
    original_free(&o);
}

static void planted_writes_are_found(void **unused)
{
    (void)unused;
    planted_in(golden_path("models/llama-gqa-tied.gguf"), PLANTS, 21, false, plant_f32);
}

static void planted_blocks_are_found(void **unused)
{
    (void)unused;
    planted_in(golden_path("models/llama-gqa-tied-q8_0.gguf"), PLANTS, 22, true, plant_q8_0);
}

/* The units of every write of every stream give what is written, and the largest is the largest. */
static void shares_are_exact(void **unused)
{
    (void)unused;
    static const char *const files[] = { "llama-gqa-tied.gguf", "gpt2.gguf", "bert.gguf" };
    struct err e = ERR_INIT;
    uint64_t seed = 23;
    for (size_t k = 0; k < sizeof files / sizeof *files; k++) {
        char name[80];
        snprintf(name, sizeof name, "models/%s", files[k]);
        struct original o = original_open(golden_path(name));
        struct run *r = plant_run(o.m, COMPUTE_EXACT, ids, N_IDS);
        const struct graph *g = run_graph(r);
        for (int i = 0; i < 40; i++) {
            struct write *list;
            size_t n;
            const int64_t at = (int64_t)(unit_random(&seed) % (uint64_t)(N_IDS * g->width));
            const int last = g->blocks[g->n_blocks - 1].output;
            assert_ok(writes_of(r, 0, last, at, &list, &n, &e), &e);
            for (size_t j = 0; j < n; j++) {
                struct writer w;
                double *heads, all = 0;
                size_t n_heads;
                assert_ok(writer_of(r, 0, list[j].value, at, &w, &e), &e);
                if (j)
                    assert_float_equal(list[j].after, list[j - 1].after + list[j].x,
                                       1e-5 * (1 + fabs(list[j].after)));
                if (w.made_by < 0)
                    continue;
                assert_float_equal(w.share * list[j].x, w.gave, 1e-6 * (1 + fabs(w.gave)));
                if (w.unit != WRITER_HEAD)
                    continue;
                assert_ok(head_writes_of(r, 0, w.made_by, at, &heads, &n_heads, &e), &e);
                for (size_t h = 0; h < n_heads; h++) {
                    all += heads[h];
                    assert_true(fabs(heads[h] * w.factor) <= fabs(w.gave) * 1.000001);
                }
                free(heads);
                if (!g->nodes[g->values[w.made_by].node].v[1])
                    assert_float_equal(all * w.factor, list[j].x, 1e-4 * (1 + fabs(list[j].x)));
            }
            free(list);
        }
        run_free(r);
        original_free(&o);
    }
}

static void the_largest_write_is_chosen(void **unused)
{
    (void)unused;
    struct write w[] = { { .x = 2, .after = 2 }, { .x = -1.5, .after = 0.5 },
                         { .x = 1.9, .after = 2.4 }, { .x = -0.1, .after = 2.3 } };
    assert_int_equal(largest_write(w, 4, 0), 0);
    assert_int_equal(largest_write(w + 1, 3, 0), 1); /* before the first there is 0 */
    assert_int_equal(largest_write(w, 4, 50), 0);
    assert_int_equal(largest_write(w, 0, 0), -1);
    w[3].x = NAN;
    assert_int_equal(largest_write(w, 4, 1e9), 3);
    w[0].x = 0;
    w[1].x = w[2].x = 0.01;
    assert_int_equal(largest_write(w, 3, 100), -1);
}

UNIT_MAIN(CASE(planted_writes_are_found), CASE(planted_blocks_are_found), CASE(shares_are_exact),
          CASE(the_largest_write_is_chosen))
