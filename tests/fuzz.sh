#!/usr/bin/env bash
# The fuzz targets, each for a while, from what the last run found worth keeping (fuzz/corpus). libFuzzer watches which code an input reaches;
# it is built by the compiler of everything else, which needs no nightly as long as no sanitizer is asked for.
#
#   tests/fuzz.sh [NAME…]
#   FUZZ_SECONDS=3600 tests/fuzz.sh
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${FUZZ_SECONDS:-300}
triple=$(rustc --print host-tuple)
(($#)) || mapfile -t names < <(sed -n 's/^name = "\([a-z]*\)"$/\1/p' fuzz/Cargo.toml)
(($#)) && names=("$@")
# What cargo-fuzz sets, but for the address sanitizer.
RUSTFLAGS="--cfg fuzzing -C passes=sancov-module -C llvm-args=-sanitizer-coverage-level=4 -C llvm-args=-sanitizer-coverage-inline-8bit-counters
    -C llvm-args=-sanitizer-coverage-pc-table -C codegen-units=1 -C debug-assertions" \
    cargo build --quiet --release --target "$triple" --manifest-path fuzz/Cargo.toml
for name in "${names[@]}"; do
    mkdir -p "fuzz/corpus/$name" "fuzz/artifacts/$name"
    echo "fuzz: $name for $seconds s"
    "fuzz/target/$triple/release/$name" -max_total_time="$seconds" -rss_limit_mb=2048 -timeout=10 -print_final_stats=1 \
        -artifact_prefix="fuzz/artifacts/$name/" "fuzz/corpus/$name" 2>"fuzz/artifacts/$name.log" || {
        tail -n 60 "fuzz/artifacts/$name.log" >&2
        echo "fuzz: $name fails" >&2
        exit 1
    }
    sed -n 's/^stat::number_of_executed_units: */fuzz: inputs tried: /p' "fuzz/artifacts/$name.log"
done
