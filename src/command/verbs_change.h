/* SPDX-License-Identifier: MIT */
/* What other verbs need of the changes. */
#ifndef QDB_COMMAND_VERBS_CHANGE_H
#define QDB_COMMAND_VERBS_CHANGE_H

#include "command/command.h"

/* `set tensor ADDR = ...`: the word `tensor` is the first of the call. */
enum st run_set_tensor(struct session *s, const struct call *c, struct result *out, struct err *e);
/* Enter a change in the journal under the command that makes it again, and say so. */
void change_enter(struct session *s, const char *text, struct change *change, struct result *out);
/* Say what of the changes an evaluation left out. */
void changes_left_out(const struct changes_left *left, struct result *out);
/* All of them as a table `changes`. */
void changes_list(const struct session *s, struct result *out);

#define SET_TENSOR_HELP \
    "`set tensor ADDR = ...` changes the elements that ADDR names (points of runs, a slice, a " \
    "glob), in place, whenever they are produced, before anything reads them: `zero`; a number, " \
    "nan and inf too; `*F` and `+F`, each element times F, plus F, in float32; `file F.npy`; " \
    "or an expression over addresses (RUN!ADDR: of another run), worth what it is now. Its axes " \
    "are paired by name, entries in order; one that it lacks, or has one entry of, holds for " \
    "all; a file's axes are those of ADDR, from the last one on. Weights are changed as they are " \
    "now and held in f32 from then on, for all runs of the model.\n\n" \
    "A change holds for every run of the model, those to come too; RUN!ADDR for that run alone. " \
    "Where a run has fewer tokens than the data, the rest is left over; where it has more, they " \
    "stay as they are. [tok=-1] is the last token that the run has when it and the change meet; " \
    "[tok=2:] takes generated ones in. Runs that are past it go back to before the first node " \
    "that is touched. `info changes` lists, `undo` takes back. Evaluations (ppl, kl, task) go " \
    "under the changes too, but for those of tokens, of one run, or of the logits."

#endif
