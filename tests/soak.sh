#!/usr/bin/env bash
# Five nodes of one machine for a long time, and what they hold: memory, open files, threads, outer steps.
#
#   tests/soak.sh PROGRAM FOLDER SECONDS [RECIPE]
#
# PROGRAM is a `starling` that was built; FOLDER is made and must not exist. Every 30 s a line for each node goes to
# FOLDER/soak.csv; at the end a line for each node says how much each figure grew in an hour, by least squares over the
# second half. Needs nothing else but a shell and awk. Run it under `nice`, or in a group with a quota of its own.
set -euo pipefail
program=$(realpath "$1") folder=$2 seconds=$3 recipe=${4:-ner}
nodes=(ada bela chidi dana emre)
[ ! -e "$folder" ] || { echo "error: $folder exists; name a new folder" >&2; exit 2; }

"$program" testnet --prepare-only --recipe "$recipe" --dir "$folder" --outer-steps 1000000 >/dev/null
declare -A id
finish() { for n in "${nodes[@]}"; do kill "${id[$n]:-}" 2>/dev/null || true; done; wait || true; }
trap finish EXIT
bootstrap=()
port=7301
for n in "${nodes[@]}"; do
    "$program" run --dir "$folder/nodes/$n" --listen /ip4/127.0.0.1/tcp/$port "${bootstrap[@]}" \
        >"$folder/$n.out" 2>"$folder/$n.log" &
    id[$n]=$!
    bootstrap=(--bootstrap /ip4/127.0.0.1/tcp/7301)
    port=$((port + 1))
done

csv=$folder/soak.csv
echo "seconds,node,rss_kib,files,threads,cpu_seconds,outer_step,peers" >"$csv"
began=$SECONDS
while [ $((SECONDS - began)) -lt "$seconds" ]; do
    sleep 30
    for n in "${nodes[@]}"; do
        p=/proc/${id[$n]}
        [ -d "$p" ] || { echo "FAILED: $n ended" >&2; tail -5 "$folder/$n.log" >&2; exit 1; }
        status=$(cat "$folder/nodes/$n/status.json" 2>/dev/null || true)
        of() { sed -n "s/.*\"$1\": *\([0-9]*\).*/\1/p" <<<"$status" | head -1; }
        rss=$(awk '/^VmRSS/ {print $2}' "$p/status")
        threads=$(awk '/^Threads/ {print $2}' "$p/status")
        files=$(ls "$p/fd" | wc -l)
        cpu=$(awk '{print ($14 + $15) / 100}' "$p/stat")
        echo "$((SECONDS - began)),$n,$rss,$files,$threads,$cpu,$(of outer_step),$(of peers)" >>"$csv"
    done
done

awk -F, -v half=$((seconds / 2)) '
    NR > 1 && $1 >= half {
        n[$2]++; x[$2] += $1; xx[$2] += $1 * $1
        for (i = 3; i <= 5; i++) { y[$2, i] += $i; xy[$2, i] += $1 * $i; last[$2, i] = $i }
        cpu[$2] = $6; step[$2] = $7; peers[$2] = $8; end[$2] = $1
    }
    END {
        for (m in n) {
            d = n[m] * xx[m] - x[m] * x[m]
            for (i = 3; i <= 5; i++) slope[i] = d ? 3600 * (n[m] * xy[m, i] - x[m] * y[m, i]) / d : 0
            printf "%-6s  step %d  peers %d  cpu %.1f s  rss %d KiB (%+.0f an hour)  files %d (%+.2f)  threads %d (%+.2f)\n", \
                m, step[m], peers[m], cpu[m], last[m, 3], slope[3], last[m, 4], slope[4], last[m, 5], slope[5]
        }
    }' "$csv" | sort
