#!/usr/bin/env bash
# Shows that the tests of the cache prove something: each patch of tests/broken takes away one of the rules that keep it from being
# stale, and the tests have to find that. A patch that does not apply any more fails here: then it has to be made anew.
#
#   tests/broken_variants.sh                     all of them
#   tests/broken_variants.sh no-check-on-fill    these
#   BROKEN_SECONDS=60 tests/broken_variants.sh   with more time for each
#
# variant                        found by            as
# marked-after-commit            tests/torture.rs    new then old: the writer dies after COMMIT
# never-marked                   tests/torture.rs    stale read
# no-check-on-fill               tests/torture.rs    stale read
# joined-snapshot                tests/torture.rs    stale read
# counted-per-write              tests/torture.rs    new then old: the writer dies after COMMIT; also the tests in src/kv/versions.rs
# epoch-after-commit             tests/torture.rs    new then old: the writer dies after COMMIT of a flush or a swap
# exec-blind-to-its-group        tests/torture.rs    lost exclusion
# restart-takes-back             tests/torture.rs    stale read, or new then old: after the death of a writer
# restart-takes-back-the-epoch   tests/torture.rs    the same, of a flush or a swap
#
# A new writer that only leaves slots odd makes nothing stale: such a slot is never current again. So these two take back instead.
# What no client can be made to see (several keys at one instant, the millisecond of expiry) is found by the tests beside
# src/kv/cache/front.rs.
#
# All variants are built one after the other in one scratch tree with one target directory, so that each compiles our crate alone.
set -euo pipefail
cd "$(dirname "$0")/.."

root=$PWD
tree=$root/target/broken/tree
target=$root/target/broken/target
seconds=${BROKEN_SECONDS:-90}
# What a build and a run may take together; a hang is not a finding.
limit_seconds=$((seconds + 240))
export CARGO_INCREMENTAL=1

fail() {
    echo "broken_variants.sh: $1" >&2
    exit 1
}

# Not below the checkout's repository: `git apply` passes over what is not at its root.
apply() {
    (cd "$tree" && GIT_CEILING_DIRECTORIES=$(dirname "$tree") git apply "$@")
}

# The crates that we use were built for the tests already: the same files serve here, where there are any.
seed_target() {
    [[ -d $target ]] && return
    mkdir -p "$target/debug"
    [[ -d target/debug/deps ]] || return 0
    (cd target/debug && find deps build .fingerprint -mindepth 1 -maxdepth 1 ! -name '*emptyserver*' \
        \( -name '*.rlib' -o -name '*.rmeta' -o -name '*.so' -o -name '*.d' -o -path 'build/*' -o -path '.fingerprint/*' \) -print0 |
        tar --null -T - -c) | tar -x -C "$target/debug"
}

# New times: what is older than the last build would pass as built.
copy_tree() {
    rm -rf "$tree"
    mkdir -p "$tree"
    git ls-files -z | tar --null -T - -c | tar -xm -C "$tree"
}

build() {
    (cd "$tree" && CARGO_TARGET_DIR=$target timeout "$limit_seconds" cargo build -q --bin emptyserver) ||
        fail "$1 does not build"
}

# run_test NAME SECONDS CONTENDERS: its output goes to a file of that name; true when the test passes.
run_test() {
    env EMPTYSERVER_UNDER_TEST="$target/debug/emptyserver" TORTURE_SECONDS="$2" TORTURE_CONTENDERS="$3" \
        timeout "$limit_seconds" "$test_program" --nocapture >"$target/$1.log" 2>&1
}

try() {
    local name=$1 begun=$SECONDS built attempt found=""
    # Most patches break EXEC too, which shows sooner; but these have to be found by what is read.
    local pattern='^found [0-9]* x \(stale read\|new then old\|torn read\)' contenders=0
    if grep -q '^# Found as: lost exclusion' "tests/broken/$name.patch"; then
        pattern='finding: lost exclusion' contenders=6
    fi
    apply "$root/tests/broken/$name.patch" || fail "$name does not apply: make the patch anew"
    build "$name"
    built=$SECONDS
    # Chance decides which interleavings come: on a busy machine the right one may take another throw of the dice.
    for attempt in 1 2 3; do
        if run_test "$name" "$seconds" "$contenders"; then
            grep '^seed' "$target/$name.log" || true
            echo "$name: not found by attempt $attempt"
        elif found=$(grep -m 1 "$pattern" "$target/$name.log"); then
            echo "$name: $found; in $((SECONDS - built)) s, after $((built - begun)) s of building"
            break
        else
            tail -n 40 "$target/$name.log"
            echo "$name: attempt $attempt fails, and not because of what it should"
        fi
    done
    [[ -n $found ]] || missed+=("$name")
    apply -R "$root/tests/broken/$name.patch"
}

variants=("$@")
if ((${#variants[@]} == 0)); then
    for patch in tests/broken/*.patch; do
        variants+=("$(basename "$patch" .patch)")
    done
fi
seed_target
copy_tree
# The line ends with the file, in brackets.
test_program=$(cargo test --no-run --test torture 2>&1 | sed -n 's/.*(\(target[^)]*torture-[^)]*\))$/\1/p') || true
[[ -x $test_program ]] || fail "the test does not build"
missed=()
build "the tree as it is"
run_test as-it-is 8 6 || {
    tail -n 40 "$target/as-it-is.log"
    fail "the tree as it is fails the test"
}
echo "as it is: $(grep '^seed' "$target/as-it-is.log")"
for variant in "${variants[@]}"; do
    try "$variant"
done
((${#missed[@]} == 0)) || fail "not found: ${missed[*]}"
