/* SPDX-License-Identifier: MIT */
/* Statistics: the table of definitions in words, and values by name. */
#include "kernels/statistics.h"

#include <math.h>
#include <strings.h>

static const struct statistic table[] = {
    { "n", "count", "", STATISTIC_ARRAY, "number of values",
      { "How many values the array holds, finite or not.",
        "n = product of the sizes of the axes after slicing",
        "Every other statistic counts the finite ones among them." },
      "0 for an empty slice" },
    { "nan", NULL, "", STATISTIC_ARRAY, "values that are not a number",
      { "How many values are NaN, the result of 0/0, inf - inf or a broken scale in the file.",
        "nan = count(x != x)",
        "Anything above 0 is a fault: break with `catch nan`, then follow it back with `why`." },
      "NaN values are left out of all other statistics" },
    { "inf", NULL, "", STATISTIC_ARRAY, "infinite values",
      { "How many values are plus or minus infinity, usually an overflow of 16-bit floats.",
        "inf = count(abs(x) = infinity)",
        "Attention scores before the softmax may hold -inf for a masked key; elsewhere a fault." },
      "infinite values are left out of all other statistics" },
    { "zero", NULL, "", STATISTIC_ARRAY, "values that are exactly zero",
      { "How many values are 0 or -0.",
        "zero = count(x = 0)",
        "Many zeros in a decoded weight mean that its levels are coarse for its small values." },
      "both signs of zero count" },
    { "min", NULL, "", STATISTIC_ARRAY, "smallest value",
      { "The smallest finite value, sign included.", "min = min over i of x[i]",
        "With max it gives the range that an asymmetric format has to cover." },
      "NaN if no value is finite" },
    { "max", NULL, "", STATISTIC_ARRAY, "largest value",
      { "The largest finite value, sign included.", "max = max over i of x[i]",
        "With min it gives the range that an asymmetric format has to cover." },
      "NaN if no value is finite" },
    { "absmax", "infnorm", "", STATISTIC_ARRAY, "largest magnitude",
      { "The largest distance from zero, and where it is.", "absmax = max over i of abs(x[i])",
        "A symmetric format's scale follows it: one large value coarsens its whole block." },
      "NaN if no value is finite" },
    { "mean", "avg", "", STATISTIC_ARRAY, "average",
      { "The average of the finite values.", "mean = (1/n) sum x[i]",
        "Far from 0 compared with sd, an asymmetric format (with a minimum) pays off." },
      "NaN if no value is finite" },
    { "sd", "std", "", STATISTIC_ARRAY, "standard deviation (sigma)",
      { "How far values typically are from their mean.",
        "sd = sqrt((1/n) sum (x[i] - mean)^2)   (divided by n, not n - 1)",
        "Conditions call it sigma: `any(abs(x) > 20*sigma)`." },
      "0 if all values are equal; NaN if no value is finite" },
    { "rms", NULL, "", STATISTIC_ARRAY, "root mean square",
      { "The typical magnitude of a value; equals sd when the mean is 0.",
        "rms = sqrt((1/n) sum x[i]^2)",
        "absmax / rms (the crest factor) says how much of a symmetric format's range is idle." },
      "NaN if no value is finite" },
    { "l2", "norm", "", STATISTIC_ARRAY, "Euclidean length",
      { "The length of the array as a vector.", "l2 = sqrt(sum x[i]^2) = rms * sqrt(n)",
        "Of a token's residual stream: how much the block adds to what is already there." },
      "NaN if no value is finite" },
    { "kurt", "kurtosis", "", STATISTIC_ARRAY, "excess kurtosis: weight of the tails",
      { "How much of the variance sits in few large values: 0 normal, -1.2 uniform, 3 Laplace.",
        "kurt = (1/n) sum (x[i] - mean)^4 / sd^4 - 3",
        "Hundreds mean outlier channels (Bondarenko et al. 2023, who do not subtract the 3)." },
      "NaN if all values are equal" },
    { "p1", NULL, "", STATISTIC_QUANTILE, "1st percentile",
      { "One value in a hundred is smaller.",
        "linear interpolation between sorted values at index 0.01 (n - 1)",
        "Close to min: no tail on the negative side; far from it: a few large negative values." },
      "NaN if no value is finite" },
    { "median", "p50", "", STATISTIC_QUANTILE, "middle value",
      { "Half of the values are smaller.",
        "linear interpolation between sorted values at index 0.5 (n - 1)",
        "Outliers do not move it, so errors over tokens are reported by their median." },
      "NaN if no value is finite" },
    { "p99", NULL, "", STATISTIC_QUANTILE, "99th percentile",
      { "One value in a hundred is larger.",
        "linear interpolation between sorted values at index 0.99 (n - 1)",
        "Close to max: no tail on the positive side; far from it: a few large values." },
      "NaN if no value is finite" },
    { "relerr", "rel", "", STATISTIC_PAIR, "relative error",
      { "Length of the difference as a share of the reference's length: 0.01 is 1 %.",
        "relerr = l2(x - ref) / l2(ref)",
        "Compare layers by it; over tokens qdb reports the median, the first token apart." },
      "0 if both are zero, inf if only the reference is; pairs with a NaN or infinity left out" },
    { "rmse", NULL, "", STATISTIC_PAIR, "root mean square error",
      { "Typical size of the difference, in the unit of the data.",
        "rmse = sqrt((1/n) sum (x[i] - ref[i])^2)",
        "Uniform rounding with step s gives s / sqrt(12) = 0.289 s." },
      "NaN if no pair is finite" },
    { "rmse/scale", "rmse_scale", "", STATISTIC_PAIR, "error in steps of the format",
      { "The rounding error measured in steps of each sub-block's effective scale.",
        "rmse/scale = sqrt((1/n) sum ((x[i] - ref[i]) / scale[sub(i)])^2)",
        "0.289 is healthy uniform rounding; more is clipping, much less an idle range." },
      "sub-blocks with scale 0 left out" },
    { "maxerr", NULL, "", STATISTIC_PAIR, "largest error",
      { "The largest difference, and where it is.", "maxerr = max over i of abs(x[i] - ref[i])",
        "More than half a step of the format there means that the value was clipped." },
      "NaN if no pair is finite" },
    { "cos", "cosine", "", STATISTIC_PAIR, "cosine similarity",
      { "Whether both point the same way: 1 same direction, 0 unrelated, -1 opposite.",
        "cos = sum ref[i] x[i] / (l2(ref) l2(x))",
        "Blind to a common factor; 0.99 is already an angle of 8 degrees." },
      "NaN if either is all zero" },
    { "gain", NULL, "", STATISTIC_PAIR, "length as a share of the reference's length",
      { "How long an array is compared with another: 1 as long, 0.1 a tenth of it.",
        "gain = l2(x) / l2(ref)",
        "Of what a sub-layer adds, against the residual stream: how much the layer does." },
      "NaN if the reference is all zero; pairs with a NaN or infinity left out" },
    { "sqnr", "snr", "dB", STATISTIC_PAIR, "signal to quantization noise ratio",
      { "Power of the reference over the power of the error, in decibels; larger is better.",
        "sqnr = 10 log10(sum ref[i]^2 / sum (x[i] - ref[i])^2) = -20 log10(relerr)",
        "20 dB is 1 % of noise power; one more bit per weight buys about 6 dB." },
      "inf if there is no error, -inf if only the reference is zero" },
    { "clipped", "clipping", "", STATISTIC_CODES, "weights cut off at the end of their range",
      { "Share of the weights of a tensor that are farther off than rounding alone can put them.",
        "clipped = share of elements with abs(x - ref) > 0.51 * scale of their sub-block",
        "0 for plain rounding; a search for scales trades a few percent for finer steps." },
      "absent for formats with uneven levels; sub-blocks with scale 0 left out" },
    { "code_entropy", NULL, "bit", STATISTIC_CODES, "how much of the code is used",
      { "Bits that the codes carry by how often each occurs, at most log2 of their number.",
        "code_entropy = -sum over codes of p log2 p, p = share of elements with that code",
        "A bit below the width is normal for bell-shaped weights; far below, the range is idle." },
      "signs that a format stores apart are not counted" },
    { "entropy", NULL, "nats", STATISTIC_ROW, "how widely attention is spread",
      { "0 when all attention is on one key, ln(n) when it is equal on n keys.",
        "entropy = -sum a[k] ln a[k], terms with a[k] = 0 count 0; averaged over queries",
        "Watch heads that collapse or blur after quantization (Zhai et al. 2023)." },
      "NaN if an entry is negative or NaN" },
    { "entropy_norm", "nentropy", "", STATISTIC_ROW, "entropy as a share of its largest value",
      { "0 one key, 1 all keys alike, whatever the position in the text.",
        "entropy_norm = entropy / ln(number of keys the row can see)",
        "Makes early and late tokens comparable." },
      "NaN for a row that sees one key (the first token)" },
    { "sink", "sink_mass", "", STATISTIC_ROW, "attention on the first key",
      { "Share of attention that goes to the first token, where heads park what they do not need.",
        "sink = a[0], averaged over queries",
        "Above 0.8 the head does nothing at most tokens (Xiao et al. 2023, attention sinks)." },
      "the first query sees one key only: always 1" },
    { "outlier", "outliers", "", STATISTIC_CHANNELS, "value far larger than its neighbours",
      { "A value that is k times larger than the typical value at its point.",
        "outlier(k): abs(x) > k * rms, rms over channels not identically zero, first token apart",
        "Persistent: at 6 % of tokens and three or more (LLM.int8, Dettmers et al. 2022)." },
      "nothing is an outlier where all channels are zero, or only the first token exists" },
    { "ratio", "channel_ratio", "", STATISTIC_CHANNELS, "largest channel over the median channel",
      { "How much one channel stands out: formats with one scale per token lose that much.",
        "ratio = max over channels of absmax / median over non-zero channels of absmax",
        "1 to 5 is tame; above 50 the channel needs its own scale, a rotation, or more bits." },
      "NaN if all channels are zero" },
    { "massive", NULL, "", STATISTIC_CHANNELS, "outlier that lives at few tokens",
      { "A huge value in a fixed channel at one or two tokens only, often the first one.",
        "outlier(k) at fewer than three tokens, or at less than 6 % of them",
        "A constant bias that builds the attention sink (massive activations, Sun et al. 2024)." },
      "the first token is listed apart" },
    { "nll", NULL, "nats", STATISTIC_PREDICTION, "negative log-likelihood of the text's next token",
      { "How surprised the model is by the token that really follows.",
        "nll = -ln p(true token) = log_sum_exp(logits) - logit(true token)",
        "Its mean over scored tokens is the loss." },
      "inf if the model gives the token probability 0" },
    { "ppl", "perplexity", "", STATISTIC_PREDICTION, "perplexity",
      { "As hard as guessing between that many equally likely tokens; smaller is better.",
        "ppl = exp(mean nll), +- ppl * sd(nll) / sqrt(n - 1)",
        "Only figures from the same text, tokenizer, context and compute mode compare." },
      "no interval below 20 segments of text" },
    { "kl", "kld", "nats", STATISTIC_PREDICTION, "divergence from the reference's predictions",
      { "How much the predicted distribution of the next token moved away from the reference's.",
        "kl = sum over the vocabulary of p (ln p - ln q), p reference, q this run",
        "The main measure of damage: 0.001 is good, 0.1 is felt; look at its 99.9 % too." },
      "0 for equal; tiny negative values are rounding; `-compat` drops terms with ln p <= -16" },
    { "top1", "same_top", "%", STATISTIC_PREDICTION, "agreement on the most likely token",
      { "How often this run and the reference would pick the same token.",
        "top1 = share of positions with argmax p = argmax q",
        "Closest to what greedy generation feels." },
      "of equal logits the first one counts" },
    { "finite", NULL, "", STATISTIC_PREDICATE, "no NaN and no infinity",
      { "True when every value is a finite number.", "finite = (nan = 0 and inf = 0)",
        "Its opposites can be caught: `catch nan`, `catch inf`." },
      "true for an empty slice" },
    { "dead", NULL, "", STATISTIC_PREDICATE, "all zero",
      { "True when there are values and each of them is zero.", "dead = (n > 0 and zero = n)",
        "A channel that is dead on all text is free to prune, or was lost to coarse levels." },
      "false for an empty slice" },
};

