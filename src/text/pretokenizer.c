/* SPDX-License-Identifier: MIT */
#include "text/pretokenizer.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

/* White space as Unicode has it; PCRE2's own \s also takes U+180E, which is none since 6.3. */
#define WS \
    "\\x09-\\x0d\\x20\\x85\\xa0\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}" \
    "\\x{3000}"
#define SPACES "[" WS "]+(?![^" WS "])|[" WS "]+"
#define OTHERS " ?[^" WS "\\p{L}\\p{N}]+"
#define APOSTROPHES "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define GPT2 "'(?:s|t|re|ve|m|ll|d)| ?\\p{L}+| ?\\p{N}+|" OTHERS "|" SPACES
#define LINES "[" WS "]*[\\r\\n]+|" SPACES
#define LLAMA3(digits) \
    APOSTROPHES "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|" digits "|" OTHERS "[\\r\\n]*|" LINES
#define UPPER "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
#define LOWER "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"
#define CASED(tail, digits) \
    "[^\\r\\n\\p{L}\\p{N}]?" UPPER "*" LOWER "+" tail "|[^\\r\\n\\p{L}\\p{N}]?" UPPER "+" LOWER \
    "*" tail "|" digits "|" OTHERS "[\\r\\n/]*|" LINES

enum { MAX_PATTERNS = 6 };

/* Each pattern cuts the words that the one before left; what lies between matches is a word too. */
static const struct family {
    const char *names; /* each between spaces */
    int flags;
    const char *patterns[MAX_PATTERNS];
} families[] = {
    { " gpt-2 phi-2 mpt olmo jais trillion exaone4 modern-bert mellum gigachat a.x-4.0 ",
      0,
      { GPT2 } },
    { " llama-bpe llama3 llama-v3 falcon3 falcon-h1 pixtral midm-2.0 lfm2 ",
      PRE_WHOLE_WORDS | PRE_ADDS_BOS,
      { LLAMA3("\\p{N}{1,3}") } },
    { " dbrx smaug-bpe glm4 chatglm-bpe ", 0, { LLAMA3("\\p{N}{1,3}") } },
    { " qwen2 deepseek-r1-qwen megrez stablelm2 hunyuan grok-2 solar-open kormo ",
      0,
      { LLAMA3("\\p{N}") } },
    { " qwen35 ",
      0,
      { APOSTROPHES "|[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+|\\p{N}| ?[^" WS
                    "\\p{L}\\p{M}\\p{N}]+[\\r\\n]*|" LINES } },
    { " starcoder refact command-r smollm codeshell exaone minerva-7b ", 0, { "\\p{N}", GPT2 } },
    { " falcon ", 0, { "[\\p{P}$+<=>^~|`]+", GPT2, "[0-9]{3}" } },
    { " deepseek-coder ",
      0,
      { "[\\r\\n]", "[" WS "]?\\p{L}+", "[" WS "]?\\p{P}+",
        "[\\x{4e00}-\\x{9fa5}\\x{800}-\\x{4e00}\\x{ac00}-\\x{d7ff}]+", "\\p{N}" } },
    { " deepseek-v3 hunyuan-dense joyai-llm ",
      0,
      { "\\p{N}{1,3}", "[\\x{4e00}-\\x{9fa5}\\x{3040}-\\x{30ff}]+",
        "[!-/:-@\\[-`{-~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+"
        "| ?[\\p{P}\\p{S}]+[\\r\\n]*|" LINES } },
    { " gpt-4o llama4 kanana2 ", 0, { CASED(APOSTROPHES "?", "\\p{N}{1,3}") } },
    { " tekken ", PRE_WHOLE_WORDS | PRE_ADDS_BOS, { CASED("", "\\p{N}") } },
    { " default ", 0, { "[\\p{P}$+<=>^~|]+", GPT2, "\\p{N}+", "[0-9]{3}" } },
};

struct pretokenizer {
    const struct family *family;
    int n;
    pcre2_code *codes[MAX_PATTERNS];
};

static const struct family *family_of(struct str name)
{
    char word[64];
    if (!name.n)
        name = STR("default");
    if (name.n + 3 > sizeof word || memchr(name.p, ' ', name.n) || memchr(name.p, '\0', name.n))
        return NULL;
    word[0] = word[name.n + 1] = ' ';
    memcpy(word + 1, name.p, name.n);
    word[name.n + 2] = '\0';
    for (size_t i = 0; i < sizeof families / sizeof *families; i++)
        if (strstr(families[i].names, word))
            return families + i;
    return NULL;
}

static enum st unknown(struct str name, struct err *e)
{
    struct buf shown = { 0 };
    buf_visible(&shown, str_of(name.p, name.n < 40 ? name.n : 40));
    st_fail(e, ST_UNSUPPORTED, "pre-tokenizer `%s` is not known", buf_str(&shown));
    buf_free(&shown);
    return st_hint(e, "known are the families of gpt-2, llama-bpe, qwen2, deepseek-v3, gpt-4o, "
                      "tekken, starcoder");
}

