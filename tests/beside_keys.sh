#!/usr/bin/env bash
# What others feel while one client asks for much: GETs and SETs beside a repeated KEYS over many keys, then beside SWAPDB and
# FLUSHALL of all of them; and the first GET after a kill -9 of everything. Prints figures: judged by a person, since this
# machine may be busy with other things.
#
#   tests/beside_keys.sh                     100,000 keys, some seconds
#   KEYS=1000000 SECONDS_EACH=15 tests/beside_keys.sh
set -euo pipefail
cd "$(dirname "$0")/.."
source tests/scratch.sh

command -v redis-benchmark >/dev/null || complain "no redis-benchmark (Debian: apt-get install redis-tools)"
command -v python3 >/dev/null || complain "no python3 (Debian: apt-get install python3)"
keys=${KEYS:-100000}
seconds=${SECONDS_EACH:-4}

start_service EMPTYSERVER_WORKERS=2
python3 tests/beside_keys.py --port "${service_address##*:}" --keys "$keys" --seconds "$seconds"
stop_service
