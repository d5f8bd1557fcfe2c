"""The page as an ASGI app: Gradio, told to keep to itself."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import gradio as gr
from fastapi import FastAPI
from starlette.types import Message, Receive, Scope, Send

from insta_depth_gateway.page.blocks import build_blocks
from insta_depth_gateway.page.folder import keep_clean, use_private_folder
from insta_depth_gateway.page.route_filter import RouteFilter, is_open
from insta_depth_gateway.page.theme import CSS, THEME
from insta_depth_gateway.page.uploads import UploadLimits

if TYPE_CHECKING:
    from insta_depth_gateway.service import GenerationService

_HEARTBEAT = "/gradio_api/heartbeat/"
"""An open page holds an answer there that would never end by itself."""


class Page:
    """The page's ASGI app. Whoever passes requests to it keeps `lifespan` open meanwhile."""

    def __init__(self, app: FastAPI, stopping: asyncio.Event, uploads: UploadLimits) -> None:
        self._app = app
        self._doors = RouteFilter(app, uploads)
        self._stopping = stopping
        self._keep_s = uploads.keep_s

    @staticmethod
    def has(path: str) -> bool:
        """Whether there is something at ``path``; no path of the API's is among them."""
        return is_open(path)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "http" and scope["path"].startswith(_HEARTBEAT):
            receive = _until(self._stopping, receive)
        await self._doors(scope, receive, send)

    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        """Run Gradio's queue and the deletion of old files, in the event loop that serves the page."""
        async with self._app.router.lifespan_context(self._app):
            cleaning = asyncio.create_task(keep_clean(self._keep_s))
            try:
                yield
            finally:
                cleaning.cancel()
                await asyncio.wait({cleaning})


def _until(stopping: asyncio.Event, receive: Receive) -> Receive:
    """Return a ``receive`` that says that the visitor has gone when ``stopping`` is set."""

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
    """Return the page over ``service``; who sets ``stopping`` lets go of visitors who only look."""
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
        theme=THEME,
        css=CSS,
    )
    return Page(app, stopping, uploads)
