/* SPDX-License-Identifier: MIT */
/* The verbs that look at data. */
#include "command/look.h"

static const struct arg_after look_after[] = {
    { "bins", ARG_NUMBER, NULL },
    { "by", ARG_TEXT, "absmax|rms|mean|sd|kurt|min|max|l2|zero|ratio|index" },
    { 0 },
};

const struct verb verbs_look[] = {
    { .name = "print",
      .alias = "p",
      .class = "data",
      .args = "[/FMT] [EXPR | GLOB]",
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
              "heat map, T values as token ids. Without an expression: the last value again.\n\n"
              "A glob that names several things shows the first 16 of them, each with fewer "
              "values, and keeps each as a $N of its own, in the order shown. Names without the "
              "sliced axis and points that the run has not produced yet are left out, and counted "
              "in a note.",
      .examples = "print blk.0.attn_q.weight[row=0, col=0:8]\n"
                  "print absmax(blk.0.attn_q.weight) / rms(blk.0.attn_q.weight)\n"
                  "prompt \"kalo\"\nrun\nprint blk.0.out[tok=-1, chan=top4(absmax)]\nprint/t "
                  "output.out[tok=-1]\n"
                  "print blk.*.out[tok=-1, chan=0:8]\n"
                  "x = blk.0.out - blk.0.in\nprint rms($x)",
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
              "are left out, and counted in a note. What does not fit into memory is read in "
              "pieces, whose sums may differ in their last digits from those of the whole.",
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
              "zeros and what is not finite are counted in notes. An address that does not fit "
              "into memory is read in pieces.",
      .examples = "hist blk.0.attn_q.weight\nhist blk.0.attn_q.weight bins 10 log",
      .kinds = { ARG_EXPR },
      .words = "bins|log",
      .after = look_after,
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
      .after = look_after,
      .run = run_channels },
    { .name = "x",
      .class = "data",
      .args = "[/COUNT FMT] [ADDR]",
      .brief = "raw look at storage: bytes, codes, values from an address on",
      .help = "Elements are taken in the order in which they are stored, from the first one that "
              "the slice names, "
              "whatever else it says. COUNT is how many (`set elements`); a negative one looks at "
              "those in front. FMT: "
              "x bytes in hexadecimal and b in binary, of the whole blocks that hold the elements "
              "(of an activation: "
              "its 32-bit words); d integer codes; q codes with the effective scale and offset of "
              "their sub-block "
              "(value = scale * level + offset); f e g h values. Without an address it goes on "
              "where the last one "
              "ended, so an empty line walks on. offset counts bytes from the start of the tensor.",
      .examples = "x/64q token_embd.weight[row=3]\nx\nx/32x blk.0.attn_q.weight[row=3]\nx/-32",
      .flags = VERB_REPEATS,
      .kinds = { ARG_ADDRESS },
      .run = run_x },
    { .name = "block",
      .alias = "bl",
      .class = "data",
      .args = "ADDR[row=R, blkq=I]",
      .brief = "one quantization block, field by field",
      .help = "The first block of the first row unless the slice says more (also exp=E; col=C "
              "takes the block that "
              "holds C). fields: what is stored, as the format defines it. elements: code is the "
              "stored integer, level "
              "its meaning (codebook entry, code minus zero point), and value = scale * level + "
              "offset, with the "
              "effective scale and offset of the sub-block `sub`. bits_per_weight counts "
              "everything in the block; "
              "code_entropy is what its codes carry: - sum over codes of p log2 p, at most the "
              "bits of a code; far "
              "less means that levels lie idle.",
      .examples =
          "block token_embd.weight[row=3, blkq=0]\nblock token_embd.weight[row=300, col=40]",
      .kinds = { ARG_WEIGHT },
      .run = run_block },
    { .name = "display",
      .alias = "disp",
      .class = "data",
      .args = "[/FMT] [EXPR]",
      .brief = "show an expression now and at every stop",
      .help = "Formats are those of print. What has no value at a stop (a point that is not "
              "produced yet) is named in "
              "a note. Without an expression: all of them now. `info displays` lists them, "
              "`undisplay` ends them.",
      .examples = "prompt \"kalo\"\ndisplay rms(blk.0.out)\nbreak blk.0.out\nrun\nundisplay 1",
      .kinds = { ARG_EXPR },
      .run = run_display },
    { .name = "undisplay",
      .class = "data",
      .args = "[N...]",
      .brief = "end displays: those with these numbers, or all",
      .help = "`info displays` lists the numbers.",
      .examples = "display 1 + 1\nundisplay 1",
      .kinds = { ARG_NUMBER },
      .run = run_undisplay },
    { .name = "dump",
      .class = "data",
      .args = "EXPR [to] FILE",
      .brief = "write values to a .npy, .csv, .json, .bin or .safetensors file, or a trace",
      .help = ".npy: NumPy, float32, the axes in order. .csv: one line per value, the index along "
              "each axis first. "
              ".json: name, axes, index (true indices of each axis), data (row-major). .bin: "
              "float32, little-endian, "
              "row-major, nothing else. .safetensors: float32, one tensor for each name that the "
              "address matches; __metadata__ gives the axes of each. A file that is there "
              "is replaced when the new one is whole, never before.\n\n"
              "DIR/ (or a folder that is there): whole points of a finished run with its tokens, a "
              "trace that `ref trace DIR` reads, here or on another machine.",
      .examples =
          "dump blk.0.attn_q.weight[row=0] to row.npy\ndump blk.0.attn_norm.weight norm.csv\n"
          "dump blk.*.attn_norm.weight norms.safetensors\nprompt \"kalo\"\nrun\n"
          "dump ** to here/\nref trace here\ncompare blk.*.out\nref off",
      .kinds = { ARG_EXPR, ARG_FILE },
      .words = "to",
      .run = run_dump },
    { 0 },
};
