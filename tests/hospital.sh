#!/usr/bin/env bash
# The worked example, examples/hospital, on a real service: a person's way through every module in a real browser (Debian's chromium,
# driven by Playwright; axe-core looks at each page), and what must never happen under 50 visitors and kills. What is missing is installed.
#
#   tests/hospital.sh                             the test
#   tests/hospital.sh --screenshots docs/images   the pictures of the documentation instead
#   tests/hospital.sh --load                      how fast pages are with 5,000 patients and 50 browsers (a release build, a quiet machine)
#
# EMPTYSERVER_BIN and HOSPITAL_BIN: the programs that are tried; otherwise target/release/emptyserver, and the example as cargo builds it for tests.
set -euo pipefail
cd "$(dirname "$0")/.."

BINARY=${EMPTYSERVER_BIN:-${BINARY:-}}
[[ -n $BINARY || -x target/release/emptyserver ]] || cargo build --release
source tests/scratch.sh
need_chromium "$@"
# The Chinese texts.
[[ -d /usr/share/fonts/opentype/noto ]] || need_packages fonts-noto-cjk
python=$(python_with hospital-venv playwright==1.65.2 axe-playwright-python==0.1.8 "${picture_needs[@]}")
if [[ -z ${HOSPITAL_BIN:-} ]]; then
    cargo build --example hospital
    HOSPITAL_BIN=target/debug/examples/hospital
fi

export EMPTYSERVER_BIN=$binary HOSPITAL_BIN PYTHONPATH=tests/browser
case ${1:-} in
--screenshots) timeout 600 "$python" tests/hospital/walk.py "$@"; exit ;;
--load) timeout 900 "$python" tests/hospital/load.py; exit ;;
esac
# Beside each other, each on a service of its own; what the walk says comes in one piece.
timeout 600 "$python" tests/hospital/walk.py >"$scratch/walked" 2>&1 &
walk=$!
started+=("$walk")
failed=0
timeout 600 "$python" tests/hospital/never.py || failed=1
wait "$walk" || failed=1
unset "started[-1]"
cat "$scratch/walked"
exit "$failed"
