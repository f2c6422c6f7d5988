/* SPDX-License-Identifier: MIT */
#include "text/spm.h"

#include <string.h>

enum { SPACE_BYTES = sizeof SPM_SPACE - 1 };

static bool joined(const struct spm *s, unsigned char a, unsigned char b)
{
    unsigned bit = (unsigned)a << 8 | b;
    return s->joins[bit / 8] >> bit % 8 & 1;
}

void spm_init(struct spm *s, const struct vocab *v)
{
    memset(s, 0, sizeof *s);
    s->vocab = v;
    s->space = vocab_find_text(v, STR(SPM_SPACE));
    for (int c = 0; c < 128; c++) {
        char byte = (char)c;
        s->ascii[c] = vocab_find_text(v, str_of(&byte, 1));
    }
    for (int32_t id = 0; id < v->n; id++) {
        if (!vocab_is_text(v, id))
            continue;
        struct str piece = vocab_piece(v, id);
        for (size_t i = 1; i < piece.n; i++) {
            unsigned bit = (unsigned)(unsigned char)piece.p[i - 1] << 8 | (unsigned char)piece.p[i];
            s->joins[bit / 8] |= (uint8_t)(1u << bit % 8);
        }
    }
}

struct encoder {
    const struct spm *spm;
    struct merge *m;
    struct buf *b; /* the escaped text of the symbols in m */
    struct id_list *out;
};

/* Smaller is earlier: the highest score first. */
static uint32_t score_key(float score)
{
    uint32_t bits;
    score += 0.0f; /* -0 is 0 */
    memcpy(&bits, &score, sizeof bits);
    return bits >> 31 ? bits : ~bits & 0x7fffffff;
}

/* What two symbols become is decided by their text alone: any piece with that text will do. */
static bool spm_rule(const void *context, const struct symbol *left, const struct symbol *right,
                     uint32_t *key, int32_t *id)
{
    const struct encoder *c = context;
    *id = vocab_find_text(c->spm->vocab, str_of(c->b->p + left->at, (size_t)left->n + right->n));
    if (*id < 0)
        return false;
    *key = score_key(c->spm->vocab->score[*id]);
    return true;
}

/* A symbol without a token: its bytes, else the unknown token once. */
static void fall_back(struct encoder *c, struct str text)
{
    const struct vocab *v = c->spm->vocab;
    if (str_eq(text, STR(SPM_SPACE)) && v->bytes[' '] >= 0)
        text = STR(" ");
    bool all = true;
    for (size_t i = 0; i < text.n; i++)
        all &= v->bytes[(unsigned char)text.p[i]] >= 0;
    for (size_t i = 0; all && i < text.n; i++)
        id_push(c->out, v->bytes[(unsigned char)text.p[i]]);
    if (!all && vocab_unknown(v) >= 0)
        id_push(c->out, vocab_unknown(v));
}

/* Merge and emit the symbols collected so far. */
static enum st flush(struct encoder *c, struct err *e)
{
    struct merge *m = c->m;
    enum st st = merge_run(m, spm_rule, c, e);
    for (int32_t i = m->n ? 0 : -1; !st && i >= 0; i = m->symbols[i].after) {
        const struct symbol *sym = m->symbols + i;
        if (sym->id >= 0)
            id_push(c->out, sym->id);
        else
            fall_back(c, str_of(c->b->p + sym->at, sym->n));
    }
    m->n = 0;
    buf_clear(c->b);
    return st;
}

/* No piece has these two bytes side by side: nothing can ever merge across, so the text is cut
 * here, which changes nothing but keeps the heap to about a word. */
static enum st add(struct encoder *c, const char *p, size_t n, int32_t id, struct err *e)
{
    struct buf *b = c->b;
    enum st st = ST_OK;
    if (b->n && !joined(c->spm, (unsigned char)b->p[b->n - 1], (unsigned char)p[0]))
        st = flush(c, e);
    if (!st && c->m->n == c->m->cap)
        st = merge_reserve(c->m, 1, e);
    if (st)
        return st;
    merge_add(c->m, id, (uint32_t)b->n, (uint32_t)n);
    buf_add(b, p, n);
    return ST_OK;
}

enum st spm_encode(const struct spm *s, struct str text, bool space, struct merge *m, struct buf *b,
                   struct id_list *out, struct err *e)
{
    struct encoder c = { s, m, b, out };
    const struct vocab *v = s->vocab;
    enum st st = space ? add(&c, SPM_SPACE, SPACE_BYTES, s->space, e) : ST_OK;
    for (size_t i = 0; !st && i < text.n;) {
        const char *p = text.p + i;
        int32_t cp;
        int n = utf8_decode(p, text.n - i, &cp);
        i += (size_t)n;
        if (cp == ' ')
            st = add(&c, SPM_SPACE, SPACE_BYTES, s->space, e);
        else if (cp >= 0 && cp < 128)
            st = add(&c, p, 1, s->ascii[cp], e);
        else if (cp == 0x2581 && v->has_all_bytes) {
            /* The space mark itself is written in bytes, so that it does not come back as a space.
             */
            st = flush(&c, e);
            for (int k = 0; k < n; k++)
                id_push(out, v->bytes[(unsigned char)p[k]]);
        } else
            st = add(&c, p, (size_t)n, vocab_find_text(v, str_of(p, (size_t)n)), e);
    }
    if (!st)
        st = flush(&c, e);
    m->n = 0;
    buf_clear(b);
    return st;
}

void spm_unescape(struct str piece, struct buf *out)
{
    size_t from = 0;
    for (size_t i = 0; i + SPACE_BYTES <= piece.n;) {
        if (memcmp(piece.p + i, SPM_SPACE, SPACE_BYTES)) {
            i++;
            continue;
        }
        buf_add(out, piece.p + from, i - from);
        buf_addc(out, ' ');
        from = i += SPACE_BYTES;
    }
    buf_add(out, piece.p + from, piece.n - from);
}
