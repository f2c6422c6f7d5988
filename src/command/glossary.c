/* SPDX-License-Identifier: MIT */
#include "command/glossary.h"

#include <ctype.h>
#include <string.h>

/* Sorted by word. What is computed says how, in symbols a reader can check. */
static const struct glossary_entry table[] = {
    { "activation",
      NULL,
      { "What a model computes while it runs: one array of numbers at every point.",
        "Weights are the same for every prompt, activations differ from token to token.",
        "`info points` lists where they can be looked at; `summary ADDR` shows one." } },
    { "address",
      NULL,
      { "How a tensor, or a part of one, is named: model, run, name, slice.",
        "Names may hold globs (blk.{0..3}.attn_q.out), slices name their axes ([tok=-1, head=3]).",
        "Indices begin at 0; a negative one counts from the end." } },
    { "attention",
      "attn",
      { "Each token looks back at earlier tokens (keys) and takes a weighted mean of their values.",
        "The weights are softmax(q.k / sqrt(d)) per head: blk.N.attn.prob, rows add up to 1.",
        "Errors in q and k change where a token looks, errors in v what it takes." } },
    { "attention sink",
      NULL,
      { "A token, mostly the first, that many heads look at although it says nothing.",
        "It is where a head puts its attention when it has nothing to do: a no-op.",
        "Its key is large in a few channels, so that quantizing those hurts all tokens at "
        "once." } },
    { "axes",
      "axis",
      { "The names of the directions of an array: seq tok head chan key exp vocab row col blkq.",
        "tok is the position in the prompt, chan the last direction of an activation.",
        "A slice picks along them: [tok=3:7, head=0]." } },
    { "BOS",
      "bos|bos token",
      { "The beginning-of-sequence token that many models expect before a text.",
        "Whether a file wants it is in its metadata (tokenizer.ggml.add_bos_token).",
        "Without it the first word becomes the attention sink and perplexity rises." } },
    { "block",
      "layer",
      { "One repeated unit of a transformer: attention and feed-forward, each added to the "
        "residual stream.",
        "blk.0 is the first. Weights and points of block N begin with blk.N.",
        "In a quantized weight, a block is also the group of values that share a scale: see "
        "`explain quantization block`." } },
    { "bpw",
      "bits per weight",
      { "Bits stored per weight, scales included: 8 * bytes of the tensors / number of weights.",
        "q4_k takes 4.5, q8_0 8.5; a mix lies between its formats.",
        "It says how large a file is and how fast it can be read, not how good it is." } },
    { "BPE",
      "byte pair encoding",
      { "A tokenizer that joins the most frequent pairs first, in an order fixed by training "
        "(merges).",
        "Byte-level BPE begins with single bytes, so that every text can be written.",
        "Pieces show a leading blank as part of the word." } },
    { "calibration",
      NULL,
      { "Statistics of activations on sample text, used to decide how weights are rounded.",
        "An importance matrix (imatrix) is the simplest: the mean square of each input channel.",
        "The text should look like the text the model is used on." } },
    { "change",
      NULL,
      { "One override kept in the journal: a weight's format, a tensor edit, a skipped layer.",
        "The file is never touched. `info changes` lists them, `undo` takes them back.",
        "The set of active changes is the plan." } },
    { "channel",
      "chan",
      { "One coordinate of an activation: position i of the last axis, the same i for every token.",
        "A few channels are often far larger than the rest (outliers) and set the scale of all.",
        "`channels ADDR` ranks them." } },
    { "checkpoint",
      NULL,
      { "The residual stream at a block boundary, kept so that one can go back.",
        "Stepping backwards loads it and runs a part of one block again, with the same bits.",
        "`info checkpoints` lists them; they count against the memory budget." } },
    { "compute mode",
      "mode|exact|native|fast",
      { "exact: weights decoded, float32 products. native: as the deployed engine does, "
        "activations in 8 bits.",
        "fast: operands rounded to bfloat16 or better. Each has its own rounding error.",
        "Figures name their mode and are never compared across modes silently." } },
    { "effective scale",
      "scale|sub-block",
      { "The step between neighbouring levels of a format inside one sub-block of a weight.",
        "In q4_k it is d * the sub-block's 6-bit scale; `block` shows it.",
        "The rounding error of one weight is at most half of it, unless values are clipped." } },
    { "embedding",
      "token embedding",
      { "The table that turns a token into a vector: one row per token of the vocabulary.",
        "token_embd.weight; the first point is embd.out.",
        "Often tied: the same table is used at the end to turn the stream into logits." } },
    { "evaluation set",
      "segment|tune",
      { "Segments of a text that `data FILE` keeps to measure on: 64 of 80 tokens, spread over it.",
        "Half of them, `tune`, is to choose by (kl, quant, bisect), the other, `check`, for the "
        "verdict.",
        "Each segment is one observation: their spread makes the intervals." } },
    { "feed-forward",
      "ffn|mlp",
      { "The second half of a block: a wider hidden layer that works on each token alone.",
        "In llama: ffn_down(silu(ffn_gate(x)) * ffn_up(x)).",
        "ffn_down sees the largest activations of the model and is the first to need more "
        "bits." } },
    { "format",
      NULL,
      { "How numbers are stored: q4_k, mxfp4, f16. `info formats` lists them with bits per weight.",
        "A storage format is bit-exact with a file format.",
        "A simulated one is rounded and kept in float, to try what no file can hold yet." } },
    { "GGUF",
      NULL,
      { "The file format of llama.cpp and its kin: metadata and tensors in one file, mapped into "
        "memory.",
        "`info kv` shows the metadata, `info tensors` the weights with their types.",
        "`lint FILE` says whether a file is sound." } },
    { "GQA",
      "grouped-query attention|mqa",
      { "Several query heads share one key and value head: 8 query and 4 key heads are groups of "
        "2.",
        "The K/V cache is smaller by that factor.",
        "An error in one key head reaches all heads of its group." } },
    { "head",
      NULL,
      { "One of the parallel attentions of a block, with its own queries, keys and values.",
        "Heads specialise: previous token, same word before (induction), sink.",
        "heat blk.N.attn.prob[head=H] shows where one looks." } },
    { "imatrix",
      "importance matrix",
      { "Mean square of every input channel of every weight, on calibration text.",
        "Rounding then minimises the error of the output instead of that of the weight.",
        "It pays most below 4 bits. `imatrix collect FILE` makes one." } },
    { "induction head",
      "induction",
      { "A head that finds the earlier place of the present word and copies what followed it "
        "there.",
        "It takes two blocks: one head marks each token with its predecessor, the next looks the "
        "mark up.",
        "It is the simplest form of learning in context." } },
    { "interval",
      "confidence interval|error bar",
      { "Where a figure lies with 95 % confidence, given how little text it was measured on.",
        "Tokens of one segment are not independent, so what is drawn is segments: 20 at least.",
        "Two models differ when the interval of their difference, by segment, leaves out 0." } },
    { "KV cache",
      "kv|k/v cache",
      { "Keys and values of earlier tokens, kept so that each new token costs one row only.",
        "Its size is 2 * blocks * key heads * head width * tokens numbers.",
        "It is state: stepping back restores it." } },
    { "logit lens",
      "lens",
      { "The final norm and the output matrix applied to the stream after every block.",
        "It shows from which block on the model has its answer.",
        "Early blocks may look like noise: they work in other coordinates." } },
    { "logits",
      "logit",
      { "The model's score for every token of the vocabulary: point output.out.",
        "softmax turns them into probabilities; only differences between logits matter.",
        "`topk` lists the largest, `logits \"A\" \"B\"` shows two tokens and their difference." } },
    { "measurement",
      NULL,
      { "Model, plan, data, compute mode and metric, with the value found and its error bar.",
        "Two figures are compared only when all but one of these agree.",
        "`kl`, `verify`, `check` and `report` make them." } },
    { "method",
      "rtn|gptq|awq",
      { "How a weight is brought into a format. Here: rtn, to nearest, weighted by an importance "
        "matrix.",
        "Elsewhere: gptq corrects later columns for earlier errors, awq scales important channels "
        "up.",
        "The format says what is stored, the method which of the possible codes are chosen." } },
    { "mix",
      NULL,
      { "A rule that gives each tensor of a model its format, under a name: Q4_K_M.",
        "Sensitive tensors (ffn_down, attn_v, output) get more bits than the rest.",
        "`plan stock` lists the mixes, `plan infer FILE` says which one a file is." } },
    { "nat",
      "nats|bit",
      { "Unit of information with the natural logarithm: 1 nat = 1.443 bits.",
        "A loss of L nats per token is a perplexity of exp(L).",
        "qdb prints nats, but for what codes of blocks carry, which is in bits." } },
    { "node",
      NULL,
      { "One operation of the model's graph: norm, linear, rope, attention scores.",
        "A pure function of named inputs, plus explicit state such as the K/V cache.",
        "`list` shows the nodes around the present one, `step` runs one." } },
    { "plan",
      NULL,
      { "The set of active changes: what is different from the file.",
        "The empty plan is the file itself. The star in the prompt means that it is not empty.",
        "It is part of the key of every measurement." } },
    { "point",
      NULL,
      { "A named place where an activation exists: blk.3.attn_q.out, blk.3.out.",
        "`info points` lists them with axes and meaning; any of them can be read at any time after "
        "it ran.",
        "A weight is not a point: its name is the name in the file." } },
    { "position",
      NULL,
      { "Where a run is: span and node, written s0:blk.3.ffn_down.out.",
        "`when` prints it, `goto` accepts it, backwards too.",
        "Tokens inside a span pass a node together; one of them is selected with [tok=N]." } },
    { "probe",
      NULL,
      { "Code that sees a point when it has been produced: a statistic, a recorder, a condition.",
        "It cannot change anything, and results are the same with and without it.",
        "Breakpoints and displays are probes." } },
    { "quantization",
      "quantize",
      { "Storing weights with few bits: groups of values share a scale, each value is a small "
        "code.",
        "value = scale * code + offset; what is lost is the rounding, up to half a step per "
        "weight.",
        "Files shrink and run faster, because reading weights is what a model spends its time "
        "on." } },
    { "quantization block",
      "blkq",
      { "The group of neighbouring weights of a row that share one scale: 32 in q8_0, 256 in q4_k.",
        "Its largest value sets the scale of all.",
        "`block ADDR[row=R, blkq=I]` takes one apart, field by field." } },
    { "reference",
      "ref",
      { "The model, or the same model without changes, that runs are compared with.",
        "Best an f16 or bf16 file of the same model.",
        "KL and relative errors are taken against it, reference first." } },
    { "residual stream",
      "residual|stream",
      { "The vector of each token that every block reads and adds to: blk.N.in, blk.N.mid, "
        "blk.N.out.",
        "Everything one part of a model tells another passes through it.",
        "An error put in stays in, unless a later norm shrinks it." } },
    { "RMSNorm",
      "norm|rms norm|layer norm",
      { "x / sqrt(mean(x^2) + eps) * gain, per token: brings the stream to a common size before "
        "each layer.",
        "LayerNorm takes the mean away first and adds a bias.",
        "A massive value shrinks all other channels of its token here." } },
    { "RoPE",
      "rope",
      { "Rotates pairs of coordinates of q and k by an angle that grows with the position.",
        "Scores then depend on the distance of two tokens only.",
        "Pairs are neighbours or halves, depending on the architecture; the wrong choice gives "
        "noise." } },
    { "run",
      NULL,
      { "One prompt going through one model under one plan in one compute mode.",
        "It has a position and checkpoints; several live at once (`prompt \"...\" as clean`).",
        "`info runs` lists them, `use NAME` switches." } },
    { "softmax",
      NULL,
      { "exp(x_i) / sum exp(x_j): turns scores into probabilities.",
        "Adding a constant changes nothing; differences of scores become ratios.",
        "Used in attention and for the next token." } },
    { "span",
      NULL,
      { "The tokens that pass the graph together. A prompt is one; each generated token is one.",
        "`set span N` cuts prompts into spans of N tokens; same bits in the modes exact and "
        "native.",
        "It only changes speed, memory and where one can stop." } },
    { "SwiGLU",
      "glu|silu",
      { "silu(gate(x)) * up(x): a feed-forward layer whose one half opens and closes the other.",
        "silu(x) = x / (1 + exp(-x)).",
        "The product makes rare, very large values: see ffn_down's input." } },
    { "table",
      NULL,
      { "What every command returns: named, with typed columns and units.",
        "`set output json`, csv or md writes it for programs.",
        "Numbers there carry every digit." } },
    { "temperature",
      NULL,
      { "Logits are divided by it before sampling: below 1 safer, above 1 wilder, 0 the best token "
        "always.",
        "top-k keeps the k best tokens, top-p the best that add up to p.",
        "With the same seed the same text is drawn." } },
    { "tied",
      "tied embeddings",
      { "The output matrix is the token embedding: one tensor, two uses.",
        "Its format is then a compromise: few bits hurt the logits at once.",
        "A file without a tensor output.weight is (`info tensors output*`)." } },
    { "token",
      "tok",
      { "A piece of text that the model sees as one symbol: a word, a part of one, a byte.",
        "`tokens \"text\"` shows how a text is cut.",
        "Axis tok counts them from 0, the BOS token included." } },
    { "trace",
      "capture",
      { "What an engine computed for one prompt: arrays named by points, in a folder.",
        "`ref trace DIR` makes it the reference of runs, `dump ** to DIR/` writes one.",
        "`save capture FILE` writes one file that opens without the model." } },
    { "weight",
      NULL,
      { "A tensor of the model file, called by its name there: blk.3.attn_q.weight.",
        "Rows are outputs, columns inputs; blocks of a format lie along the columns.",
        "`info tensors` lists them." } },
    { "YaRN",
      "rope scaling",
      { "Stretches RoPE for contexts longer than in training: slow rotations more, fast ones not "
        "at all.",
        "Linear scaling stretches all alike.",
        "Factors are in the metadata (rope.scaling.*) or a tensor (rope_freqs)." } },
};

