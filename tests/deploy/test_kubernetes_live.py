"""The manifests against servers that run here: ports, probes, models, metrics, labels and names of settings."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import requests
import yaml
from denoising import Settings as OrchestratorSettings
from insta_depth_gateway.settings import PREFIX as GATEWAY_PREFIX
from insta_depth_gateway.settings import Settings as GatewaySettings
from insta_depth_gateway.settings import read_settings

from deploy.docker import serve_triton
from deploy.local.server import Options
from export.__main__ import _parser
from insta_depth_shared.errors import EngineFailed, InstaDepthError
from tests.conftest import MAX_REQUESTS, ROOT
from tests.deploy.kubernetes_manifests import (
    KUBERNETES,
    Rendering,
    arguments,
    component,
    container,
    containers,
    deployments,
    environment,
    expressions,
    labels_of,
    metrics_of,
    named,
    of_kind,
    render,
)
from tests.gateway.live import LiveGateway, make_key

SCRIPTS = ROOT / "deploy" / "docker"
DOCKERFILE = ROOT / "deploy" / "Dockerfile"
ON_GPUS_ONLY = {"nv_gpu_utilization", "nv_gpu_memory_used_bytes", "nv_gpu_memory_total_bytes", "nv_gpu_power_usage"}
"""Triton's metrics that no page without a GPU has; called so in its documentation."""
FROM_PROMETHEUS = {"namespace", "pod"}
"""Labels that Prometheus adds to what it scrapes from a pod."""


@pytest.fixture(scope="module")
def objects(tmp_path_factory):
    """The overlay with everything in it that a server could contradict."""
    rendering = Rendering("overlays/many-gpus", ("fetch-urls", "prometheus-operator", "grafana"))
    return render(rendering, tmp_path_factory.mktemp("kustomization"))


@pytest.fixture(scope="module")
def in_bucket(tmp_path_factory):
    return render(Rendering("overlays/small", ("bucket",)), tmp_path_factory.mktemp("kustomization"))


@pytest.fixture(scope="module")
def prepare(tmp_path_factory):
    return render(Rendering("prepare"), tmp_path_factory.mktemp("kustomization"))


@pytest.fixture(scope="module")
def triton(objects):
    return deployments(objects, "triton")[0]


@pytest.fixture(scope="module")
def gateway(objects):
    return deployments(objects, "gateway")[0]


@pytest.fixture(scope="module")
def live_gateway(server, face, pose, tmp_path_factory):
    """A gateway that has made a picture, so that its metrics and Triton's have every label."""
    folder = tmp_path_factory.mktemp("gateway")
    with LiveGateway(server.grpc_url, f"sqlite:///{folder / 'accounts.db'}", folder / "log") as running:
        answer = requests.post(
            f"{running.url}/v1/insta-depth",
            data={"prompt": "a woman", "num_inference_steps": 4},
            files={"face_image": face, "pose_image": pose},
            headers={"x-api-key": make_key(running.database_url, "kubernetes")},
            timeout=120,
        )
        assert answer.status_code == 200, answer.text
        yield running


@pytest.fixture(scope="module")
def pages(server, live_gateway):
    """Of each metric on the two real pages: the labels of its samples."""
    found = {}
    for url in (server.metrics_url, f"{live_gateway.url}/metrics"):
        for name, labels in re.findall(r"^(\w+)(?:{(.*)})? \S+$", requests.get(url, timeout=10).text, re.MULTILINE):
            found.setdefault(name, set()).update(re.findall(r'(\w+)="', labels))
    return found


def ports_of(deployment):
    return {each["name"]: each["containerPort"] for each in container(deployment)["ports"]}


def probes_of(deployment):
    return {name: each for name, each in container(deployment).items() if name.endswith("Probe")}


def test_triton_listens_on_the_local_servers_ports(triton):
    local = Options()
    assert ports_of(triton) == {"http": local.http_port, "grpc": local.grpc_port, "metrics": local.metrics_port}