enum st pretokenizer_new(struct str name, struct pretokenizer **out, struct err *e)
{
    const struct family *f = family_of(name);
    if (!f)
        return unknown(name, e);
    struct pretokenizer *p = x_alloc(sizeof *p);
    p->family = f;
    for (; p->n < MAX_PATTERNS && f->patterns[p->n]; p->n++) {
        int code;
        PCRE2_SIZE at;
        pcre2_code *c = pcre2_compile((PCRE2_SPTR)f->patterns[p->n], PCRE2_ZERO_TERMINATED,
                                      PCRE2_UTF | PCRE2_UCP, &code, &at, NULL);
        if (!c) {
            pretokenizer_free(p);
            return st_fail(e, ST_INTERNAL, "the pattern of pre-tokenizer%s: error %d at %zu",
                           f->names, code, (size_t)at);
        }
        pcre2_jit_compile(c, PCRE2_JIT_COMPLETE); /* without it the patterns are interpreted */
        p->codes[p->n] = c;
    }
    *out = p;
    return ST_OK;
}

void pretokenizer_free(struct pretokenizer *p)
{
    if (!p)
        return;
    for (int i = 0; i < p->n; i++)
        pcre2_code_free(p->codes[i]);
    free(p);
}

int pretokenizer_flags(const struct pretokenizer *p) { return p->family->flags; }

struct cutter {
    const struct pretokenizer *p;
    pcre2_match_data *match;
    pcre2_match_context *limits;
    pretoken_sink *sink;
    void *context;
};

static enum st match_failed(int code, size_t at, struct err *e)
{
    char why[96];
    if (pcre2_get_error_message(code, (PCRE2_UCHAR *)why, sizeof why) < 0)
        why[0] = '\0';
    return st_fail(e, code == PCRE2_ERROR_NOMEMORY ? ST_NOMEM : ST_RANGE,
                   "pre-tokenizer at byte %zu: %s", at, why);
}

/* The next match at or after `at`: *from and *to, or both text.n when there is none. */
static enum st next_match(const struct cutter *c, const pcre2_code *code, struct str text,
                          size_t at, size_t *from, size_t *to, struct err *e)
{
    const uint32_t options = PCRE2_NO_UTF_CHECK | PCRE2_NOTEMPTY;
    PCRE2_SPTR p = (PCRE2_SPTR)text.p;
    int rc = pcre2_match(code, p, text.n, at, options, c->match, c->limits);
    if (rc == PCRE2_ERROR_JIT_STACKLIMIT)
        rc = pcre2_match(code, p, text.n, at, options | PCRE2_NO_JIT, c->match, c->limits);
    if (rc < 0 && rc != PCRE2_ERROR_NOMATCH)
        return match_failed(rc, at, e);
    const PCRE2_SIZE *range = pcre2_get_ovector_pointer(c->match);
    *from = rc < 0 ? text.n : range[0];
    *to = rc < 0 ? text.n : range[1];
    return ST_OK;
}

/* Cut valid UTF-8 by the patterns from `level` on. */
static enum st cut(const struct cutter *c, int level, struct str text, struct err *e)
{
    if (level == c->p->n)
        return c->sink(c->context, text, e);
    enum st st = ST_OK;
    for (size_t at = 0; !st && at < text.n;) {
        size_t from = at, to = at;
        st = next_match(c, c->p->codes[level], text, at, &from, &to, e);
        if (!st && from > at)
            st = cut(c, level + 1, str_of(text.p + at, from - at), e);
        if (!st && to > from)
            st = cut(c, level + 1, str_of(text.p + from, to - from), e);
        at = to;
    }
    return st;
}

/* Bytes at the start of text that are all UTF-8, or all not. */
static size_t run_length(struct str text, bool *valid)
{
    size_t n = 0;
    *valid = false;
    while (n < text.n) {
        int32_t cp;
        int bytes = utf8_decode(text.p + n, text.n - n, &cp);
        if (n && (cp >= 0) != *valid)
            break;
        *valid = cp >= 0;
        n += (size_t)bytes;
    }
    return n;
}

enum st pretokenize(const struct pretokenizer *p, struct str text, pretoken_sink *sink,
                    void *context, struct err *e)
{
    struct cutter c = { p, pcre2_match_data_create(1, NULL), pcre2_match_context_create(NULL), sink,
                        context };
    enum st st = ST_OK;
    if (!c.match || !c.limits)
        st = st_fail(e, ST_NOMEM, "no memory for a pattern match");
    else {
        /* No pattern goes back over the same text more than a few times. */
        size_t steps = text.n < UINT32_MAX / 8 ? text.n : UINT32_MAX / 8;
        pcre2_set_match_limit(c.limits, 10000000u + 4 * (uint32_t)steps);
        pcre2_set_heap_limit(c.limits, 64 * 1024); /* KiB */
        pcre2_set_depth_limit(c.limits, 1000000u);
    }
    while (!st && text.n) {
        bool valid;
        struct str run = str_of(text.p, run_length(text, &valid));
        st = valid ? cut(&c, 0, run, e) : sink(context, run, e);
        text = str_of(text.p + run.n, text.n - run.n);
    }
    pcre2_match_data_free(c.match);
    pcre2_match_context_free(c.limits);
    return st;
}
