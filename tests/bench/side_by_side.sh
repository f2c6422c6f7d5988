#!/bin/sh
# SPDX-License-Identifier: MIT
# qdb beside other engines: the same model files through all of them in turn, round after round, so
# that a slow minute of the machine hits everybody; medians, spreads and ratios at the end.
#
# usage: side_by_side.sh [-p N] [-n N] [-r ROUNDS] [-i REPETITIONS] [-t THREADS] [-c MODES]
#                        [-k LEVEL] QDB MODEL... -- [NAME=]LLAMA_BENCH[,ARG...]...
#   -p N        tokens of the prompt (512), 0 = none; -n N: tokens generated one by one (64)
#   -r ROUNDS   how often everything is run (3)
#   -i N        repetitions in each process (1), after a warm-up: more for prompts of few tokens
#   -c MODES    compute modes of qdb (native,fast); -k LEVEL: its kernels
#   LLAMA_BENCH a program with the options and the JSON of llama.cpp's llama-bench, under a
#               NAME of one's own; ARGs are handed on: ik=build/bin/llama-bench,-rtr,1
# RUN in the environment is put before every program: RUN='taskset -c 0,1'.
#
# Per model and engine: tokens/s of the prompt (pp) and of generation (tg), each the median of the
# rounds with its spread, (most - least) / median, in per cent; their ratios to the best engine that
# is not qdb; the peak of memory (VmHWM, looked at ten times a second, pages of mapped files
# included) in 1e6 bytes and as a multiple of the file. "-": it failed or has no such figure. Exit
# status 1: something failed.
set -u

# Run a program, its output to a file, the largest VmHWM (kB) to another; first bring the model into
# the page cache.
if [ "${1-}" = --one ]; then
    output=$2 peak=$3
    cat "$4" > /dev/null
    shift 4
    "$@" > "$output" &
    while kill -0 $! 2> /dev/null; do
        sed -n 's/^VmHWM:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$!/status" > "$peak.now" 2> /dev/null
        [ -s "$peak.now" ] && mv "$peak.now" "$peak"
        sleep 0.1
    done
    wait $!
    exit
fi

usage() {
    sed -n 's/^# \{0,1\}//; /^usage:/,/^$/p' "$0" >&2
    exit 2
}

prompt=512 generate=64 rounds=3 inner=1 threads=$(nproc) modes=native,fast level=
while getopts p:n:r:i:t:c:k: o; do
    case $o in
    p) prompt=$OPTARG ;;
    n) generate=$OPTARG ;;
    r) rounds=$OPTARG ;;
    i) inner=$OPTARG ;;
    t) threads=$OPTARG ;;
    c) modes=$OPTARG ;;
    k) level=$OPTARG ;;
    *) usage ;;
    esac