def test_the_gateway_listens_where_its_settings_say(gateway):
    read = environment(gateway, container(gateway))
    settings = read_settings(read | {"INSTA_DEPTH_GATEWAY_DATABASE_URL": "postgresql://host/name"})
    assert ports_of(gateway) == {"http": settings.port}
    assert settings.host == "0.0.0.0"
    assert settings.port == GatewaySettings.model_fields["port"].default


def test_every_http_probe_of_triton_is_answered_by_the_running_server(triton, server):
    asked = [each["httpGet"] for each in probes_of(triton).values() if "httpGet" in each]
    assert len(asked) == 2
    for probe in asked:
        assert ports_of(triton)[probe["port"]] == Options().http_port
        assert requests.get(server.http_url + probe["path"], timeout=10).status_code == 200


def test_every_probe_of_the_gateway_is_answered_by_the_running_one(gateway, live_gateway):
    paths = {name: each["httpGet"]["path"] for name, each in probes_of(gateway).items()}
    assert set(paths) == {"startupProbe", "readinessProbe", "livenessProbe"}
    for path in paths.values():
        assert requests.get(live_gateway.url + path, timeout=10).status_code == 200


def test_a_gateway_without_triton_is_alive_and_not_ready(gateway, tmp_path):
    """Or else Kubernetes would restart it for Triton's sake, or send it requests."""
    with LiveGateway("127.0.0.1:9", f"sqlite:///{tmp_path / 'accounts.db'}", tmp_path / "log") as running:
        status = {
            name: requests.get(running.url + each["httpGet"]["path"], timeout=30).status_code
            for name, each in probes_of(gateway).items()
        }
    assert status == {"startupProbe": 200, "livenessProbe": 200, "readinessProbe": 503}


