#!/usr/bin/env bash
# Hostile clients beside innocent ones, against the release build (tests/endurance/hostile). The data lies in memory where there is room for it: how
# fast this machine's disk syncs is not what is asked.
#
#   tests/hostile.sh [NAME…]      those scenarios whose names contain one of these
#   HOSTILE_SECONDS=20 tests/hostile.sh
set -euo pipefail
cd "$(dirname "$0")/.."

program=${EMPTYSERVER_UNDER_TEST:-$PWD/target/release/emptyserver}
[[ -x $program ]] || {
    echo "hostile.sh: no $program (cargo build --release)" >&2
    exit 1
}
free_kib=$(df --output=avail -k /dev/shm 2>/dev/null | tail -1)
if ((${free_kib:-0} > 4 * 1024 * 1024)); then
    export TMPDIR=/dev/shm
fi
# Where nothing is named: all but what is known to fail, or to fail now and then (the container of 256 MiB).
(($#)) || set -- hostile:: --skip known:: --skip container::
EMPTYSERVER_UNDER_TEST=$program cargo test --test endurance -- --ignored --nocapture --test-threads=1 "$@"
