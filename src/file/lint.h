/* SPDX-License-Identifier: MIT */
/* Lint: what is wrong, odd or worth knowing about a model file, found without running it. */
#ifndef QDB_FILE_LINT_H
#define QDB_FILE_LINT_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/progress.h"
#include "file/weights.h"

enum lint_severity {
    LINT_NOTE,    /* worth knowing, nothing is wrong */
    LINT_WARNING, /* probably a mistake, or refused by other programs */
    LINT_ERROR,   /* broken: cannot be read, or computes nonsense */
};

struct finding {
    enum lint_severity severity;
    const char *check; /* static, one word that stays the same between versions: "nan", "overlap" */
    char *subject;     /* the tensor, the key or "file"; printable */
    char *message;
};

struct lint {
    struct finding *list; /* metadata first, then the directory, then data in file order */
    size_t n, cap;
    size_t count[3]; /* by severity, also of findings beyond LINT_MAX that are not in the list */
};

enum { LINT_MAX = 10000 };

/* Look at everything; of each tensor's data at most max_elements (0 = all). One thread, constant
 * memory. ST_CANCELLED when the user stops it: *out then holds what was found so far. ST_NOMEM.
 * *out is begun by this call; lint_free it in every case. */
NODISCARD enum st lint_weights(const struct weights *w, uint64_t max_elements, struct progress *p,
                               struct lint *out, struct err *e);
void lint_free(struct lint *l);
const char *lint_severity_name(enum lint_severity s); /* "note", "warning", "error" */

#endif
