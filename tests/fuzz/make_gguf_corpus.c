/* SPDX-License-Identifier: MIT */
/* Writes the corpus of fuzz_gguf: make_gguf_corpus DIR. Run by hand when the format's tests grow.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "file/save.h"
#include "tests/harness/gguf_build.h"

static int failures;

static void write_seed(const char *dir, const char *name, struct build *b)
{
    struct buf path = { 0 };
    struct err e = ERR_INIT;
    size_t n;
    uint8_t *image = build_image(b, &n);
    buf_printf(&path, "%s/%s", dir, name);
    if (save_bytes(buf_str(&path), image, n, &e)) {
        fprintf(stderr, "%s: %s\n", e.where, e.msg);
        failures++;
    }
    buf_free(&path);
    free(image);
    build_free(b);
}

static void keys(const char *dir)
{
    static const char *const words[] = { "one", "", "three" };
    struct build b = BUILD_INIT;
    for (int t = 0; t < GGUF_TYPE__COUNT; t++) {
        enum gguf_type type = (enum gguf_type)t;
        if (type == GGUF_STRING)
            build_string(&b, "string", "text");
        else if (type == GGUF_F32 || type == GGUF_F64)
            build_float(&b, gguf_type_name(type), type, 1.5);
        else if (type != GGUF_ARRAY)
            build_integer(&b, gguf_type_name(type), type, 1);
    }
    build_strings(&b, "strings", words, 3);
    build_array(&b, "floats", GGUF_F64, 2);
    build_put(&b.kvs, 0, 16);
    build_array(&b, "bools", GGUF_BOOL, 3);
    build_put(&b.kvs, 0x010001, 3);
    write_seed(dir, "keys", &b);
}

/* A block of every format; ids that are none are left out. */
static void formats(const char *dir)
{
    struct build b = BUILD_INIT;
    uint8_t block[2048];
    for (size_t i = 0; i < sizeof block; i++)
        block[i] = (uint8_t)(i * 37 + 11);
    for (int f = 0; f < format_count(); f++) {
        const struct format_info *info = format_info((enum format)f);
        uint64_t ne[1] = { (uint64_t)info->block };
        size_t bytes;
        if (info->decode && format_row_bytes((enum format)f, ne[0], &bytes)
            && bytes <= sizeof block)
            build_tensor(&b, info->name, (uint32_t)info->id, 1, ne, block, bytes);
    }
    write_seed(dir, "formats", &b);
}

static void model(const char *dir, uint32_t version)
{
    struct build b = BUILD_INIT;
    b.version = version;
    build_llama_keys(&b);
    build_f32(&b, "token_embd.weight", 8, 6, NULL);
    build_f32(&b, "blk.0.attn_q.weight", 8, 2, NULL);
    write_seed(dir, version == 2 ? "model-v2" : "model", &b);
}

/* Scales beside matrices: one, of each expert, too many. */
static void scales(const char *dir)
{
    static const uint64_t three[3] = { 4, 2, 3 };
    static const float values[24] = { 1, 2, 3 };
    struct build b = BUILD_INIT;
    build_f32(&b, "a.weight", 4, 2, NULL);
    build_f32(&b, "a.scale", 1, 1, &(float){ NAN });
    build_f32(&b, "a.input_scale", 1, 1, NULL);
    build_tensor(&b, "b.weight", 0, 3, three, values, sizeof values);
    build_f32(&b, "b.scale", 3, 1, NULL);
    build_f32(&b, "c.weight", 4, 2, NULL);
    build_f32(&b, "c.scale", 2, 1, NULL);
    write_seed(dir, "scales", &b);
}

static void vocabulary(const char *dir)
{
    static const char *const tokens[] = { "a", "b", "ab", "a", "" }, *const merges[] = { "a b",
                                                                                         "ab" };
    struct build b = BUILD_INIT;
    build_string(&b, "general.architecture", "gpt2");
    build_string(&b, "tokenizer.ggml.model", "gpt2");
    build_strings(&b, "tokenizer.ggml.tokens", tokens, 5);
    build_strings(&b, "tokenizer.ggml.merges", merges, 2);
    build_integer(&b, "tokenizer.ggml.eos_token_id", GGUF_U32, 9);
    write_seed(dir, "vocabulary", &b);
}

static void directory(const char *dir)
{
    static const uint64_t n32[1] = { 32 }, four[4] = { 4, 2, 2, 1 };
    struct build b = BUILD_INIT;
    build_integer(&b, "general.alignment", GGUF_U32, 64);
    build_integer(&b, "split.no", GGUF_U16, 0);
    build_integer(&b, "split.count", GGUF_U16, 2);
    b.alignment = 64;
    build_f32(&b, "good", 32, 1, NULL);
    build_record(&b, "overlap", 0, 1, n32, 64);
    build_record(&b, "outside", 0, 4, four, 4096);
    build_record(&b, "unknown", 99999, 1, n32, 128);
    build_record(&b, "removed", 31, 1, n32, 128);
    build_record(&b, "odd", 12, 1, n32, 128);
    write_seed(dir, "directory", &b);
}

int main(int argc, char **argv)
{
    if (argc != 2)
        return fputs("usage: make_gguf_corpus DIR\n", stderr), 2;
    keys(argv[1]);
    formats(argv[1]);
    model(argv[1], 2);
    model(argv[1], 3);
    scales(argv[1]);
    vocabulary(argv[1]);
    directory(argv[1]);
    return failures != 0;
}
