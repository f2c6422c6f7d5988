#!/bin/sh
# SPDX-License-Identifier: MIT
# The rules that a machine can check hold in the tree, and the checker finds what breaks them.
. "${QDB_TOP:-.}/tests/harness/tap.sh"

check_style() { sh "$QDB_TOP/tests/check_style.sh" "$1"; }

check "the tree keeps the rules" check_style "$QDB_TOP"

# Every header compiles alone (a *_body.h is a template, not a header).
compile=${QDB_COMPILE:-cc -std=gnu11}
for header in $(cd "$QDB_TOP" && find src kernels models tests -name '*.h' ! -name '*_body.h' 2>/dev/null | LC_ALL=C sort); do
    # shellcheck disable=SC2086 # a command with its flags
    $compile -D_GNU_SOURCE -I"$QDB_TOP/src" -I"$QDB_TOP" -Wno-unused -fsyntax-only -x c \
        "$QDB_TOP/$header" 2>&1 || echo "$header does not compile alone"
done >"$tmp/headers"
is "every header compiles alone" "$(grep -v 'pragma once' "$tmp/headers")" ""

# Where configure finds none of what Linux alone has, nothing of it is used.
: >"$tmp/config.h"
# shellcheck disable=SC2086 # a command with its flags
capture $compile -D_GNU_SOURCE -I"$tmp" -I"$QDB_TOP/src" -I"$QDB_TOP" -Wall -Werror -M \
    "$QDB_TOP/src/file/temporary.c"
is "temporary files compile elsewhere" "$status" 0
unlike "without headers of Linux" "$out" 'linux/magic\.h|sys/vfs\.h'

if command -v shellcheck >/dev/null 2>&1; then
    scripts=$(cd "$QDB_TOP" && ls bootstrap && find tests -name '*.sh' -o -name '*.t')
    # shellcheck disable=SC2086 # a list of file names
    check "shellcheck is content" sh -c 'cd "$1" && shift && shellcheck -x -P . -e SC2154,SC2016 "$@"' \
        sh "$QDB_TOP" $scripts
else
    skip "shellcheck is content" "shellcheck is missing"
fi

# One violation of each rule, and next to it what is allowed.
mkdir -p "$tmp/src/base" "$tmp/src/file" "$tmp/src/repl" "$tmp/src/tui" "$tmp/kernels" "$tmp/models" \
    "$tmp/tests"
bad() { { echo '/* SPDX-License-Identifier: MIT */' && printf '%b\n' "$2"; } >"$tmp/$1"; }
bad src/base/up.c '#include "base/error.h"\n#include "file/gguf.h"'
bad src/file/ok.c '#include "file/gguf.h"\n#include "kernels/format.h"\n#include <stdio.h>'
bad kernels/up.c '#include "base/text.h"\n#include "text/tokenizer.h"'
bad kernels/side.c '# include "kernels/format.h"\n# include "models/demo.h"'
bad models/up.c '#include "graph/op.h"\n#include "engine/run.h"'
bad src/repl/side.c '#include "tui/grid.h"'
bad src/main.c '#include "repl/repl.h"\n#include "script/lua.h"'
bad src/file/rules.c "$(printf '%0101d' 0)\nint\ta;\nint b; \nsprintf(a, b);"
bad src/file/fine.c "/* $(printf '%094d' 0 | sed 's/0/ä/g') */\nmy_strcpy(a); p->gets(b); snprintf(c); fgets(d);"
bad src/file/some_tables.c "$(printf '%0300d' 0)"
echo 'int a;' >"$tmp/tests/licence.c"
is "each broken rule is found, and nothing else" "$(check_style "$tmp")" \
    'kernels/side.c:3: kernels must not include models
kernels/up.c:3: kernels must not include text
models/up.c:3: models must not include engine
src/base/up.c:3: base must not include file
src/file/rules.c:2: 101 columns
src/file/rules.c:3: a tab
src/file/rules.c:4: a blank at the end
src/file/rules.c:5: a function that cannot be used safely
src/repl/side.c:2: repl must not include tui
tests/licence.c:1: no licence line'
capture check_style "$tmp"
is "and the status says so" "$status" 1
finish
