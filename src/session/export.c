/* SPDX-License-Identifier: MIT */
#include "session/export_parts.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/hash.h"
#include "base/memory.h"
#include "quant/second_scale.h"

/* Paths of the parts. */
struct export_names {
    char **list;
    size_t n;
};

/* ---- tensors ---- */

/* Bytes of a tensor whose type is unknown: all up to the next tensor, or to the end of the file. */
static uint64_t extent(const struct gguf *g, const struct weight *w)
{
    const uint64_t room = g->map.size > g->data_offset ? g->map.size - g->data_offset : 0;
    uint64_t end = room;
    for (size_t i = 0; i < g->n_tensors; i++)
        if (g->tensors[i].offset > w->offset && g->tensors[i].offset < end)
            end = g->tensors[i].offset;
    return w->offset < end ? end - w->offset : 0;
}

/* The file's own tensor, as it is. */
static enum st keep(const struct weights *all, const struct weight *w, uint64_t known_by,
                    struct gguf_tensor *t, struct export_bytes *from, struct err *e)
{
    const struct gguf *g = all->files[w->file];
    t->type_id = w->type_id;
    t->bytes = w->bytes;
    from->p = w->data;
    from->own = true;
    from->known_by = known_by ? hash_bytes(&w->offset, sizeof w->offset, known_by) : 0;
    const bool empty = !w->ne[0] || !w->ne[1] || !w->ne[2] || !w->ne[3];
    if (w->problem && !empty && w->format == FORMAT_NONE && w->offset % g->alignment == 0) {
        t->bytes = extent(g, w);
        from->p = g->map.p + g->data_offset + w->offset;
        if (t->bytes)
            return ST_OK;
    }
    if (w->problem && !empty) {
        st_fail(e, ST_FORMAT, "%.*s cannot be exported: %s", (int)w->name.n, w->name.p, w->problem);
        return st_where(e, "%s", g->map.path);
    }
    return ST_OK;
}

/* What the bytes of a file are known by without reading them; 0 if it is none. */
static uint64_t file_identity(const char *path)
{
    struct stat f;
    if (stat(path, &f) || !S_ISREG(f.st_mode))
        return 0;
    const uint64_t facts[] = { (uint64_t)f.st_dev, (uint64_t)f.st_ino, (uint64_t)f.st_size,
                               (uint64_t)f.st_mtim.tv_sec, (uint64_t)f.st_mtim.tv_nsec };
    return hash_bytes(facts, sizeof facts, 0) | 1;
}

static struct quant_request request_for(const struct export_maker *k, const struct quant_item *item)
{
    const struct imatrix *importance = k->s->imatrix;
    return (struct quant_request){
        .model = k->m->model,
        .of = item->w,
        .from = quantize_source(k->s, item->w),
        .format = item->format,
        .method = item->method ? item->method : quant_method_at(0),
        .importance = importance ? imatrix_find(importance, item->w->name) : NULL,
        .unmeasured = true,
    };
}

/* A tensor that is to be made: its bytes are known by all that they are made of. known_by: of the
 * model's own file. */
static enum st to_be_made(const struct export_maker *k, const struct quant_item *item,
                          uint64_t known_by, struct gguf_tensor *t, struct export_bytes *from,
                          struct err *e)
{
    const struct quant_request q = request_for(k, item);
    const struct weights *all = q.from == item->w ? k->m->model->weights
                                                  : k->s->models.ref->model->weights;
    const struct imatrix_entry *x = q.importance;
    uint64_t h = file_identity(all->files[q.from->file]->map.path);
    struct buf words = { 0 };
    struct numeric f;
    enum st st = quant_format(&item->format, item->w, &f, e);
    if (st)
        return st;
    numeric_print(&f, &words);
    if (f.base != NUMERIC_STORAGE) {
        st_fail(e, ST_STATE, "%.*s would be %s, which no file holds", (int)item->w->name.n,
                item->w->name.p, buf_str(&words));
        buf_free(&words);
        return ST_STATE;
    }
    if (q.from == item->w && second_scale_stored(item->w, &f)) {
        buf_free(&words);
        return keep(k->m->model->weights, item->w, known_by, t, from, e);
    }
    buf_printf(&words, " %s %.*s", q.method->name, (int)item->w->name.n, item->w->name.p);
    h = h ? hash_bytes(&q.from->offset, sizeof q.from->offset, h) : weight_hash(q.from, 0);
    h = hash_bytes(words.p, words.n, h);
    if (x)
        h = imatrix_hash(x, h);
    buf_free(&words);
    t->type_id = (uint32_t)format_info(f.storage)->id;
    t->bytes = numeric_bytes(&f, item->w->rows, item->w->cols);
    *from = (struct export_bytes){
        .of = item->w, .item = item, .scaled = numeric_second_scale(&f), .known_by = h | 1
    };
    return ST_OK;
}

