/* SPDX-License-Identifier: MIT */
/* Recipes: which tensor is to get which format, as rules PATTERN=TYPE that other programs read.
 * A pattern is a regular expression that is searched for in the tensor's name (it need not match
 * all of it), and of several rules the first one that matches holds. */
#ifndef QDB_FILE_RECIPE_H
#define QDB_FILE_RECIPE_H

#include "base/error.h"
#include "base/text.h"
#include "kernels/format.h"

enum recipe_kind {
    RECIPE_QUANTIZE, /* llama-quantize --tensor-type-file: words; patterns are read in lower case */
    RECIPE_IK,       /* ik_llama.cpp --custom-q: one line, rules parted by commas */
    RECIPE_THIREUS,  /* one rule a line, and comments after # */
    RECIPE__COUNT
};
const char *recipe_kind_name(enum recipe_kind kind); /* "llama-quantize", "ik", "thireus" */
bool recipe_kind_find(struct str name, enum recipe_kind *out);
/* The format as programs of that kind spell it (ik_llama.cpp heeds the case), NULL: they have no
 * such type. */
const char *recipe_type_name(enum recipe_kind kind, enum format f);

struct recipe_rule {
    char *pattern; /* as written */
    enum format format;
    int line; /* from 1 */
    void *compiled;
};

struct recipe {
    enum recipe_kind kind;
    struct recipe_rule *list;
    size_t n, cap;
};

enum { RECIPE_MAX = 16 << 20 /* bytes of a file */ };

/* Parse the text of a recipe; `name` is for messages. kind NULL: what it looks like. ST_FORMAT with
 * line and fact: no `=`, an unknown type (a mix is none), one that these programs do not have, a
 * pattern that does not compile. */
NODISCARD enum st recipe_parse(struct str text, const char *name, const enum recipe_kind *kind,
                               struct recipe **out, struct err *e);
void recipe_free(struct recipe *r);

/* Does rule i match the name? ST_RANGE when deciding takes a pattern too many steps. */
NODISCARD enum st recipe_matches(const struct recipe *r, size_t i, struct str name, bool *out,
                                 struct err *e);
/* The first rule that matches, -1 if none does. */
NODISCARD enum st recipe_rule_of(const struct recipe *r, struct str name, int64_t *out,
                                 struct err *e);

/* A tensor and the format it is to have. */
struct recipe_tensor {
    struct str name;
    enum format format;
};
/* Append a recipe for these: one rule for each format of tensors whose names differ in the number
 * of their block alone, anchored at both ends, no name matched by two. Rules that do not give each
 * of the `n` names its format, and match none of the `n_others` other names, are ST_UNSUPPORTED:
 * all names are tried before it returns. So is a format that these programs do not have. */
NODISCARD enum st recipe_make(const struct recipe_tensor *list, size_t n, const struct str *others,
                              size_t n_others, enum recipe_kind kind, struct buf *out,
                              struct err *e);

#endif
