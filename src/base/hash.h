/* SPDX-License-Identifier: MIT */
/* A fast hash of bytes, to tell whether they are the same as before. Not for hostile keys. */
#ifndef QDB_BASE_HASH_H
#define QDB_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

/* 64 bits of n bytes and a seed, which may be the hash of what came before. The same on every
 * machine that stores the low byte first. */
uint64_t hash_bytes(const void *p, size_t n, uint64_t seed);
/* The next of a sequence of numbers (splitmix64; Steele, Lea and Flood 2014). */
uint64_t hash_draw(uint64_t *state);

#endif
