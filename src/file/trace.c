/* SPDX-License-Identifier: MIT */
#include "file/trace.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/memory.h"
#include "file/json_read.h"
#include "file/npy.h"
#include "file/save.h"

enum { MAX_MANIFEST = 256 << 20, MAX_TEXT = 1 << 16 };

static const char *const manifest = "trace.json", *const arrays = "trace.safetensors";

static char *join(const char *folder, const char *name)
{
    struct buf b = { 0 };
    const size_t n = strlen(folder);
    buf_printf(&b, "%s%s%s", folder, n && folder[n - 1] == '/' ? "" : "/", name);
    return buf_take(&b);
}

/* ---- trace.json ---- */

static void read_tokens(struct trace *t, struct jread *j)
{
    int64_t id;
    if (t->n_ids) {
        jread_fail(j, "tokens twice");
        return;
    }
    for (jread_open(j, '['); jread_next(j) && jread_int(j, 0, INT32_MAX, &id);) {
        if (t->n_ids == TRACE_MAX_TOKENS) {
            jread_fail(j, "too many tokens");
            return;
        }
        x_grow(&t->ids, &t->cap_ids, t->n_ids + 1, sizeof *t->ids);
        t->ids[t->n_ids++] = (int32_t)id;
    }
}

static void read_text(char **to, struct jread *j, struct buf *b)
{
    if (!jread_string(j, b, MAX_TEXT))
        return;
    free(*to);
    *to = x_strdup(buf_str(b));
}

enum st trace_parse(const char *text, size_t n, const char *name, struct trace *out, struct err *e)
{
    struct jread j = jread_of(text, n);
    struct trace t = { 0 };
    struct buf key = { 0 };
    char *format = x_strdup("");
    int64_t version = 0;
    t.engine = x_strdup("");
    t.model = x_strdup("");
    t.dtype = x_strdup("");
    for (jread_open(&j, '{'); jread_next(&j) && jread_key(&j, &key, MAX_TEXT);) {
        struct {
            const char *key;
            char **to;
        } texts[] = { { "format", &format },
                      { "engine", &t.engine },
                      { "model", &t.model },
                      { "dtype", &t.dtype } };
        size_t i = 0;
        while (i < 4 && strcmp(buf_str(&key), texts[i].key) != 0)
            i++;
        if (i < 4)
            read_text(texts[i].to, &j, &key);
        else if (!strcmp(buf_str(&key), "version"))
            jread_int(&j, 0, INT32_MAX, &version);
        else if (!strcmp(buf_str(&key), "tokens"))
            read_tokens(&t, &j);
        else
            jread_skip(&j);
    }
    jread_end(&j);
    enum st st = jread_status(&j, 0, e);
    if (!st && strcmp(format, "qdb-trace") != 0)
        st = st_fail(e, ST_FORMAT, "it does not say \"format\": \"qdb-trace\"");
    if (!st && version != 1)
        st = st_fail(e, ST_UNSUPPORTED, "version %" PRId64 " of traces; this qdb reads 1", version);
    if (!st && !t.n_ids)
        st = st_fail(e, ST_FORMAT, "it names no \"tokens\": the ids of the prompt");
    buf_free(&key);
    free(format);
    if (st) {
        st_where(e, "%s", name);
        trace_close(&t);
    } else
        *out = t;
    return st;
}

static enum st read_manifest(const char *folder, struct trace *out, struct err *e)
{
    char *path = join(folder, manifest);
    struct map map;
    enum st st = map_open(path, &map, e);
    if (st)
        st_hint(e, "a trace is a folder with a trace.json: `help ref` says what is in it");
    else {
        st = map.size > MAX_MANIFEST
                 ? st_fail(e, ST_FORMAT, "%s has %zu bytes: no list of tokens", path, map.size)
                 : trace_parse((const char *)map.p, map.size, path, out, e);
        map_close(&map);
    }
    free(path);
    return st;
}

/* ---- the arrays ---- */

static struct trace_tensor *add(struct trace *t, const char *name, size_t n_name)
{
    x_grow(&t->list, &t->cap, t->n + 1, sizeof *t->list);
    struct trace_tensor *x = &t->list[t->n++];
    x->name = x_strndup(name, n_name);
    return x;
}

static enum st add_safetensors(struct trace *t, const char *path, struct err *e)
{
    x_grow(&t->files, &t->cap_files, t->n_files + 1, sizeof *t->files);
    struct stored_tensors *s = &t->files[t->n_files];
    enum st st = stored_open(path, s, e);
    if (st)
        return st;
    t->n_files++;
    for (size_t i = 0; i < s->n; i++) {
        const struct stored_tensor *from = &s->list[i];
        if (from->type == NUMBER__COUNT)
            continue; /* ids or masks that lie beside activations */
        struct trace_tensor *x = add(t, from->name, strlen(from->name));
        x->file = (int)t->n_files - 1;
        x->at = i;
        x->rank = from->rank;
        x->n = from->n;
        memcpy(x->shape, from->shape, sizeof x->shape);
    }
    return ST_OK;
}

static enum st add_npy(struct trace *t, const char *path, const char *name, size_t n_name,
                       struct err *e)
{
    struct npy a;
    enum st st = npy_look(path, &a, e);
    if (!st && a.rank > SAFETENSORS_MAX_RANK) {
        st_fail(e, ST_FORMAT, "%d axes; an activation has at most %d", a.rank,
                SAFETENSORS_MAX_RANK);
        st = st_where(e, "%s", path);
    }
    if (st)
        return st;
    struct trace_tensor *x = add(t, name, n_name);
    x->file = -1;
    x->rank = a.rank;
    x->n = a.n;
    memcpy(x->shape, a.shape, sizeof x->shape);
    return ST_OK;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct trace_tensor *)a)->name, ((const struct trace_tensor *)b)->name);
}

