#!/usr/bin/env bash
# Kills processes of the service at random moments while six clients write, and looks whether every acknowledged write is
# there. The tool itself is not ours: it lies in ../shared/tools, beside the checkout.
#
#   tests/durability.sh                one round of each kind of kill at 1, 2 and 4 workers
#   DURABILITY_ROUNDS=10 DURABILITY_WORKERS="1 2 4" DURABILITY_KILLS="child main all mix" tests/durability.sh
set -euo pipefail
cd "$(dirname "$0")/.."

tool=../shared/tools/durability.py
binary=${BINARY:-target/release/emptyserver}
rounds=${DURABILITY_ROUNDS:-1}
seconds=${DURABILITY_SECONDS:-3}
kinds=${DURABILITY_KILLS:-child main all mix}
workers=${DURABILITY_WORKERS:-1 2 4}
ops=set,pipeline,expire,overwrite,incr,del,cross

[[ -f $tool ]] || tool=${SHARED:-/nonexistent}/tools/durability.py
[[ -f $tool ]] || { echo "tests/durability.sh: no durability.py in ../shared/tools (or \$SHARED/tools)" >&2; exit 1; }
[[ -x $binary ]] || { echo "tests/durability.sh: no $binary (cargo build --release)" >&2; exit 1; }

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
failed=0
for count in $workers; do
    for kind in $kinds; do
        port=${DURABILITY_PORT:-$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')}
        data=$scratch/$count-$kind
        mkdir "$data"
        echo "durability: $count workers, kill $kind, $rounds rounds"
        start="env EMPTYSERVER_LISTEN=127.0.0.1:$port EMPTYSERVER_DATA=$data EMPTYSERVER_WORKERS=$count EMPTYSERVER_LOG_FORMAT=json $binary"
        if ! python3 "$tool" --port "$port" --start "$start" --kill "$kind" --rounds "$rounds" --seconds "$seconds" --ops "$ops" \
            --serverlog "$scratch/$count-$kind.log"; then
            failed=1
            echo "durability: the end of the service's log:"
            tail -n 20 "$scratch/$count-$kind.log"
        fi
        rm -rf "$data"
    done
done
exit "$failed"
