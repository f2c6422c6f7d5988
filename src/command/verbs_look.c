/* SPDX-License-Identifier: MIT */
/* The verbs that look at data. */
#include "command/look.h"

const struct verb verbs_look[] = {
    { .name = "print",
      .alias = "p",
      .class = "data",
      .args = "[/FMT] [EXPR]",
      .brief = "evaluate an expression, show it, keep it as $N",
      .help = "An expression joins numbers, weights, activations, $ (the last value), $N and $NAME "
              "with + - * / and "
              "parentheses; abs log exp sqrt work element by element; a statistic such as "
              "absmax(X) gives one number: "
              "n nan inf zero min max absmax mean sd rms l2 kurt p1 median p99 entropy "
              "entropy_norm sink; relerr rmse "
              "maxerr cos sqnr kl compare two things, the reference first: relerr(REF, X). Axes "
              "are matched by name: "
              "the result has those of the left, then the new ones of the right; of an axis that "
              "both have, entries "
              "are paired in order, and one entry is used for all.\n\n"
              "Rows and columns are labelled with the true index of the entry along its axis, "
              "tokens with their text. "
              "Of many values those at both ends are shown, `set elements` in all.\n\n"
              "/FMT is a count (how many values are shown) and a letter: f fixed, e scientific, g "
              "shortest, h "
              "hexadecimal (exact), x and b the bits (of a weight: its bytes as stored), d integer "
              "codes and q codes "
              "with scales (of a weight), s statistics only, t the largest values with their "
              "names, i histogram, m "
              "heat map, T values as token ids. Without an expression: the last value again.",
      .examples = "print blk.0.attn_q.weight[row=0, col=0:8]\n"
                  "print absmax(blk.0.attn_q.weight) / rms(blk.0.attn_q.weight)\n"
                  "prompt \"kalo\"\nrun\nprint blk.0.out[tok=-1, chan=top4(absmax)]\nprint/t "
                  "output.out[tok=-1]\n"
                  "x = blk.0.out - blk.0.in\nprint rms($x)",
      .flags = VERB_COMPARES,
      .kinds = { ARG_EXPR },
      .run = run_print },
    { .name = "summary",
      .alias = "sum",
      .class = "data",
      .args = "ADDR...",
      .brief = "statistics of weights and points, one row for each name",
      .help = "n counts all values; nan, inf and zero of them are not a number, infinite, zero. "
              "All other figures are "
              "of the finite values: min, max; p1, median, p99: percentiles by linear "
              "interpolation; absmax: the "
              "largest magnitude; mean; sd: standard deviation (divided by n); rms: root of the "
              "mean square; kurt: "
              "excess kurtosis, 0 for a normal distribution, large where few values dominate. "
              "`explain kurt` says "
              "more of each. Of a glob, names without the sliced axis and points that the run has "
              "not produced yet "
              "are left out, and counted in a note.",
      .examples = "summary blk.0.*.weight\nprompt \"kalo\"\nrun\nsummary blk.*.out[tok=-1]",
      .kinds = { ARG_ADDRESS },
      .run = run_summary },
    { .name = "hist",
      .class = "data",
      .args = "EXPR [bins N] [log]",
      .brief = "histogram of the values",
      .help = "20 equal bins between the smallest and the largest value unless `bins N`; a bin "
              "holds its lower edge, "
              "the last one both. `log` counts magnitudes in bins of equal ratio, from the "
              "smallest that is not zero; "
              "zeros and what is not finite are counted in notes.",
      .examples = "hist blk.0.attn_q.weight\nhist blk.0.attn_q.weight bins 10 log",
      .kinds = { ARG_EXPR },
      .words = "bins|log",
      .run = run_hist },
    { .name = "heat",
      .class = "data",
      .args = "EXPR",
      .brief = "heat map: the last axis across, the others down",
      .help = "At most 64 rows and 512 columns: of larger things, the value of largest magnitude "
              "stands for the "
              "rectangle that a cell covers. The legend gives the scale (`set heat-scale`).",
      .examples = "heat blk.0.attn_q.weight\nprompt \"kalo\"\nrun\nheat blk.0.attn.prob[head=0]",
      .kinds = { ARG_EXPR },
      .run = run_heat },
    { .name = "channels",
      .alias = "ch",
      .class = "data",
      .args = "EXPR [by STAT] [N]",
      .brief = "statistics of each channel, sorted",
      .help = "A channel is one entry of the axes that are not tok, seq, patch, row or exp: chan "
              "of a residual stream, "
              "head and chan of a query, col (the input) of a weight. Its values over the other "
              "axes give absmax, "
              "rms, mean, sd, kurt (excess), min, max; ratio is absmax over the median absmax of "
              "the channels that are "
              "not all zero. The N (10) largest by STAT (absmax): also ratio, l2, zero, or index "
              "for their order.",
      .examples =
          "channels blk.0.attn_q.weight by kurt 5\nprompt \"kalo\"\nrun\nchannels blk.0.out 5",
      .kinds = { ARG_EXPR, ARG_TEXT },
      .words = "by",
      .run = run_channels },
    { 0 },
};
