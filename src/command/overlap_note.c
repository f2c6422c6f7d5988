/* SPDX-License-Identifier: MIT */
/* What is said of a calibration text that overlaps with the evaluation set. */
#include <inttypes.h>

#include "command/verbs_kl.h"

void overlap_note(const struct overlap *x, const char *who, struct result *out)
{
    enum { PERCENT = 1 /* a few sequences are common property */ };
    if (x->share.asked && 100 * x->share.found >= PERCENT * x->share.asked)
        result_note(out,
                    "%s: %.3g %% of the evaluation set (%" PRId64 " of %" PRId64
                    " sequences of %d tokens) is in the text that its importance matrix was made "
                    "from: the figures flatter it",
                    who, 100 * overlap_share(x), x->share.found, x->share.asked, SHINGLE_TOKENS);
    else if (!x->share.asked && x->same_name)
        result_note(out,
                    "%s: its importance matrix was made from a text of the same name as the "
                    "evaluation set's: the figures may flatter it",
                    who);
}
