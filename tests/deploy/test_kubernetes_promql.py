"""Alerts and dashboard; Prometheus' own parser on every expression, which the schemas do not look into."""

import json
import re
import shutil
import subprocess
from collections import Counter

import pytest
import yaml

from tests.deploy.kubernetes_manifests import Rendering, expressions, metrics_of, named, of_kind, render

GRAFANAS = {"$__rate_interval": "5m", "$namespace": "insta-depth"}
"""What Grafana puts in the place of its variables."""


@pytest.fixture(scope="module")
def objects(tmp_path_factory):
    rendering = Rendering("overlays/small", ("prometheus-operator", "grafana"))
    return render(rendering, tmp_path_factory.mktemp("kustomization"))


def check(rules, folder):
    """Have ``promtool`` read groups of rules; return its exit status and what it said."""
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("promtool is not installed (Debian: prometheus)")
    (folder / "rules.yaml").write_text(yaml.safe_dump(rules))
    done = subprocess.run(
        [program, "check", "rules", str(folder / "rules.yaml")], capture_output=True, text=True, timeout=60
    )
    return done.returncode, done.stdout + done.stderr


def test_prometheus_takes_the_alerts(objects, tmp_path):
    (rules,) = of_kind(objects, "PrometheusRule")
    assert check(rules["spec"], tmp_path)[0] == 0


def test_prometheus_takes_every_expression_of_the_dashboard(objects, tmp_path):
    dashboard = json.loads(named(objects, "ConfigMap", "insta-depth-dashboard")["data"]["insta-depth.json"])
    rules = [{"record": f"panel_{i}", "expr": plain(text)} for i, text in enumerate(expressions(dashboard))]
    assert len(rules) > 20
    status, said = check({"groups": [{"name": "dashboard", "rules": rules}]}, tmp_path)
    assert status == 0, said


def plain(text):
    for variable, value in GRAFANAS.items():
        text = text.replace(variable, value)
    assert not re.search(r"\$", text), f"{text}: a variable that the test does not know"
    return text


def test_prometheus_would_refuse_what_is_none(tmp_path):
    rule = {"record": "wrong", "expr": "sum by (pod (up)"}
    assert check({"groups": [{"name": "wrong", "rules": [rule]}]}, tmp_path)[0] != 0


def test_every_alert_says_what_it_is_about(largest):
    (rules,) = of_kind(largest, "PrometheusRule")
    for group in rules["spec"]["groups"]:
        for rule in group["rules"]:
            assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
            assert rule["labels"]["severity"] in {"warning", "critical"}
            assert rule["annotations"]["summary"]
            assert metrics_of(rule["expr"])


def test_the_dashboard_is_one_that_grafana_takes(largest):
    config = named(largest, "ConfigMap", "insta-depth-dashboard")
    assert config["metadata"]["labels"]["grafana_dashboard"] == "1"
    dashboard = json.loads(config["data"]["insta-depth.json"])
    assert {"title", "uid", "schemaVersion", "panels", "templating"} <= set(dashboard)
    identifiers = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(identifiers)) == len(identifiers)
    boxes = [panel["gridPos"] for panel in dashboard["panels"]]
    assert all(box["x"] + box["w"] <= 24 for box in boxes)
    cells = Counter(
        (x, y) for b in boxes for x in range(b["x"], b["x"] + b["w"]) for y in range(b["y"], b["y"] + b["h"])
    )
    assert max(cells.values()) == 1
    assert len(list(expressions(dashboard))) > 20
