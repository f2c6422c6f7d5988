#!/bin/sh
# SPDX-License-Identifier: MIT
# The verbs of files when what they are given is wrong: open, close, use, lint, diff.
. "${QDB_TOP:-.}/tests/harness/tap.sh"

NO_COLOR=1
export NO_COLOR
models=$QDB_TOP/tests/golden/models
cp "$models/llama-gqa-tied.gguf" "$tmp/one.gguf"
cp "$models/llama-gqa-tied-q4_0.gguf" "$tmp/two.gguf"
cd "$tmp" || exit 99

# refuses COMMAND MESSAGE COLUMN LENGTH [HINT]: in text the caret is under the word, in json the
# same message stands in `error`; nothing goes to standard output, and the status is 1
refuses() {
    capture "$QDB" -n -q -batch -ex "$1" one.gguf </dev/null
    line=$(printf '  %s\n  %*s^' "$1" "$3" '')
    [ "$4" = 1 ] || line=$line$(printf '%*s' $(($4 - 1)) '' | tr ' ' '~')
    is "text: $1" "$status|$out|$err" "1||error: $2
$line${5:+
$5}"
    capture "$QDB" -n -q -batch --output json -ex "$1" one.gguf </dev/null
    is "json: $1" "$status $out" "1 $(printf '{"command": "%s", "status": "error", "tables": [], %s' \
        "$1" "\"notes\": [], \"error\": {\"message\": \"${2%% — *}\", \"where\": \"$(
            case $2 in *' — '*) printf %s "${2##* — }" ;; esac)\", \"hint\": \"${5-}\"}}")"
}
missing='the file cannot be opened: No such file or directory — no.gguf'
refuses 'open' 'which file?' 4 1
refuses 'open no.gguf' "$missing" 5 7
refuses 'open one.gguf as' 'expected `as NAME`' 14 2
refuses 'close x' 'no model `x`' 6 1 '`info models` lists them'
refuses 'close a b' 'one model at a time' 8 1
refuses 'use' 'use which run or model?' 3 1
refuses 'use a b' 'one run or model' 6 1
refuses 'use xyz' 'no run or model `xyz`' 4 3 '`info runs` and `info models` list them'
refuses 'lint no.gguf' "$missing" 5 7
refuses 'lint a b' 'one file or model at a time' 7 1
refuses 'diff' 'expected two files or models' 4 1
refuses 'diff no.gguf' "$missing" 5 7
refuses 'diff a no.gguf' "$missing" 7 7
refuses 'diff a b c' 'expected two files or models' 9 1

# Nothing is open: the verb is what cannot be done.
for verb in close lint 'diff x'; do
    capture "$QDB" -n -q -batch -ex "$verb" </dev/null
    like "without a model: $verb" "$err" '^  \^~*$'
    is "and it fails: $verb" "$status" 1
done

# What is found is no failure: status 3, and json says so.
capture "$QDB" -n -q -batch -ex 'diff two.gguf' one.gguf </dev/null
is "diff finds differences" "$status" 3
capture "$QDB" -n -q -batch --output json -ex 'diff two.gguf' one.gguf </dev/null
like "and says so" "$out" '"status": "found"'
capture "$QDB" -n -q -batch --output json -ex 'diff one.gguf' one.gguf </dev/null
is "none between a file and itself" "$status" 0
like "and says so, too" "$out" '"status": "ok", .*"0 keys differ, '
capture "$QDB" -n -q -batch -ex 'lint one.gguf' </dev/null
like "lint counts" "$out" '^0 errors, 0 warnings, 1 note$'
head -c 40000 one.gguf >cut.gguf
capture "$QDB" -n -q -batch -ex 'lint cut.gguf' </dev/null
is "a cut file is found" "$status" 3

finish
