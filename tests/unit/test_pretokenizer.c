/* SPDX-License-Identifier: MIT */
/* Pre-tokenizers: where each family cuts a text, and what is left of text that is no text. */
#include "tests/harness/unit.h"

#include <string.h>

#include "base/text.h"
#include "text/pretokenizer.h"

/* The same text cut by each family, computed with another regular-expression engine. U+180E is no
 * white space, U+0301 a combining mark, U+0663 a digit, U+00B2 a number. */
static const struct {
    const char *name, *cuts;
} families[] = {
    { "gpt-2", "I|'ll| SEE| HelloWORLD|'s| 12345| | (|x|)=+=|3|/|4|;|\r\n\n|\t|\u4f60\u597d|\u3002|"
               "\u30ab\u30bf| caf\u00e9s| e|\u0301|a|\u180e|b| | \u00b2\u0663|`|ok|`|  \n " },
    { "llama-bpe",
      "I|'ll| SEE| HelloWORLD|'s| |123|45| | (|x|)=+=|3|/|4|;\r\n\n|\t\u4f60\u597d|\u3002"
      "\u30ab\u30bf| caf\u00e9s| e|\u0301a|\u180eb| | |\u00b2\u0663|`ok|`|  \n| " },
    { "qwen2",
      "I|'ll| SEE| HelloWORLD|'s| |1|2|3|4|5| | (|x|)=+=|3|/|4|;\r\n\n|\t\u4f60\u597d|\u3002"
      "\u30ab\u30bf| caf\u00e9s| e|\u0301a|\u180eb| | |\u00b2|\u0663|`ok|`|  \n| " },
    { "gpt-4o",
      "I'll| SEE| Hello|WORLD's| |123|45| | (|x|)=+=|3|/|4|;\r\n\n|\t\u4f60\u597d|\u3002\u30ab"
      "\u30bf| caf\u00e9s| e\u0301a|\u180eb| | |\u00b2\u0663|`ok|`|  \n| " },
    { "tekken",
      "I|'ll| SEE| Hello|WORLD|'s| |1|2|3|4|5| | (|x|)=+=|3|/|4|;\r\n\n|\t\u4f60\u597d|\u3002"
      "\u30ab\u30bf| caf\u00e9s| e\u0301a|\u180eb| | |\u00b2|\u0663|`ok|`|  \n| " },
    { "qwen35",
      "I|'ll| SEE| HelloWORLD|'s| |1|2|3|4|5| | (|x|)=+=|3|/|4|;\r\n\n|\t\u4f60\u597d|\u3002"
      "\u30ab\u30bf| caf\u00e9s| e\u0301a|\u180eb| | |\u00b2|\u0663|`ok|`|  \n| " },
    { "starcoder",
      "I|'ll| SEE| HelloWORLD|'s| |1|2|3|4|5| | (|x|)=+=|3|/|4|;|\r\n\n|\t|\u4f60\u597d|\u3002"
      "|\u30ab\u30bf| caf\u00e9s| e|\u0301|a|\u180e|b|  |\u00b2|\u0663|`|ok|`|  \n " },
    { "falcon",
      "I|'|ll| SEE| HelloWORLD|'|s| |123|45|  |(|x|)=+=|3|/|4|;|\r\n\n|\t|\u4f60\u597d|\u3002|"
      "\u30ab\u30bf| caf\u00e9s| e|\u0301|a|\u180e|b| | \u00b2\u0663|`|ok|`|  \n " },
    { "default",
      "I|'|ll| SEE| HelloWORLD|'|s| |123|45|  |(|x|)=+=|3|/|4|;|\r\n\n|\t|\u4f60\u597d|\u3002|"
      "\u30ab\u30bf| caf\u00e9s| e|\u0301|a|\u180e|b| | |\u00b2\u0663|`|ok|`|  \n " },
    { "deepseek-coder",
      "I|'|ll| SEE| HelloWORLD|'|s| |1|2|3|4|5| | (|x|)|=+=|3|/|4|;|\r|\n|\n|\t|\u4f60\u597d|"
      "\u3002|\u30ab\u30bf| caf\u00e9s| e|\u0301|a|\u180e|b|  |\u00b2|\u0663|`|ok|`  |\n| " },
    { "deepseek-v3",
      "I|'ll| SEE| HelloWORLD|'s| |123|45| | (|x|)=+=|3|/|4|;\r\n\n|\t|\u4f60\u597d|\u3002|"
      "\u30ab\u30bf| caf\u00e9s| e\u0301a|\u180eb|  |\u00b2\u0663|`ok|`|  \n| " },
};

