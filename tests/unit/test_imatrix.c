/* SPDX-License-Identifier: MIT */
/* Importance matrices: both forms read and written byte for byte, lying files refused, means as
 * encoders want them, and sums collected from a run as added by hand. */
#include "tests/harness/unit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "file/imatrix.h"
#include "study/collect.h"
#include "tests/harness/commands.h"
#include "tests/harness/gguf_build.h"
#include "tests/harness/models.h"
#include "tests/harness/scratch.h"

static void put_float(struct buf *b, float v) { buf_add(b, &v, sizeof v); }

/* Two entries of the older form; the second of three values. */
static struct buf dat_of(bool trailer)
{
    struct buf b = { 0 };
    build_put(&b, 2, 4);
    for (int i = 0; i < 2; i++) {
        const char *name = i ? "blk.0.b.weight" : "blk.0.a.weight";
        build_put(&b, strlen(name), 4);
        buf_adds(&b, name);
        build_put(&b, i ? 4 : 0, 4);
        build_put(&b, i ? 3 : 2, 4);
        for (int k = 0; k < (i ? 3 : 2); k++)
            put_float(&b, (float)(8 * k + i));
    }
    if (trailer) {
        build_put(&b, 7, 4);
        build_put(&b, 8, 4);
        buf_adds(&b, "text.txt");
    }
    return b;
}

static enum st parse(const struct buf *b, struct imatrix **out, struct err *e)
{
    return imatrix_parse(map_borrow(b->p, b->n, "made"), out, e);
}

static void print_is(const struct imatrix *m, enum imatrix_form form, const void *p, size_t n)
{
    struct buf out = { 0 };
    struct err e = ERR_INIT;
    assert_ok(imatrix_print(m, form, &out, &e), &e);
    assert_int_equal(out.n, n);
    assert_memory_equal(out.p, p, n);
    buf_free(&out);
}

static void reads_and_writes_the_older_form(void **state)
{
    (void)state;
    for (int trailer = 0; trailer < 2; trailer++) {
        struct buf b = dat_of(trailer);
        struct imatrix *m;
        struct err e = ERR_INIT;
        float mean[3];
        assert_ok(parse(&b, &m, &e), &e);
        assert_int_equal(m->n, 2);
        assert_int_equal(m->chunks, trailer ? 7 : 0);
        const struct imatrix_entry *x = imatrix_find(m, STR("blk.0.b.weight"));
        assert_true(imatrix_importance(x, 3, 1, 0, mean));
        assert_true(mean[0] == 0.25f && mean[1] == 2.25f && mean[2] == 4.25f); /* by 4 calls */
        assert_true(imatrix_importance(&m->list[0], 2, 1, 0, mean));
        assert_true(mean[0] == 0 && mean[1] == 8); /* no call: as they are */
        assert_false(imatrix_importance(x, 2, 1, 0, mean));
        assert_true(imatrix_importance(x, 1, 3, 2, mean)); /* experts in a row */
        assert_true(mean[0] == 4.25f);
        print_is(m, IMATRIX_DAT, b.p, b.n);
        imatrix_free(m);
        buf_free(&b);
    }
    assert_int_equal(mem_used(), 0);
}

/* An entry of the older form, every value the same. */
static void put_dat_entry(struct buf *b, const char *name, int calls, int n, float value)
{
    build_put(b, strlen(name), 4);
    buf_adds(b, name);
    build_put(b, (uint64_t)calls, 4);
    build_put(b, (uint64_t)n, 4);
    for (int k = 0; k < n; k++)
        put_float(b, value);
}