@pytest.mark.parametrize("of", ["livenessProbe", "preStop"])
def test_what_runs_in_the_container_does_its_work_with_the_running_server(of, triton, server, live_gateway):
    commands = {
        "livenessProbe": container(triton)["livenessProbe"]["exec"]["command"],
        "preStop": container(triton)["lifecycle"]["preStop"]["exec"]["command"],
    }
    port = {"livenessProbe": server.options.http_port, "preStop": server.options.metrics_port}
    program, script, *given = commands[of]
    assert program == "python3"
    if of == "preStop":
        given += ["--least-s", "1"]  # the last one counts, and the manifest's is longer than a test should take
    done = subprocess.run(
        [sys.executable, str(in_repository(script)), *given, "--port", str(port[of])],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    if of == "preStop":
        assert "nothing in flight" in done.stderr


def test_the_liveness_probe_fails_where_no_server_answers(triton):
    _, script, *given = container(triton)["livenessProbe"]["exec"]["command"]
    done = subprocess.run(
        [sys.executable, str(in_repository(script)), *given, "--port", "9"], capture_output=True, timeout=60
    )
    assert done.returncode != 0


def in_repository(script):
    """Where a script of the image lies here."""
    path = SCRIPTS / Path(script).name
    assert Path(script).parent == Path("/opt/insta-depth")
    assert path.name in DOCKERFILE.read_text()
    return path


def test_the_servers_take_as_many_requests_as_the_tests_and_the_default(triton):
    assert int(environment(triton, container(triton))["INSTA_DEPTH_MAX_REQUESTS"]) == MAX_REQUESTS
    assert OrchestratorSettings().max_requests == MAX_REQUESTS


def test_every_setting_is_one_that_the_program_reads(objects, in_bucket, prepare):
    seen = 0
    for workload in of_kind([*objects, *in_bucket, *prepare], "Deployment", "Job"):
        for each in containers(workload):
            known = KNOWN.get(component(workload), lambda: set())()
            ours = {variable["name"] for variable in each.get("env", []) if "INSTA_DEPTH" in variable["name"]}
            assert ours <= known, f"{workload['metadata']['name']}: {ours - known}"
            seen += len(ours)
    assert seen > 10


def known_to_triton():
    return names(serve_triton.PREFIX, serve_triton.Settings.__dataclass_fields__) | names(
        "INSTA_DEPTH_", OrchestratorSettings.__dataclass_fields__
    )


def known_to_gateway():
    return names(GATEWAY_PREFIX, GatewaySettings.model_fields)


def names(prefix, fields):
    return {prefix + field.upper() for field in fields}


KNOWN = {"triton": known_to_triton, "gateway": known_to_gateway}


@pytest.mark.parametrize("which", ["objects", "in_bucket"])
def test_triton_starts_with_these_settings(which, request):
    """As far as `serve_triton` goes: it refuses what it does not take, and closes what is not for callers."""
    manifests = request.getfixturevalue(which)
    for triton in deployments(manifests, "triton"):
        read = environment(triton, container(triton), manifests)
        command = serve_triton.command(read)
        assert f"--model-repository={read['INSTA_DEPTH_TRITON_REPOSITORY']}" in command
        for purpose, port in ports_of(triton).items():
            assert f"--{purpose}-port={port}" in command
            assert f"--{purpose}-address=0.0.0.0" in command
        for option in ("--http-restricted-api=", "--grpc-restricted-protocol="):
            (closed,) = [each for each in command if each.startswith(option)]
            assert all(api in closed for api in ("shared-memory", "model-repository", "trace", "logging"))


def test_the_jobs_arguments_are_ones_that_export_takes(objects, prepare):
    parsed = [
        _parser().parse_args(arguments(job, each))
        for job in of_kind([*objects, *prepare], "Job")
        for each in containers(job)
    ]
    assert len(parsed) == 5
    # They are arguments of the image's entry point.
    image = DOCKERFILE.read_text().split(" AS export\n")[1].split("\nFROM ")[0]
    assert re.search(r'^ENTRYPOINT \[.*"-m", "export"\]$', image, re.MULTILINE)


def promql(objects):
    """Every expression: the dashboard's, the alerts', the autoscalers' and the adapter's metrics."""
    dashboard = json.loads(named(objects, "ConfigMap", "insta-depth-dashboard")["data"]["insta-depth.json"])
    yield from expressions(dashboard)
    for rules in of_kind(objects, "PrometheusRule"):
        yield from (rule["expr"] for group in rules["spec"]["groups"] for rule in group["rules"])
    for autoscaler in of_kind(objects, "HorizontalPodAutoscaler"):
        yield from (each["pods"]["metric"]["name"] for each in autoscaler["spec"]["metrics"] if "pods" in each)
    adapter = yaml.safe_load((KUBERNETES / "prometheus-adapter-values.yaml").read_text())
    yield from (rule["seriesQuery"] for rule in adapter["rules"]["custom"])


def test_every_metric_is_on_a_page_of_a_running_server(objects, pages):
    asked = {name for expression in promql(objects) for name in metrics_of(expression)}
    assert asked - set(pages) == ON_GPUS_ONLY
    assert len(asked) > 20


def test_every_label_is_one_of_its_metric(objects, pages):
    for expression in promql(objects):
        for metric in metrics_of(expression) - ON_GPUS_ONLY:
            assert labels_of(expression) <= pages[metric] | FROM_PROMETHEUS, f"{metric} in {expression}"


def test_every_model_and_path_and_outcome_is_a_real_one(objects, server, live_gateway):
    openapi = requests.get(f"{live_gateway.url}/openapi.json", timeout=10).json()
    outcomes = {InstaDepthError.code.lower(), EngineFailed.code.lower()}
    for expression in promql(objects):
        for model in re.findall(r'\bmodel="([^"]*)"', expression):
            assert model in server.models
        for pattern in re.findall(r'\bpath=~"([^"]*)"', expression):
            assert [path for path in openapi["paths"] if re.fullmatch(pattern, path)]
        for pattern in re.findall(r'\boutcome=~"([^"]*)"', expression):
            assert set(pattern.split("|")) == outcomes


def test_the_metrics_pages_are_where_prometheus_looks(triton, gateway, server, live_gateway):
    for deployment, url in ((triton, server.metrics_url), (gateway, f"{live_gateway.url}/metrics")):
        annotations = deployment["spec"]["template"]["metadata"]["annotations"]
        assert url.endswith(annotations["prometheus.io/path"])
    assert int(triton["spec"]["template"]["metadata"]["annotations"]["prometheus.io/port"]) == Options().metrics_port
