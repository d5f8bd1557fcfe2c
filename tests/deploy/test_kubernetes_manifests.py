"""What the manifests say, rendered by kustomize: schemas, references, security and arithmetic."""

import json
from collections import Counter

import kubernetes_validate
import pytest
import yaml
from insta_depth._version import __version__
from insta_depth_gateway.settings import Settings as GatewaySettings

from tests.deploy.container_files import SHARED_MEMORY_BYTES
from tests.deploy.kubernetes_manifests import (
    COMPONENTS,
    KUBERNETES,
    OVERLAYS,
    Rendering,
    arguments,
    component,
    container,
    containers,
    deployments,
    environment,
    gateway_settings,
    in_bytes,
    metrics_of,
    named,
    objects_of,
    of_kind,
    pod,
    selects,
    workloads,
)

API_VERSION = "1.32"
"""Of the schemas: kubectl's in the test's machine; what the manifests use has been there since 1.27."""
CUSTOM = {"PodMonitor": "monitoring.coreos.com/v1", "PrometheusRule": "monitoring.coreos.com/v1"}
"""Kinds of the Prometheus operator, for which kubernetes-validate has no schema: looked at one by one below."""
START_LIMIT_S = 4 * 168
"""Four times what a full-size start takes by estimate (docs/kubernetes.md, Numbers)."""
DNS_REMEMBERS_S = 30
"""CoreDNS as Kubernetes installs it: ``cache 30``, ``ttl 30``."""


def test_every_object_passes_the_schema_of_the_api_strictly(objects):
    for each in objects:
        if each["kind"] in CUSTOM:
            assert each["apiVersion"] == CUSTOM[each["kind"]]
            continue
        kubernetes_validate.validate(each, API_VERSION, strict=True)


def test_the_schemas_refuse_a_field_that_does_not_exist(small):
    wrong = json.loads(json.dumps(deployments(small, "gateway")[0]))
    pod(wrong)["spec"]["containers"][0]["livenessProbes"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, API_VERSION, strict=True)


def test_every_component_and_overlay_is_rendered():
    """A new folder has to be added to the tests' lists."""
    assert {path.name for path in (KUBERNETES / "components").iterdir()} == {*COMPONENTS, "images"}
    assert {path.name for path in (KUBERNETES / "overlays").iterdir()} == set(OVERLAYS)


def test_names_are_unique_and_in_the_one_namespace(objects):
    counted = Counter((each["kind"], each["metadata"]["name"]) for each in objects)
    assert not [name for name, count in counted.items() if count > 1]
    assert {each["metadata"].get("namespace") for each in objects if each["kind"] != "Namespace"} == {"insta-depth"}
    named(objects, "Namespace", "insta-depth")


def test_every_image_has_a_tag_that_stays(objects):
    for workload in workloads(objects):
        for each in containers(workload):
            name, _, tag = each["image"].partition(":")
            assert tag, f"{workload['metadata']['name']}: {each['image']} means latest"
            assert tag != "latest"
            if name.startswith("insta-depth-"):
                assert tag == __version__
            assert name in {"insta-depth-triton", "insta-depth-gateway", "insta-depth-export", "rclone/rclone"}


def test_no_pod_has_a_right_that_it_does_not_need(objects):
    """As the namespace demands of every pod, and a root file system that cannot be written."""
    assert named(objects, "Namespace", "insta-depth")["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == (
        "restricted"
    )
    for workload in workloads(objects):
        spec = pod(workload)["spec"]
        assert spec["automountServiceAccountToken"] is False
        assert not {"hostNetwork", "hostPID", "hostIPC", "serviceAccountName"} & set(spec)
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["runAsUser"] == spec["securityContext"]["fsGroup"] == 1000
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for each in containers(workload):
            context = each["securityContext"]
            assert context["allowPrivilegeEscalation"] is False
            assert context["readOnlyRootFilesystem"] is True
            assert context["capabilities"] == {"drop": ["ALL"]}
            assert "/tmp" in {mount["mountPath"] for mount in each["volumeMounts"]}


