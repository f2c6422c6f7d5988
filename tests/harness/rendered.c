/* SPDX-License-Identifier: MIT */
#include "tests/harness/rendered.h"

#include <stdlib.h>
#include <string.h>

#include "tests/harness/unit.h"

const struct style rendered_plain = { .mode = OUTPUT_TEXT, .width = 80, .digits = 5 };

char *rendered(const struct result *r, const struct style *style)
{
    struct buf out = { 0 }, messages = { 0 };
    render_result(&out, &messages, r, style);
    if (messages.n)
        buf_printf(&out, "<%s>", messages.p);
    buf_free(&messages);
    return buf_take(&out);
}

void assert_rendered(const struct result *r, const struct style *style, const char *want)
{
    char *got = rendered(r, style);
    assert_string_equal(got, want);
    free(got);
}

/* The longest line of a text, in columns. */
int rendered_columns(const char *text)
{
    int most = 0;
    for (const char *p = text; *p;) {
        size_t n = strcspn(p, "\n");
        int w = text_columns(str_of(p, n));
        most = w > most ? w : most;
        p += n + (p[n] == '\n');
    }
    return most;
}
