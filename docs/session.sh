#!/bin/sh
# SPDX-License-Identifier: MIT
# Play the sessions of a Markdown file again: docs/session.sh QDB FILE [ARGS]
# Writes FILE to standard output with every answer as the program QDB gives it now. A session is a
# fenced block of lines "(qdb) COMMAND" and their answers; all of them are one run of `QDB ARGS`
# (default: the demo model). Status 1 if a command failed; that one found something is no failure.
set -eu
qdb=$1
file=$2
shift 2
[ $# -gt 0 ] || set -- --demo
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

awk '/^```/ { block = !block; next }
     block && /^\(qdb\) / { print "echo @@@"; print substr($0, 7) }' "$file" >"$work/commands"
status=0
"$qdb" -n -batch "$@" -x "$work/commands" >"$work/answers" || [ $? = 3 ] || status=1
# Lines up to the first mark come from opening the model; then one answer after each mark.
awk -v answers="$work/answers" '
    function answer(line) {
        while (more > 0 && (more = (getline line < answers)) > 0 && line != "@@@")
            if (shown)
                print line
    }
    BEGIN { more = 1; shown = 0; answer(); shown = 1 }
    /^```/ { block = !block; session = 0 }
    block && /^\(qdb\) / { session = 1; print; answer(); next }
    !session { print }' "$file"
exit "$status"
