#!/usr/bin/env bash
# Moving in and out: a redis-server's keys of all kinds and encodings by its RDB file, its append-only files, key by key and as a replica does, into
# a new data file and into a service that runs; and back, where a redis-server says of every key that it is the same.
#
#   IMPORT_KEYS=5000000 tests/import.sh
set -euo pipefail
cd "$(dirname "$0")/.."
source tests/scratch.sh

keys=${IMPORT_KEYS:-20000}
export AWAIT_SECONDS=$((30 + keys / 20000))
tool=tests/tools/moving.py

# redis NAME ARGUMENT…: a redis-server in a directory of its own, $scratch/NAME; its port is in $port.
redis() {
    local name=$1
    shift
    mkdir -p "$scratch/$name"
    port=$(free_port)
    redis-server --port "$port" --bind 127.0.0.1 --save "" --appendonly no --dir "$scratch/$name" --enable-debug-command yes "$@" \
        >"$scratch/$name.log" 2>&1 &
    started+=($!)
    pid=$!
    await "$scratch/$name.log" $! >/dev/null
}

end() {
    kill "$1"
    wait "$1" 2>/dev/null || true
}

# offline DIRECTORY COMMAND…: the program with this data directory, where no service runs.
offline() {
    local data=$1
    shift
    env EMPTYSERVER_DATA="$data" EMPTYSERVER_LISTEN=127.0.0.1:1 EMPTYSERVER_ADMIN_LISTEN=off "$binary" "$@"
}

# follow DIRECTORY PORT: the same, for the background: the signal that it gets is for the program.
follow() {
    exec env EMPTYSERVER_DATA="$1" EMPTYSERVER_LISTEN=127.0.0.1:1 EMPTYSERVER_ADMIN_LISTEN=off "$binary" import --from "redis://127.0.0.1:$2" --follow
}

