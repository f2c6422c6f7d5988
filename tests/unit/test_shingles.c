/* SPDX-License-Identifier: MIT */
/* How much of one text is in another, told from the smallest hashes of the other. */
#include "tests/harness/unit.h"

#include <stdlib.h>
#include <string.h>

#include "file/shingles.h"
#include "tests/harness/scratch.h"

enum { LONG = 60000, SHORT = 4000 };

static int32_t *text_of(uint64_t seed, int n)
{
    int32_t *ids = malloc((size_t)n * sizeof *ids);
    for (int i = 0; i < n; i++)
        ids[i] = (int32_t)(unit_random(&seed) % 500);
    return ids;
}

static struct shingle_share share(const struct shingles *x, const int32_t *ids, int64_t n)
{
    struct shingle_share s = { 0 };
    shingles_count(x, ids, n, &s);
    return s;
}

static void all_none_and_half_of_a_text_are_found(void **state)
{
    (void)state;
    int32_t *a = text_of(1, SHORT), *b = text_of(2, SHORT);
    struct shingles *x = shingles_new(7);
    shingles_add(x, a, SHORT);
    assert_int_equal(x->n, SHORT - SHINGLE_TOKENS + 1);
    struct shingle_share s = share(x, a, SHORT);
    assert_true(s.asked == SHORT - SHINGLE_TOKENS + 1 && s.found == s.asked);
    s = share(x, b, SHORT);
    assert_true(s.asked == SHORT - SHINGLE_TOKENS + 1 && s.found == 0);
    memcpy(b, a, SHORT / 2 * sizeof *a);
    s = share(x, b, SHORT);
    assert_int_equal(s.found, SHORT / 2 - SHINGLE_TOKENS + 1);
    s = share(x, a, SHINGLE_TOKENS - 1);
    assert_int_equal(s.asked, 0);
    shingles_drop(x);
    free(a);
    free(b);
}

static void of_a_long_text_a_sample_is_kept(void **state)
{
    (void)state;
    int32_t *a = text_of(3, LONG), *b = text_of(4, LONG);
    struct shingles *x = shingles_new(7), *parts = shingles_new(7), *second = shingles_new(7);
    shingles_add(x, a, LONG);
    assert_int_equal(x->n, SHINGLES_MOST);
    struct shingle_share s = share(x, a, LONG);
    assert_true(s.asked >= SHINGLES_MOST && s.asked < SHINGLES_MOST + 10 && s.found == s.asked);
    memcpy(b, a + 1000, LONG / 2 * sizeof *a);
    s = share(x, b, LONG);
    assert_true(s.asked > 7500 && s.asked < 8900); /* of 60000: one in 7.3 */
    assert_true(s.found > 0.48 * (double)s.asked && s.found < 0.52 * (double)s.asked);
    /* put together from overlapping pieces: the same */
    shingles_add(parts, a, LONG / 2);
    shingles_add(second, a + LONG / 2 - SHINGLE_TOKENS + 1, LONG / 2 + SHINGLE_TOKENS - 1);
    shingles_merge(parts, second);
    assert_int_equal(parts->n, x->n);
    assert_int_equal(parts->most, x->most);
    assert_memory_equal(parts->list, x->list, x->n * sizeof *x->list);
    shingles_drop(shingles_keep(x));
    shingles_drop(x);
    shingles_drop(parts);
    shingles_drop(second);
    shingles_drop(NULL);
    free(a);
    free(b);
}

/* A file without tensors that holds them; `kind` says what is wrong with it. */
enum { AS_WRITTEN, OUT_OF_ORDER, ABOVE_MOST, NO_MOST, ANOTHER_TYPE };
static enum st through_a_file(const struct shingles *x, int kind, struct shingles **out)
{
    struct gguf_meta meta = { 0 };
    struct buf b = { 0 };
    struct gguf *g;
    struct map map;
    struct err e = ERR_INIT;
    static const uint32_t wrong[] = { 5, 4 };
    gguf_meta_string(&meta, "general.type", STR("imatrix"));
    shingles_put(x, &meta);
    if (kind == OUT_OF_ORDER)
        gguf_meta_integers(&meta, "qdb.calibration.shingles", wrong, 2);
    if (kind == ABOVE_MOST)
        gguf_meta_integer(&meta, "qdb.calibration.most", GGUF_U32, 3);
    if (kind == NO_MOST)
        gguf_meta_drop(&meta, "qdb.calibration.most");
    if (kind == ANOTHER_TYPE)
        gguf_meta_string(&meta, "qdb.calibration.shingles", STR("x"));
    struct gguf_file f = { .kvs = meta.list, .n_kvs = meta.n };
    assert_ok(gguf_plan(&f, &e), &e);
    gguf_header(&f, &b);
    scratch_begin();
    scratch_write("f", b.p, b.n);
    assert_ok(map_open(scratch_path("f"), &map, &e), &e);
    assert_ok(gguf_parse(map, &g, &e), &e);
    enum st st = shingles_get(g, out, &e);
    gguf_free(g);
    scratch_end();
    gguf_meta_free(&meta);
    buf_free(&b);
    return st;
}

static void what_is_written_is_read(void **state)
{
    (void)state;
    int32_t *a = text_of(5, SHORT);
    struct shingles *x = shingles_new(0xfedcba98u), *y;
    shingles_add(x, a, SHORT);
    assert_int_equal(through_a_file(x, AS_WRITTEN, &y), ST_OK);
    assert_true(y->n == x->n && y->most == x->most && y->vocabulary == x->vocabulary);
    assert_memory_equal(y->list, x->list, x->n * sizeof *x->list);
    shingles_drop(y);
    for (int kind = OUT_OF_ORDER; kind <= ANOTHER_TYPE; kind++)
        assert_int_equal(through_a_file(x, kind, &y), ST_FORMAT);
    shingles_drop(x);
    free(a);
}

UNIT_MAIN(CASE(all_none_and_half_of_a_text_are_found), CASE(of_a_long_text_a_sample_is_kept),
          CASE(what_is_written_is_read))
