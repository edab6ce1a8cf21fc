#!/usr/bin/env bash
# redis-py, the client that most people use: it sends a whole pipeline before it reads the first reply. 300,000 GETs of 200 bytes are 60 MB of
# replies that wait; so do the SETs before them, and a transaction.
set -euo pipefail
cd "$(dirname "$0")/.."
source tests/scratch.sh

version=8.1.0
python=$(python_with redis-py redis==$version pytest==9.2.0 pytest-asyncio==1.5.0)

start_service EMPTYSERVER_WORKERS=2
# Whoever hangs is ended: a pipeline of a second or two has a minute.
timeout 60 "$python" - "${service_address##*:}" <<'END_OF_PROGRAM' || complain "a pipeline of redis-py fails or hangs"
import sys, time, redis

COUNT = 300_000
client = redis.Redis(port=int(sys.argv[1]), socket_timeout=30)
value = b"v" * 200
client.set("w", value)

def run(name, is_transaction, count, queue, expected):
    pipeline = client.pipeline(transaction=is_transaction)
    for number in range(count):
        queue(pipeline, number)
    begun = time.monotonic()
    replies = pipeline.execute()
    print(f"{count} x {name} in {time.monotonic() - begun:.1f} s")
    assert len(replies) == count and all(reply == expected for reply in replies), f"{name}: other replies than expected"

