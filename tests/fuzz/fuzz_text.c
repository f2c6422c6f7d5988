/* SPDX-License-Identifier: MIT */
/* Fuzz target: the words of a user, as numbers and as text to show. */
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>

#include "base/text.h"

const char *const fuzz_words[] = { "0x",
                                   "1e",
                                   "-",
                                   "nan",
                                   "inf",
                                   "1.5G",
                                   "64K",
                                   "\xf0\x9f\x98\x80",
                                   "\xe2\x80\xae",
                                   "9223372036854775807",
                                   "\\",
                                   "\"",
                                   NULL };

/* What was valid text stays valid text, and an escaped string has nothing left that a terminal
 * obeys. */
static void shows(struct str s)
{
    struct buf visible = { 0 }, json = { 0 };
    buf_visible(&visible, s);
    buf_json(&json, s);
    for (size_t i = 0; i < visible.n;) {
        int32_t cp;
        i += (size_t)utf8_decode(visible.p + i, visible.n - i, &cp);
        if (cp < 32)
            abort();
    }
    if (text_columns(str_of(visible.p, visible.n)) < 0 || json.n < 2)
        abort();
    buf_free(&visible);
    buf_free(&json);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str s = str_of((const char *)data, size);
    struct err e = ERR_INIT;
    int64_t i;
    double f, again;
    size_t bytes;
    if (!parse_i64(s, -1000, 1000, &i, &e) && (i < -1000 || i > 1000))
        abort();
    if (!parse_f64(s, &f, &e)) {
        char out[32];
        if (parse_f64(str_from(text_f64(out, sizeof out, f)), &again, &e) || (again != f && f == f))
            abort();
    }
    if (parse_size(s, &bytes, &e) && e.st != ST_SYNTAX)
        abort();
    shows(s);
    if (text_distance(s, s) || text_distance(s, STR("")) > (int)size)
        abort();
    return 0;
}
