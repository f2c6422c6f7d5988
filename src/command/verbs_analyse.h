/* SPDX-License-Identifier: MIT */
/* What the analysing verbs share: words that mean a place in the run, or a token of the vocabulary.
 */
#ifndef QDB_COMMAND_VERBS_ANALYSE_H
#define QDB_COMMAND_VERBS_ANALYSE_H

#include "command/command.h"

/* The beginning of examples that need a run. */
#define RUN_FIRST "prompt \" memi nade ditto nade\"\nrun\n"

/* `tok=I`: a token of a run of n tokens; *tok is set, 0-based; negative counts from the end. */
bool is_token_word(const struct word *w);
NODISCARD enum st token_word(const struct call *c, int i, int64_t n, int64_t *tok, struct err *e);
/* Word i as a token of the vocabulary: text that is one token, or id=N. */
NODISCARD enum st token_of(const struct session_run *r, const struct call *c, int i, int32_t *id,
                           struct err *e);

enum st run_dla(struct session *s, const struct call *c, struct result *out, struct err *e);

#define DLA_HELP \
    "What each term of the residual stream adds to the logit of TOKEN at tok=I (the last " \
    "one): its product with the token's row of the output head, through the final norm with " \
    "its scale held at the value that it has there. Without TOKEN the one with the highest " \
    "logit; `vs TOKEN2`: to the difference of two. A token is a text that is one token, or " \
    "id=N. Rows are in order of execution; the rows with a head split what attention adds " \
    "by the head it came from (a bias of the projection belongs to none). `by neuron`: also the " \
    "N (10) inputs of the feed-forward projections that add most, and what all the others add " \
    "together; with biases they give what the feed-forward layers add. `rest` is the " \
    "logit less the sum of the whole rows: rounding (in mode native also that of the head's " \
    "input), and edits of the stream itself."

#endif