run("GET of 200 bytes", False, COUNT, lambda pipeline, number: pipeline.get("w"), value)
run("SET of 200 bytes", False, COUNT // 10, lambda pipeline, number: pipeline.set(f"key:{number}", value), True)
run("GET of what was written", False, COUNT // 10, lambda pipeline, number: pipeline.get(f"key:{number}"), value)
run("GET in a transaction", True, COUNT // 10, lambda pipeline, number: pipeline.get("w"), value)
assert client.ping()
END_OF_PROGRAM
stop_service

# What redis-py offers of ACL, in RESP2 and RESP3. Its own tests follow below.
start_service EMPTYSERVER_WORKERS=2
timeout 60 "$python" - "${service_address##*:}" <<'END_OF_PROGRAM' || complain "redis-py and ACL do not get on"
import sys, redis
from redis.exceptions import DataError, NoPermissionError, ResponseError, AuthenticationError

def fails(error, call, *args, **flags):
    try:
        call(*args, **flags)
    except error as raised:
        return str(raised)
    raise AssertionError(f"{args} {flags} did not fail")

port = int(sys.argv[1])
for protocol in (2, 3):
    client = redis.Redis(port=port, protocol=protocol, decode_responses=True, socket_timeout=30)
    client.acl_log_reset()
    assert "read" in client.acl_cat() and "get" in client.acl_cat("read")
    assert client.acl_whoami() == "default"
    assert len(client.acl_genpass()) == 64 and len(client.acl_genpass(1024)) == 256 and client.acl_help()
    for bits in (-5, 5000, "x"):
        fails((DataError, ResponseError), client.acl_genpass, bits)
    # Users with everything that there is.
    assert client.acl_setuser("bare", enabled=False, reset=True)
    bare = client.acl_getuser("bare")
    assert bare["flags"][0] == "off" and bare["commands"] == [] and bare["categories"] == ["-@all"] and bare["passwords"] == [] and bare["enabled"] is False, bare
    assert client.acl_setuser("open", enabled=True, reset=True, nopass=True) and "nopass" in client.acl_getuser("open")["flags"]
    assert client.acl_setuser("rich", enabled=True, reset=True, passwords=["+pass1", "+pass2"], categories=["+set", "+@hash", "-geo"],
                              commands=["+get", "+mget", "-hset"], keys=["cache:*", "objects:*"], channels=["message:*"],
                              selectors=[("+set", "%W~app*")])
    rich = client.acl_getuser("rich")
    assert set(rich["categories"]) == {"+@hash", "+@set", "-@all", "-@geo"} and {"+get", "+mget", "-hset"} <= set(rich["commands"]), rich
    assert len(rich["passwords"]) == 2 and rich["enabled"] is True, rich
    keys = rich["keys"] if isinstance(rich["keys"], str) else " ".join(rich["keys"])
    assert "cache:*" in keys and "objects:*" in keys and "message:*" in str(rich["channels"]) and "app*" in str(rich["selectors"]), rich
    assert client.acl_setuser("rich", enabled=True, passwords=["+pass3", "-pass1"]) and len(client.acl_getuser("rich")["passwords"]) == 2
    hashed = "5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8"
    assert client.acl_setuser("rich", enabled=True, hashed_passwords=["+" + hashed]) and hashed in client.acl_getuser("rich")["passwords"]
    assert client.acl_setuser("rich", enabled=True, reset_passwords=True) and client.acl_getuser("rich")["passwords"] == []
    for flags in ({"categories": ["list"]}, {"commands": ["get"]}, {"passwords": "pass", "nopass": True}):
        fails(DataError, client.acl_setuser, "bad", enabled=True, reset=True, **flags)
    # Who may do what.
    assert client.acl_dryrun("rich", "get", "cache:a") in ("OK", True) and "no permissions" in client.acl_dryrun("rich", "hset", "cache:a", "f", "v")
    assert {"bare", "default", "open", "rich"} <= set(client.acl_users()) and len(client.acl_list()) == len(client.acl_users())
    assert client.acl_setuser("limited", enabled=True, reset=True, commands=["+get", "+set", "+select", "+client", "+hello"], keys=["cache:*"], nopass=True)
    limited = redis.Redis(port=port, protocol=protocol, username="limited", password="any", decode_responses=True, socket_timeout=30)
    assert limited.set("cache:0", 1) and limited.get("cache:0") == "1"
    assert "hset" in fails(NoPermissionError, limited.hset, "cache:0", "hkey", "hval")
    fails(NoPermissionError, limited.get, "violated_cache:0")
    fails(AuthenticationError, redis.Redis(port=port, protocol=protocol, username="nobody", password="x").ping)
    log = client.acl_log()
    assert isinstance(log, list) and len(log) == 3 and len(client.acl_log(count=1)) == 1, log
    last = client.acl_log(count=1)[0]
    assert last["reason"] == "auth" and last["username"] == "nobody" and "client-info" in last, last
    assert client.acl_log_reset() and client.acl_log() == []
    fails(ResponseError, client.acl_save), fails(ResponseError, client.acl_load)
    assert client.acl_deluser("bare", "open", "rich", "limited", "nobody") == 4
    assert client.acl_getuser("bare") is None
    print(f"ACL over RESP{protocol}")
END_OF_PROGRAM
stop_service

# What redis-py offers of streams, in RESP2 and RESP3.
start_service EMPTYSERVER_WORKERS=2
timeout 60 "$python" - "${service_address##*:}" <<'END_OF_PROGRAM' || complain "redis-py and streams do not get on"
import sys, threading, redis
from redis.exceptions import ResponseError

port = int(sys.argv[1])
for protocol in (2, 3):
    client = redis.Redis(port=port, protocol=protocol, decode_responses=True, socket_timeout=30)
    client.flushdb()
    def read(reply):
        """Ids by streams, of a list of pairs or of a map of lists."""
        if isinstance(reply, dict): return {name: [i for part in parts for i, _ in (part if isinstance(part, list) else [part])] for name, parts in reply.items()}
        return {name: [i for i, _ in entries] for name, entries in reply}
    ids = [client.xadd("s", {"n": number, "square": number * number}, id=f"{number}-0") for number in range(1, 11)]
    assert client.xlen("s") == 10 and client.xadd("none", {"a": 1}, nomkstream=True) is None
    assert client.xrange("s", min="2-0", max="3-0") == [("2-0", {"n": "2", "square": "4"}), ("3-0", {"n": "3", "square": "9"})]
    assert [i for i, _ in client.xrevrange("s", count=2)] == ["10-0", "9-0"]
    assert read(client.xread({"s": "8-0"})) == {"s": ["9-0", "10-0"]} and not client.xread({"s": "$"}, block=10)
    assert read(client.xread({"s": "+"})) == {"s": ["10-0"]}
    # Whoever waits.
    waiting = redis.Redis(port=port, protocol=protocol, decode_responses=True, socket_timeout=30)
    got = []
    thread = threading.Thread(target=lambda: got.append(read(waiting.xread({"s": "$", "t": "$"}, block=0))))
    # The figure is as of the last tick: it may still count who waited in the round before.
    while client.info("clients")["blocked_clients"] > 0: pass
    thread.start()
    while client.info("clients")["blocked_clients"] == 0: pass
    client.xadd("t", {"a": 1}, id="1-1")
    thread.join()
    assert got == [{"t": ["1-1"]}], got
    # Groups.
    assert client.xgroup_create("s", "g", id="0") and client.xgroup_create("made", "g", mkstream=True)
    try: client.xgroup_create("s", "g")
    except ResponseError as error: assert str(error).startswith("BUSYGROUP"), error
    else: raise AssertionError("a group is there twice")
    assert read(client.xreadgroup("g", "Ann", {"s": ">"}, count=4)) == {"s": ids[:4]}
    assert read(client.xreadgroup("g", "Bob", {"s": ">"}, count=2)) == {"s": ids[4:6]}
    assert read(client.xreadgroup("g", "Eve", {"s": ">"}, noack=True, count=1)) == {"s": ids[6:7]}
    assert read(client.xreadgroup("g", "Bob", {"s": "0"})) == {"s": ids[4:6]} and client.xack("s", "g", ids[0], ids[9]) == 1
    pending = client.xpending("s", "g")
    assert (pending["pending"], pending["min"], pending["max"]) == (5, ids[1], ids[5]) and {(c["name"], int(c["pending"])) for c in pending["consumers"]} == {("Ann", 3), ("Bob", 2)}
    assert [(e["message_id"], e["consumer"], e["times_delivered"]) for e in client.xpending_range("s", "g", "-", "+", 2)] == [(ids[1], "Ann", 1), (ids[2], "Ann", 1)]
    assert [e["message_id"] for e in client.xpending_range("s", "g", "-", "+", 9, consumername="Bob", idle=0)] == ids[4:6]
    assert [i for i, _ in client.xclaim("s", "g", "Bob", 0, [ids[1], ids[8]])] == [ids[1]] and client.xclaim("s", "g", "Bob", 0, [ids[2]], justid=True) == [ids[2]]
    assert client.xdel("s", ids[3]) == 1
    claimed = client.xautoclaim("s", "g", "Eve", 0, start_id="0", count=3)
    assert claimed[0] == ids[4] and [i for i, _ in claimed[1]] == ids[1:3] and claimed[2] == [ids[3]], claimed
    whole, groups = client.xinfo_stream("s"), client.xinfo_groups("s")
    assert (whole["length"], whole["last-generated-id"], whole["max-deleted-entry-id"], whole["entries-added"], whole["first-entry"][0]) == (9, ids[9], ids[3], 10, ids[0]), whole
    assert [(g["name"], g["consumers"], g["pending"], g["last-delivered-id"], g["entries-read"], g["lag"]) for g in groups] == [("g", 3, 4, ids[6], 7, 3)], groups
    assert {(c["name"], c["pending"]) for c in client.xinfo_consumers("s", "g")} == {("Ann", 0), ("Bob", 2), ("Eve", 2)}
    assert client.xinfo_stream("s", full=True)["groups"][0]["pel-count"] == 4
    assert client.xgroup_delconsumer("s", "g", "Bob") == 2 and client.xgroup_createconsumer("s", "g", "Ann") == 0
    assert client.xgroup_setid("s", "g", "2-0", entries_read=2) and client.xinfo_groups("s")[0]["lag"] is None and client.xgroup_destroy("s", "g") == 1
    assert client.xtrim("s", maxlen=4, approximate=False) == 5 and client.xtrim("s", minid="10-0", approximate=False) == 3 and client.xlen("s") == 1
    print(f"streams over RESP{protocol}")
END_OF_PROGRAM
stop_service

# The same over TLS, with a certificate of the client.
quietly() { "$@" 2>"$scratch/openssl.log" || { cat "$scratch/openssl.log" >&2; complain "openssl fails"; }; }
authority() {
    quietly openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj "/CN=$1" -keyout "$scratch/$1.key" -out "$scratch/$1.crt"
}
certify() {
    quietly openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj "/CN=$1" -keyout "$scratch/$1.key" -out "$scratch/$1.csr" &&
        quietly openssl x509 -req -in "$scratch/$1.csr" -CA "$scratch/authority.crt" -CAkey "$scratch/authority.key" -days 1 -out "$scratch/$1.crt" \
            -extfile <(echo "subjectAltName=DNS:localhost,IP:127.0.0.1")
}
authority authority
certify service
certify ann
start_service EMPTYSERVER_WORKERS=2 EMPTYSERVER_TLS_LISTEN=127.0.0.1:0 EMPTYSERVER_TLS_CERT_FILE="$scratch/service.crt" EMPTYSERVER_TLS_KEY_FILE="$scratch/service.key" \
    EMPTYSERVER_TLS_CA_FILE="$scratch/authority.crt" EMPTYSERVER_TLS_AUTH_CLIENTS=required
tls_port=$(redis-cli -h "${service_address%:*}" -p "${service_address##*:}" config get tls-port | tail -1)
timeout 60 "$python" - "$tls_port" "$scratch" <<'END_OF_PROGRAM' || complain "redis-py fails over TLS"
import sys, redis

port, scratch = int(sys.argv[1]), sys.argv[2]
flags = {"host": "localhost", "port": port, "ssl": True, "ssl_ca_certs": f"{scratch}/authority.crt", "socket_timeout": 30}
client = redis.Redis(**flags, ssl_certfile=f"{scratch}/ann.crt", ssl_keyfile=f"{scratch}/ann.key")
large = bytes(range(256)) * 40_000
assert client.set("large", large) and client.get("large") == large
pipeline = client.pipeline(transaction=False)
for number in range(50_000):
    pipeline.set(f"key:{number}", b"v" * (number % 200))
    pipeline.get(f"key:{number}")
replies = pipeline.execute()
assert all(reply is True for reply in replies[::2]) and [len(reply) for reply in replies[1::2]] == [number % 200 for number in range(50_000)]
assert client.client_info()["tls-name"] == "ann", client.client_info()
try:
    redis.Redis(**flags).ping()
except redis.exceptions.ConnectionError as error:
    print(f"without a certificate: {error}")
else:
    raise AssertionError("a client without a certificate was served")
END_OF_PROGRAM
stop_service

# Its own tests of ACL and TLS, which its source package has. Those of OCSP ask servers of the world, and are left out; those of modules skip themselves.
certify client
certify redis
certify test_user
top=$PWD
suite=target/redis-py/redis-$version
if [[ ! -f $suite/tests/test_ssl.py ]]; then
    "$python" -m pip download --quiet --no-deps --no-binary redis --dest target/redis-py "redis==$version"
    tar -xzf "$suite.tar.gz" -C target/redis-py
fi
certificates=$suite/dockers/standalone/tls
mkdir -p "$certificates"
cp "$scratch"/{client,redis,test_user}.{crt,key} "$certificates"
cp "$scratch/authority.crt" "$certificates/ca.crt"
# A certificate names its user here as in Redis 8.5: the version alone would leave those tests out.
cat >"$scratch/as_newer.py" <<'END_OF_PROGRAM'
import pytest

@pytest.hookimpl(trylast=True)
def pytest_sessionstart(session):
    session.config.REDIS_INFO["version"] = "8.5.0"
END_OF_PROGRAM
start_service EMPTYSERVER_WORKERS=2 EMPTYSERVER_TLS_LISTEN=127.0.0.1:0 EMPTYSERVER_TLS_CERT_FILE="$scratch/redis.crt" EMPTYSERVER_TLS_KEY_FILE="$scratch/redis.key" \
    EMPTYSERVER_TLS_CA_FILE="$scratch/authority.crt" EMPTYSERVER_TLS_AUTH_CLIENTS=optional EMPTYSERVER_TLS_USERS=yes
plain_port=${service_address##*:}
tls_port=$(redis-cli -h "${service_address%:*}" -p "$plain_port" config get tls-port | tail -1)
# run_own COUNT FLAGS…: so many of its own tests pass at least, and none fails.
run_own() {
    local least=$1 said passed
    shift
    said=$(cd "$suite" && PYTHONPATH=$scratch timeout 120 "$top/$python" -m pytest -q --no-header -p no:cacheprovider -W ignore --redis-url "redis://127.0.0.1:$plain_port/9" \
        --redis-mod-url "redis://127.0.0.1:$plain_port/9" --redis-ssl-url "rediss://localhost:$tls_port" "$@" 2>&1) || {
        echo "$said" >&2
        complain "redis-py's own tests fail: $*"
    }
    said=$(tail -1 <<<"$said")
    passed=${said%% passed*}
    ((passed >= least)) || complain "only '$said' of $*"
    echo "redis-py's own tests, $*: $said"
}
for protocol in 2 3; do
    run_own 12 --protocol "$protocol" tests/test_commands.py -k acl
done
run_own 20 -p as_newer tests/test_ssl.py tests/test_asyncio/test_ssl.py -k "not ocsp and not unauthorized"
stop_service
echo "redis-py works, its pipelines, ACL, streams, and over TLS, its own tests of these, too"
