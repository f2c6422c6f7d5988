/* SPDX-License-Identifier: MIT */
/* Synthetic models of named shapes, so that every figure can be made again: the same seed gives the
 * same bytes. One tensor is in memory at a time.
 *
 * usage: make_synthetic SHAPE FORMAT FILE [SEED]
 *   SHAPE   tiny, 135M, 1.1B; 8B writes the header alone, over a hole of the file's full size
 *   FORMAT  f32 f16 bf16 q8_0 q4_0 (rounded to nearest); q4_1 q5_0 q5_1 mxfp4 q2_k q3_k q4_k q5_k
 *           q6_k tq1_0 tq2_0 iq1_s iq2_xxs iq2_xs iq2_s iq3_xxs iq3_s iq4_nl iq4_xs (codes drawn at
 *           random, scales of a trained model's magnitude)
 *
 * What is in it. Matrices are Gaussian with standard deviation gain / sqrt(columns); gain differs
 * by block and kind, and in each matrix a few input channels are 8 times as large (not where codes
 * are drawn). Embeddings are of rank 32 with falling singular values, plus noise, so that the
 * channels that enter the blocks are correlated; a few weights of each norm are 8 times the rest,
 * which makes the same channels stand out in every activation. With a quantized FORMAT the
 * embedding and the output matrix are in q8_0, and so are rows that do not divide into its blocks
 * (iq4_nl instead of iq4_xs). */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/text.h"
#include "file/gguf.h"
#include "tests/harness/gguf_build.h"

struct shape {
    const char *name;
    int blocks, width, hidden, heads, kv_heads, vocab;
    bool tied;   /* the embedding is the output matrix too */
    bool sparse; /* no data */
};

static const struct shape shapes[] = {
    { "tiny", 2, 256, 512, 4, 2, 512, false, false },
    { "135M", 30, 576, 1536, 9, 3, 49152, true, false },
    { "1.1B", 22, 2048, 5632, 32, 4, 32000, false, false },
    { "8B", 32, 4096, 14336, 32, 8, 128256, false, true },
};

enum { RANK = 32, OUTLIERS = 4, OUTLIER = 8, BYTES = 256, SPECIAL = 3 };

/* ---------------------------------------------------------------- random numbers (splitmix64) */