/* Every tensor of a plan that is not held. */
static enum st plan_made(struct session *s, const struct session_model *m,
                         const struct export_as *as, struct export *x, struct err *e)
{
    const struct weights *all = m->model->weights;
    const struct quant_item **of = x_alloc((all->n + 1) * sizeof *of);
    enum st st = ST_OK;
    x->maker = x_alloc(sizeof *x->maker);
    *x->maker = (struct export_maker){ .s = s, .m = m, .as = as };
    for (size_t i = 0; i < as->n; i++)
        of[as->list[i].w - all->list] = as->list[i].orig ? NULL : &as->list[i];
    for (size_t i = 0; i < all->n && !st; i++) {
        const struct weight *w = &all->list[i];
        const uint64_t known_by = file_identity(all->files[w->file]->map.path);
        struct gguf_tensor *t = &x->tensors[i];
        *t = (struct gguf_tensor){ .name = w->name, .rank = w->rank };
        x->from[i].of = w;
        memcpy(t->ne, w->ne, sizeof t->ne);
        st = of[i] ? to_be_made(x->maker, of[i], known_by, t, &x->from[i], e)
                   : keep(all, w, known_by, t, &x->from[i], e);
        x->n_changed += x->from[i].item != NULL;
    }
    free(of);
    return st;
}

static enum st plan_tensors(const struct session *s, const struct session_model *m,
                            struct export *x, struct err *e)
{
    const struct weights *all = m->model->weights;
    uint64_t *known_by = x_alloc((all->n_files + 1) * sizeof *known_by);
    for (size_t i = 0; i < all->n_files; i++)
        known_by[i] = file_identity(all->files[i]->map.path);
    enum st st = ST_OK;
    for (size_t i = 0; i < all->n && !st; i++) {
        const struct weight *w = &all->list[i];
        const struct form *f = changes_form(s, m, w);
        struct gguf_tensor *t = &x->tensors[i];
        *t = (struct gguf_tensor){ .name = w->name, .rank = w->rank };
        x->from[i].of = w;
        memcpy(t->ne, w->ne, sizeof t->ne);
        x->n_changed += f != NULL;
        if (!f) {
            st = keep(all, w, known_by[w->file], t, &x->from[i], e);
            continue;
        }
        t->type_id = f->w.type_id;
        t->bytes = f->simulates[0] ? f->packed : f->w.bytes;
        x->from[i].p = f->w.data;
        x->from[i].scales = f->w.scale;
    }
    free(known_by);
    return st;
}

/* The scales beside a tensor, which are not the file's own, are a tensor behind it. */
static void add_scales(struct export *x, const struct export_bytes *from)
{
    const struct weight *w = from->of;
    const uint64_t n = w->rows / weight_matrix_rows(w);
    struct buf name = { 0 };
    weight_scale_name(w, &name);
    struct export_bytes *added = &x->from[x->n_tensors];
    *added = *from;
    added->p = from->scales;
    added->name = buf_take(&name);
    added->known_by = from->known_by ? hash_bytes("scale", 5, from->known_by) | 1 : 0;
    x->n_scales++;
    x->tensors[x->n_tensors++] = (struct gguf_tensor){ .name = str_from(added->name),
                                                       .rank = 1,
                                                       .ne = { n, 1, 1, 1 },
                                                       .type_id = 0, /* F32 */
                                                       .bytes = (size_t)n * sizeof(float) };
}

