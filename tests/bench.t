#!/bin/sh
# SPDX-License-Identifier: MIT
# What people measure with: synthetic models, engines side by side, and what the help of bench says.
. "${QDB_TOP:-.}/tests/harness/tap.sh"

tools=${QDB%/qdb}/tests/bench
model=$tmp/tiny.gguf

# ---- synthetic models

make() { capture "$tools/make_synthetic" "$@"; }
make tiny q4_0 "$model"
is "a model is made" "$status" 0
make tiny q4_0 "$tmp/one.gguf" 1
check "the seed is 1 unless another is named" cmp "$model" "$tmp/one.gguf"
make tiny q4_0 "$tmp/two.gguf" 0x2
result "$(cmp -s "$model" "$tmp/two.gguf" && echo no || echo yes)" "which gives other weights"
for seed in foo 1x -1 ' 1' '' 99999999999999999999; do
    make tiny q4_0 "$tmp/bad.gguf" "$seed"
    like "'$seed' is no seed" "$status $err" '^2 usage: '
done
make tiny q4_0 "$tmp/bad.gguf" 1 2
is "nor are there two" "$status" 2
result "$([ -e "$tmp/bad.gguf" ] && echo no || echo yes)" "and no file is begun"

# ---- side by side

# Engines of fixed speeds: 8 and 2 tokens per second, 4 and 4.
for speeds in 8,2 4,4; do
    cat >"$tmp/peer-$speeds" <<END
#!/bin/sh
echo '[ { "n_prompt": 3, "n_gen": 0, "avg_ts": ${speeds%,*} },'
echo '  { "n_prompt": 0, "n_gen": 2, "avg_ts": ${speeds#*,} } ]' | tr , '\n'
END
    chmod +x "$tmp/peer-$speeds"
done
side() {
    capture "$QDB_TOP/tests/bench/side_by_side.sh" -p 3 -n 2 -r 2 -c exact "$QDB" "$model" -- "$@"
}
cp "$tmp/peer-8,2" "$tmp/a"
cp "$tmp/peer-4,4" "$tmp/b"
side a="$tmp/a" b="$tmp/b"
is "all that is asked runs" "$status" 0
like "a row of qdb" "$out" '^\| tiny\.gguf \| qdb exact \| [0-9.e+]+ \| [0-9]+ \| [0-9.]+ \| [0-9.e+]+ '
like "ratios to the best peer" "$out" '^\| tiny\.gguf \| a \| 8 \| 0 \| 1\.00 \| 2 \| 0 \| 0\.50 \|'
like "in each of the two" "$out" '^\| tiny\.gguf \| b \| 4 \| 0 \| 0\.50 \| 4 \| 0 \| 1\.00 \|'
side a="$tmp/a" x=/nofile
is "a peer that cannot start fails" "$status" 1
like "is named" "$err" 'x, .*tiny\.gguf: .*/nofile'
like "and has a row" "$out" '^\| tiny\.gguf \| x \| - \| - \| - \| - \| - \| - \| - \| - \|$'
like "which leaves the others theirs" "$out" '^\| tiny\.gguf \| a \| 8 \| 0 \| 1\.00 \|'

# ---- the help

capture "$QDB" -n -batch --output csv -ex "bench toggle \"$model\" -r 1"
scored=$(printf '%s\n' "$out" | awk -F, '/^segments,/ { getline; print $3 }')
capture "$QDB" -n -batch -ex 'with width=0 -- help bench'
like "bench toggle scores what it says" "$out" "[^0-9]$scored of each scored"

finish
