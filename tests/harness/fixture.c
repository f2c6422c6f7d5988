/* SPDX-License-Identifier: MIT */
/* A test program that misbehaves as $FIXTURE says, so that the harness itself can be tested. */
#include "tests/harness/unit.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

static bool asked_to(const char *what)
{
    const char *fixture = getenv("FIXTURE");
    return fixture && !strcmp(fixture, what);
}

static void passes(void **state)
{
    (void)state;
    assert_int_equal(unit_random(&(uint64_t){ 0 }), 0xe220a8397b1dcdaf);
}

static void may_fail(void **state)
{
    (void)state;
    assert_false(asked_to("fail"));
}

static void may_skip(void **state)
{
    (void)state;
    if (asked_to("skip"))
        need_data("no/such/file");
}

static void may_crash(void **state)
{
    (void)state;
    if (asked_to("abort"))
        abort();
    if (asked_to("exit"))
        exit(0);
    if (asked_to("segv"))
        raise(SIGSEGV);
    while (asked_to("hang"))
        ;
}

UNIT_MAIN(CASE(passes), CASE(may_fail), CASE(may_skip), CASE(may_crash))
