/* SPDX-License-Identifier: MIT */
/* Renderers: what JSON and CSV carry exactly, and how tables fit a screen. */
#include "tests/harness/unit.h"

#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/harness/json.h"
#include "tests/harness/rendered.h"

/* One row with a cell of every kind, awkward text included. */
static struct table *awkward(struct result *r)
{
    struct table *t = result_table(r, "t", TABLE_ROWS);
    table_column(t, COL_STRING, "name", "");
    table_column(t, COL_INT, "n", "B");
    table_column(t, COL_FLOAT, "v", "");
    table_column(t, COL_BOOL, "ok", "");
    table_column(t, COL_ADDRESS, "at", "");
    table_row(t);
    table_str(t, "a,\"b\"|\n\x01\xff*");
    table_int(t, INT64_MIN);
    table_float(t, 0.1);
    table_bool(t, true);
    table_str(t, "blk.0");
    table_row(t);
    return t;
}

static void json_is_exact(void **state)
{
    (void)state;
    static const double values[] = { 0, -0.0, 0.1,     1e300, 5e-324,   1.0 / 3,
                                     3, 1e15, -2.5e-8, NAN,   INFINITY, -INFINITY };
    enum { N = sizeof values / sizeof *values };
    struct result r = { 0 };
    struct table *t = result_table(&r, "v", TABLE_ROWS);
    table_column(t, COL_FLOAT, "v", "nat");
    for (int i = 0; i < N; i++) {
        table_row(t);
        table_float(t, values[i]);
    }
    struct buf out = { 0 };
    render_json(&out, STR("x \"y\""), &r, NULL);
    assert_int_equal(out.p[out.n - 1], '\n');
    assert_ptr_equal(strchr(out.p, '\n'), out.p + out.n - 1);
    struct json *j = json_parse(out.p, out.n);
    assert_string_equal(json_text(j, "command"), "x \"y\"");
    assert_string_equal(json_text(j, "status"), "ok");
    assert_int_equal(json_get(j, "error")->kind, JSON_NULL);
    const struct json *table = &json_list(j, "tables")->items[0];
    const struct json *column = &json_list(table, "columns")->items[0];
    assert_string_equal(json_text(column, "unit"), "nat");
    assert_string_equal(json_text(column, "type"), "float");
    const struct json *rows = json_list(table, "rows");
    assert_int_equal(rows->n, N);
    for (int i = 0; i < N - 3; i++) {
        double got = json_number(&rows->items[i], 0);
        assert_memory_equal(&got, &values[i], sizeof got);
    }
    assert_string_equal(rows->items[N - 3].items[0].text, "nan");
    assert_string_equal(rows->items[N - 2].items[0].text, "inf");
    assert_string_equal(rows->items[N - 1].items[0].text, "-inf");
    json_free(j);
    buf_free(&out);
    result_free(&r);
}

static void json_carries_everything(void **state)
{
    (void)state;
    struct result r = { .status = RESULT_FOUND };
    awkward(&r);
    result_note(&r, "a note");
    struct err e = ERR_INIT;
    st_fail(&e, ST_RANGE, "too \"far\"");
    st_where(&e, "blk.99");
    struct buf out = { 0 };
    render_json(&out, STR("c"), &r, &e);
    struct json *j = json_parse(out.p, out.n);
    assert_string_equal(json_text(j, "status"), "error");
    assert_string_equal(json_text(json_get(j, "error"), "message"), "too \"far\"");
    assert_string_equal(json_text(json_get(j, "error"), "where"), "blk.99");
    assert_string_equal(json_text(json_get(j, "error"), "hint"), "");
    assert_string_equal(json_list(j, "notes")->items[0].text, "a note");
    const struct json *rows = json_list(&json_list(j, "tables")->items[0], "rows");
    assert_string_equal(rows->items[0].items[0].text, "a,\"b\"|\n\x01\xef\xbf\xbd*");
    assert_non_null(strstr(out.p, "-9223372036854775808"));
    assert_int_equal(rows->items[0].items[3].kind, JSON_BOOL);
    for (int i = 0; i < 5; i++)
        assert_int_equal(rows->items[1].items[i].kind, JSON_NULL);
    json_free(j);
    buf_clear(&out);
    e.st = ST_CANCELLED;
    r.status = RESULT_PARTIAL;
    render_json(&out, STR("c"), &r, &e);
    assert_non_null(strstr(out.p, "\"status\": \"partial\""));
    buf_free(&out);
    result_free(&r);
}

