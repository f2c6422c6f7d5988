#!/bin/sh
# SPDX-License-Identifier: MIT
# The examples that `help` shows run, each verb's in a session of its own: on the demo model, and on a
# quantized one what looks at codes.
. "${QDB_TOP:-.}/tests/harness/tap.sh"

"$QDB" -n -batch --demo >/dev/null 2>&1 || {
    skip "examples" "no demo model is built in"
    finish
    exit 0
}
# Files that examples name.
cd "$tmp" || exit 99
echo 'echo from a file' >session.qdb
echo 'Once upon a time there was a model, and it was small. It had four blocks.' >text.txt
"$QDB" -n -batch -ex 'manual examples' |
    awk '/^# / { file = "example." substr($0, 3); next } { print > file }'
for file in example.*; do
    verb=${file#example.}
    case $verb in
    tour) continue ;; # has a test of its own
    esac
    missing=
    for name in add sink; do
        grep -q "[-]-demo=$name" "$file" || continue
        "$QDB" -n -batch "--demo=$name" >/dev/null 2>&1 </dev/null || missing=$name
    done
    if [ -n "$missing" ]; then
        skip "help $verb" "the demo model $missing is not built in"
        continue
    fi
    capture "$QDB" -n -batch --demo -x "$file" </dev/null
    # 3: lint and diff may find something
    if [ "$status" = 0 ] || [ "$status" = 3 ]; then
        result yes "help $verb"
    else
        result no "help $verb" "status $status
$err"
    fi
done
finish