/* Other words for statistics, whose definitions are in their own table. */
static const char *const synonyms[][2] = {
    { "channel ratio", "ratio" },
    { "cosine similarity", "cos" },
    { "crest factor", "absmax" },
    { "dead channel", "dead" },
    { "kl divergence", "kl" },
    { "kullback leibler", "kl" },
    { "loss", "nll" },
    { "massive activation", "massive" },
    { "outlier channel", "outlier" },
    { "relative error", "relerr" },
    { "root mean square", "rms" },
    { "sigma", "sd" },
    { "standard deviation", "sd" },
};

enum { N = sizeof table / sizeof *table };

const struct glossary_entry *glossary_at(size_t i) { return i < N ? &table[i] : NULL; }

static int folded(char c) { return c == '-' || c == '_' ? ' ' : tolower((unsigned char)c); }

static bool same(struct str a, const char *b, size_t n)
{
    if (a.n != n)
        return false;
    for (size_t i = 0; i < n; i++)
        if (folded(a.p[i]) != folded(b[i]))
            return false;
    return true;
}

const struct glossary_entry *glossary_find(struct str word)
{
    for (size_t i = 0; i < N; i++)
        if (same(word, table[i].word, strlen(table[i].word)))
            return &table[i];
    for (size_t i = 0; i < N; i++)
        for (const char *p = table[i].also; p && *p;) {
            size_t n = strcspn(p, "|");
            if (same(word, p, n))
                return &table[i];
            p += n + (p[n] == '|');
        }
    return NULL;
}

const char *glossary_synonym(size_t i)
{
    return i < sizeof synonyms / sizeof *synonyms ? synonyms[i][0] : NULL;
}

const struct statistic *glossary_statistic(struct str word)
{
    for (size_t i = 0; i < sizeof synonyms / sizeof *synonyms; i++)
        if (same(word, synonyms[i][0], strlen(synonyms[i][0])))
            return statistic_find(synonyms[i][1]);
    for (size_t i = 0; i < statistic_count(); i++) {
        const struct statistic *t = statistic_at(i);
        if (same(word, t->name, strlen(t->name))
            || (t->alias && same(word, t->alias, strlen(t->alias))))
            return t;
    }
    return NULL;
}
