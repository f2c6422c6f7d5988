#!/bin/sh
# SPDX-License-Identifier: MIT
# The verbs that look at data, on tiny models: values as other programs compute them.
. "${QDB_TOP:-.}/tests/harness/tap.sh"

NO_COLOR=1
export NO_COLOR
models=$QDB_TOP/tests/golden/models
model=$models/llama-gqa-tied.gguf
blocks=$models/llama-gqa-tied-q4_0.gguf
cd "$tmp" || exit 99

# on MODEL COMMANDS [OPTION...]: what the lines of commands give on a run of five tokens
on() {
    printf '%s\n' "prompt -t 91,90,25,0,148" run 'echo ----' "$2" >"$tmp/commands"
    on_model=$1
    shift 2
    capture "$QDB" -n -q -batch -k "$@" -x "$tmp/commands" "$on_model" </dev/null
    case $out in
    *'
----
'*) out=$(printf '%s\n' "$out" | sed '1,/^----$/d') ;;
    esac
    err=$(printf '%s\n' "$err" | sed "s#^$tmp/commands:[0-9]*: ##")
}
# cell ROW COLUMN: a number of the last csv table, counted from 1 below the header
cell() {
    printf '%s\n' "$out" | awk -F, -v row="$1" -v name="$2" '
        /[a-z]/ && !/^[-0-9.]/ { for (i = 1; i <= NF; i++) if ($i == name) { at = i; start = NR } }
        { line[NR] = $0 }
        END { split(line[start + row], f, ","); print f[at] }'
}
near() { # near NAME GOT WANT TOLERANCE
    if awk -v a="$2" -v b="$3" -v t="$4" 'BEGIN {
        d = a - b; exit !(a != "" && d <= t && -d <= t) }'; then
        result yes "$1"
    else
        result no "$1" "got $2, expected $3"
    fi
}

# print
on "$model" 'print blk.0.attn_q.weight[row=3, col=1:3]'
is "print: a slice, with its true indices" "$out" 'value
as  of                                   axes
$1  blk.0.attn_q.weight[row=3, col=1:3]  row 1, col 2

elements
row  col      value
  3    1  -0.031167
  3    2   -0.29787'
on "$model" 'print blk.0.out[tok=0, chan=0:6]' --output csv
near "print: an activation (chan 0)" "$(cell 1 value)" 0.4369996 2e-5
near "print: an activation (chan 3)" "$(cell 4 value)" -4.804228 1e-4
on "$model" 'print/t1 output.out[tok=-1]
print/1t output.out[tok=-1]'
like "print/FMT: an error names the letters" "$err" 'a count and one letter of'
like "print/t: the token that wins" "$out" '^   1    4  .x91    171  '
on "$model" 'print absmax(blk.0.out[tok=0]); print $ / rms(blk.0.out[tok=0])
x = 2 * $1
print $x - $1' --output csv
near "print: a statistic" "$(printf '%s\n' "$out" | sed -n 's/^\$1,.*,//p')" 5.106076 1e-4
near "print: the last value" "$(printf '%s\n' "$out" | sed -n 's/^\$2,.*,//p')" 2.17467 1e-4
near "print: a named value" "$(printf '%s\n' "$out" | sed -n '$s/.*,//p')" 5.106076 1e-4
on "$model" 'print blk.0.out[tok="W"]; print blk.0.attn.prob[head=0]'
like "print: tokens by their text" "$out" '^  1  W        0  '
like "print: rows and columns are named" "$out" '^head  tok  text   *key=0 '
like "print: masked keys are 0" "$out" '^   0    0  X      *1\.0000  *0  *0  *0  *0$'
on "$model" 'with elements=12 -- print blk.0.out'
is "print: elements" "$(printf '%s\n' "$out" | awk '/^tok/ { print NF } /^ +[0-9]/ { n++ } END { print n }' | tr '\n' ' ')" "10 1 "
like "print: says how many are left out" "$out" '^8 of 160 values'
on "$model" 'print/f 1/8; print/e 1/8; print/h 1/8; print/x 1/8; print/b 1/8' --output csv
is "print: formats" "$(printf '%s\n' "$out" | sed -n '/^value$/{n;p;}' | tr '\n' '|')" \
    "+0.125000|+1.250000e-01|+0x1p-3|3e000000|0 01111100 00000000000000000000000|"
on "$model" 'print blk.0.out[tok=0, chan=0:3]' --output json
like "print: json" "$out" '"tables": \[\{"name": "value".*"rows": \[\["\$1", "blk.0.out\[tok=0, chan=0:3\]", "tok 1, chan 3"\]\]\}, \{"name": "elements", .*"rows": \[\[0, "X", 0, 0\.43[0-9]+\], \[0, "X", 1, 2\.51'

