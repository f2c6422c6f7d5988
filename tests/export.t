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
qdb -ex 'prompt "kalo" > /dev/null' -ex 'skip blk.0' -ex "export gguf $tmp/copy.gguf"
is "changes of activations are refused" "$status" 1
like "with what to undo" "$err" 'undo 1'
for words in '' 'gguf' 'gguf x split' 'gguf x split 0' 'gguf x split nothing' 'gguf x y' 'npy x'; do
    qdb -ex "export $words"
    is "export $words: refused" "$status" 1
done
capture "$QDB" -n -batch -ex 'export gguf x'
like "without a model" "$err" 'no model'

finish
