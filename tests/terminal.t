#!/bin/sh
# SPDX-License-Identifier: MIT
# qdb at a real terminal: prompt, editing, completion, history, interruption.
. "${QDB_TOP:-.}/tests/harness/tap.sh"
. "$QDB_TOP/tests/harness/terminal.sh"

needs_terminal "a terminal"

terminal "$QDB" -n
check "a prompt comes" until_true at_prompt
enter 'echo hello'
like "a command answers" "$(screen)" '^hello$'
enter 'shell echo "[$COLUMNS$LINES]"'
like "the size of the screen is not exported" "$(screen)" '^\[\]$'
typed 'hel'
keys Tab
check "Tab completes a verb" wait_for '\(qdb\) help ?$'
keys Enter
check "which runs" wait_for '^support '
until_true at_prompt
keys Up
check "Up brings the last command back" wait_for '^\(qdb\) help ?$'
keys C-c
check "^C leaves the line" until_true at_prompt
enter 'echo again'
keys Up Up
check "^C takes nothing from the history" wait_for '^\(qdb\) help ?$'
keys C-c
until_true at_prompt
enter 'break blk.0.out'
typed 'commands'
keys Enter
check "commands of a breakpoint are typed at a prompt of their own" wait_for '^>'
keys C-c
check "^C leaves it" wait_for '^the commands typed are dropped$'
until_true at_prompt
enter 'sett width 3'
like "a caret shows where an error is" "$(screen)" '^ *\^~~~$'
typed 'data t'
keys Tab Tab
check "where words and files may stand, both are offered" wait_for 'tests/.*tokens'
keys C-u
keys C-d
terminal_end
is "^D ends the session" "$status" 0

terminal "$QDB" -n
until_true at_prompt
keys Up Up
check "history outlives the session" wait_for '^\(qdb\) commands$'

if "$QDB" -n -batch --demo=add </dev/null >/dev/null 2>&1; then
    terminal "$QDB" -n -q --demo=add
    until_true at_prompt
    enter 'data add tokens 400000'
    typed 'quant blk.0.attn_q.weight q4_0'
    keys Enter
    check "quant shows what it has while it measures" wait_for '^local +layer_sqnr '
    check "and the kl so far" wait_for '^measured [0-9]+ %, kl [0-9.e-]+'
    keys e
    check "a key ends the measurement and begins the next line" wait_for '^\(qdb\*\) e$'
    like "what was measured by then is shown" "$(screen)" '^ended by a key before all segments'
    typed 'cho still here'
    keys Enter
    check "which goes on" wait_for '^still here$'
    keys C-d
    terminal_end
else
    skip "the stages of quant" "the demo model add is not built in"
fi
finish