static uint64_t draw(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

/* Nearly normal with variance 1: the sum of four uniform numbers. */
static float gauss(uint64_t *state)
{
    const uint64_t u = draw(state);
    const int sum = (int)(u & 65535) + (int)(u >> 16 & 65535) + (int)(u >> 32 & 65535)
                    + (int)(u >> 48);
    return (float)(sum - 131070) * (float)(1.7320508 / 65536);
}

/* A stream of its own for each name. */
static uint64_t stream(uint64_t seed, const char *name)
{
    for (; *name; name++)
        seed = (seed ^ (unsigned char)*name) * 0x100000001b3;
    return draw(&seed);
}

/* ---------------------------------------------------------------- from floats to bytes */

static void put_half(uint8_t *p, float v)
{
    const uint16_t h = f32_to_f16(v);
    memcpy(p, &h, sizeof h);
}

static void to_f32(const float *x, int64_t n, uint8_t *p) { memcpy(p, x, (size_t)n * sizeof *x); }

static void to_f16(const float *x, int64_t n, uint8_t *p)
{
    for (int64_t i = 0; i < n; i++)
        put_half(p + 2 * i, x[i]);
}

static void to_bf16(const float *x, int64_t n, uint8_t *p)
{
    for (int64_t i = 0; i < n; i++) {
        const uint16_t h = f32_to_bf16(x[i]);
        memcpy(p + 2 * i, &h, sizeof h);
    }
}

/* The element of largest magnitude, with its sign. */
static float extreme(const float *x, int n)
{
    float most = 0;
    for (int i = 0; i < n; i++)
        most = fabsf(x[i]) > fabsf(most) ? x[i] : most;
    return most;
}

static int nearest(float v, int lo, int hi)
{
    const long r = lrintf(v);
    return (int)(r < lo ? lo : r > hi ? hi : r);
}

static void to_q8_0(const float *x, int64_t n, uint8_t *p)
{
    for (int64_t b = 0; b < n; b += 32, p += 34) {
        const float d = fabsf(extreme(x + b, 32)) / 127;
        put_half(p, d);
        for (int i = 0; i < 32; i++)
            p[2 + i] = (uint8_t)nearest(d > 0 ? x[b + i] / d : 0, -127, 127);
    }
}

static void to_q4_0(const float *x, int64_t n, uint8_t *p)
{
    for (int64_t b = 0; b < n; b += 32, p += 18) {
        const float d = extreme(x + b, 32) / -8, scale = d != 0 ? 1 / d : 0;
        put_half(p, d);
        for (int i = 0; i < 16; i++) {
            const int lo = nearest(x[b + i] * scale, -8, 7) + 8;
            const int hi = nearest(x[b + 16 + i] * scale, -8, 7) + 8;
            p[2 + i] = (uint8_t)(lo | hi << 4);
        }
    }
}

/* Formats: the number in files, and either an encoder or, for blocks of random bytes, where the
 * half floats lie (d -1: a power of two in the first byte) and how far values spread around 0 when
 * these are 1. */
struct coding {
    const char *name;
    int file_type; /* general.file_type */
    int block, bytes;
    void (*encode)(const float *x, int64_t n, uint8_t *p);
    int d, dmin;       /* byte offsets, -1 if none */
    float spread, min; /* dmin = min * d: codes then have mean 0 */
};

static const struct coding codings[] = {
    { "f32", 0, 1, 4, to_f32, -1, -1, 0, 0 },
    { "f16", 1, 1, 2, to_f16, -1, -1, 0, 0 },
    { "bf16", 32, 1, 2, to_bf16, -1, -1, 0, 0 },
    { "q8_0", 7, 32, 34, to_q8_0, -1, -1, 0, 0 },
    { "q4_0", 2, 32, 18, to_q4_0, -1, -1, 0, 0 },
    { "q4_1", 3, 32, 20, NULL, 0, 2, 4.6f, -7.5f },
    { "q5_0", 8, 32, 22, NULL, 0, -1, 9.2f, 0 },
    { "q5_1", 9, 32, 24, NULL, 0, 2, 9.2f, -15.5f },
    { "mxfp4", 38, 32, 17, NULL, -1, -1, 2.9f, 0 },
    { "q2_k", 10, 256, 84, NULL, 80, 82, 13.9f, 1.5f },
    { "q3_k", 12, 256, 110, NULL, 108, -1, 43, 0 },
    { "q4_k", 14, 256, 144, NULL, 0, 2, 253, 7.5f },
    { "q5_k", 16, 256, 176, NULL, 0, 2, 515, 15.5f },
    { "q6_k", 18, 256, 210, NULL, 208, -1, 1366, 0 },
    { "tq1_0", 36, 256, 54, NULL, 52, -1, 0.82f, 0 },
    { "tq2_0", 37, 256, 66, NULL, 64, -1, 1.23f, 0 },
    { "iq1_s", 24, 256, 50, NULL, 0, -1, 7.1f, 0 },
    { "iq2_xxs", 19, 256, 66, NULL, 0, -1, 53, 0 },
    { "iq2_xs", 20, 256, 74, NULL, 0, -1, 56, 0 },
    { "iq2_s", 28, 256, 82, NULL, 0, -1, 57, 0 },
    { "iq3_xxs", 23, 256, 98, NULL, 0, -1, 143, 0 },
    { "iq3_s", 26, 256, 110, NULL, 0, -1, 140, 0 },
    { "iq4_nl", 25, 32, 18, NULL, 0, -1, 71, 0 },
    { "iq4_xs", 30, 256, 136, NULL, 0, -1, 1311, 0 },
};

static const struct coding *coding_find(const char *name)
{
    for (size_t i = 0; i < sizeof codings / sizeof *codings; i++)
        if (!strcasecmp(codings[i].name, name))
            return codings + i;
    return NULL;
}

static void draw_blocks(const struct coding *c, int64_t n, float sigma, uint64_t *state, uint8_t *p)
{
    for (int64_t b = 0; b < n / c->block; b++, p += c->bytes) {
        for (int i = 0; i < c->bytes; i += 8) {
            const uint64_t u = draw(state);
            memcpy(p + i, &u, (size_t)(c->bytes - i < 8 ? c->bytes - i : 8));
        }
        const float d = sigma / c->spread * (1 + 0.25f * gauss(state));
        if (c->d >= 0)
            put_half(p + c->d, d);
        else /* mxfp4: a power of two */
            p[0] = (uint8_t)(127 + ilogbf(fabsf(d)));
        if (c->dmin >= 0)
            put_half(p + c->dmin, d * c->min);
    }
}

/* ---------------------------------------------------------------- tensors */

enum kind { KIND_NORM, KIND_EMBEDDING, KIND_MATRIX };

struct tensor_plan {
    char name[64];
    enum kind kind;
    int64_t cols, rows;
    float sigma;
    const struct coding *coding;
};

struct plan {
    const struct shape *shape;
    const struct coding *coding;
    uint64_t seed;
    struct tensor_plan *tensors;
    size_t n, cap;
};

/* gain: standard deviation of what a matrix makes of inputs of variance 1, before it is varied. */
static void add(struct plan *p, const char *name, enum kind kind, int64_t cols, int64_t rows,
                float gain)
{
    x_grow(&p->tensors, &p->cap, p->n + 1, sizeof *p->tensors);
    struct tensor_plan *t = &p->tensors[p->n++];
    snprintf(t->name, sizeof t->name, "%s.weight", name);
    uint64_t state = stream(p->seed ^ 1, t->name);
    t->kind = kind;
    t->cols = cols;
    t->rows = rows;
    t->sigma = gain / sqrtf((float)cols) * (0.5f + (float)(draw(&state) >> 40) * 0x1p-24f);
    const bool ends = !strcmp(name, "token_embd") || !strcmp(name, "output");
    t->coding = kind == KIND_NORM                    ? coding_find("f32")
                : ends && p->coding->block > 1       ? coding_find("q8_0")
                : cols % p->coding->block == 0       ? p->coding
                : !strcmp(p->coding->name, "iq4_xs") ? coding_find("iq4_nl")
                                                     : coding_find("q8_0");
}

static void add_block(struct plan *p, int block)
{
    const struct shape *s = p->shape;
    const int64_t kv = (int64_t)s->width / s->heads * s->kv_heads;
    const float out = 1 / sqrtf(2 * (float)s->blocks); /* what adds up in the residual stream */
    const struct {
        const char *name;
        enum kind kind;
        int64_t cols, rows;
        float gain;
    } parts[] = {
        { "attn_norm", KIND_NORM, s->width, 1, 1 },
        { "attn_q", KIND_MATRIX, s->width, s->width, 1 },
        { "attn_k", KIND_MATRIX, s->width, kv, 1 },
        { "attn_v", KIND_MATRIX, s->width, kv, 1 },
        { "attn_output", KIND_MATRIX, s->width, s->width, out },
        { "ffn_norm", KIND_NORM, s->width, 1, 1 },
        { "ffn_gate", KIND_MATRIX, s->width, s->hidden, 1 },
        { "ffn_up", KIND_MATRIX, s->width, s->hidden, 1 },
        { "ffn_down", KIND_MATRIX, s->hidden, s->width, out },
    };
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        char name[48];
        snprintf(name, sizeof name, "blk.%d.%s", block, parts[i].name);
        add(p, name, parts[i].kind, parts[i].cols, parts[i].rows, parts[i].gain);
    }
}

