#!/usr/bin/env python3
"""What the chart says has to agree with itself, with the documents, and with the program.

    checks.py HELM EMPTYSERVER      (the two programs)
"""
import json
import pathlib
import re
import subprocess
import sys

import yaml

helm, program = sys.argv[1:]
chart = pathlib.Path("helm/emptyserver")
wrong = []


def complain_unless(is_so, what):
    if not is_so:
        wrong.append(what)


def rendered(*arguments):
    """The objects that the chart makes with these arguments."""
    output = subprocess.run([helm, "template", "kv", str(chart), *arguments], capture_output=True, text=True)
    if output.returncode:
        raise SystemExit(f"helm template {' '.join(arguments)}: {output.stderr}")
    return [one for one in yaml.safe_load_all(output.stdout) if one]


def container(objects):
    return next(one for one in objects if one["kind"] == "StatefulSet")["spec"]["template"]["spec"]["containers"][0]


def config(environment, form="--json"):
    return subprocess.run([program, "config", form], env=environment, capture_output=True, text=True)


def between(text, name):
    begin, end = f"<!-- {name}: begin", f"<!-- {name}: end -->"
    return text.split(begin)[1].split("-->\n", 1)[1].split(end)[0]


# The README has the table that values.yaml says.
table = subprocess.run(
    [sys.executable, "tests/helm/values_table.py", str(chart / "values.yaml")], capture_output=True, text=True, check=True
).stdout
complain_unless(between((chart / "README.md").read_text(), "values") == table, f"README.md has to have this table:\n{table}")

# One version.
version = re.search(r'^version = "(.*)"', pathlib.Path("Cargo.toml").read_text(), re.M).group(1)
complain_unless(yaml.safe_load((chart / "Chart.yaml").read_text())["appVersion"] == version, "appVersion is not that of Cargo.toml")

# Every setting is one of `config`, and nothing else is.
settings = json.loads(config({}).stdout)
names = [setting["name"].removeprefix("EMPTYSERVER_") for setting in settings]
schema = json.loads((chart / "values.schema.json").read_text())["properties"]["config"]["properties"]
expected = {*names, *(name + "_FILE" for name in names)}
complain_unless(set(schema) == expected, f"the schema's config differs from the settings in {sorted(set(schema) ^ expected)}")

# What goes through the chart arrives in the program, as it was meant.
odd = {"LISTEN": "0.0.0.0:7000", "ADMIN_LISTEN": "0.0.0.0:7001", "DATA": "/srv/data", "LOG": "debug", "BACKUP_DIR": "/backups", "HISTORY": "off"}
refused = {"PASSWORD", "ADMIN_TOKEN", "URL", "REDISCLI_AUTH"}
for setting in settings:
    name = setting["name"].removeprefix("EMPTYSERVER_")
    value = odd.get(name, setting["value"] or setting["default"] or "text")
    arguments = ["--set-string", f"config.{name}={value}", "--set", "auth.enabled=false", "--set", "terminationGracePeriodSeconds=3700"]
    if name in refused:
        output = subprocess.run([helm, "template", "kv", str(chart), *arguments], capture_output=True, text=True)
        complain_unless(output.returncode and f"config.{name}" in output.stderr, f"config.{name} shows a secret")
        continue
    environment = {one["name"]: one["value"] for one in container(rendered(*arguments))["env"]}
    output = config(environment)
    complain_unless(output.returncode == 0, f"config.{name}: {output.stderr}")
    if output.returncode == 0:
        read = next(one for one in json.loads(output.stdout) if one["name"] == setting["name"])
        complain_unless(read["source"] == setting["name"], f"config.{name} does not arrive: {read}")

# Numbers and switches of YAML.
numbers = ["--set", "config.MAX_CONNECTIONS=1000000", "--set", "config.DEBUG_COMMANDS=true", "--set", "config.CACHE_BYTES=64Mi"]
environment = {one["name"]: one["value"] for one in container(rendered(*numbers))["env"]}
complain_unless(environment["EMPTYSERVER_MAX_CONNECTIONS"] == "1000000", f"a large number becomes {environment}")
complain_unless(config({k: v for k, v in environment.items() if not k.endswith("_FILE")}).returncode == 0, "numbers and switches are refused")

