/* SPDX-License-Identifier: MIT */
/* Recipes: the three spellings read, bad ones refused with their line, the first rule holds, and
 * what is written gives every tensor its format and no other a rule. */
#include "tests/harness/unit.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/memory.h"
#include "file/recipe.h"

static struct recipe *parse(const char *text)
{
    struct recipe *r;
    struct err e = ERR_INIT;
    assert_ok(recipe_parse(str_from(text), "r", NULL, &r, &e), &e);
    return r;
}

static const char *type_of(const struct recipe *r, const char *name)
{
    int64_t i;
    struct err e = ERR_INIT;
    assert_ok(recipe_rule_of(r, str_from(name), &i, &e), &e);
    return i < 0 ? "-" : format_info(r->list[i].format)->name;
}

static void reads_the_three_kinds(void **state)
{
    (void)state;
    static const struct {
        enum recipe_kind kind;
        const char *text;
    } texts[] = {
        { RECIPE_QUANTIZE, "attn_v=Q6_K  blk\\.[0-1]\\.ffn=iq3_xxs\n\t^output=f16" },
        { RECIPE_IK, "attn_v=q6_K,blk\\.[0-1]\\.ffn=iq3_xxs,^output=f16\n" },
        { RECIPE_THIREUS,
          "# made\nattn_v=q6_K # better\n\nblk\\.[0-1]\\.ffn=iq3_xxs\n^output=f16" },
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct recipe *r = parse(texts[i].text);
        assert_int_equal(r->kind, texts[i].kind);
        assert_int_equal(r->n, 3);
        assert_string_equal(type_of(r, "blk.0.attn_v.weight"), "q6_k");
        assert_string_equal(type_of(r, "blk.1.ffn_up.weight"), "iq3_xxs");
        assert_string_equal(type_of(r, "blk.2.ffn_up.weight"), "-");
        assert_string_equal(type_of(r, "output.weight"), "f16");
        assert_string_equal(type_of(r, "attn_output.weight"), "-");
        recipe_free(r);
    }
}

static void the_first_rule_holds(void **state)
{
    (void)state;
    struct recipe *r = parse("ffn_down=q6_k ffn=q4_k blk=q2_k");
    assert_string_equal(type_of(r, "blk.0.ffn_down.weight"), "q6_k");
    assert_string_equal(type_of(r, "blk.0.ffn_up.weight"), "q4_k");
    assert_string_equal(type_of(r, "blk.0.attn_q.weight"), "q2_k");
    recipe_free(r);
    /* a comma of a pattern is none of the list */
    r = parse("blk\\.[0-9]{1,2}\\.a=q4_0,b=q8_0");
    assert_int_equal(r->n, 2);
    assert_string_equal(type_of(r, "blk.12.a"), "q4_0");
    recipe_free(r);
    /* llama-quantize reads patterns in lower case */
    r = parse("\\D\\.A=q4_0");
    assert_string_equal(type_of(r, "1.a"), "q4_0");
    assert_string_equal(type_of(r, "x.A"), "-");
    recipe_free(r);
}

static void refuses_what_is_no_recipe(void **state)
{
    (void)state;
    static const struct {
        const char *text, *says;
    } bad[] = {
        { "", "no rule" },
        { "# nothing\n", "no rule" },
        { "a=q4_0\nb", "line 2" },
        { "=q4_0", "no pattern" },
        { "a=", "no type" },
        { "a=q4_k_m", "q4_k_m" },
        { "a=q4_0\n\n(b=q4_0", "line 3" },
        { "[z-a]=q4_0", "regular" },
        { "a=b=q4_0", "no type" },
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct recipe *r;
        struct err e = ERR_INIT;
        assert_fails(recipe_parse(str_from(bad[i].text), "r", NULL, &r, &e), ST_FORMAT, &e);
        if (!strstr(e.msg, bad[i].says))
            fail_msg("%s: %s", bad[i].text, e.msg);
        assert_string_equal(e.where, "r");
    }
    /* a pattern that could take for ever */
    struct recipe *r = parse("^(a+)+$=q4_0");
    int64_t rule;
    struct err e = ERR_INIT;
    assert_fails(
        recipe_rule_of(r, STR("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab"), &rule, &e),
        ST_RANGE, &e);
    recipe_free(r);
}

