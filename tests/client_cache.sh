#!/usr/bin/env bash
# redis-py's cache of what it reads (CLIENT TRACKING, RESP3), over two workers, beside writes and deaths of the writer: no cache may keep an older
# value. With a build that has the feature `broken-variants`, BROKEN_VARIANT=tracked-after-reading breaks the rule that it rests on.
set -euo pipefail
cd "$(dirname "$0")/.."
source tests/scratch.sh

python=$(python_with redis-py redis==8.1.0)

start_service EMPTYSERVER_WORKERS=2
timeout 300 "$python" tests/client_cache.py "${service_address##*:}" "${CACHE_SECONDS:-20}" "${started[-1]}" || complain "a cache has an older value, or its client hangs"
stop_service