/* What saw nothing, or has other channels, weighs nothing: that is said, and not counted. */
static void what_saw_nothing_weighs_nothing(void **state)
{
    (void)state;
    struct sitting f = sitting_begin("--demo=add");
    const struct weights *all = f.m->model->weights;
    const int cols = (int)weights_find(all, STR("blk.0.attn_q.weight"))->cols;
    struct buf b = { 0 };
    build_put(&b, 4, 4);
    put_dat_entry(&b, "blk.0.attn_q.weight", 3, cols, 0);
    put_dat_entry(&b, "blk.0.attn_k.weight", 0, cols, 1);
    put_dat_entry(&b, "blk.0.attn_v.weight", 3, cols - 1, 1);
    put_dat_entry(&b, "blk.0.ffn_up.weight", 3, cols, 1);
    scratch_write("x.dat", b.p, b.n);
    struct result r = answer(f.s, "imatrix load '%s'", scratch_path("x.dat"));
    assert_true(noted(&r, "1 entry is of another shape"));
    assert_true(noted(&r, "blk.0.attn_v.weight has"));
    assert_true(noted(&r, "2 entries saw nothing"));
    result_free(&r);
    r = answer(f.s, "quant blk.0.*.weight q4_0");
    assert_true(noted(&r, "in 1 of 7 weights"));
    result_free(&r);
    buf_free(&b);
    sitting_end(&f);
}

static void refuses_lying_files(void **state)
{
    (void)state;
    struct buf sound = dat_of(true);
    struct imatrix *m;
    struct err e = ERR_INIT;
    /* cut anywhere but before the trailer, or behind it */
    for (size_t n = 1; n <= sound.n + 1; n++) {
        struct buf b = { 0 };
        buf_add(&b, sound.p, n < sound.n ? n : sound.n);
        if (n > sound.n)
            buf_addc(&b, 0);
        if (n == sound.n || n == sound.n - 16) {
            assert_ok(parse(&b, &m, &e), &e);
            imatrix_free(m);
        } else
            assert_fails(parse(&b, &m, &e), ST_FORMAT, &e);
        buf_free(&b);
    }
    /* counts that lie, a sum that is none: where, the 4 bytes */
    static const struct {
        size_t at;
        uint32_t v;
        const char *says;
    } lies[] = {
        { 0, 0, "entries" },          { 0, 0x7fffffff, "entries" },
        { 0, 0xffffffff, "entries" }, { 4, 0xffffffff, "name of an entry" },
        { 4, 0, "name of an entry" }, { 22, 0xffffffff, "calls" },
        { 26, 0, "values of an" },    { 26, 0x40000000, "values of an" },
        { 30, 0x7fc00000, "nan" },    { 34, 0xbf800000, "-1" },
        { 34, 0x7f800000, "inf" },    { 76, 0xee6b2800, "chunks" },
    };
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
        struct buf b = { 0 };
        buf_add(&b, sound.p, sound.n);
        memcpy(b.p + lies[i].at, &lies[i].v, 4);
        assert_fails(parse(&b, &m, &e), ST_FORMAT, &e);
        if (!strstr(e.msg, lies[i].says))
            fail_msg("lie %zu: %s", i, e.msg);
        buf_free(&b);
    }
    sound.p[4 + 4 + 6] = 'b'; /* both entries of one name */
    sound.p[4 + 4 + 6] = 'b';
    assert_fails(parse(&sound, &m, &e), ST_FORMAT, &e);
    assert_non_null(strstr(e.msg, "twice"));
    buf_free(&sound);
    assert_int_equal(mem_used(), 0);
}

static const float sums[] = { 1, 4, 9, 16, 0, 0 }, counts[] = { 2, 0, 5 };

/* GGUF with one entry of 2 channels and 3 experts, the second not seen, the third always zero; and
 * a tensor that is not known here. */
static void build(struct build *b, const float *sum, const float *count, uint64_t n_counts)
{
    static const char *const texts[] = { "one.txt", "two.txt" };
    build_string(b, "general.type", "imatrix");
    build_strings(b, "imatrix.datasets", texts, 2);
    build_integer(b, "imatrix.chunk_count", GGUF_U32, 3);
    build_integer(b, "imatrix.chunk_size", GGUF_U32, 100);
    build_f32(b, "blk.0.w.weight.in_sum", 2, 3, NULL);
    build_f32(b, "blk.0.w.weight.in_sum2", 2, 3, sum);
    build_f32(b, "blk.0.w.weight.counts", 1, n_counts, count);
}

