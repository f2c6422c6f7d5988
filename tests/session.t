#!/bin/sh
# SPDX-License-Identifier: MIT
# A session on a real model at a terminal of 80x24: open, prompt, stop in the middle, look, step back,
# go on; then the same words in a batch.
. "${QDB_TOP:-.}/tests/harness/tap.sh"
. "$QDB_TOP/tests/harness/terminal.sh"

if ! model=$(data stories260K/stories260K-f32.gguf); then
    skip "a session on a real model" "stories260K-f32.gguf is not here; QDB_DATA names the folder"
    finish
    exit
fi
needs_terminal "a session on a real model"

# What the last command showed: the screen from that command to the prompt.
answer() { screen | awk -v line="(qdb) $1" 'index($0, line) == 1 { on = 1; text = ""; next }
                                            on && !/^\(qdb\*?\)/ { text = text $0 "\n" }
                                            END { printf "%s", text }'; }
ask() { enter "$1" && answer "$1"; }

cd "$(dirname "$model")" || exit 99
model=$(basename "$model")
terminal "$QDB" -n -q
like "opens" "$(ask "open $model")" 'stories260K'
like "shows the tokens of a prompt" "$(ask 'prompt "Once upon a time"')" '378 +time'
like "breaks" "$(ask 'break blk.2.ffn_down.out')" 'blk\.2\.ffn_down\.out'
like "runs to the breakpoint" "$(ask run)" 'blk\.2\.ffn_down\.out'
like "knows where it is" "$(ask where)" 'blk\.2'
like "ranks outliers" "$(ask 'outliers blk.2.ffn_down.in')" '^blk\.2\.ffn_down\.in +4 +time'
like "shows values" "$(ask 'print blk.2.ffn_down.out[tok=-1, chan=0:4]')" '[0-9]\.[0-9]'
before=$(ask 'when')
like "steps" "$(ask step)" 'blk\.2\.out'
like "steps back" "$(ask reverse-step)" 'blk\.2\.ffn_down\.out'
is "to where it was" "$(ask when)" "$before"
like "goes on to the end" "$(ask continue)" 'output'
like "generates" "$(ask 'delete; gen 12')" 'there was a little girl'
typed 'ppl ../text/wiki.test.raw'
keys Enter
check "shows how far long work is" wait_for 'perplexity .*to go'
check "for as long as it takes to see a chunk" wait_for 'perplexity [1-9]'
keys C-c
check "^C ends it" until_true at_prompt
like "keeps what is done" "$(screen)" '^chunks +[1-9]'
like "and the session" "$(ask where)" 'span'
keys C-d
terminal_end
is "leaves" "$status" 0

capture "$QDB" -n -batch --output json "$model" -ex 'prompt "Once upon a time"' \
    -ex 'break blk.2.ffn_down.out' -ex run -ex reverse-step -ex continue
is "the same in a batch" "$status$err" 0
is "one object per command" "$(printf '%s\n' "$out" | grep -c '^{"command": .*}$')" 5
like "which tells a stop" "$out" '"command": "run", "status": "stopped"'
finish
