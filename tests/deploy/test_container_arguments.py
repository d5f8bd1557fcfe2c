"""What the container makes of its environment."""

import os

import pytest

from deploy.docker import serve_triton, tensorrt_matches
from deploy.docker.serve_triton import (
    PREFIX,
    SettingError,
    Settings,
    command,
    controlnet_count,
    cuda_pool_bytes,
)
from tests.conftest import ROOT

KNOWN = [PREFIX + name.upper() for name in Settings.__dataclass_fields__]


def flags(**environment: str) -> dict[str, str]:
    """The arguments of the server, by name."""
    program, *arguments = command(environment)
    assert program == "tritonserver"
    pairs = [argument.partition("=")[::2] for argument in arguments]
    assert len(dict(pairs)) == len(pairs), "an argument is given twice"
    return dict(pairs)


def test_without_settings_it_serves_models_on_all_addresses():
    given = flags()
    assert given["--model-repository"] == "/models"
    assert {given[f"--{purpose}-address"] for purpose in ("http", "grpc", "metrics")} == {"0.0.0.0"}
    assert [given[f"--{purpose}-port"] for purpose in ("http", "grpc", "metrics")] == ["8000", "8001", "8002"]
    assert given["--model-control-mode"] == "none"
    assert given["--exit-on-error"] == "true"
    assert given["--allow-metrics"] == "true"


CHANGES = [
    ("REPOSITORY", "s3://bucket/sdxl", "--model-repository", "s3://bucket/sdxl"),
    ("REPOSITORY", "gs://bucket/sdxl", "--model-repository", "gs://bucket/sdxl"),
    ("CUDA_POOL_BYTES", "123456", "--cuda-memory-pool-byte-size", "0:123456"),
    ("PINNED_POOL_BYTES", "0", "--pinned-memory-pool-byte-size", "0"),
    ("LOG_VERBOSE", "1", "--log-verbose", "1"),
    ("EXIT_TIMEOUT_S", "30", "--exit-timeout-secs", "30"),
    ("GRPC_CONNECTION_AGE_S", "5", "--grpc-max-connection-age", "5000"),
    ("ADDRESS", "127.0.0.1", "--grpc-address", "127.0.0.1"),
    ("HTTP_PORT", "9000", "--http-port", "9000"),
    ("GRPC_PORT", "9001", "--grpc-port", "9001"),
    ("METRICS_PORT", "9002", "--metrics-port", "9002"),
]


@pytest.mark.parametrize(("variable", "text", "flag", "value"), CHANGES)
def test_each_setting_changes_its_argument_and_no_other(variable, text, flag, value):
    key = ("--http-restricted-api", "--grpc-restricted-protocol")  # drawn anew each time
    before, after = ({name: text for name, text in given.items() if name not in key} for given in (
        flags(), flags(**{PREFIX + variable: text})
    ))  # fmt: skip
    assert after[flag] == value
    changed = {name for name in after if after[name] != before[name]}
    assert changed == (
        {f"--{purpose}-address" for purpose in ("http", "grpc", "metrics")} if variable == "ADDRESS" else {flag}
    )


def test_the_documentation_has_every_setting_and_its_default():
    text = (ROOT / "docs" / "container.md").read_text()
    for name, field in Settings.__dataclass_fields__.items():
        (row,) = [line for line in text.splitlines() if line.startswith("|") and f"_{name.upper()}`" in line]
        if field.default not in (None, ""):
            assert f"`{int(field.default) if field.default is False else field.default}`" in row, row


