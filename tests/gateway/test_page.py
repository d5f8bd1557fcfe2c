"""The page, used with a real browser over a service that only pretends to generate."""

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests
from axe_playwright_python.sync_playwright import Axe
from insta_depth_gateway.body import GenerationBody
from PIL import Image
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
        assert visitor.complaints == []


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
    visitor.wait_for_status("of 10")
    expect(page.locator("#stage .preview")).to_be_visible()
    expect(page.locator("#cancel")).to_be_enabled()
    visitor.wait_for_status("Done in")
    expect(page.locator("#picture")).to_be_visible()
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
    assert wait_until(lambda: service.outcomes[-1] == "spent")


def test_the_chosen_files_reach_the_service_as_they_are(
    arrive: Callable[..., Visitor], service: FakeService, face: Path, tmp_path: Path
) -> None:
    text = tmp_path / "no picture.png"
    text.write_text("the server says what is wrong with this")
    visitor = arrive()
    visitor.page.set_input_files("#pose_image input", text)
    visitor.page.set_input_files("#face_image input", face)
    visitor.page.get_by_label("API key").fill("good")
    visitor.page.get_by_label("Prompt", exact=True).fill("originals")
    visitor.generate()
    visitor.wait_for_status("Done in")
    assert service.attributes[-1]["face_image"] == face.read_bytes()
    assert service.attributes[-1]["pose_image"] == text.read_bytes()
    assert service.attributes[-1]["preview"] is True


def test_several_faces_are_sent_in_order_and_one_is_taken_away(
    arrive: Callable[..., Visitor], service: FakeService, face: Path, pose: Path, tmp_path: Path
) -> None:
    others = [tmp_path / f"{colour}.png" for colour in ("red", "green")]
    for path in others:
        Image.new("RGB", (50, 60), path.stem).save(path)
    visitor = arrive()
    visitor.fill([face, *others], pose)
    visitor.page.get_by_label("Remove red.png").click()
    expect(visitor.page.locator("#face_image img")).to_have_count(2)
    visitor.generate()
    visitor.wait_for_status("Done in")
    assert service.attributes[-1]["face_image"] == [face.read_bytes(), others[1].read_bytes()]


DROP = """async ([selector, kind]) => {
    const canvas = Object.assign(document.createElement("canvas"), { width: 8, height: 8 });
    const blob = await new Promise((made) => canvas.toBlob(made));
    const carried = new DataTransfer();
    carried.items.add(new File([blob], "carried.png", { type: "image/png" }));
    const event = kind === "drop"
        ? new DragEvent("drop", { dataTransfer: carried, bubbles: true, cancelable: true })
        : new ClipboardEvent("paste", { clipboardData: carried, bubbles: true, cancelable: true });
    document.querySelector(selector).dispatchEvent(event);
}"""


@pytest.mark.parametrize("kind", ["drop", "paste"])
def test_pictures_may_be_dropped_and_pasted(arrive: Callable[..., Visitor], kind: str) -> None:
    visitor = arrive()
    visitor.page.focus("#pose_image input")
    for _ in range(2):
        visitor.page.evaluate(DROP, ["#pose_image", kind])
    expect(visitor.page.locator("#pose_image img")).to_have_count(1)  # the newest
    visitor.page.focus("#prompt")
    for _ in range(9):
        visitor.page.evaluate(DROP, ["#face_image" if kind == "drop" else "body", kind])
    expect(visitor.page.locator("#face_image img")).to_have_count(8)
    expect(visitor.page.locator("#face_fault")).to_contain_text("8 pictures are the most")


def test_all_that_the_page_needs_comes_from_its_own_host_and_the_key_is_in_no_address(
    arrive: Callable[..., Visitor], address: str, face: Path, pose: Path
) -> None:
    visitor = arrive()
    visitor.fill(face, pose)
    visitor.generate()
    visitor.wait_for_status("Done in")
    elsewhere = [url for url in visitor.requests if not url.startswith((address + "/", "blob:"))]
    assert elsewhere == []
    assert not [url for url in visitor.requests if "good" in url]


