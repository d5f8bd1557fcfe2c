"""The pages' commands, run as they stand there, with ``kubectl`` against a fake API server."""

import os
import re
import shutil
import subprocess

import pytest
import yaml

from tests.conftest import ROOT
from tests.deploy.kubernetes_api import cluster
from tests.deploy.kubernetes_manifests import KUBERNETES, deployments, pod

PAGE = "docs/kubernetes.md"


def block(page, language, holding):
    """The one code block of a page that holds this text."""
    text = (ROOT / page).read_text()
    (found,) = [each for each in re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL) if holding in each]
    return found


def lines_of(page):
    """The ``kubectl`` lines that install, in order, without their comments."""
    lines = [line.partition("  #")[0].strip() for line in block(page, "sh", "kubectl apply -k").splitlines()]
    assert all(line.startswith("kubectl ") for line in lines)
    return [line for line in lines if " exec " not in line]


def own_overlays(in_bucket):
    """What the page has one write, with what it says of a bucket: folder → kustomization."""
    mine = yaml.safe_load(block(PAGE, "yaml", "images:"))
    prepare = mine | {"resources": ["../deploy/kubernetes/prepare"], "components": []}
    more = yaml.safe_load(block(PAGE, "yaml", "components/bucket")) if in_bucket else {"components": []}
    return {
        name: own | more | {"components": own["components"] + more["components"]}
        for name, own in (("mine", mine), ("mine-prepare", prepare))
    }


@pytest.fixture
def fake_server():
    with cluster() as running:
        yield running


@pytest.fixture
def kubectl(tmp_path, fake_server):
    """Run a line of a page in a folder with our manifests and a filled-in secret."""
    if not shutil.which("kubectl"):
        pytest.skip("kubectl is not installed")
    shutil.copytree(KUBERNETES, tmp_path / "deploy" / "kubernetes")
    shutil.copy(KUBERNETES / "secret.example.yaml", tmp_path / "secret.yaml")
    fake_server.write_kubeconfig(tmp_path / "kubeconfig")
    environment = os.environ | {"KUBECONFIG": str(tmp_path / "kubeconfig"), "HOME": str(tmp_path)}

    def run(line):
        # The fake has no schemas; test_kubernetes_manifests.py compares every object with Kubernetes' own.
        line += " --validate=false" if line.startswith("kubectl apply") else ""
        return subprocess.run(
            line.split(), cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=20, check=True
        ).stdout

    return run


def write(kustomizations, folder):
    for name, own in kustomizations.items():
        (folder / name).mkdir()
        (folder / name / "kustomization.yaml").write_text(yaml.safe_dump(own))


@pytest.mark.parametrize(
    ("page", "in_bucket"), [("docs/gpu.md", False), (PAGE, False), (PAGE, True)], ids=["gpu.md", "page", "page, bucket"]
)
def test_run_one_after_the_other_no_line_waits_for_a_later_one(page, in_bucket, tmp_path, kubectl, fake_server):
    """A Job of the fake is complete once all that its pods refer to is there, and ``kubectl wait`` waits for it."""
    write(own_overlays(in_bucket), tmp_path)
    waited = 0
    for line in lines_of(page):
        before = fake_server.made()
        said = kubectl(line)
        if " wait " in line:
            assert said.count("condition met") == 1
            waited += 1
        if line.startswith("kubectl apply") and "component=engines" in line:
            new = [name for name in fake_server.made() if name not in before]
            assert new == ["Job/engines"]  # and no server that would hold the GPU
    assert waited == 2
    made = list(fake_server.objects.values())
    for name in ("gateway", "triton"):
        (deployment,) = deployments(made, name)
        assert fake_server.missing(deployment) == []
        (container,) = pod(deployment)["spec"]["containers"]
        assert container["image"].startswith("registry.example/") == (page == PAGE)
    buckets = [each["data"] for each in made if each["metadata"]["name"].startswith("insta-depth-bucket-")]
    assert buckets == ([{"bucket": "mine", "region": "eu-central-1"}] if in_bucket else [])


def test_a_job_whose_secret_is_not_there_would_be_waited_for(kubectl, fake_server, tmp_path):
    """Or else the test above could not fail."""
    write(own_overlays(in_bucket=True), tmp_path)
    waiting = "kubectl -n insta-depth wait --for=condition=complete job/weights --timeout=1s"
    kubectl("kubectl apply -k mine-prepare")
    with pytest.raises(subprocess.CalledProcessError):
        kubectl(waiting)
    kubectl("kubectl apply -f secret.yaml")
    assert "condition met" in kubectl(waiting)


def test_another_type_of_gpu_is_a_copy_of_a_folder_with_three_values_changed(kubectl, tmp_path):
    """As the page says: suffix, label and product, and the folder's name among the others."""
    overlay = tmp_path / "deploy" / "kubernetes" / "overlays" / "many-gpus"
    shutil.copytree(overlay / "h100", overlay / "b200")
    changed = [(overlay / "b200" / "kustomization.yaml", text, new) for text, new in (
        ("nameSuffix: -h100", "nameSuffix: -b200"),
        ("insta-depth/gpu: h100", "insta-depth/gpu: b200"),
        ("nvidia.com/gpu.product: NVIDIA-H100-80GB-HBM3", "nvidia.com/gpu.product: NVIDIA-B200"),
    )]  # fmt: skip
    for path, text, new in (*changed, (overlay / "kustomization.yaml", "  - h100\n", "  - h100\n  - b200\n")):
        assert path.read_text().count(text) == 1, text
        path.write_text(path.read_text().replace(text, new))
    rendered = list(yaml.safe_load_all(kubectl(f"kubectl kustomize {overlay}")))
    names = {each["metadata"]["name"] for each in deployments(rendered, "triton")}
    assert names == {"triton-h100", "triton-b200", "triton-a100", "triton-l40s"}