static void csv_quotes(void **state)
{
    (void)state;
    struct result r = { 0 };
    awkward(&r);
    result_note(&r, "a note");
    struct style csv = rendered_plain;
    csv.mode = OUTPUT_CSV;
    assert_rendered(&r, &csv,
                "name,n,v,ok,at\n"
                "\"a,\"\"b\"\"|\n\x01\xff*\",-9223372036854775808,0.1,true,blk.0\n"
                ",,,,\n"
                "<a note\n>");
    result_free(&r);
}

static void markdown_escapes(void **state)
{
    (void)state;
    struct result r = { 0 };
    awkward(&r);
    result_line(&r, "lines", "as | it *stands*");
    struct style md = rendered_plain;
    md.mode = OUTPUT_MD;
    assert_rendered(&r, &md,
                "**t**\n\n"
                "| name | n (B) | v | ok | at |\n"
                "| --- | ---: | ---: | --- | --- |\n"
                "| a,\"b\"\\|\\\\n\\\\x01\\\\xff\\* | -9223372036854775808 | 0.1 | yes | blk.0 |\n"
                "| - | - | - | - | - |\n"
                "\n```\nas | it *stands*\n```\n");
    result_free(&r);
}

static void rows_are_aligned(void **state)
{
    (void)state;
    struct result r = { 0 };
    struct table *t = result_table(&r, "t", TABLE_ROWS);
    table_column(t, COL_STRING, "name", "");
    table_column(t, COL_FLOAT, "rms", "nat");
    table_column(t, COL_INT, "n", "");
    table_digits(t, 3);
    table_row(t);
    table_str(t, "caf\xc3\xa9");
    table_float(t, 1234.5678);
    table_int(t, 7);
    table_row(t);
    table_str(t, "x");
    table_skip(t);
    table_int(t, 12345);
    result_note(&r, "done");
    assert_rendered(&r, &rendered_plain,
                "name  rms (nat)      n\n"
                "caf\xc3\xa9     1234.6      7\n"
                "x             -  12345\n"
                "done\n");
    result_free(&r);
}

static void long_rows_fit(void **state)
{
    (void)state;
    struct result r = { 0 };
    struct table *t = result_table(&r, "t", TABLE_ROWS);
    table_column(t, COL_STRING, "first", "");
    table_column(t, COL_STRING, "second", "");
    for (int i = 0; i < 12; i++)
        table_column(t, COL_INT, "number", "");
    table_row(t);
    table_str(t, "a name of a tensor that is as long as two hundred characters may be, or nearly");
    table_str(t, "\xe6\xbc\xa2\xe5\xad\x97\xe6\xbc\xa2\xe5\xad\x97\xe6\xbc\xa2\xe5\xad\x97");
    for (int i = 0; i < 12; i++)
        table_int(t, 1000000 + i);
    static const int widths[] = { 80, 40, 24 };
    for (int i = 0; i < 3; i++)
        for (int utf8 = 0; utf8 < 2; utf8++) {
            struct style style = rendered_plain;
            style.width = widths[i];
            style.utf8 = utf8;
            char *text = rendered(&r, &style);
            assert_true(rendered_columns(text) <= widths[i]);
            assert_non_null(strstr(text, "1000011")); /* no number is lost */
            assert_true((strstr(text, "\xe2\x80\xa6") != NULL) == utf8);
            free(text);
        }
    struct style unlimited = rendered_plain;
    unlimited.width = 0;
    char *text = rendered(&r, &unlimited);
    assert_non_null(strstr(text, "or nearly"));
    free(text);
    result_free(&r);
}

static void parts_repeat_what_names_a_row(void **state)
{
    (void)state;
    struct result r = { 0 };
    struct table *t = result_table(&r, "t", TABLE_ROWS);
    table_column(t, COL_INT, "block", "");
    table_column(t, COL_INT, "head", "");
    for (int i = 0; i < 3; i++)
        table_column(t, COL_FLOAT, "a long name", "");
    table_row(t);
    table_int(t, 2);
    table_int(t, 7);
    for (int i = 0; i < 3; i++)
        table_float(t, i + 0.5);
    struct style narrow = rendered_plain;
    narrow.width = 40;
    assert_rendered(&r, &narrow,
                "block  head  a long name  a long name\n"
                "    2     7          0.5       1.5000\n"
                "\n"
                "block  head  a long name\n"
                "    2     7       2.5000\n");
    result_free(&r);
}

