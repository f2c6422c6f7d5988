/* SPDX-License-Identifier: MIT */
/* Features: what is tried may fault, and what the CPU does not report is not used. */
#include "tests/harness/unit.h"

#include <signal.h>
#include <string.h>

#include "kernels/feature.h"
#include "kernels/level.h"

static int done;

static void fine(void) { done++; }

static void illegal(void)
{
#if defined __x86_64__ || defined __i386__
    __asm__ volatile("ud2");
#else
    raise(SIGILL);
#endif
    done++;
}

static void wild(void)
{
    raise(SIGSEGV);
    done++;
}

static void faults_are_survived(void **state)
{
    (void)state;
    struct sigaction before, after;
    sigset_t blocked, now;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGILL); /* as in a thread that takes no signals */
    sigprocmask(SIG_BLOCK, &blocked, NULL);
    sigaction(SIGILL, NULL, &before);
    for (int i = 0; i < 3; i++) {
        done = 0;
        assert_false(feature_survives(illegal));
        assert_false(feature_survives(wild));
        assert_int_equal(done, 0);
        assert_true(feature_survives(fine));
        assert_int_equal(done, 1);
    }
    sigaction(SIGILL, NULL, &after);
    assert_true(before.sa_handler == after.sa_handler);
    sigprocmask(SIG_BLOCK, NULL, &now);
    assert_true(sigismember(&now, SIGILL) == 1 && sigismember(&now, SIGSEGV) == 0);
    sigprocmask(SIG_UNBLOCK, &blocked, NULL);
}

static void names_are_told_apart(void **state)
{
    (void)state;
    for (int f = 0; f < FEATURE__COUNT; f++) {
        const char *why = feature_missing((enum feature)f);
        assert_true(*feature_name((enum feature)f));
        assert_true(!why || *why);
        assert_int_equal(features_missing(1u << f), why ? 1u << f : 0);
    }
    assert_int_equal(features_missing(0), 0);
}

#ifdef __x86_64__
/* The compiler's own idea of the CPU, where it has one: nothing is used that it does not see. */
static void nothing_is_made_up(void **state)
{
    (void)state;
    assert_true(!feature_missing(FEATURE_AVX2) <= !!__builtin_cpu_supports("avx2"));
    assert_true(!feature_missing(FEATURE_FMA) <= !!__builtin_cpu_supports("fma"));
    assert_true(!feature_missing(FEATURE_AVX512F) <= !!__builtin_cpu_supports("avx512f"));
    assert_true(!feature_missing(FEATURE_AVX512VNNI) <= !!__builtin_cpu_supports("avx512vnni"));
}
#else
static void nothing_is_made_up(void **state)
{
    (void)state;
    assert_int_equal(features_missing((1u << FEATURE__COUNT) - 1), (1u << FEATURE__COUNT) - 1);
}
#endif

static void the_level_in_use_is_the_best_that_runs(void **state)
{
    (void)state;
    const struct level *best = NULL;
    assert_true(level_supported(level_at(0)));
    for (size_t i = 0; level_at(i); i++)
        if (level_supported(level_at(i)) && !(level_at(i)->slow && level_at(i)->slow()))
            best = level_at(i);
    assert_ptr_equal(level_now(), best);
    level_force(level_at(0));
    assert_ptr_equal(level_now(), level_at(0));
    level_force(NULL);
    assert_ptr_equal(level_now(), best);
}

UNIT_MAIN(CASE(faults_are_survived), CASE(names_are_told_apart), CASE(nothing_is_made_up),
          CASE(the_level_in_use_is_the_best_that_runs))
