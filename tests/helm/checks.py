#!/usr/bin/env python3
"""What tests/helm.sh asserts of the chart beside the tools' own verdicts. Needs PyYAML, helm and promtool.

    checks.py --helm HELM --promtool PROMTOOL --program EMPTYSERVER --scratch DIR

Every check runs; each failure is a line, and the exit code says whether there was one.
"""
import argparse
import json
import os
import pathlib
import re
import subprocess
import sys
import tomllib

import yaml

import cluster
import values_table

ROOT = pathlib.Path(__file__).resolve().parents[2]
CHART = ROOT / "helm/emptyserver"
VALUES = sorted((ROOT / "tests/helm").glob("values-*.yaml"))

# Settings and metrics of backups: named in the chart, and part of the program from the change on that adds backups. A program or
# a docs/metrics.md without them is accepted, and only these.
BACKUP_SETTINGS = {"EMPTYSERVER_BACKUP_DIR", "EMPTYSERVER_BACKUP_INTERVAL_SECONDS", "EMPTYSERVER_BACKUP_KEEP", "EMPTYSERVER_RESTORE_FROM"}
BACKUP_METRICS = {
    "emptyserver_backup_running", "emptyserver_backup_last_success_timestamp_seconds", "emptyserver_backup_last_failed",
    "emptyserver_backups_total", "emptyserver_backup_failures_total", "emptyserver_backup_interval_seconds",
}  # fmt: skip

# Renders that have to fail, and what the message must name.
REFUSED = [
    ("two replicas", {"replicaCount": 2}, "replicaCount"),
    ("no replica", {"replicaCount": 0}, "replicaCount"),
    ("a value that is none", {"persistance": {"enabled": False}}, "persistance"),
    ("a nested value that is none", {"auth": {"pasword": "x"}}, "pasword"),
    ("a size that is none", {"persistence": {"size": "8 GB"}}, "/persistence/size"),
    ("a grace period as long as the drain", {"terminationGracePeriodSeconds": 8}, "use 14 or more"),
    ("a grace period without a margin", {"terminationGracePeriodSeconds": 13}, "use 14 or more"),
    ("a drain beyond the grace period", {"config": {"DRAIN_SECONDS": "60"}}, "use 66 or more"),
    ("a drain that the chart can't see", {"config": {"DRAIN_SECONDS_FILE": "/x"}}, "config.DRAIN_SECONDS "),
    ("a drain past the chart", {"extraEnv": [{"name": "EMPTYSERVER_DRAIN_SECONDS", "value": "90"}]}, "use the value config.DRAIN_SECONDS"),
    ("a setting that is none", {"config": {"WORKRES": 4}}, "there is no setting EMPTYSERVER_WORKRES"),
    ("a setting with its prefix", {"config": {"EMPTYSERVER_WORKERS": 4}}, "there is no setting"),
    ("a setting twice", {"config": {"WORKERS": 4, "WORKERS_FILE": "/x"}}, "two sources"),
    ("a setting in two places", {"config": {"WORKERS": 4}, "extraEnv": [{"name": "EMPTYSERVER_WORKERS", "value": "2"}]}, "is in config as well"),
    ("the password as a setting", {"config": {"PASSWORD": "x"}}, "auth.password"),
    ("the password's file as a setting", {"config": {"PASSWORD_FILE": "/x"}}, "auth.existingSecret"),
    ("the password in the environment", {"extraEnv": [{"name": "REDIS_PASSWORD", "value": "x"}]}, "auth.password"),
    ("protected mode as a setting", {"config": {"PROTECTED_MODE": False}}, "auth.enabled"),
    ("the address as a setting", {"config": {"LISTEN": "0.0.0.0:1"}}, "containerPorts.resp"),
    ("the directory as a setting", {"config": {"DATA": "/x"}}, "persistence"),
    ("backups as a setting", {"config": {"BACKUP_KEEP": 3}}, "backup.keep"),
    ("TLS from nowhere", {"tls": {"enabled": True}}, "tls.existingSecret"),
    ("two certificates", {"tls": {"enabled": True, "existingSecret": "x", "certManager": {"enabled": True, "issuerRef": {"name": "i"}}}}, "two sources"),
    ("a certificate of nobody", {"tls": {"enabled": True, "certManager": {"enabled": True}}}, "issuerRef"),
    ("HTTPS without TLS", {"tls": {"admin": True}}, "need tls.enabled"),
    ("the TLS address as a setting", {"config": {"TLS_LISTEN": "0.0.0.0:1"}}, "tls.enabled"),
    ("the certificate as a setting", {"config": {"TLS_CERT_FILE": "/x"}}, "tls.existingSecret"),
    ("both monitors", {"metrics": {"serviceMonitor": {"enabled": True}, "podMonitor": {"enabled": True}}}, "choose one"),
]  # fmt: skip

