/* SPDX-License-Identifier: MIT */
#include "base/hash.h"

#include <string.h>

enum { LANES = 4 /* independent, so that the multiplications overlap */ };

/* Odd, about half of the bits set, drawn at random. */
static const uint64_t keys[LANES + 1] = {
    UINT64_C(0x8a6d2d3c5be5c3b7), UINT64_C(0xd1b3a94f2c6e9755), UINT64_C(0x5ec749b5a9136a8d),
    UINT64_C(0xb36f1c92d74ea62b), UINT64_C(0x94d8276be1357acd),
};

/* The 128 bits of a product folded into 64. */
static uint64_t fold(uint64_t a, uint64_t b)
{
    const unsigned __int128 product = (unsigned __int128)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

uint64_t hash_bytes(const void *p, size_t n, uint64_t seed)
{
    const unsigned char *at = p;
    uint64_t lane[LANES], word;
    size_t left = n;
    for (int i = 0; i < LANES; i++)
        lane[i] = seed + keys[i];
    for (; left >= sizeof lane; left -= sizeof lane)
        for (int i = 0; i < LANES; i++, at += sizeof word) {
            memcpy(&word, at, sizeof word);
            lane[i] = fold(lane[i] ^ word, keys[i]) + word;
        }
    for (int i = 0; left; i++) {
        const size_t take = left < sizeof word ? left : sizeof word;
        word = 0;
        memcpy(&word, at, take);
        lane[i] = fold(lane[i] ^ word, keys[i]) + word;
        at += take, left -= take;
    }
    uint64_t h = n * keys[LANES];
    for (int i = 0; i < LANES; i++)
        h = fold(h ^ lane[i], keys[LANES]) + lane[i];
    return fold(h ^ h >> 32, keys[0]);
}

uint64_t hash_draw(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}
