/* SPDX-License-Identifier: MIT */
#include "tests/harness/gguf_build.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

void build_put(struct buf *b, uint64_t v, int bytes)
{
    for (int i = 0; i < bytes; i++)
        buf_addc(b, i < 8 ? (char)(v >> (8 * i)) : 0);
}

void build_put_string(struct buf *b, struct str s)
{
    build_put(b, s.n, 8);
    buf_add(b, s.p, s.n);
}

void build_key(struct build *b, const char *key, enum gguf_type type)
{
    b->n_kvs++;
    build_put_string(&b->kvs, str_from(key));
    build_put(&b->kvs, type, 4);
}

void build_array(struct build *b, const char *key, enum gguf_type elem, uint64_t n)
{
    build_key(b, key, GGUF_ARRAY);
    build_put(&b->kvs, elem, 4);
    build_put(&b->kvs, n, 8);
}

static int width(enum gguf_type type)
{
    static const int bytes[GGUF_TYPE__COUNT] = { 1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8 };
    return bytes[type];
}

void build_integer(struct build *b, const char *key, enum gguf_type type, int64_t v)
{
    build_key(b, key, type);
    build_put(&b->kvs, (uint64_t)v, width(type));
}

void build_float(struct build *b, const char *key, enum gguf_type type, double v)
{
    float f = (float)v;
    uint32_t low;
    uint64_t bits;
    memcpy(&low, &f, sizeof low);
    memcpy(&bits, &v, sizeof bits);
    build_key(b, key, type);
    build_put(&b->kvs, type == GGUF_F32 ? low : bits, width(type));
}

void build_string(struct build *b, const char *key, const char *v)
{
    build_key(b, key, GGUF_STRING);
    build_put_string(&b->kvs, str_from(v));
}

void build_strings(struct build *b, const char *key, const char *const *v, size_t n)
{
    build_array(b, key, GGUF_STRING, n);
    for (size_t i = 0; i < n; i++)
        build_put_string(&b->kvs, str_from(v[i]));
}

void build_record(struct build *b, const char *name, uint32_t type, int rank, const uint64_t *ne,
                  uint64_t offset)
{
    b->n_tensors++;
    build_put_string(&b->directory, str_from(name));
    build_put(&b->directory, (uint64_t)rank, 4);
    for (int d = 0; d < rank; d++)
        build_put(&b->directory, ne[d], 8);
    build_put(&b->directory, type, 4);
    build_put(&b->directory, offset, 8);
}

static void pad(struct buf *b, uint64_t alignment)
{
    while (b->n % alignment)
        buf_addc(b, 0);
}

void build_tensor(struct build *b, const char *name, uint32_t type, int rank, const uint64_t *ne,
                  const void *data, size_t bytes)
{
    pad(&b->data, b->alignment);
    build_record(b, name, type, rank, ne, b->data.n);
    buf_add(&b->data, data, bytes);
}

void build_f32(struct build *b, const char *name, uint64_t cols, uint64_t rows, const float *values)
{
    uint64_t ne[2] = { cols, rows };
    size_t n = (size_t)(cols * rows);
    float *made = x_alloc(n * sizeof *made);
    for (size_t i = 0; i < n; i++)
        made[i] = values ? values[i] : 0.01f * (float)((i + 7 * b->n_tensors) % 101) - 0.5f;
    build_tensor(b, name, 0, rows == 1 ? 1 : 2, ne, made, n * sizeof *made);
    free(made);
}

uint8_t *build_image(struct build *b, size_t *size)
{
    struct buf out = { 0 };
    buf_adds(&out, "GGUF");
    build_put(&out, b->version, 4);
    build_put(&out, b->n_tensors, 8);
    build_put(&out, b->n_kvs, 8);
    buf_add(&out, b->kvs.p, b->kvs.n);
    buf_add(&out, b->directory.p, b->directory.n);
    b->header = out.n;
    pad(&out, b->alignment);
    buf_add(&out, b->data.p, b->data.n);
    *size = out.n;
    /* Exactly as long as the file, so that a sanitizer sees one byte too many. */
    uint8_t *image = x_alloc(out.n);
    memcpy(image, out.p, out.n);
    buf_free(&out);
    return image;
}

void build_llama_keys(struct build *b)
{
    static const char *const tokens[] = { "<unk>", "<s>", "</s>", "a", "b", "ab" };
    build_string(b, "general.architecture", "llama");
    build_string(b, "general.name", "tiny");
    build_integer(b, "general.file_type", GGUF_U32, 0);
    build_integer(b, "llama.context_length", GGUF_U32, 16);
    build_integer(b, "llama.embedding_length", GGUF_U32, 32);
    build_integer(b, "llama.block_count", GGUF_U32, 1);
    build_integer(b, "llama.feed_forward_length", GGUF_U32, 64);
    build_integer(b, "llama.attention.head_count", GGUF_U32, 4);
    build_integer(b, "llama.attention.head_count_kv", GGUF_U32, 2);
    build_integer(b, "llama.rope.dimension_count", GGUF_U32, 8);
    build_float(b, "llama.rope.freq_base", GGUF_F32, 10000);
    build_float(b, "llama.attention.layer_norm_rms_epsilon", GGUF_F32, 1e-5);
    build_string(b, "tokenizer.ggml.model", "llama");
    build_strings(b, "tokenizer.ggml.tokens", tokens, 6);
    build_array(b, "tokenizer.ggml.scores", GGUF_F32, 6);
    build_put(&b->kvs, 0, 24);
    build_array(b, "tokenizer.ggml.token_type", GGUF_I32, 6);
    for (int i = 0; i < 6; i++)
        build_put(&b->kvs, i == 0 ? 2 : i < 3 ? 3 : 1, 4);
    build_integer(b, "tokenizer.ggml.bos_token_id", GGUF_U32, 1);
    build_integer(b, "tokenizer.ggml.eos_token_id", GGUF_U32, 2);
    build_integer(b, "tokenizer.ggml.unknown_token_id", GGUF_U32, 0);
}

void build_llama(struct build *b)
{
    build_llama_keys(b);
    build_f32(b, "token_embd.weight", 32, 6, NULL);
    build_f32(b, "blk.0.attn_norm.weight", 32, 1, NULL);
    build_f32(b, "blk.0.attn_q.weight", 32, 32, NULL);
    build_f32(b, "blk.0.attn_k.weight", 32, 16, NULL);
    build_f32(b, "blk.0.attn_v.weight", 32, 16, NULL);
    build_f32(b, "blk.0.attn_output.weight", 32, 32, NULL);
    build_f32(b, "blk.0.ffn_norm.weight", 32, 1, NULL);
    build_f32(b, "blk.0.ffn_gate.weight", 32, 64, NULL);
    build_f32(b, "blk.0.ffn_up.weight", 32, 64, NULL);
    build_f32(b, "blk.0.ffn_down.weight", 64, 32, NULL);
    build_f32(b, "output_norm.weight", 32, 1, NULL);
}

void build_free(struct build *b)
{
    buf_free(&b->kvs);
    buf_free(&b->directory);
    buf_free(&b->data);
}
