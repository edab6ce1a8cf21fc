#!/usr/bin/env bash
# Real packages that people use a Redis through, on their main paths: each program of tests/clients runs against a redis-server, which proves the
# program, and then against the service, where it says the same.
set -euo pipefail
cd "$(dirname "$0")/.."
source tests/scratch.sh

mapfile -t requirements < <(sed 's/#.*//; s/ //g; /^$/d' tests/clients/requirements.txt)
python=$(python_with client-packages "${requirements[@]}")

start_redis
start_service EMPTYSERVER_WORKERS=2
for program in tests/clients/*.py; do
    for server in "127.0.0.1:$redis_port" "$service_address"; do
        # Whoever hangs is ended: a program of seconds has two minutes.
        timeout 120 "$python" "$program" "redis://$server/1" >"$scratch/at-$server" || complain "$program fails at $server"
    done
    diff "$scratch/at-127.0.0.1:$redis_port" "$scratch/at-$service_address" || complain "$program has other results at the service"
    tail -n 1 "$scratch/at-$service_address"
done
stop_service
