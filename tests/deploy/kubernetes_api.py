"""As much of Kubernetes' API as ``kubectl apply`` and ``kubectl wait`` ask for: it keeps objects, completes Jobs."""

import contextlib
import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml

Manifest = dict[str, Any]

# group/version → plural → kind
KINDS = {
    "v1": {
        "namespaces": "Namespace",
        "services": "Service",
        "persistentvolumeclaims": "PersistentVolumeClaim",
        "configmaps": "ConfigMap",
        "secrets": "Secret",
    },
    "apps/v1": {"deployments": "Deployment"},
    "batch/v1": {"jobs": "Job"},
    "policy/v1": {"poddisruptionbudgets": "PodDisruptionBudget"},
    "autoscaling/v2": {"horizontalpodautoscalers": "HorizontalPodAutoscaler"},
    "networking.k8s.io/v1": {"networkpolicies": "NetworkPolicy"},
    "monitoring.coreos.com/v1": {"podmonitors": "PodMonitor", "prometheusrules": "PrometheusRule"},
}
_OBJECT = re.compile(
    r"/apis?/(?P<version>v1|[^/]+/[^/]+)(/namespaces/(?P<namespace>[^/]+))?/(?P<plural>[^/]+)(/(?P<name>.+))?"
)


class Cluster(ThreadingHTTPServer):
    """Its objects by kind and name, in the order in which they were made."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.objects: dict[tuple[str, str], Manifest] = {}

    def write_kubeconfig(self, path: Path) -> None:
        """Point ``kubectl`` here."""
        here = {"name": "fake", "cluster": {"server": f"http://127.0.0.1:{self.server_port}"}}
        context = {"name": "fake", "context": {"cluster": "fake", "user": "fake"}}
        users = [{"name": "fake", "user": {}}]
        config = {"clusters": [here], "contexts": [context], "users": users, "current-context": "fake"}
        path.write_text(yaml.safe_dump({"apiVersion": "v1", "kind": "Config", **config}))

    def made(self) -> list[str]:
        """``Kind/name`` of every object."""
        return [f"{kind}/{name}" for kind, name in self.objects]

    def missing(self, workload: Manifest) -> list[str]:
        """What a workload's pods refer to and the cluster does not have: they would not start."""
        spec = workload["spec"]["template"]["spec"]
        claims = [
            each["persistentVolumeClaim"]["claimName"] for each in spec["volumes"] if "persistentVolumeClaim" in each
        ]
        wanted = [("PersistentVolumeClaim", name) for name in claims]
        for container in spec.get("initContainers", []) + spec["containers"]:
            for source in (each.get("valueFrom", {}) for each in container.get("env", [])):
                wanted += [("Secret", source["secretKeyRef"]["name"])] if "secretKeyRef" in source else []
                wanted += [("ConfigMap", source["configMapKeyRef"]["name"])] if "configMapKeyRef" in source else []
        return sorted({f"{kind}/{name}" for kind, name in wanted if (kind, name) not in self.objects})

    def seen(self, each: Manifest) -> Manifest:
        """The object with its status: a Job whose pods can start is complete."""
        if each["kind"] != "Job" or self.missing(each):
            return each
        return each | {"status": {"conditions": [{"type": "Complete", "status": "True"}]}}


@contextlib.contextmanager
def cluster() -> Iterator[Cluster]:
    """One that answers from entering the ``with`` block to leaving it."""
    with Cluster() as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        try:
            yield running
        finally:
            running.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    server: Cluster

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        if found := _discovery(url.path):
            return self._answer(200, found)
        match = _OBJECT.fullmatch(url.path)
        kind = KINDS.get(match["version"], {}).get(match["plural"]) if match else None
        if not match or not kind:
            return self._refuse(404, "NotFound")
        name = match["name"]
        for part in parse_qs(url.query).get("fieldSelector", []):
            name = part.removeprefix("metadata.name=")
        labels = [part.partition("=")[::2] for part in parse_qs(url.query).get("labelSelector", [])]
        of_kind = [each for (its_kind, _), each in self.server.objects.items() if its_kind == kind]
        found = [self.server.seen(each) for each in of_kind if name in (None, each["metadata"]["name"])]
        found = [
            each for each in found if all(each["metadata"].get("labels", {}).get(key) == text for key, text in labels)
        ]
        if match["name"]:
            return self._answer(200, found[0]) if found else self._refuse(404, "NotFound")
        if "sendInitialEvents" in parse_qs(url.query):  # then newer kubectl lists and watches, as older does
            return self._refuse(422, "Invalid")
        if "watch" in parse_qs(url.query):
            return self._send(200, "".join(json.dumps({"type": "ADDED", "object": each}) + "\n" for each in found))
        return self._answer(
            200,
            {
                "apiVersion": match["version"],
                "kind": f"{kind}List",
                "metadata": {"resourceVersion": "1"},
                "items": found,
            },
        )

    def do_POST(self) -> None:
        made = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        namespace = made["metadata"].get("namespace")
        if namespace and ("Namespace", namespace) not in self.server.objects:
            return self._refuse(404, "NotFound")
        self.server.objects[made["kind"], made["metadata"]["name"]] = made
        return self._answer(201, made)

    def do_PATCH(self) -> None:
        """Nothing is applied a second time with another content."""
        self._refuse(409, "Conflict")

    def _refuse(self, status: int, reason: str) -> None:
        self._answer(
            status, {"apiVersion": "v1", "kind": "Status", "status": "Failure", "reason": reason, "code": status}
        )

    def _answer(self, status: int, body: Manifest) -> None:
        self._send(status, json.dumps(body))

    def _send(self, status: int, body: str) -> None:
        text = body.encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def _discovery(path: str) -> Manifest | None:
    if path == "/api":
        return {"kind": "APIVersions", "versions": ["v1"]}
    if path == "/apis":
        versions = [{"groupVersion": name, "version": name.partition("/")[2]} for name in KINDS if "/" in name]
        groups = [
            {"name": each["groupVersion"].partition("/")[0], "versions": [each], "preferredVersion": each}
            for each in versions
        ]
        return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}
    version = path.removeprefix("/apis/").removeprefix("/api/")
    if version not in KINDS:
        return None
    verbs = ["create", "get", "list", "patch", "watch"]
    resources = [
        {"name": plural, "singularName": kind.lower(), "kind": kind, "namespaced": kind != "Namespace", "verbs": verbs}
        for plural, kind in KINDS[version].items()
    ]
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": resources}
