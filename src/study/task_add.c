/* SPDX-License-Identifier: MIT */
#include "study/task_add.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "kernels/statistics.h"
#include "study/sample.h"

enum {
    BATCH = 32 /* sums that pass the model together */,
    TILE = 32 /* rows of logits at a time */
};

static const char held_out_rule[] = "uint32((a * 100000 + b) * 2654435761) >> 28 == 0";

enum st add_task_of(const struct model *m, struct add_task *out, struct err *e)
{
    const struct weights *w = m->weights;
    struct str rule = weights_string(w, "qdb.task.held_out", "");
    struct add_task t = { m, weights_string(w, "qdb.task.prompt", ""),
                          (int)weights_integer(w, "qdb.task.max_digits", 0),
                          str_is(rule, held_out_rule) };
    if (!str_is(weights_string(w, "qdb.task", ""), "add")) {
        st_fail(e, ST_UNSUPPORTED,
                "the model was not made to add: its metadata has no qdb.task = \"add\"");
        return st_hint(e, "`open --demo=add`");
    }
    if (!m->graph || !m->tokenizer) {
        if (e)
            *e = m->graph ? m->no_tokenizer : m->no_graph;
        return m->graph ? m->no_tokenizer.st : m->no_graph.st;
    }
    if (m->graph->logits < 0)
        return st_fail(e, ST_UNSUPPORTED, "the model has no output head");
    if (t.digits < 2 || t.digits > ADD_MAX_DIGITS)
        return st_fail(e, ST_UNSUPPORTED, "qdb.task.max_digits is not in 2..%d", ADD_MAX_DIGITS);
    if (rule.n && !t.held_out)
        return st_fail(e, ST_UNSUPPORTED, "the rule of qdb.task.held_out is not known");
    if (!memmem(t.prompt.p, t.prompt.n, "{a}", 3) || !memmem(t.prompt.p, t.prompt.n, "{b}", 3))
        return st_fail(e, ST_UNSUPPORTED, "qdb.task.prompt has no place for {a} and {b}");
    *out = t;
    return ST_OK;
}

/* --- sums --------------------------------------------------------------------------------------
 */

int add_carry_length(struct add_sum s, int digits)
{
    int longest = 0, now = 0;
    for (int i = 0; i < digits; i++, s.a /= 10, s.b /= 10) {
        const int64_t d = s.a % 10 + s.b % 10;
        now = d >= 10 ? 1 : d == 9 && now ? now + 1 : 0;
        longest = now > longest ? now : longest;
    }
    return longest;
}

bool add_held_out(struct add_sum s)
{
    const uint64_t key = ((uint64_t)s.a * 100000 + (uint64_t)s.b) * 2654435761u;
    return (uint32_t)key >> 28 == 0;
}

/* What a place does to carries. A sum's kinds decide its carry length, so that sums of one length
 * are drawn by drawing kinds first, each string of them as often as there are pairs of operands
 * behind it. */
enum kind { STOPS, PASSES, SENDS, KINDS };

static enum kind kind_of(int digit_sum)
{
    return digit_sum >= 10 ? SENDS : digit_sum == 9 ? PASSES : STOPS;
}

/* A string of kinds, lowest place first: 3^digits of them. */
struct kinds {
    int length, string; /* carry length; base-3 number whose digits are the kinds */
    double upto; /* pairs of operands behind this and all before it of the same carry length */
};

struct source {
    int digits, n;
    struct kinds *list;            /* [n] by carry length */
    int first[ADD_MAX_DIGITS + 2]; /* where each carry length begins, and the end */
};

static int by_length(const void *a, const void *b)
{
    const struct kinds *x = a, *y = b;
    return x->length != y->length ? x->length - y->length : x->string - y->string;
}

/* Pairs of digits of each kind: of lower places, and of the highest, which is not zero. */
static void count_pairs(double pairs[2][KINDS])
{
    for (int x = 0; x < 10; x++)
        for (int y = 0; y < 10; y++) {
            pairs[0][kind_of(x + y)]++;
            pairs[1][kind_of(x + y)] += x && y;
        }
}

