"""The page as an ASGI app: Gradio without its calls to other sites."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import gradio as gr
from fastapi import FastAPI
from starlette.types import Message, Receive, Scope, Send

from insta_depth_gateway.page.blocks import build_blocks
from insta_depth_gateway.page.folder import keep_clean, use_private_folder
from insta_depth_gateway.page.route_filter import RouteFilter, is_open
from insta_depth_gateway.page.uploads import UploadLimits

if TYPE_CHECKING:
    from insta_depth_gateway.service import GenerationService

_HEARTBEAT = "/gradio_api/heartbeat/"
"""An open page holds a response there that never ends by itself."""
_THEME = gr.themes.Base(
    primary_hue="indigo",
    neutral_hue="slate",
    radius_size="md",
    text_size="md",
    font=["system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"],
    font_mono=["ui-monospace", "Menlo", "Consolas", "monospace"],
).set(body_text_color_subdued="*neutral_500", block_info_text_color="*neutral_500")
_CSS = Path(__file__).with_name("page.css").read_text(encoding="utf-8")


class Page:
    """The page's ASGI app. Its `lifespan` must be open while it gets requests."""

    def __init__(self, app: FastAPI, stopping: asyncio.Event, uploads: UploadLimits) -> None:
        self._app = app
        self._filtered = RouteFilter(app, uploads)
        self._stopping = stopping
        self._keep_s = uploads.keep_s

    @staticmethod
    def has(path: str) -> bool:
        """Whether ``path`` belongs to the page; no path of the API does."""
        return is_open(path)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "http" and scope["path"].startswith(_HEARTBEAT):
            receive = _until(self._stopping, receive)
        await self._filtered(scope, receive, send)

    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        """Run Gradio's queue and delete old files, in the event loop that serves the page."""
        async with self._app.router.lifespan_context(self._app):
            cleaning = asyncio.create_task(keep_clean(self._keep_s))
            try:
                yield
            finally:
                cleaning.cancel()
                await asyncio.wait({cleaning})


def _until(stopping: asyncio.Event, receive: Receive) -> Receive:
    """Return a ``receive`` that reports a disconnect when ``stopping`` is set."""

    async def receive_or_leave() -> Message:
        coming, leaving = asyncio.ensure_future(receive()), asyncio.create_task(stopping.wait())
        try:
            await asyncio.wait({coming, leaving}, return_when=asyncio.FIRST_COMPLETED)
            return coming.result() if coming.done() else {"type": "http.disconnect"}
        finally:
            coming.cancel()
            leaving.cancel()

    return receive_or_leave


def page_app(service: "GenerationService", stopping: asyncio.Event, uploads: UploadLimits) -> Page:
    """Return the page over ``service``; setting ``stopping`` disconnects idle visitors."""
    use_private_folder()
    blocks = build_blocks(service, uploads.keep_s)
    app = gr.mount_gradio_app(
        FastAPI(docs_url=None, redoc_url=None, openapi_url=None),
        blocks,
        path="/",
        max_file_size=uploads.picture_bytes,
        footer_links=[],
        run_history=False,
        show_error=False,
        ssr_mode=False,
        enable_monitoring=False,
        pwa=False,
        mcp_server=False,
        theme=_THEME,
        css=_CSS,
    )
    return Page(app, stopping, uploads)
