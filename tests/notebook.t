#!/bin/sh
# SPDX-License-Identifier: MIT
# A program at the other end: ids in the answers, progress as objects, arrays; qdb.py on top of it.
. "${QDB_TOP:-.}/tests/harness/tap.sh"

# ask LINES: what comes back on standard output
ask() {
    out=$(printf '%b' "$1" | "$QDB" -n -q --output json 2>"$tmp/err")
    status=$?
}

ask '@7 echo a; echo b\n@x-1 nonsense\n@8 # nothing\necho c\n@9 eval 1\n'
is "ids: one object for each command" "$(printf '%s\n' "$out" | grep -c '^{"id": "7", "command": "echo')" 2
like "ids: the answer ends" "$out" '^\{"id": "7", "done": true, "ok": true\}$'
like "ids: an error has it" "$out" '^\{"id": "x-1", "command": "nonsense", "status": "error"'
like "ids: a failure is told" "$out" '^\{"id": "x-1", "done": true, "ok": false\}$'
like "ids: a line without a command ends too" "$out" '^\{"id": "8", "done": true, "ok": true\}$'
like "ids: a line without one has none" "$out" '^\{"command": "echo c"'
is "ids: none but those" "$(printf '%s\n' "$out" | grep -c '"id"')" 8
ask 'echo a\nnonsense\necho b\n'
is "without ids a failure ends the stream" "$(printf '%s\n' "$out" | grep -c command)/$status" 2/1
out=$(printf '@1 echo a\n' | "$QDB" -n -q 2>&1)
like "an id is for json" "$out" 'error:'

"$QDB" -n -batch --demo >/dev/null 2>&1 </dev/null || {
    skip "qdb.py" "no demo model is built in"
    finish
    exit 0
}
ask "open --demo\n@1 prompt -t $(seq -s, 1 600)\n@2 set threads 1\n@3 run\n@4 ppl $tmp/no\n"
like "progress: objects, while it runs" "$out" '^\{"id": "3", "(command|progress)": '

if ! command -v python3 >/dev/null 2>&1; then
    skip "qdb.py" "there is no python3"
    finish
    exit 0
fi
cat >"$tmp/use.py" <<'END'
import sys
sys.dont_write_bytecode = True
sys.path.insert(0, sys.argv[1])
from qdb import Qdb, QdbError
heard = []
q = Qdb("--demo", program=sys.argv[2], progress=lambda **of: heard.append(of))
assert [r["id"] for r in q("prompt -t 3,5,9")["tokens"]] == [3, 5, 9]
stop = q("run")["stop"][0]
print("stop", stop["reason"])
a = q.array("blk.0.out")
print("array", a.shape, a.format)
rms = q("summary blk.0.out")["summary"][0]["rms"]
mine = (sum(x * x for row in a.tolist() for x in row) / a.nbytes * 4) ** 0.5
print("same", abs(rms - mine) < 1e-6 * rms)
print("scalar", q.array("1 + 1").tolist())
print("rows", len(q("echo a\nsummary blk.0.out; summary blk.1.out")["summary"]))
print("notes", q("record").notes)
try:
    q("print blk.0.uot")
except QdbError as e:
    print("error", e)
print("alive", q("echo x")["text"] if "text" in q("echo x") else sorted(q("echo x")))
del heard[:]
q("bench machine")  # takes seconds on any machine
print("progress", len(heard) > 0, all(sorted(of) == ["done", "label", "total"]
                                      and 0 <= of["done"] <= of["total"] for of in heard),
      [of["done"] for of in heard] == sorted(of["done"] for of in heard),
      all(of["label"] for of in heard))
del heard[:]
q("echo x")
print("silent", heard)
print("end", q.close())
# What comes while a command runs is told in order, and only what belongs to it.
q = Qdb(program=sys.argv[3], progress=lambda label, done, total: heard.append((label, done, total)))
print("rows", q("any")["t"], heard)
q.progress = None
print("nobody listens", q("any")["t"])
END
cat >"$tmp/other" <<'END'
#!/bin/sh
while read -r id line; do
    id=${id#@}
    printf '{"id": "%s", "progress": {"label": "run", "done": %s, "total": 4}}\n' \
        "$id" 1 0 9 "$id" 2.5
    printf '{"id": "%s", "tables": [{"name": "t", "columns": [{"name": "c"}], "rows": [[7]]}]}\n' "$id"
    printf '{"id": "%s", "done": true, "ok": true}\n' "$id"
done
END
chmod +x "$tmp/other"
capture python3 "$tmp/use.py" "$QDB_TOP/src/repl" "$QDB" "$tmp/other"
like "qdb.py: progress is told as it goes" "$out" '^progress True True True True$'
like "qdb.py: of long commands alone" "$out" '^silent \[\]$'
like "qdb.py: in order, of this command alone" "$out" "^rows \[\{'c': 7\}\] \[\('run', 1, 4\), \('run', 2\.5, 4\)\]$"
like "qdb.py: to nobody, if nobody listens" "$out" "^nobody listens \[\{'c': 7\}\]$"
like "qdb.py: tables are rows" "$out" '^stop end'
like "qdb.py: arrays have their axes" "$out" '^array \(3, 256\) f$'
like "qdb.py: and the numbers" "$out" '^same True$'
like "qdb.py: a number" "$out" '^scalar \[2\.0\]$'
like "qdb.py: several commands" "$out" '^rows 2$'
like "qdb.py: notes" "$out" "^notes \['nothing is recorded"
like "qdb.py: an error is an exception" "$out" '^error no weight or point `blk.0.uot`'
like "qdb.py: and the session lives" "$out" '^end '
finish
