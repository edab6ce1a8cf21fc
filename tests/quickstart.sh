#!/usr/bin/env bash
# The README's first commands, as a stranger types them: the service by `cargo run`, and a first session with its client.
# The address and the directory are scratch ones, so that a service that runs here already is left alone.
set -euo pipefail
cd "$(dirname "$0")/.."
source tests/scratch.sh

port=$(free_port)
export EMPTYSERVER_LISTEN=127.0.0.1:$port EMPTYSERVER_ADMIN_LISTEN=127.0.0.1:0 EMPTYSERVER_DATA=$scratch/data
cargo run --quiet --release 2>"$scratch/run.log" &
started+=($!)
await "$scratch/run.log" $! >/dev/null

kv() { cargo run --quiet --release -- cli "$@"; }
expect() { [[ $1 == "$2" ]] || complain "expected '$2', got '$1'"; }
expect "$(kv set a 1)" OK
expect "$(kv get a)" 1
expect "$(printf 'incr a\nttl a\n' | kv)" $'2\n-1'
cargo run --quiet --release -- health
kv shutdown 2>"$scratch/shutdown.log" || true
wait "${started[-1]}" || complain "the service ends with code $?"
unset 'started[-1]'
cargo run --quiet --release -- check
