"""Prometheus' own parser on every expression that we write; the schemas do not look into them."""

import json
import re
import shutil
import subprocess

import pytest
import yaml

from tests.deploy.kubernetes_manifests import Rendering, expressions, named, of_kind, render

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