static enum st add_files(struct trace *t, struct err *e)
{
    DIR *d = opendir(t->path);
    if (!d)
        return st_fail(e, ST_IO, "%s: %s", t->path, strerror(errno));
    enum st st = ST_OK;
    struct dirent *f;
    while (!st && (f = readdir(d))) {
        const struct str name = str_from(f->d_name);
        char *path = join(t->path, f->d_name);
        if (str_ends(name, ".safetensors"))
            st = add_safetensors(t, path, e);
        else if (str_ends(name, ".npy"))
            st = add_npy(t, path, name.p, name.n - strlen(".npy"), e);
        free(path);
    }
    closedir(d);
    if (t->n)
        qsort(t->list, t->n, sizeof *t->list, by_name);
    for (size_t i = 1; i < t->n && !st; i++)
        if (!by_name(&t->list[i - 1], &t->list[i]))
            st = st_fail(e, ST_FORMAT, "%s: %.80s is there twice", t->path, t->list[i].name);
    if (!st && !t->n)
        st = st_fail(e, ST_FORMAT, "%s: there is no .safetensors or .npy beside trace.json",
                     t->path);
    return st;
}

/* A capture is a trace in one file: its remarks say the tokens. */
static enum st open_file(const char *path, struct trace *out, struct err *e)
{
    static const char *const keys[] = { "qdb.engine", "qdb.model" };
    struct trace t = { .path = x_strdup(path), .dtype = x_strdup("float32") };
    char **const texts[] = { &t.engine, &t.model };
    enum st st = add_safetensors(&t, path, e);
    const char *ids = st ? NULL : stored_note(&t.files[0], "qdb.tokens");
    for (int i = 0; i < 2; i++) {
        const char *text = st ? NULL : stored_note(&t.files[0], keys[i]);
        *texts[i] = x_strdup(text ? text : "");
    }
    if (!st) {
        struct buf list = { 0 };
        buf_printf(&list, "[%s]", ids ? ids : "");
        struct jread j = jread_of(buf_str(&list), list.n);
        read_tokens(&t, &j);
        if (jread_status(&j, 0, e) || !t.n_ids)
            st = st_fail(e, ST_FORMAT, "%s is no capture: it does not say its tokens", path);
        buf_free(&list);
    }
    if (t.n)
        qsort(t.list, t.n, sizeof *t.list, by_name);
    if (st)
        trace_close(&t);
    else
        *out = t;
    return st;
}

enum st trace_open(const char *path, struct trace *out, struct err *e)
{
    struct trace t = { 0 };
    struct stat info;
    if (!stat(path, &info) && S_ISREG(info.st_mode))
        return open_file(path, out, e);
    enum st st = read_manifest(path, &t, e);
    if (st)
        return st;
    t.path = x_strdup(path);
    if ((st = add_files(&t, e)))
        trace_close(&t);
    else
        *out = t;
    return st;
}

void trace_close(struct trace *t)
{
    for (size_t i = 0; i < t->n; i++)
        free(t->list[i].name);
    for (size_t i = 0; i < t->n_files; i++)
        stored_close(&t->files[i]);
    free(t->list);
    free(t->files);
    free(t->ids);
    free(t->path);
    free(t->engine);
    free(t->model);
    free(t->dtype);
    *t = (struct trace){ 0 };
}

const struct trace_tensor *trace_find(const struct trace *t, const char *name)
{
    const struct trace_tensor key = { .name = (char *)name };
    return t->n ? bsearch(&key, t->list, t->n, sizeof *t->list, by_name) : NULL;
}

enum st trace_read(const struct trace *t, const struct trace_tensor *x, float *out, struct err *e)
{
    if (x->file >= 0) {
        const struct stored_tensors *f = &t->files[x->file];
        const enum st st = map_use(&f->map, e);
        return st ? st : stored_floats(&f->list[x->at], out, e);
    }
    struct buf file = { 0 };
    struct npy a;
    buf_printf(&file, "%s.npy", x->name);
    char *path = join(t->path, buf_str(&file));
    enum st st = npy_read(path, &a, e);
    if (!st && a.n != x->n) { /* somebody has written it anew */
        st = st_fail(e, ST_FORMAT, "%s has changed", path);
        npy_free(&a);
    } else if (!st) {
        memcpy(out, a.data, a.n * sizeof *out);
        npy_free(&a);
    }
    free(path);
    buf_free(&file);
    return st;
}

/* ---- writing ---- */

enum st trace_write(const char *path, const struct trace *about, const struct safetensor *list,
                    size_t n, struct err *e)
{
    if (mkdir(path, 0777) && errno != EEXIST)
        return st_fail(e, ST_IO, "%s: %s", path, strerror(errno));
    struct buf b = { 0 };
    buf_adds(&b, "{\"format\": \"qdb-trace\", \"version\": 1, \"engine\": ");
    buf_json(&b, str_from(about->engine));
    buf_adds(&b, ", \"model\": ");
    buf_json(&b, str_from(about->model));
    buf_adds(&b, ", \"dtype\": ");
    buf_json(&b, str_from(about->dtype));
    buf_adds(&b, ", \"tokens\": [");
    for (size_t i = 0; i < about->n_ids; i++)
        buf_printf(&b, "%s%" PRId32, i ? ", " : "", about->ids[i]);
    buf_adds(&b, "]}\n");
    char *tensors = join(path, arrays), *json = join(path, manifest);
    enum st st = safetensors_write(tensors, list, n, e);
    if (!st)
        st = save_bytes(json, b.p, b.n, e);
    free(tensors);
    free(json);
    buf_free(&b);
    return st;
}
