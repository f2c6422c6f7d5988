#!/bin/sh
# SPDX-License-Identifier: MIT
# A run beside a reference: compare, diverge, conditions that know the reference.
. "${QDB_TOP:-.}/tests/harness/tap.sh"

NO_COLOR=1
export NO_COLOR
models=$QDB_TOP/tests/golden/models
qdb() { capture "$QDB" -n -batch --ref "$models/llama-gqa-tied.gguf" "$@" </dev/null; }
prompt='prompt -t 5,9,3,7,11,2 > /dev/null'

qdb "$models/llama-gqa-tied.gguf" -ex "$prompt" -ex run -ex 'compare blk.*.out' --output csv
is "a model is its own equal" "$(printf '%s\n' "$out" | grep -c '^blk\.[0-9]*\.out,inf,0,1')" 2
qdb "$models/llama-gqa-tied.gguf" -ex "$prompt" -ex diverge
is "and does not diverge" "$status" 0
like "which is said" "$out" 'no point has relerr above 0\.25'

qdb "$models/llama-gqa-tied-q4_0.gguf" -ex "$prompt" -ex run -ex 'compare embd.out blk.1.out'
is "a quantized model is compared" "$status" 0
qdb "$models/llama-gqa-tied-q4_0.gguf" -ex "$prompt" -ex run --output csv \
    -ex 'compare blk.1.out[tok=2]' -ex 'set span 1' -ex "$prompt" -ex run -ex 'compare blk.1.out'
is "or a slice of it, here one token" "$(printf '%s\n' "$out" | grep '^blk\.1\.out')" \
    "$(printf '%s\n' "$out" | sed -n 's/^s2:\(blk\.1\.out\)/\1/p')"
for wrong in 'compare blk.1.out foo' 'compare blk.1.out tok=2' 'compare blk.1.out+1' 'compare blk.1.out@s0' \
    'diverge -1' 'diverge nan' 'diverge cos 2'; do
    qdb "$models/llama-gqa-tied-q4_0.gguf" -ex "$prompt" -ex run -ex "$wrong"
    is "refused: $wrong" "$status $(printf '%s\n' "$err" | grep -c '^ *^~*$')" "1 1"
done

# What a block makes: of one that alone is quantized all of the error, of those after it none.
qdb "$models/llama-gqa-tied.gguf" -ex 'quant blk.0.** q4_0' -ex 'set compute exact' -ex "$prompt" \
    -ex run -ex 'diverge inf' --output csv
is "made_here names the block" "$(printf '%s\n' "$out" | awk -F, '
    $1 == "blk.0.out" { print ($2 > 0 && $2 == $3) } $1 == "blk.1.out" { print ($2 > 0 && $3 == 0) }')" \
    "1
1"
qdb "$models/llama-gqa-tied-q4_0.gguf" -ex "$prompt" -ex 'diverge relerr 0.02'
is "a divergence is found: exit status 3" "$status" 3
like "at the first point beyond" "$out" 'is the first point with relerr above 0\.02'
qdb "$models/llama-gqa-tied-q4_0.gguf" -ex "$prompt" -ex 'diverge sqnr 500' --output json
like "in json" "$out" '"name": ?"made_here"'

qdb "$models/llama-gqa-tied-q4_0.gguf" -ex "$prompt" -ex 'catch diverge(0.02)' -ex run
is "catch diverge fires" "$status" 3
like "at a point" "$out" '^catch +1 +s0:.*relerr'
qdb "$models/llama-gqa-tied.gguf" -ex "$prompt" -ex 'catch diverge(0)' -ex run
is "not on equals" "$status" 0
qdb "$models/llama-gqa-tied-q4_0.gguf" -ex "$prompt" -ex 'break blk.1.out if cos < 0.9999 and any(abs(x - ref) > 0.0001)' -ex run
like "breakpoints know ref" "$out" '^breakpoint +1 +s0:blk\.1\.out.*cos'

# Why: the error, not the value.
qdb "$models/llama-gqa-tied-q4_0.gguf" -ex "$prompt" -ex 'diverge relerr 0.02' -ex why -k --output csv
like "the divergence is traced" "$out" ',weight error$'
like "to the block in this file" "$out" '^[a-z0-9._]+weight,q4_0,'
like "and in the reference" "$out" '^[a-z0-9._]+weight,f32,'
qdb "$models/llama-gqa-tied.gguf" -ex "$prompt" -ex 'set tensor blk.0.out[tok=1,chan=3] = 4' -ex run \
    -ex 'why -error blk.1.out[chan=3]'
