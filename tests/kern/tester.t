#!/bin/sh
# SPDX-License-Identifier: MIT
# The proof of the kernels finds what it must find: kernels that are wrong in known ways, each by what
# is wrong with it, while the others go on.
. "${QDB_TOP:-.}/tests/harness/tap.sh"

kern=${QDB%/qdb}/tests/kern/kern
capture "$kern" --faulty
is "wrong kernels fail the run" "$status" 1
like "every kernel had its turn" "$out" "^1\.\.$(printf '%s\n' "$out" | grep -Ec 'ok [0-9]* - (faulty|tiles)/')\$"
like "a right one passes" "$out" "^ok 1 - faulty/right c\$"
is "all others fail" "$(printf '%s\n' "$out" | grep -c '^ok .*faulty/')" 1

# The lines after the one of a kernel, up to the next.
said() { printf '%s\n' "$out" | sed -n "/^not ok .*faulty\/$1 /,/again:/p"; }
finds() { like "faulty: $1" "$(said "$1")" "$2"; }
finds "reads after" '^#   Segmentation fault: 0 bytes after the end of x \('
finds "reads before" '^#   Segmentation fault: 4 bytes before x'
finds "writes after" '(Segmentation fault: |^#   writes )0 bytes after the end of y'
finds "writes before" '(Segmentation fault: 1 bytes|^#   writes 1 bytes) before y'
finds "writes its input" '^#   Segmentation fault: writes to byte [0-9]+ of the input x'
finds "forgets the tail" '^#   y\[[0-9]+\] of [0-9]+ is '
finds "is off by an ulp" '^#   y\[[0-9]+\] of [0-9]+ is '
finds "loses the sign of zero" ' is 0 \(0x0p\+0\), not -0 '
finds "flushes denormals" '^#   with [0-9]+ numbers, denormal'
finds "trusts the stack" '^#   y\[0\] of [0-9]+ is '
finds "is illegal" '^#   Illegal instruction'
finds "aborts" '^#   Aborted'
if printf '%s\n' "$out" | grep -q 'faulty/loses a register'; then
    finds "divides by zero" '^#   Floating point exception'
    finds "leaves denormals off" 'leaves other floating-point controls'
    finds "loses a register" 'changes a register that it must keep'
fi

# Tiles that a CPU would refuse are refused where they are emulated, as it would.
is "tiles that fit are multiplied, no others" \
    "$(printf '%s\n' "$out" | sed -n 's/^ok [0-9]* - tiles/tiles/p')" "tiles/tiles c"
refused() { printf '%s\n' "$out" | sed -n "/^not ok .*tiles\/$1 /{n;s/^# *//p;}"; }
for what in "another palette" "a reserved byte" "a reserved tile" "a row of reserved tiles" \
    "rows too wide" "too many rows" "bytes without rows" "rows without bytes"; do
    is "a configuration is refused: $what" "$(refused "$what")" "Segmentation fault"
done
for what in "sums of fewer rows" "sums of fewer columns" "factors that do not meet" \
    "half a pair" "no palette" "tiles let go"; do
    is "an instruction is refused: $what" "$(refused "$what")" "Illegal instruction"
done

# What a failure prints to repeat it does repeat it, though the run had more trials than usual.
out=$("$kern" --faulty --seed 3 --trials 300 'faulty/forgets the tail')
again=$(said "forgets the tail" | sed -n 's/.*again: kern //p')
like "all that chooses a trial is in it" "$again" \
    "^--faulty --seed 3 --trials 300 --level c --trial [0-9]+ 'faulty/forgets the tail'\$"
first=$(said "forgets the tail" | sed -n 2,3p)
eval "capture \"\$kern\" $again"
is "a failure is repeated by the line it prints" "$(said "forgets the tail" | sed -n 2,3p)" "$first"

capture "$kern" --list
like "kernels are listed" "$out" '^native_panel/q4_k: '
capture "$kern" --trials 5 --level c 'codec/q4_*' dot_rows
is "names choose" "$(printf '%s\n' "$out" | sed 's/^ok [0-9]* - //')" "# seed 1
codec/q4_0 c
codec/q4_1 c
codec/q4_k c
dot_rows c
1..4"
capture "$kern" --level none
is "an unknown level is refused" "$status" 2
for wrong in '--trials abc' '--trials 0' '--seed foo' '--seed -1' '--trial 1x' '--trial -1'; do
    # shellcheck disable=SC2086 # an option with its value
    capture "$kern" $wrong dot_rows
    is "numbers are looked at: $wrong" "$status" 2
    like "and refused" "$err" "^kern: ${wrong%% *}: "
done
like "with what there is" "$err" '^usage: kern .*--faulty'
capture "$kern" --level c --trial 199 dot_rows
is "the last trial runs" "$status" 0
capture "$kern" --level c --trial 200 dot_rows
is "one that does not exist is a failure" "$status" 1
like "which says how many there are" "$out" '^#   there are 200 trials: 0 \.\. 199$'
capture "$kern" --level c --trials 300 --trial 200 dot_rows
is "a longer run has it" "$status" 0
capture "$kern" no-such-kernel
is "no kernel at all is a failure" "$status" 1
finish
