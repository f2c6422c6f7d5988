# SPDX-License-Identifier: MIT
# shellcheck shell=sh
# TAP for shell tests. A test begins with `. "${QDB_TOP:-.}/tests/harness/tap.sh"` and ends with
# `finish`; a script that dies before `finish` prints no plan and so fails.
#
#   check NAME CMD...           CMD succeeds
#   is NAME GOT WANT            two strings are equal
#   like NAME TEXT PATTERN      TEXT has a line that matches the extended regular expression
#   unlike NAME TEXT PATTERN    it has none
#   skip NAME REASON            a case that cannot run here
#   capture CMD...              run CMD; leaves $out, $err and $status
#   data NAME                   prints the path of a data file; fails when it is absent
#
# $QDB is the program, $QDB_TOP the source tree, $tmp a folder of this test's own.

QDB_TOP=${QDB_TOP:-$(pwd)}
QDB=${QDB:-$QDB_TOP/build/qdb}
tmp=$(mktemp -d) || exit 99
trap 'rm -rf "$tmp"' EXIT
trap 'exit 99' HUP INT TERM
HOME=$tmp
export HOME QDB QDB_TOP
tap_count=0

# One result: result yes|no NAME, and for a failure the lines of $3.
result() {
    tap_count=$((tap_count + 1))
    if [ "$1" = yes ]; then
        echo "ok $tap_count - $2"
    else
        echo "not ok $tap_count - $2"
        printf '%s\n' "${3-}" | sed 's/^/#   /'
    fi
}

check() {
    tap_name=$1
    shift
    if tap_output=$("$@" 2>&1); then
        result yes "$tap_name"
    else
        result no "$tap_name" "status $? of: $*
$tap_output"
    fi
}

is() {
    if [ "$2" = "$3" ]; then
        result yes "$1"
    else
        result no "$1" "got:
$2
expected:
$3"
    fi
}

like() {
    if printf '%s\n' "$2" | grep -Eq -e "$3"; then
        result yes "$1"
    else
        result no "$1" "no line matches $3 in:
$2"
    fi
}

unlike() {
    if printf '%s\n' "$2" | grep -Eq -e "$3"; then
        result no "$1" "a line matches $3 in:
$2"
    else
        result yes "$1"
    fi
}

skip() {
    tap_count=$((tap_count + 1))
    echo "ok $tap_count - $1 # SKIP $2"
}

# shellcheck disable=SC2034 # results for the caller
capture() {
    "$@" >"$tmp/.out" 2>"$tmp/.err"
    status=$?
    out=$(cat "$tmp/.out")
    err=$(cat "$tmp/.err")
}

data() {
    tap_path=${QDB_DATA:-$QDB_TOP/../shared/data}/$1
    [ -r "$tap_path" ] && echo "$tap_path"
}

finish() { echo "1..$tap_count"; }
