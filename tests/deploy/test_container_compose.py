"""compose.yaml as a text: there is no Docker here to start it."""

import json
import re
import subprocess
import sys

import pytest
from insta_depth_gateway.settings import read_settings

from deploy.docker import serve_triton
from tests.conftest import ROOT
from tests.deploy.container_files import SHARED_MEMORY_BYTES, compose, lineage, stages


def services() -> dict:
    return compose()["services"]


def validate(path) -> "subprocess.CompletedProcess[str]":
    """Hold a file against Compose's own schema, which comes with the validator."""
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(path)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_it_passes_the_schema_of_compose():
    done = validate(ROOT / "compose.yaml")
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_schema_refuses_what_compose_does_not_know(tmp_path):
    text = (ROOT / "compose.yaml").read_text()
    (tmp_path / "compose.yaml").write_text(text.replace("start_interval:", "start_intervall:"))
    done = validate(tmp_path / "compose.yaml")
    assert done.returncode == 1
    assert "start_intervall" in done.stdout


def test_there_are_the_three_services():
    assert services().keys() == {"triton", "gateway", "postgres"}


def test_only_the_gateway_is_published_and_only_here():
    published = {name: service["ports"] for name, service in services().items() if "ports" in service}
    assert published == {"gateway": ["127.0.0.1:8080:8080"]}
    assert not any("network_mode" in service for service in services().values())


def test_triton_and_the_accounts_have_no_way_out():
    networks = compose()["networks"]
    for name in ("triton", "postgres"):
        assert all(networks[network]["internal"] for network in services()[name]["networks"])
    for other, network in (("triton", "models"), ("postgres", "accounts")):
        assert network in services()[other]["networks"]
        assert network in services()["gateway"]["networks"]


def test_images_are_built_from_targets_that_exist():
    for name in ("triton", "gateway"):
        build = services()[name]["build"]
        assert build["target"] in stages()[1]
        assert (ROOT / build["context"] / build["dockerfile"]).is_file()


def test_no_image_is_without_a_release():
    assert re.fullmatch(r"postgres:\d+", services()["postgres"]["image"])
    assert "latest" not in (ROOT / "compose.yaml").read_text()


def test_the_gateways_variables_are_settings_of_it():
    environment = {
        name: text for name, text in services()["gateway"]["environment"].items() if name.startswith("INSTA_DEPTH")
    }
    settings = read_settings(environment)
    host, _, port = settings.triton_url.partition(":")
    assert host in services()
    assert int(port) == serve_triton.Settings().grpc_port
    url = settings.database_url.get_secret_value()
    assert url == "postgresql://insta_depth@postgres/insta_depth"
    environment = services()["postgres"]["environment"]
    assert {environment["POSTGRES_USER"], environment["POSTGRES_DB"]} == {"insta_depth"}


def test_triton_takes_its_variables():
    environment = services()["triton"]["environment"]
    serve_triton.command(environment)
    assert (
        environment["INSTA_DEPTH_MAX_REQUESTS"]
        == services()["gateway"]["environment"]["INSTA_DEPTH_GATEWAY_MAX_IN_FLIGHT"]
    )


def test_no_password_is_written_down():
    required = "${POSTGRES_PASSWORD:?put it into build/compose.env}"
    assert services()["postgres"]["environment"]["POSTGRES_PASSWORD"] == required
    assert services()["gateway"]["environment"]["PGPASSWORD"] == required
    assert "/build/" in (ROOT / ".gitignore").read_text().splitlines()


def test_psycopg_takes_the_password_from_its_own_variable(monkeypatch):
    import psycopg.conninfo

    monkeypatch.setenv("PGPASSWORD", "s3cret/with:signs@")
    monkeypatch.setattr(psycopg.pq, "__impl__", psycopg.pq.__impl__)
    defaults = {option.keyword: option.val for option in psycopg.pq.Conninfo.get_defaults()}
    assert defaults[b"password"] == b"s3cret/with:signs@"


def test_the_repository_is_mounted_read_only_where_the_server_looks():
    (volume,) = services()["triton"]["volumes"]
    assert volume["read_only"] is True
    assert volume["target"] == serve_triton.Settings().repository
    environment = " ".join(rest for stage in lineage("triton") for rest in stage.all("ENV"))
    assert f"INSTA_DEPTH_TRITON_REPOSITORY={volume['target']}" in environment


def test_triton_gets_one_gpu_and_memory_to_share():
    (device,) = services()["triton"]["deploy"]["resources"]["reservations"]["devices"]
    assert device == {"driver": "nvidia", "count": 1, "capabilities": ["gpu"]}
    gibibytes = re.fullmatch(r"(\d+)gb", services()["triton"]["shm_size"])
    assert gibibytes
    assert int(gibibytes[1]) * 2**30 >= SHARED_MEMORY_BYTES


@pytest.mark.parametrize("name", ["triton", "gateway"])
def test_ours_run_without_rights_and_write_to_memory_only(name):
    service = services()[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "/tmp" in service["tmpfs"]
    assert any(mount.startswith("/home/insta-depth:uid=1000,gid=1000") for mount in service["tmpfs"])


@pytest.mark.parametrize("name", ["triton", "gateway"])
def test_health_checks_run_what_the_image_has(name):
    kind, *command = services()[name]["healthcheck"]["test"]
    assert kind == "CMD"
    check = [rest for stage in lineage(name) for rest in stage.all("HEALTHCHECK")][-1]
    in_image = json.loads(check[check.index("[") :])
    assert command[: len(in_image)] == in_image
    assert (ROOT / "deploy" / "docker" / command[1].rpartition("/")[2]).is_file()


def test_a_server_that_is_killed_by_its_check_is_started_anew():
    triton = services()["triton"]
    assert triton["healthcheck"]["test"][-1] == "--kill"
    assert triton["init"] is True
    assert triton["restart"] == "unless-stopped"


def test_each_is_given_the_time_that_it_takes_to_stop():
    def seconds(text: str) -> int:
        assert re.fullmatch(r"\d+s", text)
        return int(text[:-1])

    assert seconds(services()["triton"]["stop_grace_period"]) > serve_triton.Settings().exit_timeout_s
    assert seconds(services()["gateway"]["stop_grace_period"]) > read_settings({}).stop_timeout_s