done
shift $((OPTIND - 1))
[ $# -ge 2 ] || usage
qdb=$1
shift
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
trap 'exit 130' INT TERM

models=0
while [ $# -gt 0 ] && [ "$1" != -- ]; do
    [ -r "$1" ] || { echo "$1: cannot be read" >&2; exit 1; }
    models=$((models + 1))
    printf '%s\n' "$1" >> "$dir/models"
    shift
done
[ $# -gt 0 ] && shift
[ $models -gt 0 ] || usage
for peer; do
    printf '%s\n' "$peer" >> "$dir/peers"
done
touch "$dir/peers"

# figures MODEL ENGINE, from $dir/out and $dir/peak: lines "model TAB engine TAB what TAB value".
figures() {
    awk -v model="$1" -v engine="$2" '
        function after(key,    s) {
            if (!match($0, "\"" key "\": *[-0-9.e+]+"))
                return ""
            s = substr($0, RSTART, RLENGTH)
            sub(/^[^:]*: */, "", s)
            return s
        }
        function say(what, v) { print model "\t" engine "\t" what "\t" v }
        /"tables"/ { # qdb: rows [["prompt", 512, MEDIAN, ...
            n = split($0, row, "[[]\"")
            for (i = 1; i <= n; i++) {
                split(row[i], f, "\"?, *")
                if (f[1] == "prompt" || f[1] == "generate")
                    say(f[1] == "prompt" ? "pp" : "tg", f[3])
            }
        }
        /"n_prompt"/ { n = after("n_prompt") }
        /"avg_ts"/ { say(n > 0 ? "pp" : "tg", after("avg_ts")) }
    ' "$dir/out"
    [ -s "$dir/peak" ] && printf '%s\t%s\tpeak\t%s\n' "$1" "$2" "$(cat "$dir/peak")"
}

# one MODEL ENGINE PROGRAM ARG...
one() {
    model=$1 engine=$2
    shift 2
    rm -f "$dir/out" "$dir/peak"
    ${RUN-} sh "$0" --one "$dir/out" "$dir/peak" "$model" "$@" 2> "$dir/err" < /dev/null
    found=$(figures "$(basename "$model")" "$engine")
    if ! printf '%s' "$found" | grep -q '	[pt][pg]	'; then
        echo "$engine, $model: $(cat "$dir/err" "$dir/out" | tail -n 1 | cut -c 1-300)" >&2
        failed=1
        found=$(printf '%s\t%s\tfailed\t1' "$(basename "$model")" "$engine") # a row of "-"
    fi
    printf '%s\n' "$found" >> "$dir/figures"
    printf '%s' . >&2
}

round=0 failed=0
while [ $round -lt "$rounds" ]; do
    round=$((round + 1))
    while read -r model <&3; do
        printf '%s\t-\tfile\t%s\n' "$(basename "$model")" "$(wc -c < "$model")" >> "$dir/figures"
        for mode in $(echo "$modes" | tr , ' '); do
            one "$model" "qdb $mode" "$qdb" -n -batch --threads "$threads" --output json \
                ${level:+--kernels "$level"} \
                -ex "bench model \"$model\" -p $prompt -n $generate -r $inner -c $mode"
        done
        while read -r peer <&4; do
            name=${peer%%=*} rest=${peer#*=}
            program=${rest%%,*} args=
            case $rest in *,*) args=$(echo "${rest#*,}" | tr , ' ') ;; esac
            [ "$name" = "$peer" ] && name=$(basename "$program")
            # shellcheck disable=SC2086
            one "$model" "$name" "$program" -m "$model" -t "$threads" -r "$inner" -o json \
                -p "$prompt" -n "$generate" $args
        done 4< "$dir/peers"
    done 3< "$dir/models"
done
echo >&2

awk -F '\t' -v prompt="$prompt" -v generate="$generate" '
    NF < 4 { next }
    $3 == "file" { if (!($1 in file)) order[++models] = $1; file[$1] = $4; next }
    {
        if (!(($1, $2) in seen)) { seen[$1, $2] = 1; engines[$1] = engines[$1] "\t" $2 }
        k = $1 SUBSEP $2 SUBSEP $3
        value[k, ++count[k]] = $4 + 0
    }
    # Median of the n values of k; sorts them.
    function median(k,    n, i, j, v) {
        n = count[k]
        for (i = 2; i <= n; i++)
            for (j = i; j > 1 && value[k, j] < value[k, j - 1]; j--) {
                v = value[k, j]; value[k, j] = value[k, j - 1]; value[k, j - 1] = v
            }
        return n ? (value[k, int((n + 1) / 2)] + value[k, int(n / 2) + 1]) / 2 : 0
    }
    function speed(m, what, e,    k, v) {
        k = m SUBSEP e SUBSEP what
        v = median(k)
        if (!v)
            return " - | - | -"
        return sprintf(" %.4g | %.0f | %s", v, 100 * (value[k, count[k]] - value[k, 1]) / v,
                       best[what] ? sprintf("%.2f", v / best[what]) : "-")
    }
    END {
        print "| model | engine | pp" prompt " tok/s | % | ratio | tg" generate \
              " tok/s | % | ratio | peak MB | of file |"
        print "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|"
        for (i = 1; i <= models; i++) {
            m = order[i]
            n = split(substr(engines[m], 2), list, "\t")
            best["pp"] = best["tg"] = 0
            for (j = 1; j <= n; j++)
                for (what in best) {
                    v = list[j] ~ /^qdb / ? 0 : median(m SUBSEP list[j] SUBSEP what)
                    best[what] = v > best[what] ? v : best[what]
                }
            for (j = 1; j <= n; j++) {
                v = 1024 * median(m SUBSEP list[j] SUBSEP "peak")
                memory = v ? sprintf(" %.0f | %.2f", v * 1e-6, v / file[m]) : " - | -"
                print "| " m " | " list[j] " |" speed(m, "pp", list[j]) " |" \
                      speed(m, "tg", list[j]) " |" memory " |"
            }
        }
    }' "$dir/figures"
exit $failed
