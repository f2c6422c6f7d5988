/* SPDX-License-Identifier: MIT */
/* Fuzz target: expressions over a tiny model that has run. */
#include "tests/fuzz/fuzz.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/memory.h"
#include "session/control.h"
#include "session/expression.h"
#include "session/session.h"

const char *const fuzz_words[] = { "blk.0.out",
                                   "blk.1.in",
                                   "blk.0.attn.prob",
                                   "blk.0.attn_norm.weight",
                                   "blk.0.attn_q.weight",
                                   "[tok=",
                                   "[chan=",
                                   "top2(rms)",
                                   "-1]",
                                   "*",
                                   "/",
                                   "+",
                                   "-",
                                   "(",
                                   ")",
                                   "abs(",
                                   "log(",
                                   "absmax(",
                                   "kurt(",
                                   "median(",
                                   "entropy(",
                                   "relerr(",
                                   "cos(",
                                   ",",
                                   "$",
                                   "$1",
                                   "$x",
                                   "1e9",
                                   "0.5",
                                   "@s0",
                                   "a!",
                                   NULL };

static struct session *open_session(void)
{
    static const int32_t ids[] = { 5, 9, 3 };
    struct session *s = session_new();
    struct session_model *m;
    struct session_run *r;
    struct stop stop;
    struct err e = ERR_INIT;
    struct buf path = { 0 };
    buf_printf(&path, "%s/tests/golden/models/llama-freqs.gguf",
               getenv("QDB_TOP") ? getenv("QDB_TOP") : ".");
    if (settings_set(&s->settings, SETTING_THREADS, STR("1"), &e)
        || session_open(s, buf_str(&path), NULL, &m, &e) || session_prompt(s, ids, 3, NULL, &r, &e)
        || control_forward(s, r, run_end(r->run), STOP_END, &stop, &e)) {
        fprintf(stderr, "%s: %s\n", buf_str(&path), e.msg);
        exit(99);
    }
    struct view v;
    if (!expression_eval(s, STR("blk.0.out"), &v, &e))
        values_keep(&s->values, &v);
    if (!expression_eval(s, STR("2"), &v, &e))
        values_name(&s->values, STR("x"), &v);
    mem_set_budget(mem_used() + (4 << 20));
    buf_free(&path);
    return s;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct session *s;
    s = s ? s : open_session();
    const size_t before = mem_used();
    struct view v;
    struct err e = ERR_INIT;
    if (expression_eval(s, str_of((const char *)data, size), &v, &e)) {
        if (!e.msg[0] || e.column > (int)size)
            abort();
    } else {
        for (int d = 0; d < v.shape.rank; d++)
            if (!v.index[d] || v.shape.d[d].n < 1)
                abort();
        view_free(&v);
    }
    if (mem_used() > before + (1 << 20)) /* the run may keep a little; results are given back */
        abort();
    return 0;
}
