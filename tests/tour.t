#!/bin/sh
# SPDX-License-Identifier: MIT
# The guided tour as a user sees it. What it claims is checked in tests/unit/test_tour.c.
. "${QDB_TOP:-.}/tests/harness/tap.sh"

"$QDB" -n -batch --demo=add -ex 'open --demo=sink' >/dev/null 2>&1 || {
    skip "tour" "the demo models are not built in"
    finish
    exit 0
}
NO_COLOR=1
export NO_COLOR
capture "$QDB" -n </dev/null
is "without arguments and input the tour is shown" "$status $err" "0 "
tour=$out
lines=$(printf '%s\n' "$tour" | wc -l)
check "it has at most 170 lines ($lines)" test "$lines" -le 170
check "and more than 80" test "$lines" -gt 80
unlike "none is wider than 80 columns" "$tour" '.{81}'
for word in 'open --demo' 'prompt "' run reverse-step continue topk lens outliers entropy attn 'task add'; do
    like "it shows $word" "$tour" "^\(qdb\) $word"
done
unlike "nothing failed" "$tour" '^error|\(none\)'
capture "$QDB" -n -batch -ex tour
is "tour is a command" "$status $err" "0 "
# The speed is of this moment.
is "which shows the same" "$(printf '%s\n' "$out" | sed '/^speed /d')" "$(printf '%s\n' "$tour" | sed '/^speed /d')"
capture "$QDB" -n -batch --output json -ex tour
is "as json it ends well" "$status $err" "0 "
unlike "and every line is an object" "$(printf '%s\n' "$out" | grep -v '^{.*}$')" .
finish
