/* SPDX-License-Identifier: MIT */
#include "tests/harness/unit.h"

#include <string.h>

#include "graph/glob.h"

static bool matches(const char *pattern, const char *name)
{
    return glob_match(str_from(pattern), str_from(name));
}

static void plain_names_match_themselves(void **unused)
{
    (void)unused;
    assert_true(matches("blk.0.out", "blk.0.out"));
    assert_false(matches("blk.0.out", "blk.0.ou"));
    assert_false(matches("blk.0.ou", "blk.0.out"));
    assert_true(matches("", ""));
    assert_false(matches("", "a"));
}

static void stars_stay_within_a_segment(void **unused)
{
    (void)unused;
    assert_true(matches("blk.*.out", "blk.12.out"));
    assert_false(matches("blk.*.out", "blk.0.attn_q.out"));
    assert_true(matches("blk.**.out", "blk.0.attn_q.out"));
    assert_true(matches("**", "blk.0.attn_q.out"));
    assert_false(matches("*", "blk.0"));
    assert_true(matches("blk.0.ffn_*", "blk.0.ffn_up"));
    assert_true(matches("blk.?.out", "blk.3.out"));
    assert_false(matches("blk?3.out", "blk.3.out"));
}

static void sets_ranges_and_alternatives(void **unused)
{
    (void)unused;
    assert_true(matches("blk.{0..3}.out", "blk.3.out"));
    assert_false(matches("blk.{0..3}.out", "blk.4.out"));
    assert_true(matches("blk.{9..11}.out", "blk.10.out"));
    assert_false(matches("blk.{0..3}.out", "blk.03.out"));
    assert_true(matches("blk.0.attn_{q,k}.out", "blk.0.attn_k.out"));
    assert_false(matches("blk.0.attn_{q,k}.out", "blk.0.attn_v.out"));
    assert_true(matches("blk.0.attn_[qk].out", "blk.0.attn_q.out"));
    assert_false(matches("blk.0.attn_[qk].out", "blk.0.attn_v.out"));
    assert_true(matches("blk.{0,1}.{attn,ffn}_norm.out", "blk.1.ffn_norm.out"));
}

/* Each star tries every place: without a limit this would not end. */
static void hostile_patterns_end(void **unused)
{
    (void)unused;
    char pattern[300], name[300];
    memset(name, 'a', sizeof name);
    name[sizeof name - 1] = '\0';
    for (size_t i = 0; i + 2 < sizeof pattern; i += 2)
        pattern[i] = '*', pattern[i + 1] = 'a';
    pattern[sizeof pattern - 2] = 'b', pattern[sizeof pattern - 1] = '\0';
    assert_false(matches(pattern, name));
    assert_false(matches("blk.{0..", "blk.0"));
    assert_false(matches("blk.[", "blk.0"));
    assert_true(matches("blk.[", "blk.["));
}

UNIT_MAIN(CASE(plain_names_match_themselves),
          CASE(stars_stay_within_a_segment),
          CASE(sets_ranges_and_alternatives),
          CASE(hostile_patterns_end))
