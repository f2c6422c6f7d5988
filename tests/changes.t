#!/bin/sh
# SPDX-License-Identifier: MIT
# Tensor edits on the demo model: what is shown, journalled, taken back and refused.
. "${QDB_TOP:-.}/tests/harness/tap.sh"

NO_COLOR=1
export NO_COLOR
qdb() { capture "$QDB" -n --demo -batch "$@" </dev/null; }
prompt='prompt "kalo" > /dev/null'

qdb -ex "$prompt" -ex 'run > /dev/null' -ex 'set tensor blk.0.out[tok=-1] = *2' -ex 'info changes'
is "a change is made" "$status$err" 0
like "under a number, with the command that makes it" "$out" \
    '^1 +set tensor blk\.0\.out\[tok=-1\] = \*2 +1 point +1 run'
like "and says where the run is now" "$out" 'run main is back at s0:blk\.0\.ffn_down\.out'
like "and is listed" "$out" '^ +1 +set tensor blk\.0\.out\[tok=-1\] = \*2 +1 +1 '

# A glob with one star too few.
qdb -ex 'quant blk.0.* q8_0' -ex 'quant blk.0.*.out q8_0' -ex 'quant blk.1.** q8_0'
like "activations are called so" "$out" '^activations of 2 points .blk\.0\.mid, .*and no weight$'
is "and which weights may have been meant" \
    "$(printf '%s\n' "$out" | grep -c '^.quant blk\.[01]\.\*\*. would be about 7 weights')" 1

# Out to a file and in again: the point of one prompt in the place of another's.
qdb -ex 'prompt "kalo" > /dev/null' -ex run -ex "dump blk.1.out $tmp/clean.npy"
clean=$(printf '%s\n' "$out" | grep '^end')
qdb -ex 'prompt "kala" > /dev/null' -ex "set tensor blk.1.out = file $tmp/clean.npy" -ex run
is "a file gives the values" "$(printf '%s\n' "$out" | grep '^end')" "$clean"
qdb -ex "set tensor blk.1.attn.z = file $tmp/clean.npy"
is "of another shape: refused" "$status" 1
like "with both shapes" "$err" 'the shapes differ'

qdb -ex "$prompt" -ex 'skip blk.1' -ex 'skip blk.0.attn' -ex run -ex 'print blk.1.out - blk.0.out' \
    -ex 'undo 2' -ex 'info changes' --output json
is "changes are taken back" "$(printf '%s\n' "$out" | tail -n 1 | grep -c '"rows": *\[\]')" 1
qdb -ex "$prompt" -ex 'run > /dev/null' -ex 'checkpoint here' -ex 'ablate embd.out[chan=0]' \
    -ex 'goto here'
like "a checkpoint behind a change is stale" "$out" '^here is stale'

qdb -ex "$prompt" -ex 'set tensor blk.0.out[tok=99] = 0'
is "a slice out of range" "$status" 1
like "is pointed at" "$err" '^ +\^~+$'
qdb -ex "$prompt" -ex 'run > /dev/null' -ex 'prompt "kala" > /dev/null' \
    -ex 'patch blk.0.out from nobody'
like "a run that is not there" "$err" 'no run `nobody`'
qdb -ex "$prompt" -ex 'prompt "kala" as b > /dev/null' -ex 'patch blk.0.out from main'
like "a run that has not come there" "$err" 'has not been computed yet'
yes 'memi nade ditto nade Tom pola Ivo' | head -n 8 >"$tmp/text"
qdb -ex "ppl $tmp/text ctx 8"
plain=$(printf '%s\n' "$out" | grep '^perplexity')
qdb -ex 'skip blk.0' -ex "ppl $tmp/text ctx 8"
skipped=$(printf '%s\n' "$out" | grep '^perplexity')
check "a measurement goes under the changes" test "$plain" != "$skipped"
qdb -ex 'set tensor blk.0.out[tok=1] = zero' -ex "ppl $tmp/text ctx 8"
like "those of single tokens are left out, and it says so" "$out" '1 change of tokens of a prompt'
is "and it is as without" "$(printf '%s\n' "$out" | grep '^perplexity')" "$plain"
qdb -ex "undo"
is "nothing to undo" "$status" 1

# Weights are edited too: the numbers that are there now, for every run of the model.
w=blk.1.ffn_up.weight
qdb -ex "set tensor ${w}[row=2] = zero" -ex "set tensor ${w}[row=3, col=4] = 7" \
    -ex "print ${w}[row=1:4, col=4]" --output csv
like "one row is zero" "$out" '^2,0$'
like "one element is set" "$out" '^3,7$'
unlike "the others stay" "$out" '^1,[07]$'
qdb -ex "$prompt" -ex 'run > /dev/null' -ex "set tensor ${w}[row=2] = zero" -ex 'run > /dev/null' \
    -ex 'print absmax(blk.1.ffn_up.out[chan=2])'
like "what the row gives is zero" "$out" '^\$1 .*[ =]0$'
qdb -ex "set tensor $w = *2" -ex "summary $w" -ex "set tensor $w = *0.5" -ex "qerr $w by tensor" \
    -ex undo -ex undo -ex "summary $w" --output csv
like "twice and half is the weight again" "$out" "^$w,f32,f16,inf,0,"
like "undone it is the file's" "$out" "^$w,f16,"
qdb -ex "set tensor ${w}[row=999999] = 0"
is "a row that is not there" "$status" 1
qdb -ex "set tensor blk.1.attn_norm.weight = +0.5" -ex 'summary blk.1.attn_norm.weight' --output csv
like "gains as well" "$out" '^blk.1.attn_norm.weight,f32,'
qdb -ex "$prompt" -ex "ablate $w"
like "ablate is for points" "$err" 'is a weight; this changes points'

# Weights are looked at as the plan has them.
w=blk.0.attn_q.weight
qdb -ex "quant $w int3:g32" -ex 'qerr by tensor' --output csv
like "qerr judges the plan against the file" "$out" "^$w,int3:g32,f16,[0-9.]*,"
is "and that alone" "$(printf '%s\n' "$out" | grep -c ',f16,f16,')" 0
qdb -ex "quant $w q4_0" -ex "summary $w" -ex undo -ex "summary $w" --output csv
is "summary shows what stands for a weight, and the weight again after undo" \
    "$(printf '%s\n' "$out" | sed -n "s/^$w,\([a-z0-9_]*\),.*/\1/p" | tr '\n' ' ')" "q4_0 f16 "
qdb -ex "quant $w q4_0" -ex "block ${w}[row=0, blkq=0]"
like "so does block" "$out" '^format +q4_0'

finish
