/* SPDX-License-Identifier: MIT */
/* Opening a file, however hostile, allocates no more than its header justifies. */
#include "tests/harness/unit.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "engine/model.h"
#include "file/lint.h"
#include "tests/harness/gguf_build.h"
#include "tests/harness/heap.h"

enum {
    LITTLE = 16 << 10,  /* what refusing a file may take */
    FIXED = 512 << 10,  /* buffers of lint, tables of the tokenizer, whatever the file */
    PER_BYTE = 16,      /* of the header: a record of 25 bytes becomes a few structures */
    FILLER = 4 << 20,   /* bytes of data that a lying count could claim to be records */
    MUTATIONS = 200,    /* of each file */
    ELEMENTS = 1 << 14, /* of each tensor that lint looks at */
};

static void need_counting(void)
{
    if (!heap_is_counted())
        SKIP_CASE("malloc cannot be counted here (a sanitizer, or another C library)");
}

/* Open the file as `open` and `lint` do. Returns the most that was held; *e says why it does not
 * open. */
static size_t cost(const uint8_t *p, size_t n, enum st *st, struct err *e)
{
    struct weights *w;
    heap_mark();
    *st = weights_borrow(p, n, "hostile.gguf", &w, e);
    if (!*st) {
        struct model *m = model_new(w);
        struct lint l;
        assert_ok(lint_weights(w, ELEMENTS, NULL, &l, e), e);
        lint_free(&l);
        model_free(m);
    }
    return heap_peak();
}

/* A file whose header has so many bytes costs no more than they justify; what is refused is refused
 * for what is wrong with it, not for want of memory. */
static void frugal(const char *what, const uint8_t *p, size_t n, size_t header)
{
    enum st st;
    struct err e = ERR_INIT;
    size_t most = FIXED + PER_BYTE * header, peak = cost(p, n, &st, &e);
    if (peak > most)
        fail_msg("%s: %zu bytes for a header of %zu", what, peak, header);
    if (st && (st == ST_NOMEM || !strstr(e.msg, "byte ") || strcmp(e.where, "hostile.gguf")))
        fail_msg("%s: %s", what, e.msg);
}

/* ---- counts that lie ---- */

static void more_keys(struct build *b) { b->n_kvs = FILLER / 14; }
static void most_keys(struct build *b) { b->n_kvs = UINT64_MAX; }
static void more_tensors(struct build *b) { b->n_tensors = FILLER / 25; }
static void most_tensors(struct build *b) { b->n_tensors = (uint64_t)1 << 40; }

static void more_strings(struct build *b)
{
    build_array(b, "tokenizer.ggml.tokens", GGUF_STRING, FILLER / 8);
    build_put(&b->kvs, (uint64_t)1 << 63, 8);
}

static void most_strings(struct build *b)
{
    build_array(b, "tokenizer.ggml.tokens", GGUF_STRING, (uint64_t)1 << 62);
}

static void most_numbers(struct build *b)
{
    build_array(b, "tokenizer.ggml.scores", GGUF_F32, (uint64_t)1 << 62);
}

static void a_long_string(struct build *b)
{
    build_key(b, "general.name", GGUF_STRING);
    build_put(&b->kvs, (uint64_t)1 << 63, 8);
}

static void a_long_name(struct build *b)
{
    build_put(&b->directory, (uint64_t)1 << 63, 8);
    b->n_tensors = 1;
}

static void lies_cost_nothing(void **state)
{
    (void)state;
    need_counting();
    static void (*const lies[])(struct build *) = { more_keys,    most_keys,     more_tensors,
                                                    most_tensors, more_strings,  most_strings,
                                                    most_numbers, a_long_string, a_long_name };
    void *zeros = calloc(1, FILLER);
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
        struct build b = BUILD_INIT;
        lies[i](&b);
        buf_add(&b.data, zeros, FILLER);
        size_t n;
        uint8_t *p = build_image(&b, &n);
        enum st st;
        struct err e = ERR_INIT;
        size_t peak = cost(p, n, &st, &e);
        assert_int_equal(st, ST_FORMAT);
        if (peak > LITTLE || heap_largest() > LITTLE)
            fail_msg("%zu: %zu bytes held, %zu asked for: %s", i, peak, heap_largest(), e.msg);
        free(p);
        build_free(&b);
    }
    free(zeros);
}

/* ---- files of many small things ---- */

static void many_keys(struct build *b)
{
    char key[16];
    for (int i = 0; i < 40000; i++) {
        snprintf(key, sizeof key, "%x", i);
        build_integer(b, key, GGUF_BOOL, 1);
    }
}

static void many_tensors(struct build *b)
{
    char name[16];
    for (int i = 0; i < 20000; i++) {
        snprintf(name, sizeof name, "%x", i);
        build_record(b, name, 0, 1, (const uint64_t[]){ 1 }, 0);
    }
}

