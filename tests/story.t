#!/bin/sh
# SPDX-License-Identifier: MIT
# docs/finding-a-bad-block.md: a fault is planted, and the page finds it, by hand and in a batch.
. "${QDB_TOP:-.}/tests/harness/tap.sh"

NO_COLOR=1
export NO_COLOR
page=$QDB_TOP/docs/finding-a-bad-block.md
case $QDB_TOP in /*) ;; *) page=$PWD/$page ;; esac
golden=$QDB_TOP/tests/golden/models
cp "$golden/llama-gqa-tied.gguf" "$tmp/good.gguf"
cp "$golden/llama-gqa-tied-q8_0.gguf" "$tmp/bad.gguf"
chmod u+w "$tmp/bad.gguf"
# blk.1.ffn_down.weight, row 11, block 1: its scale 0x1b2a becomes 0x2b2a, 16 times as much.
scale=$(dd if="$tmp/bad.gguf" bs=1 skip=38542 count=2 2>/dev/null | od -An -tx1 | tr -d ' \n')
is "the scale is where it should be" "$scale" 2a1b
printf '\053' | dd of="$tmp/bad.gguf" bs=1 seek=38543 conv=notrunc 2>/dev/null

script=$(cd "$QDB_TOP" && pwd)/docs/session.sh
case $QDB in /*) ;; *) QDB=$PWD/$QDB ;; esac
cd "$tmp" || exit 99
sh "$script" "$QDB" "$page" bad.gguf >played 2>err
is "every command of the page works" "$?$(cat err)" 0
check "and answers as the page says" diff -u "$page" played

batch() {
    capture "$QDB" -n -batch "$1" --ref good.gguf -ex 'prompt -t 5,9,3,7,11,2' -ex 'diverge 0.1' \
        -ex 'qerr blk.1.ffn_down.weight by block' --output json </dev/null
}
batch bad.gguf
is "in a batch the status is 3" "$status" 3
like "the point is named" "$out" '"blk\.1\.ffn_down\.out is the first point with relerr above 0\.1"'
like "and the block" "$out" '"blk\.1\.ffn_down\.weight", ?11, ?1,'
capture "$QDB" -n -batch "$golden/llama-gqa-tied-q8_0.gguf" --ref good.gguf \
    -ex 'prompt -t 5,9,3,7,11,2' -ex 'diverge 0.1' </dev/null
is "the sound file passes" "$status" 0

finish