# A value of each setting that is not its default, as somebody would write it into `config`.
SAMPLES = {
    "ADMIN_HOSTS": "status.example.com", "DURABILITY": "everysec", "WORKERS": 3, "READERS": 5, "CACHE_BYTES": 1073741824, "WAL_BYTES_MAX": "32Mi", "JOURNAL_BYTES_MAX": "64Mi", "MERGE_SECONDS_MAX": 30,
    "VALUE_BYTES_MAX": "8Mi",
    "MAX_CONNECTIONS": 123, "IDLE_TIMEOUT_SECONDS": 300, "QUERY_BYTES_MAX": "64Mi", "OUTPUT_BYTES_MAX": 33554432.0, "SUBSCRIBER_OUTPUT_BYTES_MAX": "16Mi", "CLIENTS_BYTES_MAX": "256Mi",
    "LANE_JOBS_MAX": 77, "CPU_AFFINITY": "auto", "DRAIN_SECONDS": 12, "LOOP_STALL_SECONDS": 60, "SLOWLOG_MICROSECONDS": -1, "SLOWLOG_ENTRIES_MAX": 64, "NOTIFY_KEYSPACE_EVENTS": "KEA",
    "HANDSHAKE_SECONDS_MAX": 5, "HANDSHAKES_MAX": 64, "PROXY_PEERS": "10.0.0.0/8", "UNIX_SOCKET": "/data/kv.sock", "UNIX_SOCKET_MODE": "660",
    "DEBUG_COMMANDS": True, "LOG": "warn,emptyserver::server=debug", "LOG_FORMAT": "json", "URL": "redis://127.0.0.1:1234",
    "SCRIPT_SECONDS_MAX": 7, "SCRIPT_MEMORY_MAX": "24Mi", "HISTORY": False,
}  # fmt: skip
# Settings that other values decide, and how these are set here.
OF_OTHER_VALUES = {
    "containerPorts": {"resp": 16379, "admin": 19180},
    "auth": {"password": "secret"},
    "adminToken": {"enabled": True, "token": "token"},
    "backup": {"enabled": True, "intervalSeconds": 3600, "keep": 3},
    "restoreFrom": "/data/first.db",
    "tls": {"enabled": True, "existingSecret": "kv-tls", "authClients": "required", "versionMin": "1.3", "plainPort": 6378, "admin": True, "users": True},
    "users": {"existingSecret": "kv-users"},
}

failures: list[str] = []


def complain(what: str) -> None:
    failures.append(what)
    print(f"FAILED: {what}", flush=True)


class Chart:
    def __init__(self, helm: str, scratch: pathlib.Path):
        self.helm, self.scratch = helm, scratch

    def render(self, values: dict | pathlib.Path | None = None, *flags: str) -> subprocess.CompletedProcess:
        command = [self.helm, "template", "kv", str(CHART), "--namespace", "data", *flags]
        if isinstance(values, pathlib.Path):
            command += ["--values", str(values)]
        elif values:
            path = self.scratch / "values.yaml"
            path.write_text(yaml.safe_dump(values))
            command += ["--values", str(path)]
        # Whatever cluster the user has set up is none of our business.
        env = {**os.environ, "KUBECONFIG": "/dev/null"}
        return subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)

    def objects(self, values: dict | pathlib.Path | None = None, *flags: str) -> list[dict]:
        run = self.render(values, *flags)
        if run.returncode:
            sys.exit(f"cannot render with {values}: {run.stderr}")
        return [each for each in yaml.safe_load_all(run.stdout) if each]


def one(objects: list[dict], kind: str, name_end: str = "") -> dict:
    found = [each for each in objects if each["kind"] == kind and each["metadata"]["name"].endswith(name_end)]
    assert len(found) == 1, f"{len(found)} objects of kind {kind}"
    return found[0]


def pod_of(objects: list[dict]) -> dict:
    return one(objects, "StatefulSet")["spec"]["template"]