struct collected {
    struct buf text;
    enum st answer; /* of the sink, after the first word */
};

static enum st collect(void *context, struct str word, struct err *e)
{
    struct collected *c = context;
    if (c->answer && c->text.n)
        return st_fail(e, c->answer, "stop");
    if (c->text.n)
        buf_addc(&c->text, '|');
    buf_add(&c->text, word.p, word.n);
    return ST_OK;
}

static void expect(const char *name, const char *cuts)
{
    struct err e = ERR_INIT;
    struct pretokenizer *p;
    struct buf text = { 0 };
    struct collected c = { 0 };
    for (const char *s = cuts; *s; s++)
        if (*s != '|')
            buf_addc(&text, *s);
    assert_ok(pretokenizer_new(str_from(name), &p, &e), &e);
    assert_ok(pretokenize(p, str_of(text.p, text.n), collect, &c, &e), &e);
    if (strcmp(buf_str(&c.text), cuts))
        fail_msg("%s: \"%s\", expected \"%s\"", name, buf_str(&c.text), cuts);
    pretokenizer_free(p);
    buf_free(&text);
    buf_free(&c.text);
}

static void each_family_cuts_as_its_pattern_says(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof families / sizeof *families; i++)
        expect(families[i].name, families[i].cuts);
}

/* Runs of bytes that are not UTF-8 are words; the text around is cut as if it stood alone. */
static void invalid_bytes_are_words_of_their_own(void **state)
{
    (void)state;
    expect("gpt-2", "ab|\xff\xfe|c| d");
    expect("gpt-2", "\xc3|ab|  |\xe2\x96");
    expect("llama-bpe", "x| |\xed\xa0\x80|y|\xc0\x80|123|4");
    expect("deepseek-v3", "\xf4\x90\x80\x80");
    expect("gpt-2", "");
}

static void names_are_whole_words(void **state)
{
    (void)state;
    static const char *const bad[] = { "gpt", "gpt-2 ", " gpt-2", "gpt-2 phi-2", "GPT-2", "llama" };
    struct pretokenizer *p = NULL;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct err e = ERR_INIT;
        assert_fails(pretokenizer_new(str_from(bad[i]), &p, &e), ST_UNSUPPORTED, &e);
        assert_true(e.hint[0]);
    }
    struct err e = ERR_INIT;
    assert_fails(pretokenizer_new(str_of("gpt-2\0", 6), &p, &e), ST_UNSUPPORTED, &e);
    assert_null(p);
    assert_ok(pretokenizer_new(STR(""), &p, &e), &e); /* the family "default" */
    assert_int_equal(pretokenizer_flags(p), 0);
    pretokenizer_free(p);
    assert_ok(pretokenizer_new(STR("llama3"), &p, &e), &e);
    assert_int_equal(pretokenizer_flags(p), PRE_WHOLE_WORDS | PRE_ADDS_BOS);
    pretokenizer_free(p);
}

static void the_sink_can_stop_it(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    struct pretokenizer *p;
    struct collected c = { { 0 }, ST_CANCELLED };
    assert_ok(pretokenizer_new(STR("falcon"), &p, &e), &e);
    assert_fails(pretokenize(p, STR("one two 123456"), collect, &c, &e), ST_CANCELLED, &e);
    assert_string_equal(buf_str(&c.text), "one");
    pretokenizer_free(p);
    buf_free(&c.text);
}

UNIT_MAIN(CASE(each_family_cuts_as_its_pattern_says), CASE(invalid_bytes_are_words_of_their_own),
          CASE(names_are_whole_words), CASE(the_sink_can_stop_it))