static struct imatrix *parse_built(struct build *b, uint8_t **image, size_t *n, enum st want)
{
    struct imatrix *m = NULL;
    struct err e = ERR_INIT;
    *image = build_image(b, n);
    unit_assert_st(imatrix_parse(map_borrow(*image, *n, "made"), &m, &e), want, &e, "parse",
                   __FILE__, __LINE__);
    build_free(b);
    return m;
}

static void reads_and_writes_gguf(void **state)
{
    (void)state;
    struct build b = BUILD_INIT;
    size_t n;
    uint8_t *image;
    float mean[2];
    build(&b, sums, counts, 3);
    struct imatrix *m = parse_built(&b, &image, &n, ST_OK);
    assert_int_equal(m->n, 1);
    assert_int_equal(m->chunks, 3);
    assert_int_equal(m->chunk_size, 100);
    assert_int_equal(m->n_datasets, 2);
    const struct imatrix_entry *x = imatrix_find(m, STR("blk.0.w.weight"));
    assert_true(imatrix_importance(x, 2, 3, 0, mean) && mean[0] == 0.5f && mean[1] == 2);
    assert_true(imatrix_importance(x, 2, 3, 1, mean) && mean[0] == 9 && mean[1] == 16);
    assert_true(imatrix_importance(x, 2, 3, 2, mean) && mean[0] == 1 && mean[1] == 1);
    assert_false(imatrix_importance(x, 2, 2, 0, mean));
    assert_false(imatrix_importance(x, 3, 2, 0, mean));
    print_is(m, IMATRIX_GGUF, image, n);
    /* in the older form: 5 tokens are 1 call of 100; what was not seen is 1 */
    struct buf dat = { 0 };
    struct err e = ERR_INIT;
    struct imatrix *old;
    assert_ok(imatrix_print(m, IMATRIX_DAT, &dat, &e), &e);
    assert_ok(parse(&dat, &old, &e), &e);
    const float *v = old->list[0].sum;
    assert_true(v[0] == 0.5f && v[1] == 2 && v[2] == 1 && v[3] == 1 && v[4] == 0);
    assert_true(old->list[0].count[0] == 1);
    assert_string_equal(old->datasets[0], "two.txt");
    imatrix_free(old);
    buf_free(&dat);
    imatrix_free(m);
    free(image);
    assert_int_equal(mem_used(), 0);
}

/* What is said of a file of these sums and counts. */
static void gguf_lies(const float *sum, const float *count, uint64_t n_counts, const char *says)
{
    struct build b = BUILD_INIT;
    struct imatrix *m;
    struct err e = ERR_INIT;
    size_t n;
    build(&b, sum, count, n_counts);
    uint8_t *image = build_image(&b, &n);
    assert_fails(imatrix_parse(map_borrow(image, n, "made"), &m, &e), ST_FORMAT, &e);
    if (!strstr(e.msg, says))
        fail_msg("`%s` does not say %s", e.msg, says);
    build_free(&b);
    free(image);
}

static void refuses_lying_gguf(void **state)
{
    (void)state;
    static const float bad[][6] = { { 1, 4, 9, NAN, 0, 0 }, { 1, -4, 9, 16, 0, 0 } };
    static const float bad_counts[][3] = { { 2, NAN, 5 }, { 1e30f, 0, 5 }, { 2, 0.5f, 5 },
                                           { 2, 0, -1 },  { INFINITY, 0, 5 } };
    for (int i = 0; i < 2; i++)
        gguf_lies(bad[i], counts, 3, "blk.0.w.weight");
    for (size_t i = 0; i < sizeof bad_counts / sizeof *bad_counts; i++)
        gguf_lies(sums, bad_counts[i], 3, "`blk.0.w.weight`: the count of matrix");
    gguf_lies(sums, counts, 2, "different numbers");
    for (int i = 0; i < 4; i++) {
        struct build b = BUILD_INIT;
        size_t n;
        uint8_t *image;
        if (i == 3)
            build_llama(&b);
        else
            build_string(&b, "general.type", "imatrix");
        if (i < 2) { /* keys that lie */
            const int64_t lie = i ? -1 : 4000000000;
            build_integer(&b, i ? "imatrix.chunk_size" : "imatrix.chunk_count", GGUF_I64,
                          (uint64_t)lie);
            build_f32(&b, "blk.0.w.weight.counts", 1, 3, counts);
        }
        if (i < 3)
            build_f32(&b, "blk.0.w.weight.in_sum2", 2, 3, sums);
        assert_null(parse_built(&b, &image, &n, ST_FORMAT));
        free(image);
    }
    assert_int_equal(mem_used(), 0);
}

