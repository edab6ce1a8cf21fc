#!/usr/bin/env bash
# redis-benchmark against the service with 0 (one process), 1, 2 and 4 workers: it must run clean. Its figures are printed,
# and judged by nobody here.
#
#   tests/benchmark.sh
#   BENCHMARK_REQUESTS=200000 tests/benchmark.sh
set -euo pipefail
cd "$(dirname "$0")/.."
source tests/scratch.sh

command -v redis-benchmark >/dev/null || complain "no redis-benchmark (Debian: apt-get install redis-tools)"
requests=${BENCHMARK_REQUESTS:-20000}

for workers in 0 1 2 4; do
    start_service EMPTYSERVER_WORKERS="$workers"
    echo "benchmark: $workers workers"
    report=$(timeout 300 redis-benchmark -p "${service_address##*:}" -n "$requests" -r 100000 -P 16 -q \
        -t ping_inline,ping_mbulk,set,get,incr,mset 2>&1 | tr '\r' '\n') || complain "redis-benchmark fails: $report"
    grep 'requests per second' <<<"$report"
    if grep -qiE 'error|could not|closed' <<<"$report"; then complain "redis-benchmark complains: $report"; fi
    [[ $(grep -c 'requests per second' <<<"$report") == 6 ]] || complain "a benchmark is missing: $report"
    stop_service
done
