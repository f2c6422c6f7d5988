#!/bin/sh
# SPDX-License-Identifier: MIT
# Importance matrices on the command line: collected, written in both forms, read, compared.
. "${QDB_TOP:-.}/tests/harness/tap.sh"

qdb() { capture "$QDB" -n --demo -batch "$@" </dev/null; }
yes 'memi nade ditto nade Tom pola Ivo' | head -n 16 >"$tmp/text"

qdb -ex "imatrix collect $tmp/text ctx 8 chunks 3 to $tmp/a.gguf" -ex "imatrix save $tmp/a.dat" \
    -ex 'imatrix show'
is "collects" "$status$err" 0
like "so many chunks" "$out" '^chunks +3'
entries=$(printf '%s\n' "$out" | sed -n 's/^entries  *\([0-9]*\).*/\1/p' | head -n 1)
like "of every matrix of the blocks" "$out" '^blk\.0\.ffn_down\.weight +ok .* 24 +24$'
like "says what a missing entry blocks" "$out" 'no entry: iq1_s'
qdb -ex "imatrix load $tmp/a.dat" -ex "imatrix save $tmp/b.dat" -ex "imatrix load $tmp/a.gguf" \
    -ex "imatrix save $tmp/b.gguf" -ex "imatrix diff $tmp/b.gguf"
is "reads both" "$status$err" 0
check "the older form again, byte for byte" cmp "$tmp/a.dat" "$tmp/b.dat"
check "and GGUF" cmp "$tmp/a.gguf" "$tmp/b.gguf"
qdb -ex "imatrix merge $tmp/a.gguf $tmp/b.gguf to $tmp/c.gguf" -ex "imatrix diff $tmp/a.gguf"
like "twice the same has the same means" "$out" '^0 of [0-9]+ entries differ'
qdb -ex "imatrix collect $tmp/text ctx 8" -ex "imatrix diff $tmp/a.gguf $tmp/a.dat" \
    -ex "imatrix diff $tmp/a.gguf"
is "other text: others" "$status" 3

# What weighed the encoders is in the file that is exported.
kv() { capture "$QDB" -n -batch "$1" -ex 'info kv' </dev/null; }
qdb -ex "imatrix load $tmp/a.gguf" -ex 'quant ** q4_0' -ex 'imatrix off' \
    -ex "export gguf $tmp/w.gguf" -ex 'quant ** q8_0' -ex "export gguf $tmp/n.gguf" \
    -ex 'undo' -ex "imatrix load $tmp/a.dat" -ex 'quant blk.0.ffn_down.weight q5_0' \
    -ex "export gguf $tmp/v.gguf"
is "exports weighted encodings" "$status$err" 0
kv "$tmp/w.gguf"
like "the matrix, also when it is gone since" "$out" '^quantize\.imatrix\.file +string +"a\.gguf"'
like "its text" "$out" '^quantize\.imatrix\.dataset +string +".*text"'
like "its entries" "$out" "^quantize\\.imatrix\\.entries_count +u32 +$entries\$"
like "its chunks" "$out" '^quantize\.imatrix\.chunks_count +u32 +3$'
kv "$tmp/n.gguf"
unlike "none where other changes weigh nothing" "$out" 'quantize\.imatrix'
kv "$tmp/v.gguf"
like "of two the later one" "$out" '^quantize\.imatrix\.file +string +"a\.dat"'
capture "$QDB" -n -batch "$tmp/w.gguf" -ex 'quant ** q4_1' -ex "export gguf $tmp/x.gguf" </dev/null
kv "$tmp/x.gguf"
like "keys of the file stay when nothing was weighed" "$out" '"a\.gguf"'

for words in show save 'save x' 'load' 'load x y' "load $tmp/text" 'merge x to y' \
    "merge $tmp/a.gguf $tmp/b.gguf to" 'diff' "diff $tmp/a.gguf" 'collect' 'collect nothing' \
    "collect $tmp/text ctx 0" "collect $tmp/text to" 'collect to x' 'off now' 'else'; do
    qdb -ex "imatrix $words"
    is "imatrix $words: refused" "$status" 1
done
capture "$QDB" -n -batch -ex "imatrix show $tmp/a.gguf" </dev/null
is "shown without a model" "$status" 0

capture "$QDB" -n -batch -ex "imatrix show $QDB_TOP/tests/fuzz/corpus/imatrix/gguf" </dev/null
like "experts without a count are listed" "$out" '^w +ok +2 +3 +2 +[0-9]+ +0 +2 +[0-2]$'

finish