static void merges(void **state)
{
    (void)state;
    struct build b = BUILD_INIT;
    size_t n;
    uint8_t *image;
    struct err e = ERR_INIT;
    build(&b, sums, counts, 3);
    struct imatrix *m = parse_built(&b, &image, &n, ST_OK), *all = imatrix_new(), *old;
    struct buf dat = dat_of(true);
    assert_ok(parse(&dat, &old, &e), &e);
    assert_ok(imatrix_merge(all, m, 512, &e), &e);
    assert_ok(imatrix_merge(all, m, 512, &e), &e);
    assert_ok(imatrix_merge(all, old, 10, &e), &e);
    assert_int_equal(all->n, 3);
    assert_int_equal(all->n_datasets, 5);
    const struct imatrix_entry *x = imatrix_find(all, STR("blk.0.w.weight"));
    assert_true(x->sum[3] == 32 && x->count[2] == 10);
    x = imatrix_find(all, STR("blk.0.b.weight"));
    assert_true(x->sum[1] == 90 && x->count[0] == 40); /* a call counts as 10 tokens */
    /* written and read again */
    struct buf out = { 0 };
    struct imatrix *again;
    assert_ok(imatrix_print(all, IMATRIX_GGUF, &out, &e), &e);
    assert_ok(parse(&out, &again, &e), &e);
    assert_int_equal(again->n, 3);
    assert_int_equal(again->chunk_size, 100);
    assert_memory_equal(again->list[0].sum, all->list[0].sum, 6 * sizeof(float));
    /* another shape of the same name */
    struct imatrix_entry *wrong;
    struct imatrix *other = imatrix_new();
    assert_ok(imatrix_add(other, STR("blk.0.w.weight"), 5, 1, &wrong, &e), &e);
    assert_fails(imatrix_add(other, STR("blk.0.w.weight"), 5, 1, &wrong, &e), ST_RANGE, &e);
    assert_fails(imatrix_merge(all, other, 1, &e), ST_RANGE, &e);
    assert_non_null(strstr(e.msg, "blk.0.w.weight"));
    imatrix_free(other);
    /* sums that are too large together */
    all->list[0].count[2] = 0x1p41f;
    assert_fails(imatrix_merge(all, m, 1, &e), ST_FORMAT, &e);
    assert_non_null(strstr(e.msg, "`blk.0.w.weight`: the count of matrix 2"));
    imatrix_free(again);
    buf_free(&out);
    imatrix_free(old);
    buf_free(&dat);
    imatrix_free(all);
    imatrix_free(m);
    free(image);
    assert_int_equal(mem_used(), 0);
}

enum { CHUNK = 4, TOKENS = 10 };

/* What encoders read of an entry is in its hash: sums and counts, of every matrix. */
static void a_hash_is_of_all_that_weighs(void **state)
{
    (void)state;
    struct imatrix *m = imatrix_new();
    struct imatrix_entry *x[2];
    struct err e = ERR_INIT;
    for (int i = 0; i < 2; i++)
        assert_ok(imatrix_add(m, i ? STR("b") : STR("a"), 3, 2, &x[i], &e), &e);
    for (int i = 0; i < 2; i++) { /* entries move when another one comes */
        x[i] = &m->list[i];
        for (int k = 0; k < 6; k++)
            x[i]->sum[k] = (float)k;
        x[i]->count[0] = x[i]->count[1] = 7;
    }
    const uint64_t h = imatrix_hash(x[0], 1);
    assert_true(imatrix_hash(x[1], 1) == h && imatrix_hash(x[1], 2) != h);
    float *const each[] = { &x[1]->sum[0], &x[1]->sum[5], &x[1]->count[0], &x[1]->count[1] };
    for (size_t i = 0; i < sizeof each / sizeof *each; i++) {
        const float was = *each[i];
        *each[i] = was + 1;
        assert_true(imatrix_hash(x[1], 1) != h);
        *each[i] = was;
    }
    imatrix_free(m);
}