static struct source source_new(int digits)
{
    struct source s = { .digits = digits, .n = 1 };
    double pairs[2][KINDS] = { { 0 } };
    count_pairs(pairs);
    for (int i = 0; i < digits; i++)
        s.n *= KINDS;
    s.list = x_alloc((size_t)s.n * sizeof *s.list);
    for (int i = 0; i < s.n; i++) {
        struct kinds *k = &s.list[i];
        *k = (struct kinds){ .string = i, .upto = 1 };
        for (int place = 0, rest = i, now = 0; place < digits; place++, rest /= KINDS) {
            const int kind = rest % KINDS;
            now = kind == SENDS ? 1 : kind == PASSES && now ? now + 1 : 0;
            k->length = now > k->length ? now : k->length;
            k->upto *= pairs[place == digits - 1][kind];
        }
    }
    qsort(s.list, (size_t)s.n, sizeof *s.list, by_length);
    for (int i = s.n - 1; i >= 0; i--)
        s.first[s.list[i].length] = i;
    s.first[digits + 1] = s.n;
    for (int i = 1; i < s.n; i++)
        s.list[i].upto += s.list[i].length == s.list[i - 1].length ? s.list[i - 1].upto : 0;
    return s;
}

static int below(uint64_t *state, int n) { return (int)(sample_uniform(state) * n); }

static struct add_sum draw_one(const struct source *s, int length, uint64_t *state)
{
    int lo = s->first[length], hi = s->first[length + 1] - 1;
    const double at = sample_uniform(state) * s->list[hi].upto;
    while (lo < hi) { /* the first entry beyond `at` */
        const int mid = lo + (hi - lo) / 2;
        if (s->list[mid].upto > at)
            hi = mid;
        else
            lo = mid + 1;
    }
    struct add_sum sum = { 0, 0 };
    int64_t place = 1;
    for (int i = 0, kinds = s->list[lo].string; i < s->digits; i++, place *= 10, kinds /= KINDS) {
        const int low = i == s->digits - 1; /* no leading zeros */
        int x, y;
        do {
            x = low + below(state, 10 - low);
            y = low + below(state, 10 - low);
        } while ((int)kind_of(x + y) != kinds % KINDS);
        sum.a += x * place;
        sum.b += y * place;
    }
    return sum;
}

enum st add_draw(const struct add_task *t, uint64_t seed, int64_t n, struct progress *p,
                 struct add_sum **sums, struct err *e)
{
    size_t bytes;
    void *memory;
    if (n <= 0 || !mul_ok((size_t)n, sizeof **sums, &bytes))
        return st_fail(e, ST_RANGE, "%" PRId64 " sums are not possible", n);
    enum st st = mem_alloc(&memory, bytes, "sums", e);
    if (st)
        return st;
    struct source s = source_new(t->digits);
    struct add_sum *list = memory;
    for (int64_t i = 0; i < n && !st; i++) {
        do
            list[i] = draw_one(&s, (int)(i % (t->digits + 1)), &seed);
        while (t->held_out && !add_held_out(list[i]));
        if (i % 1024 == 0 && !progress_tick(p, "making sums", (double)i, (double)n))
            st = st_fail(e, ST_CANCELLED, "interrupted");
    }
    free(s.list);
    if (st)
        mem_free(list);
    else
        *sums = list;
    return st;
}

/* --- scoring -----------------------------------------------------------------------------------
 */

/* Tokens of a batch of sums: prompts and answers one after the other, each a sequence of its own.
 */
struct batch_input {
    int32_t *ids, *seq;
    size_t n, cap_ids, cap_seq;
    int64_t first[BATCH]; /* row whose logits say the first token of the answer */
    int32_t answer[BATCH][ADD_ANSWER];
};

static void write_prompt(const struct add_task *t, struct add_sum s, struct buf *out)
{
    buf_clear(out);
    for (size_t i = 0; i < t->prompt.n; i++) {
        const char *p = t->prompt.p + i;
        const bool a = t->prompt.n - i >= 3 && !memcmp(p, "{a}", 3),
                   b = t->prompt.n - i >= 3 && !memcmp(p, "{b}", 3);
        if (a || b) {
            buf_printf(out, "%" PRId64, a ? s.a : s.b);
            i += 2;
        } else
            buf_addc(out, *p);
    }
}