/* The scales beside weights that are not the file's own are those of what stands for them. */
static void settle_scales(const struct weights *all, struct export *x)
{
    struct gguf_tensor *tensors = x->tensors;
    struct export_bytes *from = x->from;
    bool *gone = x_alloc((all->n + 1) * sizeof *gone);
    struct buf name = { 0 };
    x->tensors = x_alloc((2 * all->n + 1) * sizeof *x->tensors);
    x->from = x_alloc((2 * all->n + 1) * sizeof *x->from);
    for (size_t i = 0; i < all->n; i++) {
        const struct weight *beside = all->list[i].beside;
        buf_clear(&name);
        weight_scale_name(&all->list[i], &name);
        const struct weight *old = weights_find(all, str_of(name.p, name.n));
        gone[i] |= beside && !from[beside - all->list].own;
        if (old && (from[i].scales || from[i].scaled))
            gone[old - all->list] = true;
    }
    for (size_t i = 0; i < all->n; i++) {
        if (gone[i])
            continue;
        x->tensors[x->n_tensors] = tensors[i];
        x->from[x->n_tensors++] = from[i];
        if (from[i].scales || from[i].scaled)
            add_scales(x, &from[i]);
    }
    buf_free(&name);
    free(gone);
    free(tensors);
    free(from);
}

/* ---- parts ---- */

static void name_parts(struct export *x, const char *path)
{
    const size_t n = strlen(path);
    const int stem = (int)(str_ends(str_from(path), ".gguf") ? n - 5 : n);
    x->names = x_alloc(sizeof *x->names);
    x->names->n = x->n_parts;
    x->names->list = x_alloc(x->n_parts * sizeof *x->names->list);
    for (size_t k = 0; k < x->n_parts; k++) {
        struct buf b = { 0 };
        if (x->n_parts == 1)
            buf_adds(&b, path);
        else
            buf_printf(&b, "%.*s-%05zu-of-%05zu.gguf", stem, path, k + 1, x->n_parts);
        x->names->list[k] = buf_take(&b);
    }
}

/* Cut the tensors into parts of at most `split` bytes, or of one; 0: a single part. */
static enum st cut(struct export *x, uint64_t split, struct err *e)
{
    enum { MOST = 65535 };
    const size_t n = x->n_tensors;
    uint64_t bytes = 0;
    size_t cap_files = 0, cap_parts = 0;
    for (size_t i = 0; i < n || !x->n_parts; i++) {
        const uint64_t more = i < n ? x->tensors[i].bytes : 0;
        if (!x->n_parts || (split && bytes && (more > split || bytes > split - more))) {
            x_grow(&x->files, &cap_files, x->n_parts + 1, sizeof *x->files);
            x_grow(&x->parts, &cap_parts, x->n_parts + 1, sizeof *x->parts);
            x->parts[x->n_parts] = (struct gguf_part){ .first = i };
            x->files[x->n_parts++] = (struct gguf_file){ .tensors = x->tensors + i };
            bytes = 0;
        }
        x->files[x->n_parts - 1].n_tensors += i < n;
        bytes += more;
    }
    if (x->n_parts > MOST)
        return st_fail(e, ST_RANGE, "%zu parts; at most %d have a number", x->n_parts, MOST);
    return ST_OK;
}

static enum st plan_files(struct session *s, const struct session_model *m,
                          const struct export_as *as, const char *path, uint64_t split,
                          struct export *out, struct err *e)
{
    struct export x = { .s = s, .m = m };
    const size_t n = m->model->weights->n + 1;
    x.tensors = x_alloc(n * sizeof *x.tensors);
    x.from = x_alloc(n * sizeof *x.from);
    enum st st = as ? plan_made(s, m, as, &x, e) : plan_tensors(s, m, &x, e);
    if (!st) {
        settle_scales(m->model->weights, &x);
        st = cut(&x, split, e);
    }
    if (!st) {
        x.metas = x_alloc(x.n_parts * sizeof *x.metas);
        export_metadata(s, m, &x);
        name_parts(&x, path);
    }
    for (size_t k = 0; k < x.n_parts && !st; k++) {
        x.files[k].kvs = x.metas[k].list;
        x.files[k].n_kvs = x.metas[k].n;
        x.parts[k].file = &x.files[k];
        x.parts[k].path = x.names->list[k];
        st = gguf_plan(&x.files[k], e);
        x.bytes += x.files[k].size;
    }
    if (st)
        export_free(&x);
    else
        *out = x;
    return st;
}