like "an element that a change sets" "$out" 'set by change'
like "is named with the change" "$out" 'blk\.0\.out is set there by change 1: set tensor'
qdb "$models/llama-gqa-tied.gguf" -ex "$prompt" -ex 'set tensor blk.0.out[tok=1,chan=3] = nan' -ex run \
    -ex 'why blk.1.ffn_up.out' --output csv
like "a bad value that a change put there was born there" "$out" \
    '^s0:blk\.0\.out,"tok=1, chan=3",add,nan,set by a change$'
unlike "and not by overflow" "$out" 'overflow'
qdb "$models/llama-gqa-tied.gguf" -ex "$prompt" -ex run -ex 'why -error blk.0.out'
like "without an error" "$err" 'there is no error there'
qdb "$models/llama-gqa-tied.gguf" -ex "$prompt" -ex run -ex 'why -error blk.0.nonsense'
like "the caret is under the address" "$err" '^ +why -error blk\.0\.nonsense'
qdb "$models/llama-gqa-tied-q4_0.gguf" -ex "$prompt" -ex 'catch diverge(0.02)' -ex run --output csv
like "a catch of the divergence says why" "$out" ',weight error$'

# The same prompt in spans, and generated tokens, go through the reference as well.
qdb "$models/llama-gqa-tied-q4_0.gguf" -ex 'set span 2' -ex "$prompt" -ex run -ex 'compare blk.1.out'
is "span by span" "$(printf '%s\n' "$out" | grep -c '^s[0-2]:blk\.1\.out')" 3

capture "$QDB" -n -batch "$models/gpt2.gguf" --ref "$models/llama-gqa-tied.gguf" </dev/null
is "another architecture is refused" "$status" 1
like "by name" "$err" 'architectures differ: gpt2, reference llama'
capture "$QDB" -n -batch "$models/llama-gqa-tied.gguf" -ex 'catch diverge(0.1)' </dev/null
like "without a reference" "$err" 'there is no reference'
capture "$QDB" -n -batch "$models/llama-gqa-tied.gguf" -ex "ref /nonexistent" </dev/null
is "a file that is absent" "$status" 1
qdb "$models/llama-gqa-tied-q4_0.gguf" -ex "$prompt" -ex run -ex 'close ref' -ex 'compare blk.0.out'
like "a reference that was closed is none" "$err" 'there is no reference'

# A capture as the trace: beside another capture, and beside a model.
capture "$QDB" -n -batch "$models/llama-gqa-tied-q4_0.gguf" -ex "$prompt" -ex run -ex "save capture '$tmp/c1' blk.*.out" </dev/null
capture "$QDB" -n -batch "$tmp/c1" -ex "ref trace '$tmp/c1'" -ex 'compare blk.*.out' </dev/null
like "a capture beside a capture: so many arrays" "$out" ' 6 tokens, 2 arrays$'
capture "$QDB" -n -batch "$models/llama-gqa-tied.gguf" -ex "ref trace '$tmp/c1'" -ex kl </dev/null
like "beside a model: so many of its points" "$out" ' 2 of [0-9]+ points$'
like "kl says that the reference is a trace" "$err" 'the reference is a trace, of one prompt'

# A model that goes, and what stays.
capture "$QDB" -n -batch --ref "$models/llama-gqa-tied.gguf" "$models/llama-gqa-tied-q4_0.gguf" \
    -ex "data '$QDB_TOP/tests/golden/text/prose.txt' > /dev/null" -ex 'close a' -ex kl </dev/null
like "closing the active model says which one is active" "$out" '^ref .* is active now, and no reference any more$'
like "which is not measured beside itself" "$err" 'there is no reference, and no change to measure'
qdb "$models/llama-gqa-tied-q4_0.gguf" -ex "ref '$models/llama-gqa-tied-q8_0.gguf'"
like "a reference that is replaced stays open" "$out" '^ref .* stays open; `close ref` closes it$'
qdb "$models/llama-gqa-tied-q4_0.gguf" -ex 'close ref'
like "closing the reference says so" "$out" '^it was the reference: there is none any more$'

