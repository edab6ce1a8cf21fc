#!/usr/bin/env bash
# The status page in a real browser: Debian's chromium, driven by Playwright. What is missing is installed.
#
#   tests/browser.sh                             the test
#   tests/browser.sh --screenshots docs/images   the pictures of the documentation instead
#
# EMPTYSERVER_BIN: the program that is tried; otherwise target/release/emptyserver, built if it is missing.
set -euo pipefail
cd "$(dirname "$0")/.."

program=${EMPTYSERVER_BIN:-${BINARY:-target/release/emptyserver}}
venv=target/browser-venv
# A change of this line installs anew.
needs="playwright==1.65.2"
packages=()
command -v chromium >/dev/null || packages+=(chromium fonts-dejavu-core)

if [[ " $* " == *" --screenshots"* ]]; then
    # The page prefers this font where it is there; the pictures are drawn with fewer colours, and are small.
    [[ -d /usr/share/fonts/opentype/inter ]] || packages+=(fonts-inter)
    needs+=" pillow==13.0.0"
fi

if ((${#packages[@]})); then
    root=()
    [[ $(id -u) == 0 ]] || root=(sudo)
    "${root[@]}" apt-get update -q
    "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "${packages[@]}"
fi

for need in $needs; do
    grep -qxF "$need" "$venv/installed" 2>/dev/null && continue
    [[ -x $venv/bin/python ]] || python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check "$need"
    echo "$need" >>"$venv/installed"
done

if [[ ! -x $program ]]; then
    [[ -z ${EMPTYSERVER_BIN:-${BINARY:-}} ]] || {
        echo "browser: no $program" >&2
        exit 1
    }
    cargo build --release
fi

EMPTYSERVER_BIN=$program exec timeout 300 "$venv/bin/python" tests/browser/status_page.py "$@"
