"""Rendering the manifests, and reading what they say."""

import itertools
import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from insta_depth_gateway.settings import read_settings

from tests.conftest import ROOT

KUBERNETES = ROOT / "deploy" / "kubernetes"
OVERLAYS = ("small", "many-gpus")
COMPONENTS = ("bucket", "fetch-urls", "prometheus-operator", "grafana")
WORKLOADS = ("Deployment", "Job")

Manifest = dict[str, Any]


@dataclass(frozen=True)
class Rendering:
    """One kustomization of ours with some of the components beside."""

    name: str
    components: tuple[str, ...] = ()

    def __str__(self) -> str:
        return "+".join((self.name, *self.components))


def all_renderings() -> list[Rendering]:
    """Every overlay with every combination of components, and the one-time Jobs with and without the bucket."""
    sets = [chosen for size in range(len(COMPONENTS) + 1) for chosen in itertools.combinations(COMPONENTS, size)]
    overlays = [Rendering(f"overlays/{name}", chosen) for name in OVERLAYS for chosen in sets]
    return [*overlays, Rendering("prepare"), Rendering("prepare", ("bucket",))]


def kustomize() -> list[str]:
    """The command that renders a folder; skips where there is none."""
    for program, *arguments in (["kustomize", "build"], ["kubectl", "kustomize"]):
        if shutil.which(program):
            return [program, *arguments]
    pytest.skip("neither kustomize nor kubectl is installed")


def render(rendering: Rendering, folder: Path) -> list[Manifest]:
    """Return the objects; ``folder``: where a kustomization of the components is written."""
    # A path through a link would not be relative to where kustomize thinks it is.
    here = os.path.relpath(KUBERNETES.resolve(), folder.resolve())
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [f"{here}/{rendering.name}"],
        "components": [f"{here}/components/{name}" for name in rendering.components],
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    done = subprocess.run([*kustomize(), str(folder)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"{rendering}: {done.stderr}"
    assert not done.stderr, f"{rendering}: {done.stderr}"
    return list(yaml.load_all(done.stdout, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)))


def of_kind(objects: Iterable[Manifest], *kinds: str) -> list[Manifest]:
    """The objects of these kinds."""
    return [each for each in objects if each["kind"] in kinds]


def named(objects: Iterable[Manifest], kind: str, name: str) -> Manifest:
    """The one object of this kind and name."""
    (found,) = [each for each in of_kind(objects, kind) if each["metadata"]["name"] == name]
    return found


def pod(workload: Manifest) -> Manifest:
    """The pods' template of a Deployment or Job."""
    return workload["spec"]["template"]


def component(workload: Manifest) -> str:
    """What its pods are: triton, gateway, engines or weights."""
    return pod(workload)["metadata"]["labels"]["app.kubernetes.io/component"]


def deployments(objects: Iterable[Manifest], what: str) -> list[Manifest]:
    """The Deployments of the component ``what``."""
    return [each for each in of_kind(objects, "Deployment") if component(each) == what]


def containers(workload: Manifest) -> list[Manifest]:
    """All of them, those that run first first."""
    spec = pod(workload)["spec"]
    return spec.get("initContainers", []) + spec["containers"]


def container(workload: Manifest) -> Manifest:
    """The only one."""
    (only,) = containers(workload)
    return only


def environment(workload: Manifest, of: Manifest, objects: Iterable[Manifest] = ()) -> dict[str, str]:
    """The variables of a container as it sees them; a secret's are called by what they refer to."""
    known: dict[str, str] = {}
    for variable in of.get("env", []):
        known[variable["name"]] = _expanded(_value(variable, pod(workload), list(objects)), known)
    return known


def arguments(workload: Manifest, of: Manifest, objects: Iterable[Manifest] = ()) -> list[str]:
    """The arguments of a container as it sees them."""
    return [_expanded(text, environment(workload, of, objects)) for text in of.get("args", [])]


def _value(variable: Manifest, template: Manifest, objects: list[Manifest]) -> str:
    if "value" in variable:
        return variable["value"]
    (kind, source), *_ = variable["valueFrom"].items()
    if kind == "fieldRef":
        label = re.fullmatch(r"metadata\.labels\['(.+)'\]", source["fieldPath"])
        assert label, f"{variable['name']}: {source}"
        return template["metadata"]["labels"][label[1]]
    if kind == "configMapKeyRef":
        return named(objects, "ConfigMap", source["name"])["data"][source["key"]]
    assert kind == "secretKeyRef", f"{variable['name']}: {kind}"
    return f"<{source['name']}/{source['key']}>"


def _expanded(text: str, known: Mapping[str, str]) -> str:
    """As Kubernetes does: a name that is not defined by then would stay as it is, so it is an error here."""
    for name in re.findall(r"\$\(([A-Za-z0-9_]+)\)", text):
        assert name in known, f"{text!r}: {name} is not defined before"
        text = text.replace(f"$({name})", known[name])
    return text


def selects(selector: Mapping[str, Any] | None, labels: Mapping[str, str]) -> bool:
    """Whether a label selector (``matchLabels``, ``matchExpressions`` with In) takes these labels."""
    selector = selector or {}
    assert set(selector) <= {"matchLabels", "matchExpressions"}, selector
    assert all(each["operator"] == "In" for each in selector.get("matchExpressions", []))
    return all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items()) and all(
        labels.get(each["key"]) in each["values"] for each in selector.get("matchExpressions", [])
    )


def in_bytes(quantity: str) -> int:
    """``4Gi`` → 4294967296."""
    match = re.fullmatch(r"(\d+)(Ki|Mi|Gi)?", quantity)
    assert match, quantity
    return int(match[1]) * 1024 ** ("", "Ki", "Mi", "Gi").index(match[2] or "")


def expressions(dashboard: Manifest) -> Iterator[str]:
    """Every PromQL expression of a Grafana dashboard, its variables' included."""
    for panel in dashboard["panels"]:
        yield from (target["expr"] for target in panel.get("targets", []))
    for variable in dashboard["templating"]["list"]:
        if match := re.fullmatch(r"label_values\((.+), *\w+\)", variable["query"]):
            yield match[1]


def metrics_of(expression: str) -> set[str]:
    """The names of the metrics in PromQL: all names that start as ours and Triton's do."""
    return set(re.findall(r"\b(?:insta_depth|nv)_\w+", re.sub(r'"[^"]*"', '""', expression)))


def labels_of(expression: str) -> set[str]:
    """The labels that PromQL selects and groups by."""
    bare = re.sub(r'"(?:\\.|[^"\\])*"', '""', expression)
    matched = re.findall(r"(\w+)\s*(?:=~|!~|!=|=)\s*\"", bare)
    grouped = [name for group in re.findall(r"\b(?:by|without)\s*\(([^)]*)\)", bare) for name in group.split(",")]
    return {name.strip() for name in (*matched, *grouped)}


def workloads(objects):
    """Return the objects that make pods."""
    return of_kind(objects, *WORKLOADS)


_rendered = {}


def objects_of(rendering, tmp_path_factory):
    """Return the objects of a rendering, made once."""
    if rendering not in _rendered:
        _rendered[rendering] = render(rendering, tmp_path_factory.mktemp("kustomization"))
    return _rendered[rendering]


def gateway_settings(gateway, objects=()):
    """As the gateway reads them; a variable that it does not know is an error."""
    read = environment(gateway, container(gateway), objects)
    return read_settings(read | {"INSTA_DEPTH_GATEWAY_DATABASE_URL": "postgresql://host/name"})
