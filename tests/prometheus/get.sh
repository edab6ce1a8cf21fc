#!/usr/bin/env bash
# Prints the directory with `prometheus` and `promtool` of Debian's package, which is unpacked and not installed, so that its service
# never comes up.
set -euo pipefail
cd "$(dirname "$0")/../.."

directory=target/prometheus
if [[ ! -x $directory/promtool ]]; then
    scratch=$(mktemp -d)
    trap 'rm -rf "$scratch"' EXIT
    (
        cd "$scratch"
        as_root=()
        [[ $(id -u) == 0 ]] || as_root=(sudo)
        apt-get download -q prometheus || { "${as_root[@]}" apt-get update -q && apt-get download -q prometheus; }
        dpkg -x prometheus_*.deb unpacked
    ) >&2
    mkdir -p "$directory"
    cp "$scratch/unpacked/usr/bin/prometheus" "$scratch/unpacked/usr/bin/promtool" "$directory"
fi
echo "$directory"
