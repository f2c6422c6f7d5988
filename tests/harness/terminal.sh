# SPDX-License-Identifier: MIT
# shellcheck shell=sh
# A real terminal for tests: tmux with a screen of 80x24. After tap.sh:
#
#   needs_terminal NAME    ends the test, with NAME skipped, where tmux cannot open a terminal
#   terminal CMD...        start CMD in it
#   typed TEXT             type TEXT and see that it arrives on the screen
#   keys KEY...            press keys by tmux's names: Enter Tab Up C-c C-d
#   enter TEXT             type a command of qdb, press Enter, wait until the prompt is back
#   wait_for PATTERN       wait until a line of the screen matches
#   screen                 the lines on the screen
#   last_line              the last of them that is not empty
#   terminal_end           wait until CMD has ended; leaves $status
#
# Nothing here waits for a time: every step looks at the screen until it shows what must come, at most
# $terminal_looks times. What does not come is a failure that shows the screen, and once something did
# not come, the steps after it look only once: a program that hangs costs one wait, not one per step.

terminal_looks=600
terminal_count=0

# A tmux that hangs itself is ended.
terminal_limit=$(command -v timeout >/dev/null 2>&1 && echo 'timeout 20')

in_tmux() { $terminal_limit tmux -S "$tmp/tmux$terminal_count" -f /dev/null "$@"; }

terminal() {
    # A server of its own: the one before may be about to end.
    in_tmux kill-server 2>/dev/null
    terminal_count=$((terminal_count + 1))
    rm -f "$tmp/status" "$tmp/stuck"
    trap 'in_tmux kill-server 2>/dev/null; rm -rf "$tmp"' EXIT
    in_tmux -u new-session -d -x 80 -y 24 -s test \
        "$(quoted "$@"); echo \$? >'$tmp/status.new'; mv '$tmp/status.new' '$tmp/status'"
}

# Does a program in a terminal of tmux get as far as the screen? (Not without /dev/pts, say.) Leaves
# the reason in $tmp/why.
terminal_works() {
    command -v tmux >/dev/null 2>&1 || {
        echo "tmux is missing" >"$tmp/why"
        return 1
    }
    terminal sh -c 'echo here; read -r line' 2>"$tmp/why" && until_true shows '^here$'
    terminal_works=$?
    [ "$terminal_works" = 0 ] || [ -s "$tmp/why" ] || echo "its screen stays empty" >"$tmp/why"
    return "$terminal_works"
}

needs_terminal() {
    terminal_works && return
    skip "$1" "no terminal: $(head -n 1 "$tmp/why")"
    finish
    exit
}

# The arguments as words of a shell.
quoted() {
    for tap_word in "$@"; do
        printf "'%s' " "$(printf '%s' "$tap_word" | sed "s/'/'\\\\''/g")"
    done
}

# Look until a condition holds: until_true CMD...
until_true() {
    tap_looks=0
    until "$@"; do
        tap_looks=$((tap_looks + 1))
        if [ "$tap_looks" -ge "$terminal_looks" ] || [ -e "$tmp/stuck" ]; then
            : >"$tmp/stuck"
            echo "# the screen:"
            screen | sed 's/^/#   /'
            return 1
        fi
        sleep 0.05
    done
}

screen() { in_tmux capture-pane -p -t test 2>/dev/null; }
last_line() { screen | sed -n '/[^ ]/h; ${x;s/ *$//;p;}'; }
shows() { screen | grep -Eq -e "$1"; }
at_prompt() { last_line | grep -Eq '^\(qdb\*?\)$'; }
ends_with() { case $(last_line) in *"$1") ;; *) return 1 ;; esac }

wait_for() {
    until_true shows "$1" || {
        echo "# never shows $1"
        return 1
    }
}

keys() { in_tmux send-keys -t test "$@"; }

typed() {
    in_tmux send-keys -t test -l "$1"
    until_true ends_with "$1"
}

enter() {
    if until_true at_prompt && typed "$1" && keys Enter && until_true at_prompt; then
        return 0
    fi
    echo "# no prompt after $1"
    return 1
}

# shellcheck disable=SC2034 # status: for the caller
terminal_end() {
    status=none
    until_true test -e "$tmp/status" || return 1
    status=$(cat "$tmp/status")
}