# sound DIRECTORY: what is there is whole.
sound() {
    local told
    told=$(offline "$1" check)
    [[ ${told##*$'\n'} == 'no problem found' ]] || complain "the data is damaged: $told"
}

# in_step LOG: waits until an import says that it follows.
in_step() {
    grep -m 1 '^in step' < <(timeout 600 tail --pid="$import" -n +1 -F "$1" 2>/dev/null) >/dev/null || complain "$(cat "$scratch"/*.err)"
}

# same FILE: a redis-server that loads it has what the source has.
same() {
    mkdir -p "$scratch/copy"
    cp "$1" "$scratch/copy/dump.rdb"
    redis copy
    python3 "$tool" compare "$source_port" "$port"
    end "$pid"
}

redis source
source_port=$port source_pid=$pid
python3 "$tool" fill "$source_port" "$keys"
redis-cli -p "$source_port" save >/dev/null
dump=$scratch/source/dump.rdb

echo "-- an RDB file of $keys keys into a new data file, and back"
offline "$scratch/new" import --dry-run "$dump" >"$scratch/out"
[[ ! -e $scratch/new/data.db ]] || complain "a dry run has made data"
offline "$scratch/new" import "$dump"
sound "$scratch/new"
offline "$scratch/new" export "$scratch/export.rdb"
same "$scratch/export.rdb"
if offline "$scratch/new" import "$dump" 2>"$scratch/err"; then complain "an import over data that is there"; fi
grep -q 'start the service and import into it' "$scratch/err" || complain "$(cat "$scratch/err")"

echo "-- a file that is cut leaves nothing behind"
length=$(stat -c %s "$dump")
for cut in 0 5 $((length / 2)) $((length - 9)) $((length - 1)); do
    head -c "$cut" "$dump" >"$scratch/cut.rdb"
    if offline "$scratch/from-cut" import "$scratch/cut.rdb" 2>"$scratch/err"; then complain "a file that is cut at $cut of $length"; fi
    grep -q 'cut' "$scratch/err" || complain "$(cat "$scratch/err")"
    [[ -z $(find "$scratch/from-cut" -name '*.db*' -o -name 'import.*' 2>/dev/null) ]] || complain "a file that is cut at $cut of $length leaves something"
done

echo "-- into a running service, and back while it runs"
start_service
service_pid=${started[-1]}
running() { env EMPTYSERVER_DATA="$service_data" EMPTYSERVER_LISTEN="$service_address" "$binary" "$@"; }
running import "$dump"
if running import "$dump" >"$scratch/out"; then complain "keys that are there were overwritten"; fi
grep -q 'refused (ERR Library' "$scratch/out" || complain "$(cat "$scratch/out")"
grep -q 'keys that are there already' "$scratch/out" || complain "$(cat "$scratch/out")"
running import --replace "$dump" >"$scratch/out"
running export "$scratch/running.rdb"
same "$scratch/running.rdb"
"$binary" export --help >/dev/null
"$binary" cli -u "redis://$service_address" flushall >/dev/null
"$binary" cli -u "redis://$service_address" function flush >/dev/null

echo "-- key by key from a running server"
running import --from "redis://127.0.0.1:$source_port"
rm "$scratch/running.rdb"
running export "$scratch/running.rdb"
same "$scratch/running.rdb"
stop_service "$service_pid"

echo "-- as a replica does, while one client writes, from a disk and without"
for diskless in no yes; do
    redis-cli -p "$source_port" config set repl-diskless-sync "$diskless" repl-diskless-sync-delay 0 >/dev/null
    data=$scratch/followed-$diskless
    python3 "$tool" write "$source_port" "$scratch/written" &
    writer=$!
    follow "$data" "$source_port" >"$scratch/followed.out" 2>"$scratch/followed.err" &
    import=$!
    in_step "$scratch/followed.out"
    sleep 2
    kill "$writer"
    wait "$writer" || complain "the writer"
    kill -INT "$import"
    wait "$import" || complain "$(cat "$scratch/followed.out" "$scratch/followed.err")"
    sound "$data"
    rm -f "$scratch/followed.rdb"
    offline "$data" export "$scratch/followed.rdb" >"$scratch/out"
    same "$scratch/followed.rdb"
    echo "$(cat "$scratch/written") writes beside it, and nothing is lost"
done

echo "-- from a server that is idle"
offline "$scratch/idle" import --from "redis://127.0.0.1:$source_port" --follow --cut-over-when-idle >"$scratch/out"
offline "$scratch/idle" export "$scratch/idle.rdb" >"$scratch/out"
same "$scratch/idle.rdb"

# has_begun DIRECTORY: waits until data of the source comes.
has_begun() {
    for _ in $(seq 200); do
        [[ -s $1/import.spool/transfer.rdb ]] && return
        sleep 0.05
    done
    complain "no data comes"
}

echo "-- a source that is killed amid the transfer leaves nothing behind, and neither does Ctrl-C"
redis slow --repl-diskless-sync yes --repl-diskless-sync-delay 0 --rdb-key-save-delay 200
slow_port=$port slow_pid=$pid
python3 "$tool" fill "$slow_port" 20000
follow "$scratch/killed" "$slow_port" >"$scratch/out" 2>"$scratch/err" &
import=$!
has_begun "$scratch/killed"
kill -INT "$import"
if wait "$import"; then complain "half a transfer is no failure"; fi
grep -q 'interrupted' "$scratch/err" || complain "$(cat "$scratch/err")"
[[ ! -e $scratch/killed/data.db && ! -e $scratch/killed/import.part && ! -e $scratch/killed/import.spool ]] || complain "Ctrl-C has left something"
follow "$scratch/killed" "$slow_port" >"$scratch/out" 2>"$scratch/err" &
import=$!
has_begun "$scratch/killed"
kill -9 "$slow_pid"
if wait "$import"; then complain "half a transfer is no failure"; fi
grep -q 'has gone after .* nothing was imported' "$scratch/err" || complain "$(cat "$scratch/err")"
[[ ! -e $scratch/killed/data.db && ! -e $scratch/killed/import.part && ! -e $scratch/killed/import.spool ]] || complain "half a transfer has left something"

echo "-- a source that is killed while it is followed: all that it sent is there"
redis fast --repl-diskless-sync-delay 0
python3 "$tool" fill "$port" 1000
follow "$scratch/left" "$port" >"$scratch/followed.out" 2>"$scratch/err" &
import=$!
in_step "$scratch/followed.out"
redis-cli -p "$port" set last word >/dev/null
sleep 1
kill -9 "$pid"
if wait "$import"; then complain "a source that has gone is a failure"; fi
grep -q 'all that it sent is here' "$scratch/err" || complain "$(cat "$scratch/err")"
offline "$scratch/left" export "$scratch/left.rdb" >"$scratch/out"
mkdir "$scratch/check-left"
cp "$scratch/left.rdb" "$scratch/check-left/dump.rdb"
redis check-left
[[ $(redis-cli -p "$port" get last) == word ]] || complain "the last word is lost"
end "$pid"

echo "-- append-only files: with an RDB file in front and without, cut at the end, and a single one of before Redis 7"
for preamble in yes no; do
    redis "aof-$preamble" --appendonly yes --aof-use-rdb-preamble "$preamble" --auto-aof-rewrite-percentage 0
    aof_port=$port aof_pid=$pid
    python3 "$tool" fill "$aof_port" 3000
    # As commands Redis does not write what is pending of a deleted entry.
    [[ $preamble == yes ]] || redis-cli -p "$aof_port" xack stream group 10-0 >/dev/null
    redis-cli -p "$aof_port" bgrewriteaof >/dev/null
    for _ in $(seq 200); do
        [[ $(redis-cli -p "$aof_port" info persistence) == *aof_rewrite_in_progress:0* ]] && break
        sleep 0.05
    done
    for number in $(seq 200); do redis-cli -p "$aof_port" rpush "after" "$number"; done >/dev/null
    redis-cli -p "$aof_port" eval "redis.call('set', 'a', 1) redis.call('incr', 'a')" 0 >/dev/null
    # When its commands come, its first end has passed.
    redis-cli -p "$aof_port" set refreshed "the value" px 300 >/dev/null
    redis-cli -p "$aof_port" pexpire refreshed 3600000 >/dev/null
    redis-cli -p "$aof_port" xadd "live stream" 1-1 a b >/dev/null
    redis-cli -p "$aof_port" xgroup create "live stream" group 0 >/dev/null
    redis-cli -p "$aof_port" xreadgroup group group Ann streams "live stream" ">" >/dev/null
    sleep 0.5
    offline "$scratch/from-aof-$preamble" import "$scratch/aof-$preamble"
    offline "$scratch/from-aof-$preamble" export "$scratch/aof-$preamble.rdb" >"$scratch/out"
    source_before=$source_port source_port=$aof_port
    same "$scratch/aof-$preamble.rdb"
    start_service
    service_pid=${started[-1]}
    running import "$scratch/aof-$preamble"
    rm -f "$scratch/running.rdb"
    running export "$scratch/running.rdb" >"$scratch/out"
    stop_service "$service_pid"
    same "$scratch/running.rdb"
    source_port=$source_before
    end "$aof_pid"
    last=$(find "$scratch/aof-$preamble" -name '*.incr.aof' | sort -V | tail -n 1)
    truncate -s -3 "$last"
    offline "$scratch/cut-$preamble" import "$scratch/aof-$preamble" >"$scratch/out"
    grep -q 'are no complete command' "$scratch/out" || complain "$(cat "$scratch/out")"
    cat "$(find "$scratch/aof-$preamble" -name '*.base.*')" "$last" >"$scratch/single.aof"
    offline "$scratch/single-$preamble" import "$scratch/single.aof" >"$scratch/out"
    printf 'x' | dd of="$last" bs=1 seek=3 conv=notrunc status=none
    if offline "$scratch/damaged-$preamble" import "$scratch/aof-$preamble" 2>"$scratch/err"; then complain "damage goes unnoticed"; fi
    [[ ! -e $scratch/damaged-$preamble/data.db ]] || complain "damage was imported"
done
end "$source_pid"
echo "moved in and out"
