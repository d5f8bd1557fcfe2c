"""The pages' ``kubectl`` lines: in their order, each finds what the lines before it have made."""

import re
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest
import yaml

from tests.conftest import ROOT
from tests.deploy.kubernetes_manifests import (
    KUBERNETES,
    Manifest,
    container,
    containers,
    deployments,
    kustomize,
    named,
    of_kind,
    pod,
    selects,
)

PAGE = "docs/kubernetes.md"


def block(page: str, language: str, holding: str) -> str:
    """The one code block of a page that holds this text."""
    text = (ROOT / page).read_text(encoding="utf-8")
    (found,) = [each for each in re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL) if holding in each]
    return found


def lines_of(page: str) -> list[list[str]]:
    """The words of the ``kubectl`` lines that install, in order, without their comments."""
    lines = [line.partition("  #")[0].split() for line in block(page, "sh", "kubectl apply -k").splitlines()]
    assert all(line[0] == "kubectl" for line in lines)
    return [line for line in lines if "exec" not in line]


def own_overlays(in_bucket: bool) -> dict[str, Manifest]:
    """What the page has one write, with what it says of a bucket: folder → kustomization."""
    mine = yaml.safe_load(block(PAGE, "yaml", "images:"))
    prepare = mine | {"resources": ["../deploy/kubernetes/prepare"], "components": []}
    more = yaml.safe_load(block(PAGE, "yaml", "components/bucket")) if in_bucket else {"components": []}
    return {
        name: own | more | {"components": own["components"] + more["components"]}
        for name, own in (("mine", mine), ("mine-prepare", prepare))
    }


def folder_with(overlays: dict[str, Manifest], folder: Path) -> Path:
    """Put our manifests, a filled-in secret and these kustomizations into ``folder``."""
    shutil.copytree(KUBERNETES, folder / "deploy" / "kubernetes")
    shutil.copy(KUBERNETES / "secret.example.yaml", folder / "secret.yaml")
    for name, own in overlays.items():
        (folder / name).mkdir()
        (folder / name / "kustomization.yaml").write_text(yaml.safe_dump(own), encoding="utf-8")
    return folder


def rendered(folder: Path) -> list[Manifest]:
    done = subprocess.run([*kustomize(), str(folder)], capture_output=True, text=True, timeout=60, check=True)
    return list(yaml.safe_load_all(done.stdout))


def chosen(line: list[str], objects: Iterable[Manifest]) -> list[Manifest]:
    """The objects that a line's ``-l label=value`` takes: all, where it has none."""
    if "-l" not in line:
        return list(objects)
    label, _, value = line[line.index("-l") + 1].partition("=")
    return [each for each in objects if selects({"matchLabels": {label: value}}, each["metadata"].get("labels", {}))]


def applied_by(line: list[str], folder: Path) -> list[Manifest]:
    if "-k" in line:
        return chosen(line, rendered(folder / line[line.index("-k") + 1]))
    return list(yaml.safe_load_all((folder / line[line.index("-f") + 1]).read_text(encoding="utf-8")))


def waited_for(line: list[str], made: list[Manifest]) -> list[Manifest]:
    """The Jobs of a ``kubectl wait`` line: ``job/<name>``, or ``job -l <label>``."""
    (what,) = [word for word in line if word.partition("/")[0] == "job"]
    _, _, name = what.partition("/")
    return [named(made, "Job", name)] if name else chosen(line, of_kind(made, "Job"))


def missing(workload: Manifest, made: Iterable[Manifest]) -> set[tuple[str, str]]:
    """What a workload's pods refer to and nothing has made: they would not start."""
    volumes = pod(workload)["spec"].get("volumes", [])
    wanted = {("PersistentVolumeClaim", each["persistentVolumeClaim"]["claimName"]) for each in volumes
              if "persistentVolumeClaim" in each}  # fmt: skip
    variables = [variable for each in containers(workload) for variable in each.get("env", [])]
    for source in (variable.get("valueFrom", {}) for variable in variables):
        wanted |= {("Secret", source["secretKeyRef"]["name"])} if "secretKeyRef" in source else set()
        wanted |= {("ConfigMap", source["configMapKeyRef"]["name"])} if "configMapKeyRef" in source else set()
    return wanted - {(each["kind"], each["metadata"]["name"]) for each in made}


@pytest.mark.parametrize(
    ("page", "in_bucket"), [("docs/gpu.md", False), (PAGE, False), (PAGE, True)], ids=["gpu.md", "page", "page, bucket"]
)
def test_no_line_waits_for_a_later_one(page: str, in_bucket: bool, tmp_path: Path) -> None:
    folder = folder_with(own_overlays(in_bucket), tmp_path)
    made: list[Manifest] = []
    waited: list[str] = []
    for line in lines_of(page):
        if "wait" in line:
            (job,) = waited_for(line, made)
            assert missing(job, made) == set()
            waited.append(job["metadata"]["name"])
            continue
        new = [each for each in applied_by(line, folder) if each not in made]
        made += new
        if "app.kubernetes.io/component=engines" in line:
            assert [each["kind"] for each in new] == ["Job"]  # and no server that would hold the GPU
    assert waited == ["weights", "engines"]
    for name in ("gateway", "triton"):
        (deployment,) = deployments(made, name)
        assert missing(deployment, made) == set()
        assert container(deployment)["image"].startswith("registry.example/") == (page == PAGE)
    buckets = [each["data"] for each in made if each["metadata"]["name"].startswith("insta-depth-bucket-")]
    assert buckets == ([{"bucket": "mine", "region": "eu-central-1"}] if in_bucket else [])


def test_a_job_whose_secret_is_not_there_would_be_waited_for(tmp_path: Path) -> None:
    """Or else the test above could not fail."""
    folder = folder_with(own_overlays(in_bucket=True), tmp_path)
    made = rendered(folder / "mine-prepare")
    assert {kind for kind, _ in missing(named(made, "Job", "weights"), made)} == {"Secret"}


def test_another_type_of_gpu_is_a_copy_of_a_folder_with_three_values_changed(tmp_path: Path) -> None:
    """As the page says: suffix, label and product, and the folder's name among the others."""
    overlay = folder_with({}, tmp_path) / "deploy" / "kubernetes" / "overlays" / "many-gpus"
    shutil.copytree(overlay / "h100", overlay / "b200")
    changed = [(overlay / "b200" / "kustomization.yaml", text, new) for text, new in (
        ("nameSuffix: -h100", "nameSuffix: -b200"),
        ("insta-depth/gpu: h100", "insta-depth/gpu: b200"),
        ("nvidia.com/gpu.product: NVIDIA-H100-80GB-HBM3", "nvidia.com/gpu.product: NVIDIA-B200"),
    )]  # fmt: skip
    for path, text, new in (*changed, (overlay / "kustomization.yaml", "  - h100\n", "  - h100\n  - b200\n")):
        assert path.read_text(encoding="utf-8").count(text) == 1, text
        path.write_text(path.read_text(encoding="utf-8").replace(text, new), encoding="utf-8")
    names = {each["metadata"]["name"] for each in deployments(rendered(overlay), "triton")}
    assert names == {"triton-h100", "triton-b200", "triton-a100", "triton-l40s"}
