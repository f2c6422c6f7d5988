#!/bin/sh
# SPDX-License-Identifier: MIT
# Run one test (a program, or a .t script) for the TAP driver: run.sh TEST
# A test that hangs is ended and so fails. cmocka 1.1 writes a skipped case as "not ok N # SKIP name",
# which the driver would count as failed: it becomes "ok N - name # SKIP reason".
set -u

case $1 in
*.t) set -- "${SHELL:-/bin/sh}" "$1" ;;
esac
if command -v timeout >/dev/null 2>&1; then
    set -- timeout "${QDB_TEST_TIMEOUT:-600}" "$@"
fi

out=$(mktemp) || exit 99
trap 'rm -f "$out"' EXIT
trap 'exit 99' HUP INT TERM
"$@" >"$out" </dev/null
status=$?
LC_ALL=C awk '
    /^# skip: / { reason = substr($0, 9) }
    /^not ok [0-9]+ # SKIP/ {
        name = $0
        sub(/^not ok [0-9]+ # SKIP */, "", name)
        print "ok " $3 " - " name " # SKIP " reason
        reason = ""
        next
    }
    { print }' "$out"
exit "$status"
