#!/usr/bin/env bash
# The same random commands to a scratch redis-server and to the service with two workers, reply by reply and key by key.
#
#   tests/differential.sh              seed 1, 6000 commands, RESP2 on one connection and RESP3 on four
#   DIFFER_SEEDS="1 2 3 4 5" DIFFER_OPS=60000 tests/differential.sh
set -euo pipefail
cd "$(dirname "$0")/.."
source tests/scratch.sh

differ=$(shared_tool differ.py)
seeds=${DIFFER_SEEDS:-1}
ops=${DIFFER_OPS:-6000}
families=string,bit,generic,expire,multi
# Commands of kinds that the service does not have: templates that use them are left out.
without=RPUSH,LPUSH,HSET,SADD,ZADD,SORT,SORT_RO,SUBSCRIBE,EVAL
# It tells the version, here 7.2, and inside of EXEC nothing could be ignored but all of EXEC.
without+=,LOLWUT

start_redis
start_service EMPTYSERVER_WORKERS=2 EMPTYSERVER_DEBUG_COMMANDS=yes
failed=0
for seed in $seeds; do
    for protocol in "--resp 2" "--resp 3 --conns 4"; do
        echo "differ: seed $seed, $ops commands, $protocol"
        # shellcheck disable=SC2086 # the protocol is two or four words
        python3 "$differ" --a "127.0.0.1:$redis_port" --b "$service_address" --families "$families" --without "$without" \
            --ops "$ops" --seed "$seed" --ignore tests/differ-ignore.txt $protocol || failed=1
    done
done
exit "$failed"
