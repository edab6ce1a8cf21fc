#!/usr/bin/env python3
"""The compose files and what they mount, as far as that can be seen without the images of Prometheus and Grafana.

    files.py SCRATCH PROMTOOL        Prometheus' own tool reads its configuration and the rules
"""
import json
import pathlib
import subprocess
import sys

import yaml

scratch, promtool = pathlib.Path(sys.argv[1]), sys.argv[2]


def read(*parts):
    return yaml.safe_load(pathlib.Path(*parts).read_text())


def mounts(service):
    """Place in the container -> file of the checkout."""
    pairs = [volume.split(":") for volume in service.get("volumes", [])]
    return {place: source for source, place, *_ in pairs if source.startswith("./")}


compose = read("docker-compose.yml")
for unknown in ("name", "version"):
    # docker-compose 1.29 refuses the first, Compose v2 warns of the second.
    assert unknown not in compose, unknown
services = compose["services"]
for name, service in services.items():
    for source in mounts(service).values():
        # Docker makes a directory of what is missing.
        assert pathlib.Path(source).is_file(), source
    for port in service.get("ports", []):
        assert port.startswith("127.0.0.1:"), f"{name} publishes {port}"
    if name != "emptyserver":
        assert service["profiles"] == ["hospital" if name == "hospital" else "monitoring"], name
        assert ":" in service["image"] and not service["image"].endswith(":latest"), service["image"]

# Prometheus asks the service's admin port, and finds the rules where compose mounts them.
prometheus = read("monitoring/prometheus.yml")
targets = [target for job in prometheus["scrape_configs"] for part in job["static_configs"] for target in part["targets"]]
assert targets == ["emptyserver:9180"], targets
placed = mounts(services["prometheus"])
prometheus["rule_files"] = [str(pathlib.Path(placed[rule]).resolve()) for rule in prometheus["rule_files"]]
assert prometheus["rule_files"]
path = scratch / "prometheus.yml"
path.write_text(yaml.safe_dump(prometheus))
subprocess.run([promtool, "check", "config", path], check=True, stdout=subprocess.DEVNULL)

# Grafana asks Prometheus, and finds the dashboard where compose mounts it.
[source] = read("monitoring/grafana/datasource.yaml")["datasources"]
assert source["type"] == "prometheus" and source["url"] == "http://prometheus:9090" and source["isDefault"], source
[provider] = read("monitoring/grafana/dashboards.yaml")["providers"]
placed = mounts(services["grafana"])
dashboards = [file for place, file in placed.items() if str(pathlib.PurePath(place).parent) == provider["options"]["path"]]
assert len(dashboards) == 1, dashboards
dashboard = json.loads(pathlib.Path(dashboards[0]).read_text())
kinds = {variable["name"]: variable.get("query") for variable in dashboard["templating"]["list"] if variable["type"] == "datasource"}
assert kinds.get("datasource") == "prometheus", kinds
for kind in ("datasources", "dashboards"):
    assert any(place.startswith(f"/etc/grafana/provisioning/{kind}/") for place in placed), kind
