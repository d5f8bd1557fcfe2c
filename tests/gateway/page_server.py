"""The page on a port of its own, over the fake service, and a visitor's browser that uses it."""

import asyncio
import shutil
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import uvicorn
from insta_depth_gateway.page import UploadLimits, page_app
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from tests.gateway.fake_service import FakeService

_FLAGS = "--no-sandbox --disable-gpu --no-first-run --disable-background-networking --disable-component-update"


@contextmanager
def running_page(service: FakeService, uploads: UploadLimits | None = None) -> Iterator[str]:
    """Yield the address of the page while it is served by a thread."""
    stopping = asyncio.Event()
    page = page_app(service, stopping, uploads or UploadLimits())  # type: ignore[arg-type]
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(page, lifespan="off", log_level="warning", timeout_graceful_shutdown=5))

    async def serve() -> None:
        async with page.lifespan():
            await server.serve([listening])

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        stopping.set()
        server.should_exit = True
        thread.join(20)
    assert not thread.is_alive()


@contextmanager
def running_browser() -> Iterator[Browser]:
    """Yield a headless Chromium; skips where there is none."""
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("Chromium is not installed: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=[*_FLAGS.split(), "--disable-sync"])
        yield browser
        browser.close()


@dataclass
class Visitor:
    """Someone at the page."""

    context: BrowserContext
    page: Page
    requests: list[str]

    @classmethod
    def arrive(cls, browser: Browser, address: str, width: int = 1280, height: int = 900) -> "Visitor":
        context = browser.new_context(viewport={"width": width, "height": height})
        context.set_default_timeout(10_000)
        page, requests = context.new_page(), list[str]()
        context.on("request", lambda request: requests.append(request.url))
        page.goto(address)
        expect(page.locator(".price")).to_contain_text("credits")
        return cls(context, page, requests)

    def fill(self, face: Path, pose: Path, prompt: str = "a knight", key: str = "good") -> None:
        self.page.fill("#key input", key)
        for name, path in (("face_image", face), ("pose_image", pose)):
            self.page.set_input_files(f"#{name} input[type=file]", path)
            expect(self.page.locator(f"#{name} img")).to_be_visible()
        self.page.fill("#prompt textarea", prompt)

    def generate(self) -> None:
        self.page.click("#generate")

    def wait_for_status(self, text: str) -> None:
        expect(self.page.locator("#status")).to_contain_text(text, timeout=10_000)

    def overflow_px(self) -> int:
        """Return how much of the page is beside the screen."""
        return self.page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
