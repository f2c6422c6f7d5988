#!/bin/sh
# SPDX-License-Identifier: MIT
# Files and words that make no sense: one clear error, exit status 1, and nothing else happens.
. "${QDB_TOP:-.}/tests/harness/tap.sh"

model=$QDB_TOP/tests/golden/models/llama-gqa-tied.gguf
cd "$tmp" || exit 99

refused() { # NAME PATTERN ARGS...
    name=$1
    pattern=$2
    shift 2
    capture "$QDB" -n -batch "$@" </dev/null
    if [ "$status" = 1 ]; then
        like "$name" "$err" "^error: .*$pattern"
    else
        result no "$name" "status $status
$err"
    fi
}

: >empty
head -c 4096 /dev/zero >zeros
printf 'GGUF' >magic
printf 'GGUF\000\000\000\003' >big-endian
head -c 3000 "$model" >header
head -c 60000 "$model" >half
printf 'GGUF\003\000\000\000%s' "$(printf '\377%.0s' 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16)" >counts
mkfifo pipe
refused "a file that is absent" 'absent' absent
refused "a folder" 'directory' /
refused "an empty file" 'empty' empty
refused "a pipe" 'not a regular file' pipe
refused "a device" 'not a regular file' /dev/zero
refused "zeros" 'not a GGUF' zeros
refused "only the first word" 'byte 4' magic
refused "the other byte order" '[Bb]ig-endian' big-endian
refused "counts that lie" 'byte' counts
refused "a header cut short" 'byte [0-9]+' header
refused "weights cut short" 'cannot be read' half -ex 'prompt -t 1,2' -ex run
refused "a token outside the vocabulary" '9999 is not in 0' --demo -ex 'tokens -t 1,9999'
capture "$QDB" -n -batch half -ex 'info tensors blk.0.attn_q.weight' </dev/null
like "which open, for what is whole" "$out" 'blk\.0\.attn_q\.weight'
capture "$QDB" -n -batch half -ex 'info model' </dev/null
unlike "shares are of what there is" "$out" 'inf|nan'
cp "$model" shrinking
refused "a file that is cut short while it is open" 'became shorter' shrinking \
    -ex 'shell truncate -s 20000 shrinking' -ex 'summary **'
cp "$model" shrinking
refused "and is read by several threads" 'became shorter' shrinking --threads 3 \
    -ex 'shell truncate -s 20000 shrinking' -ex 'prompt -t 1,2,3' -ex run

# Words, on a model that has run.
long=$(printf '%0200d' 0)
while read -r words; do
    refused "$words" . "$model" -ex 'prompt -t 1,2,3' -ex run -ex "$words"
done <<END
print blk.99.attn_q[tok=1e9]
info memory many
prompt -t 1 as a:b
prompt -t 1 as a!b
prompt -t 1 as "a b"
checkpoint end
break blk.0.out[tok=5:2]
break blk.0.out[tok=]
print blk.0.attn_q.out[tok=1e9]
print blk.0.attn_q.out[tok=-99999999999999999999]
print blk.0.attn_q.out[nonsense=1]
print blk.0.attn_q.out[tok=
print blk.0.attn_q.out[chan=5:2]
print $long
print ${long}[tok=1]
print ((((((((((((((((((((((((((((((((((((((
print 1 +
print absmax(
x $long.weight
break blk.99.out
break [
until s9:blk.0.out
goto s9:blk.0.out
goto $long
prompt -t 99999
prompt -t -1
prompt -t 1,x
prompt -f /
ppl /
topk 0
topk 1e99
gen -1
set compute nonsense
set threads 1e9
set mem-budget -1
use nonsense
close nonsense
block token_embd.weight[row=1e9]
lint absent
diff a absent
END
finish
