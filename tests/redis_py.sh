#!/usr/bin/env bash
# redis-py, the client that most people use: it sends a whole pipeline before it reads the first reply. 300,000 GETs of 200 bytes are 60 MB of
# replies that wait; so do the SETs before them, and a transaction.
set -euo pipefail
cd "$(dirname "$0")/.."
source tests/scratch.sh

tools=target/migration-tools
[[ -x $tools/bin/python ]] || python3 -m venv "$tools"
"$tools/bin/python" -c 'import redis' 2>/dev/null || "$tools/bin/pip" install --quiet redis

start_service EMPTYSERVER_WORKERS=2
# Whoever hangs is ended: a pipeline of a second or two has a minute.
timeout 60 "$tools/bin/python" - "${service_address##*:}" <<'END_OF_PROGRAM' || complain "a pipeline of redis-py fails or hangs"
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
echo "redis-py's pipelines work"
