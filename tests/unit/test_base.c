/* SPDX-License-Identifier: MIT */
/* The base: errors, memory, text, tables. */
#include "tests/harness/unit.h"

#include <float.h>
#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/table.h"
#include "base/text.h"

static void errors_say_what_where_and_how_to_mend(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    assert_int_equal(st_fail(&e, ST_RANGE, "row %d of %d", 7, 5), ST_RANGE);
    assert_int_equal(st_where(&e, "%s", "blk.0"), ST_RANGE);
    assert_int_equal(st_hint(&e, "try %d", 4), ST_RANGE);
    assert_int_equal(st_at(&e, 3, 2), ST_RANGE);
    assert_string_equal(e.msg, "row 7 of 5");
    assert_string_equal(e.where, "blk.0");
    assert_string_equal(e.hint, "try 4");
    assert_int_equal(e.column, 3);
    st_fail(&e, ST_IO, "other"); /* a new failure keeps nothing of the old one */
    assert_string_equal(e.where, "");
    assert_string_equal(e.hint, "");
    assert_int_equal(e.column, -1);
    assert_int_equal(st_fail(NULL, ST_IO, "nobody listens"), ST_IO);
    assert_string_equal(st_name(ST_CANCELLED), "cancelled");
    assert_string_equal(st_name((enum st)1000), "?");
}

static void errors_cut_long_text(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    char name[2000];
    memset(name, 'x', sizeof name);
    name[sizeof name - 1] = '\0';
    st_fail(&e, ST_FORMAT, "%s", name);
    st_where(&e, "%s", name);
    assert_int_equal(strlen(e.msg), sizeof e.msg - 1);
    assert_int_equal(strlen(e.where), sizeof e.where - 1);
}

static void arrays_grow_zeroed(void **state)
{
    (void)state;
    int *a = NULL;
    size_t cap = 0;
    for (size_t n = 1; n <= 1000; n++) {
        x_grow(&a, &cap, n, sizeof *a);
        assert_true(cap >= n);
        assert_int_equal(a[n - 1], 0);
        a[n - 1] = (int)n;
    }
    for (size_t i = 0; i < 1000; i++)
        assert_int_equal(a[i], i + 1);
    free(a);
}

static void large_buffers_count_against_the_budget(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    void *a = NULL, *b = NULL;
    size_t before = mem_used();
    mem_set_budget(before + 10000);
    assert_ok(mem_alloc(&a, 6000, "one", &e), &e);
    assert_int_equal((uintptr_t)a % 64, 0);
    memset(a, 1, 6000);
    assert_true(mem_used() >= before + 6000);
    assert_fails(mem_alloc(&b, 6000, "the other", &e), ST_NOMEM, &e);
    assert_null(b);
    assert_non_null(strstr(e.msg, "the other needs 6.0"));
    assert_true(e.hint[0]);
    mem_free(a);
    assert_int_equal(mem_used(), before);
    assert_ok(mem_alloc(&b, 6000, "the other", &e), &e);
    mem_free(b);
    mem_free(NULL);
    assert_true(mem_peak() >= before + 6000);
    mem_set_budget(0);
}

static void large_arrays_grow_within_the_budget(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    int *a = NULL;
    size_t cap = 0, before = mem_used(), n = 0;
    mem_set_budget(before + 100000);
    while (!mem_grow(&a, &cap, n + 1, sizeof *a, "the list", &e)) {
        assert_int_equal(a[n], 0);
        n++;
        a[n - 1] = (int)n;
    }
    assert_non_null(strstr(e.msg, "the list needs"));
    assert_true(n == cap && n > 1000);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(a[i], i + 1);
    assert_fails(mem_grow(&a, &cap, SIZE_MAX / 2, sizeof *a, "all", &e), ST_NOMEM, &e);
    mem_free(a);
    assert_int_equal(mem_used(), before);
    mem_set_budget(0);
}

static void large_buffers_refuse_sizes_that_overflow(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    void *p = NULL;
    for (size_t less = 0; less < (size_t)8 << 20; less += 4093)
        assert_fails(mem_alloc(&p, SIZE_MAX - less, "all", &e), ST_NOMEM, &e);
    assert_null(p);
    assert_ok(mem_alloc(&p, 5 << 20, "huge pages", &e), &e);
    memset(p, 1, 5 << 20);
    mem_free(p);
    assert_ok(mem_alloc(&p, 0, "nothing", &e), &e);
    mem_free(p);
}