static void plan_tensors(struct plan *p)
{
    const struct shape *s = p->shape;
    add(p, "token_embd", KIND_EMBEDDING, s->width, s->vocab, 1);
    for (int i = 0; i < s->blocks; i++)
        add_block(p, i);
    add(p, "output_norm", KIND_NORM, s->width, 1, 1);
    if (!s->tied)
        add(p, "output", KIND_MATRIX, s->width, s->vocab, 1);
}

static size_t tensor_bytes(const struct tensor_plan *t)
{
    return (size_t)(t->cols / t->coding->block * t->rows) * (size_t)t->coding->bytes;
}

/* gain [cols]: 8 for a few channels, 1 for the rest. */
static void channel_gains(float *gain, int64_t cols, uint64_t *state)
{
    for (int64_t i = 0; i < cols; i++)
        gain[i] = 1;
    for (int i = 0; i < OUTLIERS; i++)
        gain[draw(state) % (uint64_t)cols] = OUTLIER;
}

struct source {
    const struct tensor_plan *t;
    uint64_t state;
    float *gain;  /* [cols] */
    float *basis; /* [RANK][cols] of an embedding */
};

static void next_row(struct source *s, float *x)
{
    const int64_t n = s->t->cols;
    const float noise = s->t->kind == KIND_EMBEDDING ? 0.3f : 1;
    for (int64_t i = 0; i < n; i++)
        x[i] = noise * gauss(&s->state);
    for (int k = 0; s->t->kind == KIND_EMBEDDING && k < RANK; k++) {
        const float c = 0.5f * gauss(&s->state) / sqrtf(1 + (float)k);
        for (int64_t i = 0; i < n; i++)
            x[i] += c * s->basis[k * n + i];
    }
    for (int64_t i = 0; i < n; i++)
        x[i] *= s->t->sigma * s->gain[i];
}