/* A model is read from its file as long as it is open: no part may take its place. */
static enum st check_open_files(const struct session *s, const struct export *x, struct err *e)
{
    struct stat part, open;
    for (size_t k = 0; k < x->n_parts; k++) {
        if (stat(x->parts[k].path, &part))
            continue;
        for (size_t i = 0; i < s->models.n_models; i++) {
            const struct weights *w = s->models.models[i]->model->weights;
            for (size_t f = 0; f < w->n_files; f++)
                if (!stat(w->files[f]->map.path, &open) && open.st_dev == part.st_dev
                    && open.st_ino == part.st_ino) {
                    st_fail(e, ST_STATE, "is open here: an export does not replace it");
                    st_hint(e, "export to another name");
                    return st_where(e, "%s", x->parts[k].path);
                }
        }
    }
    return ST_OK;
}

enum st export_plan(struct session *s, struct session_model *m, const struct export_as *as,
                    const char *path, uint64_t split, struct export *out, struct err *e)
{
    struct export x;
    enum st st = as ? ST_OK : export_allowed(s, m, e);
    if (!st)
        st = plan_files(s, m, as, path, split, &x, e);
    if (!st && (st = check_open_files(s, &x, e)))
        export_free(&x);
    if (!st)
        *out = x;
    return st;
}

void export_free(struct export *x)
{
    for (size_t k = 0; x->metas && k < x->n_parts; k++)
        gguf_meta_free(&x->metas[k]);
    for (size_t k = 0; x->names && k < x->names->n; k++)
        free(x->names->list[k]);
    if (x->names)
        free(x->names->list);
    free(x->names);
    free(x->metas);
    free(x->parts);
    free(x->files);
    for (size_t i = 0; i < x->n_tensors; i++)
        free(x->from[i].name);
    free(x->tensors);
    free(x->from);
    if (x->maker)
        form_drop(x->maker->form);
    free(x->maker);
    *x = (struct export){ 0 };
}

/* ---- writing ---- */

struct export_making {
    const struct export *x;
    struct progress *progress;
};

static enum st bytes_of(void *data, size_t i, const void **out, struct err *e)
{
    const struct export_making *with = data;
    const struct export *x = with->x;
    const struct quant_item *item = x->from[i].item;
    if (!item) {
        *out = x->from[i].p;
        return ST_OK;
    }
    struct quant_note note;
    struct progress quiet = { .cancel = with->progress ? with->progress->cancel : NULL };
    struct quant_request q = request_for(x->maker, item);
    q.pool = session_pool(x->maker->s);
    q.progress = &quiet;
    enum st st = ST_OK;
    if (x->maker->made != item) {
        form_drop(x->maker->form); /* one at a time */
        x->maker->form = NULL;
        x->maker->made = NULL;
        st = quant_make(NULL, &q, &x->maker->form, &note, e);
    }
    if (st)
        return st;
    x->maker->made = item;
    *out = x->from[i].name ? x->maker->form->w.scale : x->maker->form->w.data;
    return ST_OK;
}

static uint64_t identity_of(void *data, size_t i)
{
    const struct export *x = ((const struct export_making *)data)->x;
    if (x->from[i].known_by)
        return x->from[i].known_by;
    return x->tensors[i].bytes ? hash_bytes(x->from[i].p, x->tensors[i].bytes, 0) : 0;
}

static enum st whole(void *data, struct err *e)
{
    const struct export_making *with = data;
    return session_use_bytes(with->x->s, with->x->m, e);
}

enum st export_write(struct session *s, const struct export *x, struct progress *p,
                     struct gguf_exported *out, struct err *e)
{
    struct export_making with = { x, p };
    const struct gguf_source source = { bytes_of, identity_of, whole, &with };
    return gguf_export(x->parts, x->n_parts, &source, session_pool(s), p, out, e);
}

struct export_size export_size(struct session *s, const struct session_model *m)
{
    struct export_size z = { .refused = ERR_INIT };
    struct export x;
    if (plan_files(s, m, NULL, "", 0, &x, NULL))
        return z;
    z.known = true;
    z.bytes = x.bytes;
    z.no_file = export_allowed(s, m, &z.refused) != ST_OK;
    export_free(&x);
    return z;
}
