"""The Dockerfile as a text: there is no Docker here to build it."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.deploy.container_files import DOCKERFILE, TARGETS, is_ignored, known_files, lineage, sources, stages

HADOLINT = Path(sys.executable).with_name("hadolint")
WEIGHTS = (".onnx", ".plan", ".engine", ".safetensors", ".bin", ".pt", ".pth", ".ckpt")


def test_hadolint_has_nothing_to_say():
    done = subprocess.run([HADOLINT, "--no-color", DOCKERFILE], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr


def test_hadolint_would_say_something(tmp_path):
    (tmp_path / "Dockerfile").write_text("FROM python:latest\nRUN pip install torch\n")
    done = subprocess.run([HADOLINT, tmp_path / "Dockerfile"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "DL3007" in done.stdout


def test_there_are_the_targets():
    assert set(TARGETS) <= stages()[1].keys()


def test_every_stage_has_a_name_and_a_base_that_is_known():
    arguments, found = stages()
    for stage in found.values():
        argument = re.fullmatch(r"\$\{(\w+)\}", stage.base)
        assert stage.name
        assert stage.base in found or (argument and argument[1] in arguments), stage


def test_every_tag_names_a_release():
    arguments, _ = stages()
    for name in ("TRITON_IMAGE", "PYTHON_IMAGE"):
        _, _, tag = arguments[name].rpartition(":")
        assert re.match(r"\d+\.\d+", tag), arguments[name]
    assert "latest" not in DOCKERFILE.read_text().replace("latest pip", "")


def test_triton_is_a_release_that_works_with_numpy_2():
    tag = re.fullmatch(r"nvcr\.io/nvidia/tritonserver:(\d+)\.(\d+)-py3", stages()[0]["TRITON_IMAGE"])
    assert tag
    assert (int(tag[1]), int(tag[2])) >= (25, 8)


@pytest.mark.parametrize("path", sorted(sources()))
def test_what_is_copied_exists_in_git_and_reaches_the_build(path):
    files = [name for name in known_files() if name == path or name.startswith(f"{path}/")]
    assert files, path
    assert any(not is_ignored(name) for name in files), path
    assert not is_ignored(path)


def test_of_what_is_copied_only_the_miniature_s_weights_are_kept_out():
    kept_out = [
        name for name in known_files() if any(name.startswith(f"{path}/") for path in sources()) and is_ignored(name)
    ]
    assert [name for name in kept_out if not name.startswith("miniature/weights/")] == []
    assert all(is_ignored(name) for name in known_files() if name.startswith("miniature/weights/"))


def test_neither_weights_nor_secrets_reach_the_build():
    for path in (
        "build/sdxl/unet/1/model.onnx",
        "build/compose.env",
        ".env",
        ".git/config",
        ".venv/bin/python",
        "tests/x",
    ):
        assert is_ignored(path), path
    for suffix in (".onnx", ".plan", ".safetensors"):
        assert is_ignored(f"model_repository/unet/1/model{suffix}")
    reaching = [name for name in known_files() if not is_ignored(name)]
    assert reaching
    assert [name for name in reaching if name.endswith(WEIGHTS)] == []
    assert max((ROOT / name).stat().st_size for name in reaching) < 2**20


@pytest.mark.parametrize("target", TARGETS)
def test_each_image_runs_as_a_user_by_number(target):
    users = [user for stage in lineage(target) for user in stage.all("USER")]
    assert users[-1] == "1000:1000"
    last = [keyword for keyword, _ in lineage(target)[-1].instructions]
    assert "RUN" not in last[last.index("USER", last.index("LABEL")) :]


@pytest.mark.parametrize("target", TARGETS)
def test_each_image_has_labels_and_a_home(target):
    text = " ".join(rest for stage in lineage(target) for rest in stage.all("LABEL") + stage.all("ENV"))
    for name in ("title", "description", "revision"):
        assert f"org.opencontainers.image.{name}=" in text
    assert "HOME=/home/insta-depth" in text


def _command(target: str, keyword: str) -> list[str]:
    rest = [rest for stage in lineage(target) for rest in stage.all(keyword)][-1]
    return json.loads(rest[rest.index("[") :])


def test_servers_have_a_health_check_and_the_export_has_none():
    assert _command("triton", "HEALTHCHECK") == ["python3", "/opt/insta-depth/alive.py"]
    assert _command("gateway", "HEALTHCHECK") == ["python", "/opt/insta-depth/healthz.py"]
    assert stages()[1]["export"].all("HEALTHCHECK") == ["NONE"]


@pytest.mark.parametrize("target", ["triton", "gateway"])
def test_every_script_that_an_image_runs_is_copied_into_it(target):
    copied = {
        f"/opt/insta-depth/{Path(word).name}"
        for stage in lineage(target)
        for rest in stage.all("COPY")
        if rest.endswith("/opt/insta-depth/")
        for word in rest.split()[:-1]
    }
    run = {word for keyword in ("CMD", "HEALTHCHECK") for word in _command(target, keyword) if word.endswith(".py")}
    assert run <= copied
    assert run


def test_the_export_gets_the_tensorrt_of_its_triton():
    arguments, found = stages()
    assert re.fullmatch(r"10\.\d+\.\d+\.\d+(\.post\d+)?", arguments["TENSORRT_VERSION"])
    assert 'tensorrt_matches.py "${TENSORRT_VERSION}"' in " ".join(found["triton"].all("RUN"))
    assert '"tensorrt-cu13==${TENSORRT_VERSION}"' in " ".join(found["export"].all("RUN"))
    assert found["export"].base == "triton"
    for name in ("triton", "export"):
        assert "TENSORRT_VERSION" in found[name].all("ARG")


def test_every_package_is_constrained():
    installs = [
        command
        for stage in stages()[1].values()
        for rest in stage.all("RUN")
        for command in re.findall(r"pip/pip install .*?(?=&&|$)", rest)
    ]
    assert len(installs) == 6
    for command in installs:
        assert "--constraint /src/constraints.txt" in command
        assert "index-url" not in command  # PyPI's torch is the CUDA build


def test_the_documentation_has_every_argument_and_its_default():
    text = (ROOT / "docs" / "container.md").read_text()
    arguments = stages()[0] | {"REVISION": "unknown"}
    for name, default in arguments.items():
        assert f"| `{name}` | `{default}` |" in text


def test_the_groups_that_are_installed_exist():
    groups = re.findall(r"--group /src/pyproject\.toml:(\w+)", DOCKERFILE.read_text())
    text = (ROOT / "pyproject.toml").read_text().split("[dependency-groups]")[1]
    assert sorted(groups) == ["export", "serve"]
    for group in groups:
        assert f"\n{group} = [" in text


def test_the_extras_that_are_installed_exist():
    (extras,) = re.findall(r"\./gateway\[([\w,]+)\]", DOCKERFILE.read_text())
    text = (ROOT / "gateway" / "pyproject.toml").read_text().split("[project.optional-dependencies]")[1]
    for extra in extras.split(","):
        assert f"\n{extra} = [" in text


def test_dependencies_come_before_code():
    for name, code in (
        ("triton", "serve_triton.py"),
        ("export", "export ./export"),
        ("gateway-packages", "client ./client"),
        ("gateway-packages", "gateway ./gateway"),
    ):
        lines = stages()[1][name].instructions
        first_install = next(i for i, (_, rest) in enumerate(lines) if "pip/pip install" in rest)
        copies = [i for i, (keyword, rest) in enumerate(lines) if keyword == "COPY" and code in rest]
        assert copies
        assert first_install < min(copies), name


def test_the_dependencies_of_the_gateway_need_no_code_of_it():
    """The layer is made from these files alone: the package has its version from one of them."""
    copied = next(rest for rest in stages()[1]["gateway-packages"].all("COPY") if "_version.py" in rest)
    assert copied.startswith("client/insta_depth/_version.py")
    text = (ROOT / "client" / "pyproject.toml").read_text()
    assert 'path = "insta_depth/_version.py"' in text
    assert 'readme = "README.md"' in text
    gateway = (ROOT / "gateway" / "pyproject.toml").read_text()
    assert 'path = "../client/insta_depth/_version.py"' in gateway


def test_the_gpu_check_s_group_has_the_tensorrt_of_the_images():
    text = (ROOT / "pyproject.toml").read_text()
    assert f'"tensorrt-cu13=={stages()[0]["TENSORRT_VERSION"]}"' in text


@pytest.mark.parametrize(
    ("target", "commands"),
    [("export", ("export onnx", "export tensorrt")), ("gpu-check", ("benchmarks.gpu_check",))],
)
def test_it_runs_from_what_is_copied(target, commands, tmp_path):
    """The folders of the image, in a folder of their own, without the client and anything else of this repository."""
    copied = [rest.split() for stage in lineage(target) for rest in stage.all("COPY")]
    for source, destination in (words for words in copied if len(words) == 2 and words[1].startswith("./")):
        place = tmp_path / destination / (Path(source).name if destination.endswith("/") else "")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(ROOT / source)
    (tmp_path / "insta_depth").mkdir()
    (tmp_path / "insta_depth" / "__init__.py").write_text("raise ImportError('the image has no client')")
    environment = {name: text for name, text in os.environ.items() if name != "PYTHONPATH"}
    for command in commands:
        done = subprocess.run(
            [sys.executable, "-m", *command.split(), "--help"],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