enum { N_STATISTICS = sizeof table / sizeof *table };

size_t statistic_count(void) { return N_STATISTICS; }
const struct statistic *statistic_at(size_t i) { return i < N_STATISTICS ? &table[i] : NULL; }

const struct statistic *statistic_find(const char *name)
{
    for (size_t i = 0; name && i < N_STATISTICS; i++)
        if (!strcasecmp(table[i].name, name) ||
            (table[i].alias && !strcasecmp(table[i].alias, name)))
            return &table[i];
    return NULL;
}

/* Where a summary keeps the statistics that it holds. */
static const struct {
    const char *name;
    size_t offset;
    bool integer;
} in_summary[] = {
    { "n", offsetof(struct summary, n), true },
    { "nan", offsetof(struct summary, nan), true },
    { "inf", offsetof(struct summary, inf), true },
    { "zero", offsetof(struct summary, zero), true },
    { "min", offsetof(struct summary, min), false },
    { "max", offsetof(struct summary, max), false },
    { "absmax", offsetof(struct summary, absmax), false },
    { "mean", offsetof(struct summary, mean), false },
    { "sd", offsetof(struct summary, sd), false },
    { "rms", offsetof(struct summary, rms), false },
    { "l2", offsetof(struct summary, l2), false },
    { "kurt", offsetof(struct summary, kurt), false },
};

