/* SPDX-License-Identifier: MIT */
/* Renderers: heat maps and histograms. */
#include "tests/harness/unit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/harness/rendered.h"

static struct table *heat(struct result *r, int columns)
{
    struct table *t = result_table(r, "h", TABLE_HEAT);
    table_column(t, COL_STRING, "row", "");
    for (int i = 0; i < columns; i++) {
        char name[16];
        snprintf(name, sizeof name, "c%d", i);
        table_column(t, COL_FLOAT, name, "");
    }
    return t;
}

static void heat_is_a_ramp(void **state)
{
    (void)state;
    struct result r = { 0 };
    struct table *t = heat(&r, 5);
    table_row(t);
    table_str(t, "a");
    table_float(t, 0);
    table_float(t, 5.01);
    table_float(t, 10);
    table_float(t, NAN);
    table_row(t);
    table_str(t, "bb");
    for (int i = 0; i < 5; i++)
        table_float(t, 2.5 * i);
    assert_rendered(&r, &rendered_plain,
                "a   +@!!|\n"
                "bb  :+#@|\n"
                "' ' 0 to '@' 10.000 (lin); ! no number\ncolumns: c0 to c4\n");
    struct style rank = rendered_plain;
    rank.heat = HEAT_RANK;
    char *text = rendered(&r, &rank);
    assert_non_null(strstr(text, "(rank)"));
    free(text);
    struct style color = rendered_plain;
    color.color = color.utf8 = true;
    text = rendered(&r, &color);
    assert_non_null(strstr(text, "bb \033[48;5;")); /* few rows have a line each */
    assert_non_null(strstr(text, "!"));
    free(text);
    for (int i = 0; i < 39; i++) {
        table_row(t);
        table_str(t, "more");
        for (int j = 0; j < 5; j++)
            table_float(t, j);
    }
    text = rendered(&r, &color);
    assert_non_null(strstr(text, "\xe2\x96\x80")); /* many share one with the next */
    size_t lines = 0;
    for (const char *p = text; *p; p++)
        lines += *p == '\n';
    assert_int_equal(lines, 21 + 2); /* 41 rows, the legend */
    free(text);
    color.glyphs = GLYPHS_ASCII;
    text = rendered(&r, &color);
    assert_null(strstr(text, "\xe2\x96\x80"));
    free(text);
    result_free(&r);
}

static void signs_show_in_a_heat_map(void **state)
{
    (void)state;
    struct result r = { 0 };
    struct table *t = heat(&r, 9);
    table_row(t);
    table_str(t, "a");
    for (int i = 0; i < 9; i++)
        table_float(t, (i - 4) * 0.25);
    char *text = rendered(&r, &rendered_plain);
    assert_memory_equal(text, "a Nn=- .+xX|\n", 13);
    assert_non_null(strstr(text, "-1.0000 to 1.0000 (lin)"));
    free(text);
    struct style color = rendered_plain;
    color.color = color.utf8 = true;
    text = rendered(&r, &color);
    assert_non_null(strstr(text, "blue -1.0000, white 0, orange 1.0000"));
    free(text);
    result_free(&r);
}

static void wide_heat_folds_and_keeps_peaks(void **state)
{
    (void)state;
    struct result r = { 0 };
    struct table *t = heat(&r, 1000);
    table_row(t);
    table_str(t, "a");
    for (int i = 0; i < 1000; i++)
        table_float(t, i == 501 ? 9 : 0);
    char *text = rendered(&r, &rendered_plain);
    assert_true(rendered_columns(text) <= 80);
    assert_non_null(strchr(text, '@'));
    assert_non_null(strstr(text, "13 in one"));
    free(text);
    result_free(&r);
}

static void histograms_have_bars(void **state)
{
    (void)state;
    struct result r = { 0 };
    struct table *t = result_table(&r, "h", TABLE_HIST);
    table_column(t, COL_FLOAT, "from", "");
    table_column(t, COL_FLOAT, "to", "");
    table_column(t, COL_INT, "count", "");
    static const int counts[] = { 1, 0, 1000, 500 };
    for (int i = 0; i < 4; i++) {
        table_row(t);
        table_float(t, i);
        table_float(t, i + 1);
        table_int(t, counts[i]);
    }
    struct style narrow = rendered_plain;
    narrow.width = 32;
    assert_rendered(&r, &narrow,
                "  from      to  count\n"
                "     0  1.0000      1  .\n"
                "1.0000  2.0000      0\n"
                "2.0000  3.0000   1000  #########\n"
                "3.0000  4.0000    500  #####\n");
    result_free(&r);
}

UNIT_MAIN(CASE(heat_is_a_ramp), CASE(signs_show_in_a_heat_map),
          CASE(wide_heat_folds_and_keeps_peaks), CASE(histograms_have_bars))