# Ports follow the addresses; without an admin process the probes ask the program.
moved = container(rendered("--set", "config.LISTEN=[::]:7000", "--set", "config.ADMIN_LISTEN=off"))
complain_unless([port["containerPort"] for port in moved["ports"]] == [7000], f"ports: {moved['ports']}")
complain_unless(moved["readinessProbe"]["exec"]["command"] == ["/emptyserver", "health"], "probes without an admin process")

# Two renders differ in nothing but the password that was generated.
def without_secrets():
    return [one for one in rendered() if one["kind"] != "Secret"]


complain_unless(without_secrets() == without_secrets(), "two renders differ")
given = [one for one in rendered("--set", "auth.password=mine") if one["kind"] == "Secret"]
complain_unless(given[0]["data"] == {"password": "bWluZQ=="}, f"a given password: {given}")
complain_unless(not [one for one in rendered("--set", "auth.existingSecret=mine") if one["kind"] == "Secret"], "a Secret beside one's own")

# What can't be right is refused, in words.
for arguments, text in [
    (["--set", "replicaCount=2"], "replicaCount"),
    (["--set", "terminationGracePeriodSeconds=12"], "must be at least 5 more than config.DRAIN_SECONDS (8)"),
    (["--set", "config.DRAIN_SECONDS=40"], "must be at least 5 more than config.DRAIN_SECONDS (40)"),
    (["--set", "config.WORKER=2"], "WORKER"),
    (["--set", "config.PASSWORD=x"], "use auth.password or auth.existingSecret"),
    (["--set", "config.PASSWORD_FILE=/x"], "two sources for one password"),
    (["--set", "persistance.enabled=false"], "persistance"),
    (["--set", "persistence.whenDeleted=Maybe"], "whenDeleted"),
    (["--set", "metrics.serviceMonitor.enabled=true,metrics.podMonitor.enabled=true"], "count everything twice"),
    (["--set", "config.ADMIN_LISTEN=off,metrics.podMonitor.enabled=true"], "there are no metrics"),
]:
    output = subprocess.run([helm, "template", "kv", str(chart), *arguments], capture_output=True, text=True)
    complain_unless(output.returncode and text in output.stderr, f"{arguments} must be refused with '{text}': {output.stderr}")

# Alerts and dashboard name metrics that there are; each alert has its section.
documented = set(re.findall(r"^\| `(emptyserver_\w+)` \| (\w+)", pathlib.Path("docs/metrics.md").read_text(), re.M))
known = {name for name, _ in documented} | {f"{name}_{part}" for name, kind in documented if kind == "histogram" for part in ("bucket", "sum", "count")}
for file in ("alerts.yaml", "dashboard.json"):
    for name in set(re.findall(r"emptyserver_[a-z_]+", (chart / "files" / file).read_text())):
        complain_unless(name in known, f"{file}: there is no metric {name}")
headings = re.findall(r"^### (\w+)$", pathlib.Path("docs/operations.md").read_text(), re.M)
alerts = yaml.safe_load((chart / "files/alerts.yaml").read_text())["groups"][0]["rules"]
for rule in alerts:
    anchor = rule["annotations"]["runbook"]
    complain_unless(anchor == f"docs/operations.md#{rule['alert'].lower()}", f"{rule['alert']}: {anchor}")
    complain_unless(rule["alert"] in headings, f"docs/operations.md has no section {rule['alert']}")
complain_unless(sorted(headings) == sorted(rule["alert"] for rule in alerts), f"sections {headings}")

if wrong:
    raise SystemExit("\n".join(wrong))
print(f"{len(settings)} settings, {len(alerts)} alerts: the chart agrees with itself, the documents and the program")
