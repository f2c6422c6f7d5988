/* SPDX-License-Identifier: MIT */
/* The demo models that come with qdb, as bytes of the program itself. */
#ifndef QDB_MODELS_DEMO_H
#define QDB_MODELS_DEMO_H

#include <stddef.h>
#include <stdint.h>

struct demo_model {
    const char *name;
    const uint8_t *start, *end; /* a whole GGUF file, 64-byte aligned, never written */
};

/* All of them, the default one first; *n of them. Static storage. */
const struct demo_model *demo_models(size_t *n);
const struct demo_model *demo_find(const char *name); /* NULL if there is none of that name */

#endif
