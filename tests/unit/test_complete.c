/* SPDX-License-Identifier: MIT */
/* Completion of command lines: verbs, words, formats, names of the session. */
#include "tests/harness/unit.h"

#include <string.h>

#include "command/command.h"
#include "command/complete.h"
#include "session/session.h"

static void assert_completes(struct session *s, const char *line, const char *want)
{
    struct completions c;
    struct buf b = { 0 };
    complete(s, str_from(line), 10, &c);
    buf_printf(&b, "%d:", c.from);
    for (size_t i = 0; i < c.n; i++)
        buf_printf(&b, " %s", c.names[i]);
    buf_adds(&b, c.files ? " files" : "");
    assert_string_equal(buf_str(&b), want);
    buf_free(&b);
    completions_free(&c);
}

static void completes(void **state)
{
    (void)state;
    struct session *s = session_new();
    assert_completes(s, "apr", "0: apropos");
    assert_completes(s, "show; apr", "6: apropos");
    assert_completes(s, "help apr", "5: apropos");
    assert_completes(s, "set pr", "4: precision progress prompt");
    assert_completes(s, "set output ", "11: csv json md text");
    assert_completes(s, "set pagination o", "15: off on");
    assert_completes(s, "with output=j", "12: json");
    assert_completes(s, "with outp", "5: output=");
    assert_completes(s, "with output=json -- sho", "20: show");
    assert_completes(s, "pipe sho", "5: show");
    assert_completes(s, "source a", "7: files");
    assert_completes(s, "show > a", "7: files");
    assert_completes(s, "show | a", "7: files");
    assert_completes(s, "explain rms", "8: rms rmse rmse/scale");
    assert_completes(s, "nothing a", "9:");
    assert_completes(s, "channels x by m", "14: max mean min");
    assert_completes(s, "bench ", "6: catch encode kernels machine model toggle");
    assert_completes(s, "bench machine ", "14: seconds size");
    assert_completes(s, "bench machine size ", "19:");
    assert_completes(s, "bench kernels size 1M q4", "22: q4_0 q4_1 q4_k");
    assert_completes(s, "bench kernels n", "14: native nvfp4");
    assert_completes(s, "bench encode iq", "13: iq4_nl iq4_xs");
    assert_completes(s, "bench model -", "12: -c -n -p -r -t files");
    assert_completes(s, "bench model -p 4 ", "17: -c -n -p -r -t");
    assert_completes(s, "bench model -c ", "15: exact fast native");
    assert_completes(s, "bench toggle -p", "13: files");
    session_free(s);
}

static void completes_names_of_the_session(void **state)
{
    (void)state;
    struct session *s = session_new();
    struct result r = { 0 };
    struct err e = ERR_INIT;
    struct buf open = { 0 };
    assert_completes(s, "break blk", "6:"); /* nothing is open */
    buf_printf(&open, "open '%s'", golden_path("models/llama-gqa-tied.gguf"));
    assert_ok(command_run(s, str_from(open.p), false, &r, &e), &e);
    result_free(&r);
    assert_completes(s, "break blk.1.attn_q.", "6: blk.1.attn_q.out blk.1.attn_q.rope");
    assert_completes(s, "info tensors blk.0.attn_q",
                     "13: blk.0.attn_q.out blk.0.attn_q.rope "
                     "blk.0.attn_q.weight");
    assert_completes(s, "break a!blk.1.ou", "6: a!blk.1.out");
    assert_completes(s, "break b!blk.1.ou", "6:");
    assert_completes(s, "break blk.1.attn_q.out[",
                     "6: blk.1.attn_q.out[chan= blk.1.attn_q.out[head= "
                     "blk.1.attn_q.out[tok=");
    assert_completes(s, "break blk.*.attn_q.out[tok=1, h", "6: blk.*.attn_q.out[tok=1, head=");
    assert_completes(s, "break blk.1.attn_q.out[tok=1, t", "6:");
    assert_completes(s, "break nothing[", "6:");
    assert_completes(s, "goto s0:blk.1.o", "5: s0:blk.1.out");
    assert_completes(s, "quant ** bits ", "14: 0 1 2 3 4 5 6 7 8");
    assert_completes(s, "plan load ", "10: files");
    assert_completes(s, "plan stock IQ4_", "11: IQ4_NL IQ4_XS");
    assert_completes(s, "watch absm", "6: absmax(");
    assert_completes(s, "watch absmax(blk.1.ou", "6: absmax(blk.1.out");
    assert_completes(s, "break blk.1.out if abs", "19: absmax");
    assert_completes(s, "break blk.1.out if absmax > 3 and an", "34: any(");
    assert_completes(s, "watch absmax(blk.1.out) 10% if out", "31: outlier(");
    assert_completes(s, "catch di", "6: diverge(");
    assert_completes(s, "catch fin", "6: finite");
    assert_completes(s, "catch nan or an", "13: any(");
    assert_completes(s, "entropy ", "8: blk.0 blk.1 floor");
    assert_completes(s, "heads ", "6: blk.0 blk.1");
    assert_completes(s, "skip blk.1", "5: blk.1 blk.1.attn blk.1.ffn");
    assert_completes(s, "prompt -", "7: -f -r -t");
    assert_completes(s, "prompt -f ", "10: files");
    assert_completes(s, "ref ", "4: off trace files");
    assert_completes(s, "ref trace ", "10: files");
    assert_completes(s, "data ", "5: add off tokens files");
    assert_completes(s, "kl base ", "8: files");
    assert_completes(s, "use ", "4: a");
    assert_completes(s, "info tensors b", "13: blk. breaks"); /* many names are cut at the dot */
    session_free(s);
    buf_free(&open);
}

static void completion_is_bounded(void **state)
{
    (void)state;
    struct session *s = session_new();
    struct completions c;
    complete(s, STR("set "), 3, &c);
    assert_int_equal(c.n, 3);
    assert_true(c.truncated);
    completions_free(&c);
    session_free(s);
}

UNIT_MAIN(CASE(completes), CASE(completes_names_of_the_session), CASE(completion_is_bounded))