/* Two names that differ in their ends, a long text, and a column of zeros that does not fit. */
static void names_are_not_cut(void **state)
{
    (void)state;
    struct result r = { 0 };
    struct table *t = result_table(&r, "t", TABLE_ROWS);
    table_column(t, COL_ADDRESS, "point", "");
    table_column(t, COL_STRING, "meaning", "");
    table_column(t, COL_ADDRESS, "nearest", "");
    table_column(t, COL_INT, "nonfinite", "");
    for (int i = 0; i < 2; i++) {
        table_row(t);
        table_str(t, i ? "blk.0.attn_output.out" : "blk.0.attn_output.in");
        table_str(t, "what comes out of all the heads, put together");
        table_str(t, "blk.11.ffn_down.out");
        table_int(t, 0);
    }
    struct style narrow = rendered_plain;
    narrow.width = 64;
    assert_rendered(&r, &narrow,
                "point                  meaning    nearest              nonfinite\n"
                "blk.0.attn_output.in   what co..  blk.11.ffn_down.out          0\n"
                "blk.0.attn_output.out  what co..  blk.11.ffn_down.out          0\n");
    narrow.width = 54;
    assert_rendered(&r, &narrow,
                "point                  meaning     nearest\n"
                "blk.0.attn_output.in   what com..  blk.11.ffn_down.out\n"
                "blk.0.attn_output.out  what com..  blk.11.ffn_down.out\n"
                "(0 in every row: nonfinite)\n");
    result_free(&r);
}

static void notes_are_wrapped(void **state)
{
    (void)state;
    struct result r = { 0 };
    struct style narrow = rendered_plain;
    narrow.width = 20;
    result_note(&r, "twenty columns of it are a line, longer-words-than-that are cut");
    assert_rendered(&r, &narrow,
                "twenty columns of it\nare a line,\nlonger-words-than-th\nat are cut\n");
    narrow.width = 0;
    assert_rendered(&r, &narrow,
                "twenty columns of it are a line, longer-words-than-that are cut\n");
    result_free(&r);
}

static void records_and_lines(void **state)
{
    (void)state;
    struct result r = { 0 };
    struct table *t = result_table(&r, "t", TABLE_RECORD);
    table_column(t, COL_STRING, "a", "");
    table_column(t, COL_FLOAT, "longer", "ms");
    table_column(t, COL_INT, "left out", "");
    table_row(t);
    table_str(t, "\x1b[31mred");
    table_float(t, 0.25);
    result_line(&r, "lines", "one\ttab");
    result_line(&r, "lines", "%s", "");
    assert_rendered(&r, &rendered_plain,
                    "a         \\x1b[31mred\nlonger    0.25 ms\n\none\ttab\n\n");
    result_free(&r);
}

static void nothing_is_said_as_nothing(void **state)
{
    (void)state;
    struct result r = { 0 };
    assert_rendered(&r, &rendered_plain, "");
    struct table *t = result_table(&r, "t", TABLE_ROWS);
    table_column(t, COL_STRING, "a", "");
    assert_rendered(&r, &rendered_plain, "a\n(none)\n");
    result_free(&r);
}

static void empty_columns_are_left_out(void **state)
{
    (void)state;
    struct result r = { 0 };
    struct table *t = result_table(&r, "t", TABLE_ROWS);
    table_column(t, COL_STRING, "a", "");
    table_column(t, COL_STRING, "problem", "");
    table_column(t, COL_INT, "n", "");
    table_row(t);
    table_str(t, "x");
    table_skip(t);
    table_int(t, 1);
    assert_rendered(&r, &rendered_plain, "a  n\nx  1\n");
    struct style csv = rendered_plain;
    csv.mode = OUTPUT_CSV;
    assert_rendered(&r, &csv, "a,problem,n\nx,,1\n");
    result_free(&r);
}

/* As few lines as the width allows; what belongs together is read together. */
static void brief_rows_are_packed(void **state)
{
    (void)state;
    struct result r = { 0 };
    for (int i = 0; i < 2; i++) {
        struct table *t = result_table(&r, "t", TABLE_BRIEF);
        TABLE_COLUMNS(t, { COL_STRING, "stage" },
                      { COL_FLOAT, "kl", "nat", .was = "before", .low = "low", .high = "high" },
                      { COL_FLOAT, "low" }, { COL_FLOAT, "high" }, { COL_FLOAT, "before" },
                      { COL_STRING, "text" }, { COL_BOOL, "quiet", .quiet = true },
                      { COL_INT, "scored", "tokens" });
        table_row(t);
        table_str(t, i ? "measured" : "now");
        if (i)
            table_skip(t);
        else
            table_float(t, 3);
        table_float(t, 2);
        if (i)
            table_skip(t);
        else
            table_float(t, 4);
        table_float(t, 1);
        table_str(t, "a rather long name");
        table_bool(t, true);
        table_int(t, 1);
    }
    struct style narrow = rendered_plain;
    narrow.width = 40;
    assert_rendered(&r, &narrow,
                "now       kl 1.0000 -> 3.0000 [2.0000, 4.0000] nat\n"
                "          text a rather long name\n"
                "          scored 1 token\n"
                "measured  low 2.0000  before 1.0000\n"
                "          text a rather long name\n"
                "          scored 1 token\n");
    result_free(&r);
}

