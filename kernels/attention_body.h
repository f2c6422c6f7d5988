/* SPDX-License-Identifier: MIT */
/* Attention of a level, written once: each level_*.c includes this. Lanes are keys while scores are
 * made, channels while values are mixed; both ways a sum runs within one lane, in an order that
 * docs/modes.md gives and the vectors' size does not change. */
#ifndef QDB_KERNELS_ATTENTION_BODY_H
#define QDB_KERNELS_ATTENTION_BODY_H

#include "kernels/attention.h"
#include "kernels/codec.h"
#include "kernels/level_body.h"
#include "kernels/parts_body.h"

enum {
    PANEL = ATTENTION_PANEL,
    SCORE_LEAF = 8,       /* channels whose products are added one after the other */
    SCORE_LEAF_HALF = 32, /* the same where products are exact */
    SIDE = 2,             /* vectors side by side */
    ROWS_AT_ONCE = LEVEL_VECTOR == 64 ? 8 : 4
};

/* a * b + c. Where `exact`, the product needs no rounding, and fused or not is the same. */
INLINE part multiply_add(part a, part b, part c, bool exact)
{
#if defined __AVX512F__ && LEVEL_VECTOR == 64
    if (exact)
        return (part)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif defined __FMA__ && LEVEL_VECTOR == 32
    if (exact)
        return (part)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#endif
    (void)exact;
    return a * b + c;
}

/* To 13 significant bits, ties to even: times a half, the product is exact in float. Below 2^-100
 * it counts as zero, from 2^100 on as infinite. */
INLINE part round13(part x)
{
    const whole_part bits = (whole_part)x, size = bits & 0x7fffffff, sign = bits ^ size;
    whole_part near = (size + 0x3ff + ((size >> 11) & 1)) & ~0x7ff;
    const whole_part large = near >= 227 << 23, nan = size > 0x7f800000, small = near < 27 << 23;
    near = (near & ~large) | (0x7f800000 & large);
    near = ((near & ~nan) | (0x7fc00000 & nan)) & ~small;
    return (part)(near | sign);
}

/* One vector of floats or halves. */
INLINE part unpack_part(const void *p, int64_t i, bool half)
{
    if (!half)
        return part_at((const float *)p + i);
    const uint16_t *h = (const uint16_t *)p + i;
#if defined __AVX512F__ && LEVEL_VECTOR == 64
    return (part)_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)h));
#elif defined __F16C__ && LEVEL_VECTOR == 32
    return (part)_mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)h));
#else
    float f[WIDE];
    for (int k = 0; k < WIDE; k++)
        f[k] = half_to_float(h[k]);
    return part_at(f);
#endif
}

/* The same of the last n channels of a head, zeros behind them. */
INLINE part unpack_tail(const void *p, int64_t i, int64_t n, bool half)
{
    float f[WIDE] = { 0 };
    for (int k = 0; k < n && k < WIDE; k++)
        f[k] = half ? half_to_float(((const uint16_t *)p)[i + k]) : ((const float *)p)[i + k];
    return part_at(f);
}

/* The heads that are read: of row r they begin at element r * stride + offset. */
struct cache {
    const void *data;
    int64_t stride, offset, n;
    const int32_t *rows;
};

INLINE const void *cache_row(const struct cache *c, int64_t j, bool half)
{
    return (const char *)c->data
           + (size_t)(c->rows[j] * c->stride + c->offset) * (half ? 2 : sizeof(float));
}

/* Keys [from, end), at most PANEL, as panel [width][PANEL]. What is there of other keys is a
 * repetition: nobody reads it. */
INLINE void keys_panel(const struct cache *c, int64_t from, int64_t end, bool half, float *panel)
{
    for (int64_t j = from; j < end; j += WIDE) {
        const void *row[WIDE];
        for (int k = 0; k < WIDE; k++)
            row[k] = cache_row(c, j + k < end ? j + k : end - 1, half);
        for (int64_t i = 0; i < c->n; i += WIDE) {
            part x[WIDE];
            if (i + WIDE <= c->n)
                _Pragma("GCC unroll 16") for (int k = 0; k < WIDE; k++)
                    x[k] = unpack_part(row[k], i, half);
            else
                for (int k = 0; k < WIDE; k++)
                    x[k] = unpack_tail(row[k], i, c->n - i, half);
            transpose_parts(x);
            _Pragma("GCC unroll 16") for (int k = 0; k < WIDE; k++)
                part_to(panel + (i + k) * PANEL + (j - from), x[k]);
        }
    }
}

/* Values [from, end) as panel [end - from][width]. */
INLINE void values_panel(const struct cache *c, int64_t from, int64_t end, bool half, float *panel)
{
    for (int64_t j = from; j < end; j++, panel += attention_width(c->n)) {
        const void *row = cache_row(c, j, half);
        int64_t i = 0;
        for (; i + WIDE <= c->n; i += WIDE)
            part_to(panel + i, unpack_part(row, i, half));
        if (i < c->n)
            part_to(panel + i, unpack_tail(row, i, c->n - i, half));
    }
}

