#!/bin/sh
# SPDX-License-Identifier: MIT
# The command line: options, scripts, where output goes, exit statuses.
. "${QDB_TOP:-.}/tests/harness/tap.sh"

NO_COLOR=1
export NO_COLOR
qdb() { capture "$QDB" -n "$@" </dev/null; }

qdb --version
is "--version" "$out $status" "$("$QDB" --version) 0"
qdb --help
is "--help succeeds" "$status" 0
check "--help fits a screen" test "$(printf '%s\n' "$out" | wc -l)" -le 24
unlike "--help is at most 80 columns wide" "$out" '.{81}'

# Usage errors come before anything runs.
for args in --nonsense -ex --output=xml --threads=many --mem=much 'a b' '--demo a' \
    '--lua x' --tui; do
    # shellcheck disable=SC2086 # several words
    qdb -ex 'echo ran' $args
    is "usage error: $args" "$status $out" "2 "
    like "which says why: $args" "$err" 'qdb'
done

# -ex and -x run in order; the first failure ends a batch, unless -k.
echo 'echo from file' >"$tmp/script"
qdb -batch -ex 'echo one' -x "$tmp/script" -ex 'echo two; echo three'
is "-ex and -x in order" "$out" "one
from file
two
three"
is "success" "$status$err" 0
qdb -batch -ex 'echo one' -ex 'nonsense' -ex 'echo two'
is "the first failure ends a batch" "$status $out" "1 one"
qdb -batch -k -ex 'echo one; nonsense; echo two' -ex 'echo three'
is "-k goes on" "$status $out" "1 one
two
three"
qdb -batch -ex 'echo one; nonsense; echo two'
is "a failure ends its line" "$status $out" "1 one"
qdb -batch -ex 'quit 7' -ex 'echo no'
is "quit ends with a status" "$status $out" "7 "
qdb -batch -x "$tmp/none"
is "a script that is absent" "$status" 1
like "is named" "$err" 'none'
qdb -batch -ex 'source /'
like "a folder is no script" "$err" 'is a directory'

# Errors: what, the line with a caret, the hint; on standard error.
qdb -batch -ex 'echo ok; sett width 3'
is "an error" "$err" "error: no command \`sett\`
  echo ok; sett width 3
           ^~~~
