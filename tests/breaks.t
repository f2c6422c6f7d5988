#!/bin/sh
# SPDX-License-Identifier: MIT
# Breakpoints with conditions, catches, watchpoints and what they do in a batch, on the demo model.
. "${QDB_TOP:-.}/tests/harness/tap.sh"

NO_COLOR=1
export NO_COLOR
qdb() { capture "$QDB" -n --demo=sink "$@" </dev/null; }
prompt='prompt " memi nade ditto nade Tom pola Ivo kasa sevu Tom" > /dev/null'

qdb -batch -ex "$prompt" -ex 'catch nan' -ex run
is "a run without a NaN passes a catch" "$status" 0
qdb -batch -ex "$prompt" -ex 'catch outlier(20)' -ex run --output json
is "a catch that fires makes the exit status 3" "$status" 3
like "and says so" "$out" '"status": ?"found".*"catch"'
like "and where" "$out" '"tok=[0-9]+, (head=[0-9]+, )?chan=[0-9]+"'

qdb -batch -ex "$prompt" -ex 'break blk.*.out[tok=1:] if absmax > 10 and not nan' -ex run
is "a breakpoint does not" "$status" 0
like "it shows the statistic" "$out" '^breakpoint +1 +s0:blk\..*absmax +[0-9.]+ +tok=[1-9]'

qdb -batch -ex "$prompt" -ex 'dprintf blk.*.out, "largest %.3g; of %d", absmax, zero' -ex run
is "dprintf notes each place" "$(printf '%s\n' "$out" | grep -c '^s0:blk\.[0-3]\.out  largest [0-9.]*; of [0-9]*$')" 4

# Commands run at each stop; one that goes on ends the list it stands in.
cat >"$tmp/script" <<'END'
break blk.*.out
commands
when
continue
echo never
end
run
echo after
END
qdb -batch -ex "$prompt" -x "$tmp/script"
is "commands of a breakpoint run at each stop" "$(printf '%s\n' "$out" | grep -c '^position *s0:blk\.[0-3]\.out')" 4
unlike "what stands behind a continue is not run" "$out" never
is "then the script goes on" "$(printf '%s\n' "$out" | tail -n 1)" after

qdb -batch -ex 'break blk.1.out[tok=1:3] if any(abs(x) > 20*sigma)' -ex commands -ex when -ex end \
    -ex 'tbreak blk.2.out' -ex 'catch -all inf or outlier(30)' -ex 'watch rms(blk.*.out) 12.5%' \
    -ex 'dprintf blk.0.out, "a \"b\" %g\n", rms' -ex "save breaks $tmp/saved"
is "breakpoints are saved" "$(cat "$tmp/saved")" 'break blk.1.out[tok=1:3] if any(abs(x) > 20*sigma)
commands
when
end
tbreak blk.2.out
catch -all inf or outlier(30)
watch rms(blk.*.out) 12.5%
dprintf blk.0.out, "a \"b\" %g\n", rms'
qdb -batch -ex "source $tmp/saved" -ex "save breaks $tmp/again"
is "and made again as they were" "$(cat "$tmp/again")" "$(cat "$tmp/saved")"
qdb -batch -ex 'break blk.0.out' -ex 'break blk.1.out' -ex 'ignore 1 5' -ex 'disable 1' \
    -ex "save breaks $tmp/saved"
is "so are those that are off, or pass hits by" "$(cat "$tmp/saved")" 'break blk.0.out
ignore last 5
disable last
break blk.1.out'
qdb -batch -ex "source $tmp/saved" -ex "save breaks $tmp/again"
is "and made again so" "$(cat "$tmp/again")" "$(cat "$tmp/saved")"

qdb -batch -ex "$prompt" -ex 'break blk.0.out' -ex 'commands 1; when; echo seen; end; echo typed' \
    -ex run
is "commands may stand in one line" "$(printf '%s\n' "$out" | grep -c -e '^typed$' -e '^seen$' -e 's0:blk.0.out,\|^position')" 3
printf '%s\n' 'break blk.0.out' 'commands' 'when' 'nonsense' 'end' >"$tmp/broken"
qdb -batch -ex "$prompt" -ex "source $tmp/broken" -ex 'echo; run' -ex 'echo never'
like "an error in them names the script, the line and the breakpoint" "$err" \
    'broken:4: commands of breakpoint 1: error: no command .nonsense'
is "once, and ends all" "$status $(printf '%s\n' "$err" | grep -c error:) $(printf '%s\n' "$out" | grep -c never)" "1 1 0"
qdb -batch -k -ex "$prompt" -ex 'break blk.0.out; commands; nonsense; end; nonsense' -ex 'run; nonsense'
is "or the breakpoint alone, where they were typed" "$(printf '%s\n' "$err" | grep error:)" \
    'error: no command `nonsense`
commands of breakpoint 1: error: no command `nonsense`
error: no command `nonsense`'
echo nonsense >"$tmp/inner"
qdb -batch -ex "$prompt" -ex "break blk.0.out; commands; source $tmp/inner; end; run"
like "scripts that they run are named" "$err" 'inner:1: commands of breakpoint 1: error: no command'
qdb -batch -ex 'break blk.0.out' -ex 'commands 1' -ex when
is "commands without an end are an error" "$status" 1
like "that names the breakpoint" "$err" 'commands of breakpoint 1 have no .end.'
printf 'break blk.0.out\ncommands\nwhen\n' >"$tmp/script"
qdb -batch -ex "source $tmp/script" -ex 'echo never'
is "in a script as well" "$status $(printf '%s\n' "$out" | grep -c never)" "1 0"
capture "$QDB" -n -batch --demo <"$tmp/script"
is "and on standard input" "$status" 1

qdb -batch -ex 'break blk.0.out if absmax > x'
is "a bad condition" "$status" 1
like "is pointed at" "$err" '^ +\^$'
qdb -batch -ex 'watch blk.0.out'
like "a watchpoint wants one number" "$err" 'which statistic'
qdb -batch -ex 'dprintf blk.0.out, "%g", nonsense'
like "dprintf wants statistics" "$err" 'no statistic'
qdb -batch -ex 'dprintf blk.0.out, "%g of %s", absmax, zero'
is "its format takes numbers only" "$(printf '%s\n' "$err" | grep -c '^ \{28\}^~$')" 1
qdb -batch -ex 'dprintf blk.0.out, "%g%% %g", absmax'
like "and one for each statistic" "$err" '2 numbers in the format, 1 statistic'
qdb -batch -ex 'watch absmax('
like "a watchpoint's parenthesis wants its end" "$err" 'without its'
like "and is pointed at" "$err" '^ {14}\^$'
qdb -batch -ex 'end'
is "end alone is an error" "$status" 1

# Back to the beginning of a unit.
capture "$QDB" -n -batch "$QDB_TOP/tests/golden/models/llama-gqa-tied.gguf" --output csv </dev/null \
    -ex 'prompt -t 5,9,3' -ex 'until blk.1.ffn_down.out' -ex reverse-finish -ex when \
    -ex 'reverse-finish block' -ex when -ex 'reverse-finish span' -ex when
is "reverse-finish goes back to the beginning of the sub-layer, the block, the span" \
    "$(printf '%s\n' "$out" | grep ',main$')" "s0:blk.1.mid,main
s0:blk.0.out,main
s0:start,main"

finish