on "$model" 'print blk.*.out[tok=-1, chan=0:3]; print $2 - $1' --output csv
is "print: a glob keeps each value as a \$N, in the order shown" \
    "$(printf '%s\n' "$out" | sed -n 's/^\(\$[12]\),"\(blk[^[]*\).*/\1 \2/p' | tr '\n' ' ')" "\$1 blk.0.out \$2 blk.1.out "
near "print: and they can be used" "$(printf '%s\n' "$out" | awk -F, '
    /^4,/ { v[$3, ++seen[$3]] = $4 } END { print v[0, 3] - v[0, 2] + v[0, 1] }')" 0 1e-5
on "$model" 'print blk.*.out[tok=-1, chan=0:3]'
like "print: headings say which is which" "$out" '^elements of \$2$'
on "$model" 'print/s blk.**'
is "print/s: one table for the first sixteen" \
    "$(printf '%s\n' "$out" | grep -c '^blk\.')" 16
like "print: says how many there are" "$out" '^the first 16 of [0-9]* names'
on "$model" 'print blk.*.out[head=0]; print blk.**.oot'
like "print: a glob of which nothing has the axis" "$err" '^its axes: tok 5, chan 32$'
like "print: a glob without a match" "$err" 'matches `blk\.\*\*\.oot`'

# summary
on "$model" 'summary blk.0.attn_q.weight' --output csv
near "summary: n" "$(cell 1 n)" 1024 0
near "summary: min" "$(cell 1 min)" -0.8931915163993835 0
near "summary: p1" "$(cell 1 p1)" -0.5782657 1e-7
near "summary: median" "$(cell 1 median)" -0.02347793 1e-8
near "summary: p99" "$(cell 1 p99)" 0.60140712 1e-8
near "summary: max" "$(cell 1 max)" 0.7607818841934204 0
near "summary: mean" "$(cell 1 mean)" -0.011919376107329072 1e-15
near "summary: sd" "$(cell 1 sd)" 0.2623004842902821 1e-14
near "summary: rms" "$(cell 1 rms)" 0.26257116289818366 1e-14
near "summary: kurt" "$(cell 1 kurt)" -0.23835336893255343 1e-12
on "$model" 'summary blk.*.out blk.0.*.weight'
is "summary: globs" "$(printf '%s\n' "$out" | awk '/^blk/ { print $1 }' | tr '\n' ' ')" \
    "blk.0.out blk.1.out blk.0.attn_norm.weight blk.0.attn_q.weight blk.0.attn_k.weight blk.0.attn_v.weight blk.0.attn_output.weight blk.0.ffn_norm.weight blk.0.ffn_gate.weight blk.0.ffn_up.weight blk.0.ffn_down.weight "
on "$model" 'summary blk.0.*.*[head=1]'
like "summary: what has no such axis is counted" "$out" '^[0-9]+ left out: they have no such axis$'
unlike "summary: and has no row" "$out" 'ffn'
capture "$QDB" -n -q -batch "$model" -ex 'prompt -t 1,2,3' -ex 'goto blk.0.out' -ex 'summary blk.*.out' </dev/null
like "summary: points ahead are counted" "$out" '^1 left out: the run has not produced it yet$'
capture "$QDB" -n -q -batch "$model" -ex 'summary blk.*.out' </dev/null
is "summary: nothing at all is an error" "$status" 1
like "summary: that says what to do" "$err" 'prompt "TEXT"'

# hist, heat, channels
on "$model" 'hist blk.0.attn_norm.weight bins 4' --output csv
is "hist: counts" "$(printf '%s\n' "$out" | sed 1d | awk -F, '{ print $3 }' | tr '\n' ' ')" "6 13 7 6 "
near "hist: edges" "$(cell 2 from)" 0.71291923 1e-6
on "$model" 'hist blk.0.attn.prob log'
like "hist: zeros are in no logarithmic bin" "$out" '^40 zeros are in no bin$'
on "$model" 'heat blk.0.attn.prob[head=0]'
is "heat: one row for each token" "$(printf '%s\n' "$out" | grep -c '|$')" 5
like "heat: the first token sees itself" "$out" 'tok 0 X +@    \|$'
on "$model" 'channels blk.0.attn_q.weight 3' --output csv
is "channels: the largest" "$(cell 1 col) $(cell 2 col) $(cell 3 col)" "29 31 9"
near "channels: ratio" "$(cell 1 ratio)" 1.52601698 1e-7
near "channels: sd" "$(cell 1 sd)" 0.275316048765946 1e-12
on "$model" 'channels blk.0.out by kurt 4; channels blk.0.out by index 2' --output csv
is "channels: by index" "$(cell 1 chan) $(cell 2 chan)" "0 1"
on "$model" 'channels blk.0.out by size'
like "channels: an unknown statistic" "$err" 'absmax rms mean'

# storage
on "$blocks" 'x/32x blk.0.attn_q.weight[row=2]
x/8q blk.0.attn_q.weight[row=2]
x
x/-16d
x/8f blk.0.attn_q.weight[row=2]'
like "x/x: the block's bytes" "$out" '^  2    0 +36  5f ad 62 56 dd 76 79 08 98 d5 d3 97 64 7a 81 bb$'
like "x/x: all of them" "$out" '^  2    0 +52  8c 89$'
like "x/q: scale and codes" "$out" '^  2    0  -0\.083923 +0 +2    6   13    6    9    8    8    5$'
like "x: goes on" "$out" '^  2    8  -0\.083923 +0 +3    7    4   10    1   11   12    9$'
like "x/-N: looks back" "$out" '^  1   24 .*[0-9]$'
like "x/f: values" "$out" '^  2    0  \+0\.503540  \+0\.167847  -0\.419617'
on "$model" 'x/4x blk.0.out[tok=4, chan=30]; x; x'
like "x: the end is said" "$err" 'that was the end of blk.0.out'
on "$blocks" 'block blk.0.attn_q.weight[row=2, blkq=0]'
like "block: bits per weight" "$out" '^bits_per_weight +4\.5000 bit$'
like "block: entropy of the codes" "$out" '^code_entropy +3\.5122 bit$'
like "block: the stored scale" "$out" '^d +0xad5f = -0\.0839'
like "block: an element" "$out" '^  1 +6 +-2\.0000 +0 +-0\.083923 +0 +0\.16785$'
on "$blocks" 'block blk.0.attn_q.weight[row=2, col=5]; block blk.0.attn_norm.weight; block blk.0.out
block blk.0.attn_q.weight[row=2, blkq=1]'
like "block: by element" "$out" '^blkq +0$'
like "block: plain numbers have none" "$err" 'its numbers are plain'
like "block: activations have none" "$err" 'blocks are of weights'
like "block: out of range" "$err" '^error: axis blkq has 1 entry$'

# display
capture "$QDB" -n -q -batch -k "$model" -ex 'prompt -t 91,90,25' -ex 'display rms(blk.0.out)' \
    -ex 'display/2 blk.0.out[tok=0]' -ex 'break blk.0.out' -ex 'echo ----' -ex run -ex 'info displays' -ex 'undisplay 1' \
    -ex continue -ex 'display nonsense(1)' -ex 'undisplay 7' </dev/null
like "display: what is not there yet is a note" "$out" '^display 1: rms\(blk.0.out\): blk.0.out has not been computed yet'
is "display: at each stop until it is taken away" "$(printf '%s\n' "$out" | grep -c '^     1  rms(blk.0.out)  [0-9.]*$')" 1
is "display: formats" "$(printf '%s\n' "$out" | grep -c '^display 2: blk.0.out\[tok=0\]$')" 2
like "info displays" "$out" '^     2  /2      blk.0.out\[tok=0\]$'
like "display: an error" "$err" 'no function or statistic `nonsense`'
like "undisplay: an error" "$err" 'there is no display 7'

# dump
on "$model" 'dump blk.0.attn_norm.weight[chan=0:3] to a.csv; dump blk.0.attn_norm.weight[chan=0:3] a.bin
dump blk.0.attn_norm.weight[chan=0:3] + 0/0 a.json; dump blk.0.out a.npy'
is "dump: csv" "$(head -1 a.csv; sed -n 2p a.csv | cut -c1-8)" "chan,value
0,1.3947"
is "dump: bin" "$(wc -c <a.bin | tr -d ' ')" 12
is "dump: json" "$(cat a.json)" '{"name": "blk.0.attn_norm.weight[chan=0:3] + 0/0", "axes": ["chan"], "index": [[0, 1, 2]], "data": ["nan", "nan", "nan"]}'
is "dump: npy" "$(wc -c <a.npy | tr -d ' ')" $((128 + 5 * 32 * 4))
on "$model" 'dump blk.*.out[tok=-1] to a.safetensors; dump blk.**.absent to b.safetensors
dump blk.0.out - blk.0.in c.safetensors; dump output.out[tok=0] /nowhere/d.safetensors' --output csv
is "dump: safetensors, one tensor for each name" "$(printf '%s\n' "$out" | grep -c ',a\.safetensors$')" 2
is "dump: safetensors, the header" "$(head -c 250 a.safetensors | tail -c 242)" \
    '{"__metadata__":{"blk.0.out[tok=-1]":"tok 1, chan 32","blk.1.out[tok=-1]":"tok 1, chan 32"},"blk.0.out[tok=-1]":{"dtype":"F32","shape":[1,32],"data_offsets":[0,128]},"blk.1.out[tok=-1]":{"dtype":"F32","shape":[1,32],"data_offsets":[128,256]}}'
is "dump: safetensors, and the numbers behind it" "$(wc -c <a.safetensors | tr -d ' ')" $((8 + 248 + 2 * 32 * 4))
is "dump: safetensors of an expression" "$(wc -c <c.safetensors | tr -d ' ')" $((8 + 136 + 5 * 32 * 4))
check "dump: nothing is written without a match" test ! -e b.safetensors
like "dump: a file that cannot be written has a caret" "$err" '^ *\^~{21}$'
echo old >old.npy
on "$model" 'dump blk.9.out old.npy; dump blk.0.out old.txt; dump blk.0.out /nowhere/a.npy; dump blk.0.out'
is "dump: a failure leaves the file" "$(cat old.npy)" old
like "dump: an unknown suffix" "$err" '^\.npy \.csv \.json \.bin \.safetensors; DIR/ for a trace$'
like "dump: a folder that is absent" "$err" '/nowhere/a.npy'
like "dump: no file" "$err" 'into which file'

# files: the word that names one is underlined
on "$model" 'open /nowhere.gguf
ppl /nowhere.txt
diff /nowhere.gguf
lint /nowhere.gguf
source /nowhere.qdb
prompt -f /nowhere.txt'
is "error: a file that cannot be opened has a caret" "$(printf '%s\n' "$err" | grep -c '^ *^~~~*$')" 6
like "error: under the file" "$(printf '%s\n' "$err" | grep -A1 'prompt -f')" '^            \^~{11}$'
on "$model" 'print 1 + blk.0.out' --mem 1K
like "error: a budget is about the address" "$(printf '%s\n' "$err" | tail -n 3)" '^ *\^~{8}$'

# errors: what and where, with a caret; the fact; the nearest fix
on "$model" 'print blk.99.attn_q[tok=1e9]'
is "error: an index that is no whole number" "$err" "error: an index is a whole number in plain digits
  print blk.99.attn_q[tok=1e9]
                          ^~~"
on "$model" 'print 1 + blk.0.attn_qq.out'
is "error: a misspelt name" "$err" 'error: no weight or point `blk.0.attn_qq.out`
  print 1 + blk.0.attn_qq.out
            ^~~~~~~~~~~~~~~~~
did you mean `blk.0.attn_q.out`?'
on "$model" 'print blk.0.out[tok=5]'
is "error: out of range" "$err" "error: axis tok has 5 entries
  print blk.0.out[tok=5]
                  ^~~~~
0..4, or -5..-1 from the end; 5 is outside"
on "$model" 'print blk.0.out[tok=0, chan=30:40]'
is "error: a slice that is partly outside" "$err" "error: axis chan has 32 entries
  print blk.0.out[tok=0, chan=30:40]
                         ^~~~~~~~~~
0:32 is all of it; 40 is outside"
on "$model" 'break blk.*.ffn_dwon.out; list blk.0.attn_qq.*; outliers blk.*.oot'
like "error: a glob that matches no point" "$err" '^did you mean `blk\.\*\.ffn_down\.out`\?$'
like "error: of list" "$err" '^did you mean `blk\.0\.attn_q\.\*`\?$'
like "error: of outliers" "$err" '^did you mean `blk\.\*\.out`\?$'
on "$model" 'print blk.9.out'
like "error: a block that is not there" "$err" '^the last block is blk\.1$'
on "$model" 'print blk.0.out[head=0]
summary 1 blk.0.out[tik=0]
channels blk.0.outt 3
hist blk.0.out bins 0'
like "error: an axis that is not there" "$err" '^its axes: tok 5, chan 32$'
is "error: in a later word" "$(printf '%s\n' "$err" | grep -A2 'there is no axis')" 'error: there is no axis `tik`
  summary 1 blk.0.out[tik=0]
                      ^~~'
is "error: in front of an option" "$(printf '%s\n' "$err" | grep -A1 'channels')" '  channels blk.0.outt 3
           ^~~~~~~~~~'
is "error: in an option" "$(printf '%s\n' "$err" | grep -A1 'hist')" '  hist blk.0.out bins 0
                      ^'
on "$model" 'print blk.0.out[tok=5]' --output json
like "error: json" "$out" '"status": "error".*"error": \{"message": "axis tok has 5 entries", "where": "", "hint": "0\.\.4'
# Results go where other commands' results go.
on "$model" 'print 6 * 7 > answer; print absmax(blk.0.out) | grep -c absmax'
like "print: into a file" "$(cat answer)" '^\$1  6 \* 7  42'
like "print: into a pipe" "$out" '^1$'
# A large weight is not decoded whole to show its corners: 2048 x 1024 numbers in a budget of 1 MB.
{
    printf 'GGUF\003\000\000\000\001\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000'
    printf '\001\000\000\000\000\000\000\000w\002\000\000\000\000\010\000\000\000\000\000\000'
    printf '\000\004\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000'
} >"$tmp/large.gguf"
truncate -s $((96 + 4 * 2048 * 1024 - 4)) "$tmp/large.gguf"
printf '\000\000\200\077' >>"$tmp/large.gguf" # the last number is 1
capture "$QDB" -n -batch --mem 1M "$tmp/large.gguf" -ex 'print w'
like "print: a large weight by its ends" "$out" '^1023 .* 1\.0000$'
like "print: of which there are more" "$out" '^64 of 2097152 values, from both ends; \$1 keeps these'
capture "$QDB" -n -batch --mem 1M "$tmp/large.gguf" -ex 'print absmax(w)'
like "print: all of it only if it fits" "$err" 'w needs 8.39 MB; the budget is'
capture "$QDB" -n -batch "$tmp/large.gguf" -ex 'print w[row=top1(absmax), col=-1]'
like "print: selectors see all of it" "$out" '^1023 +2047 +1\.0000$'
# What does not fit into memory is read in pieces by what needs no more.
ids=$(awk 'BEGIN { for (i = 0; i < 200; i++) printf "%s%d", i ? "," : "", (i * 37) % 250 + 3 }')
pieces() {
    "$QDB" -n -batch -k "$model" -ex "prompt -t $ids" -ex run "$@" --output csv \
        -ex 'summary blk.1.attn.prob blk.1.attn.score[head=1]' -ex 'hist blk.1.attn.prob bins 5' \
        -ex 'hist blk.1.attn.score[head=0] log' </dev/null 2>&1 | sed -n '/^of,/,$p'
}
used=$("$QDB" -n -batch "$model" -ex "prompt -t $ids" -ex run -ex 'info memory' --output csv \
    </dev/null | sed -n 's/^in use,\([0-9]*\),.*/\1/p')
is "pieces: it would not fit" "$("$QDB" -n -batch -k "$model" -ex "prompt -t $ids" -ex run \
    -ex "set mem-budget $(((used + 100000) / 1024))K" -ex 'print blk.1.attn.prob' </dev/null 2>&1 |
    grep -c 'tokens fit: a slice')" 1