did you mean \`set\`?"
printf '# comment\n\nset width 3\n  set \\\n wdith 4\necho no\n' >"$tmp/bad"
qdb -batch -x "$tmp/bad"
like "names file and line" "$err" "bad:4: error: no setting \`wdith\`"
is "and ends the script" "$out" ""
echo "source $tmp/bad" >"$tmp/outer"
qdb -batch -ex "source $tmp/outer" -ex 'echo no'
is "an error in a script inside a script is shown once" "$(printf '%s\n' "$err" | grep -c error:)" 1
is "and ends all" "$status $out" "1 "
echo "source $tmp/self" >"$tmp/self"
qdb -batch -x "$tmp/self"
like "a script that runs itself ends" "$err" 'nested more than'

# A name of a file that is empty is said to be, by every command and option.
for words in 'export recipe ""' 'export gguf ""' "open ''" 'ref trace ""' 'source ""' 'diff "" a' \
    'diff a ""' 'plan save ""' 'plan diff ""' 'imatrix merge a "" into b' 'log on ""' 'once ""' \
    'save breaks ""' 'ppl ""' 'ppl a save ""' 'kl base ""' 'data ""' 'task ""' 'recipe explain ""' \
    'prompt -f ""' 'dump blk.0.attn_norm.weight ""' 'bench model ""' \
    'set tensor blk.0.attn_norm.weight = file ""'; do
    qdb --demo -batch -ex "$words"
    is "no file: $words" "$status $(printf '%s\n' "$err" | head -n 1)" '1 error: the name of a file is empty'
done
qdb --demo -batch -ex 'prompt "" > /dev/null' -ex 'echo ""'
unlike "an empty text is none" "$err" 'name of a file'
qdb -batch -x ''
is "-x without a name" "$status $(printf '%s\n' "$err" | head -n 1)" '2 qdb: -x needs the name of a file'

# Standard input.
capture "$QDB" -n <<'END'
echo one
echo two # comment
nonsense
echo three
END
is "commands from a pipe" "$status $out" "1 one
two"
like "errors name the line" "$err" '^stdin:3: error:'
capture "$QDB" -n -batch <<'END'
echo in a batch
END
is "a batch without commands reads them" "$status $out" "0 in a batch"
printf 'echo no newline' | "$QDB" -n >"$tmp/out"
is "a last line without newline" "$(cat "$tmp/out")" "no newline"
capture "$QDB" -n -ex 'echo a' </dev/null
is "-ex does not read a pipe" "$status $out" "0 a"

# The model on the command line is opened without a word, as scripts want it.
model=$QDB_TOP/tests/golden/models/llama-gqa-tied.gguf
qdb "$model" -batch --output json -ex 'info models'
like "a model, and then the commands" "$out" '^\{"command": "info models", "status": "ok"'
is "nothing before them" "$(printf '%s\n' "$out" | wc -l)" 1
qdb "$tmp/none.gguf" -batch -ex 'echo no'
is "no model, no commands" "$status $out" "1 "
like "and a reason" "$err" 'none.gguf'

# Output: modes, files, shells.
qdb -batch --output json -ex 'echo a; nonsense'
is "json: one line per command" "$(printf '%s\n' "$out" | grep -c '^{"command": .*}$')" 2
is "json: errors are in it" "$status$err" 1
like "json: with their hints" "$out" '"error": \{"message": "no command `nonsense`", "where": "", "hint":'
qdb -batch --output csv -ex 'show seed'
is "csv" "$out" "setting,value,choices,meaning
seed,1,0 and up,seed of everything that is drawn at random"
qdb -batch --output md -ex 'show seed'
like "md" "$out" '^\| --- \| --- \| --- \| --- \|$'
qdb -batch -ex "show seed > $tmp/one; echo more >> $tmp/one; once $tmp/two; echo second; echo third"
is "> and once" "$out" "third"
is "> writes, >> appends" "$(sed -n '1p;$p' "$tmp/one")" "setting  seed
more"
is "once writes" "$(cat "$tmp/two")" "second"
qdb -batch -ex "echo a > $tmp"
is "> to a folder fails" "$status" 1
qdb -batch -ex 'echo b | tr b c; x' -ex 'pipe echo "d;e" | cat' -ex '!echo shell; exit 0'
is "| gives the rest of the line to the shell" "$status" 1
qdb -batch -ex 'echo b | tr b c' -ex 'pipe echo "d;e" | cat' -ex '!echo shell; exit 0'
is "pipes and shells" "$out" "c
d;e
shell"
qdb -batch -ex 'echo a | false'
is "a shell command that fails" "$status" 1
qdb -batch -ex 'show | head -n 1'
is "one that stops reading does not" "$status" 0
qdb -batch -ex "log on $tmp/log; echo logged; log off; echo not"
is "log" "$(cat "$tmp/log")" "logged"
qdb -batch -ex 'with output=csv -- show seed' -ex 'show output'
is "with holds while the result is shown" "$(printf '%s\n' "$out" | sed -n '1p;4p')" \
    "setting,value,choices,meaning
value    text"

# Colour and settings from the command line, the rc file and the environment.
capture "$QDB" -n -batch --color always -ex nonsense
like "--color always" "$err" "$(printf '\033')"
unset NO_COLOR
CLICOLOR_FORCE=1 capture "$QDB" -n -batch -ex nonsense
like "CLICOLOR_FORCE" "$err" "$(printf '\033')"
NO_COLOR=1 CLICOLOR_FORCE=1 capture "$QDB" -n -batch -ex nonsense
unlike "NO_COLOR comes before it" "$err" "$(printf '\033')"
capture "$QDB" -n -batch -ex nonsense
unlike "no colour where there is no terminal" "$err" "$(printf '\033')"
mkdir -p "$HOME/.config/qdb"
echo 'set seed 5; nonsense' >"$HOME/.config/qdb/qdbrc"
capture "$QDB" -batch --seed 6 -ex 'show seed'
like "the command line wins over the rc file" "$out" '^value +6$'
like "a bad rc file is named" "$err" 'qdbrc:1: error'
is "and does not count" "$status" 0
capture "$QDB" -batch -n -ex 'show seed'
like "-n leaves it out" "$out" '^value +1$'
QDB_KERNELS=c capture "$QDB" -n -batch -ex 'show kernels'
like "QDB_KERNELS" "$out" '^value +c$'
QDB_KERNELS=c capture "$QDB" -n -batch -ex 'info kernels'
like "and it is said to rule" "$out" '^c +in use +QDB_KERNELS '
QDB_KERNELS=none capture "$QDB" -n -batch --kernels c -ex 'info kernels'
like "the option comes before it" "$out" '^c +in use +--kernels '
capture "$QDB" -n -batch --kernels c -ex 'set kernels auto' -ex 'set kernels c' -ex 'info kernels'
like "and set after both" "$out" '^c +in use +set kernels '
QDB_KERNELS=none capture "$QDB" -n -batch -ex 'info kernels'
is "an unknown level in the environment is a usage error" "$status" 2
like "which is named" "$err" 'QDB_KERNELS has no such value'
like "with what there is" "$err" 'auto\|c\|'
level=$("$QDB" -n -batch --output csv -ex 'info kernels' | sed -n 's/,not here,.*//p' | head -n 1)
if [ "$level" ]; then
    QDB_KERNELS=$level capture "$QDB" -n -batch -ex 'info kernels'
    like "a level that this machine lacks" "$status $err" "1 error: .*the level $level .*QDB_KERNELS"
    QDB_KERNELS=c capture "$QDB" -n -batch --kernels "$level" -ex 'info kernels'
    like "names who asked for it" "$err" " --kernels\$"
else
    skip "a level that this machine lacks" "it has all"
fi
capture "$QDB" -n -batch --kernels c -ex 'set width 80' -ex 'info kernels'
unlike "the levels fit a screen, uncut" "$out" '…|\.\.$|.{81}'
QDB_KERNELS='' capture "$QDB" -n -batch -ex 'show kernels'
like "an empty one is none" "$out" '^value +auto$'

# Every command has help that fits a screen, and the documents are those of the program.
qdb -batch -ex 'with output=csv -- help all'
bad=
for verb in $(printf '%s\n' "$out" | sed '1d;s/,.*//'); do
    text=$("$QDB" -n -batch -ex "help $verb") || bad="$bad $verb"
    printf '%s\n' "$text" | grep -Eq '.{81}' && bad="$bad $verb(wide)"
done
is "help of every command" "$bad" ""
qdb -batch -ex 'help nonsense'
is "help for what is not there" "$status" 1
qdb -batch -ex 'explain perplexity'
like "explain" "$out" 'guessing between that many'

# What cannot be written is said, and nothing foreign gets between the tables.
err=$("$QDB" -n -batch -ex 'show' 2>&1 >/dev/full)
is "a full disk behind standard output" "$? $err" \
    "1 error: not all results could be written to standard output"
qdb -batch -ex 'log on /dev/full' -ex 'echo one' -ex 'echo two'
is "a full disk behind the log" "$out $(printf '%s\n' "$err" | grep -c 'log cannot be written')" \
    "one
two 1"
"$QDB" -n -batch -ex "log on $tmp/log2" -ex 'echo one' >&- 2>"$tmp/err"
is "results do not go into a file when standard output is closed" "$? $(cat "$tmp/log2")" "1 one"
(trap '' XFSZ && ulimit -f 1 && "$QDB" -n -batch --demo -ex "dump token_embd.weight $tmp/no.npy") 2>"$tmp/err"
is "a file that cannot be written is no success" "$?" 1
like "the reason is told" "$(cat "$tmp/err")" 'writing failed: [A-Z].*no\.npy'
is "nothing is left of it" "$(find "$tmp" -name 'no.npy*')" ""
qdb -batch --output json -ex 'shell echo foreign'
unlike "JSON has standard output for itself" "$out" '^foreign'
is "and the shell standard error" "$err" foreign
qdb --demo -batch -ex 'summary nonsense'
is "a failed summary shows no table" "$status $out" "1 "
qdb --demo -batch -ex 'prompt -t 1,2,3' -ex 'break blk.0.out[tok=3:]' \
    -ex 'break blk.1.out[tok=2:]' -ex run
like "tokens of a breakpoint may be open at the end" "$out" '^breakpoint +2 +s0:blk.1.out'

ids=1$(printf ',%.0s1' $(seq 256))
qdb --demo -batch -ex "prompt -t $ids"
like "a prompt longer than the model knows is said to be" "$out" 'longer than the 256 tokens'

qdb --demo -batch -ex 'set compute fast' -ex "ppl $QDB_TOP/tests/golden/add_sums.txt ctx 64 chunks 1"
like "a perplexity in mode fast names its floor" "$out" 'fast_floor'
qdb --demo -batch -ex "ppl $QDB_TOP/tests/golden/add_sums.txt ctx 64 chunks 1"
unlike "one in mode exact has none" "$out" 'fast_floor'
capture "$QDB" -n --demo -batch -ex 'set compute fast' -ex 'set kernels c' -ex 'prompt "lomu"' \
    -ex run -ex 'set kernels auto' -ex 'info runs'
like "a run names the level it began with" "$out" '^main .* fast +c +'
like "and a change of level says that it stays" "$out" 'runs that there are stay as they are'

qdb --demo -batch -ex 'prompt -t 1,2 > /dev/null' -ex 'set compute native'
like "a run keeps its mode, as is said" "$out" 'the next .prompt. takes it'
qdb --demo -batch -ex 'prompt -t 1,2 > /dev/null' -ex 'checkpoint s0:end'
like "a checkpoint has no name of a position" "$err" 'without .:.'
echo precious >"$tmp/keep"
qdb --demo -batch -ex "summary nonsense > $tmp/keep"
is "a command that fails leaves the file it should have gone to" "$status $(cat "$tmp/keep")" "1 precious"
qdb --demo -batch -ex "once $tmp/keep" -ex "summary nonsense"
is "so does once" "$(cat "$tmp/keep")" precious
printf 'echo run\n\000\n' >"$tmp/binary"
qdb -batch -x "$tmp/binary"
is "a file that is no text is not run" "$status $out" "1 "
like "and it is said" "$err" 'not a text: byte 9 is 0'

finish
