#!/usr/bin/env bash
# The same random commands to a scratch redis-server and to the service with two workers, reply by reply and key by key.
#
#   tests/differential.sh              seed 1, 6000 commands, RESP2 on one connection and RESP3 on four
#   DIFFER_SEEDS="1 2 3 4 5" DIFFER_OPS=60000 tests/differential.sh
#
# Two passes: all families with tests/differ-ignore.txt, and, as that has to ignore much of EXEC, a third as many commands
# of families whose transactions can be compared to the last byte.
set -euo pipefail
cd "$(dirname "$0")/.."
source tests/scratch.sh

seeds=${DIFFER_SEEDS:-1}
ops=${DIFFER_OPS:-6000}

# compare SEED OPS FAMILIES PROTOCOL…: with its ignore file in $ignore.
compare() {
    local command=(python3 tests/tools/differ.py --a "127.0.0.1:$redis_port" --b "$service_address" --ignore "$ignore"
        --seed "$1" --families "$3" "${@:4}")
    echo "differ: seed $1, $2 commands of $3, ${*:4}"
    rm -f "$scratch/found.json"
    "${command[@]}" --ops "$2" --json "$scratch/found.json" && return
    [[ -f $scratch/found.json ]] || complain "the differ did not end"
    python3 tests/confirm_differences.py "$scratch/found.json" "${command[@]}" || failed=1
}

start_redis
start_service EMPTYSERVER_WORKERS=2 EMPTYSERVER_DEBUG_COMMANDS=yes
failed=0
for seed in $seeds; do
    for protocol in 2 3; do
        connections=$((protocol == 2 ? 1 : 4))
        ignore=tests/differ-ignore.txt
        compare "$seed" "$ops" string,hash,list,set,zset,stream,geo,bit,hll,generic,expire,multi --floats --resp "$protocol" --conns "$connections"
        # After each command it is waited for what may come unasked.
        compare "$seed" $((ops / 20)) pubsub,list,multi --resp "$protocol" --conns 3
        compare "$seed" $((ops / 10)) script,string,hash,set --resp "$protocol" --conns 2
        ignore=/dev/null
        compare "$seed" $((ops / 3)) string,hash,list,set,bit,hll,expire,multi --resp "$protocol" --conns "$connections"
    done
    # Pipelines in which calls of all kinds ride together.
    python3 tests/tools/pipelines.py same "127.0.0.1:$redis_port" "$service_address" --seed "$seed" --rounds $((ops / 30)) || failed=1
done
exit "$failed"