/* Append sum i of the batch. */
static enum st add_input(const struct add_task *t, struct add_sum s, int i, struct batch_input *in,
                         struct add_score *score, struct err *e)
{
    struct buf text = { 0 };
    const struct tokenizer *k = t->model->tokenizer;
    int32_t *ids = NULL;
    size_t n = 0, cap = 0, begin = in->n;
    write_prompt(t, s, &text);
    enum st st = tokenizer_encode(k, str_of(text.p, text.n), 0, &in->ids, &in->n, &in->cap_ids, e);
    buf_clear(&text);
    *score = (struct add_score){ .wrong = -1, .said = -1 };
    for (int64_t v = s.a + s.b; v || !score->digits; v /= 10, score->digits++)
        buf_addc(&text, (char)('0' + v % 10));
    buf_addc(&text, '\n');
    if (!st)
        st = tokenizer_encode(k, str_of(text.p, text.n), TOKENIZE_NO_BOS | TOKENIZE_NO_SPACE, &ids,
                              &n, &cap, e);
    if (!st && (n != (size_t)score->digits + 1 || n > ADD_ANSWER || in->n == begin))
        st = st_fail(e, ST_UNSUPPORTED, "the model's tokenizer has no token for each digit");
    if (!st) {
        in->first[i] = (int64_t)in->n - 1;
        memcpy(in->answer[i], ids, n * sizeof *ids);
        x_grow(&in->ids, &in->cap_ids, in->n + n, sizeof *in->ids);
        memcpy(in->ids + in->n, ids, (n - 1) * sizeof *ids); /* nothing follows the newline */
        in->n += n - 1;
        x_grow(&in->seq, &in->cap_seq, in->n, sizeof *in->seq);
        for (size_t j = begin; j < in->n; j++)
            in->seq[j] = i;
    }
    free(ids);
    buf_free(&text);
    return st;
}

enum st add_segments(const struct add_task *t, const struct add_sum *sums, int64_t n,
                     struct evaluation_set *out, struct err *e)
{
    struct evaluation_set set = { .segments = n };
    struct batch_input in = { 0 };
    struct add_score score;
    enum st st = ST_OK;
    for (int64_t i = 0; i < n && !st; i++) {
        in.n = 0;
        if ((st = add_input(t, sums[i], 0, &in, &score, e)))
            break;
        const int64_t prompt = in.first[0] + 1;
        void *ids;
        if (!i) {
            set.first = prompt - 1;
            set.tokens = prompt + t->digits + 1;
            st = mem_alloc(&ids, (size_t)(n * set.tokens) * sizeof *set.ids, "segments", e);
            set.ids = st ? NULL : ids;
        } else if (prompt - 1 != set.first)
            st = st_fail(e, ST_UNSUPPORTED, "the prompts of the task differ in length");
        if (st)
            break;
        int32_t *to = set.ids + i * set.tokens;
        memcpy(to, in.ids, (size_t)prompt * sizeof *to);
        memcpy(to + prompt, in.answer[0], (size_t)(t->digits + 1) * sizeof *to);
    }
    free(in.ids);
    free(in.seq);
    if (st)
        evaluation_free(&set);
    else
        *out = set;
    return st;
}

/* Score one token of an answer by its row of logits. */
static void score_token(const float *logits, int64_t vocab, int32_t want, int at,
                        struct add_score *s)
{
    struct sampler greedy = { .temperature = 0 };
    const int32_t said = sample(&greedy, logits, vocab);
    s->right[at] = said == want;
    const double log_sum = log_sum_exp(logits, vocab);
    s->logp[at] = isfinite(log_sum) ? (double)logits[want] - log_sum : (double)NAN;
    if (said != want && s->wrong < 0) {
        s->wrong = at;
        s->said = said;
    }
}

/* The rows of `hidden` that say the answers, in tiles through the output head. */
static enum st score_batch(struct run *r, const struct batch_input *in, const struct tensor *hidden,
                           int n, float *rows, float *logits, struct add_score *out, struct err *e)
{
    const struct graph *g = run_graph(r);
    const int64_t width = shape_per_token(&hidden->shape);
    struct {
        int sum, at;
    } of[TILE];
    int have = 0;
    for (int i = 0; i < n; i++)
        for (int at = 0; at <= out[i].digits; at++) {
            memcpy(rows + have * width, hidden->data + (in->first[i] + at) * width,
                   (size_t)width * sizeof *rows);
            of[have].sum = i;
            of[have++].at = at;
            if (have < TILE && !(i == n - 1 && at == out[i].digits))
                continue;
            enum st st = run_head(r, rows, have, logits, e);
            if (st)
                return st;
            for (int k = 0; k < have; k++)
                score_token(logits + k * g->vocab, g->vocab, in->answer[of[k].sum][of[k].at],
                            of[k].at, &out[of[k].sum]);
            have = 0;
        }
    return ST_OK;
}