/* Scores of `rows` queries [rows][n] with SIDE * WIDE keys of a panel: leaves of channels, added as
 * a tree by a binary counter as in struct trees. */
INLINE void score_tile(const float *q, int64_t n, int rows, const float *panel, bool half,
                       part sum[][SIDE])
{
    part level[TREE_MAX][ROWS_AT_ONCE][SIDE];
    const int64_t leaf = half ? SCORE_LEAF_HALF : SCORE_LEAF;
    uint64_t leaves = 0;
    for (int64_t from = 0;; from += leaf, leaves++) {
        const int64_t end = from + leaf < n ? from + leaf : n;
        UNROLL for (int r = 0; r < rows; r++) UNROLL for (int s = 0; s < SIDE; s++)
            sum[r][s] = (part){ 0 };
        for (int64_t i = from; i < end; i++)
            UNROLL for (int r = 0; r < rows; r++) UNROLL for (int s = 0; s < SIDE; s++)
                sum[r][s] = multiply_add(q[r * n + i] - (part){ 0 },
                                         part_at(panel + i * PANEL + s * WIDE), sum[r][s], half);
        if (end == n)
            break;
        int l = 0;
        for (uint64_t count = leaves; count & 1; count >>= 1, l++)
            UNROLL for (int r = 0; r < rows; r++) UNROLL for (int s = 0; s < SIDE; s++)
                sum[r][s] = level[l][r][s] + sum[r][s];
        UNROLL for (int r = 0; r < rows; r++) UNROLL for (int s = 0; s < SIDE; s++)
            level[l][r][s] = sum[r][s];
    }
    for (int l = 0; leaves; leaves >>= 1, l++) /* the last leaf and all that is left */
        if (leaves & 1)
            UNROLL for (int r = 0; r < rows; r++) UNROLL for (int s = 0; s < SIDE; s++)
                sum[r][s] = level[l][r][s] + sum[r][s];
}

/* A row of a part: a query, its scores or probabilities, the keys it sees, those of the panel at
 * hand. Rows go token by token and within a token head by head. */
struct row {
    float *score;
    int32_t visible, seen;
};

/* Writes the rows of the part to the start of *scratch, which moves behind them. */
INLINE struct row *part_rows(const struct attention *a, const struct attention_part *p,
                             float **scratch)
{
    const int64_t group = a->heads / a->kv;
    struct row *rows = (struct row *)(void *)*scratch, *r = rows;
    for (int64_t t = 0; t < p->count; t++)
        for (int64_t h = 0; h < group; h++, r++)
            *r = (struct row){ p->score + h * p->head_stride + t * p->token_stride,
                               a->visible[p->first + t], 0 };
    *scratch += attention_width(ATTENTION_ROW_FLOATS * p->count * group);
    return rows;
}

/* The first row that sees key `from`. */
INLINE int64_t first_to_see(const struct row *rows, int64_t n, int64_t from)
{
    int64_t r = 0;
    while (r < n && rows[r].visible <= from)
        r++;
    return r;
}

INLINE int64_t most_visible(const struct row *rows, int64_t n)
{
    int64_t most = 0;
    for (int64_t r = 0; r < n; r++)
        most = rows[r].visible > most ? rows[r].visible : most;
    return most;
}

/* The scores of `n` rows with keys [from, end) of a panel; those that a row does not see are not
 * written. */
INLINE void score_some(const struct attention *a, const struct row *rows, int n, const float *q,
                       const float *panel, int64_t from, int64_t end, bool half)
{
    for (int64_t k = 0; from + k < end; k += SIDE * WIDE) {
        part sum[ROWS_AT_ONCE][SIDE];
        score_tile(q, a->n, n, panel + k, half, sum);
        for (int i = 0; i < n; i++) {
            const int64_t last = rows[i].visible < end ? rows[i].visible : end;
            const int64_t left = last - (from + k);
            float *out = rows[i].score + from + k, all[SIDE * WIDE];
            if (left <= 0)
                continue;
            float *to = left >= SIDE * WIDE ? out : all;
            UNROLL for (int s = 0; s < SIDE; s++) part_to(to + s * WIDE, sum[i][s] * a->scale);
            if (to == all)
                memcpy(out, all, (size_t)left * sizeof *out);
        }
    }
}

