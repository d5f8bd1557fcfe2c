"""The page, used with a real browser over a service that only pretends to generate."""

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests
from insta_depth_gateway.page import UploadLimits
from PIL import Image

pytest.importorskip("gradio", reason="the page's packages are not installed: pip install 'insta-depth-gateway[page]'")

from playwright.sync_api import Browser, expect

from tests.gateway.fake_service import DRAWN_SEED, FakeService
from tests.gateway.page_server import Visitor, running_browser, running_page


@pytest.fixture(scope="module")
def service() -> FakeService:
    return FakeService()


@pytest.fixture(scope="module")
def address(service: FakeService) -> Iterator[str]:
    with running_page(service) as address:
        yield address


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with running_browser() as browser:
        yield browser


@pytest.fixture
def arrive(browser: Browser, address: str) -> Iterator[Callable[..., Visitor]]:
    visitors: list[Visitor] = []

    def arrive(**size: int) -> Visitor:
        visitors.append(Visitor.arrive(browser, address, **size))
        return visitors[-1]

    yield arrive
    for visitor in visitors:
        visitor.context.close()


@pytest.fixture(scope="module")
def screenshots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(os.environ.get("INSTA_DEPTH_SCREENSHOTS") or tmp_path_factory.mktemp("screenshots"))