# Evaluation sets and the divergence on them.
text=$QDB_TOP/tests/golden/text/prose.txt
qdb "$models/llama-gqa-tied.gguf" -ex "data '$text' tokens 1600" -ex kl --output csv
like "a set of segments" "$out" ',20,1600,10,10,63'
like "a model is its own equal" "$out" '^0,,,0,0,,,0,1,,,0,,,'
qdb "$models/llama-gqa-tied-q4_0.gguf" -ex "kl '$text' ctx 32 chunks 21"
like "chunks of a file" "$out" '^scored +315 token'
like "with an interval" "$out" '^kl_high +[0-9.]+ nat/token'
qdb "$models/llama-gqa-tied-q4_0.gguf" -ex "data '$text'" -ex 'data off' -ex kl
like "no set, no figure" "$err" 'there is no evaluation set'
qdb "$models/llama-gqa-tied-q4_0.gguf" -ex "data '$text'" -ex verify -ex kl -ex verify
like "the other half is for verdicts" "$out" '^part +check'
like "looks are counted" "$out" 'look 2 at the half `check`: the more looks'
qdb "$models/llama-gqa-tied-q4_0.gguf" -ex 'set compute fast' -ex "data '$text'" -ex 'ref a' -ex kl
like "a kl below the floor of mode fast is none" "$out" '^kl +<floor$'
like "the floor is there" "$out" '^fast_floor +[0-9.e-]+ nat/token'
qdb "$models/llama-gqa-tied-q4_0.gguf" -ex "data '$text' tokens 5"
is "less than a segment" "$status" 1

# Splices.
qdb "$models/llama-gqa-tied-q4_0.gguf" -ex "$prompt" -ex 'splice blk.1.out' -ex run -ex 'compare blk.*.out' --output csv
is "a point gets what the reference has" "$(printf '%s\n' "$out" | grep -c '^blk\.1\.out,inf,0,1')" 1
unlike "and nothing before it" "$out" '^blk\.0\.out,inf'
qdb "$models/llama-gqa-tied-q4_0.gguf" -ex 'set compute exact' -ex "data '$text'" -ex 'splice blk.1.out' -ex kl -ex 'splice blk.1.attn_q.out[tok=0]' -ex kl -ex 'ppl '"'$text'"' ctx 32 chunks 2'
like "evaluations know splices" "$out" '^kl_max +0\.05[0-9]* nat/token'
like "but not those of tokens" "$out" '1 change of tokens of a prompt'
like "and ppl none" "$out" '2 changes of tokens of a prompt'
qdb "$models/llama-gqa-tied-q4_0.gguf" -ex 'set span 2' -ex "$prompt" -ex 'splice blk.0.out[tok=1:3,chan=0]' -ex run -ex 'compare blk.0.out' -ex undo -ex run -ex 'compare blk.0.out' --output csv
is "a slice is spliced in its spans" "$(printf '%s\n' "$out" | grep '^s[012]:blk' | sort | uniq -c | grep -c ' 2 s2:')" 1
is "and taken back" "$(printf '%s\n' "$out" | grep '^s[012]:blk' | sort | uniq -c | grep -c ' 1 s[01]:')" 4
qdb "$models/llama-gqa-tied-q4_0.gguf" -ex 'ref off' -ex 'splice blk.0.out'
like "a splice needs a reference" "$err" 'there is no reference'

