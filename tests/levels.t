#!/bin/sh
# SPDX-License-Identifier: MIT
# Kernel levels on CPUs that lack some: the best one there is used, and no instruction of a better one
# is met anywhere; every level gives the same numbers, and passes a part of its proof.
. "${QDB_TOP:-.}/tests/harness/tap.sh"

kern=${QDB%/qdb}/tests/kern/kern
model=$QDB_TOP/tests/golden/models/llama-gqa-tied-q4_0.gguf
run() {
    "$@" -n -batch --output json "$model" -ex 'prompt -t 1,5,17,200,3,42' -ex run \
        -ex 'gen 20 ignore-end' 2>/dev/null | tail -n 2
}

if ! command -v qemu-x86_64 >/dev/null 2>&1; then
    skip "older CPUs" "qemu-x86_64 is missing"
elif grep -q __asan_init "$QDB"; then
    skip "older CPUs" "the address sanitizer does not run in qemu-x86_64"
elif ! qemu-x86_64 -cpu Haswell "$QDB" --version >/dev/null 2>&1; then
    skip "older CPUs" "qemu-x86_64 does not run this program"
else
    want=$(run "$QDB" --kernels c)
    like "numbers to compare" "$want" '"command": "gen'
    for cpu in Nehalem:c Haswell:avx2; do
        level=${cpu#*:}
        cpu=${cpu%:*}
        capture qemu-x86_64 -cpu "$cpu" "$QDB" -n -batch -ex 'info kernels'
        like "$cpu takes $level" "$out" "^$level +in use"
        is "$cpu gives the same numbers" "$(run qemu-x86_64 -cpu "$cpu" "$QDB")" "$want"
        capture qemu-x86_64 -cpu "$cpu" "$QDB" -n -batch --kernels avx512 -ex 'info kernels'
        is "$cpu cannot be made to use what it lacks" "$status" 1
        like "and is told why" "$err" 'level avx512 \(not in this CPU: .*avx512_vnni\)'
        like "and what else there is" "$err" "^choose auto(, [a-z0-9]+)*, $level\$"
        QDB_KERNELS=avx512 capture qemu-x86_64 -cpu "$cpu" "$QDB" -n -batch -ex 'info kernels'
        is "not by the environment either" "$status" 1
        # What the level below has shown already is not shown again.
        capture qemu-x86_64 -cpu "$cpu" "$kern" --trials 10 --level "$level"
        result "$([ "$status" = 0 ] && echo yes || echo no)" \
            "the kernels of $level on $cpu: $(printf '%s\n' "$out" | grep -c '^ok ')" \
            "$(printf '%s\n' "$out" | grep -v '^ok ')"
        unlike "and none is left out that the level has" \
            "$(printf '%s\n' "$out" | grep -v 'the level has no kernel')" SKIP
    done
fi
finish