static void strings_compare(void **state)
{
    (void)state;
    assert_true(str_eq(str_of(NULL, 0), STR("")));
    assert_true(str_is(STR("blk"), "blk"));
    assert_false(str_is(STR("blk"), "bl"));
    assert_true(str_starts(STR("blk.0"), "blk."));
    assert_false(str_starts(STR("bl"), "blk."));
    assert_true(str_ends(STR("x.weight"), ".weight"));
    assert_false(str_ends(STR("eight"), ".weight"));
}

static void buffers_hold_bytes(void **state)
{
    (void)state;
    struct buf b = { 0 };
    assert_string_equal(buf_str(&b), "");
    buf_add(&b, "a\0b", 3);
    buf_printf(&b, "%05d", 42);
    assert_int_equal(b.n, 8);
    assert_memory_equal(b.p, "a\0b00042", 9);
    char *taken = buf_take(&b);
    assert_null(b.p);
    free(taken);
    taken = buf_take(&b);
    assert_string_equal(taken, "");
    free(taken);
    for (int i = 0; i < 1000; i++)
        buf_printf(&b, "%d,", i);
    assert_int_equal(b.n, 10 * 2 + 90 * 3 + 900 * 4);
    buf_clear(&b);
    assert_string_equal(buf_str(&b), "");
    buf_free(&b);
}

static void utf8_round_trips_every_code_point(void **state)
{
    (void)state;
    char text[4];
    for (uint32_t cp = 0; cp < 0x110100; cp++) {
        int32_t got;
        int n = utf8_encode(text, cp);
        bool legal = cp < 0x110000 && !(cp >= 0xd800 && cp < 0xe000);
        if (!legal) {
            assert_int_equal(n, 0);
            continue;
        }
        if (utf8_decode(text, (size_t)n, &got) != n || got != (int32_t)cp)
            fail_msg("U+%04X does not come back", (unsigned)cp);
        if (n > 1 && (utf8_decode(text, (size_t)n - 1, &got) != 1 || got != -1))
            fail_msg("U+%04X cut short is taken", (unsigned)cp);
    }
}

static void utf8_refuses_what_is_not(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "\x80", /* a continuation alone */
        "\xbf\x80",
        "\xc0\x80", /* overlong NUL */
        "\xc1\xbf",
        "\xe0\x9f\xbf", /* overlong */
        "\xf0\x8f\xbf\xbf",
        "\xed\xa0\x80", /* a surrogate */
        "\xed\xbf\xbf",
        "\xf4\x90\x80\x80", /* past U+10FFFF */
        "\xf8\x88\x80\x80",
        "\xff",
        "\xc3\x28", /* no continuation */
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        int32_t cp = 0;
        assert_int_equal(utf8_decode(bad[i], strlen(bad[i]), &cp), 1);
        assert_int_equal(cp, -1);
    }
}

static void shown_text_is_harmless(void **state)
{
    (void)state;
    struct buf b = { 0 };
    buf_visible(&b, STR("a\n\t\r\"\\\x1b[2J\x7f\xff\xc2\x9b é 漢 \xe2\x80\xae"));
    assert_string_equal(b.p, "a\\n\\t\\r\\\"\\\\\\x1b[2J\\x7f\\xff\\u{9b} é 漢 \\u{202e}");
    buf_clear(&b);
    buf_json(&b, STR("a\n\"\\\x01\x7f\xff é"));
    assert_string_equal(b.p, "\"a\\u000a\\\"\\\\\\u0001\\u007f\xef\xbf\xbd é\"");
    buf_free(&b);
}

static void text_columns_count_wide_characters(void **state)
{
    (void)state;
    if (!setlocale(LC_CTYPE, "C.UTF-8"))
        SKIP_CASE("no C.UTF-8 locale");
    assert_int_equal(text_columns(STR("")), 0);
    assert_int_equal(text_columns(STR("abc")), 3);
    assert_int_equal(text_columns(STR("é")), 1);
    assert_int_equal(text_columns(STR("e\xcc\x81")), 1); /* a combining accent */
    assert_int_equal(text_columns(STR("漢字")), 4);
}

