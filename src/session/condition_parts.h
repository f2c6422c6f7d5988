/* SPDX-License-Identifier: MIT */
/* The compiled form of a condition: a tree in an array. Private to condition*.c. */
#ifndef QDB_SESSION_CONDITION_PARTS_H
#define QDB_SESSION_CONDITION_PARTS_H

#include "session/condition.h"

enum part_kind {
    /* of a condition or of one element: a and b */
    PART_OR,
    PART_AND,
    PART_NOT,
    PART_COMPARE,
    /* of a condition: a is an element's part */
    PART_ANY,
    PART_ALL,
    PART_COUNT,
    PART_FRAC,
    /* of a condition: statistics and tests by name */
    PART_STAT,
    PART_PAIR,
    PART_NAN,
    PART_INF,
    PART_FINITE,
    PART_DEAD,
    PART_OUTLIER,
    PART_SAT,
    PART_SINK,
    PART_DIVERGE,
    /* numbers of one element */
    PART_NUMBER,
    PART_X,
    PART_REF,
    PART_PREV,
    PART_OF_ALL,
    PART_ADD,
    PART_SUB,
    PART_MUL,
    PART_DIV,
    PART_NEG,
    PART_ABS,
    PART_LOG,
    PART_EXP,
    PART_SQRT,
};

enum compare { CMP_LT, CMP_LE, CMP_EQ, CMP_NE, CMP_GE, CMP_GT };

struct part {
    enum part_kind kind;
    int a, b; /* parts, -1 if none */
    enum compare compare;
    double number;    /* NUMBER; the parameter of a test */
    const char *name; /* STAT, PAIR, OF_ALL: of the statistic */
};

struct condition {
    char *text;
    struct part *parts;
    size_t n, cap;
    int root;
    bool ref, prev;
};

#endif
