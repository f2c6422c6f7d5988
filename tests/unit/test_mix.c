/* SPDX-License-Identifier: MIT */
/* Mixes: the format of every tensor, against what llama-quantize says for the same shapes
 * (tests/golden/mixes.txt), and the number that calls the file so. */
#include "tests/harness/unit.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "quant/file_type.h"
#include "kernels/encode.h"
#include "quant/mix.h"
#include "tests/harness/gguf_build.h"

struct tensor_line {
    char *name; /* "%d" stands for the layer */
    int rank;
    uint64_t ne[GGUF_MAX_RANK];
};

struct model_lines {
    char *name;
    struct build b;
    int layers;
    struct tensor_line tensors[32];
    size_t n_tensors;
    struct weights *w; /* opened when the first mix comes */
    uint8_t *image;
};

/* The next word of *line, empty at its end. */
static struct str word(struct str *line)
{
    size_t from = 0;
    while (from < line->n && line->p[from] == ' ')
        from++;
    size_t end = from;
    while (end < line->n && line->p[end] != ' ')
        end++;
    const struct str w = str_of(line->p + from, end - from);
    *line = str_of(line->p + end, line->n - end);
    return w;
}

static int64_t number(struct str w)
{
    struct err e = ERR_INIT;
    int64_t v;
    assert_ok(parse_i64(w, 0, INT64_MAX, &v, &e), &e);
    return v;
}

static void name_of(const struct tensor_line *t, int layer, char out[128])
{
    const char *d = strstr(t->name, "%d");
    if (d)
        snprintf(out, 128, "%.*s%d%s", (int)(d - t->name), t->name, layer, d + 2);
    else
        snprintf(out, 128, "%s", t->name);
}

static int copies(const struct model_lines *m, const struct tensor_line *t)
{
    return strstr(t->name, "%d") ? m->layers : 1;
}

static void begin(struct model_lines *m, struct str name)
{
    *m = (struct model_lines){ .name = x_strndup(name.p, name.n), .b = BUILD_INIT };
}

static void end(struct model_lines *m)
{
    weights_close(m->w);
    free(m->image);
    build_free(&m->b);
    for (size_t i = 0; i < m->n_tensors; i++)
        free(m->tensors[i].name);
    free(m->name);
    *m = (struct model_lines){ 0 };
}

static void key(struct model_lines *m, struct str line)
{
    const struct str name = word(&line), value = word(&line);
    char k[80], v[80];
    snprintf(k, sizeof k, "%.*s", (int)name.n, name.p);
    snprintf(v, sizeof v, "%.*s", (int)value.n, value.p);
    if (str_ends(name, "architecture")) {
        build_string(&m->b, k, v);
        return;
    }
    build_integer(&m->b, k, GGUF_U32, number(value));
    if (str_ends(name, ".block_count"))
        m->layers = (int)number(value);
}

static void tensor(struct model_lines *m, struct str line)
{
    assert_true(m->n_tensors < 32);
    struct tensor_line *t = &m->tensors[m->n_tensors++];
    const struct str name = word(&line);
    t->name = x_strndup(name.p, name.n);
    for (struct str w = word(&line); w.n; w = word(&line))
        t->ne[t->rank++] = (uint64_t)number(w);
    for (int i = 0; i < copies(m, t); i++) {
        char full[128];
        name_of(t, i, full);
        build_record(&m->b, full, t->rank == 1 ? 0 : 1, t->rank, t->ne, 0);
    }
}

/* Formats of the layers of a tensor as the line says: format of layer i. */
static struct str format_at(struct str list, int i)
{
    for (size_t at = 0; at <= list.n;) {
        size_t end = at, star;
        while (end < list.n && list.p[end] != ',')
            end++;
        struct str item = str_of(list.p + at, end - at);
        int times = 1;
        for (star = 0; star < item.n && item.p[star] != '*'; star++)
            ;
        if (star < item.n) {
            times = (int)number(str_of(item.p, star));
            item = str_of(item.p + star + 1, item.n - star - 1);
        }
        if (i < times)
            return item;
        i -= times;
        at = end + 1;
    }
    fail_msg("too few formats");
    return list;
}

/* What the line says about a tensor, empty when nothing. */
static struct str list_of(struct str line, const char *name)
{
    for (struct str w = word(&line); w.n; w = word(&line)) {
        const size_t n = strlen(name);
        if (w.n > n && w.p[n] == '=' && !memcmp(w.p, name, n))
            return str_of(w.p + n + 1, w.n - n - 1);
    }
    return str_of("", 0);
}