static void whole_numbers_keep_their_range(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    int64_t v = 99;
    assert_ok(parse_i64(STR("-9223372036854775808"), INT64_MIN, INT64_MAX, &v, &e), &e);
    assert_true(v == INT64_MIN);
    assert_ok(parse_i64(STR("9223372036854775807"), INT64_MIN, INT64_MAX, &v, &e), &e);
    assert_true(v == INT64_MAX);
    assert_ok(parse_i64(STR("0xFf"), 0, 255, &v, &e), &e);
    assert_int_equal(v, 255);
    assert_ok(parse_i64(STR("010"), 0, 255, &v, &e), &e); /* no octal */
    assert_int_equal(v, 10);

    static const char *const outside[] = { "11", "-1", "9223372036854775808",
                                           "1000000000000000000000", "0x10000000000000000" };
    for (size_t i = 0; i < sizeof outside / sizeof *outside; i++)
        assert_fails(parse_i64(str_from(outside[i]), 0, 10, &v, &e), ST_RANGE, &e);
    static const char *const wrong[] = {
        "",   " ",    " 1",  "\t1",
        "1 ", "1.5",  "1e3", "x",
        "0x", "0x-1", "--1", "1234567890123456789012345678901234567890123456789012345678901234"
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_fails(parse_i64(str_from(wrong[i]), 0, 10, &v, &e), ST_SYNTAX, &e);
    assert_fails(parse_i64(str_of("1\0002", 3), 0, 10, &v, &e), ST_SYNTAX, &e);
    assert_int_equal(v, 10); /* written on success only */
}

static void numbers_read_and_refuse(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    double v = 99;
    assert_ok(parse_f64(STR("-1.5e-3"), &v, &e), &e);
    assert_true(v == -1.5e-3);
    assert_ok(parse_f64(STR("inf"), &v, &e), &e);
    assert_true(isinf(v));
    assert_ok(parse_f64(STR("1e-400"), &v, &e), &e); /* too small is zero, not an error */
    assert_true(v == 0);
    assert_fails(parse_f64(STR("1e400"), &v, &e), ST_RANGE, &e);
    assert_fails(parse_f64(STR("1,5"), &v, &e), ST_SYNTAX, &e);
    assert_fails(parse_f64(STR(""), &v, &e), ST_SYNTAX, &e);
    assert_fails(parse_f64(STR("\n1"), &v, &e), ST_SYNTAX, &e);

    static const struct {
        const char *text;
        size_t bytes;
    } sizes[] = { { "0", 0 },        { "512", 512 },           { "64K", 65536 },
                  { "64kb", 65536 }, { "300M", 300 << 20 },    { "1.5G", 1610612736 },
                  { "10B", 10 },     { "2t", (size_t)2 << 40 } };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        size_t bytes = 1;
        assert_ok(parse_size(str_from(sizes[i].text), &bytes, &e), &e);
        assert_int_equal(bytes, sizes[i].bytes);
    }
    static const char *const wrong[] = { "",    "K",   "B",    "kb",        "-1",
                                         "nan", "inf", "1e30", "99999999T", "1X" };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        size_t bytes = 1;
        assert_fails(parse_size(str_from(wrong[i]), &bytes, &e), ST_SYNTAX, &e);
    }
}

static void floats_read_back_exactly(void **state)
{
    (void)state;
    static const double edges[] = { 0.0,     -0.0,   1.0,      0.1,      1.0 / 3,        DBL_MAX,
                                    DBL_MIN, 5e-324, -DBL_MAX, 123456.0, 1e22 + 2097152, FLT_MIN };
    uint64_t seed = 1;
    char text[32];
    for (int i = 0; i < 20000; i++) {
        uint64_t bits = unit_random(&seed);
        double v, again;
        if (i < (int)(sizeof edges / sizeof *edges))
            v = edges[i];
        else
            memcpy(&v, &bits, sizeof v);
        text_f64(text, sizeof text, v);
        if (isnan(v)) {
            assert_string_equal(text, "nan");
            continue;
        }
        again = strtod(text, NULL);
        assert_memory_equal(&v, &again, sizeof v); /* also the sign of zero */
    }
    assert_string_equal(text_f64(text, sizeof text, 0.1), "0.1");
    assert_string_equal(text_f64(text, sizeof text, -INFINITY), "-inf");
}

static void people_see_few_digits(void **state)
{
    (void)state;
    char text[32];
    assert_string_equal(text_digits(text, sizeof text, 3.14159, 3), "3.14");
    assert_string_equal(text_digits(text, sizeof text, -123456.7, 4), "-123457");
    assert_string_equal(text_digits(text, sizeof text, 0.000123456, 3), "0.000123");
    assert_string_equal(text_digits(text, sizeof text, 0, 4), "0");
    assert_string_equal(text_digits(text, sizeof text, NAN, 4), "nan");
    assert_string_equal(text_bytes(text, sizeof text, 999), "999 B");
    assert_string_equal(text_bytes(text, sizeof text, 1500), "1.50 kB");
    assert_string_equal(text_bytes(text, sizeof text, 1610612736), "1.61 GB");
    assert_string_equal(text_bytes(text, sizeof text, 260032), "260 kB");
    assert_string_equal(text_bytes(text, sizeof text, 11000000), "11.0 MB");
}

