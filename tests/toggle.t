#!/bin/sh
# SPDX-License-Identifier: MIT
# docs/toggling-formats.md: fewer bits, where they are missed, and the file that comes of it.
. "${QDB_TOP:-.}/tests/harness/tap.sh"

NO_COLOR=1
export NO_COLOR
page=$QDB_TOP/docs/toggling-formats.md
case $QDB_TOP in /*) ;; *) page=$PWD/$page ;; esac
awk '!/^#/ { print $1 "+" $2 "=" $3 }' "$QDB_TOP/tests/golden/add_sums.txt" >"$tmp/sums.txt"
script=$(cd "$QDB_TOP" && pwd)/docs/session.sh
case $QDB in /*) ;; *) QDB=$PWD/$QDB ;; esac
cd "$tmp" || exit 99
# The portable kernels give the same digits on every machine.
sh "$script" "$QDB" "$page" --kernels c --demo=add >played 2>err
is "every command of the page works" "$?$(cat err)" 0
check "and answers as the page says" diff -u "$page" played
is "the file is as large as foretold" "$(wc -c <small.gguf)" \
    "$(sed -n 's/.* file [0-9]* -> \([0-9]*\) B.*/\1/p' "$page" | tail -n 1)"

finish
