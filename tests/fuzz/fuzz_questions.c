/* SPDX-License-Identifier: MIT */
/* Fuzz target: lines of questions; each that is read has an answer among its choices. */
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>

#include "file/questions.h"

const char *const fuzz_words[] = { "{\"prompt\": \"p\", \"answer\": \"a\"}",
                                   "\"choices\": [\"a\", \"b\"]",
                                   "\"answer\": 1",
                                   "\\u0000",
                                   "\\ud83d\\ude00",
                                   "\n",
                                   NULL };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct questions q;
    if (questions_parse(str_of((const char *)data, size), "fuzz", &q, NULL))
        return 0;
    for (size_t i = 0; i < q.n; i++)
        if (!q.list[i].prompt || q.list[i].answer >= q.list[i].n)
            abort();
    questions_free(&q);
    return 0;
}
