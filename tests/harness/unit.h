/* SPDX-License-Identifier: MIT */
/* Unit tests: cmocka, one group of cases per program, and data files that may be absent. */
#ifndef QDB_TESTS_HARNESS_UNIT_H
#define QDB_TESTS_HARNESS_UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/error.h"

/* The whole main() of a test program: UNIT_MAIN(CASE(first), CASE(second)). */
#define CASE(function) cmocka_unit_test(function)
#define UNIT_MAIN(...) \
    int main(void) \
    { \
        const struct CMUnitTest unit_cases[] = { __VA_ARGS__ }; \
        unit_begin(); \
        return cmocka_run_group_tests(unit_cases, NULL, NULL); \
    }

void unit_begin(void);

/* Leave the running case; it is counted as skipped, with the reason. */
#define SKIP_CASE(...) \
    do { \
        unit_reason(__VA_ARGS__); \
        skip(); \
    } while (0)

void unit_reason(const char *fmt, ...) PRINTF_LIKE(1, 2);

/* The call succeeds, else the case fails and shows the error; *e is the struct err given to the
 * call. */
#define assert_ok(call, e) unit_assert_st((call), ST_OK, (e), #call, __FILE__, __LINE__)
/* The call fails with exactly this status, and says something. */
#define assert_fails(call, st, e) unit_assert_st((call), (st), (e), #call, __FILE__, __LINE__)

void unit_assert_st(enum st got, enum st want, const struct err *e, const char *call,
                    const char *file, int line);

/* Numbers that differ by at most `tolerance`; NaN is near nothing. */
#define assert_within(got, want, tolerance) \
    unit_assert_within((got), (want), (tolerance), __FILE__, __LINE__)

void unit_assert_within(double got, double want, double tolerance, const char *file, int line);

/* Path of a file that the repository does not carry: under $QDB_DATA, else <top>/../shared/data.
 * Path of one that it does: tests/golden/NAME, and any path from the top of the source tree. All in
 * static storage that the next sixteen calls leave alone. data_path: NULL when the file is absent.
 */
const char *data_path(const char *name);
const char *golden_path(const char *name);
const char *top_path(const char *name);

/* The same, but the running case is skipped when the file is absent. */
#define need_data(name) unit_need(data_path(name), (name))

const char *unit_need(const char *path, const char *name);

/* The whole file, NUL-terminated, its size in *n (NULL allowed); fails the case when it cannot be
 * read. The caller frees it. */
char *unit_read(const char *path, size_t *n);

/* A reproducible sequence for property tests: seed any number, then draw (splitmix64). */
uint64_t unit_random(uint64_t *state);
double unit_normal(uint64_t *state); /* of mean 0 and variance 1 */

#endif
