#!/bin/sh
# SPDX-License-Identifier: MIT
# Evaluations that stop early, what they were made on, and what a hostile user gets.
. "${QDB_TOP:-.}/tests/harness/tap.sh"

qdb() { capture "$QDB" -n -batch "$@" </dev/null; }

"$QDB" -n -batch --demo=add </dev/null >/dev/null 2>&1 || {
    skip "evaluations" "the demo model add is not built in"
    finish
    exit 0
}
# A field of the n-th record that has it.
field() { printf '%s\n' "$out" | awk -v f="$1" -v n="${2:-1}" '$1 == f && ++k == n { print $2 }'; }

qdb --demo=add -ex 'data add tokens 4000' -ex 'quant blk.1.* q4_0' -ex 'kl' -ex 'kl until 0.01' \
    -ex 'kl until 1e-9' -ex 'verify until 0.01'
is "kl until" "$status$err" 0
check "stops early" test "$(field segments 3)" -lt "$(field segments_of 2)"
is "with the intervals for it" "$(field interval 1) $(field interval 2)" 'bootstrap anytime'
like "and says so" "$out" '^stopped early: after [0-9]+ of [0-9]+ segments the interval of kl is'
like "or comes to the end" "$out" '^not stopped early: the interval of kl is not that narrow'
is "where the mean is the same" "$(field kl 1)" "$(field kl 3)"
like "verify too" "$out" '^look 1 at the half'
qdb --demo=add -ex 'data add tokens 4000' -ex 'quant blk.1.* q4_0' \
    -ex "check 'kl < 1' 'top1 > 0.1' until decided"
is "check until decided" "$status$err" 0
like "says after how many" "$out" '^decided after 32 of [0-9]+ segments, [0-9]+ tokens'
qdb --demo=add -ex 'data add' -ex 'quant blk.1.* q4_0' -ex "check 'kl < 1' until decided"
like "at the end as well" "$out" '^decided after 32 of 32 segments'
qdb --demo=add -ex 'data add' -ex 'quant blk.1.* q4_0' -ex "check 'kl < 1e-9' until now"
is "until what?" "$status" 1
printf 'one two three four five six seven eight nine ten\n%.0s' \
    1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 >"$tmp/text"
qdb --demo -ex "ppl $tmp/text ctx 16 until 1000%"
is "ppl until" "$status$err" 0
like "with its interval" "$out" '^low '
like "stops early" "$out" '^stopped early: .* chunks the interval of perplexity'
for words in "kl until" "kl until 0" "kl until -1%" "kl until nan" "kl base x until 1" \
    "kl base x -v" \
    "ppl $tmp/text until 1 save $tmp/x"; do
    qdb --demo -ex "data $tmp/text" -ex "$words"
    is "$words: refused" "$status" 1
done