def test_every_setting_is_tried():
    assert {PREFIX + variable for variable, *_ in CHANGES} | {PREFIX + "ADMIN_KEY_FILE", PREFIX + "MPS"} == set(KNOWN)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("INSTA_DEPTH_TRITON_HTTP_PROT", "8000"),
        ("INSTA_DEPTH_TRITON_PORT", "tcp://10.0.0.7:8001"),  # what Kubernetes sets for a Service of that name
        ("INSTA_DEPTH_TRITON_HTTP_PORT", "tcp://10.0.0.7:8000"),
        ("INSTA_DEPTH_TRITON_HTTP_PORT", "0"),
        ("INSTA_DEPTH_TRITON_GRPC_PORT", "65536"),
        ("INSTA_DEPTH_TRITON_GRPC_PORT", "8000"),
        ("INSTA_DEPTH_TRITON_METRICS_PORT", "８００２"),
        ("INSTA_DEPTH_TRITON_CUDA_POOL_BYTES", "2GiB"),
        ("INSTA_DEPTH_TRITON_CUDA_POOL_BYTES", "-1"),
        ("INSTA_DEPTH_TRITON_PINNED_POOL_BYTES", ""),
        ("INSTA_DEPTH_TRITON_LOG_VERBOSE", "true"),
        ("INSTA_DEPTH_TRITON_MPS", "yes"),
        ("INSTA_DEPTH_TRITON_EXIT_TIMEOUT_S", "1.5"),
        ("INSTA_DEPTH_TRITON_REPOSITORY", "models"),
        ("INSTA_DEPTH_TRITON_REPOSITORY", "s3://"),
        ("INSTA_DEPTH_TRITON_REPOSITORY", "/models\n--model-control-mode=explicit"),
        ("INSTA_DEPTH_TRITON_ADDRESS", ""),
        ("INSTA_DEPTH_TRITON_ADMIN_KEY_FILE", "/there/is/no/such/file"),
        ("INSTA_DEPTH_MAX_ROWS", "many"),
    ],
)
def test_what_is_wrong_or_unknown_is_refused_by_name(name, text):
    with pytest.raises(SettingError, match=f"^{name}|INSTA_DEPTH_TRITON_HTTP_PORT, _GRPC_PORT"):
        command({name: text})


def test_variables_of_others_are_let_through():
    assert flags(INSTA_DEPTH_MAX_REQUESTS="4", PATH="/bin").keys() == flags().keys()


def test_main_says_which_variable_and_starts_nothing(monkeypatch, capsys):
    monkeypatch.setenv("INSTA_DEPTH_TRITON_HTTP_PORT", "http")
    monkeypatch.setattr(serve_triton.os, "execvpe", pytest.fail)
    assert serve_triton.main() == 2
    assert "INSTA_DEPTH_TRITON_HTTP_PORT: 'http' is not a whole number" in capsys.readouterr().err


def test_main_becomes_the_server_and_keeps_its_own_settings_to_itself(monkeypatch):
    executed = []
    monkeypatch.setattr(serve_triton.os, "execvpe", lambda *given: executed.append(given))
    monkeypatch.setattr(
        serve_triton.os, "environ", {"INSTA_DEPTH_TRITON_LOG_VERBOSE": "1", "INSTA_DEPTH_MAX_REQUESTS": "3"}
    )
    serve_triton.main()
    ((program, line, environment),) = executed
    assert (program, line[0]) == ("tritonserver", "tritonserver")
    assert "--log-verbose=1" in line
    assert environment == {"INSTA_DEPTH_MAX_REQUESTS": "3"}


MPS_CONTROL = """\
#!/bin/sh
echo "$@ $CUDA_MPS_PIPE_DIRECTORY $CUDA_MPS_LOG_DIRECTORY" > "$(dirname "$0")/called"
echo "no GPU here" >&2
exit {status}
"""


@pytest.fixture
def mps_control(monkeypatch, tmp_path):
    """Put a program in the place of the daemon's; return how to choose its exit status."""

    def make(status: int) -> None:
        program = tmp_path / "nvidia-cuda-mps-control"
        program.write_text(MPS_CONTROL.format(status=status))
        program.chmod(0o755)

    monkeypatch.setenv("INSTA_DEPTH_TRITON_MPS", "1")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return make


def test_with_mps_the_daemon_runs_first_and_the_server_finds_it(monkeypatch, mps_control, tmp_path):
    executed = []
    monkeypatch.setattr(serve_triton.os, "execvpe", lambda *given: executed.append(given))
    mps_control(0)
    serve_triton.main()
    ((_, _, environment),) = executed
    folder = environment["CUDA_MPS_PIPE_DIRECTORY"]
    assert (tmp_path / "called").read_text().split() == ["-d", folder, environment["CUDA_MPS_LOG_DIRECTORY"]]
    assert os.path.isdir(folder)
    assert "INSTA_DEPTH_TRITON_MPS" not in environment


def test_a_daemon_that_does_not_start_is_said_and_nothing_is_served(monkeypatch, mps_control, capsys):
    monkeypatch.setattr(serve_triton.os, "execvpe", pytest.fail)
    mps_control(1)
    assert serve_triton.main() == 2
    assert "INSTA_DEPTH_TRITON_MPS: nvidia-cuda-mps-control failed: no GPU here" in capsys.readouterr().err


