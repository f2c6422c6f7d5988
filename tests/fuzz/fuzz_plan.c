/* SPDX-License-Identifier: MIT */
/* Fuzz target: plan files are parsed; what parses is printed and parses to the same again. */
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "quant/plan_file.h"

const char *const fuzz_words[] = { "qdb plan 1\n", "qdb plan 2\n", "\nact ",      "q4_k",
                                   "int4",         ":g64",
                                   ":asym",        ":clip=0.5", ":s=e8m0",    "e4m3",
                                   ":b8x16",       ":tensor",   "drop",       "mxfp8",
                                   " rtn ",        "256x256",   " blk.0.a\n", "#",
                                   "shift3",       ":static",   ":chan",      NULL };

static void print(const struct plan_line *list, size_t n, struct buf *out)
{
    bool points = false;
    for (size_t i = 0; i < n; i++)
        points |= !list[i].method;
    plan_file_begin(points, out);
    for (size_t i = 0; i < n; i++)
        if (plan_file_line(&list[i], out, NULL))
            abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct plan_line *list, *again;
    size_t n, m;
    struct err e = ERR_INIT;
    struct buf first = { 0 }, second = { 0 };
    if (plan_file_parse(str_of((const char *)data, size), &list, &n, &e)) {
        if (!e.msg[0])
            abort();
        return 0;
    }
    print(list, n, &first);
    if (plan_file_parse(str_of(buf_str(&first), first.n), &again, &m, &e) || m != n)
        abort();
    for (size_t i = 0; i < n; i++)
        if (!numeric_equal(&list[i].format, &again[i].format)
            || !str_eq(list[i].name, again[i].name) || list[i].method != again[i].method
            || list[i].rank != again[i].rank)
            abort();
    print(again, m, &second);
    if (first.n != second.n || memcmp(buf_str(&first), buf_str(&second), first.n))
        abort();
    buf_free(&first);
    buf_free(&second);
    free(list);
    free(again);
    return 0;
}