enum { BLOCKS = 12, ROLES = 3 };
static const char *const roles[ROLES] = { "attn_q.weight", "attn_q_norm.weight", "ffn_up.weight" };
static const char *const formats[] = { "q4_k", "q6_k", "iq4_xs", "f16" };

/* Random formats over blocks 0..11 (1 and 11 begin alike), tensors outside the blocks, and names
 * that are to have no rule; read back, each has its own. */
static void what_it_writes_is_exact(void **state)
{
    (void)state;
    char names[BLOCKS * ROLES][40];
    uint64_t random = 3;
    struct err e = ERR_INIT;
    for (int round = 0; round < 30; round++) {
        struct recipe_tensor list[BLOCKS * ROLES + 2];
        struct str others[BLOCKS * ROLES + 2];
        size_t n = 0, n_others = 0;
        for (int i = 0; i < BLOCKS * ROLES; i++) {
            snprintf(names[i], sizeof names[i], "blk.%d.%s", i / ROLES, roles[i % ROLES]);
            const uint64_t pick = round ? unit_random(&random) % 5 : (uint64_t)(i % ROLES);
            if (pick == 4)
                others[n_others++] = str_from(names[i]);
            else
                list[n++] = (struct recipe_tensor){ str_from(names[i]),
                                                    format_by_name(formats[pick]) };
        }
        list[n++] = (struct recipe_tensor){ STR("output.weight"), format_by_name("q6_k") };
        others[n_others++] = STR("attn_output.weight");
        for (int kind = 0; kind < RECIPE__COUNT; kind++) {
            const enum recipe_kind k = (enum recipe_kind)kind;
            struct buf out = { 0 };
            struct recipe *r;
            assert_ok(recipe_make(list, n, others, n_others, k, &out, &e), &e);
            assert_ok(recipe_parse(str_of(out.p, out.n), "r", &k, &r, &e), &e);
            if (!round)
                assert_int_equal(r->n, ROLES + 1); /* one rule for a role of one format */
            for (size_t i = 0; i < n; i++) {
                char name[40];
                snprintf(name, sizeof name, "%.*s", (int)list[i].name.n, list[i].name.p);
                assert_string_equal(type_of(r, name), format_info(list[i].format)->name);
            }
            recipe_free(r);
            buf_free(&out);
        }
    }
    assert_int_equal(mem_used(), 0);
}

static void what_cannot_be_told_apart_is_refused(void **state)
{
    (void)state;
    const enum format f = format_by_name("q4_0"), g = format_by_name("q8_0");
    const struct recipe_tensor upper[] = { { STR("Head"), f }, { STR("tail.W"), f } };
    const struct recipe_tensor both[] = { { STR("a.B"), f }, { STR("a.C"), g } };
    struct buf out = { 0 };
    struct err e = ERR_INIT;
    assert_ok(recipe_make(upper, 2, NULL, 0, RECIPE_QUANTIZE, &out, &e), &e);
    assert_string_equal(buf_str(&out), "^.ead$=q4_0\n^tail\\..$=q4_0\n");
    buf_clear(&out);
    assert_fails(recipe_make(both, 2, NULL, 0, RECIPE_QUANTIZE, &out, &e), ST_UNSUPPORTED, &e);
    assert_int_equal(out.n, 0);
    assert_ok(recipe_make(both, 2, NULL, 0, RECIPE_THIREUS, &out, &e), &e);
    buf_clear(&out);
    assert_ok(recipe_make(both, 2, NULL, 0, RECIPE_IK, &out, &e), &e);
    assert_string_equal(buf_str(&out), "^a\\.B$=q4_0,^a\\.C$=q8_0\n");
    buf_free(&out);
    assert_fails(recipe_make(both, 0, NULL, 0, RECIPE_IK, &out, &e), ST_STATE, &e);
}