def environment(objects: list[dict]) -> dict[str, str]:
    container = pod_of(objects)["spec"]["containers"][0]
    return {each["name"]: each.get("value", "") for each in container["env"]}


def what_must_fail(chart: Chart) -> None:
    for what, values, named in REFUSED:
        run = chart.render(values)
        if run.returncode == 0:
            complain(f"{what}: was rendered")
        elif named not in run.stderr:
            complain(f"{what}: the message does not say {named!r}: {run.stderr.strip()}")
    print(f"{len(REFUSED)} renders refused, each with a message that names the value")


def every_setting(chart: Chart, program: str) -> None:
    """Each setting goes from a value through the rendered environment into the program, which says where it has it from."""
    known = [each["name"] for each in json.loads(run_program(program, {}).stdout)]
    settings = [name.removeprefix("EMPTYSERVER_") for name in known if name.startswith("EMPTYSERVER_")]
    helper = re.search(r'define "emptyserver.settings" -}}\n(.*)\n', (CHART / "templates/_config.tpl").read_text())[1].split()
    owned = set(re.findall(r"^(\w+): ", re.search(r'"emptyserver.owned" -}}\n(.*?)\{\{', (CHART / "templates/_config.tpl").read_text(), re.S)[1], re.M))
    if missing := set(settings) - set(helper) - owned:
        complain(f"settings that no value reaches: {sorted(missing)}")
    if strangers := set(helper) - set(settings):
        complain(f"config takes what is no setting: {sorted(strangers)}")
    if helper_only := set(helper) ^ set(SAMPLES):
        complain(f"settings without a sample value here, or the other way round: {sorted(helper_only)}")
    schema = json.loads((CHART / "values.schema.json").read_text())["properties"]["config"]["properties"]
    if set(schema) != set(helper):
        complain(f"values.schema.json and the templates differ in settings: {sorted(set(schema) ^ set(helper))}")

    samples = {**OF_OTHER_VALUES, "config": {name: SAMPLES[name] for name in helper if name in SAMPLES}}
    reached = told_by(program, environment(chart.objects(samples)), chart.scratch)
    reached |= told_by(program, environment(chart.objects({"auth": {"enabled": False}})), chart.scratch)
    for name in known:
        if name.startswith("EMPTYSERVER_") and name not in reached:
            complain(f"{name} was not reached")
    print(f"{len(reached)} settings reached through values, and accepted by {program}")

    # What is too large for YAML's whole numbers must not become 1.073741824e+09.
    digits = environment(chart.objects({"config": {"CACHE_BYTES": 1073741824}}))["EMPTYSERVER_CACHE_BYTES"]
    if digits != "1073741824":
        complain(f"CACHE_BYTES arrives as {digits}")


def told_by(program: str, env: dict[str, str], scratch: pathlib.Path) -> set[str]:
    """The settings that the program has from this environment. Secrets' files are where the pod would mount them."""
    known = {each["name"] for each in json.loads(run_program(program, {}).stdout)}
    for name in BACKUP_SETTINGS - known:
        if env.pop(name, None) is not None:
            print(f"note: {program} does not know {name} yet")
    for name, path in env.items():
        if name.endswith("_FILE"):
            file = scratch / path.rsplit("/", 1)[1]
            file.write_text("secret\n")
            env[name] = str(file)
    run = run_program(program, env)
    if run.returncode:
        complain(f"the program refuses the rendered environment: {run.stderr.strip()}")
        return set()
    from_environment = {each["name"] for each in json.loads(run.stdout) if each["source"] != "default"}
    return from_environment | (BACKUP_SETTINGS - known)


def run_program(program: str, env: dict[str, str]) -> subprocess.CompletedProcess:
    return subprocess.run([program, "config", "--json"], env=env, capture_output=True, text=True, timeout=30, check=False)


