#!/bin/sh
# SPDX-License-Identifier: MIT
# Recipes on the command line: written for each program, explained, and bad ones refused.
. "${QDB_TOP:-.}/tests/harness/tap.sh"

qdb() { capture "$QDB" -n --demo -batch "$@" </dev/null; }

for kind in llama-quantize ik thireus; do
    qdb -ex "export recipe $tmp/r for $kind" -ex "recipe explain $tmp/r for $kind"
    is "written and explained for $kind" "$status$err" 0
    like "says how it is used" "$out" "$tmp/r"
    unlike "no rule overlaps or is dead" "$out" 'overlaps|dead'
    unlike "and no matrix is without" "$out" 'no rule'
done
like "tensors are fetched by it, so vectors have rules too" "$(cat "$tmp/r")" '_norm\\\.weight\$=f32'
like "comments sum it up" "$(cat "$tmp/r")" '^# .*: [0-9.]+ bits per weight'
qdb -ex "export recipe $tmp/r" -ex "recipe explain $tmp/r"
is "it is recognised again" "$(printf '%s\n' "$out" | grep -c 'read as llama-quantize')" 1

qdb -ex 'quant blk.0.attn_q.weight tq2_0' -ex "export recipe $tmp/r for ik"
is "a type that the program does not have" "$status" 1
like "is refused with the tensor" "$err" 'ik have no tq2_0, which blk\.0\.attn_q\.weight'

printf '%s\n' 'ffn_down=q6_k' 'ffn=q4_k' 'blk\.0\.ffn_up=q8_0' 'nothing=f16' >"$tmp/bad"
qdb -ex "recipe explain $tmp/bad"
like "a rule that earlier ones leave nothing" "$out" 'blk\\\.0\\\.ffn_up.* 1 +0 +dead: earlier'
like "a rule that matches nothing" "$out" 'nothing .* 0 +0 +dead: matches no tensor'
like "rules that overlap" "$out" '^ *1 .*overlaps 2$'
like "matrices without a rule" "$out" 'attn_q\.weight +- +- +- '
like "what decides" "$out" '^blk\.1\.ffn_down\.weight +1 +q6_k'

# What no program quantizes is matched, and left as it is.
echo '.*=q4_0' >"$tmp/all"
qdb -ex "recipe explain $tmp/all for llama-quantize" -ex "import recipe $tmp/all for llama-quantize"
decided=$(printf '%s
' "$out" | sed -n 's/^ *1 *1  *[.][*] *q4_0 *\([0-9]*\) *\([0-9]*\)$/\1 \2/p')
is "norms are matched" "${decided% *}" "$(printf '%s\n' "$out" | grep -c '^[a-z_0-9.]*weight  *1 ')"
like "and not decided" "$out" '^blk\.0\.attn_norm\.weight +1 +q4_0 +f32 +f32$'
like "as import counts" "$out" "^now +weights ${decided#* } "
like "that is said" "$out" '^[0-9]+ tensors stay as the file has them'
printf '%s\n' '_norm=q4_0' >"$tmp/all"
qdb -ex "recipe explain $tmp/all"
like "a rule about nothing else is dead" "$out" ' 0  dead: what it matches stays as it is$'

printf '%s\n' 'blk\.0\.(attn=q4_0' >"$tmp/bad"
qdb -ex "recipe explain $tmp/bad"
like "a pattern is shown as it was written" "$err" 'blk\\\.0\\\.\(attn'

for text in 'a' 'a=q4_k_m' '(=q4_0' '=q4_0'; do
    printf '%s' "$text" >"$tmp/bad"
    qdb -ex "recipe explain $tmp/bad"
    is "refused: $text" "$status" 1
    like "with its line" "$err" 'line 1: '
done
# Types that other programs have: refused when it is said what the recipe is for, else a hint at it.
echo 'attn_q=iq4_ks' >"$tmp/ik"
for command in 'recipe explain' 'import recipe'; do
    qdb -ex "$command $tmp/ik for llama-quantize"
    is "a type of ik_llama.cpp is none of llama-quantize's: $command" "$status" 1
    like "which is said" "$err" 'line 1: recipes for llama-quantize have no type: iq4_ks'
    like "with who has it" "$err" 'those for ik do: .for ik. reads them'
done
qdb -ex "recipe explain $tmp/ik"
like "without a word it is ik's" "$out" '^read as ik does'
printf 'attn_q=iq4_ks\nattn_k=q4_K\n' >"$tmp/ik"
qdb -ex "recipe explain $tmp/ik"
like "in lines it is Thireus's" "$out" '^read as thireus does'
echo 'attn_q=tq2_0,attn_k=q4_0' >"$tmp/ik"
qdb -ex "recipe explain $tmp/ik"
like "and the other way round" "$err" 'recipes for ik have no type: tq2_0'
like "for llama-quantize" "$err" 'those for llama-quantize do'

for words in 'recipe' 'recipe explain' 'recipe x y' "recipe explain $tmp/r for" \
    "recipe explain $tmp/r for else" 'export recipe' "export recipe $tmp/r to x" \
    "recipe explain $tmp/none"; do
    qdb -ex "$words"
    is "refused: $words" "$status" 1
done

# Out and in again: the same formats, as one change.
qdb -ex 'quant blk.*.ffn_down.weight q4_0' -ex 'quant blk.0.attn_q.weight q8_0' \
    -ex "export recipe $tmp/r" -ex "export gguf $tmp/a.gguf" -ex 'undo' -ex 'undo' \
    -ex "import recipe $tmp/r" -ex "export gguf $tmp/b.gguf" -ex 'info changes'
is "imported" "$status$err" 0
like "as one change" "$out" "^ +[0-9]+ +import recipe $tmp/r "
capture "$QDB" -n -batch -ex "diff $tmp/a.gguf $tmp/b.gguf"
like "with the same tensors" "$out" '^1 key differs, .* 0 of [0-9]+ tensors differ'
qdb -ex "import recipe $tmp/r" -ex "import recipe $tmp/r"
like "twice is once" "$out" 'every weight has its format already'
echo 'nobody=q4_0' >"$tmp/r"
qdb -ex "import recipe $tmp/r"
is "a recipe for another model" "$status" 1
like "is refused" "$err" 'no rule is about a weight of this model'
# matching it takes steps without end
echo '^(([a-z._0-9]+)+)+[!?]$=q4_0' >"$tmp/r"
qdb -ex "recipe explain $tmp/r"
is "a pattern that never ends" "$status" 1
like "is given up" "$err" 'takes too many steps'

finish