# The text that an importance matrix was made from, beside the one of the evaluation.
words() {
    awk -v seed="$1" 'BEGIN { srand(seed); for (i = 0; i < 900; i++) {
        w = ""; for (k = 0; k < 5; k++) w = w sprintf("%c", 97 + int(26 * rand())); print w } }'
}
words 1 >"$tmp/one.txt"
words 2 >"$tmp/two.txt"
{ head -c 2700 "$tmp/one.txt"; head -c 2700 "$tmp/two.txt"; } >"$tmp/half.txt"
case $QDB in /*) ;; *) QDB=$PWD/$QDB ;; esac
golden=$(cd "$QDB_TOP/tests/golden" && pwd)
cd "$tmp" || exit 99
qdb --demo -ex 'imatrix collect one.txt ctx 16 to one.gguf' -ex 'quant blk.*.ffn_down.weight q4_0' \
    -ex 'data one.txt' -ex kl -ex 'data two.txt' -ex verify -ex 'data half.txt' -ex kl \
    -ex "check 'kl < 100'" -ex 'imatrix save one.dat' -ex 'export gguf q.gguf'
is "calibrated on a text" "$status$err" 0
is "the same text" "$(field calibration_overlap 1)" 1.000
is "another one" "$(field calibration_overlap 2)" 0
like "half of it" "$(field calibration_overlap 3)" '^0?\.(4[6-9]|5[0-3])'
is "warned of by kl and by check" "$(printf '%s\n' "$out" | grep -c 'the figures flatter it')" 3
like "the older form has no place for it" "$out" '^the older form has no place'
qdb q.gguf -ex 'info kv' -ex 'open --demo as ref' -ex 'data one.txt' -ex 'report q.gguf ref ref' \
    -ex 'data two.txt' -ex 'report q.gguf ref ref'
is "a file that says what it was made from" "$status$err" 0
like "as it was exported" "$out" 'qdb.calibration.compared_with +string +"half.txt"'
like "is reported with it" "$out" '^q.gguf: 100 % of the evaluation set'
is "where it matters" "$(printf '%s\n' "$out" | grep -c 'the figures flatter it')" 1
qdb --demo -ex 'imatrix load one.gguf' -ex 'quant blk.*.ffn_down.weight q4_0' -ex 'data one.txt' -ex kl
is "read from a file" "$(field calibration_overlap 1)" 1.000
qdb --demo -ex 'imatrix load one.dat' -ex 'quant blk.*.ffn_down.weight q4_0' -ex 'data one.txt' -ex kl
is "of the older form" "$(field calibration_overlap 1)" ""
like "the name is what there is" "$out" 'made from a text of the same name'

# The statistics of llama-perplexity on logits that any engine has: its lines, digit by digit
# (golden/make_statistics.py).
as_printed() {
    printf '%s\n' "$out" | tr -d '"' | sed 's/, %//' | awk -F, '
        { v[$1] = $2; e[$1] = $3 }
        function both(label, name, fmt) { printf "%s " fmt " ± " fmt "\n", label, v[name], e[name] }
        function percentiles(of, label, fmt, list, n, i, p, name) {
            n = split(list, p, " ")
            for (i = 1; i <= n; i++) {
                name = p[i] == 100 ? "Maximum" : p[i] == 0 ? "Minimum" \
                    : p[i] == 50 ? "Median " : sprintf("%4.1f%%  ", p[i])
                sub(/^ /, "", name)
                printf "%s %s: " fmt "\n", name, label, v[of " p" p[i]]
            }
        }
        END {
            both("Mean PPL(Q)                   :", "perplexity", "%10.6f")
            both("Mean PPL(base)                :", "base perplexity", "%10.6f")
            printf "Cor(ln(PPL(Q)), ln(PPL(base))): %6.2f%%\n", v["correlation of ln"]
            both("Mean ln(PPL(Q)/PPL(base))     :", "ln ratio", "%10.6f")
            both("Mean PPL(Q)/PPL(base)         :", "ratio", "%10.6f")
            both("Mean PPL(Q)-PPL(base)         :", "difference", "%10.6f")
            both("Mean    KLD:", "kl", "%10.6f")
            percentiles("kl", "KLD", "%10.6f", "100 99.9 99 95 90 50 10 5 1 0.1 0")
            printf "Mean    Δp: %6.3f ± %5.3f %%\n", v["dp"], e["dp"]
            percentiles("dp", "Δp", "%6.3f%%", "100 99.9 99 95 90 75 50 25 10 5 1 0.1 0")
            printf "RMS Δp    : %6.3f ± %5.3f %%\n", v["rms dp"], e["rms dp"]
            printf "Same top p: %6.3f ± %5.3f %%\n", v["same top"], e["same top"]
        }'
}
sed -n 1p "$golden/statistics.txt" | tr -d '\n' >letters
tail -n +3 "$golden/statistics.txt" >printed
qdb "$golden/models/exact-base.gguf" -ex 'ppl letters ctx 64 save base'
is "a base file" "$status$err" 0
is "is llama-perplexity's, byte for byte" "$(cksum <base)" "$(sed -n 2p "$golden/statistics.txt")"
qdb "$golden/models/exact-other.gguf" --output csv -ex 'kl base base'
as_printed >here
check "kl base prints its figures" diff -u printed here
qdb "$golden/models/exact-other.gguf" --ref "$golden/models/exact-base.gguf" --output csv \
    -ex 'kl letters ctx 64 -compat'
as_printed >here
check "so does kl -compat" diff -u printed here

# Files that are none, texts that are too short.
qdb --demo=add -ex 'data add' -ex 'report --demo=add'
is "a demo model in a report" "$status$err" 0
like "is a file as others are" "$out" '^--demo=add +[0-9]+ '
echo short >short
qdb --demo -ex 'kl short ctx 64'
is "kl of a text that is too short" "$status" 1
like "says how short" "$err" 'the text has [1-9][0-9]* tokens, less than one segment of 64'

finish
