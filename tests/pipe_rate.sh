#!/usr/bin/env bash
# `emptyserver cli --pipe` beside `redis-cli --pipe`: the same lines into the same server, in turns. Ours must keep 0.8 of
# the other's rate (best of all turns), hold little memory, and every key must be there afterwards.
#
#   tests/pipe_rate.sh
#   PIPE_LINES=10000000 tests/pipe_rate.sh
#   PIPE_SERVER=emptyserver tests/pipe_rate.sh
set -euo pipefail
cd "$(dirname "$0")/.."
source tests/scratch.sh

command -v redis-cli >/dev/null || complain "no redis-cli (Debian: apt-get install redis-tools)"
lines=${PIPE_LINES:-200000}
rounds=${PIPE_ROUNDS:-3}
memory_kib_max=32768

case ${PIPE_SERVER:-redis-server} in
redis-server)
    start_redis
    port=$redis_port
    ;;
emptyserver)
    start_service
    port=${service_address##*:}
    ;;
*) complain "PIPE_SERVER is redis-server or emptyserver" ;;
esac

awk -v lines="$lines" 'BEGIN { for (line = 1; line <= lines; line++) printf "SET key:%d value:%d\r\n", line, line }' \
    >"$scratch/lines"

# measure COMMAND…: the lines on its standard input; its seconds and the most memory (KiB) that it held, in $seconds and
# $memory_kib, and what it said in $report.
measure() {
    redis-cli -p "$port" flushall >/dev/null
    read -r seconds memory_kib < <(python3 - "$scratch" "$@" <<'PYTHON'
import resource, subprocess, sys, time
scratch, command = sys.argv[1], sys.argv[2:]
with open(scratch + "/lines") as lines, open(scratch + "/report", "w") as report:
    began = time.monotonic()
    subprocess.run(command, stdin=lines, stdout=report, stderr=subprocess.STDOUT, check=True)
    print(time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
PYTHON
    ) || complain "$1 fails: $(cat "$scratch/report")"
    report=$(tr '\r' '\n' <"$scratch/report")
    local keys
    keys=$(redis-cli -p "$port" dbsize)
    [[ $keys == "$lines" ]] || complain "after $1 there are $keys keys, not $lines: $report"
}

# A service that was just started has nothing of an earlier turn to merge or to sweep: the first turn counts for nobody.
measure redis-cli -p "$port" --pipe

best_theirs='' best_ours=''
better() { [[ -z $1 ]] || awk "BEGIN { exit !($2 < $1) }"; }
for ((round = 1; round <= rounds; round++)); do
    measure redis-cli -p "$port" --pipe
    [[ $report == *"errors: 0, replies: $lines"* ]] || complain "redis-cli: $report"
    echo "pipe: redis-cli    $lines lines in $seconds s, $memory_kib KiB"
    if better "$best_theirs" "$seconds"; then best_theirs=$seconds; fi
    measure "$binary" cli -p "$port" --pipe
    [[ $report == "commands: $lines, replies: $lines, errors: 0, "* ]] || complain "emptyserver: $report"
    echo "pipe: emptyserver  $lines lines in $seconds s, $memory_kib KiB"
    if better "$best_ours" "$seconds"; then best_ours=$seconds; fi
    ((memory_kib <= memory_kib_max)) || complain "$memory_kib KiB of memory are more than $memory_kib_max"
done
ratio=$(awk "BEGIN { printf \"%.2f\", $best_theirs / $best_ours }")
echo "pipe: ratio $ratio"
awk "BEGIN { exit !($ratio >= 0.8) }" || complain "the rate is $ratio of redis-cli's, below 0.8"
