#!/bin/sh
# SPDX-License-Identifier: MIT
# Sum test results: sum.sh BROKEN DIR...
# Counts the .trs files that automake's TAP driver leaves under each DIR, shows what did not pass, and
# ends with the line "N passed, M failed, K skipped". BROKEN is the number of builds or runs that make
# called a failure: it counts when no single test explains it. Status 0 only if nothing failed.
set -eu

broken=$1
shift
list=$(find "$@" -name '*.trs' 2>/dev/null | LC_ALL=C sort)

for trs in $list; do
    log=${trs%.trs}.log
    grep -h '^SKIP: ' "$log" || true
    if grep -Eq '^:test-result: (FAIL|XPASS|ERROR)' "$trs"; then
        echo "failed, from $log:"
        grep -Ev '^(ok |PASS: )' "$log" | tail -n 60 | sed 's/^/    /'
    fi
done

# shellcheck disable=SC2086 # file names of our own, without blanks
cat /dev/null $list | awk -v broken="$broken" '
    $1 != ":test-result:" { next }
    $2 == "PASS" || $2 == "XFAIL" { passed++; next }
    $2 == "SKIP" { skipped++; next }
    { failed++ }
    END {
        if (failed < broken)
            failed = broken
        if (!passed && !failed)
            failed = 1 # nothing ran
        printf "%d passed, %d failed, %d skipped\n", passed, failed, skipped
        exit failed > 0
    }'