/* What stands for an absent number is for people alone, and what is quiet for machines. */
static void words_stand_in_the_place_of_numbers(void **state)
{
    (void)state;
    static const enum table_form forms[] = { TABLE_RECORD, TABLE_ROWS, TABLE_LINE };
    static const char *const want[] = { "kl  <floor\n", "kl (nat)\n  <floor\n", "<floor\n" };
    for (int i = 0; i < 3; i++) {
        struct result r = { 0 };
        struct table *t = result_table(&r, "t", forms[i]);
        TABLE_COLUMNS(t, { COL_FLOAT, "kl", "nat" }, { COL_BOOL, "b", .quiet = true });
        table_row(t);
        table_instead(t, "<floor");
        table_bool(t, true);
        assert_rendered(&r, &rendered_plain, want[i]);
        struct style machine = rendered_plain;
        machine.mode = OUTPUT_CSV;
        assert_rendered(&r, &machine, "kl,b\n,true\n");
        struct buf json = { 0 };
        render_json(&json, STR("x"), &r, NULL);
        assert_non_null(strstr(json.p, "[[null, true]]"));
        buf_free(&json);
        result_free(&r);
    }
}

static void errors_have_carets(void **state)
{
    (void)state;
    struct buf out = { 0 };
    struct err e = ERR_INIT;
    st_fail(&e, ST_RANGE, "no block 99");
    st_where(&e, "blk.99.out");
    st_at(&e, 8, 6);
    st_hint(&e, "blocks are 0..4");
    render_error(&out, &e, STR("caf\xc3\xa9\tx blk.99 y"), "f:3: ", &rendered_plain);
    assert_string_equal(out.p, "f:3: error: no block 99 - blk.99.out\n"
                               "  caf\xc3\xa9\\tx blk.99 y\n"
                               "          ^~~~~~\n"
                               "blocks are 0..4\n");
    buf_clear(&out);
    st_fail(&e, ST_IO, "no such file");
    render_error(&out, &e, STR("open x"), "", &rendered_plain);
    assert_string_equal(out.p, "error: no such file\n");
    buf_clear(&out);
    st_fail(&e, ST_CANCELLED, "interrupted"); /* no word of the line is to blame */
    st_at(&e, 6, 1);
    render_error(&out, &e, STR("print w"), "", &rendered_plain);
    assert_string_equal(out.p, "interrupted\n");
    buf_free(&out);
}

static void long_lines_show_the_place(void **state)
{
    (void)state;
    char line[1000];
    memset(line, 'a', sizeof line);
    memcpy(line + 700, "HERE", 4);
    struct err e = ERR_INIT;
    st_fail(&e, ST_SYNTAX, "wrong");
    for (int column = 0; column <= 1000; column += 100) {
        struct buf out = { 0 };
        st_at(&e, column, column == 700 ? 4 : 2000);
        render_error(&out, &e, str_of(line, sizeof line), "", &rendered_plain);
        assert_true(rendered_columns(out.p) <= 80);
        const char *caret = strchr(strchr(strchr(out.p, '\n') + 1, '\n') + 1, '^');
        assert_non_null(caret);
        if (column == 700) {
            const char *here = strstr(out.p, "HERE");
            const char *shown = strchr(out.p, '\n') + 1, *marks = strchr(shown, '\n') + 1;
            assert_int_equal(here - shown, caret - marks);
        }
        buf_free(&out);
    }
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        CASE(json_is_exact),
        CASE(json_carries_everything),
        CASE(csv_quotes),
        CASE(markdown_escapes),
        CASE(rows_are_aligned),
        CASE(long_rows_fit),
        CASE(parts_repeat_what_names_a_row),
        CASE(names_are_not_cut),
        CASE(notes_are_wrapped),
        CASE(records_and_lines),
        CASE(nothing_is_said_as_nothing),
        CASE(empty_columns_are_left_out), CASE(words_stand_in_the_place_of_numbers),
        CASE(brief_rows_are_packed),
        CASE(errors_have_carets),
        CASE(long_lines_show_the_place),
    };
    setlocale(LC_CTYPE, "C.UTF-8"); /* widths of characters */
    unit_begin();
    return cmocka_run_group_tests(cases, NULL, NULL);
}
