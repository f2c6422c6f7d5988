#!/bin/sh
# SPDX-License-Identifier: MIT
# The analyses of weights and activations as commands: tables, refusals, exit status.
. "${QDB_TOP:-.}/tests/harness/tap.sh"

NO_COLOR=1
export NO_COLOR
models=$QDB_TOP/tests/golden/models
quant=$models/llama-gqa-tied-q4_0.gguf
qdb() { capture "$QDB" -n -batch "$@" </dev/null; }
with_ref() { qdb "$quant" --ref "$models/llama-gqa-tied.gguf" "$@"; }

with_ref -ex qerr
is "qerr: exit status" "$status" 0
like "qerr: healthy rounding" "$out" '^blk\.0\.attn_q\.weight +q4_0 +f32 .* 0\.2[89][0-9]? '
like "qerr: the worst blocks" "$out" '^blocks$'
with_ref -ex 'qerr blk.1.ffn_*.weight by row 3' --output csv
is "qerr by row" "$(printf '%s\n' "$out" | grep -c '^blk\.1\.ffn')" 3
with_ref -ex 'qerr by channel 4' --output json
like "qerr by channel" "$out" '"name": ?"col"'
with_ref -ex 'qerr blk.0.ffn_up.weight by block' --output md
like "qerr by block" "$out" 'blkq'
with_ref -ex 'qerr by token'
is "qerr: an unknown way is refused" "$status" 1
with_ref -ex 'qerr blk.0.out'
like "qerr: activations have no codes" "$err" 'activations, not weights'
qdb "$quant" -ex qerr
is "qerr without a reference" "$status" 1
like "is an error that says what to do" "$err" '`ref FILE`'

# ---- what flows through a run ----

sink() { capture "$QDB" -n -batch --demo=sink -ex 'prompt " memi nade ditto nade Tom pola" > /dev/null' "$@" </dev/null; }
capture "$QDB" -n -batch --demo=sink -ex quit </dev/null
if [ "$status" = 0 ]; then
    sink -ex run -ex norms
    is "norms: exit status" "$status" 0
    like "norms: the stream after every addition" "$out" '^blk\.3\.out '
    like "norms: what is added" "$out" '^blk\.0\.ffn_down\.out +blk\.0\.out '
    sink -ex run -ex 'norms blk.*.ffn_down.in' --output json
    like "norms of named points" "$out" '"name": ?"points"'
    sink -ex norms
    like "norms before a run" "$err" 'has not been computed yet'
    sink -ex run -ex 'heads blk.1'
    is "heads: those of block 1 rest" "$(printf '%s\n' "$out" | grep -c '^ *1 .* yes$')" 8
    like "heads: in words" "$out" '8 of 8 heads do nothing'
    sink -ex run -ex overflow
    like "overflow: the largest point" "$out" '^f16 '
    sink -ex run -ex 'overflow blk.*.out' --output csv
    is "overflow of named points" "$(printf '%s\n' "$out" | grep -c '^blk\.[0-3]\.out,')" 4
    sink -ex run -ex 'overflow blk.0.attn_q.weight'
    like "overflow: weights are refused" "$err" 'not points'
    sink -ex run -ex sparsity
    like "sparsity: one row per block" "$out" '^blk\.3\.ffn_down\.in '
    sink -ex run -ex 'sparsity blk.2' --output csv
    is "sparsity of a block: one row per token" "$(printf '%s\n' "$out" | grep -c '^[0-6],')" 7
    sink -ex run -ex 'dla by neuron 3' --output csv
    is "dla by neuron: so many" "$(printf '%s\n' "$out" | grep -c 'ffn_down.out,[0-9][0-9]*,.*,.*,')" 3
    like "dla by neuron: and the others" "$out" '^others,,,'
    sink -ex run -ex 'dla by head'
    like "dla by head is said to be wrong" "$err" 'by what\? by neuron'
    sink -ex run -ex 'attn blk.0 log head=0' --output csv
    like "attn log: logarithms, nothing for 0" "$out" '^0 <\|bos\|>,0,,,,,,$'
    qdb --demo -ex 'prompt -t 0 > /dev/null' -ex run -ex entropy -ex outliers -ex heads \
        -ex 'attn blk.0 head=0' --output text
    unlike "one token: nothing is NaN" "$out" 'nan'
    is "as is said" "$(printf '%s\n' "$out" | grep -c '^one token sees only itself')" 2
    like "all of its attention is shown" "$out" '^ *0 [^|]*[|]?[@]'
    sink -ex 'until blk.1.out' -ex sparsity --output csv
    is "sparsity: as far as computed" "$(printf '%s\n' "$out" | grep -c '^blk\.[0-3]\.ffn_down')" 2
    sink -ex run -ex 'ref a' -ex 'entropy blk.2 floor'
    like "entropy beside a reference" "$out" 'floor \(nat\) +ref +change'
else
    skip "analyses of a run" "the demo models are not built in"
fi

finish
