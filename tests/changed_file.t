#!/bin/sh
# SPDX-License-Identifier: MIT
# A model's file that is cut short or written to while it is open: every command that would read it
# is refused, with no figure, until it is closed; nothing is exported from it.
. "${QDB_TOP:-.}/tests/harness/tap.sh"

model=$QDB_TOP/tests/golden/models/llama-gqa-tied.gguf
cd "$tmp" || exit 99

# Commands on a copy of the model, going on after errors.
on_copy() {
    cp "$model" m.gguf
    capture "$QDB" -n -batch -k m.gguf "$@" </dev/null
}

errors() { printf '%s\n' "$err" | grep -c "^error: $1"; }

short='the file became shorter while it was open: its end reads as zeros . m\.gguf'
on_copy -ex 'shell truncate -s 20000 m.gguf' -ex 'summary **.weight' -ex 'summary **.weight' \
    -ex 'export gguf out.gguf' -ex 'export gguf out.gguf as Q8_0' -ex 'print a!blk.0.attn_q.weight[row=0]' \
    -ex 'quant blk.0.attn_q.weight q8_0' -ex 'diff m.gguf a' -ex 'echo on'
is "a file cut short: each command that reads it is refused" "$(errors "$short")" 7
like "and no other" "$out" '^on$'
unlike "no figure is shown" "$out" 'rms'
check "nothing is exported" test ! -e out.gguf
check "nor begun" test ! -e out.gguf.qdb-part

# In the last page of the file nothing faults.
size=$(($(wc -c <"$model") - 1))
on_copy -ex "shell truncate -s $size m.gguf" -ex 'summary **.weight'
is "one byte is enough" "$(errors "$short")" 1

on_copy -ex "shell cp '$QDB_TOP/tests/golden/models/gpt2.gguf' m.gguf; cp '$model' m.gguf" -ex 'info model'
is "a file written anew in its place" \
    "$(errors 'the file was written to while it was open: it may hold other numbers now . m\.gguf')" 1

on_copy -ex 'shell cp m.gguf new; mv new m.gguf; truncate -s 20000 m.gguf' -ex 'summary **.weight' \
    -ex 'export gguf out.gguf'
is "one that another took the place of is read on" "$status" 0
check "and exported" cmp out.gguf "$model"

on_copy -ex 'shell truncate -s 20000 m.gguf' -ex 'info model' -ex "shell cp '$model' m.gguf" \
    -ex 'info model' -ex close -ex 'open m.gguf' -ex 'summary **.weight'
is "closed and opened again it is a model like any other" "$(errors "$short")" 2
like "with its figures" "$out" 'rms'

cp "$model" ref.gguf
on_copy -ex 'ref ref.gguf' -ex 'shell truncate -s 20000 ref.gguf' -ex qerr -ex 'ref off' -ex 'info model'
like "the reference's file is looked at, too" "$err" '^error: the file became shorter.* ref\.gguf'
is "only as long as it is the reference" "$(errors .)" 1

finish
