/* SPDX-License-Identifier: MIT */
/* Features: the instruction sets that kernel levels need, found once, and tried rather than
 * believed. */
#ifndef QDB_KERNELS_FEATURE_H
#define QDB_KERNELS_FEATURE_H

#include <stdbool.h>
#include <stdint.h>

enum feature {
    FEATURE_AVX2,
    FEATURE_F16C,
    FEATURE_FMA,
    FEATURE_AVX512F,
    FEATURE_AVX512BW,
    FEATURE_AVX512VL,
    FEATURE_AVX512VNNI,
    FEATURE_AVX512BF16,
    FEATURE_AMX_TILE,
    FEATURE_AMX_BF16,
    FEATURE_AMX_INT8,
    FEATURE__COUNT
};

/* A set of features, as in FEATURES(AVX2) | FEATURES(FMA). */
#define FEATURES(name) (1u << FEATURE_##name)

/* As Linux spells it: "avx512_vnni". */
const char *feature_name(enum feature f);
/* Why the feature cannot be used here, in a few words; NULL when it can. It can when the CPU
 * reports it, the system keeps its registers for each thread (and, for AMX, has given the process
 * leave to use them), and an instruction of it, executed, does not fault. Asked the first time, all
 * features are tried, which takes some microseconds; no kernel of another thread may fault then. */
const char *feature_missing(enum feature f);
/* Those of a set that cannot be used. */
unsigned features_missing(unsigned set);

/* Run `try`; false: it met SIGILL or SIGSEGV, and was left at that point. */
bool feature_survives(void (*try)(void));

#endif