/* n strings of nothing, the cheapest vocabulary. */
static void empty_strings(struct build *b, const char *model, const char *key)
{
    build_string(b, "tokenizer.ggml.model", model);
    build_array(b, key, GGUF_STRING, 60000);
    for (int i = 0; i < 60000; i++)
        build_put(&b->kvs, 0, 8);
}

static void empty_pieces(struct build *b) { empty_strings(b, "llama", "tokenizer.ggml.tokens"); }
static void empty_tokens(struct build *b) { empty_strings(b, "gpt2", "tokenizer.ggml.tokens"); }

static void empty_merges(struct build *b)
{
    empty_strings(b, "gpt2", "tokenizer.ggml.merges");
    build_strings(b, "tokenizer.ggml.tokens", (const char *const[]){ "a", "b" }, 2);
}

static void special_tokens(struct build *b)
{
    char piece[16];
    build_string(b, "tokenizer.ggml.model", "gpt2");
    build_array(b, "tokenizer.ggml.tokens", GGUF_STRING, 40000);
    for (int i = 0; i < 40000; i++) {
        snprintf(piece, sizeof piece, "<%x>", i);
        build_put_string(&b->kvs, str_from(piece));
    }
    build_array(b, "tokenizer.ggml.token_type", GGUF_I32, 40000);
    for (int i = 0; i < 40000; i++)
        build_put(&b->kvs, 3, 4);
}

static void large_promises(struct build *b)
{
    build_llama(b);
    build_integer(b, "llama.rope.scaling.original_context_length", GGUF_U32, UINT32_MAX);
    build_integer(b, "llama.expert_count", GGUF_U32, 65536);
    build_integer(b, "llama.expert_used_count", GGUF_U32, 65536);
    build_integer(b, "llama.vocab_size", GGUF_U32, UINT32_MAX);
    build_integer(b, "llama.rope.dimension_count", GGUF_U32, UINT32_MAX);
}

static void many_things_cost_what_they_are(void **state)
{
    (void)state;
    need_counting();
    static void (*const makers[])(struct build *) = { many_keys,     many_tensors, empty_pieces,
                                                      empty_tokens,  empty_merges, special_tokens,
                                                      large_promises };
    for (size_t i = 0; i < sizeof makers / sizeof *makers; i++) {
        struct build b = BUILD_INIT;
        makers[i](&b);
        size_t n;
        uint8_t *p = build_image(&b, &n);
        char what[32];
        snprintf(what, sizeof what, "kind %zu", i);
        frugal(what, p, n, b.header);
        free(p);
        build_free(&b);
    }
}

/* ---- what is left of sound files ---- */

/* Write over a few places of the header, half of the time with large numbers. */
static void mutate(uint8_t *p, size_t header, uint64_t *seed)
{
    for (uint64_t k = unit_random(seed) % 3 + 1; k; k--) {
        size_t at = unit_random(seed) % header, n = unit_random(seed) % 8;
        if (n <= header - at && unit_random(seed) & 1)
            memset(p + at, 0xff, n);
        p[at] = (uint8_t)unit_random(seed);
    }
}

static void ruin(const char *path)
{
    size_t n;
    uint64_t seed = 1;
    uint8_t *p = (uint8_t *)unit_read(path, &n);
    struct gguf *g;
    struct err e = ERR_INIT;
    assert_ok(gguf_parse(map_borrow(p, n, path), &g, &e), &e);
    size_t header = g->data_offset < n ? (size_t)g->data_offset : n;
    gguf_free(g);
    frugal(path, p, n, header);
    for (size_t cut = 0; cut < header; cut += 1 + header / MUTATIONS)
        frugal(path, p, cut, cut);
    uint8_t *sound = malloc(header);
    assert_non_null(sound);
    memcpy(sound, p, header);
    for (int i = 0; i < MUTATIONS; i++) {
        mutate(p, header, &seed);
        frugal(path, p, n, header);
        memcpy(p, sound, header);
    }
    free(sound);
    free(p);
}

static void ruined_files_are_cheap(void **state)
{
    (void)state;
    need_counting();
    const char *folder = top_path("tests/fuzz/corpus/gguf");
    struct dirent **names;
    int n = scandir(folder, &names, NULL, alphasort), seen = 0;
    for (int i = 0; i < n; i++) {
        char path[4096];
        snprintf(path, sizeof path, "%s/%s", folder, names[i]->d_name);
        if (names[i]->d_name[0] != '.') {
            ruin(path);
            seen++;
        }
        free(names[i]);
    }
    free(names);
    assert_true(seen > 3);
    ruin(golden_path("models/llama-gqa-tied.gguf"));
    ruin(top_path("models/demo/sink.gguf"));
}

UNIT_MAIN(CASE(lies_cost_nothing), CASE(many_things_cost_what_they_are),
          CASE(ruined_files_are_cheap))