def pods(chart: Chart) -> None:
    """PodSecurity "restricted", and what keeps one pod and its data safe, with every set of values."""
    for values in [None, *VALUES]:
        objects = chart.objects(values)
        where = values.name if values else "default values"
        stateful_set = one(objects, "StatefulSet")
        for template in [stateful_set["spec"]["template"], *[each for each in objects if each["kind"] == "Pod"]]:
            for broken in unrestricted(template["spec"]):
                complain(f"{where}: {broken}")
            if template["spec"].get("automountServiceAccountToken") is not False or template["spec"].get("enableServiceLinks") is not False:
                complain(f"{where}: a token or service links are mounted")
        container = stateful_set["spec"]["template"]["spec"]["containers"][0]
        if stateful_set["spec"]["replicas"] != 1:
            complain(f"{where}: not one replica")
        for probe, path in (("livenessProbe", "/livez"), ("readinessProbe", "/readyz")):
            if container[probe]["httpGet"]["path"] != path:
                complain(f"{where}: {probe} asks {container[probe]}")
        text = json.dumps(container["env"])
        if any(secret in text for secret in ("secretKeyRef", "quoted")) or "EMPTYSERVER_PASSWORD\"" in text:
            complain(f"{where}: a password in the environment")
        mounts, volumes = {each["mountPath"] for each in container["volumeMounts"]}, {each["name"] for each in stateful_set["spec"]["template"]["spec"]["volumes"]}
        claims = {each["metadata"]["name"] for each in stateful_set["spec"].get("volumeClaimTemplates", [])}
        if "/data" not in mounts or not {each["name"] for each in container["volumeMounts"]} <= volumes | claims:
            complain(f"{where}: a mount without a volume")
        for claim in stateful_set["spec"].get("volumeClaimTemplates", []):
            if any("chart" in label or "version" in label for label in claim["metadata"]["labels"]):
                complain(f"{where}: the claim has a label that changes with a version: an upgrade would be refused")
        selector = stateful_set["spec"]["selector"]["matchLabels"]
        for each in objects:
            if each["kind"] == "Service" and each["spec"]["selector"] != selector:
                complain(f"{where}: the Service {each['metadata']['name']} selects other pods")
    default = chart.objects()
    claim = one(default, "StatefulSet")["spec"]
    if claim["persistentVolumeClaimRetentionPolicy"] != {"whenDeleted": "Retain", "whenScaled": "Retain"} or len(claim["volumeClaimTemplates"]) != 1:
        complain("the default is not a claim that stays")
    if "EMPTYSERVER_PROTECTED_MODE" in environment(default):
        complain("protected mode is off without being asked for")
    if environment(chart.objects({"auth": {"enabled": False}})).get("EMPTYSERVER_PROTECTED_MODE") != "no":
        complain("without a password the service would answer nobody")
    print(f"{1 + len(VALUES)} sets of values: restricted pods, one replica, no secret in the environment")


def unrestricted(spec: dict) -> list[str]:
    """What PodSecurity "restricted" forbids, of what a values file can change."""
    broken = [f"host{each}" for each in ("Network", "PID", "IPC") if spec.get(f"host{each}")]
    allowed = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}
    broken += [f"volume {each['name']}" for each in spec.get("volumes", []) if not (each.keys() - {"name"}) <= allowed]
    pod = spec.get("securityContext", {})
    for container in [*spec["containers"], *spec.get("initContainers", [])]:
        own = container.get("securityContext", {})
        name = container["name"]
        if own.get("privileged") or own.get("allowPrivilegeEscalation") is not False:
            broken.append(f"{name}: privileges")
        if own.get("capabilities", {}).get("drop") != ["ALL"] or own["capabilities"].get("add", []):
            broken.append(f"{name}: capabilities")
        if not own.get("runAsNonRoot", pod.get("runAsNonRoot")) or own.get("runAsUser", pod.get("runAsUser")) == 0:
            broken.append(f"{name}: may be root")
        if own.get("seccompProfile", pod.get("seccompProfile")) not in ({"type": "RuntimeDefault"}, {"type": "Localhost"}):
            broken.append(f"{name}: seccomp")
        if own.get("readOnlyRootFilesystem") is not True:
            broken.append(f"{name}: can write to its root file system")
    return broken


def passwords(chart: Chart) -> None:
    first, second = chart.objects(), chart.objects()
    secret = one(first, "Secret")
    if secret.get("immutable") is not True or len(secret["data"]["password"]) < 40:
        complain("the generated Secret can be changed, or is short")
    if pod_of(first) != pod_of(second):
        complain("the pod differs from render to render: each upgrade would replace it")
    given = chart.objects({"auth": {"password": "one"}})
    if one(given, "Secret").get("immutable") or one(given, "Secret")["metadata"]["name"] == secret["metadata"]["name"]:
        complain("a given password lives in the immutable Secret")
    marks = [mark_of(chart.objects({"auth": {"password": word}})) for word in ("one", "one", "two")]
    if marks[0] != marks[1] or marks[0] == marks[2]:
        complain(f"the mark of the password does not follow it: {marks}")
    if any(each["kind"] == "Secret" for each in chart.objects({"auth": {"existingSecret": "mine"}})):
        complain("a Secret beside the existing one")
    test = one(chart.objects({"users": {"existingSecret": "mine"}}), "Pod", "-test")["spec"]
    if test["containers"][0]["args"][-1] != "reset" or "env" in test["containers"][0] or "volumes" in test:
        complain("`helm test` sends a password where users of somebody's own rule")
    passwords_in_a_cluster(chart)
    print("a generated password stays at upgrades; the pod is another one when a password of yours changes, and only then")


