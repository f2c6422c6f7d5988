#!/bin/sh
# SPDX-License-Identifier: MIT
# The byte order mark that some editors put in front of a text is no part of it, whatever reads it.
. "${QDB_TOP:-.}/tests/harness/tap.sh"

cd "$tmp" || exit 99
qdb() { capture "$QDB" -n --demo -batch "$@" </dev/null; }

# marked FILE: stdin as it is in FILE, and with the mark in FILE.bom
marked() {
    cat >"$1"
    { printf '\357\273\277' && cat "$1"; } >"$1.bom"
}

# both COMMAND...: gives the same for `text` and `text.bom`, the names aside
both() {
    qdb "$@"
    want="$status $out $err"
    qdb "$(printf '%s' "$1")" "$(printf '%s' "$2" | sed 's/\<text\>/text.bom/')"
    is "with a mark: $2" "$(printf '%s' "$status $out $err" | sed 's/text\.bom/text/; s/[0-9.]* tok\/s//')" \
        "$(printf '%s' "$want" | sed 's/[0-9.]* tok\/s//')"
}

yes 'memi nade ditto nade Tom pola Ivo' | head -n 64 | marked text
both -ex 'prompt -f text'
like "which is an answer" "$out" 'pola$'
both -ex 'ppl text ctx 8 chunks 4'
both -ex 'data text'
both -ex 'imatrix collect text'
echo 'ffn_down=q6_k' | marked text
both -ex 'recipe explain text'
like "that is one" "$out" 'ffn_down'
echo '{"prompt": "memi", "choices": [" nade", " pola"], "answer": 0}' | marked text
both -ex 'task text'
qdb -ex 'quant blk.0.attn_q.weight q8_0' -ex 'plan save ./a.plan'
marked text <a.plan
both -ex 'plan load ./text'
like "that is one, too" "$out" 'q8_0'
echo 'echo ran' | marked text
both -ex 'source text'
both -x text
is "a script runs from its first line" "$out" ran
capture "$QDB" -n -batch --demo <text.bom
is "and from standard input" "$status $out" '0 ran'

finish
