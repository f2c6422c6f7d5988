/* SPDX-License-Identifier: MIT */
/* Tables: what every command returns. Named, typed columns with units; front ends render them. */
#ifndef QDB_BASE_TABLE_H
#define QDB_BASE_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/text.h"

enum column_type { COL_STRING, COL_INT, COL_FLOAT, COL_BOOL, COL_ADDRESS };

/* How a person likes to read it; machine outputs ignore it. */
enum table_form {
    TABLE_ROWS,   /* header and aligned rows */
    TABLE_RECORD, /* one line per column of each row: "name  value unit" */
    TABLE_BRIEF,  /* each row as few lines of "name value unit", behind its first cell */
    TABLE_LINE,   /* each row as one line of its cells, those that are there */
    TABLE_TEXT,   /* one string column, printed as lines */
    TABLE_HEAT,   /* float columns are the pixels of a heat map; the first column labels the rows */
    TABLE_HIST,   /* columns: from, to, count */
};

struct cell {
    bool absent;
    const char *instead; /* what people read in the place of an absent number; NULL: nothing */
    union {
        int64_t i; /* COL_INT, COL_BOOL */
        double f;
        char *s; /* owned by the table; COL_STRING, COL_ADDRESS */
    };
};

struct column {
    char *name;
    char *unit; /* "" if none */
    enum column_type type;
    int digits; /* significant digits shown to people, 0 = default */
    bool quiet; /* text leaves it out: people read the same elsewhere */
    /* TABLE_BRIEF: columns read with this one, as `was -> value [low, high]`; NULL: none; static */
    const char *was, *low, *high;
};

struct table {
    char *name;
    enum table_form form;
    struct column *columns;
    size_t n_columns;
    struct cell *cells; /* [row][column] */
    size_t n_rows;
    size_t cap_columns, cap_cells, at; /* at: next cell to be put */
};

/* Declare columns before the first row. */
void table_column(struct table *t, enum column_type type, const char *name, const char *unit);
struct column_spec {
    enum column_type type;
    const char *name, *unit; /* unit NULL if none */
    int digits;
    bool quiet;
    const char *was, *low, *high;
};
void table_columns(struct table *t, const struct column_spec *list, size_t n);
/* TABLE_COLUMNS(t, { COL_STRING, "what" }, { COL_INT, "bytes", "B" }, { COL_FLOAT, "rms", "", 4 });
 * what is left out is 0. */
#define TABLE_COLUMNS(t, ...) \
    do { \
        _Pragma("GCC diagnostic push"); \
        _Pragma("GCC diagnostic ignored \"-Wmissing-field-initializers\""); \
        static const struct column_spec table_list_[] = { __VA_ARGS__ }; \
        _Pragma("GCC diagnostic pop"); \
        table_columns((t), table_list_, sizeof table_list_ / sizeof *table_list_); \
    } while (0)
void table_digits(struct table *t, int digits); /* of the column declared last */
/* Begin a row; the put functions then fill its cells from left to right; the rest are absent. */
void table_row(struct table *t);
void table_str(struct table *t, const char *s); /* NULL = absent; copied */
void table_strn(struct table *t, struct str s);
void table_fmt(struct table *t, const char *fmt, ...) PRINTF_LIKE(2, 3);
void table_int(struct table *t, int64_t v);
void table_float(struct table *t, double v);
void table_bool(struct table *t, bool v);
void table_skip(struct table *t);
void table_instead(struct table *t, const char *s); /* absent, but for people; s is static */
const struct cell *table_cell(const struct table *t, size_t row, size_t column);
int table_find(const struct table *t, const char *column); /* index or -1 */

enum result_status { RESULT_OK, RESULT_STOPPED, RESULT_FOUND, RESULT_PARTIAL, RESULT_ERROR };

/* What a command gives back: tables, notes (remarks for people, one line each) and a status. */
struct result {
    enum result_status status;
    struct table **tables;
    size_t n_tables, cap_tables;
    char **notes;
    size_t n_notes, cap_notes;
};

void result_free(struct result *r); /* leaves *r empty and usable */
/* A new table owned by the result. */
struct table *result_table(struct result *r, const char *name, enum table_form form);
void result_drop_empty(struct result *r); /* forget tables without rows */
/* A remark; the same one again is not repeated. */
void result_note(struct result *r, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* One line of text in a TABLE_TEXT named `name` (created on first use). */
void result_line(struct result *r, const char *name, const char *fmt, ...) PRINTF_LIKE(3, 4);

#endif
