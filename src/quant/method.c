/* SPDX-License-Identifier: MIT */
#include "quant/method.h"

#include "kernels/encode.h"

static enum st rtn(const struct quant_piece *p, enum format f, void *out, struct err *e)
{
    const struct weight *w = p->from;
    const struct matrix m = weight_matrix(w, p->row, p->rows);
    return encode_matrix(p->pool, &m, f, p->importance, out, p->cancel, e);
}

static const struct quant_method methods[] = {
    { "rtn", "each block by itself, codes and scales of the least squared error", rtn },
};

const struct quant_method *quant_method_at(size_t i)
{
    return i < sizeof methods / sizeof *methods ? &methods[i] : NULL;
}

enum st quant_method_find(struct str name, const struct quant_method **out, struct err *e)
{
    struct buf b = { 0 };
    const struct quant_method *m;
    for (size_t i = 0; (m = quant_method_at(i)); i++) {
        if (str_is(name, m->name)) {
            buf_free(&b);
            *out = m;
            return ST_OK;
        }
        buf_printf(&b, "%s%s", i ? ", " : "", m->name);
    }
    st_fail(e, ST_NOTFOUND, "no method `%.*s`", (int)(name.n > 40 ? 40 : name.n), name.p);
    st_hint(e, "there is: %s", buf_str(&b));
    buf_free(&b);
    return ST_NOTFOUND;
}
