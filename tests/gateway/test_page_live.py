"""The page in a real browser, before a real gateway and real Triton: what it shows is paid for, what is left is not."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from playwright.sync_api import Browser, Page, expect, sync_playwright

from deploy.local.server import LocalTriton
from tests.gateway.live import LiveGateway, account_of, make_key
from tests.watching import metric, wait_until

CHROMIUM = shutil.which("chromium")
FLAGS = ("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync")
PATIENT_MS = 60_000

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed: apt-get install chromium")


@pytest.fixture(scope="module")
def gateway(server: LocalTriton, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveGateway]:
    """A gateway with its page."""
    folder = tmp_path_factory.mktemp("page")
    with LiveGateway(server.grpc_url, f"sqlite:///{folder / 'a.db'}", folder / "log", {"PAGE": "1"}) as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield opened
        opened.close()


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    return request.node.name


@pytest.fixture
def form(browser: Browser, gateway: LiveGateway, miniature_checkpoint: Path, name: str) -> Iterator[Page]:
    """The page with everything filled in that is needed, and a key of 100 credits."""
    pictures = miniature_checkpoint / "pictures"
    with browser.new_context(viewport={"width": 390, "height": 844}) as context:
        page = context.new_page()
        page.set_default_timeout(PATIENT_MS)
        page.goto(gateway.url)
        page.get_by_label("API key").fill(make_key(gateway.database_url, name, 100))
        page.locator("#face_image input").set_input_files(pictures / "face.png")
        page.locator("#pose_image input").set_input_files(pictures / "pose.png")
        page.get_by_label("Prompt", exact=True).fill("Photo of a woman wearing a Superman costume")
        yield page


def test_a_picture_is_shown_and_paid_for(form, gateway, name):
    form.get_by_role("button", name="Generate").click()
    expect(form.locator("#facts")).to_contain_text("98 credits", timeout=PATIENT_MS)
    wait_until(lambda: account_of(gateway.database_url, name).spent == 2, timeout_s=30)
    with form.expect_download() as download:
        form.get_by_text("Download", exact=True).click()
    assert Path(download.value.path()).read_bytes().startswith(b"\xff\xd8")


def test_a_wrong_key_is_said_and_the_form_stays(form):
    form.get_by_label("API key").fill("idk_wrong")
    form.get_by_role("button", name="Generate").click()
    expect(form.get_by_text("API key: the key is unknown or was revoked")).to_be_visible(timeout=PATIENT_MS)
    assert "Superman" in form.get_by_label("Prompt", exact=True).input_value()


@pytest.mark.parametrize("how", ["cancelled", "tab closed"])
def test_work_that_is_left_ends_and_costs_nothing(form, gateway, server, name, how):
    form.get_by_label("Steps", exact=True).fill("100")
    form.get_by_role("button", name="Generate").click()
    expect(form.get_by_text("of 100")).to_be_visible(timeout=PATIENT_MS)
    assert account_of(gateway.database_url, name).held == 11
    form.close() if how == "tab closed" else form.get_by_role("button", name="Cancel").click()
    wait_until(lambda: metric(server.metrics_url, "insta_depth_requests_in_flight") == 0, timeout_s=30)
    wait_until(lambda: account_of(gateway.database_url, name).held == 0, timeout_s=30)
    assert account_of(gateway.database_url, name).balance == 100


def test_a_stop_does_not_wait_for_an_open_page(server, tmp_path, browser):
    url = f"sqlite:///{tmp_path / 'a.db'}"
    with LiveGateway(server.grpc_url, url, tmp_path / "log", {"PAGE": "1"}) as gateway, browser.new_page() as page:
        page.goto(gateway.url)
        wait_until(lambda: page.get_by_label("API key").is_visible(), timeout_s=30)
        assert gateway.stop(timeout_s=15) == 0


def test_beside_the_page_the_api_is_as_without_it(gateway, name):
    headers = {"x-api-key": make_key(gateway.database_url, name, 100)}
    missing = requests.get(f"{gateway.url}/nope", headers=headers)
    assert (missing.status_code, missing.json()["code"]) == (404, "NOT_FOUND")
    assert missing.headers["x-remaining-credits"] == "100"
    assert requests.get(f"{gateway.url}/v1/insta-depth", headers=headers).status_code == 405
    assert requests.get(f"{gateway.url}/readyz").json() == {"status": "ready"}