@pytest.fixture(scope="module")
def face(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A picture that a careless page would turn upright, and encode anew."""
    path, exif = tmp_path_factory.mktemp("face") / "face one.jpg", Image.Exif()
    exif[274] = 6
    Image.effect_mandelbrot((300, 200), (-2, -1, 1, 1), 40).save(path, exif=exif)
    return path


@pytest.fixture(scope="module")
def pose(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pose") / "pose.png"
    Image.radial_gradient("L").convert("P").save(path)
    return path


def wait_until(happened: Callable[[], bool], timeout_s: float = 8) -> bool:
    """Return whether it happened in time."""
    give_up_s = time.monotonic() + timeout_s
    while not happened() and time.monotonic() < give_up_s:
        time.sleep(0.05)
    return happened()


@pytest.mark.parametrize(("name", "width", "height"), [("desktop", 1280, 900), ("phone", 390, 844)])
def test_a_visitor_gets_a_picture(
    arrive: Callable[..., Visitor],
    service: FakeService,
    face: Path,
    pose: Path,
    screenshots: Path,
    name: str,
    width: int,
    height: int,
) -> None:
    visitor = arrive(width=width, height=height)
    page = visitor.page
    page.screenshot(path=screenshots / f"page-{name}-before.png", full_page=True)
    assert visitor.overflow_px() == 0
    visitor.fill(face, pose)
    visitor.generate()
    expect(page.locator("#status")).to_contain_text("of 10")
    expect(page.locator("#preview img")).to_be_visible()
    expect(page.locator("#cancel")).to_be_enabled()
    visitor.wait_for_status("Done in")
    expect(page.locator("#picture img")).to_be_visible()
    for text in (str(DRAWN_SEED), "1.5 credits", "8.5 credits", "1.2 s"):
        expect(page.locator("#facts")).to_contain_text(text)
    page.get_by_text("The same request from a program").click()
    expect(page.locator("#curl")).to_contain_text("curl")
    page.screenshot(path=screenshots / f"page-{name}.png", full_page=True)
    assert visitor.overflow_px() == 0
    with page.expect_download() as download:
        page.click("#download")
    assert download.value.suggested_filename == f"insta-depth-{DRAWN_SEED}.jpg"
    assert Path(download.value.path()).read_bytes() == service.pictures[-1]
    assert service.outcomes[-1] == "spent"


def test_the_chosen_files_reach_the_service_as_they_are(
    arrive: Callable[..., Visitor], service: FakeService, face: Path, tmp_path: Path
) -> None:
    text = tmp_path / "no picture.png"
    text.write_text("the server says what is wrong with this")
    visitor = arrive()
    visitor.page.set_input_files("#pose_image input[type=file]", text)
    visitor.page.set_input_files("#face_image input[type=file]", face)
    expect(visitor.page.locator("#face_image img")).to_be_visible()
    visitor.page.fill("#key input", "good")
    visitor.page.fill("#prompt textarea", "originals")
    visitor.generate()
    visitor.wait_for_status("Done in")
    assert service.attributes[-1]["face_image"] == face.read_bytes()
    assert service.attributes[-1]["pose_image"] == text.read_bytes()
    assert service.attributes[-1]["preview"] is True


def test_all_that_the_page_needs_comes_from_its_own_host(
    arrive: Callable[..., Visitor], address: str, face: Path, pose: Path
) -> None:
    visitor = arrive()
    visitor.fill(face, pose)
    visitor.generate()
    visitor.wait_for_status("Done in")
    elsewhere = [url for url in visitor.requests if not url.startswith((address + "/", "data:", "blob:"))]
    assert elsewhere == []


ERRORS = [
    ("wrong", "a knight", "API key: the key is unknown or was revoked"),
    ("", "a knight", "API key: type or paste your key"),
    ("poor", "a knight", "The request costs 1.5 credits, the key has 0.2"),
    ("good", "no face", "Face picture: no face was found"),
    ("good", "  ", "Prompt: say what to render"),
    ("good", "broken", "The server had a problem"),
]


def test_an_error_is_readable_and_loses_nothing(arrive: Callable[..., Visitor], face: Path, pose: Path) -> None:
    visitor = arrive()
    visitor.fill(face, pose)
    for key, prompt, message in ERRORS:
        visitor.page.fill("#key input", key)
        visitor.page.fill("#prompt textarea", prompt)
        visitor.generate()
        expect(visitor.page.get_by_role("alert").filter(has_text=message)).to_be_visible()
        expect(visitor.page.locator("#prompt textarea")).to_have_value(prompt)
        expect(visitor.page.locator("#generate")).to_be_enabled()
    expect(visitor.page.locator("#face_image img")).to_be_visible()


def test_a_missing_picture_is_named(arrive: Callable[..., Visitor]) -> None:
    visitor = arrive()
    visitor.page.fill("#key input", "good")
    visitor.generate()
    visitor.wait_for_status("Face picture: choose a file")


def test_cancel_stops_the_work_and_the_next_picture_is_made(
    arrive: Callable[..., Visitor], service: FakeService, face: Path, pose: Path
) -> None:
    visitor = arrive()
    visitor.fill(face, pose, "stuck")
    visitor.page.locator("#num_inference_steps input[type=number]").fill("100")
    visitor.generate()
    visitor.wait_for_status("Waiting for a turn")
    visitor.page.click("#cancel")
    visitor.wait_for_status("Cancelled.")
    assert wait_until(lambda: service.outcomes[-1] == "cancelled")
    for _ in range(3):  # at once: the button's own state is what keeps a visitor from being ignored
        visitor.page.fill("#prompt textarea", "a knight")
        visitor.generate()
        visitor.wait_for_status("Step")
        visitor.page.click("#cancel")
        visitor.wait_for_status("Cancelled.")
    visitor.page.locator("#num_inference_steps input[type=number]").fill("10")
    visitor.generate()
    visitor.wait_for_status("Done in")


@pytest.mark.parametrize(("prompt", "status"), [("stuck", "Waiting for a turn"), ("a knight", "Step")])
def test_closing_the_tab_cancels_the_work(
    arrive: Callable[..., Visitor], service: FakeService, face: Path, pose: Path, prompt: str, status: str
) -> None:
    visitor = arrive()
    visitor.fill(face, pose, prompt)
    visitor.page.locator("#num_inference_steps input[type=number]").fill("100")
    visitor.generate()
    visitor.wait_for_status(status)
    count = len(service.outcomes)
    visitor.page.close()
    assert wait_until(lambda: len(service.outcomes) > count)
    assert service.outcomes[-1] == "cancelled"


def test_a_large_seed_survives_and_is_used_again(
    arrive: Callable[..., Visitor], service: FakeService, face: Path, pose: Path
) -> None:
    visitor = arrive()
    visitor.fill(face, pose)
    visitor.page.fill("#seed input", "999999999999999")
    visitor.generate()
    visitor.wait_for_status("Done in")
    assert service.attributes[-1]["seed"] == 999_999_999_999_999
    visitor.page.fill("#seed input", "-1")
    visitor.page.click("#again")
    expect(visitor.page.locator("#seed input")).to_have_value("999999999999999")


def test_the_price_and_the_programs_follow_the_form(
    arrive: Callable[..., Visitor], face: Path, pose: Path, address: str
) -> None:
    visitor = arrive()
    visitor.fill(face, pose, "it's a knight")
    visitor.page.locator("#num_inference_steps input[type=number]").fill("25")
    expect(visitor.page.locator("#price")).to_contain_text("3 credits")
    visitor.page.get_by_text("The same request from a program").click()
    curl = visitor.page.locator("#curl")
    for text in (address, "num_inference_steps=25", "face one.jpg", "$INSTA_DEPTH_KEY"):
        expect(curl).to_contain_text(text)
    expect(curl).not_to_contain_text("good")
    visitor.page.get_by_role("tab", name="Python").click()
    expect(visitor.page.locator("#python")).to_contain_text("'num_inference_steps': 25")


def test_visitors_see_their_own_pictures_only(arrive: Callable[..., Visitor], face: Path, pose: Path) -> None:
    first, second = arrive(), arrive()
    for visitor, count in ((first, 1), (second, 1), (first, 2)):
        visitor.fill(face, pose)
        visitor.generate()
        expect(visitor.page.locator("#gallery img")).to_have_count(count, timeout=10_000)
        expect(visitor.page.locator("#generate")).to_be_enabled()
    expect(second.page.locator("#gallery img")).to_have_count(1)


REMOTE = {"path": "https://example.com/face.jpg", "meta": {"_type": "gradio.FileData"}}


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/gradio_api/file=/etc/passwd", None, 403),
        ("GET", f"/gradio_api/file={__file__}", None, 403),
        ("GET", "/gradio_api/file=pyproject.toml", None, 403),
        ("GET", "/gradio_api/file=https://example.com/", None, 404),
        ("GET", "/gradio_api/proxy=https://example.com/", None, 404),
        ("GET", "/gradio_api/deep_link?session_hash=x", None, 404),
        ("GET", "/monitoring", None, 404),
        ("POST", "/gradio_api/queue/join", {"data": [REMOTE], "fn_index": 0, "session_hash": "x"}, 400),
        ("POST", "/gradio_api/run/predict", {"data": [], "fn_index": 0, "session_hash": "x"}, 404),
        ("POST", "/gradio_api/run/predict", {"data": ["x" * 2**20]}, 413),
    ],
)
def test_gradios_other_doors_are_closed(
    address: str, method: str, path: str, body: dict[str, object] | None, status: int
) -> None:
    assert requests.request(method, address + path, json=body, timeout=10).status_code == status


def test_uploads_are_limited_and_deleted_after_a_while() -> None:
    with running_page(FakeService(), UploadLimits(picture_bytes=1000, keep_s=1)) as address:
        upload = f"{address}/gradio_api/upload"
        for size in (1001, 2**20):
            assert requests.post(upload, files={"files": ("a.jpg", b"x" * size)}, timeout=10).status_code == 413
        stored = requests.post(upload, files={"files": ("a.jpg", b"x" * 1000)}, timeout=10).json()[0]
        assert Path(stored).exists()
        assert wait_until(lambda: not Path(stored).exists())


def test_the_servers_schedulers_are_the_choice(
    arrive: Callable[..., Visitor], service: FakeService, face: Path, pose: Path
) -> None:
    visitor = arrive()
    visitor.page.get_by_role("button", name="Advanced").click()
    choice = visitor.page.locator("#scheduler input")
    expect(choice).to_have_value("the checkpoint's own (lcm)")
    visitor.fill(face, pose)
    for label, sent in (("euler", "euler"), ("the checkpoint's own (lcm)", None)):
        choice.click()
        visitor.page.get_by_role("option", name=label, exact=True).click()
        count = len(service.pictures)
        visitor.generate()
        assert wait_until(lambda count=count: len(service.pictures) > count, timeout_s=20)
        assert service.attributes[-1].get("scheduler") == sent