/* Squares of what enters the weight, chunk by chunk through a run of its own. */
static void by_hand(const struct model *m, const int32_t *ids, const char *point,
                    const struct imatrix_entry *x)
{
    const struct run_options o = { .mode = COMPUTE_EXACT };
    double *sum = x_alloc((size_t)x->n_in * sizeof *sum);
    for (int c = 0; c < TOKENS / CHUNK; c++) {
        int32_t chunk[CHUNK];
        memcpy(chunk, ids + c * CHUNK, sizeof chunk);
        if (m->tokenizer && tokenizer_adds_bos(m->tokenizer))
            chunk[0] = tokenizer_bos(m->tokenizer);
        struct run *r = models_run(m, &o, chunk, CHUNK);
        models_finish(r);
        int64_t n;
        float *v = models_output(r, point, &n);
        assert_int_equal(n, CHUNK * (int64_t)x->n_in);
        for (int64_t i = 0; i < n; i++)
            sum[i % (int64_t)x->n_in] += (double)v[i] * (double)v[i];
        free(v);
        run_free(r);
    }
    for (uint64_t i = 0; i < x->n_in; i++)
        assert_true(x->sum[i] == (float)sum[i]);
    assert_true(x->count[0] == TOKENS / CHUNK * CHUNK);
    free(sum);
}

static void collects_what_enters_each_linear(void **state)
{
    (void)state;
    static const int32_t ids[TOKENS] = { 5, 9, 3, 7, 11, 2, 8, 4, 6, 1 };
    static const char *const enters[][2] = {
        { "blk.0.attn_k.weight", "blk.0.attn_norm.out" },
        { "blk.1.attn_output.weight", "blk.1.attn.z" },
        { "blk.1.ffn_up.weight", "blk.1.ffn_norm.out" },
        { "blk.0.ffn_down.weight", "blk.0.ffn_act.out" },
    };
    struct model *m = models_open(golden_path("models/llama-gqa-tied.gguf"));
    const struct run_options o = { .mode = COMPUTE_EXACT, .span = 3 };
    struct err e = ERR_INIT;
    struct collected_text done;
    for (int head = 0; head < 2; head++) {
        struct imatrix *all = imatrix_new();
        assert_ok(
            imatrix_collect(m, &o, ids, TOKENS, CHUNK, 0, head, all, NULL, &done, &e), &e);
        assert_int_equal(done.chunks, TOKENS / CHUNK);
        assert_int_equal(all->n, (size_t)m->graph->n_blocks * 7 + (size_t)head);
        for (size_t i = 0; i < sizeof enters / sizeof *enters; i++)
            by_hand(m, ids, enters[i][1], imatrix_find(all, str_from(enters[i][0])));
        if (head)
            by_hand(m, ids, "output_norm.out", imatrix_find(all, STR("token_embd.weight")));
        imatrix_free(all);
    }
    struct imatrix *none = imatrix_new();
    assert_fails(imatrix_collect(m, &o, ids, 3, CHUNK, 0, false, none, NULL, &done, &e), ST_RANGE,
                 &e);
    imatrix_free(none);
    model_free(m);
    assert_int_equal(mem_used(), 0);
}

UNIT_MAIN(CASE(what_saw_nothing_weighs_nothing), CASE(reads_and_writes_the_older_form),
          CASE(refuses_lying_files),
          CASE(reads_and_writes_gguf), CASE(refuses_lying_gguf), CASE(merges),
          CASE(a_hash_is_of_all_that_weighs),
          CASE(collects_what_enters_each_linear))
