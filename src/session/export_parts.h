/* SPDX-License-Identifier: MIT */
/* What the files that make exports share. */
#ifndef QDB_SESSION_EXPORT_PARTS_H
#define QDB_SESSION_EXPORT_PARTS_H

#include "session/export.h"

/* Where the bytes of a tensor are, and what they are known by. */
struct export_bytes {
    const struct weight *of;       /* of the model's file */
    bool own;                      /* the file's own bytes */
    const uint8_t *scales;         /* those of the form that stands for it, or NULL */
    bool scaled;                   /* by such that are made of `item` */
    char *name;                    /* owned: of the scales beside `of`, else NULL */
    const uint8_t *p;              /* NULL where they are made of `item` */
    const struct quant_item *item; /* what the weight becomes, else NULL */
    uint64_t known_by;             /* 0: by themselves */
};

struct export_maker {
    struct session *s;
    const struct session_model *m;
    const struct export_as *as;
    const struct quant_item *made; /* the last one, and its form */
    struct form *form;
};

/* The keys of all parts. */
void export_metadata(const struct session *s, const struct session_model *m, struct export *x);

#endif
