# Sourced by the scripts beside it: steps with their times, suites side by side, the tools that the tests need, and how CI builds.
# shellcheck shell=bash

cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit

# A fresh clone has nothing to go on from, and writing down what the next build could begin with takes its time.
[[ -z ${CI:-} ]] || export CARGO_INCREMENTAL=0

step_name='' step_began=0

# The time of the step before, and the name of this one.
step() {
    [[ -z $step_name ]] || printf -- '-- %s: %d s\n' "$step_name" $((SECONDS - step_began))
    step_name=$* step_began=$SECONDS
    printf '\n== %s\n' "$step_name"
}

# side_by_side NAME…: these functions, each with all it says in one piece, as soon as all have ended. They must not measure anything.
side_by_side() {
    local logs name
    local -A pids=()
    local -a failed=()
    logs=$(mktemp -d)
    for name in "$@"; do
        (step_name='' && "$name") >"$logs/$name" 2>&1 &
        pids[$name]=$!
    done
    for name in "$@"; do
        wait "${pids[$name]}" || failed+=("$name")
    done
    for name in "$@"; do
        cat "$logs/$name"
    done
    rm -r "$logs"
    ((${#failed[@]} == 0)) || {
        printf '\nfailed: %s\n' "${failed[*]}" >&2
        exit 1
    }
}

# The tools that the tests use where they find them; here none may be missing.
install_tools() {
    local -A packages=([redis-server]=redis-server [redis-benchmark]=redis-tools [strace]=strace [prlimit]=util-linux
        [python3]=python3 [cc]=gcc [make]=make [curl]=curl [strings]=binutils [sqlite3]=sqlite3 [nsenter]=util-linux [ps]=procps [shellcheck]=shellcheck
        [redis-cli]=redis-tools [setsid]=util-linux [docker-compose]=docker-compose [chromium]=chromium [openssl]=openssl)
    local -a missing=()
    local tool
    for tool in "${!packages[@]}"; do
        command -v "$tool" >/dev/null || missing+=("${packages[$tool]}")
    done
    # Debian's python3 makes virtual environments only with this package beside it; a Python of another origin has it.
    python3 -c 'import ensurepip' 2>/dev/null || missing+=(python3-venv)
    # The Chinese texts of examples/hospital are drawn with it.
    [[ -d /usr/share/fonts/opentype/noto ]] || missing+=(fonts-noto-cjk)
    ((${#missing[@]})) || return 0
    local -a root=()
    [[ $(id -u) == 0 ]] || root=(sudo)
    # A package's own service must not come up and take the port: no service is started while we install.
    local policy=/usr/sbin/policy-rc.d
    local is_ours=no
    if [[ ! -e $policy ]]; then
        is_ours=yes
        printf '#!/bin/sh\nexit 101\n' | "${root[@]}" tee "$policy" >/dev/null
        "${root[@]}" chmod +x "$policy"
    fi
    "${root[@]}" apt-get update -q
    "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "${missing[@]}"
    [[ $is_ours == no ]] || "${root[@]}" rm -f "$policy"
    if [[ " ${missing[*]} " == *" redis-server "* ]] && command -v systemctl >/dev/null; then
        "${root[@]}" systemctl disable redis-server >/dev/null 2>&1 || true
    fi
}
