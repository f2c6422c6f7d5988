/* SPDX-License-Identifier: MIT */
/* Files of log-probabilities: written as llama-perplexity does, read back byte for byte, and lying
 * ones refused. */
#include "tests/harness/unit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "file/logits.h"
#include "tests/harness/scratch.h"

enum { CTX = 8, VOCAB = 5, CHUNKS = 2, SCORED = 3, ROW = 2 * (6 + 4), ROWS = CHUNKS * SCORED };
static const int32_t tokens[CHUNKS * CTX] = { 0, 1, 2, 3, 4, 0, 1, 2, 4, 4, 4, 4, 3, 3, 3, 3 };

/* Rows of logits: of a wide range, of a narrow one, all alike. */
static void logits_of(int row, float *out)
{
    for (int k = 0; k < VOCAB; k++)
        out[k] = row == 5 ? 2 : row % 2 ? (float)(3 * k * k - row) : (float)(0.01 * k + row);
}

static void write_it(const char *name)
{
    struct logits_writer w;
    struct err e = ERR_INIT;
    float x[VOCAB];
    assert_ok(logits_create(&w, scratch_path(name), CTX, VOCAB, CHUNKS, tokens, &e), &e);
    for (int i = 0; i < ROWS; i++) {
        logits_of(i, x);
        logits_put(&w, x);
    }
    assert_ok(logits_finish(&w, &e), &e);
}

static void gives_back_what_16_bits_hold(void **state)
{
    (void)state;
    scratch_begin();
    write_it("a");
    struct logits_base *b;
    struct err e = ERR_INIT;
    assert_ok(logits_open(scratch_path("a"), &b, &e), &e);
    assert_int_equal(b->map.size, 8 + 12 + sizeof tokens + ROWS * ROW);
    assert_int_equal(b->scored, SCORED);
    assert_memory_equal(b->tokens, tokens, sizeof tokens);
    for (int i = 0; i < ROWS; i++) {
        float x[VOCAB], got[VOCAB];
        double sum = 0, most = -INFINITY;
        logits_of(i, x);
        for (int k = 0; k < VOCAB; k++) {
            sum += exp((double)x[k]);
            most = fmax(most, (double)x[k]);
        }
        assert_ok(logits_row(b, i / SCORED, i % SCORED, got, &e), &e);
        for (int k = 0; k < VOCAB; k++) {
            const double floor = fmax((double)x[k], most - 16), want = floor - log(sum);
            assert_true(fabs((double)got[k] - want) < 16.0 / 65535); /* a step, half is rounding */
        }
    }
    logits_free(b);
    assert_int_equal(mem_used(), 0);
    scratch_end();
}

/* A row worked out by hand: logits 0, -8, -40 of a vocabulary of 3; the pad is zero. */
static void has_the_bytes_of_the_format(void **state)
{
    (void)state;
    static const float x[] = { 0, -8, -40 };
    uint8_t row[16];
    float head[2];
    uint16_t code[4];
    logits_encode(x, 3, row);
    memcpy(head, row, 8);
    memcpy(code, row + 8, 8);
    assert_true(head[0] == 16.0f / 65535.0f);
    assert_true(fabsf(head[1] - (-16.0f - (float)log(1 + exp(-8.0) + exp(-40.0)))) < 1e-6f);
    assert_int_equal(code[0], 65535);
    assert_int_equal(code[1], 32768); /* 32767.5 to even */
    assert_int_equal(code[2], 0);
    assert_int_equal(code[3], 0);
}

static void is_the_same_written_again(void **state)
{
    (void)state;
    scratch_begin();
    write_it("a");
    struct logits_base *b;
    struct logits_writer w;
    struct err e = ERR_INIT;
    assert_ok(logits_open(scratch_path("a"), &b, &e), &e);
    assert_ok(logits_create(&w, scratch_path("b"), b->n_ctx, b->n_vocab, b->n_chunk, b->tokens, &e),
              &e);
    for (int64_t i = 0; i < b->n_chunk * b->scored; i++)
        logits_put_row(&w, b->rows + (size_t)i * b->row);
    assert_ok(logits_finish(&w, &e), &e);
    logits_free(b);
    size_t n[2];
    char *first = unit_read(scratch_path("a"), &n[0]),
         *second = unit_read(scratch_path("b"), &n[1]);
    assert_int_equal(n[0], n[1]);
    assert_memory_equal(first, second, n[0]);
    /* rows that are missing, a disk without room */
    assert_ok(logits_create(&w, scratch_path("b"), CTX, VOCAB, CHUNKS, tokens, &e), &e);
    logits_put_row(&w, first);
    assert_fails(logits_finish(&w, &e), ST_STATE, &e);
    assert_fails(logits_create(&w, scratch_path("c"), 4, INT32_MAX, 1 << 20, tokens, &e), ST_IO,
                 &e);
    char *kept = unit_read(scratch_path("b"), &n[1]);
    assert_int_equal(n[0], n[1]);
    free(kept);
    free(first);
    free(second);
    scratch_end();
}

static void refuses_lying_files(void **state)
{
    (void)state;
    scratch_begin();
    write_it("a");
    size_t n;
    char *sound = unit_read(scratch_path("a"), &n);
    struct logits_base *b;
    struct err e = ERR_INIT;
    for (size_t cut = 0; cut < n; cut++)
        assert_fails(logits_parse(map_borrow(sound, cut, "cut"), &b, &e), ST_FORMAT, &e);
    static const struct {
        size_t at;
        uint32_t v;
    } lies[] = {
        { 0, 0 },           { 8, 3 },           { 8, 0xffffffff },  { 8, 0x7fffffff },
        { 12, 0 },          { 12, 0xffffffff }, { 12, 0x7fffffff }, { 12, VOCAB - 1 },
        { 16, 0 },          { 16, 0xffffffff }, { 16, 0x7fffffff }, { 20, VOCAB },
        { 24, 0xffffffff },
    };
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
        char *bad = x_alloc(n);
        memcpy(bad, sound, n);
        memcpy(bad + lies[i].at, &lies[i].v, 4);
        assert_fails(logits_parse(map_borrow(bad, n, "lie"), &b, &e), ST_FORMAT, &e);
        free(bad);
    }
    const float nan = NAN;
    float row[VOCAB];
    memcpy(sound + 20 + sizeof tokens + ROW, &nan, 4);
    assert_ok(logits_parse(map_borrow(sound, n, "nan"), &b, &e), &e);
    assert_ok(logits_row(b, 0, 0, row, &e), &e);
    assert_fails(logits_row(b, 0, 1, row, &e), ST_FORMAT, &e);
    logits_free(b);
    free(sound);
    assert_int_equal(mem_used(), 0);
    scratch_end();
}

UNIT_MAIN(CASE(gives_back_what_16_bits_hold), CASE(has_the_bytes_of_the_format),
          CASE(is_the_same_written_again), CASE(refuses_lying_files))
