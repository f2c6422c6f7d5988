#!/bin/sh
# SPDX-License-Identifier: MIT
# docs/commands.md and the manual page say what the tables of the program say; `make manual` writes them.
. "${QDB_TOP:-.}/tests/harness/tap.sh"

check "the manual is up to date (else: make manual)" sh "$QDB_TOP/docs/update.sh" --check "$QDB"
if command -v groff >/dev/null 2>&1; then
    is "the manual page has no errors" "$(groff -man -Tutf8 -ww "$QDB_TOP/man/qdb.1" 2>&1 >/dev/null)" ""
else
    skip "the manual page has no errors" "groff is missing"
fi
missing=
for option in $("$QDB" --help | grep -oE '^ +--?[a-z]+' | tr -d -); do
    grep -qE "^\.[BI]+R? .*\\\\-$option\\b" "$QDB_TOP/man/qdb.1" || missing="$missing $option"
done
is "the manual page has all options" "$missing" ""
finish
