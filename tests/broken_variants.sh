#!/usr/bin/env bash
# Shows that the tests of the cache prove something: a program with the feature `broken-variants` breaks one of the rules that keep
# the cache from being stale (src/kv/shared/broken.rs says what each is), and the tests have to find that.
#
#   tests/broken_variants.sh                     all of them
#   tests/broken_variants.sh no-check-on-fill    these
#   BROKEN_SECONDS=60 tests/broken_variants.sh   with more time for each
#
# variant                        found by tests/endurance/torture.rs as
# marked-after-commit            new then old: the writer dies after COMMIT
# never-marked                   stale read
# no-check-on-fill               stale read
# joined-snapshot                stale read
# counted-per-write              new then old: the writer dies after COMMIT; also the tests in src/kv/shared/versions.rs
# epoch-after-commit             new then old: the writer dies after COMMIT of a flush or a swap
# exec-blind-to-its-group        lost exclusion
# restart-takes-back             stale read, or new then old: after the death of a writer
# restart-takes-back-the-epoch   the same, of a flush or a swap
#
# variant                        found by tests/client_cache.sh as
# tracked-after-reading          stale: a client's own cache
#
# A new writer that only leaves slots odd makes nothing stale: such a slot is never current again. So the last two take back instead.
# What no client can be made to see (several keys at one instant, the millisecond of expiry) is found by the tests beside
# src/kv/cache/front.rs.
set -euo pipefail
cd "$(dirname "$0")/.."

target=$PWD/target/broken
seconds=${BROKEN_SECONDS:-90}
# A hang is not a finding.
limit_seconds=$((seconds + 240))

fail() {
    echo "broken_variants.sh: $1" >&2
    exit 1
}

# run_test VARIANT SECONDS CONTENDERS: its output goes to a file of that name; true when the test passes. `as-it-is` breaks nothing.
run_test() {
    local -a broken=()
    [[ $1 == as-it-is ]] || broken=(BROKEN_VARIANT="$1")
    env "${broken[@]}" EMPTYSERVER_UNDER_TEST="$program" TORTURE_SECONDS="$2" TORTURE_CONTENDERS="$3" \
        timeout "$limit_seconds" "$test_program" torture:: --nocapture >"$target/$1.log" 2>&1
}

try() {
    local name=$1 begun=$SECONDS attempt found=""
    # Most variants break EXEC too, which shows sooner; but these have to be found by what is read.
    local pattern='^found [0-9]* x \(stale read\|new then old\|torn read\)' contenders=0
    if [[ $name == exec-blind-to-its-group ]]; then
        pattern='finding: lost exclusion' contenders=6
    fi
    # Chance decides which interleavings come: on a busy machine the right one may take another throw of the dice.
    for attempt in 1 2 3; do
        if run_test "$name" "$seconds" "$contenders"; then
            grep '^seed' "$target/$name.log" || true
            echo "$name: not found by attempt $attempt"
        elif found=$(grep -m 1 "$pattern" "$target/$name.log"); then
            echo "$name: $found; in $((SECONDS - begun)) s"
            break
        else
            tail -n 40 "$target/$name.log"
            echo "$name: attempt $attempt fails, and not because of what it should"
        fi
    done
    [[ -n $found ]] || missed+=("$name")
}

# The same of what is broken of CLIENT TRACKING: torture.rs has no caches of its own.
try_caches() {
    local name=$1 begun=$SECONDS found=""
    if BINARY=$program BROKEN_VARIANT=$name CACHE_SECONDS=5 tests/client_cache.sh >"$target/$name.log" 2>&1; then
        echo "$name: not found"
    elif found=$(grep -m 1 '^stale: ' "$target/$name.log"); then
        echo "$name: $found; in $((SECONDS - begun)) s"
    else
        tail -n 40 "$target/$name.log"
        echo "$name: the test fails, and not because of what it should"
    fi
    [[ -n $found ]] || missed+=("$name")
}

variants=("$@")
if ((${#variants[@]} == 0)); then
    mapfile -t variants < <(sed -n 's/^ *("\([a-z-]*\)", Variant::.*/\1/p' src/kv/shared/broken.rs)
fi
((${#variants[@]} > 0)) || fail "src/kv/shared/broken.rs names no variant"
mkdir -p "$target"
# The program goes to a place of its own before the next build of the usual one takes its name.
cargo build -q --features broken-variants --bin emptyserver
program=$target/emptyserver
cp target/debug/emptyserver "$program"
# The line ends with the file, in brackets.
test_program=$(cargo test --no-run --test endurance 2>&1 | sed -n 's/.*(\(target[^)]*endurance-[^)]*\))$/\1/p') || true
[[ -x $test_program ]] || fail "the test does not build"
missed=()
run_test as-it-is 8 6 || {
    tail -n 40 "$target/as-it-is.log"
    fail "the tree as it is fails the test"
}
echo "as it is: $(grep '^seed' "$target/as-it-is.log")"
for variant in "${variants[@]}"; do
    case $variant in
        tracked-*) try_caches "$variant" ;;
        *) try "$variant" ;;
    esac
done
((${#missed[@]} == 0)) || fail "not found: ${missed[*]}"