/* All rows; how many at once is a constant after inlining. */
INLINE void score_all(const struct attention *a, const struct row *rows, int64_t n, const float *q,
                      const float *panel, int64_t from, int64_t end, bool half)
{
    int64_t r = 0;
    for (; r + ROWS_AT_ONCE <= n; r += ROWS_AT_ONCE)
        score_some(a, rows + r, ROWS_AT_ONCE, q + r * a->n, panel, from, end, half);
    for (; r + 4 <= n; r += 4)
        score_some(a, rows + r, 4, q + r * a->n, panel, from, end, half);
    for (; r + 3 <= n; r += 3)
        score_some(a, rows + r, 3, q + r * a->n, panel, from, end, half);
    for (; r < n; r++)
        score_some(a, rows + r, 1, q + r * a->n, panel, from, end, half);
}

/* Queries of the part [row][n]. */
INLINE void gather_queries(const struct attention *a, const struct attention_part *p, bool half,
                           float *q)
{
    const int64_t group = a->heads / a->kv, each = group * a->n;
    for (int64_t t = 0; t < p->count; t++, q += each) {
        const float *from = a->q + ((p->first + t) * a->heads + p->group * group) * a->n;
        int64_t i = 0;
        for (; half && i + WIDE <= each; i += WIDE)
            part_to(q + i, round13(part_at(from + i)));
        if (half && i < each) {
            float rest[WIDE];
            part_to(rest, round13(unpack_tail(from, i, each - i, false)));
            memcpy(q + i, rest, (size_t)(each - i) * sizeof *q);
        } else
            memcpy(q + i, from + i, (size_t)(each - i) * sizeof *q);
    }
}

INLINE void scores_of(const struct attention *a, const struct attention_part *p, int64_t from,
                      int64_t end, float *scratch, bool half)
{
    const int64_t n = p->count * (a->heads / a->kv);
    const struct cache c = { a->k, a->kv * a->n, p->group * a->n, a->n, a->keys[p->first] };
    const struct row *rows = part_rows(a, p, &scratch);
    float *panel = scratch, *q = panel + PANEL * attention_width(a->n);
    const int64_t most = most_visible(rows, n);
    end = end < most ? end : most;
    if (from < end)
        gather_queries(a, p, half, q);
    for (int64_t j = from; j < end; j += PANEL) {
        const int64_t stop = j + PANEL < end ? j + PANEL : end, r = first_to_see(rows, n, j);
        keys_panel(&c, j, stop, half, panel);
        score_all(a, rows + r, n - r, q + r * a->n, panel, j, stop, half);
    }
}

static void attention_scores_level(const struct attention *a, const struct attention_part *p,
                                   int64_t from, int64_t end, float *scratch)
{
    if (a->half)
        scores_of(a, p, from, end, scratch, true);
    else
        scores_of(a, p, from, end, scratch, false);
}

/* --- values --- */

/* Where the sums of a part are kept: `level` as in struct trees, [level][row][width]. */
struct mixing {
    int64_t rows, width;
    struct row *row;
    float *panel, *p, *level;
};

/* Rows [r, r + rows) times `count` values of the panel, channels [i, i + side * WIDE): one leaf,
 * which goes up the tree as far as `leaves`, the leaves before it, say. */
INLINE void mix_tile(const struct mixing *m, int64_t r, int rows, int64_t i, int side,
                     int64_t count, uint64_t leaves, bool half)
{
    part sum[ROWS_AT_ONCE][4];
    UNROLL for (int k = 0; k < rows; k++) UNROLL for (int s = 0; s < side; s++)
        sum[k][s] = (part){ 0 };
    for (int64_t j = 0; j < count; j++)
        UNROLL for (int k = 0; k < rows; k++) UNROLL for (int s = 0; s < side; s++)
            sum[k][s] = multiply_add(m->p[(r + k) * PANEL + j] - (part){ 0 },
                                     part_at(m->panel + j * m->width + i + s * WIDE), sum[k][s],
                                     half);
    float *level = m->level + r * m->width + i;
    for (; leaves & 1; leaves >>= 1, level += m->rows * m->width)
        UNROLL for (int k = 0; k < rows; k++) UNROLL for (int s = 0; s < side; s++)
            sum[k][s] = part_at(level + k * m->width + s * WIDE) + sum[k][s];
    UNROLL for (int k = 0; k < rows; k++) UNROLL for (int s = 0; s < side; s++)
        part_to(level + k * m->width + s * WIDE, sum[k][s]);
}

/* Channels [0, end) of some rows; what lies between n and the width is computed and not used. */
INLINE void mix_rows(const struct mixing *m, int64_t r, int rows, int64_t end, int64_t count,
                     uint64_t leaves, bool half)
{
    enum { MOST = LEVEL_VECTOR == 64 ? 4 : 2 };
    int64_t i = 0;
    for (; i + MOST * WIDE <= end; i += MOST * WIDE)
        mix_tile(m, r, rows, i, MOST, count, leaves, half);
    for (; i < end; i += WIDE)
        mix_tile(m, r, rows, i, 1, count, leaves, half);
}

