#!/usr/bin/env bash
# Prometheus itself asks a service under load, with the configuration of compose and the rules of the chart: every panel of the dashboard
# has something to draw, no rule fails, no alert fires, and the one for a service that is down does when it is.
set -euo pipefail
cd "$(dirname "$0")/.."
source tests/scratch.sh

tools=$(tests/prometheus/get.sh)
python=$(python_with prometheus PyYAML==6.0.2)
asks() { "$python" tests/prometheus/asks.py "$@"; }
# Syncs are something of their own with `everysec` alone; with `always` they are a part of the commit.
start_service EMPTYSERVER_DURABILITY=everysec EMPTYSERVER_BACKUP_INTERVAL_SECONDS=2
service=${started[-1]}
admin=$(sed -nE '/"health, metrics and the status page"/s/.*"address":"([^"]+)".*/\1/p' "${service_data:?}.log")
[[ -n $admin ]] || complain "the log does not say where health and metrics are: $(cat "$service_data.log")"

host=${service_address%:*} port=${service_address##*:}
"$binary" bench -h "$host" -p "$port" --seconds 600 --mix get:50,set:50 --keys 10000 -c 4 --rate 2000 >"$scratch/bench.log" 2>&1 &
started+=($!)
# What goes wrong has panels too, each a rate: so it goes wrong again and again.
while :; do
    printf 'set greeting hello\nincr greeting\nget\nauth nobody wrong\n' | "$binary" cli -h "$host" -p "$port" >/dev/null 2>&1 || true
    sleep 0.5
done &
started+=($!)

prometheus=127.0.0.1:$(free_port)
asks configure "$admin" "$scratch/prometheus.yml"
"$tools/promtool" check config "$scratch/prometheus.yml" >/dev/null
"$tools/prometheus" --config.file="$scratch/prometheus.yml" --storage.tsdb.path="$scratch/series" --web.listen-address="$prometheus" \
    --log.level=warn >"$scratch/prometheus.log" 2>&1 &
started+=($!)
asks all-is-well "$prometheus" || complain "$(cat "$scratch/prometheus.log")"
stop_service "$service"
asks is-down "$prometheus"