static void compare(const struct model_lines *m, const struct mix *mix, struct str line,
                    const enum format *got)
{
    for (size_t k = 0; k < m->n_tensors; k++)
        for (int i = 0; i < copies(m, &m->tensors[k]); i++) {
            const struct tensor_line *t = &m->tensors[k];
            char full[128], want[32];
            name_of(t, i, full);
            const struct weight *w = weights_find(m->w, str_from(full));
            assert_non_null(w);
            enum format f = got[w - m->w->list];
            if (f == FORMAT_NONE)
                f = w->format;
            const struct str list = list_of(line, t->name);
            const struct str said = list.n ? format_at(list, i)
                                           : str_from(format_info(w->format)->name);
            snprintf(want, sizeof want, "%.*s", (int)said.n, said.p);
            if (strcmp(want, format_info(f)->name))
                fail_msg("%s, %s: %s is %s, not %s", m->name, mix->name, full, format_info(f)->name,
                         want);
        }
}

/* Files of a mix are called by its number; once a weight is another they are not. */
static void label(const struct weights *w, const struct mix *mix, const enum format *got)
{
    enum format *f = x_alloc((w->n + 1) * sizeof *f);
    size_t other = w->n;
    for (size_t i = 0; i < w->n; i++) {
        f[i] = got[i] == FORMAT_NONE ? w->list[i].format : got[i];
        other = got[i] == FORMAT_NONE || other < w->n ? other : i;
    }
    assert_int_equal(file_type_of(w, f, mix), mix->file_type);
    f[other] = format_by_name("f64");
    const int by_format = file_type_of(w, f, NULL);
    assert_int_equal(file_type_of(w, f, mix), by_format);
    if (str_ends(str_from(mix->name), "_K_S") && mix->file_type == by_format)
        fail_msg("%s with another weight is still called so", mix->name);
    free(f);
}

static void check(struct model_lines *m, struct str line, bool importance, bool fails)
{
    struct err e = ERR_INIT;
    size_t size;
    const struct str name = word(&line);
    const struct mix *mix = mix_find(name);
    assert_non_null(mix);
    if (!m->w) {
        m->image = build_image(&m->b, &size);
        assert_ok(weights_borrow(m->image, size, m->name, &m->w, &e), &e);
    }
    enum format *got = x_alloc((m->w->n + 1) * sizeof *got);
    size_t given_up;
    assert_ok(mix_formats(mix, m->w, importance, got, &given_up, &e), &e);
    if ((given_up > 0) != fails)
        fail_msg("%s, %s: %zu given up", m->name, mix->name, given_up);
    for (size_t i = 0; i < m->w->n; i++)
        got[i] = encode_fallback(got[i], m->w->list[i].cols);
    if (!fails) {
        compare(m, mix, line, got);
        label(m->w, mix, got);
    }
    free(got);
}

static void every_tensor_gets_what_llama_quantize_gives_it(void **unused)
{
    (void)unused;
    size_t n;
    char *text = unit_read(golden_path("mixes.txt"), &n);
    struct model_lines m = { 0 };
    int mixes = 0, weighed = 0;
    for (size_t at = 0; at < n;) {
        size_t stop = at;
        while (stop < n && text[stop] != '\n')
            stop++;
        struct str line = str_of(text + at, stop - at);
        const struct str what = word(&line);
        if (str_is(what, "model")) {
            end(&m);
            begin(&m, word(&line));
        } else if (str_is(what, "key"))
            key(&m, line);
        else if (str_is(what, "tensor"))
            tensor(&m, line);
        else if (str_is(what, "weighed")) {
            check(&m, line, true, false);
            weighed++;
        } else if (str_is(what, "mix") || str_is(what, "fails")) {
            check(&m, line, false, str_is(what, "fails"));
            mixes++;
            /* without a line of its own an importance matrix makes no difference */
            if (str_is(what, "mix")
                && !str_starts(str_of(text + stop + 1, n - stop - 1), "weighed"))
                check(&m, line, true, false);
        }
        at = stop + 1;
    }
    assert_int_equal(mixes, 12 * 34);
    assert_int_equal(weighed, 55);
    end(&m);
    free(text);
}

static void names_are_found_in_any_case(void **unused)
{
    (void)unused;
    assert_string_equal(mix_find(STR("q4_k_m"))->name, "Q4_K_M");
    assert_string_equal(mix_find(STR("Q4_K"))->name, "Q4_K_M");
    assert_string_equal(mix_find(STR("iq4_xs"))->name, "IQ4_XS");
    assert_null(mix_find(STR("Q4_K_XL")));
    assert_null(mix_find(STR("")));
    for (size_t i = 0; mix_at(i); i++)
        assert_true(format_by_name(mix_at(i)->usual) != FORMAT_NONE);
}

UNIT_MAIN(CASE(every_tensor_gets_what_llama_quantize_gives_it), CASE(names_are_found_in_any_case))