/* The rows from r on, those that see the same number of the panel's values together. */
INLINE void mix_all(const struct mixing *m, int64_t r, int64_t end, uint64_t leaves, bool half)
{
    enum { AT_ONCE = 4 };
    for (int64_t same; r < m->rows; r += same) {
        const int32_t seen = m->row[r].seen;
        for (same = 1; same < AT_ONCE && r + same < m->rows && m->row[r + same].seen == seen;)
            same++;
        if (!seen)
            continue;
        if (same == AT_ONCE)
            mix_rows(m, r, AT_ONCE, end, seen, leaves, half);
        else if (same == 3)
            mix_rows(m, r, 3, end, seen, leaves, half);
        else {
            mix_rows(m, r, 1, end, seen, leaves, half);
            same = 1;
        }
    }
}

/* The probabilities of keys [from, end) of all rows from r on, [row][PANEL]. */
INLINE void gather_probabilities(const struct mixing *m, int64_t r, int64_t from, int64_t end,
                                 bool half)
{
    for (; r < m->rows; r++) {
        struct row *row = &m->row[r];
        const int64_t count = (row->visible < end ? row->visible : end) - from;
        const float *p = row->score + from;
        float *to = m->p + r * PANEL;
        row->seen = (int32_t)(count > 0 ? count : 0);
        if (row->seen < PANEL) {
            memset(to, 0, PANEL * sizeof *to);
            memcpy(to, p, (size_t)row->seen * sizeof *to);
            p = to;
        }
        for (int k = 0; k < PANEL; k += WIDE)
            part_to(to + k, half ? round13(part_at(p + k)) : part_at(p + k));
    }
}

/* Row r out of the levels that its count of leaves has bits for. */
INLINE void mix_finish(const struct mixing *m, int64_t r, int64_t n, float *z)
{
    float *level = m->level + r * m->width;
    const float *sum = NULL;
    int64_t leaves = pool_chunks(m->row[r].visible, PANEL);
    for (; leaves; leaves >>= 1, level += m->rows * m->width) {
        if (!(leaves & 1))
            continue;
        for (int64_t i = 0; sum && i < n; i++)
            level[i] = level[i] + sum[i];
        sum = level;
    }
    if (sum)
        memcpy(z, sum, (size_t)n * sizeof *z);
    else
        memset(z, 0, (size_t)n * sizeof *z);
}

INLINE void mix_of(const struct attention *a, const struct attention_part *p, int64_t from,
                   int64_t end, float *z, float *scratch, bool half)
{
    const int64_t group = a->heads / a->kv, n = p->count * group;
    const struct cache c = { a->v, a->kv * a->n, p->group * a->n + from, end - from,
                             a->keys[p->first] };
    struct mixing m = { .rows = n, .width = attention_width(end - from) };
    m.row = part_rows(a, p, &scratch);
    m.panel = scratch;
    m.p = m.panel + PANEL * m.width;
    m.level = m.p + PANEL * n;
    const int64_t most = most_visible(m.row, n);
    uint64_t leaves = 0;
    for (int64_t j = 0; j < most; j += PANEL, leaves++) {
        const int64_t stop = j + PANEL < most ? j + PANEL : most;
        const int64_t r = first_to_see(m.row, n, j);
        values_panel(&c, j, stop, half, m.panel);
        gather_probabilities(&m, r, j, stop, half);
        mix_all(&m, r, end - from, leaves, half);
    }
    for (int64_t r = 0; r < n; r++) {
        const int64_t head = p->group * group + r % group;
        mix_finish(&m, r, end - from,
                   z + ((p->first + r / group) * a->heads + head) * a->n + from);
    }
}

static void attention_mix_level(const struct attention *a, const struct attention_part *p,
                                int64_t from, int64_t end, float *z, float *scratch)
{
    if (a->half)
        mix_of(a, p, from, end, z, scratch, true);
    else
        mix_of(a, p, from, end, z, scratch, false);
}

/* --- the cache --- */

/* To halves, to nearest, ties to even: as f32_to_f16. */
static void to_halves(const float *x, int64_t n, uint16_t *h)
{
    int64_t i = 0;
#if defined __AVX512F__ && LEVEL_VECTOR == 64
    for (; i + WIDE <= n; i += WIDE)
        _mm256_storeu_si256((__m256i *)(h + i),
                            _mm512_cvtps_ph((__m512)part_at(x + i), _MM_FROUND_TO_NEAREST_INT));
#elif defined __F16C__ && LEVEL_VECTOR == 32
    for (; i + WIDE <= n; i += WIDE)
        _mm_storeu_si128((__m128i *)(h + i),
                         _mm256_cvtps_ph((__m256)part_at(x + i), _MM_FROUND_TO_NEAREST_INT));
#endif
    for (; i < n; i++)
        h[i] = f32_to_f16(x[i]);
}

#endif
