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

finish
