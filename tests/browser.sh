#!/usr/bin/env bash
# The status page in a real browser: Debian's chromium, driven by Playwright.
#
#   tests/browser.sh                             the test
#   tests/browser.sh --screenshots docs/images   the same, and the pictures of the documentation
set -euo pipefail
cd "$(dirname "$0")/.."

binary=${BINARY:-target/release/emptyserver}
venv=target/browser-venv
[[ -x $binary ]] || {
    echo "browser: no $binary (cargo build --release)" >&2
    exit 1
}
command -v chromium >/dev/null || {
    root=()
    [[ $(id -u) == 0 ]] || root=(sudo)
    "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends chromium fonts-dejavu-core
}
if [[ ! -f $venv/ready ]]; then
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet playwright==1.65.2
    touch "$venv/ready"
fi
"$venv/bin/python3" tests/browser/status_page.py --program "$binary" "$@"
