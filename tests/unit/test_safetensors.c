/* SPDX-License-Identifier: MIT */
/* safetensors files: the bytes that the format asks for, and nothing when they do not fit it. */
#include "tests/harness/unit.h"

#include <stdlib.h>
#include <string.h>

#include "file/safetensors.h"
#include "tests/harness/scratch.h"

static const float six[6] = { 0.0f, -1.5f, 3e38f, 1e-40f, 5.0f, 6.0f };

/* u64 length, header padded to 8 with blanks, data in order; read back by Python's safetensors. */
static void writes_the_format(void **state)
{
    (void)state;
    static const char header[] =
        "{\"__metadata__\":{\"a \\\"b\\\"\":\"row 2, col 3\"},"
        "\"a \\\"b\\\"\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,24]},"
        "\"s\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[24,28]},"
        "\"none\":{\"dtype\":\"F32\",\"shape\":[0,4],\"data_offsets\":[28,28]}}";
    const struct safetensor list[] = {
        { .name = "a \"b\"", .about = "row 2, col 3", .rank = 2, .shape = { 2, 3 }, .data = six },
        { .name = "s", .data = six + 1 },
        { .name = "none", .rank = 2, .shape = { 0, 4 }, .data = six },
    };
    scratch_begin();
    struct err e = ERR_INIT;
    assert_ok(safetensors_write(scratch_path("a.safetensors"), list, 3, &e), &e);
    size_t n, padded = (sizeof header - 1 + 7) / 8 * 8;
    char *got = unit_read(scratch_path("a.safetensors"), &n);
    assert_int_equal(n, 8 + padded + 28);
    assert_int_equal((unsigned char)got[0] | (unsigned char)got[1] << 8, padded);
    for (int i = 2; i < 8; i++)
        assert_int_equal(got[i], 0);
    assert_memory_equal(got + 8, header, sizeof header - 1);
    for (size_t i = 8 + sizeof header - 1; i < 8 + padded; i++)
        assert_int_equal(got[i], ' ');
    assert_memory_equal(got + 8 + padded, six, 24);
    assert_memory_equal(got + 8 + padded + 24, six + 1, 4);
    free(got);
    scratch_end();
}

static void writes_no_header_without_tensors(void **state)
{
    (void)state;
    scratch_begin();
    struct err e = ERR_INIT;
    assert_ok(safetensors_write(scratch_path("a.safetensors"), NULL, 0, &e), &e);
    size_t n;
    char *got = unit_read(scratch_path("a.safetensors"), &n);
    assert_int_equal(n, 16);
    assert_memory_equal(got, "\x08\0\0\0\0\0\0\0{}      ", 16);
    free(got);
    scratch_end();
}

static void refuses_what_is_too_large(void **state)
{
    (void)state;
    const struct safetensor wide = {
        .name = "x", .rank = 2, .shape = { UINT64_MAX / 2, 3 }, .data = six
    };
    const struct safetensor pair[] = {
        { .name = "x", .rank = 1, .shape = { SIZE_MAX / 8 * 2 - 1 }, .data = six },
        { .name = "y", .rank = 1, .shape = { SIZE_MAX / 8 }, .data = six },
    };
    scratch_begin();
    struct err e = ERR_INIT;
    const char *path = scratch_path("a.safetensors");
    assert_fails(safetensors_write(path, &wide, 1, &e), ST_RANGE, &e);
    assert_fails(safetensors_write(path, pair, 2, &e), ST_RANGE, &e);
    assert_non_null(strstr(e.msg, "2 tensors"));
    assert_fails(safetensors_write(scratch_path("absent/a"), pair + 1, 0, &e), ST_IO, &e);
    scratch_end();
}

UNIT_MAIN(CASE(writes_the_format), CASE(writes_no_header_without_tensors),
          CASE(refuses_what_is_too_large))
