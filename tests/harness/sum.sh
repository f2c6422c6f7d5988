#!/bin/sh
# SPDX-License-Identifier: MIT
# Sum test results: sum.sh BROKEN DIR...
# Reads the .trs files that automake's TAP driver leaves under each DIR, names what did not pass, and
# ends with the line "N passed, M failed, K skipped". BROKEN is the number of builds or runs that make
# called a failure: it counts when no single test explains it. Status 0 only if nothing failed.
set -eu

broken=$1
shift
find "$@" -name '*.trs' 2>/dev/null | LC_ALL=C sort | {
    passed=0 failed=0 skipped=0
    while read -r trs; do
        log=${trs%.trs}.log
        bad=0
        while read -r key result name; do
            [ "$key" = :test-result: ] || continue
            case $result in
            PASS | XFAIL) passed=$((passed + 1)) ;;
            SKIP)
                skipped=$((skipped + 1))
                echo "SKIP: ${trs%.trs}: $name"
                ;;
            *)
                bad=$((bad + 1))
                echo "$result: ${trs%.trs}: $name"
                ;;
            esac
        done <"$trs"
        failed=$((failed + bad))
        [ "$bad" = 0 ] || tail -n 40 "$log" | sed 's/^/    /'
    done
    [ "$failed" -ge "$broken" ] || failed=$broken
    [ $((passed + failed)) -gt 0 ] || failed=1 # no test ran at all
    echo "$passed passed, $failed failed, $skipped skipped"
    [ "$failed" = 0 ]
}
