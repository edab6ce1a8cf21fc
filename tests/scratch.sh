# Sourced by the scripts beside it: scratch servers that are ready when their log says so, and gone when the script ends.
# shellcheck shell=bash

binary=${BINARY:-target/release/emptyserver}
scratch=$(mktemp -d)
started=()

complain() {
    echo "$(basename "$0"): $1" >&2
    exit 1
}

finish() {
    local pid
    for pid in "${started[@]}"; do
        kill "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
    done
    rm -rf "$scratch"
}
trap finish EXIT

[[ -x $binary ]] || complain "no $binary (cargo build --release)"

free_port() {
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# python_with NAME REQUIREMENT…: prints the path of a Python that has these packages, in a virtual environment of that name. It is made once, and
# filled again when other packages are asked for.
python_with() {
    local tools=target/$1
    shift
    # A failure within $(…) ends nothing by itself.
    [[ -x $tools/bin/python ]] || python3 -m venv "$tools" >&2 || return
    if [[ "$(cat "$tools/requirements" 2>/dev/null)" != "$*" ]]; then
        "$tools/bin/python" -m pip install --quiet "$@" >&2 || return
        echo "$*" >"$tools/requirements" || return
    fi
    echo "$tools/bin/python"
}

# need_packages PACKAGE…: installs these of Debian.
need_packages() {
    (($#)) || return 0
    local -a root=()
    [[ $(id -u) == 0 ]] || root=(sudo)
    "${root[@]}" apt-get update -q
    "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "$@"
}

# need_chromium [--screenshots …]: the browser, and for pictures the font that pages prefer; $picture_needs is what Python needs for them.
# shellcheck disable=SC2034 # picture_needs is for the scripts that source this
need_chromium() {
    local -a missing=()
    picture_needs=()
    command -v chromium >/dev/null || missing+=(chromium fonts-dejavu-core)
    if [[ " $* " == *" --screenshots"* ]]; then
        # They are drawn with fewer colours, and are small.
        picture_needs=(pillow==13.0.0)
        [[ -d /usr/share/fonts/opentype/inter ]] || missing+=(fonts-inter)
    fi
    need_packages "${missing[@]}"
}

# await LOG PID: prints the line that says that the server is ready; for AWAIT_SECONDS, where it has much to load.
await() {
    grep -m 1 -i 'ready to accept connections' < <(timeout "${AWAIT_SECONDS:-30}" tail --pid="$2" -n +1 -F "$1" 2>/dev/null) || {
        cat "$1" >&2
        complain "a server does not start"
    }
}

# start_redis: a redis-server on $redis_port.
start_redis() {
    command -v redis-server >/dev/null || complain "no redis-server (Debian: apt-get install redis-server)"
    redis_port=$(free_port)
    redis-server --port "$redis_port" --bind 127.0.0.1 --save "" --appendonly no --dir "$scratch" --enable-debug-command yes \
        >"$scratch/redis.log" 2>&1 &
    started+=($!)
    await "$scratch/redis.log" $! >/dev/null
}

# start_service NAME=VALUE…: the service with these settings, on $service_address, with its data in $service_data.
# shellcheck disable=SC2034 # both are for the scripts that source this
start_service() {
    local data
    data=$(mktemp -d -p "$scratch")
    service_data=$data
    env EMPTYSERVER_LISTEN=127.0.0.1:0 EMPTYSERVER_ADMIN_LISTEN=127.0.0.1:0 EMPTYSERVER_DATA="$data" EMPTYSERVER_LOG_FORMAT=json "$@" "$binary" 2>"$data.log" &
    started+=($!)
    service_address=$(await "$data.log" $! | sed -E 's/.*"address":"([^"]+)".*/\1/')
}

# stop_service [PID]: this one, or the last that was started, to its orderly end.
stop_service() {
    local pid=${1:-${started[-1]}} index
    for index in "${!started[@]}"; do
        [[ ${started[index]} != "$pid" ]] || unset "started[index]"
    done
    kill "$pid"
    wait "$pid" || complain "the service ends with code $?"
}
