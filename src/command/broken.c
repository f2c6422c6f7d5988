/* SPDX-License-Identifier: MIT */
#include "command/broken.h"

#include <inttypes.h>

bool broken_note(const struct broken_logits *b, int64_t scored, const char *whose, const char *unit,
                 struct result *out)
{
    for (int i = 1; i >= 0; i--)
        if (b->tokens[i]) {
            result_note(out,
                        "the logits of %s are not finite at %" PRId64 " of %" PRId64
                        " scored tokens, first at token %" PRId64 " of %s %" PRId64
                        ": figures of them are no numbers; `catch nan`, then `run`, finds where "
                        "that begins, `lint` looks into the file",
                        i ? whose : "the reference", b->tokens[i], scored, b->at[i], unit,
                        b->segment[i]);
            return true;
        }
    return false;
}