static enum st one_batch(const struct add_task *t, struct run *r, const struct add_sum *sums, int n,
                         struct batch_input *in, float *rows, float *logits, struct progress *p,
                         struct add_score *out, struct err *e)
{
    const struct graph *g = run_graph(r);
    enum st st = ST_OK;
    struct tensor hidden;
    in->n = 0;
    for (int i = 0; i < n && !st; i++)
        st = add_input(t, sums[i], i, in, &out[i], e);
    if (!st)
        st = run_input(r, in->ids, in->seq, NULL, (int64_t)in->n, e);
    if (!st)
        st = run_forward(r, (struct position){ 0, g->values[g->hidden].node + 1 }, p, NULL, e);
    if (!st)
        st = run_read(r, 0, g->hidden, &hidden, e);
    return st ? st : score_batch(r, in, &hidden, n, rows, logits, out, e);
}

enum st add_score(const struct add_task *t, const struct run_options *o, const struct add_sum *sums,
                  int64_t n, struct progress *p, struct add_score *out, int64_t *done,
                  struct err *e)
{
    const struct graph *g = t->model->graph;
    const size_t width = (size_t)shape_per_token(&g->values[g->hidden].shape);
    void *rows = NULL, *logits = NULL;
    *done = 0;
    enum st st = mem_alloc(&rows, TILE * width * sizeof(float), "hidden states", e);
    if (!st)
        st = mem_alloc(&logits, TILE * (size_t)g->vocab * sizeof(float), "logits", e);
    struct run_options options = *o;
    options.span = 0; /* a batch is one span; what a token gives does not depend on it */
    struct progress quiet = { .cancel = p ? p->cancel : NULL };
    struct batch_input in = { 0 };
    struct run *r = run_new(t->model, &options);
    while (!st && *done < n) {
        const int size = n - *done < BATCH ? (int)(n - *done) : BATCH;
        if (!progress_tick(p, "sums", (double)*done, (double)n))
            st = st_fail(e, ST_CANCELLED, "interrupted");
        else
            st = one_batch(t, r, sums + *done, size, &in, rows, logits, &quiet, out + *done, e);
        *done += st ? 0 : size;
    }
    run_free(r);
    free(in.ids);
    free(in.seq);
    mem_free(rows);
    mem_free(logits);
    return st;
}

/* --- report ------------------------------------------------------------------------------------
 */

/* Token `at` of the answer under its name: the newline comes after all digits. */
static int slot(const struct add_task *t, const struct add_score *s, int at)
{
    return at < s->digits ? at : t->digits + 1;
}

void add_report_of(const struct add_task *t, const struct add_sum *sums, const struct add_score *s,
                   int64_t n, struct add_report *out)
{
    struct add_report r = { 0 };
    int64_t right[ADD_ANSWER] = { 0 }, of[ADD_ANSWER] = { 0 }, exact = 0;
    int64_t carry_right[ADD_MAX_DIGITS + 1] = { 0 }, carry_of[ADD_MAX_DIGITS + 1] = { 0 };
    double *sum = x_alloc((size_t)n * sizeof *sum);
    int64_t *digits = x_alloc((size_t)n * sizeof *digits);
    for (int64_t i = 0; i < n; i++) {
        const int carry = add_carry_length(sums[i], t->digits);
        exact += s[i].wrong < 0;
        carry_right[carry] += s[i].wrong < 0;
        carry_of[carry]++;
        digits[i] = s[i].digits;
        for (int at = 0; at <= s[i].digits; at++) {
            const int k = slot(t, &s[i], at);
            broken_count(&r.broken, 1, isnan(s[i].logp[at]) ? (double)NAN : 0, i, at);
            r.scored++;
            right[k] += s[i].right[at];
            of[k]++;
            r.token_logp[k] += s[i].logp[at];
            sum[i] += at < s[i].digits ? s[i].logp[at] : 0;
        }
    }
    r.exact = share_of(exact, n);
    for (int k = 0; k <= t->digits + 1; k++) {
        r.token[k] = share_of(right[k], of[k]);
        r.token_logp[k] = of[k] ? r.token_logp[k] / (double)of[k] : (double)NAN;
    }
    for (int k = 0; k <= t->digits; k++)
        r.carry[k] = share_of(carry_right[k], carry_of[k]);
    r.logp = clustered_mean_of(sum, digits, (size_t)n);
    free(sum);
    free(digits);
    *out = r;
}