/* Spellings that ik_llama.cpp's llama-quantize takes, which heeds the case; blocks one by one for
 * Thireus's tools, whose expansion of ranges knows no `+`. */
static void each_kind_has_its_spelling(void **state)
{
    (void)state;
    static const struct {
        const char *format, *ik; /* NULL: it has none */
        bool quantize;
    } types[] = {
        { "q4_k", "q4_K", true },    { "iq4_xs", "iq4_xs", true },  { "q4_k_r4", "q4_k_r4", false },
        { "q8_kv", "q8_KV", false }, { "q1_0", "q1_0_g128", true }, { "tq2_0", NULL, true },
    };
    struct err e = ERR_INIT;
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        const enum format f = format_by_name(types[i].format);
        const struct recipe_tensor blocks[] = { { STR("blk.0.a.weight"), f },
                                                { STR("blk.10.a.weight"), f } };
        struct buf out = { 0 }, want = { 0 };
        enum st st = recipe_make(blocks, 2, NULL, 0, RECIPE_QUANTIZE, &out, &e);
        assert_int_equal(st, types[i].quantize ? ST_OK : ST_UNSUPPORTED);
        buf_printf(&want, "^blk\\.[0-9]+\\.a\\.weight$=%s\n", types[i].format);
        assert_string_equal(buf_str(&out), types[i].quantize ? buf_str(&want) : "");
        buf_clear(&out);
        buf_clear(&want);
        st = recipe_make(blocks, 2, NULL, 0, RECIPE_THIREUS, &out, &e);
        assert_int_equal(st, types[i].ik ? ST_OK : ST_UNSUPPORTED);
        buf_printf(&want, "^blk\\.(0|10)\\.a\\.weight$=%s\n", types[i].ik ? types[i].ik : "");
        assert_string_equal(buf_str(&out), types[i].ik ? buf_str(&want) : "");
        if (types[i].ik) {
            struct recipe *r = parse(buf_str(&out));
            assert_string_equal(type_of(r, "blk.10.a.weight"), types[i].format);
            recipe_free(r);
        }
        buf_free(&want);
        buf_free(&out);
    }
}

/* Is the word in the list, where it begins behind a space? In any case if `loosely`. */
static bool listed(struct str list, const char *word, bool loosely)
{
    const size_t n = strlen(word);
    for (size_t i = 1; i + n <= list.n; i++)
        if (list.p[i - 1] == ' ' && (i + n == list.n || list.p[i + n] == ' ')
            && (loosely ? !strncasecmp(list.p + i, word, n) : !memcmp(list.p + i, word, n)))
            return true;
    return false;
}

/* Every format: types.txt says which names the programs take. */
static void programs_take_every_name(void **state)
{
    (void)state;
    size_t n;
    char *text = unit_read(golden_path("types.txt"), &n);
    const size_t first = (size_t)((char *)memchr(text, '\n', n) - text);
    const struct str lists[RECIPE__COUNT] = {
        [RECIPE_QUANTIZE] = str_of(text, first),
        [RECIPE_IK] = str_of(text + first + 1, n - first - 2),
        [RECIPE_THIREUS] = str_of(text + first + 1, n - first - 2),
    };
    for (int kind = 0; kind < RECIPE__COUNT; kind++)
        for (int f = 0; f < format_count(); f++) {
            const char *own = format_info((enum format)f)->name;
            const char *name = recipe_type_name((enum recipe_kind)kind, (enum format)f);
            if (name ? !listed(lists[kind], name, false) : listed(lists[kind], own, true))
                fail_msg("%s: %s for %s", recipe_kind_name((enum recipe_kind)kind),
                         name ? name : "none", own);
        }
    free(text);
}

UNIT_MAIN(CASE(reads_the_three_kinds), CASE(the_first_rule_holds), CASE(refuses_what_is_no_recipe),
          CASE(what_it_writes_is_exact), CASE(what_cannot_be_told_apart_is_refused),
          CASE(each_kind_has_its_spelling), CASE(programs_take_every_name))