static void distance_counts_edits_and_swaps(void **state)
{
    (void)state;
    static const struct {
        const char *a, *b;
        int distance;
    } cases[] = { { "", "", 0 },          { "", "abc", 3 },        { "break", "break", 0 },
                  { "brek", "break", 1 }, { "braek", "break", 1 }, { "kitten", "sitting", 3 },
                  { "ca", "abc", 3 } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct str a = str_from(cases[i].a), b = str_from(cases[i].b);
        assert_int_equal(text_distance(a, b), cases[i].distance);
        assert_int_equal(text_distance(b, a), cases[i].distance);
    }
    char a[600], b[600];
    memset(a, 'a', sizeof a);
    memset(b, 'b', sizeof b);
    assert_int_equal(text_distance(str_of(a, sizeof a), str_of(b, sizeof b)), 255);
}

static void tables_hold_typed_cells(void **state)
{
    (void)state;
    struct result r = { 0 };
    struct table *t = result_table(&r, "points", TABLE_ROWS);
    table_column(t, COL_ADDRESS, "point", "");
    table_column(t, COL_INT, "rows", "tokens");
    table_column(t, COL_FLOAT, "rms", "");
    table_digits(t, 3);
    table_column(t, COL_BOOL, "held", "");
    for (int i = 0; i < 100; i++) {
        table_row(t);
        table_fmt(t, "blk.%d.out", i);
        table_int(t, i);
        if (i % 2)
            table_skip(t);
        else
            table_float(t, i / 4.0);
        if (i % 3 == 0)
            table_bool(t, true);
    }
    assert_int_equal(t->n_rows, 100);
    assert_int_equal(t->columns[2].digits, 3);
    assert_string_equal(table_cell(t, 7, 0)->s, "blk.7.out");
    assert_int_equal(table_cell(t, 7, 1)->i, 7);
    assert_true(table_cell(t, 7, 2)->absent);
    assert_true(table_cell(t, 6, 2)->f == 1.5);
    assert_true(table_cell(t, 6, 3)->i && table_cell(t, 7, 3)->absent); /* left out */
    assert_int_equal(table_find(t, "held"), 3);
    assert_int_equal(table_find(t, "hel"), -1);
    result_free(&r);
}

static void results_collect_lines_and_notes(void **state)
{
    (void)state;
    struct result r = { 0 };
    result_line(&r, "help", "%s", "one");
    result_line(&r, "help", "two");
    result_line(&r, "other", "three");
    result_note(&r, "%d tokens", 3);
    assert_int_equal(r.n_tables, 2);
    assert_int_equal(r.tables[0]->n_rows, 2);
    assert_string_equal(table_cell(r.tables[0], 1, 0)->s, "two");
    assert_string_equal(r.notes[0], "3 tokens");
    struct table *t = result_table(&r, "empty", TABLE_ROWS);
    table_column(t, COL_STRING, "text", "");
    table_row(t);
    table_str(t, NULL);
    assert_true(table_cell(t, 0, 0)->absent);
    result_free(&r);
    assert_int_equal(r.n_tables, 0);
    result_note(&r, "usable again");
    result_free(&r);
}

UNIT_MAIN(CASE(errors_say_what_where_and_how_to_mend), CASE(errors_cut_long_text),
          CASE(arrays_grow_zeroed), CASE(large_buffers_count_against_the_budget),
          CASE(large_arrays_grow_within_the_budget), CASE(large_buffers_refuse_sizes_that_overflow),
          CASE(strings_compare), CASE(buffers_hold_bytes), CASE(utf8_round_trips_every_code_point),
          CASE(utf8_refuses_what_is_not), CASE(shown_text_is_harmless),
          CASE(text_columns_count_wide_characters), CASE(whole_numbers_keep_their_range),
          CASE(numbers_read_and_refuse), CASE(floats_read_back_exactly),
          CASE(people_see_few_digits), CASE(distance_counts_edits_and_swaps),
          CASE(tables_hold_typed_cells), CASE(results_collect_lines_and_notes))
