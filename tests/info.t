#!/bin/sh
# SPDX-License-Identifier: MIT
# `info`: every topic as text and as json, globs, and words that make no sense.
. "${QDB_TOP:-.}/tests/harness/tap.sh"

NO_COLOR=1
export NO_COLOR
model=$QDB_TOP/tests/golden/models/llama-gqa-tied.gguf
cd "$tmp" || exit 99

# ask COMMAND [OPTION...]: of a run of three tokens that stands at a breakpoint
ask() {
    command=$1
    shift
    capture "$QDB" -n -q -batch "$@" "$model" -ex 'prompt -t 91,90,25' -ex 'break blk.1.mid' \
        -ex run -ex 'checkpoint here' -ex 'display rms(blk.0.out)' -ex 'print 6 * 7' \
        -ex 'echo ----' -ex "$command" </dev/null
}
# info COMMAND: what it prints itself; json: the last object alone
info() {
    ask "$1"
    out=$(printf '%s\n' "$out" | sed '1,/^----$/d')
}
json() {
    ask "$1" --output json
    out=$(printf '%s\n' "$out" | tail -n 1)
}

info info
is "info: the topics" "$(printf '%s\n' "$out" | awk 'NR > 1 { print $1 }' | tr '\n' ' ')" \
    "arch breaks capture changes checkpoints displays formats kernels kv memory model models names plan points record runs tensors tokenizer tokens values "
while read -r topic pattern; do
    info "info $topic"
    is "info $topic: succeeds" "$status" 0
    like "info $topic: text" "$out" "$pattern"
    json "info $topic"
    like "info $topic: json" "$out" \
        '^\{"command": "info '"$topic"'", "status": "ok", "tables": \[\{"name": "[a-z]+", "columns": \[\{"name": "[a-z]+".*"rows": \[\[.*\], "error": null\}$'
done <<'END'
arch ^llama +[A-Z]
breaks ^ +1 +yes +break blk\.1\.mid +1 +1
checkpoints ^here +s0:blk\.1\.mid +main +no$
displays rms\(blk\.0\.out\)
formats ^q4_0 +Q4_0 +2 +32 +18 +4\.5000 +yes
kernels ^c +(in use|available)
kv ^general\.architecture +string +"?llama
memory ^mapped +[1-9][0-9]* +/.*llama-gqa-tied\.gguf$
model ^heads +4$
models ^a +yes +llama +[0-9]+ +[0-9]+ +yes +/.*gguf$
points ^blk\.0\.in +tok, chan 32 += embd\.out
runs ^main +yes +a +exact +3 +1 +s0:blk\.1\.mid$
tensors ^blk\.0\.attn_q\.weight +f32 +F32 +32 +32 +4096 +32
tokenizer ^tokens +320
tokens ^ +2 +0 +25 .*prompt$
values ^\$1 +6 \* 7 +42
END

# Globs.
info 'info tensors blk.*.attn_q.weight'
is "info tensors GLOB" "$(printf '%s\n' "$out" | grep -c attn_q)" 2
info 'info points blk.0.attn.*'
is "info points GLOB" "$(printf '%s\n' "$out" | grep -c '^blk')" 3
info 'info points blk.*.ffn_dwon.out'
is "info points: a glob without a match" "$status $err" "1 error: no point matches \`blk.*.ffn_dwon.out\`
  info points blk.*.ffn_dwon.out
              ^~~~~~~~~~~~~~~~~~
did you mean \`blk.*.ffn_down.out\`?"
is "and no empty table" "$out" ""
info 'info tensors blk.0.attn_qq.weight'
is "info tensors: a name that is not there" "$status $err" "1 error: no weight \`blk.0.attn_qq.weight\`
  info tensors blk.0.attn_qq.weight
               ^~~~~~~~~~~~~~~~~~~~
did you mean \`blk.0.attn_q.weight\`?"
info 'info tensors nothing*'
like "info tensors: nothing like it" "$err" '^`info tensors` lists the names$'
json 'info points blk.9.*'
like "info points: json" "$out" '"status": "error", "tables": \[\], .*"hint": "the last block is blk\.1"'

# What is predicted, and words that are too many.
info 'info memory 512'
like "info memory N" "$out" '^cache +[0-9]+ +predicted for a prompt of 512 tokens$'
info 'info memory 1'
like "info memory 1: one token" "$out" 'for a prompt of 1 token$'
info 'info kv general'
is "a topic that takes no word" "$status $err" "1 error: nothing more is expected here
  info kv general
          ^~~~~~~
info kv: metadata of the model file"
info 'info t'
like "an ambiguous topic" "$err" '^could be tensors, tokenizer, tokens$'
info 'info modle'
like "a misspelt topic" "$err" '^did you mean `model`\?$'
info 'info po'
like "a unique prefix" "$out" '^blk\.0\.out '

# Without a model or a run.
for topic in model kv tensors points tokenizer tokens checkpoints; do
    capture "$QDB" -n -q -batch -ex "info $topic" </dev/null
    is "info $topic: nothing is open" "$status $(printf '%s\n' "$err" | head -c 6)" "1 error:"
done
for topic in arch formats kernels memory breaks changes displays models runs values; do
    capture "$QDB" -n -q -batch -ex "info $topic" </dev/null
    is "info $topic: needs no model" "$status $err" "0 "
done
capture "$QDB" -n -batch "$model" -ex 'info names *resid*' </dev/null
like "a glob that would go on over the dots: foreign names" "$err" '`\*\*resid\*\*` matches [1-9][0-9]* names'
capture "$QDB" -n -batch "$model" -ex 'info names **resid**' </dev/null
like "which finds them" "$out" '^blocks\.0\.hook_resid_pre'
capture "$QDB" -n -batch "$model" -ex 'info names nonsense' </dev/null
like "the list of names is that of names" "$err" '^.info names. lists the names'
capture "$QDB" -n -batch --ref "$model" "$model" -ex 'qerr blk.1.*' </dev/null
like "weights behind points" "$err" 'blk\.1\.\*\* names weights'

finish
