#!/usr/bin/env python3
"""What a running Prometheus makes of the service. Needs PyYAML.

    asks.py configure ADDRESS FILE     compose's configuration, with this target and the chart's rules, and quicker
    asks.py all-is-well PROMETHEUS     every panel has something to draw, no rule fails, and no alert fires
    asks.py is-down PROMETHEUS         the alert for a service that is down has begun to fire
"""
import json
import math
import pathlib
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

import yaml

ROOT = pathlib.Path(__file__).parents[2]
CHART_FILES = ROOT / "helm/emptyserver/files"
PATIENCE_S = 60
# A service that began a moment ago, and one that somebody guesses at: these conditions hold in the test, but not for long enough to fire.
MAY_BE_PENDING = {"EmptyServerRestarting", "EmptyServerAuthFailures"}


def configure(address: str, file: str) -> None:
    config = yaml.safe_load((ROOT / "monitoring/prometheus.yml").read_text())
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["rule_files"] = [str((CHART_FILES / "alerts.yaml").resolve())]
    [job] = config["scrape_configs"]
    job["static_configs"] = [{"targets": [address]}]
    pathlib.Path(file).write_text(yaml.safe_dump(config))


def ask(prometheus: str, path: str, **parameters: str):
    """`data` of an answer of Prometheus' API; a refusal ends the program with its reason."""
    url = f"http://{prometheus}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return json.load(answer)["data"]
    except urllib.error.HTTPError as error:
        sys.exit(f"Prometheus refuses {parameters}: {error.read().decode()}")


def until_empty(what: str, find) -> None:
    """Asks again until `find` has nothing left to complain of. Prometheus looks once a second, and begins when it likes."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            left = find()
        except urllib.error.URLError as error:
            left = [f"Prometheus does not answer: {error.reason}"]
        if not left:
            return
        if time.monotonic() > deadline:
            sys.exit(f"{what}, after {PATIENCE_S} s:\n" + "\n".join(left))
        time.sleep(0.5)


def panels() -> list[tuple[str, str]]:
    """Titles and expressions, with Grafana's variables as for one choice of everything."""
    dashboard = json.loads((CHART_FILES / "dashboard.json").read_text())
    pairs = [(panel["title"], target["expr"]) for panel in dashboard["panels"] for target in panel.get("targets", [])]
    return [(title, text.replace("$__rate_interval", "1m").replace("$namespace", ".*").replace("$instance", ".*")) for title, text in pairs]


def rules(prometheus: str) -> list[dict]:
    return [rule for group in ask(prometheus, "rules")["groups"] for rule in group["rules"]]


def has_a_number(series: list) -> bool:
    return any(math.isfinite(float(each["value"][1])) for each in series)


def all_is_well(prometheus: str) -> None:
    drawn = panels()

    def empty_panels() -> list[str]:
        return [f"{title}: {text}" for title, text in drawn if not has_a_number(ask(prometheus, "query", query=text)["result"])]

    until_empty("nothing to draw", empty_panels)
    shipped = [rule["alert"] for group in yaml.safe_load((CHART_FILES / "alerts.yaml").read_text())["groups"] for rule in group["rules"]]
    loaded = [rule["name"] for rule in rules(prometheus)]
    assert loaded == shipped, loaded

    def is_well(rule: dict) -> bool:
        return rule["health"] == "ok" and (rule["state"] == "inactive" or rule["state"] == "pending" and rule["name"] in MAY_BE_PENDING)

    def unwell() -> list[str]:
        return [f"{rule['name']}: {rule['health']}, {rule['state']}" for rule in rules(prometheus) if not is_well(rule)]

    until_empty("rules that fail, or alerts that fire", unwell)
    print(f"prometheus: {len(drawn)} expressions of the dashboard have something to draw, {len(loaded)} rules are evaluated and none fires")


def is_down(prometheus: str) -> None:
    def silent() -> list[str]:
        alerts = [alert for alert in ask(prometheus, "alerts")["alerts"] if alert["labels"]["alertname"] == "EmptyServerDown"]
        return [] if alerts else ["EmptyServerDown is silent"]

    until_empty("a service that is down goes unnoticed", silent)
    print("prometheus: a service that has ended is noticed")


if __name__ == "__main__":
    {"configure": configure, "all-is-well": all_is_well, "is-down": is_down}[sys.argv[1]](*sys.argv[2:])
