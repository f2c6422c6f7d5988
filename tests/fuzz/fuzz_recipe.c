/* SPDX-License-Identifier: MIT */
/* Fuzz target: a recipe, read in each of its spellings and asked about names. */
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>

#include "file/recipe.h"

const char *const fuzz_words[] = { "^blk\\.(3|4)\\.ffn_down\\.weight$=q4_K",
                                   "=",
                                   ",",
                                   "#",
                                   "\n",
                                   "=iq4_xs",
                                   "[0-9]+",
                                   "(a+)+",
                                   "(?R)",
                                   "\\1",
                                   "{1,65535}",
                                   "(?<=",
                                   "(?C1)",
                                   "(*",
                                   "\\u{",
                                   "|",
                                   NULL };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const names[] = { "blk.3.ffn_down.weight", "output.weight", "" };
    for (int k = -1; k < RECIPE__COUNT; k++) {
        const enum recipe_kind kind = (enum recipe_kind)k;
        struct recipe *r;
        if (recipe_parse(str_of((const char *)data, size), "fuzz", k < 0 ? NULL : &kind, &r, NULL))
            continue;
        for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
            int64_t rule = -1;
            if (!recipe_rule_of(r, str_from(names[i]), &rule, NULL) && rule >= (int64_t)r->n)
                abort();
        }
        recipe_free(r);
    }
    return 0;
}
