#!/bin/sh
# SPDX-License-Identifier: MIT
# Bring the list of commands in the manual up to date with the tables of the program QDB:
#   docs/update.sh QDB            write docs/commands.md and the sections of man/qdb.1
#   docs/update.sh --check QDB    change nothing, fail when they differ
set -eu
top=$(cd "$(dirname "$0")/.." && pwd)
check=
if [ "${1:?docs/update.sh [--check] QDB}" = --check ]; then
    check=yes
    shift
fi
new=$(mktemp -d)
trap 'rm -rf "$new"' EXIT
"$1" -n -batch -ex 'manual markdown' >"$new/commands.md"
"$1" -n -batch -ex 'manual roff' >"$new/roff"
# The sections COMMANDS and SETTINGS lie between two marks.
awk -v part="$new/roff" '
    /^\.\\" COMMANDS:/ { print; while ((getline line < part) > 0) print line; skip = 1; next }
    /^\.SH EXIT STATUS/ { skip = 0 }
    !skip { print }' "$top/man/qdb.1" >"$new/qdb.1"
for file in docs/commands.md man/qdb.1; do
    if [ -n "$check" ]; then
        diff -u "$top/$file" "$new/$(basename "$file")"
    else
        cmp -s "$top/$file" "$new/$(basename "$file")" || cp "$new/$(basename "$file")" "$top/$file"
    fi
done
