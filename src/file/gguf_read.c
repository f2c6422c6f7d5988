/* SPDX-License-Identifier: MIT */
#include "file/gguf_read.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum st reader_fail(struct reader *r, size_t at, enum st st, const char *fmt, ...)
{
    char fact[256];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(fact, sizeof fact, fmt, ap);
    va_end(ap);
    st_fail(r->e, st, "byte %zu: %s", at, fact);
    st_where(r->e, "%s", r->path);
    return st;
}

static enum st need(struct reader *r, size_t n, const char *what)
{
    if (reader_left(r) >= n)
        return ST_OK;
    return reader_fail(r, r->at, ST_FORMAT, "the file ends inside %s", what);
}

/* Byte by byte: the host's own order does not matter, nor does alignment. */
static uint64_t little(const uint8_t *p, int n)
{
    uint64_t v = 0;
    for (int i = n - 1; i >= 0; i--)
        v = v << 8 | p[i];
    return v;
}

enum st reader_u32(struct reader *r, uint32_t *out, const char *what)
{
    enum st st = need(r, 4, what);
    if (st)
        return st;
    *out = (uint32_t)little(r->p + r->at, 4);
    r->at += 4;
    return ST_OK;
}

enum st reader_u64(struct reader *r, uint64_t *out, const char *what)
{
    enum st st = need(r, 8, what);
    if (st)
        return st;
    *out = little(r->p + r->at, 8);
    r->at += 8;
    return ST_OK;
}

enum st reader_string(struct reader *r, struct str *out, const char *what)
{
    uint64_t n;
    enum st st = reader_u64(r, &n, what);
    if (st)
        return st;
    if (n > reader_left(r))
        return reader_fail(r, r->at - 8, ST_FORMAT, "%s: a string of %llu %s; %zu %s left", what,
                           (unsigned long long)n, text_plural(n, "byte", "bytes"), reader_left(r),
                           text_plural(reader_left(r), "byte is", "bytes are"));
    *out = str_of((const char *)r->p + r->at, (size_t)n);
    r->at += (size_t)n;
    return ST_OK;
}

/* Files that people hand to a GGUF reader, by their first bytes. */
static const struct {
    const char *start;
    const char *hint;
} others[] = {
    { "version https://git-lfs",
      "it is a Git LFS pointer: fetch the real file with `git lfs pull`" },
    { "PK\x03\x04", "it looks like a PyTorch checkpoint; convert it to GGUF first" },
    { "\x80\x02", "it looks like a Python pickle, which is never loaded" },
    { "lmgg", "a GGML file of 2023; convert it with a llama.cpp of that year" },
    { "fmgg", "a GGMF file of 2023; convert it with a llama.cpp of that year" },
    { "tjgg", "a GGJT file of 2023; convert it with a llama.cpp of that year" },
    { "<!DOCTYPE", "it is a web page: the download went wrong" },
    { "<html", "it is a web page: the download went wrong" },
    { "\x1f\x8b", "it is gzip-compressed: unpack it first" },
};

static enum st refuse_magic(struct reader *r)
{
    enum st st = reader_fail(r, 0, ST_FORMAT, "not a GGUF file: it does not begin with \"GGUF\"");
    struct str all = str_of((const char *)r->p, r->size);
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (str_starts(all, others[i].start))
            st_hint(r->e, "%s", others[i].hint);
    if (r->size > 8 && r->p[8] == '{' && little(r->p, 8) <= r->size)
        st_hint(r->e, "it looks like a safetensors file; convert it to GGUF first");
    return st;
}

enum st reader_magic(struct reader *r, uint32_t *version)
{
    if (r->size < 4 || memcmp(r->p, "GGUF", 4))
        return refuse_magic(r);
    r->at = 4;
    uint32_t v;
    enum st st = reader_u32(r, &v, "the version");
    if (st)
        return st;
    if (v && !(v & 0xffff))
        return reader_fail(r, 4, ST_UNSUPPORTED, "a big-endian GGUF file, which qdb does not read");
    if (v == 2 || v == 3) {
        *version = v;
        return ST_OK;
    }
    reader_fail(r, 4, ST_UNSUPPORTED, "GGUF version %lu; qdb reads 2 and 3", (unsigned long)v);
    if (v == 1)
        st_hint(r->e, "version 1 is of 2023 and has 32-bit counts; convert the model again");
    return ST_UNSUPPORTED;
}

void reader_show(char out[READER_NAME], struct str name)
{
    struct buf b = { 0 };
    bool cut = name.n > 60;
    buf_visible(&b, str_of(name.p, cut ? 60 : name.n));
    snprintf(out, READER_NAME, "%.90s%s", buf_str(&b), cut || b.n > 90 ? "..." : "");
    buf_free(&b);
}