# ref!ADDR: what the reference has beside the active run, a model or a trace.
traces=$QDB_TOP/tests/golden/traces
qdb "$models/llama-gqa-tied-q4_0.gguf" -ex 'set compute exact' -ex "$prompt" -ex run -ex 'dump ref!blk.1.out '"$tmp/model.npy" -ex 'compare blk.1.out' -ex 'print relerr(ref!blk.1.out[tok=3],blk.1.out[tok=3])' -ex 'summary ref!blk.*.out' --output csv
is "the reference's run is read beside ours" "$status" 0
like "under its own name" "$out" '^ref!blk\.0\.out,,192,'
trace_of() { model=$1 kind=$2; shift 2; capture "$QDB" -n -batch "$models/$model" -ex "ref trace '$traces/llama-gqa-tied.$kind'" -ex 'set compute exact' -ex 'prompt -r > /dev/null' "$@" </dev/null; }
trace_of llama-gqa-tied-q4_0.gguf lens -ex 'print ref!blk.1.out[tok=3,chan=5:7]' -ex 'summary ref!blk.*.out' -ex "dump ref!blk.1.out '$tmp/trace.npy'" -ex 'break blk.1.out if relerr(ref) > 0.1' -ex run --output csv
is "a trace is read before the run has come there" "$status" 0
like "all of its points that match" "$out" '^ref!blk\.1\.out,,192,0,0,0,'
like "and conditions know it" "$out" '^breakpoint,1,s0:blk\.1\.out,blk\.1\.out,[^,]*,[^,]*,relerr,0\.[1-9]'
trace_of llama-gqa-tied.gguf lens -ex run -ex 'print relerr(ref!blk.1.out,blk.1.out)' -ex 'print relerr(ref!blk.0.attn.prob[head=1,tok=3:5],blk.0.attn.prob[head=1,tok=3:5])' -ex 'compare ref!blk.1.out' --output csv
is "its numbers are those of the model that it is of" "$(printf '%s\n' "$out" | grep -c 'e-0[78]')" 3
trace_of llama-gqa-tied.gguf llama.cpp -ex 'print ref!blk.0.attn_q.out' -ex 'print ref!blk.0.attn_q.weight' -ex 'set tensor ref!blk.0.out = zero' -ex 'why ref!blk.0.out' -ex 'ref off' -ex 'print ref!blk.0.out' -k
like "a point that it lacks, and those nearby" "$err" '^error: blk\.0\.attn_q\.out is not in the trace$'
like "in the order of the graph" "$err" '^nearby it has embd\.out, blk\.0\.attn_norm\.out, blk\.0\.attn_v\.out, blk\.0\.attn_q\.rope$'
like "it has no weights" "$err" 'the reference is a trace: it has no weights'
like "nor can it be changed" "$err" 'its points can be read, no more'
like "and goes with ref off" "$err" 'no model or run .ref.'

trace_of llama-gqa-tied-q4_0.gguf lens -ex run -ex 'why -error embd.out' -ex 'why -error blk.0.attn_v.out' --output csv
like "why: an error is made here, as far as a trace tells" "$out" '^s0:embd\.out,.*,made here$'
like "or inherited, the weights' part not being known" "$out" '^s0:blk\.0\.attn_v\.out,.*,,-?[0-9.e-]+,-?[0-9.e-]+,inherited$'
unlike "and no block of the other file is shown" "$out$err" 'ref_weight'
trace_of llama-gqa-tied.gguf lens -ex run -ex 'quant blk.0.attn_v.weight q4_0' -ex run -ex 'why -error blk.0.attn_v.out' --output csv
like "by a row of a weight" "$err" 'made here, by row [0-9]+ of blk\.0\.attn_v\.weight'
like "with its blocks" "$out" '^blk\.0\.attn_v\.weight,[0-9]+,0,32,[01]'
like "and says what is not there" "$err" "the bytes are this file's"
qdb "$models/llama-gqa-tied.gguf" -ex "$prompt" -ex 'watch blk.1.out[tok=2,chan=3] 60%' -ex run -ex continue -ex continue -ex continue -ex continue --output csv
is "the writes of an element stop a movement forward" "$(printf '%s\n' "$out" | grep -c '^watchpoint,1,s0:\(embd\|blk\)')" 4
like "up to the end" "$out" '^end,'

qdb "$models/llama-gqa-tied.gguf" -ex 'set tensor output.out = *0' -ex "data '$text'" -ex kl -ex "$prompt" -ex 'bisect prompt' -k
like "edits of the logits are not silently ignored" "$out$err" '^output\.out stays as it is here: evaluations make the logits by themselves'
like "nor by bisect" "$err" 'no point is edited here'

