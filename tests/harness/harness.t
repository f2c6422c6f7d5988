#!/bin/sh
# SPDX-License-Identifier: MIT
# The harness itself: what fails, skips, crashes or hangs must be counted as that.
. "${QDB_TOP:-.}/tests/harness/tap.sh"

# Run a test as make does and print the sum: verdict NAME TEST
verdict() {
    rm -rf "${tmp:?}/run"
    mkdir "$tmp/run"
    "$SHELL" "$QDB_TOP/build-aux/tap-driver.sh" --test-name "$1" --log-file "$tmp/run/$1.log" \
        --trs-file "$tmp/run/$1.trs" --color-tests no --enable-hard-errors yes \
        --expect-failure no -- "$SHELL" "$QDB_TOP/tests/harness/run.sh" "$2" >/dev/null 2>&1
    sh "$QDB_TOP/tests/harness/sum.sh" "${3:-0}" "$tmp/run"
    echo "status $?"
}

# The last two lines: the sum and its status.
sum() { verdict "$@" | tail -n 2; }

: "${SHELL:=/bin/sh}"
fixture=tests/harness/fixture
if [ -x "$fixture" ]; then
    is "all pass" "$(FIXTURE=none sum fixture $fixture)" "4 passed, 0 failed, 0 skipped
status 0"
    is "a failing case counts" "$(FIXTURE=fail sum fixture $fixture | head -n 1)" \
        "3 passed, 2 failed, 0 skipped" # the case, and the exit status of the program
    is "a failing case is a failing run" "$(FIXTURE=fail sum fixture $fixture | tail -n 1)" "status 1"
    is "a skipped case counts as skipped" "$(FIXTURE=skip sum fixture $fixture)" \
        "3 passed, 0 failed, 1 skipped
status 0"
    like "a skipped case says why" "$(FIXTURE=skip verdict fixture $fixture)" \
        '^SKIP: .*may_skip.*no/such/file is not here'
    for how in abort segv exit; do
        like "a case that ends in $how counts as failed" "$(FIXTURE=$how sum fixture $fixture)" \
            '^3 passed, [12] failed, 0 skipped'
    done
    like "a hanging case counts as failed" \
        "$(FIXTURE=hang QDB_TEST_TIMEOUT=1 sum fixture $fixture)" ', [12] failed,'
else
    skip "cmocka programs" "cmocka is missing"
fi

# Shell tests, by the same way.
script() { printf '. "$QDB_TOP/tests/harness/tap.sh"\n%s\n' "$1" >"$tmp/script.t"; }

script 'is same a a; is other a b; skip third "no reason"; like x abc "^b"; unlike y abc d; finish'
is "a shell test" "$(sum script "$tmp/script.t")" "2 passed, 2 failed, 1 skipped
status 1"
script 'is same a a; exit 0'
like "a shell test without a plan fails" "$(sum script "$tmp/script.t")" '^1 passed, 1 failed'
script 'finish'
like "a test without a case is no success" "$(sum script "$tmp/script.t")" '^status 1'
like "a missing test fails" "$(sum absent "$tmp/absent")" '^0 passed, [12] failed'
script 'is same a a; finish'
is "a broken build fails though all tests pass" "$(sum script "$tmp/script.t" 1)" \
    "1 passed, 1 failed, 0 skipped
status 1"

# Terminals: none is no failure but is said, and a program that hangs is one, soon, with its screen.
mkdir "$tmp/bin"
script '. "$QDB_TOP/tests/harness/terminal.sh"
terminal_looks=4; is begun a a; needs_terminal "the session"; is reached a b; finish'
printf '#!/bin/sh\necho "fork failed" >&2\nexit 1\n' >"$tmp/bin/tmux"
chmod +x "$tmp/bin/tmux"
is "no terminal is a skip with its reason" "$(PATH=$tmp/bin:$PATH verdict script "$tmp/script.t")" \
    "SKIP: script 2 - the session # SKIP no terminal: fork failed
1 passed, 0 failed, 1 skipped
status 0"
printf '#!/bin/sh\nexit 0\n' >"$tmp/bin/tmux"
like "so is one that shows nothing" "$(PATH=$tmp/bin:$PATH verdict script "$tmp/script.t")" \
    'SKIP no terminal: its screen stays empty'
script '. "$QDB_TOP/tests/harness/terminal.sh"
needs_terminal "a program that hangs"
terminal sh -c "echo before; read -r line"; until_true shows before
terminal_looks=4
check "a prompt" enter "echo hello"
terminal_looks=1000000
check "another" enter "echo hello"
terminal_end; is end "$status" 0; finish'
hung=$(verdict script "$tmp/script.t")
case $hung in
*SKIP:*) skip "a program that hangs" "no terminal" ;;
*)
    like "a program that hangs fails, once it did without more waiting" "$hung" '^0 passed, 3 failed'
    like "and its screen is shown" "$hung" '#   before'
    ;;
esac

# The fuzz driver finds a bug, keeps the input, and the input shows the bug again.
fuzz=$PWD/tests/harness/fuzz_fixture
mkdir "$tmp/corpus"
echo harmless >"$tmp/corpus/one"
like "a fuzz target passes while nothing is found" \
    "$("$fuzz" -corpus "$tmp/corpus" -runs 0)" '^ok 2 - 0 mutations'
like "a fuzz target that finds a bug keeps the input" \
    "$(cd "$tmp" && "$fuzz" -corpus "$tmp/corpus" -seconds 60 2>&1)" 'kept in fuzz_fixture.crash'
check "the input found is the bug" grep -q boom "$tmp/fuzz_fixture.crash"
cd "$tmp" || exit 99
capture "$fuzz" fuzz_fixture.crash
like "which it shows again" "$status" '^1[0-9][0-9]$'
like "a fuzz target without a corpus fails" "$("$fuzz" -corpus "$tmp/none")" '^not ok 1'
finish