def passwords_in_a_cluster(chart: Chart) -> None:
    """Renders as `helm upgrade` does, with an API that answers `lookup`. Nothing is installed: the objects are carried by hand."""
    secrets: dict[str, dict] = {}
    with cluster.serving(secrets) as address:
        reaching = ("--dry-run=server", "--disable-openapi-validation", "--kube-apiserver", address)
        values = {"adminToken": {"enabled": True}}
        installed = chart.objects(values, *reaching)
        generated = [each for each in installed if each["kind"] == "Secret"]
        owner = {"meta.helm.sh/release-name": "kv", "meta.helm.sh/release-namespace": "data"}
        secrets |= {each["metadata"]["name"]: {**each, "metadata": {**each["metadata"], "annotations": owner}} for each in generated}
        upgraded = chart.objects(values, *reaching)
        if len(generated) != 2 or [each for each in upgraded if each["kind"] == "Secret"] != generated:
            complain("an upgrade changes the generated password or token")
        if pod_of(upgraded) != pod_of(installed):
            complain("the first upgrade replaces the pod for nothing")
        secrets.clear()
        if [each for each in chart.objects(values, *reaching) if each["kind"] == "Secret"] == generated:
            complain("lookup has no part in it: without the Secrets the password is the same")

        marks = []
        for word in ("b25l", "b25l", "dHdv"):
            secrets["mine"] = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "mine"}, "data": {"password": word}}
            marks.append(mark_of(chart.objects({"auth": {"existingSecret": "mine"}}, *reaching)))
        if marks[0] != marks[1] or marks[0] == marks[2]:
            complain(f"the mark of an existing Secret does not follow it: {marks}")


def mark_of(objects: list[dict]) -> str:
    return pod_of(objects)["metadata"]["annotations"]["checksum/password"]


def tls(chart: Chart) -> None:
    """Where the certificate comes from, and that everybody who asks the pod something speaks TLS then."""
    mine = chart.objects({"tls": {"enabled": True, "existingSecret": "mine"}})
    env = environment(mine)
    if env["EMPTYSERVER_LISTEN"] != "off" or env["EMPTYSERVER_TLS_LISTEN"] != "0.0.0.0:6379":
        complain(f"with TLS the port without it stays: {env}")
    volume = next(each for each in pod_of(mine)["spec"]["volumes"] if each["name"] == "tls")
    mount = next(each for each in pod_of(mine)["spec"]["containers"][0]["volumeMounts"] if each["name"] == "tls")
    if volume["secret"]["secretName"] != "mine" or "subPath" in mount or "items" in volume["secret"]:
        complain(f"a renewed certificate would not reach the pod: {volume} {mount}")
    if any(each["kind"] == "Certificate" for each in mine):
        complain("a Certificate beside the existing Secret")
    values = {
        "tls": {"enabled": True, "certManager": {"enabled": True, "issuerRef": {"name": "ca", "kind": "ClusterIssuer"}}, "authClients": "required",
                "admin": True, "plainPort": 6378},
        "networkPolicy": {"enabled": True}, "metrics": {"serviceMonitor": {"enabled": True}},
    }  # fmt: skip
    everything = chart.objects(values)
    certificate, container = one(everything, "Certificate")["spec"], pod_of(everything)["spec"]["containers"][0]
    secret = next(each for each in pod_of(everything)["spec"]["volumes"] if each["name"] == "tls")["secret"]["secretName"]
    if certificate["secretName"] != secret or not {"kv-emptyserver", "kv-emptyserver.data.svc"} <= set(certificate["dnsNames"]):
        complain(f"the Certificate is not the pod's: {certificate}")
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        if container[probe]["httpGet"].get("scheme") != "HTTPS":
            complain(f"{probe} would ask in the clear")
    endpoint = one(everything, "ServiceMonitor")["spec"]["endpoints"][0]
    ports = {port["name"] for each in everything if each["kind"] == "Service" for port in each["spec"]["ports"]}
    if endpoint.get("scheme") != "https" or endpoint["port"] not in ports or "tcp-resp-plain" not in ports:
        complain(f"who scrapes asks in the clear, or nowhere: {endpoint} of {ports}")
    allowed = {port["port"] for rule in one(everything, "NetworkPolicy")["spec"]["ingress"] for port in rule["ports"]}
    if not {each["name"] for each in container["ports"]} <= allowed:
        complain(f"the network policy lets nobody in at some port: {allowed}")
    if "--cert" not in one(everything, "Pod", "-test")["spec"]["containers"][0]["args"]:
        complain("`helm test` has no certificate to show")
    print("TLS from a Secret or from cert-manager: probes, scrapers, policy and test follow")