static void norm_row(struct source *s, float *x)
{
    for (int64_t i = 0; i < s->t->cols; i++)
        x[i] = s->gain[i] * (1 + 0.1f * gauss(&s->state));
}

static bool write_tensor(const struct plan *p, const struct tensor_plan *t, FILE *f)
{
    const size_t n = (size_t)t->cols,
                 row_bytes = n / (size_t)t->coding->block * (size_t)t->coding->bytes;
    struct source s = { t, stream(p->seed, t->name), x_alloc(n * sizeof(float)), NULL };
    float *x = x_alloc(n * sizeof *x);
    uint8_t *row = x_alloc(row_bytes + 8);
    /* The same channels stand out after every norm; those of matrices differ. */
    uint64_t shared = stream(p->seed, "norms");
    channel_gains(s.gain, t->cols, t->kind == KIND_NORM ? &shared : &s.state);
    if (t->kind == KIND_EMBEDDING) {
        s.basis = x_alloc(RANK * n * sizeof *s.basis);
        for (size_t i = 0; i < RANK * n; i++)
            s.basis[i] = gauss(&s.state);
    }
    bool ok = true;
    for (int64_t r = 0; r < t->rows && ok; r++) {
        if (!t->coding->encode) {
            draw_blocks(t->coding, t->cols, t->sigma, &s.state, row);
        } else {
            (t->kind == KIND_NORM ? norm_row : next_row)(&s, x);
            t->coding->encode(x, t->cols, row);
        }
        ok = fwrite(row, 1, row_bytes, f) == row_bytes;
    }
    free(s.gain);
    free(s.basis);
    free(x);
    free(row);
    return ok;
}

/* ---------------------------------------------------------------- keys */

/* Piece i of the vocabulary: specials, bytes, the space mark, then a, b, ..., z, aa, ab, ... */
static void piece(int i, char out[16])
{
    static const char *const special[SPECIAL] = { "<unk>", "<s>", "</s>" };
    if (i < SPECIAL) {
        snprintf(out, 16, "%s", special[i]);
    } else if (i < SPECIAL + BYTES) {
        snprintf(out, 16, "<0x%02X>", (unsigned)(i - SPECIAL));
    } else if (i == SPECIAL + BYTES) {
        snprintf(out, 16, "\xe2\x96\x81");
    } else {
        char letters[16];
        int n = 0;
        for (int v = i - SPECIAL - BYTES; v > 0; v = (v - 1) / 26)
            letters[n++] = (char)('a' + (v - 1) % 26);
        for (int k = 0; k < n; k++)
            out[k] = letters[n - 1 - k];
        out[n] = 0;
    }
}

static void put_float(struct buf *b, float v)
{
    uint32_t bits;
    memcpy(&bits, &v, sizeof bits);
    build_put(b, bits, 4);
}

static void tokenizer_keys(struct build *b, int vocab)
{
    build_string(b, "tokenizer.ggml.model", "llama");
    build_array(b, "tokenizer.ggml.tokens", GGUF_STRING, (uint64_t)vocab);
    for (int i = 0; i < vocab; i++) {
        char text[16];
        piece(i, text);
        build_put_string(&b->kvs, str_from(text));
    }
    build_array(b, "tokenizer.ggml.scores", GGUF_F32, (uint64_t)vocab);
    for (int i = 0; i < vocab; i++)
        put_float(&b->kvs, i < SPECIAL + BYTES ? 0 : (float)(SPECIAL + BYTES - i));
    build_array(b, "tokenizer.ggml.token_type", GGUF_I32, (uint64_t)vocab);
    for (int i = 0; i < vocab; i++)
        build_put(&b->kvs, i == 0 ? 2 : i < SPECIAL ? 3 : i < SPECIAL + BYTES ? 6 : 1, 4);
    build_integer(b, "tokenizer.ggml.unknown_token_id", GGUF_U32, 0);
    build_integer(b, "tokenizer.ggml.bos_token_id", GGUF_U32, 1);
    build_integer(b, "tokenizer.ggml.eos_token_id", GGUF_U32, 2);
    build_integer(b, "tokenizer.ggml.add_bos_token", GGUF_BOOL, 1);
}

