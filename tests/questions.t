#!/bin/sh
# SPDX-License-Identifier: MIT
# `task FILE`: answers of the adding model, what a change does to them, and bad files.
. "${QDB_TOP:-.}/tests/harness/tap.sh"

"$QDB" -n -batch --demo=add </dev/null >/dev/null 2>&1 || {
    skip "questions" "the demo model add is not built in"
    finish
    exit 0
}
qdb() { capture "$QDB" -n --demo=add -batch "$@" </dev/null; }

# Sums whose digits read the same from both ends: exact ones, a wrong one, and choices.
cat >"$tmp/q.jsonl" <<'END'
{"prompt": "12345+54321=", "answer": "66666"}
{"prompt": "11111+22222=", "answer": "33333"}
{"prompt": "22222+33333=", "answer": "55556"}
{"prompt": "11111+22222=", "choices": ["22222", "33333", "44444"], "answer": 1}
{"prompt": "11111+22222=", "choices": ["22222", "33333"], "answer": "22222"}
END
qdb -ex "task $tmp/q.jsonl"
is "answers questions" "$status$err" 0
like "three of five are right" "$out" '^accuracy +0?\.6'
unlike "nothing to compare with" "$out" 'mcnemar +[0-9]'
{ printf '\n \n' && cat "$tmp/q.jsonl"; } >"$tmp/sums.txt"
qdb -ex "task $tmp/sums.txt"
like "whatever the file is called" "$out" '^accuracy +0?\.6'
qdb -ex 'skip blk.0' -ex "task $tmp/q.jsonl"
like "under a change" "$out" '^ref_accuracy +0?\.6'
like "what was right is wrong" "$out" '^to_wrong +[1-3]$'
like "and is listed by its line" "$out" '^ +1 +wrong +12345\+54321='
like "with the reference named" "$out" 'reference = this file as opened'
echo '{"prompt": "1"}' >"$tmp/bad.jsonl"
qdb -ex "task $tmp/bad.jsonl"
like "a bad line is named" "$err" 'line 1: no "answer"'
printf 'prompt,answer\n1+1=,2\n' >"$tmp/sums.jsonl"
qdb -ex "task $tmp/sums.jsonl"
is "a file of another kind: one error" "$(printf '%s\n' "$err" | grep -c '^error')" 1
like "which says so" "$err" 'no questions'
for words in 'nothing.jsonl' "$tmp/q.jsonl 5" 'nothing'; do
    qdb -ex "task $words"
    is "task $words: refused" "$status" 1
done

finish