def workers(chart: Chart) -> None:
    cases = [({}, "2"), ({"resources": {"requests": {"cpu": "2500m"}}}, "3"), ({"resources": {"requests": {"cpu": 4}}}, "4"),
             ({"resources": {"limits": {"cpu": "4"}}}, None), ({"config": {"WORKERS": 7}}, "7"), ({"config": {"WORKERS_FILE": "/x"}}, None)]  # fmt: skip
    for values, expected in cases:
        if (found := environment(chart.objects(values)).get("EMPTYSERVER_WORKERS")) != expected:
            complain(f"workers with {values}: {found}, not {expected}")


def documents(chart: Chart) -> None:
    cargo = tomllib.loads((ROOT / "Cargo.toml").read_text())["package"]
    about = yaml.safe_load((CHART / "Chart.yaml").read_text())
    if about["appVersion"] != cargo["version"]:
        complain(f"Chart.yaml's appVersion is {about['appVersion']}, the program's {cargo['version']}")
    if about["annotations"]["artifacthub.io/license"] != cargo["license"]:
        complain("the licences of chart and program differ")
    yaml.safe_load(about["annotations"]["artifacthub.io/changes"])
    table = values_table.table((CHART / "values.yaml").read_text())
    readme = (CHART / "README.md").read_text()
    shown = re.search(r"<!-- values: begin .*?-->\n(.*?)<!-- values: end -->", readme, re.S)
    if not shown or shown[1] != table:
        complain("the README's table differs from what tests/helm/values_table.py prints of values.yaml")
    for path in re.findall(r"```yaml\n(.*?)```", readme, re.S):
        if (run := chart.render(yaml.safe_load(path))).returncode:
            complain(f"an example of the README can't be rendered: {run.stderr.strip()}\n{path}")
    print("versions, the README's table and its examples hold")


