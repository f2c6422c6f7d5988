/* SPDX-License-Identifier: MIT */
/* `until W`: an evaluation that stops when its interval is narrow enough. */
#ifndef QDB_COMMAND_UNTIL_H
#define QDB_COMMAND_UNTIL_H

#include "command/command.h"
#include "study/interval.h"

struct until {
    double width; /* half of the interval's, or with `share` of the figure; 0: go to the end */
    bool share;
};

/* Take `until W` or `until P%` out of the words, wherever it stands. */
NODISCARD enum st until_take(struct call *c, struct until *out, struct err *e);
bool until_reached(const struct until *u, const struct clustered_mean *m);
/* Say that it stopped early, or that it came to the end, and what the intervals are. */
void until_note(const struct until *u, const struct clustered_mean *m, int64_t of,
                const char *figure, const char *clusters, struct result *out);

#define UNTIL_HELP \
    "`until W` stops when half the width of the interval of the figure is at most W, `until P%` " \
    "when " \
    "it is at most P % of the figure. It then goes through the text in a random order, always " \
    "the " \
    "same, and its intervals are those of an asymptotic confidence sequence (Waudby-Smith et al. " \
    "2024, with Hall's transformation for skewness): with 95 % confidence all of them hold the " \
    "truth, from the first look after 32 observations to the last, so that stopping by them is " \
    "allowed; they are about 1.5 times as wide as those of one look."

#endif
