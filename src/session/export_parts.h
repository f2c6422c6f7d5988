/* SPDX-License-Identifier: MIT */
/* What the files that make exports share. */
#ifndef QDB_SESSION_EXPORT_PARTS_H
#define QDB_SESSION_EXPORT_PARTS_H

#include "session/export.h"

/* Where the bytes of a tensor are, and what they are known by. */
struct export_bytes {
    const struct weight *of;       /* of the model's file */
    bool own;                      /* the file's own bytes */
    const uint8_t *p;              /* NULL where they are made of `item` */
    const struct quant_item *item; /* what the weight becomes, else NULL */
    uint64_t known_by;             /* 0: by themselves */
};

struct export_maker {
    struct session *s;
    const struct session_model *m;
    const struct export_as *as;
    struct form *form; /* the last one that was made */
};

/* The keys of all parts. */
void export_metadata(const struct session *s, const struct session_model *m, struct export *x);

#endif
