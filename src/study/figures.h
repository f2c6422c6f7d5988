/* SPDX-License-Identifier: MIT */
/* Expressions over the figures of a measurement, with intervals. */
#ifndef QDB_STUDY_FIGURES_H
#define QDB_STUDY_FIGURES_H

#include "base/text.h"
#include "study/evaluator.h"

/* What an expression may name; NaN where there is none. */
struct figures {
    double kl, top1, log_ratio, ppl, ref_ppl; /* of the measurement */
    double lint_errors, lint_warnings;
};

enum verdict { VERDICT_HOLDS, VERDICT_FAILS, VERDICT_UNDECIDED };

/* A comparison of two sums: `kl < 0.02`, `ppl / ref_ppl <= 1.05`. */
struct comparison {
    struct str left, right; /* borrowed */
    bool less, equal;       /* < or <=; > or >= */
    bool measures, lints;   /* which figures it names */
};
/* ST_SYNTAX, ST_NOTFOUND for a name, with the column. */
NODISCARD enum st comparison_parse(struct str text, struct comparison *out, struct err *e);

/* left and right as they are, and the interval of left if right were exactly what it is: that of
 * left - right, moved by right. It comes from the studentised bootstrap of the jackknife's
 * pseudo-values over segments (Efron and Tibshirani 1993, chapter 11), widened to hold the value
 * itself: for a mean, the interval that `kl` shows. Where the logits of the model are broken, what
 * is measured fails. */
struct compared {
    double left, right, low, high;
    bool below_floor; /* it depends on a kl that is anything from 0 to the floor of mode fast */
    enum verdict verdict; /* undecided when the interval holds the bound, or there is none */
};
/* m: what was measured, NULL if nothing. fixed: the figures that nothing is measured for. floor: of
 * mode fast, or NaN: where kl is below, the interval takes in what a kl of 0 and of the floor give.
 */
void comparison_of(const struct comparison *c, const struct measurement *m,
                   const struct figures *fixed, double floor, struct compared *out);

#endif
