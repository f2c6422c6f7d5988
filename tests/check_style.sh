#!/bin/sh
# SPDX-License-Identifier: MIT
# The rules of the house that a machine can check: check_style.sh [TOP]
# Prints one line "FILE:LINE: what is wrong" per violation; status 1 if there is any.
# - A room includes the rooms below it, and kernels nothing of qdb but base.
# - C sources: the licence in line 1, at most 100 columns (tables of numbers, *_tables.*, apart), no
#   tabs, no blanks at the end of a line, and none of the functions that cannot be used safely.
set -eu
cd "${1:-.}"

# The floors, lowest first; rooms of one floor do not see each other.
rooms='base kernels file graph,text models engine quant study session command repl,tui,script main'

# UTF-8 continuation bytes take no column; the marker names the file for awk.
find src kernels models tests -name '*.[ch]' 2>/dev/null | LC_ALL=C sort | while read -r file; do
    printf '\001%s\n' "$file"
    LC_ALL=C tr -d '\200-\277' <"$file"
done | LC_ALL=C awk -v rooms="$rooms" '
    function complain(what) {
        print file ":" line ": " what
        bad = 1
    }
    # The room that a path from the top, or an include, belongs to; "" for none.
    function room_of(path, part) {
        sub(/^src\//, "", path)
        if (path == "main.c")
            return "main"
        split(path, part, "/")
        return part[1] in floor ? part[1] : ""
    }
    function check_include(room, other) {
        other = room_of($2)
        if (room == "" || other == "" || room == other)
            return
        if (floor[other] >= floor[room] || (room == "kernels" && other != "base"))
            complain(room " must not include " other)
    }
    BEGIN {
        FS = "\""
        n = split(rooms, floors, " ")
        for (i = 1; i <= n; i++) {
            m = split(floors[i], names, ",")
            for (j = 1; j <= m; j++)
                floor[names[j]] = i
        }
    }
    /^\001/ {
        file = substr($0, 2)
        line = 0
        room = room_of(file)
        next
    }
    { line++ }
    line == 1 && $0 != "/* SPDX-License-Identifier: MIT */" { complain("no licence line") }
    /^[ \t]*#[ \t]*include[ \t]*"/ { check_include(room) }
    length($0) > 100 && file !~ /_tables\.[ch]$/ { complain(length($0) " columns") }
    /\t/ { complain("a tab") }
    /[ \t]$/ { complain("a blank at the end") }
    /(^|[^A-Za-z0-9_.>])(strcpy|strcat|sprintf|vsprintf|atoi|atol|atof|strtok|gets|rand)[ ]*\(/ {
        complain("a function that cannot be used safely")
    }
    END { exit bad }'