def test_services_set_no_variables_and_none_has_a_name_that_would(objects):
    """A Service "insta-depth-gateway" sets INSTA_DEPTH_GATEWAY_PORT, which the gateway refuses."""
    assert all(pod(each)["spec"]["enableServiceLinks"] is False for each in workloads(objects))
    assert not [each for each in of_kind(objects, "Service") if each["metadata"]["name"].startswith("insta-depth")]


def test_every_container_says_what_it_needs(objects):
    for workload in workloads(objects):
        for each in containers(workload):
            resources = each["resources"]
            assert set(resources["requests"]) >= {"cpu", "memory"}
            assert in_bytes(resources["requests"]["memory"]) <= in_bytes(resources["limits"]["memory"])
            gpus = resources["limits"].get("nvidia.com/gpu")
            assert gpus == resources["requests"].get("nvidia.com/gpu")
            assert gpus == ("1" if each["name"] in {"triton", "build"} else None)


def test_what_pods_refer_to_is_there_or_to_be_made(objects):
    secrets = {
        each["metadata"]["name"]: set(each["stringData"])
        for each in yaml.safe_load_all((KUBERNETES / "secret.example.yaml").read_text())
    }
    claims = {each["metadata"]["name"] for each in of_kind(objects, "PersistentVolumeClaim")}
    for workload in workloads(objects):
        volumes = {each["name"]: each for each in pod(workload)["spec"]["volumes"]}
        for volume in volumes.values():
            claim = volume.get("persistentVolumeClaim")
            assert claim is None or claim["claimName"] in claims
        mounted = {mount["name"] for each in containers(workload) for mount in each["volumeMounts"]}
        assert mounted == set(volumes)
        for each in containers(workload):
            environment(workload, each, objects)  # its ConfigMaps, and variables within variables
            for variable in each.get("env", []):
                if secret := variable.get("valueFrom", {}).get("secretKeyRef"):
                    assert secret["key"] in secrets[secret["name"]]


def test_secrets_are_referred_to_and_never_rendered(objects):
    assert not of_kind(objects, "Secret")
    for workload in workloads(objects):
        for each in containers(workload):
            for variable in each.get("env", []):
                if any(word in variable["name"] for word in ("DATABASE", "SECRET", "KEY", "PASSWORD", "TOKEN")):
                    assert "secretKeyRef" in variable["valueFrom"]


def test_every_secret_setting_of_the_gateway_comes_from_a_secret(overlay):
    (gateway,) = deployments(overlay, "gateway")
    by_name = {variable["name"]: variable for variable in container(gateway)["env"]}
    secret = [name for name, field in GatewaySettings.model_fields.items() if "Secret" in str(field.annotation)]
    assert secret == ["database_url"]
    assert "secretKeyRef" in by_name["INSTA_DEPTH_GATEWAY_DATABASE_URL"]["valueFrom"]


def test_selectors_take_the_pods_that_they_mean(objects):
    """Deployments their own and no others', budgets exactly one Deployment's, Services and spreads the right ones."""
    templates = {
        each["metadata"]["name"]: pod(each)["metadata"]["labels"] for each in of_kind(objects, "Deployment", "Job")
    }

    def taken(selector):
        return {name for name, labels in templates.items() if selects(selector, labels)}

    for deployment in of_kind(objects, "Deployment"):
        name, spec = deployment["metadata"]["name"], deployment["spec"]
        assert taken(spec["selector"]) == {name}
        spreads = pod(deployment)["spec"]["topologySpreadConstraints"]
        assert {each["topologyKey"] for each in spreads} == {"kubernetes.io/hostname", "topology.kubernetes.io/zone"}
        assert all(taken(each["labelSelector"]) == {name} for each in spreads)
    budgets = Counter(
        name for each in of_kind(objects, "PodDisruptionBudget") for name in taken(each["spec"]["selector"])
    )
    assert budgets == Counter(each["metadata"]["name"] for each in of_kind(objects, "Deployment"))
    for service in of_kind(objects, "Service"):
        chosen = taken({"matchLabels": service["spec"]["selector"]})
        assert chosen == {each["metadata"]["name"] for each in deployments(objects, service["metadata"]["name"])}
    for monitor in of_kind(objects, "PodMonitor"):
        assert taken(monitor["spec"]["selector"])