static void keys(const struct plan *p, struct build *b)
{
    const struct shape *s = p->shape;
    char name[64];
    snprintf(name, sizeof name, "synthetic %s %s seed %llu", s->name, p->coding->name,
             (unsigned long long)p->seed);
    build_string(b, "general.architecture", "llama");
    build_string(b, "general.name", name);
    build_integer(b, "general.file_type", GGUF_U32, p->coding->file_type);
    build_integer(b, "general.quantization_version", GGUF_U32, 2);
    build_integer(b, "llama.vocab_size", GGUF_U32, s->vocab);
    build_integer(b, "llama.context_length", GGUF_U32, 8192);
    build_integer(b, "llama.embedding_length", GGUF_U32, s->width);
    build_integer(b, "llama.block_count", GGUF_U32, s->blocks);
    build_integer(b, "llama.feed_forward_length", GGUF_U32, s->hidden);
    build_integer(b, "llama.attention.head_count", GGUF_U32, s->heads);
    build_integer(b, "llama.attention.head_count_kv", GGUF_U32, s->kv_heads);
    build_integer(b, "llama.rope.dimension_count", GGUF_U32, s->width / s->heads);
    build_float(b, "llama.rope.freq_base", GGUF_F32, 10000);
    build_float(b, "llama.attention.layer_norm_rms_epsilon", GGUF_F32, 1e-5);
    tokenizer_keys(b, s->vocab);
}

/* ---------------------------------------------------------------- the file */

static bool pad(FILE *f, size_t n)
{
    static const uint8_t zeros[GGUF_ALIGNMENT];
    n = (GGUF_ALIGNMENT - n % GGUF_ALIGNMENT) % GGUF_ALIGNMENT;
    return fwrite(zeros, 1, n, f) == n;
}

/* Keys and directory, padded; returns the bytes of data that follow through *data. */
static bool write_header(const struct plan *p, FILE *f, uint64_t *data)
{
    struct build b = BUILD_INIT;
    *data = 0;
    keys(p, &b);
    for (size_t i = 0; i < p->n; i++) {
        const struct tensor_plan *t = &p->tensors[i];
        const uint64_t ne[2] = { (uint64_t)t->cols, (uint64_t)t->rows };
        const struct format_info *info = format_info(format_by_name(t->coding->name));
        build_record(&b, t->name, (uint32_t)info->id, t->kind == KIND_NORM ? 1 : 2, ne, *data);
        *data += (tensor_bytes(t) + GGUF_ALIGNMENT - 1) / GGUF_ALIGNMENT * GGUF_ALIGNMENT;
    }
    size_t n;
    uint8_t *image = build_image(&b, &n); /* no data in it */
    const bool ok = fwrite(image, 1, n, f) == n;
    free(image);
    build_free(&b);
    return ok;
}

static bool write_file(const struct plan *p, FILE *f)
{
    uint64_t data;
    bool ok = write_header(p, f, &data);
    if (ok && p->shape->sparse)
        return !fflush(f) && !ftruncate(fileno(f), (off_t)((uint64_t)ftello(f) + data));
    for (size_t i = 0; i < p->n && ok; i++) {
        ok = write_tensor(p, &p->tensors[i], f) && pad(f, tensor_bytes(&p->tensors[i]));
        if (isatty(2))
            fprintf(stderr, "\r%zu of %zu tensors", i + 1, p->n);
    }
    if (isatty(2))
        fputc('\n', stderr);
    return ok;
}

int main(int argc, char **argv)
{
    struct plan p = { 0 };
    int64_t seed = 1;
    for (size_t i = 0; argc > 3 && i < sizeof shapes / sizeof *shapes; i++)
        if (!strcasecmp(argv[1], shapes[i].name))
            p.shape = &shapes[i];
    p.coding = argc > 3 ? coding_find(argv[2]) : NULL;
    if (!p.shape || !p.coding || argc > 5
        || (argc > 4 && parse_i64(str_from(argv[4]), 0, INT64_MAX, &seed, NULL))) {
        fputs("usage: make_synthetic SHAPE FORMAT FILE [SEED]\n  SHAPE: tiny 135M 1.1B 8B\n"
              "  FORMAT:",
              stderr);
        for (size_t i = 0; i < sizeof codings / sizeof *codings; i++)
            fprintf(stderr, " %s", codings[i].name);
        fputc('\n', stderr);
        return 2;
    }
    p.seed = (uint64_t)seed;
    plan_tensors(&p);
    FILE *f = fopen(argv[3], "wb");
    bool ok = f && write_file(&p, f);
    ok = f && !fclose(f) && ok;
    if (!ok)
        perror(argv[3]);
    free(p.tensors);
    return !ok;
}