# Bisection.
qdb "$models/llama-gqa-tied-q4_0.gguf" -ex "data '$text'" -ex 'bisect 80% by weight' -ex 'bisect 0.5 by block' --output csv
like "weights are found" "$out" '^token_embd\.weight,weight,0\.'
like "blocks too" "$out" '^blk\.[01],block,0\.'
like "with what was measured" "$out" '^weight,joint,the set,[0-9]+,[0-9.]+,[0-9.]+,0\.[89]'
qdb "$models/llama-gqa-tied-q4_0.gguf" -ex "$prompt" -ex 'bisect 0.5' --output csv
is "on one segment no set is measured twice" "$(printf '%s\n' "$out" | grep -E '^(block|sub|weight),(alone|with|without),' | sort | uniq -d)" ''
qdb "$models/llama-gqa-tied-q4_0.gguf" -ex 'metric top1' -ex "$prompt" -ex bisect
like "the tokens of a prompt, without a set" "$out" '^text +prompt$'
like "by the metric" "$out" '^metric +top1$'
qdb "$models/llama-gqa-tied-q4_0.gguf" -ex "$prompt" -ex 'metric logitdiff id=5 id=7' -ex 'bisect 0.7 by sub' -ex metric
is "a difference of logits" "$(printf '%s\n' "$out" | grep -c '^metric +logitdiff\|^metric  *logitdiff')" 3
qdb "$models/llama-gqa-tied.gguf" -ex "$prompt" -ex bisect
like "equals have no weight that differs" "$err" 'no weight differs from the reference.s, and no point is edited$'
edits="set tensor blk.0.attn_q.out[chan=3] = *3
ablate blk.1.ffn_up.out[chan=2]
skip blk.1.attn
set tensor blk.0.ffn_norm.out = *1.001"
printf '%s\n' "$edits" > "$tmp/edits"
qdb "$models/llama-gqa-tied.gguf" -ex "source '$tmp/edits'" -ex "data '$text'" -ex 'bisect' -ex 'bisect by sub' --output csv
like "an edit that does the damage is named, with its change" "$out" '^blk\.0\.attn_q\.out,point,0\.[0-9]+,[^,]*,,1$'
unlike "not one that does none" "$out" '^blk\.0\.ffn_norm\.out,point'
like "its sub-layer too" "$out" '^blk\.0\.attn,sub,0\.'
like "and the set is judged" "$out" '^(weight|channel),joint,the set,[0-9]+,[0-9.]+,[0-9.e-]+,(0\.9|1)'
qdb "$models/llama-gqa-tied.gguf" -ex "$prompt" -ex 'prompt -t 5,9,8,7,11,2 as other > /dev/null' -ex run -ex 'use main' -ex 'patch blk.0.out from other' -ex 'set tensor blk.1.attn_q.out[tok=2] = *1.001' -ex "data '$text'" -ex bisect -ex 'bisect prompt' -k --output csv
like "edits of tokens are seen on those tokens" "$out" '^blk\.0\.out,point,[01][0-9.]*,[^,]*,,1$'
like "else it says where" "$err" 'bisect prompt'
qdb "$models/llama-gqa-tied-q4_0.gguf" -ex 'bisect 1.5'
like "a share is a share" "$err" 'a share lies above 0'
qdb "$models/llama-gqa-tied-q4_0.gguf" -ex 'bisect by token'
is "a level is a level" "$status" 1
capture "$QDB" -n -batch "$models/llama-gqa-tied.gguf" -ex "$prompt" -ex bisect </dev/null
like "no reference, no damage" "$err" 'there is no reference'

# Assertions on figures.
cat "$text" "$text" "$text" "$text" >"$tmp/long.txt"
checks() { qdb "$models/llama-gqa-tied-q8_0.gguf" -ex "data '$tmp/long.txt'" "$@"; }
checks -ex "check 'kl < 5' top1>0.2 'ppl / ref_ppl < 1.5'"
is "all hold" "$status" 0
like "with an interval" "$out" '^kl < 5 +0\.[0-9]+ +0\.[0-9]+ +0\.[0-9]+ +5.* holds'
like "it was a look" "$out" 'look 1 at the half `check`'
checks -ex 'check kl<0.0000001' -ex 'echo never'
is "one fails" "$status" 3
checks -ex "check 'kl - kl < 0' 'kl < 5'"
is "kl - kl is not below 0" "$status" 3
qdb "$models/llama-gqa-tied-q8_0.gguf" -ex "data '$text'" -ex "check 'kl < 5'"
is "without an interval nothing is decided" "$status" 1
like "which is said" "$err" '1 of 1 undecided'
qdb "$models/llama-gqa-tied-q8_0.gguf" -ex 'check lint_errors<1'
is "figures of lint need no text" "$status" 0
qdb "$models/llama-gqa-tied-q8_0.gguf" -ex 'check kl<1'
like "those of kl do" "$err" 'there is no evaluation set'
qdb "$models/llama-gqa-tied-q8_0.gguf" -ex 'check "kx < 1"'
like "a name that is none" "$err" 'there is no figure `kx`'

