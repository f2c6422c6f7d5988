# SPDX-License-Identifier: MIT
# shellcheck shell=sh
# A real terminal for tests: tmux with a screen of 80x24. After tap.sh:
#
#   terminal CMD...        start CMD in it
#   typed TEXT             type TEXT and see that it arrives on the screen
#   keys KEY...            press keys by tmux's names: Enter Tab Up C-c C-d
#   enter TEXT             type a command of qdb, press Enter, wait until the prompt is back
#   wait_for PATTERN       wait until a line of the screen matches; fails after 30 s
#   screen                 the lines on the screen
#   last_line              the last of them that is not empty
#   terminal_end           wait until CMD has ended; leaves $status
#
# Nothing here waits for a time: every step looks at the screen until it shows what must come.

in_tmux() { tmux -S "$tmp/tmux.sock" -f /dev/null "$@"; }

terminal() {
    rm -f "$tmp/status"
    in_tmux -u new-session -d -x 80 -y 24 -s test \
        "$(quoted "$@"); echo \$? >'$tmp/status.new'; mv '$tmp/status.new' '$tmp/status'"
    trap 'in_tmux kill-server 2>/dev/null; rm -rf "$tmp"' EXIT
}

# The arguments as words of a shell.
quoted() {
    for tap_word in "$@"; do
        printf "'%s' " "$(printf '%s' "$tap_word" | sed "s/'/'\\\\''/g")"
    done
}

# Try a condition until it holds: until_true CMD...
until_true() {
    tap_tries=0
    until "$@"; do
        tap_tries=$((tap_tries + 1))
        [ "$tap_tries" -lt 600 ] || return 1
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
        echo "# the screen never shows $1:"
        screen | sed 's/^/#   /'
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
    echo "# no prompt after $1:"
    screen | sed 's/^/#   /'
    return 1
}

terminal_end() {
    until_true test -e "$tmp/status" || {
        echo "# still there:"
        screen | sed 's/^/#   /'
        status=none
        return 1
    }
    # shellcheck disable=SC2034 # for the caller
    status=$(cat "$tmp/status")
}