def test_nothing_else_may_run_or_be_loaded(address: str) -> None:
    answer = requests.get(address + "/", timeout=10)
    policy = dict(part.split(" ", 1) for part in answer.headers["content-security-policy"].split("; "))
    assert policy["default-src"] == policy["form-action"] == policy["frame-ancestors"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert requests.post(address + "/", timeout=10).status_code == 404
    assert requests.head(address + "/page.js", timeout=10).headers["content-type"].startswith("text/javascript")


ERRORS = [
    ("wrong", "a knight", "API key: the key is unknown or was revoked"),
    ("", "a knight", "API key: type or paste your key"),
    ("poor", "a knight", "The request costs 1.5 credits, the key has 0.2"),
    ("good", "  ", "Prompt: say what to render"),
    ("good", "broken", "The request could not be processed"),
    ("good", "no face", "Face picture 2: no face was found"),
]


def test_an_error_is_readable_and_loses_nothing(arrive: Callable[..., Visitor], face: Path, pose: Path) -> None:
    visitor = arrive()
    visitor.fill([face, face], pose)
    for key, prompt, message in ERRORS:
        visitor.page.get_by_label("API key").fill(key)
        visitor.page.get_by_label("Prompt", exact=True).fill(prompt)
        visitor.generate()
        visitor.wait_for_fault(message)
        expect(visitor.page.get_by_label("Prompt", exact=True)).to_have_value(prompt)
        expect(visitor.page.locator("#generate")).to_be_enabled()
    expect(visitor.page.locator("#face_image img")).to_have_count(2)
    expect(visitor.page.locator("#face_image li").nth(1)).to_have_class("bad")
    expect(visitor.page.locator("#face_image li").nth(0)).not_to_have_class("bad")
    expect(visitor.page.locator("#face_fault")).to_contain_text("no face was found")


def test_a_missing_picture_is_named(arrive: Callable[..., Visitor]) -> None:
    visitor = arrive()
    visitor.page.get_by_label("API key").fill("good")
    visitor.generate()
    visitor.wait_for_fault("Face picture: choose a file")


def test_a_visitor_who_waits_is_told_their_place(arrive: Callable[..., Visitor], face: Path, pose: Path) -> None:
    visitor = arrive()
    visitor.fill(face, pose, "queued")
    visitor.generate()
    visitor.wait_for_status("2 ahead of you")
    visitor.wait_for_status("Done in")


def test_the_credits_of_a_key_are_told(arrive: Callable[..., Visitor]) -> None:
    visitor = arrive()
    visitor.page.get_by_label("API key").fill("good")
    expect(visitor.page.locator("#credits")).to_contain_text("10 credits left")
    visitor.page.get_by_label("API key").fill("wrong")
    expect(visitor.page.locator("#credits")).to_contain_text("not known")


def test_cancel_stops_the_work_and_the_next_picture_is_made(
    arrive: Callable[..., Visitor], service: FakeService, face: Path, pose: Path
) -> None:
    visitor = arrive()
    visitor.fill(face, pose, "stuck")
    visitor.page.get_by_label("Steps", exact=True).fill("100")
    visitor.generate()
    visitor.wait_for_status("Waiting for a turn")
    visitor.page.click("#cancel")
    visitor.wait_for_status("Cancelled.")
    assert wait_until(lambda: service.outcomes[-1] == "cancelled")
    for _ in range(3):  # at once: the button's own state is what keeps a visitor from being ignored
        visitor.page.get_by_label("Prompt", exact=True).fill("a knight")
        visitor.generate()
        visitor.wait_for_status("Step")
        visitor.page.click("#cancel")
        visitor.wait_for_status("Cancelled.")
    visitor.page.get_by_label("Steps", exact=True).fill("10")
    visitor.generate()
    visitor.wait_for_status("Done in")


@pytest.mark.parametrize(("prompt", "status"), [("stuck", "Waiting for a turn"), ("a knight", "Step")])
def test_closing_the_tab_cancels_the_work(
    arrive: Callable[..., Visitor], service: FakeService, face: Path, pose: Path, prompt: str, status: str
) -> None:
    visitor = arrive()
    visitor.fill(face, pose, prompt)
    visitor.page.get_by_label("Steps", exact=True).fill("100")
    count = len(service.outcomes)
    asked = len(service.attributes)
    visitor.generate()
    visitor.wait_for_status(status)
    assert wait_until(lambda: len(service.attributes) > asked)
    visitor.page.close()
    assert wait_until(lambda: len(service.outcomes) > count)
    assert service.outcomes[-1] == "cancelled"


def test_a_large_seed_survives_and_is_used_again(
    arrive: Callable[..., Visitor], service: FakeService, face: Path, pose: Path
) -> None:
    visitor = arrive()
    visitor.fill(face, pose)
    visitor.page.get_by_label("Seed", exact=True).fill("999999999999999")
    visitor.generate()
    visitor.wait_for_status("Done in")
    assert service.attributes[-1]["seed"] == 999_999_999_999_999
    visitor.page.get_by_label("Seed", exact=True).fill("-1")
    visitor.page.click("#again")
    expect(visitor.page.get_by_label("Seed", exact=True)).to_have_value("999999999999999")


def test_the_price_and_the_programs_follow_the_form(
    arrive: Callable[..., Visitor], face: Path, pose: Path, address: str
) -> None:
    visitor = arrive()
    visitor.fill([face, pose], pose, "it's a knight")
    visitor.page.get_by_label("Steps", exact=True).fill("25")
    expect(visitor.page.locator("#price")).to_contain_text("3 credits")
    visitor.page.get_by_text("The same request from a program").click()
    curl, python = visitor.page.locator("#curl"), visitor.page.locator("#python")
    for text in (
        address,
        "num_inference_steps=25",
        'face_image=@"face one.jpg"',
        "face_image=@pose.png",
        "$INSTA_DEPTH_KEY",
    ):
        expect(curl).to_contain_text(text)
    expect(curl).not_to_contain_text("good")
    expect(python).to_contain_text("'num_inference_steps': 25")
    expect(python).to_contain_text("'face_image': [file_to_base64('face one.jpg'), file_to_base64('pose.png')]")
    compile(str(python.text_content()), "the page's program", "exec")


def test_pictures_of_the_session_stay_and_are_the_visitors_own(
    arrive: Callable[..., Visitor], face: Path, pose: Path
) -> None:
    first, second = arrive(), arrive()
    for visitor, count in ((first, 1), (second, 1), (first, 2)):
        visitor.fill(face, pose)
        visitor.page.get_by_label("Seed", exact=True).fill(str(count))
        visitor.generate()
        expect(visitor.page.locator("#gallery img")).to_have_count(count)
        expect(visitor.page.locator("#generate")).to_be_enabled()
    expect(second.page.locator("#gallery img")).to_have_count(1)
    first.page.get_by_role("button", name="Picture 1, seed 1").click()
    expect(first.page.locator("#facts")).to_contain_text("Seed1")


def test_every_attribute_has_a_field_with_its_default_and_what_is_changed_is_sent(
    arrive: Callable[..., Visitor], service: FakeService, face: Path, pose: Path
) -> None:
    visitor = arrive()
    visitor.page.get_by_text("Advanced").click()
    elsewhere = {"base64", "preview"}
    for name in GenerationBody.model_fields.keys() - elsewhere:
        expect(visitor.page.locator(f"#{name}")).to_have_count(1)
    expect(visitor.page.locator("#depth_scale")).to_have_value("0.5")
    visitor.fill(face, pose)
    visitor.generate()
    visitor.wait_for_status("Done in")
    documented = {"face_image", "pose_image", "prompt", "num_inference_steps", "guidance_scale", "seed", "preview"}
    assert service.attributes[-1].keys() == documented
    visitor.page.locator("#depth_scale").fill("0.75")
    visitor.page.locator("#enhance_face_region").uncheck()
    visitor.page.locator("#pose_without_face").select_option("depth_only")
    visitor.page.locator("#guidance_end").fill("0.5")
    visitor.page.locator("#refine_face").check()
    count = len(service.pictures)
    visitor.generate()
    assert wait_until(lambda: len(service.pictures) > count, timeout_s=20)
    sent = {name: value for name, value in service.attributes[-1].items() if name not in documented}
    assert sent == {
        "depth_scale": 0.75,
        "enhance_face_region": False,
        "pose_without_face": "depth_only",
        "guidance_end": 0.5,
        "refine_face": "auto",
    }


def test_the_servers_schedulers_are_the_choice(
    arrive: Callable[..., Visitor], service: FakeService, face: Path, pose: Path
) -> None:
    visitor = arrive()
    visitor.page.get_by_text("Advanced").click()
    choice = visitor.page.get_by_label("Scheduler")
    expect(choice.locator("option:checked")).to_have_text("the server's own (lcm)")
    visitor.fill(face, pose)
    for label, sent in (("euler", "euler"), ("the server's own (lcm)", None)):
        choice.select_option(label=label)
        count = len(service.pictures)
        visitor.generate()
        assert wait_until(lambda count=count: len(service.pictures) > count, timeout_s=20)
        assert service.attributes[-1].get("scheduler") == sent
        expect(visitor.page.locator("#generate")).to_be_enabled()


def test_a_keyboard_is_enough(arrive: Callable[..., Visitor], service: FakeService, face: Path, pose: Path) -> None:
    visitor = arrive()
    keys = visitor.page.keyboard
    # Chromium takes keys and the wish to see choosers in different processes: the wish has to be there long before.
    visitor.page.on("filechooser", lambda _: None)
    tab_to(visitor, "#key")
    keys.type("good")
    for zone, file in (("#face_image", face), ("#pose_image", pose)):
        tab_to(visitor, f"{zone} input")
        with visitor.page.expect_file_chooser() as chooser:
            keys.press("Space")
        chooser.value.set_files(file)
        expect(visitor.page.locator(f"{zone} img")).to_be_visible()
    tab_to(visitor, "#prompt")
    keys.type("a knight")
    tab_to(visitor, "#generate")
    keys.press("Enter")
    visitor.wait_for_status("Done in")


def tab_to(visitor: Visitor, selector: str) -> None:
    for _ in range(15):
        visitor.page.keyboard.press("Tab")
        if visitor.page.evaluate("selector => document.activeElement.matches(selector)", selector):
            return
    pytest.fail(f"{selector} is not reached by tabs")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_axe_finds_nothing(arrive: Callable[..., Visitor], face: Path, pose: Path, scheme: str, width: int) -> None:
    visitor = arrive(width=width)
    visitor.page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    visitor.page.get_by_text("Advanced").click()
    visitor.page.get_by_text("The same request from a program").click()
    visitor.fill(face, pose, "no face")
    visitor.generate()
    visitor.wait_for_fault("no face was found")
    assert found(visitor) == []
    visitor.page.get_by_label("Prompt", exact=True).fill("a knight")
    visitor.generate()
    visitor.wait_for_status("Done in")
    assert found(visitor) == []


def found(visitor: Visitor) -> list[str]:
    """What axe-core complains of; it runs past the page's policy, as an extension of the browser would."""
    response = Axe().run(visitor.page).response
    return [f"{each['id']} ({each['impact']}): {each['nodes'][0]['html']}" for each in response["violations"]]
