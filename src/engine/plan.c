/* SPDX-License-Identifier: MIT */
#include "engine/plan.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

/* Does an op want the weight as a vector (gains, biases)? */
static bool wants_vector(const struct graph *g, const struct weight *w)
{
    for (int i = 0; g && i < g->n_nodes; i++)
        for (int k = 0; k < NODE_MAX_WEIGHTS; k++)
            if (g->nodes[i].w[k] == w && g->nodes[i].v[k])
                return true;
    return false;
}

static enum st finish(const struct model *m, const struct weight *of, struct form *f,
                      struct form **out, struct err *e)
{
    void *v = NULL;
    enum st st = weight_check(&f->w, e);
    if (!st && wants_vector(m->graph, of)) {
        st = mem_alloc(&v, (size_t)(f->w.rows * f->w.cols) * sizeof(float), "a gain or bias", e);
        if (!st)
            st = weight_decode(&f->w, 0, f->w.rows, v, e);
    }
    f->v = v;
    if (st)
        form_drop(f);
    else
        *out = f;
    return st;
}

enum st form_new(const struct model *m, const struct weight *of, enum format format, void *data,
                 struct form **out, struct err *e)
{
    return form_new_scaled(m, of, format, data, NULL, out, e);
}

enum st form_new_scaled(const struct model *m, const struct weight *of, enum format format,
                        void *data, float *scales, struct form **out, struct err *e)
{
    struct form *f = x_alloc(sizeof *f);
    *f = (struct form){ .w = *of, .data = data, .scales = scales, .uses = 1 };
    size_t row = 0, bytes = 0;
    if (!format_row_bytes(format, of->cols, &row) || !mul_ok(row, (size_t)of->rows, &bytes)) {
        form_drop(f);
        return st_fail(e, ST_RANGE, "rows of %llu do not fit the blocks of %s",
                       (unsigned long long)of->cols, format_info(format)->name);
    }
    f->w.format = format;
    f->w.type_id = (uint32_t)format_info(format)->id;
    f->w.row_bytes = row;
    f->w.bytes = bytes;
    f->w.data = data;
    f->w.problem = NULL;
    f->w.scale = (const uint8_t *)scales;
    return finish(m, of, f, out, e);
}

enum st form_borrow(const struct model *m, const struct weight *of, const struct weight *by,
                    struct form **out, struct err *e)
{
    if (of->rows != by->rows || of->cols != by->cols)
        return st_fail(e, ST_RANGE, "%.*s has another shape in the other file", (int)of->name.n,
                       of->name.p);
    struct form *f = x_alloc(sizeof *f);
    *f = (struct form){ .w = *by, .uses = 1 };
    f->w.name = of->name;
    return finish(m, of, f, out, e);
}

size_t form_bytes(const struct form *f)
{
    const uint64_t scales = f->scales ? f->w.rows / weight_matrix_rows(&f->w) : 0;
    return f->simulates[0] ? f->packed : f->w.bytes + (size_t)scales * sizeof(float);
}

struct form *form_keep(struct form *f)
{
    if (f)
        f->uses++;
    return f;
}

void form_drop(struct form *f)
{
    if (!f || --f->uses)
        return;
    mem_free(f->v);
    mem_free(f->data);
    mem_free(f->scales);
    free(f);
}

void plan_set(struct plan *p, const struct model *m, const struct weight *w, struct form *f)
{
    if (!p->n_forms) {
        if (!f)
            return;
        p->n_forms = m->weights->n;
        p->forms = x_alloc(p->n_forms * sizeof *p->forms);
    }
    struct form **slot = &p->forms[w - m->weights->list];
    form_keep(f);
    form_drop(*slot);
    *slot = f;
}

struct form *plan_form(const struct plan *p, const struct model *m, const struct weight *w)
{
    return p && p->n_forms && w ? p->forms[w - m->weights->list] : NULL;
}

bool plan_is_empty(const struct plan *p)
{
    bool none = !p || !p->n_transforms;
    for (size_t i = 0; p && none && i < p->n_forms; i++)
        none = !p->forms[i];
    return none;
}

void plan_transform(struct plan *p, struct plan_transform t)
{
    x_grow(&p->transforms, &p->cap_transforms, p->n_transforms + 1, sizeof *p->transforms);
    p->transforms[p->n_transforms++] = t;
}

void plan_copy(const struct plan *from, struct plan *out)
{
    *out = (struct plan){ .n_forms = from->n_forms };
    if (from->n_forms)
        out->forms = x_alloc(from->n_forms * sizeof *out->forms);
    for (size_t i = 0; i < from->n_forms; i++)
        out->forms[i] = form_keep(from->forms[i]);
    for (size_t i = 0; i < from->n_transforms; i++)
        plan_transform(out, from->transforms[i]);
}

void plan_free(struct plan *p)
{
    for (size_t i = 0; i < p->n_forms; i++)
        form_drop(p->forms[i]);
    free(p->forms);
    free(p->transforms);
    *p = (struct plan){ 0 };
}