# Patch grids.
qdb "$models/llama-gqa-tied-q4_0.gguf" -ex 'prompt -t 5,9,3,7 as clean > /dev/null' -ex 'prompt -t 5,9,8,7 > /dev/null' -ex 'metric logitdiff id=17 id=40' -ex 'patch-grid from clean' -ex 'patch-grid by head from clean' --output csv
like "the last token of the last block brings all back" "$out" '^"?blk\.1\.out\[tok=3\]"?,1,1$'
like "heads too" "$out" '^"?blk\.[01]\.attn\.z\[head=[0-9]\]"?,[-0-9.]+,[-0-9.]+$'
qdb "$models/llama-gqa-tied-q4_0.gguf" -ex 'prompt -t 5,9,3 as clean' -ex 'prompt -t 5,9,8,7' -ex 'patch-grid from clean'
like "token by token" "$err" 'the prompts have 3 and 4 tokens'

# Tokens one by one.
qdb "$models/llama-gqa-tied-q4_0.gguf" -ex "data '$text'" -ex 'worst 3' -ex 'kl -v -compat' --output csv
like "the worst tokens, with the depth" "$out" '^[0-9.]+,[0-9]+,[0-9]+,.*,blk\.[01]\.out,[0-9.]+$'
like "agreement by confidence" "$out" '^0\.95,1,[0-9]+,'
like "and as others print it" "$out" '^base perplexity,[0-9.]+,[0-9.]+$'

# Several files against one reference.
verdict=$("$QDB" -n -batch "$models/llama-gqa-tied-q4_0.gguf" --ref "$models/llama-gqa-tied.gguf" -ex "data '$tmp/long.txt' > /dev/null" -ex verify --output csv </dev/null | sed -n '2p')
card() { capture "$QDB" -n -batch "$models/llama-gqa-tied.gguf" -ex "data '$tmp/long.txt' > /dev/null" "$@" </dev/null; }
card -ex "report '$models/llama-gqa-tied-q4_0.gguf' '$models/llama-gqa-tied-q8_0.gguf'" --output csv
is "a report" "$status" 0
row=$(printf '%s\n' "$out" | grep 'tied-q4_0\.gguf,25728,4\.65')
is "gives what verify gives" "$(printf '%s\n' "$row" | cut -d, -f5-10)" "$(printf '%s\n' "$verdict" | cut -d, -f1-3,9-11)"
like "a row for each file" "$out" 'tied-q8_0\.gguf,40064,8\.6'
like "with its worst tokens" "$row" ',"""[^"]+"" [0-9.]+, ""'
like "the reference apart" "$out" 'llama-gqa-tied\.gguf,124288,32,.*,native,,.*,check,2016,32$'
card -ex 'open '"'$models/llama-gqa-tied-q4_0.gguf'"' as q > /dev/null' -ex 'quant ** q4_1 > /dev/null' -ex "report q a ref '$models/llama-gqa-tied.gguf'" --output csv
is "models as their files have them" "$(printf '%s\n' "$out" | grep 'q4_0\.gguf,' | cut -d, -f5-10)" "$(printf '%s\n' "$row" | cut -d, -f5-10)"
like "the reference is its own equal" "$out" 'tied\.gguf,124288,32,[0-9.]+,0,0,0,1,0\.998[0-9]*,1,,,$'
card -ex "report '$models/gpt2.gguf' '$models/llama-gqa-tied-q8_0.gguf' '$models/bert.gguf'" --output md
is "files that do not fit" "$status" 1
like "are said" "$err" '2 of 3 files were not measured'
like "have a row" "$out" '^\| .*gpt2\.gguf \| 125312 \| 32\.00 \| - \|'
like "and a reason" "$out" 'gpt2\.gguf was not measured: the vocabularies differ: token 0 is'
like "beside those that do" "$out" '^\| .*q8_0\.gguf \| 40064 \| 8\.630 \| [0-9.]+ \| 0\.00'
card -ex "report a ref '$models/gpt2.gguf'"
like "a reference with other tokens" "$err" 'the vocabularies differ'
for words in '' 'ref a' 'a ref' 'a ref a a' "a $tmp/none.gguf" "a ref $tmp/none.gguf"; do
    card -ex "report $words"
    is "report $words: refused" "$status" 1
done
capture "$QDB" -n -batch "$models/llama-gqa-tied.gguf" -ex 'report a' </dev/null
like "no set, no report" "$err" 'there is no evaluation set'

finish