static bool is(const struct statistic *s, const char *name) { return !strcasecmp(s->name, name); }

bool statistic_of_summary(const char *name, const struct summary *sum, double *out)
{
    const struct statistic *s = statistic_find(name);
    for (size_t i = 0; s && i < sizeof in_summary / sizeof *in_summary; i++) {
        const char *p = (const char *)sum + in_summary[i].offset;
        if (!is(s, in_summary[i].name))
            continue;
        *out = in_summary[i].integer ? (double)*(const int64_t *)(const void *)p
                                     : *(const double *)(const void *)p;
        return true;
    }
    return false;
}

bool statistic_of(const char *name, struct pool *pool, const float *x, int64_t n, double *out)
{
    const struct statistic *s = statistic_find(name);
    struct summary sum;
    if (!s)
        return false;
    if (s->kind == STATISTIC_ROW) {
        *out = is(s, "entropy") ? entropy_nats(x, n)
               : is(s, "sink")  ? sink_mass(x, n)
                                : entropy_normalised(x, n);
        return true;
    }
    if (s->kind != STATISTIC_ARRAY)
        return false;
    summary_of(pool, x, n, &sum);
    return statistic_of_summary(name, &sum, out);
}

bool statistic_of_pair(const char *name, const struct pair_error *e, double *out)
{
    static const struct {
        const char *name;
        size_t offset;
    } in_pair[] = {
        { "relerr", offsetof(struct pair_error, relerr) },
        { "rmse", offsetof(struct pair_error, rmse) },
        { "maxerr", offsetof(struct pair_error, maxerr) },
        { "cos", offsetof(struct pair_error, cos) },
        { "gain", offsetof(struct pair_error, gain) },
        { "sqnr", offsetof(struct pair_error, sqnr) },
    };
    const struct statistic *s = statistic_find(name);
    for (size_t i = 0; s && i < sizeof in_pair / sizeof *in_pair; i++) {
        if (!is(s, in_pair[i].name))
            continue;
        *out = *(const double *)(const void *)((const char *)e + in_pair[i].offset);
        return true;
    }
    return false;
}

bool statistic_between(const char *name, const float *ref, const float *x, int64_t n, double *out)
{
    const struct statistic *s = statistic_find(name);
    struct pair_error e;
    if (s && is(s, "kl")) {
        *out = kl_of_logits(ref, x, n, -INFINITY);
        return true;
    }
    pair_error_of(ref, x, n, &e);
    return statistic_of_pair(name, &e, out);
}