def test_a_budget_lets_a_node_be_emptied(objects):
    assert all(each["spec"]["maxUnavailable"] == 1 for each in of_kind(objects, "PodDisruptionBudget"))


def test_every_autoscaler_has_its_deployment_and_no_fixed_count_beside(objects):
    scaled = {each["spec"]["scaleTargetRef"]["name"]: each for each in of_kind(objects, "HorizontalPodAutoscaler")}
    for deployment in of_kind(objects, "Deployment"):
        name = deployment["metadata"]["name"]
        assert (name in scaled) != ("replicas" in deployment["spec"]), name
    assert set(scaled) <= {each["metadata"]["name"] for each in of_kind(objects, "Deployment")}


def test_small_is_one_of_each_without_autoscaling(small):
    assert not of_kind(small, "HorizontalPodAutoscaler")
    assert {each["metadata"]["name"]: each["spec"]["replicas"] for each in of_kind(small, "Deployment")} == {
        "gateway": 1,
        "triton": 1,
    }
    assert named(small, "Deployment", "triton")["spec"]["strategy"] == {"type": "Recreate"}


def test_each_gpu_type_has_its_server_its_engines_and_its_autoscaler(many):
    """All alike but for the type."""
    seen = []
    for gpu in ("h100", "a100", "l40s"):
        triton, job = named(many, "Deployment", f"triton-{gpu}"), named(many, "Job", f"engines-{gpu}")
        autoscaler = named(many, "HorizontalPodAutoscaler", f"triton-{gpu}")
        assert autoscaler["spec"]["scaleTargetRef"]["name"] == f"triton-{gpu}"
        product = pod(triton)["spec"]["nodeSelector"]
        assert gpu.upper() in product["nvidia.com/gpu.product"]
        assert pod(job)["spec"]["nodeSelector"] == product
        seen.append(
            json.dumps([triton, job, autoscaler]).replace(gpu, "").replace(product["nvidia.com/gpu.product"], "")
        )
    assert len(set(seen)) == 1
    assert len(deployments(many, "triton")) == 3


def test_triton_reads_what_the_job_of_its_type_writes(objects):
    servers = [environment(each, container(each), objects) for each in deployments(objects, "triton")]
    in_bucket = any("BUCKET" in server for server in servers)
    read = {server["INSTA_DEPTH_TRITON_REPOSITORY"] for server in servers}
    written = set()
    for job in [each for each in of_kind(objects, "Job") if component(each) == "engines"]:
        by_name = {each["name"]: arguments(job, each, objects) for each in containers(job)}
        output = by_name["build"][by_name["build"].index("--output") + 1]
        if in_bucket:
            _, source, target = by_name["upload"]
            assert source == output
            output = target.replace("models:", "s3://")
        written.add(output)
    assert read == written
    assert len(read) == len(servers)


def test_the_jobs_run_in_order_and_hand_on_what_they_make(tmp_path_factory):
    prepare = objects_of(Rendering("prepare"), tmp_path_factory)
    fetch, onnx = (
        arguments(named(prepare, "Job", "weights"), each) for each in containers(named(prepare, "Job", "weights"))
    )
    assert fetch[fetch.index("--output") + 1] == onnx[onnx.index("--checkpoint") + 1]
    for job in of_kind(objects_of(Rendering("overlays/many-gpus"), tmp_path_factory), "Job"):
        build = arguments(job, container(job))
        assert build[build.index("--repository") + 1] == onnx[onnx.index("--output") + 1]