def monitoring(chart: Chart, promtool: str) -> None:
    alerts_path, dashboard_path = CHART / "files/alerts.yaml", CHART / "files/dashboard.json"
    documented = set(re.findall(r"^\| `(emptyserver_\w+)`", (ROOT / "docs/metrics.md").read_text(), re.M))
    if missing := BACKUP_METRICS - documented:
        print(f"note: docs/metrics.md does not have {', '.join(sorted(missing))} yet")
    groups = yaml.safe_load(alerts_path.read_text())["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    dashboard = json.loads(dashboard_path.read_text())
    panels = [each for each in dashboard["panels"] if each["type"] != "row"]
    expressions = [(f"alert {rule['alert']}", rule["expr"]) for rule in rules]
    expressions += [(f"panel {panel['title']}", target["expr"]) for panel in panels for target in panel["targets"]]
    expressions += [(f"variable {each['name']}", each["query"]["query"]) for each in dashboard["templating"]["list"] if each["type"] == "query"]
    for where, expression in expressions:
        for name in re.findall(r"\bemptyserver_\w+", expression):
            if name not in documented | BACKUP_METRICS and re.sub(r"_(bucket|sum|count)$", "", name) not in documented:
                complain(f"{where}: there is no metric {name}")
    if len(panels) != len({panel["id"] for panel in panels}) or len({panel["title"] for panel in panels}) != len(panels):
        complain("two panels have one id or one title")

    # Grafana's variables filled in, a panel is an expression that promtool can parse.
    filled = [(where, text.replace("$__rate_interval", "5m").replace("$namespace", ".*").replace("$instance", ".*"))
              for where, text in expressions if where.startswith("panel")]  # fmt: skip
    parsed = chart.scratch / "panels.yaml"
    parsed.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": [{"record": f"panel:{i}", "expr": text} for i, (_, text) in enumerate(filled)]}]}))
    for file in (alerts_path, parsed):
        run = subprocess.run([promtool, "check", "rules", str(file)], capture_output=True, text=True, timeout=60, check=False)
        if run.returncode:
            complain(f"promtool check rules {file}: {run.stdout}{run.stderr}")

    headings = set(re.findall(r"^#+ (\w+)$", (ROOT / "docs/operations.md").read_text(), re.M))
    for rule in rules:
        name, notes = rule["alert"], rule["annotations"]
        if name not in headings:
            complain(f"docs/operations.md has no section {name}")
        if notes.get("runbook") != f"docs/operations.md#{name.lower()}":
            complain(f"{name}: its runbook is {notes.get('runbook')}")
        if rule["labels"].get("severity") not in ("critical", "warning", "info") or not notes.get("summary") or not notes.get("description"):
            complain(f"{name}: severity, summary or description is missing")
    if strangers := {each for each in headings if each.startswith("EmptyServer")} - {rule["alert"] for rule in rules}:
        complain(f"docs/operations.md has sections of alerts that are none: {sorted(strangers)}")

    rendered = one(chart.objects({"metrics": {"prometheusRule": {"enabled": True}}}), "PrometheusRule")
    if rendered["spec"]["groups"] != groups:
        complain("the PrometheusRule differs from files/alerts.yaml")
    changed = one(chart.objects(ROOT / "tests/helm/values-everything.yaml"), "PrometheusRule")["spec"]["groups"][0]["rules"]
    if len(changed) != len(rules) - 1 or not all(rule["labels"]["team"] == "storage" for rule in changed):
        complain("alertLabels or without have no effect")
    if changed[0]["annotations"]["runbook_url"] != "https://git.example.org/emptyserver/docs/operations.md#emptyserverdown":
        complain(f"runbook_url: {changed[0]['annotations']}")
    shown = one(chart.objects({"metrics": {"dashboard": {"enabled": True}}}), "ConfigMap")["data"]["emptyserver.json"]
    if json.loads(shown) != dashboard:
        complain("the ConfigMap's dashboard differs from files/dashboard.json")
    unit_tests(chart, promtool, groups)
    print(f"{len(rules)} alerts with their sections, {len(panels)} panels, all of metrics that exist")


def unit_tests(chart: Chart, promtool: str, groups: list[dict]) -> None:
    """The unit tests pass, and notice each alert that is made silent: none of them goes untested."""
    # As text: YAML for Python makes 48 of promtool's `0x30`.
    tests = (ROOT / "tests/helm/alerts_test.yaml").read_text()
    (chart.scratch / "alerts_test.yaml").write_text(tests.replace("../../helm/emptyserver/files/alerts.yaml", "rules.yaml"))

    def passes(of: list[dict]) -> subprocess.CompletedProcess:
        (chart.scratch / "rules.yaml").write_text(yaml.safe_dump({"groups": of}))
        return subprocess.run([promtool, "test", "rules", str(chart.scratch / "alerts_test.yaml")], capture_output=True, text=True, timeout=60, check=False)

    if (run := passes(groups)).returncode:
        complain(f"promtool test rules: {run.stdout}{run.stderr}")
    # Every expectation that an alert fires fails at once, and is printed with the alert's name.
    names = [rule["alert"] for group in groups for rule in group["rules"]]
    silent = passes([{"name": "silent", "rules": [{"alert": name, "expr": "vector(0) > 0"} for name in names]}])
    for name in names:
        if not re.search(rf"{name}\b|EmptyServer\([^)]*\b{name.removeprefix('EmptyServer')}\b", silent.stdout + silent.stderr):
            complain(f"{name}: no unit test sees it fire")


def main() -> None:
    arguments = argparse.ArgumentParser()
    for name in ("helm", "promtool", "program", "scratch"):
        arguments.add_argument(f"--{name}", required=True)
    given = arguments.parse_args()
    chart = Chart(given.helm, pathlib.Path(given.scratch))
    what_must_fail(chart)
    every_setting(chart, given.program)
    tls(chart)
    workers(chart)
    pods(chart)
    passwords(chart)
    documents(chart)
    monitoring(chart, given.promtool)
    sys.exit(f"{len(failures)} checks of the chart failed" if failures else 0)


if __name__ == "__main__":
    main()
