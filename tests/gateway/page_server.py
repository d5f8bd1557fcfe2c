"""The page on a port of its own, over the fake service, and a visitor's browser that uses it."""

import asyncio
import shutil
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import uvicorn
from insta_depth_gateway.app import app_over
from insta_depth_gateway.observability import Metrics
from insta_depth_gateway.settings import Settings
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from tests.gateway.fake_service import FakeService

_FLAGS = "--no-sandbox --disable-gpu --no-first-run --disable-background-networking --disable-component-update"


@contextmanager
def running_page(service: FakeService) -> Iterator[str]:
    """Yield the address of the gateway while a thread serves it."""
    app = app_over(service, Settings(), Metrics())
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, lifespan="off", log_level="warning", timeout_graceful_shutdown=5))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve([listening])))
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
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
    """Someone at the page; ``complaints`` are the browser's own: scripts that fail, what the policy forbids."""

    context: BrowserContext
    page: Page
    requests: list[str]
    complaints: list[str]

    @classmethod
    def arrive(cls, browser: Browser, address: str, width: int = 1280, height: int = 900) -> "Visitor":
        context = browser.new_context(viewport={"width": width, "height": height})
        context.set_default_timeout(10_000)
        page, requests, complaints = context.new_page(), list[str](), list[str]()
        context.on("request", lambda request: requests.append(request.url))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda message: complaints.append(message.text) if _is_complaint(message.text) else None)
        page.goto(address)
        expect(page.locator("#price")).to_contain_text("1.5 credits")
        return cls(context, page, requests, complaints)

    def fill(self, faces: Path | Sequence[Path], pose: Path, prompt: str = "a knight", key: str = "good") -> None:
        self.page.get_by_label("API key").fill(key)
        for name, files in (("face_image", faces), ("pose_image", pose)):
            self.page.set_input_files(f"#{name} input", files)
            expect(self.page.locator(f"#{name} img").first).to_be_visible()
        self.page.get_by_label("Prompt", exact=True).fill(prompt)

    def generate(self) -> None:
        self.page.click("#generate")

    def wait_for_status(self, text: str) -> None:
        expect(self.page.locator("#status")).to_contain_text(text, timeout=10_000)

    def wait_for_fault(self, text: str) -> None:
        expect(self.page.get_by_role("alert")).to_contain_text(text, timeout=10_000)

    def overflow_px(self) -> int:
        """Return how much of the page is beside the screen."""
        return self.page.evaluate("document.documentElement.scrollWidth - window.innerWidth")


def _is_complaint(text: str) -> bool:
    return "Content Security Policy" in text or "Uncaught" in text
