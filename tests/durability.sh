#!/usr/bin/env bash
# Kills processes of the service at random moments while six clients write, and looks whether every acknowledged write is
# there.
#
#   tests/durability.sh                one short round of each kind of kill at 1, 2 and 4 workers
#   DURABILITY_ROUNDS=10 DURABILITY_SECONDS=5 tests/durability.sh
set -euo pipefail
cd "$(dirname "$0")/.."
source tests/scratch.sh

rounds=${DURABILITY_ROUNDS:-1}
seconds=${DURABILITY_SECONDS:-2}
kinds=${DURABILITY_KILLS:-child main all mix}
workers=${DURABILITY_WORKERS:-1 2 4}
ops=set,pipeline,expire,overwrite,incr,del,cross,hset,sadd,zadd,rpush,xadd,xreadgroup,multi,script

failed=0
for count in $workers; do
    for kind in $kinds; do
        port=$(free_port)
        data=$(mktemp -d -p "$scratch")
        echo "durability: $count workers, kill $kind, $rounds rounds"
        start="env EMPTYSERVER_LISTEN=127.0.0.1:$port EMPTYSERVER_ADMIN_LISTEN=127.0.0.1:0 EMPTYSERVER_DATA=$data EMPTYSERVER_WORKERS=$count"
        python3 tests/tools/durability.py --port "$port" --start "$start EMPTYSERVER_LOG_FORMAT=json $binary" --kill "$kind" --rounds "$rounds" \
            --seconds "$seconds" --ops "$ops" --serverlog "$data.log" || {
            failed=1
            echo "durability: the end of the service's log:"
            tail -n 30 "$data.log"
        }
        rm -rf "$data"
    done
done
exit "$failed"
