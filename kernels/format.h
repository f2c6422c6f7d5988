/* SPDX-License-Identifier: MIT */
/* Formats: the table of how numbers are stored in a file, and how each is decoded to float. */
#ifndef QDB_KERNELS_FORMAT_H
#define QDB_KERNELS_FORMAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Index of a row of the table; not the number a file uses. FORMAT_NONE is no format. */
enum format { FORMAT_NONE = -1 };

struct block_view;

/* One row of the table. A row of n elements (n a multiple of `block`) takes
 * row_header + n / block * bytes bytes. */
struct format_info {
    int id;                 /* the number GGUF files use */
    const char *name;       /* as qdb writes it: "q4_k" */
    const char *type;       /* as users of files know it: "Q4_K" */
    const char *brief;      /* one line: what is stored per block */
    int block;              /* elements per block */
    int bytes;              /* bytes per block */
    int codes;              /* different codes that an element can have; 0 for plain numbers */
    int row_header;         /* bytes at the start of each row (ik_llama.cpp dialect), else 0 */
    bool quantized;         /* false for plain numbers */
    /* Decode n elements (a multiple of block) from src (any alignment) to dst. Bit-exact with the
     * format's definition. NULL: name and size are known, the contents are not decodable here; so
     * with every row_header. */
    void (*decode)(const void *src, float *dst, int64_t n);
    /* Take one block apart for people; NULL for plain numbers. */
    void (*view)(const void *block, struct block_view *view);
};

enum { FORMAT_MAX_BLOCK = 256, BLOCK_MAX_FIELDS = 12, BLOCK_MAX_SUB = 32 };
/* Codes lie in CODE_MIN .. CODE_MAX; CODE_SPAN is how many numbers that are. */
enum { CODE_MIN = -128, CODE_MAX = 2047, CODE_SPAN = CODE_MAX - CODE_MIN + 1 };

/* One quantization block taken apart: value[i] = scale[sub(i)] * level[i] + offset[sub(i)],
 * where sub(i) = i / sub_size; `scale` is effective (super-scale folded in). */
struct block_view {
    int n;        /* elements */
    int sub_size; /* elements per sub-block (= n when there is one scale) */
    int n_fields;
    struct {
        char name[16];  /* as in the format's definition: "d", "dmin", "scales" */
        char text[160]; /* the stored value(s) for people: "0x2e1f = 0.0957", "3 1 7 ..." */
    } fields[BLOCK_MAX_FIELDS];
    float scale[BLOCK_MAX_SUB], offset[BLOCK_MAX_SUB];
    int32_t code[FORMAT_MAX_BLOCK];  /* the stored code (codebook row, ternary digit) */
    float level[FORMAT_MAX_BLOCK];   /* the code's meaning before scaling */
    float value[FORMAT_MAX_BLOCK];   /* exactly what decode gives */
};

int format_count(void);
/* NULL for FORMAT_NONE or out of range. */
const struct format_info *format_info(enum format f);
enum format format_by_id(uint32_t id);        /* FORMAT_NONE if no such type */
enum format format_by_name(const char *name); /* either spelling, case ignored */
/* A hint for types that were removed from the files ("requantize to Q4_0"), else NULL. */
const char *format_removed(uint32_t id);
/* Bytes of a row of n elements; false if n is no multiple of the block or the size overflows. */
bool format_row_bytes(enum format f, uint64_t n, size_t *bytes);
double format_bpw(enum format f); /* bits per weight, row header left out */

/* Half and brain floats, exact in both directions (to: round to nearest even). */
float f16_to_f32(uint16_t h);
uint16_t f32_to_f16(float f);
float bf16_to_f32(uint16_t h);
uint16_t f32_to_bf16(float f);

#endif
