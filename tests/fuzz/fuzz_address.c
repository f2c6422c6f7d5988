/* SPDX-License-Identifier: MIT */
/* Fuzz target: addresses are parsed, printed, parsed again, matched and resolved against axes. */
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "graph/address.h"
#include "graph/glob.h"

const char *const fuzz_words[] = { "blk.",
                                   "attn_[qk]",
                                   "{0..3}",
                                   "{q,k}",
                                   "**",
                                   "[tok=",
                                   "[chan=",
                                   "-1",
                                   "1:2:3",
                                   "{1,2}",
                                   "top8(absmax)",
                                   "bot",
                                   "\"",
                                   "@s1",
                                   "!",
                                   ":",
                                   " -- ",
                                   "]",
                                   "9223372036854775808",
                                   NULL };

static void resolve(const struct address *a, const struct shape *s)
{
    for (int d = 0; d < s->rank; d++) {
        struct err e = ERR_INIT;
        const struct index *i;
        int64_t *list, n;
        if (address_item(a, s, d, &i, &e)) {
            if (e.column < 0)
                abort();
            return;
        }
        if (index_resolve(i, s->d[d].axis, s->d[d].n, &list, &n, &e))
            continue;
        if (n < 1)
            abort();
        for (int64_t k = 0; k < n; k++)
            if (list[k] < 0 || list[k] >= s->d[d].n)
                abort();
        free(list);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct shape shape = { 3,
                                        { { AXIS_TOK, 5 }, { AXIS_HEAD, 2 }, { AXIS_CHAN, 300 } } };
    struct str text = str_of((const char *)data, size);
    struct address a, again;
    struct err e = ERR_INIT;
    if (address_parse(text, &a, &e)) {
        if (e.column < 0 || e.column > (int)size || e.length < 1 || !e.msg[0])
            abort();
        return 0;
    }
    if (a.used > size)
        abort();
    struct buf first = { 0 }, second = { 0 };
    address_print(&a, &first);
    if (address_parse(str_of(buf_str(&first), first.n), &again, &e) || again.used != first.n)
        abort();
    address_print(&again, &second);
    if (first.n != second.n || memcmp(buf_str(&first), buf_str(&second), first.n))
        abort();
    buf_free(&first);
    buf_free(&second);
    (void)glob_match(a.name, STR("blk.3.attn_q.weight"));
    resolve(&a, &shape);
    return 0;
}
