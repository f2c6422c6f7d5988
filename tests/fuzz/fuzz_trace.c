/* SPDX-License-Identifier: MIT */
/* Fuzz target: what a trace of another engine is made of, a file each: safetensors, a capture among
 * them, .npy, trace.json. */
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>

#include "base/memory.h"
#include "file/npy.h"
#include "file/trace.h"
#include "session/capture.h"

const char *const fuzz_words[] = { "\x93NUMPY\1\0",
                                   "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }",
                                   "'<f8'",
                                   "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],"
                                   "\"data_offsets\":[0,8]}}",
                                   "\"__metadata__\":{\"k\":\"v\"},",
                                   "\"BF16\"",
                                   "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
                                   "{\"format\": \"qdb-trace\", \"version\": 1, ",
                                   "\"tokens\": [",
                                   "\\ud83d\\ude00",
                                   "18446744073709551615",
                                   "-1",
                                   "\"qdb.capture\":\"1\",",
                                   "\"tok 2, chan 3\"",
                                   NULL };

static void require(bool fact)
{
    if (!fact)
        abort();
}

static void tensors(const uint8_t *data, size_t size)
{
    struct stored_tensors s;
    struct err e = ERR_INIT;
    if (stored_borrow(data, size, "fuzz", &s, &e)) {
        require(e.msg[0] && e.where[0]);
        return;
    }
    for (size_t i = 0; i < s.n; i++) {
        const struct stored_tensor *t = &s.list[i];
        require(stored_find(&s, t->name) == t);
        if (t->type == NUMBER__COUNT)
            continue;
        require(t->n * number_bytes(t->type) <= size);
        float *x = malloc(t->n * sizeof *x + 1);
        require(!x || !stored_floats(t, x, &e));
        free(x);
    }
    struct capture *c;
    if (capture_parse(&s, &c, &e)) {
        require(e.msg[0] && e.where[0]);
        return;
    }
    for (size_t i = 0; i < c->n; i++)
        require((uint64_t)shape_count(&c->list[i].shape) == c->list[i].x->n);
    struct result out = { 0 };
    capture_facts(c, &out);
    result_free(&out);
    capture_free(c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct err e = ERR_INIT;
    struct npy a;
    struct trace t;
    tensors(data, size);
    if (npy_parse(data, size, "fuzz", &a, &e))
        require(e.msg[0]);
    else
        npy_free(&a);
    if (trace_parse((const char *)data, size, "fuzz", &t, &e)) {
        require(e.msg[0] && e.where[0]);
    } else {
        require(t.n_ids > 0);
        trace_close(&t);
    }
    require(!mem_used());
    return 0;
}