def test_a_machine_without_the_daemon_is_said(monkeypatch, capsys):
    monkeypatch.setenv("INSTA_DEPTH_TRITON_MPS", "1")
    monkeypatch.setattr(serve_triton, "_MPS", "no-such-program")
    monkeypatch.setattr(serve_triton.os, "execvpe", pytest.fail)
    assert serve_triton.main() == 2
    assert "INSTA_DEPTH_TRITON_MPS: no-such-program cannot be run" in capsys.readouterr().err


def test_the_pool_holds_the_residuals_of_both_controlnets_at_the_largest_picture():
    guided_pair_at_1024 = 107_479_040
    assert cuda_pool_bytes(2) >= 2 * (1280 / 1024) ** 2 * guided_pair_at_1024
    assert flags()["--cuda-memory-pool-byte-size"] == f"0:{cuda_pool_bytes(16)}"
    assert 2.7e9 < cuda_pool_bytes(16) < 3.1e9
    assert flags(INSTA_DEPTH_MAX_ROWS="4")["--cuda-memory-pool-byte-size"] == f"0:{cuda_pool_bytes(4)}"


def test_the_residuals_are_those_that_sdxl_has():
    """From SDXL's published channels: each resnet's output, each downsampler's and the middle, at 1024 x 1024."""
    stages = [(320, 128, 3), (320, 64, 1), (640, 64, 2), (640, 32, 1), (1280, 32, 3)]
    elements = sum(channels * side * side * count for channels, side, count in stages)
    assert 2 * elements == serve_triton._RESIDUALS_BYTES_A_ROW


def test_the_key_of_the_file_opens_what_is_restricted(tmp_path):
    (tmp_path / "key").write_text("0123456789abcdef\n")
    given = flags(INSTA_DEPTH_TRITON_ADMIN_KEY_FILE=str(tmp_path / "key"))
    expected = "shared-memory,model-repository,trace,logging:insta-depth-admin-key=0123456789abcdef"
    assert given["--http-restricted-api"] == given["--grpc-restricted-protocol"] == expected


def test_without_a_file_nobody_has_the_key():
    assert flags()["--http-restricted-api"] != flags()["--http-restricted-api"]
    assert len(flags()["--http-restricted-api"].rpartition("=")[2]) >= 32


@pytest.mark.parametrize("key", ["", "short", "sixteen letters and spaces", "0123456789abcdef,health:other=1"])
def test_a_key_that_would_not_act_is_refused(tmp_path, key):
    (tmp_path / "key").write_text(key)
    with pytest.raises(SettingError, match="ADMIN_KEY_FILE: the key"):
        command({"INSTA_DEPTH_TRITON_ADMIN_KEY_FILE": str(tmp_path / "key")})


@pytest.mark.parametrize(
    ("installed", "wanted", "status"),
    [
        ("10.13.3", "10.13.3.9.post1", 0),
        ("10.13.3", "10.13.3.9", 0),
        ("10.13.2", "10.13.3.9", 1),
        ("10.1.33", "10.13.3.9", 1),
        (None, "10.13.3.9", 0),
    ],
)
def test_a_tensorrt_of_another_release_stops_the_build(monkeypatch, capsys, installed, wanted, status):
    monkeypatch.setattr(tensorrt_matches, "installed_version", lambda: installed)
    assert tensorrt_matches.main([wanted]) == status
    assert (wanted in capsys.readouterr().err) == (status == 1 or installed is None)


def test_plans_are_loaded_once_and_two_at_a_time():
    """Asking a plan for its configuration loads it once more, and each one that loads is in host memory twice."""
    given = flags()
    assert "--disable-auto-complete-config" in given
    assert given["--model-load-thread-count"] == "2"


def test_the_pool_is_for_as_many_controlnets_as_the_repository_has(tmp_path):
    assert controlnet_count("s3://bucket/models") == 2
    ensemble = tmp_path / "denoise_step"
    ensemble.mkdir()
    steps = "".join(f'step {{ model_name: "{name}" }}' for name in ("identitynet", "depth", "canny", "unet"))
    (ensemble / "config.pbtxt").write_text(f"ensemble_scheduling {{ {steps} }}")
    assert controlnet_count(str(tmp_path)) == 3
    pool = flags(INSTA_DEPTH_TRITON_REPOSITORY=str(tmp_path))["--cuda-memory-pool-byte-size"]
    assert pool == f"0:{cuda_pool_bytes(16, controlnets=3)}"