# Sums of pieces may differ in their last digits.
short() { sed 's/\(\.[0-9]\{7\}\)[0-9]*/\1/g'; }
is "pieces: the same figures" \
    "$(pieces -ex "set mem-budget $(((used + 100000) / 1024))K" | short)" "$(pieces | short)"

# A disk that is full: a device that always is, and a limit on the size of files.
for suffix in npy bin csv json safetensors; do
    ln -sf /dev/full "$tmp/full.$suffix"
    capture "$QDB" -n -batch -k "$model" -ex "dump token_embd.weight to $tmp/full.$suffix" \
        -ex 'print 1 + 1' </dev/null
    like "full disk: $suffix" "$err" 'No space left'
    like "full disk: $suffix, the session goes on" "$out" '2'
done
for suffix in npy safetensors; do
    printf old >"$tmp/limited.$suffix"
    (
        trap '' XFSZ
        ulimit -f 8
        exec "$QDB" -n -batch "$model" -ex "dump token_embd.weight to $tmp/limited.$suffix" </dev/null
    ) >/dev/null 2>"$tmp/err"
    like "full disk: $suffix too large" "$(cat "$tmp/err")" 'File too large'
    is "full disk: the old $suffix is whole, and alone" \
        "$(cat "$tmp/limited.$suffix"; find "$tmp" -name "limited.$suffix*" | wc -l | tr -d ' ')" "old1"
done

finish
