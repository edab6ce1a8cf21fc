#!/usr/bin/env bash
# The same random commands to a scratch redis-server and to the service with two workers, reply by reply and key by key.
# The differ itself is not ours: it lies in ../shared/tools, beside the checkout.
#
#   tests/differential.sh              seed 1, 6000 commands, RESP2 on one connection and RESP3 on four
#   DIFFER_SEEDS="1 2 3 4 5" DIFFER_OPS=60000 tests/differential.sh
set -euo pipefail
cd "$(dirname "$0")/.."

differ=../shared/tools/differ.py
binary=${BINARY:-target/release/emptyserver}
seeds=${DIFFER_SEEDS:-1}
ops=${DIFFER_OPS:-6000}
families=string,bit,generic,expire,multi
# Commands of kinds that the service does not have yet: templates that use them are left out.
without=RPUSH,LPUSH,HSET,SADD,ZADD,SORT,SORT_RO,SUBSCRIBE,EVAL

[[ -f $differ ]] || differ=${SHARED:-/nonexistent}/tools/differ.py
[[ -f $differ ]] || { echo "tests/differential.sh: no differ.py in ../shared/tools (or \$SHARED/tools)" >&2; exit 1; }
command -v redis-server >/dev/null || { echo "tests/differential.sh: no redis-server (Debian: apt-get install redis-server)" >&2; exit 1; }
[[ -x $binary ]] || { echo "tests/differential.sh: no $binary (cargo build --release)" >&2; exit 1; }

scratch=$(mktemp -d)
pids=()
finish() {
    for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null && wait "$pid" 2>/dev/null || true; done
    rm -rf "$scratch"
}
trap finish EXIT

# A server is ready when its log has the line; the log is followed, so nothing is guessed.
await() {
    grep -m 1 -i 'ready to accept connections' < <(timeout 30 tail --pid="$2" -n +1 -F "$1" 2>/dev/null) || {
        echo "tests/differential.sh: a server does not start:" >&2
        cat "$1" >&2
        exit 1
    }
}

reference_port=${DIFFER_REFERENCE_PORT:-$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')}
redis-server --port "$reference_port" --bind 127.0.0.1 --save "" --appendonly no --dir "$scratch" --enable-debug-command yes \
    >"$scratch/reference.log" 2>&1 &
pids+=($!)
await "$scratch/reference.log" $! >/dev/null

mkdir "$scratch/data"
EMPTYSERVER_LISTEN=127.0.0.1:0 EMPTYSERVER_DATA=$scratch/data EMPTYSERVER_WORKERS=2 EMPTYSERVER_DEBUG_COMMANDS=yes EMPTYSERVER_LOG_FORMAT=json \
    EMPTYSERVER_DURABILITY=${DIFFER_DURABILITY:-os} "$binary" 2>"$scratch/service.log" &
pids+=($!)
address=$(await "$scratch/service.log" $! | sed -E 's/.*"address":"([^"]+)".*/\1/')

failed=0
for seed in $seeds; do
    for protocol in "--resp 2" "--resp 3 --conns 4"; do
        echo "differ: seed $seed, $ops commands, $protocol"
        # shellcheck disable=SC2086 # the protocol is two or four words
        python3 "$differ" --a "127.0.0.1:$reference_port" --b "$address" --families "$families" --without "$without" \
            --ops "$ops" --seed "$seed" --ignore tests/differ-ignore.txt $protocol || failed=1
    done
done
exit "$failed"