def test_a_bucket_takes_the_place_of_the_volume(tmp_path_factory):
    """Download, build, upload; export, upload."""
    for name in ("overlays/many-gpus", "overlays/small", "prepare"):
        found = objects_of(Rendering(name, ("bucket",)), tmp_path_factory)
        assert not of_kind(found, "PersistentVolumeClaim")
        for job in of_kind(found, "Job"):
            assert [each["name"] for each in containers(job)] == (
                ["fetch", "onnx", "upload"] if component(job) == "weights" else ["download", "build", "upload"]
            )
        for triton in deployments(found, "triton"):
            assert "/models" not in {mount["mountPath"] for mount in container(triton)["volumeMounts"]}


def test_shared_memory_is_large_enough_and_counted(overlay):
    for triton in deployments(overlay, "triton"):
        volumes = {each["name"]: each.get("emptyDir") for each in pod(triton)["spec"]["volumes"]}
        mounts = {each["mountPath"]: each["name"] for each in container(triton)["volumeMounts"]}
        shared_memory = volumes[mounts["/dev/shm"]]
        assert shared_memory["medium"] == "Memory"
        assert in_bytes(shared_memory["sizeLimit"]) >= SHARED_MEMORY_BYTES
        # With the plans on their way, the processes, and what Triton itself takes: 13 + 4 + 7 GiB.
        memory = in_bytes(container(triton)["resources"]["limits"]["memory"])
        assert memory >= in_bytes(shared_memory["sizeLimit"]) + 24 * 2**30


def seconds(probe):
    return probe["periodSeconds"] * probe["failureThreshold"]


def test_a_start_has_the_time_that_it_needs(objects):
    for triton in deployments(objects, "triton"):
        startup = container(triton)["startupProbe"]
        assert seconds(startup) >= START_LIMIT_S
        assert triton["spec"]["progressDeadlineSeconds"] > seconds(startup)


def test_a_probe_waits_longer_than_what_it_runs(objects):
    for triton in deployments(objects, "triton"):
        probe = container(triton)["livenessProbe"]
        asked_s = float(option(probe["exec"]["command"], "--timeout-s"))
        assert asked_s < probe["timeoutSeconds"] <= probe["periodSeconds"]


def option(command, name):
    return command[command.index(name) + 1]


def test_who_stops_has_the_time_that_it_needs(objects):
    if not deployments(objects, "gateway"):
        return  # prepare
    (gateway,) = deployments(objects, "gateway")
    settings = gateway_settings(gateway, objects)
    quiet_s = float(container(gateway)["lifecycle"]["preStop"]["exec"]["command"][1])
    assert pod(gateway)["spec"]["terminationGracePeriodSeconds"] >= quiet_s + settings.stop_timeout_s + 10
    assert settings.stop_timeout_s >= settings.generation_timeout_s
    for triton in deployments(objects, "triton"):
        drain = container(triton)["lifecycle"]["preStop"]["exec"]["command"]
        least_s, drain_s = float(option(drain, "--least-s")), float(option(drain, "--timeout-s"))
        read = environment(triton, container(triton), objects)
        exit_s = float(read["INSTA_DEPTH_TRITON_EXIT_TIMEOUT_S"])
        # DNS's last old answer may begin a connection, which is renewed after its age, give or take a tenth.
        assert least_s >= DNS_REMEMBERS_S + 1.1 * float(read["INSTA_DEPTH_TRITON_GRPC_CONNECTION_AGE_S"])
        assert drain_s >= least_s + settings.generation_timeout_s
        assert pod(triton)["spec"]["terminationGracePeriodSeconds"] >= drain_s + exit_s + 20


@pytest.mark.parametrize("parts", [("overlays/small",), ("overlays/many-gpus",), ("base", "gpu")], ids="+".join)
def test_the_gateways_let_in_what_the_servers_take(parts, tmp_path_factory):
    overlay = [each for part in parts for each in objects_of(Rendering(part), tmp_path_factory)]
    (gateway,) = deployments(overlay, "gateway")
    autoscalers = {
        each["spec"]["scaleTargetRef"]["name"]: each["spec"] for each in of_kind(overlay, "HorizontalPodAutoscaler")
    }

    def count(deployment, which):
        name = deployment["metadata"]["name"]
        return autoscalers[name][which] if name in autoscalers else deployment["spec"]["replicas"]

    places = sum(count(each, "maxReplicas") * max_requests(each) for each in deployments(overlay, "triton"))
    assert count(gateway, "minReplicas") * gateway_settings(gateway).max_in_flight == places


