#!/bin/sh
# SPDX-License-Identifier: MIT
# What the README shows is what the program does, and the manual lists the commands it has.
# After a change: docs/session.sh QDB README.md >new && mv new README.md; docs/update.sh QDB
. "${QDB_TOP:-.}/tests/harness/tap.sh"

if "$QDB" -n -batch --demo -ex 'info model' >/dev/null 2>&1; then
    sh "$QDB_TOP/docs/session.sh" "$QDB" "$QDB_TOP/README.md" >"$tmp/README.md" 2>"$tmp/err"
    is "every command of the README works" "$?$(cat "$tmp/err")" 0
    check "and answers as the README says" diff -u "$QDB_TOP/README.md" "$tmp/README.md"
    # Its commands of the shell.
    awk '/^```/ { block = !block } block && sub(/^qdb /, "\"$QDB\" -n ")' "$QDB_TOP/README.md" >"$tmp/commands"
    check "there are some" test -s "$tmp/commands"
    capture sh -ec "cd '$tmp' && . ./commands" # they write files
    is "which work" "$status$err" 0
    like "and answer as asked" "$out" '^\{"command": "task add 500", "status": "ok"'
else
    skip "the README" "no demo model is built in"
fi
check "the manual is up to date" sh "$QDB_TOP/docs/update.sh" --check "$QDB"
finish
