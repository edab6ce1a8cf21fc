#!/usr/bin/env bash
# The status page in a real browser: Debian's chromium, driven by Playwright. What is missing is installed.
#
#   tests/browser.sh                             the test
#   tests/browser.sh --screenshots docs/images   the pictures of the documentation instead
#
# EMPTYSERVER_BIN: the program that is tried; otherwise target/release/emptyserver, built if it is missing.
set -euo pipefail
cd "$(dirname "$0")/.."

BINARY=${EMPTYSERVER_BIN:-${BINARY:-}}
[[ -n $BINARY || -x target/release/emptyserver ]] || cargo build --release
source tests/scratch.sh
need_chromium "$@"
python=$(python_with browser-venv playwright==1.65.2 "${picture_needs[@]}")
EMPTYSERVER_BIN=$binary timeout 300 "$python" tests/browser/status_page.py "$@"
