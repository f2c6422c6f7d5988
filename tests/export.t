#!/bin/sh
# SPDX-License-Identifier: MIT
# Export on the command line: a copy, parts, full disks, and words that make no sense.
. "${QDB_TOP:-.}/tests/harness/tap.sh"

qdb() { capture "$QDB" -n --demo -batch "$@" </dev/null; }

qdb -ex "export gguf $tmp/copy.gguf" -ex "diff $tmp/copy.gguf"
is "a copy has no differences" "$status$err" 0
like "and says so" "$out" '^0 keys differ, .* 0 of [0-9]+ tensors differ'
size=$(printf '%s\n' "$out" | sed -n 's/^bytes  *\([0-9]*\) B$/\1/p')
is "its size is as said" "$(wc -c <"$tmp/copy.gguf" | tr -d ' ')" "$size"
is "and nothing else is left" "$(ls "$tmp")" copy.gguf

qdb -ex "export gguf $tmp/cut.gguf split 2M" -ex "diff $tmp/cut-00001-of-00002.gguf"
like "parts hold the same tensors" "$out" '^3 keys differ, .* 0 of [0-9]+ tensors differ'

qdb -ex "export gguf /dev/full"
is "a full disk" "$status" 1
like "is said" "$err" 'No space left.*/dev/full'
qdb -ex "export gguf $tmp/no/such/folder.gguf"
is "a folder that is not there" "$status" 1
mkdir "$tmp/folder"
qdb -ex "export gguf $tmp/folder"
like "a folder" "$err" 'is a directory'
lines="$tmp/two
lines.gguf"
qdb -ex "export gguf \"$tmp/two\\nlines.gguf\""
is "a name of two lines" "$status$err" 0
is "is a name" "$(cksum <"$lines")" "$(cksum <"$tmp/copy.gguf")"
qdb -ex 'prompt "kalo" > /dev/null' -ex 'skip blk.0' -ex "export gguf $tmp/copy.gguf"
is "changes of activations are refused" "$status" 1
like "with what to undo" "$err" 'undo change 1'
qdb -ex 'plan stock Q4_K_M' -ex "export gguf $tmp/held.gguf"
qdb -ex 'quant ** q8_0' -ex "export gguf $tmp/streamed.gguf as Q4_K_M"
check "weights encoded as they are written give the file of the plan" \
    cmp "$tmp/held.gguf" "$tmp/streamed.gguf"
qdb --mem 1M -ex 'plan stock Q4_K_M' -ex "export gguf $tmp/mapped.gguf" -ex 'info memory'
check "what does not fit in memory lies on the disk" cmp "$tmp/held.gguf" "$tmp/mapped.gguf"
like "and is counted apart" "$out" '^mapped +[0-9]{6,} +weights in other formats'
qdb --mem 1M -ex "export gguf $tmp/small.gguf as Q4_K_M"
check "but written" cmp "$tmp/held.gguf" "$tmp/small.gguf"
qdb -ex 'quant blk.0.** q5_k' -ex "plan save $tmp/a.plan" -ex undo -ex "export gguf $tmp/a.gguf as $tmp/a.plan" \
    -ex "plan infer $tmp/a.gguf" -ex "plan diff $tmp/a.plan now" -ex 'info changes'
is "a saved plan likewise" "$status" 0
qdb -ex 'quant blk.0.attn_q.weight int3:g32' -ex "plan save $tmp/b.plan" -ex "export gguf $tmp/b.gguf as $tmp/b.plan"
like "what no file holds is refused" "$err" 'blk.0.attn_q.weight would be int3:g32, which no file holds'
qdb -ex 'quant blk.0.ffn_norm.out int8' -ex "plan save $tmp/c.plan" -ex "export gguf $tmp/c.gguf as $tmp/c.plan"
like "rounded activations too" "$err" 'rounds activations'
qdb -ex "export gguf $tmp/d.gguf as nothing"
like "a plan that is not there" "$err" 'no plan .nothing'
own=$tmp/own.gguf
qdb -ex "export gguf $own"
before=$(cksum <"$own")
capture "$QDB" -n -batch "$own" -ex 'quant ** q8_0' -ex "export gguf $tmp/../${tmp##*/}/own.gguf" </dev/null
is "the file of an open model is not replaced" "$status $(cksum <"$own")" "1 $before"
like "and it is said" "$err" 'is open here'
for words in '' 'gguf' 'gguf x split' 'gguf x split 0' 'gguf x split nothing' 'gguf x y' 'npy x'; do
    qdb -ex "export $words"
    is "export $words: refused" "$status" 1
done
capture "$QDB" -n -batch -ex 'export gguf x'
like "without a model" "$err" 'no model'

# Log-probabilities to a file, and against it.
yes 'memi nade ditto nade Tom pola Ivo' | head -n 16 >"$tmp/text"
qdb -ex "ppl $tmp/text ctx 8 chunks 4 save $tmp/base" -ex "kl base $tmp/base"
is "a base file is written and read" "$status$err" 0
like "with its chunks" "$out" '^chunks +4$'
like "the model agrees with itself" "$out" '^same top, % +100(\.0*)? '
qdb -ex "kl base $tmp/text"
like "another file is refused" "$err" 'no file of log-probabilities'
qdb -ex "ppl $tmp/text save"
is "save without a file" "$status" 1

finish