def max_requests(triton):
    return next(int(each["value"]) for each in container(triton)["env"] if each["name"] == "INSTA_DEPTH_MAX_REQUESTS")


def test_a_gateway_has_memory_for_the_bodies_that_it_holds(overlay):
    (gateway,) = deployments(overlay, "gateway")
    memory = in_bytes(container(gateway)["resources"]["limits"]["memory"])
    assert memory >= 2 * gateway_settings(gateway).max_buffered_bytes + 2**30


def test_triton_is_scaled_before_it_is_full_and_shrinks_slowly(many):
    for triton in deployments(many, "triton"):
        spec = named(many, "HorizontalPodAutoscaler", triton["metadata"]["name"])["spec"]
        targets = {
            each["pods"]["metric"]["name"]: float(each["pods"]["target"]["averageValue"]) for each in spec["metrics"]
        }
        places = int(environment(triton, container(triton))["INSTA_DEPTH_MAX_REQUESTS"])
        assert places / 2 <= targets["insta_depth_requests_in_flight"] < places
        assert "nv_inference_pending_request_count" in targets
        down = spec["behavior"]["scaleDown"]
        assert down["stabilizationWindowSeconds"] >= 600
        (policy,) = down["policies"]
        assert policy["type"] == "Pods"
        assert policy["value"] == 1
        assert policy["periodSeconds"] >= pod(triton)["spec"]["terminationGracePeriodSeconds"]


def test_prometheus_adapter_serves_the_metrics_by_which_triton_is_scaled(many):
    rules = yaml.safe_load((KUBERNETES / "prometheus-adapter-values.yaml").read_text())["rules"]["custom"]
    served = {name for rule in rules for name in metrics_of(rule["seriesQuery"])}
    asked = {
        each["pods"]["metric"]["name"]
        for autoscaler in of_kind(many, "HorizontalPodAutoscaler")
        for each in autoscaler["spec"]["metrics"]
        if each["type"] == "Pods"
    }
    assert served == asked
    assert all(set(rule["resources"]["overrides"]) == {"namespace", "pod"} for rule in rules)


def test_the_triton_of_the_gateway_is_the_headless_service(overlay):
    (gateway,) = deployments(overlay, "gateway")
    host, port = gateway_settings(gateway).triton_url.split(":")
    service = named(overlay, "Service", host)["spec"]
    assert service["clusterIP"] == "None"
    assert int(port) in {each["port"] for each in service["ports"]}


def test_ports_that_are_called_by_name_have_one(objects):
    for service in of_kind(objects, "Service"):
        for workload in deployments(objects, service["metadata"]["name"]):
            ports = {each["name"]: each["containerPort"] for each in container(workload)["ports"]}
            for port in service["spec"]["ports"]:
                assert port["targetPort"] in ports
                if service["spec"].get("clusterIP") == "None":  # whoever asks for the name talks to the pod itself
                    assert ports[port["targetPort"]] == port["port"]
    for workload in of_kind(objects, "Deployment"):
        ports = {each["name"]: each["containerPort"] for each in container(workload)["ports"]}
        annotations = pod(workload)["metadata"]["annotations"]
        assert annotations["prometheus.io/scrape"] == "true"
        assert int(annotations["prometheus.io/port"]) in ports.values()
        for monitor in of_kind(objects, "PodMonitor"):
            if selects(monitor["spec"]["selector"], pod(workload)["metadata"]["labels"]):
                (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
                assert ports[endpoint["port"]] == int(annotations["prometheus.io/port"])
                assert endpoint["path"] == annotations["prometheus.io/path"]
