/* SPDX-License-Identifier: MIT */
#include "kernels/feature.h"

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stddef.h>

static _Thread_local sigjmp_buf *back; /* where a fault of this thread leads; NULL: nowhere */

/* A fault that is not ours meets the default action when its instruction is tried again. */
static void on_fault(int sig)
{
    if (back)
        siglongjmp(*back, 1);
    signal(sig, SIG_DFL);
}

bool feature_survives(void (*try)(void))
{
    static const int faults[] = { SIGILL, SIGSEGV };
    enum { N = sizeof faults / sizeof *faults };
    struct sigaction action = { .sa_handler = on_fault }, before[N];
    sigset_t open, blocked;
    sigjmp_buf here;
    sigemptyset(&open);
    for (int i = 0; i < N; i++) {
        sigaction(faults[i], &action, &before[i]);
        sigaddset(&open, faults[i]);
    }
    pthread_sigmask(SIG_UNBLOCK, &open, &blocked); /* blocked, a fault would end the process */
    volatile bool survives = false;
    if (sigsetjmp(here, 1) == 0) {
        back = &here;
        try();
        survives = true;
    }
    back = NULL;
    pthread_sigmask(SIG_SETMASK, &blocked, NULL);
    for (int i = 0; i < N; i++)
        sigaction(faults[i], &before[i], NULL);
    return survives;
}

#ifdef __x86_64__
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The instructions are spelled out, so that nothing else here is compiled for more than the
 * baseline; the lowest registers are enough to meet a unit that is missing or switched off. */
#define TRY(name, instruction) \
    static void try_##name(void) { __asm__ volatile(instruction "\n\tvzeroupper" ::: "xmm0"); }
TRY(AVX2, "vpaddd %%ymm0, %%ymm0, %%ymm0")
TRY(F16C, "vcvtph2ps %%xmm0, %%ymm0")
TRY(FMA, "vfmadd231ps %%ymm0, %%ymm0, %%ymm0")
TRY(AVX512F, "vpaddd %%zmm0, %%zmm0, %%zmm0")
TRY(AVX512BW, "vpaddb %%zmm0, %%zmm0, %%zmm0")
TRY(AVX512VL, "vpternlogd $255, %%ymm0, %%ymm0, %%ymm0")
TRY(AVX512VNNI, "vpdpbusd %%zmm0, %%zmm0, %%zmm0")
TRY(AVX512BF16, "vdpbf16ps %%zmm0, %%zmm0, %%zmm0")

/* Tiles of one row of four bytes. The configuration is an operand of 64 bytes, so that all of them
 * count as read. */
#define TRY_TILE(name, instruction) \
    static void try_##name(void) \
    { \
        static const uint8_t config[64] = { [0] = 1, [16] = 4, [18] = 4, [20] = 4, \
                                            [48] = 1, [49] = 1, [50] = 1 }; \
        __asm__ volatile("ldtilecfg %0\n\ttilezero %%tmm0\n\t" instruction "\n\ttilerelease" \
                         : \
                         : "m"(config)); \
    }
TRY_TILE(AMX_TILE, "")
TRY_TILE(AMX_BF16, "tdpbf16ps %%tmm2, %%tmm1, %%tmm0")
TRY_TILE(AMX_INT8, "tdpbusd %%tmm2, %%tmm1, %%tmm0")

enum cpuid_register { EAX, EBX, ECX, EDX };
/* Registers that the system must keep: bits of the extended control register 0. */
enum { YMM = 0x06, ZMM = 0xe6, TILES = 0x60000 };

static const struct {
    const char *name;
    int leaf, subleaf;
    enum cpuid_register where;
    int bit;
    uint32_t kept;
    void (*try)(void);
} table[FEATURE__COUNT] = {
#define ROW(id, name, ...) [FEATURE_##id] = { name, __VA_ARGS__, try_##id }
    ROW(AVX2, "avx2", 7, 0, EBX, 5, YMM),
    ROW(F16C, "f16c", 1, 0, ECX, 29, YMM),
    ROW(FMA, "fma", 1, 0, ECX, 12, YMM),
    ROW(AVX512F, "avx512f", 7, 0, EBX, 16, ZMM),
    ROW(AVX512BW, "avx512bw", 7, 0, EBX, 30, ZMM),
    ROW(AVX512VL, "avx512vl", 7, 0, EBX, 31, ZMM),
    ROW(AVX512VNNI, "avx512_vnni", 7, 0, ECX, 11, ZMM),
    ROW(AVX512BF16, "avx512_bf16", 7, 1, EAX, 5, ZMM),
    ROW(AMX_TILE, "amx_tile", 7, 0, EDX, 24, TILES),
    ROW(AMX_BF16, "amx_bf16", 7, 0, EDX, 22, TILES),
    ROW(AMX_INT8, "amx_int8", 7, 0, EDX, 25, TILES),
};

static uint64_t kept_registers(void)
{
    unsigned a, b, c, d;
    enum { OSXSAVE = 1 << 27 };
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & OSXSAVE))
        return 0;
    __asm__ volatile("xgetbv" : "=a"(a), "=d"(d) : "c"(0));
    return (uint64_t)d << 32 | a;
}

/* Linux gives the tiles' registers (number 18) to a process that asks, with arch_prctl; the stacks
 * of signal handlers must be large enough then. */
static bool may_use(uint32_t registers)
{
    enum { ARCH_REQ_XCOMP_PERM = 0x1023, TILE_DATA = 18 };
    return registers != TILES || syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, TILE_DATA) == 0;
}

static const char *find(enum feature f)
{
    unsigned r[4];
    if (!__get_cpuid_count((unsigned)table[f].leaf, (unsigned)table[f].subleaf, &r[EAX], &r[EBX],
                           &r[ECX], &r[EDX])
        || !(r[table[f].where] >> table[f].bit & 1))
        return "not in this CPU";
    if ((kept_registers() & table[f].kept) != table[f].kept)
        return "the system does not keep its registers";
    if (!may_use(table[f].kept))
        return "the system does not allow it";
    return feature_survives(table[f].try) ? NULL : "fails when tried";
}

const char *feature_name(enum feature f) { return table[f].name; }
#else
static const char *find(enum feature f)
{
    (void)f;
    return "not in this CPU";
}

const char *feature_name(enum feature f)
{
    (void)f;
    return "of another CPU";
}
#endif

static const char *missing[FEATURE__COUNT];

static void find_all(void)
{
    for (int f = 0; f < FEATURE__COUNT; f++)
        missing[f] = find((enum feature)f);
}

const char *feature_missing(enum feature f)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, find_all);
    return missing[f];
}

unsigned features_missing(unsigned set)
{
    unsigned out = 0;
    for (int f = 0; f < FEATURE__COUNT; f++)
        if (set >> f & 1 && feature_missing((enum feature)f))
            out |= 1u << f;
    return out;
}
