/* SPDX-License-Identifier: MIT */
#include "file/safetensors.h"

#include <inttypes.h>

#include "base/memory.h"
#include "base/text.h"
#include "file/save.h"

/* Layout: u64 length of the header, little-endian; the header, a JSON object padded with blanks so
 * that the numbers behind it are aligned to 8; the numbers, without gaps, in the order of the
 * header. Offsets count from the end of the header. */
enum { MAX_HEADER = 100000000, ALIGN = 8 };

static bool bytes_of(const struct safetensor *t, size_t *bytes)
{
    *bytes = sizeof *t->data;
    for (int d = 0; d < t->rank; d++)
        if (!mul_ok(*bytes, t->shape[d], bytes))
            return false;
    return true;
}

static void add_note(struct buf *b, const char *key, const char *text, bool *first)
{
    buf_adds(b, *first ? "\"__metadata__\":{" : ",");
    buf_json(b, str_from(key));
    buf_addc(b, ':');
    buf_json(b, str_from(text));
    *first = false;
}

static void add_metadata(struct buf *b, const struct safetensor_note *notes, size_t n_notes,
                         const struct safetensor *list, size_t n)
{
    bool first = true;
    for (size_t i = 0; i < n_notes; i++)
        add_note(b, notes[i].key, notes[i].text, &first);
    for (size_t i = 0; i < n; i++)
        if (list[i].about)
            add_note(b, list[i].name, list[i].about, &first);
    if (!first)
        buf_adds(b, n ? "}," : "}");
}

/* One entry of the header; *offset moves to the end of its numbers. */
static bool add_entry(struct buf *b, const struct safetensor *t, size_t *offset)
{
    size_t bytes, end;
    if (!bytes_of(t, &bytes) || !add_ok(*offset, bytes, &end))
        return false;
    buf_json(b, str_from(t->name));
    buf_adds(b, ":{\"dtype\":\"F32\",\"shape\":[");
    for (int d = 0; d < t->rank; d++)
        buf_printf(b, "%s%" PRIu64, d ? "," : "", t->shape[d]);
    buf_printf(b, "],\"data_offsets\":[%zu,%zu]}", *offset, end);
    *offset = end;
    return true;
}

enum st safetensors_write(const char *path, const struct safetensor *list, size_t n, struct err *e)
{
    return safetensors_write_long(path, list, n, NULL, e);
}

enum st safetensors_write_long(const char *path, const struct safetensor *list, size_t n,
                               struct progress *progress, struct err *e)
{
    return safetensors_write_about(path, NULL, 0, list, n, progress, e);
}

enum st safetensors_write_about(const char *path, const struct safetensor_note *notes,
                                size_t n_notes, const struct safetensor *list, size_t n,
                                struct progress *progress, struct err *e)
{
    struct buf head = { 0 };
    size_t offset = 0;
    bool fits = true;
    buf_addc(&head, '{');
    add_metadata(&head, notes, n_notes, list, n);
    for (size_t i = 0; i < n && fits; i++) {
        buf_adds(&head, i ? "," : "");
        fits = list[i].rank <= SAFETENSORS_MAX_RANK && add_entry(&head, &list[i], &offset);
    }
    buf_addc(&head, '}');
    while (head.n % ALIGN)
        buf_addc(&head, ' ');
    struct save s;
    enum st st = fits && head.n <= MAX_HEADER
                     ? save_open(&s, path, e)
                     : st_fail(e, ST_RANGE, "%zu %s are too large for a safetensors file", n,
                               text_plural(n, "tensor", "tensors"));
    if (!st) {
        uint8_t length[8];
        for (int i = 0; i < 8; i++)
            length[i] = (uint8_t)((uint64_t)head.n >> (8 * i));
        fwrite(length, 1, sizeof length, s.f);
        fwrite(head.p, 1, head.n, s.f);
        for (size_t i = 0; i < n && !st; i++) {
            size_t bytes = 0;
            if (bytes_of(&list[i], &bytes) && bytes)
                st = save_write(&s, list[i].data, bytes, progress, e);
        }
        st = save_end(&s, st, e);
    }
    buf_free(&head);
    return st;
}
