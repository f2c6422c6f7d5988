/* SPDX-License-Identifier: MIT */
#include "file/lint.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/memory.h"
#include "file/lint_checks.h"

const char *lint_severity_name(enum lint_severity s)
{
    static const char *const names[] = { "note", "warning", "error" };
    return names[s];
}

void lint_add(struct lint *l, enum lint_severity severity, const char *check, struct str subject,
              const char *fmt, ...)
{
    l->count[severity]++;
    if (l->n == LINT_MAX)
        return;
    struct buf name = { 0 }, message = { 0 };
    char text[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    buf_adds(&message, text);
    buf_visible(&name, subject);
    x_grow(&l->list, &l->cap, l->n + 1, sizeof *l->list);
    l->list[l->n++] = (struct finding){ severity, check, buf_take(&name), buf_take(&message) };
}

enum st lint_weights(const struct weights *w, uint64_t max_elements, struct progress *p,
                     struct lint *out, struct err *e)
{
    *out = (struct lint){ 0 };
    lint_hyper_parameters(w, out);
    enum st st = lint_tokenizer(w, out, e);
    if (st)
        return st;
    lint_types(w, out);
    lint_directory(w, out);
    return lint_data(w, max_elements, p, out, e);
}

void lint_free(struct lint *l)
{
    for (size_t i = 0; i < l->n; i++) {
        free(l->list[i].subject);
        free(l->list[i].message);
    }
    free(l->list);
    *l = (struct lint){ 0 };
}
