"""The page's layout and its event handlers."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from insta_depth_gateway.page import panels
from insta_depth_gateway.page.actions import generate
from insta_depth_gateway.page.folder import SWEEP_S
from insta_depth_gateway.page.form import scheduler_choices
from insta_depth_gateway.page.parts import AWAY, Inputs, Outputs, lay_out
from insta_depth_gateway.page.snippets import curl_command, python_program

if TYPE_CHECKING:
    from insta_depth_gateway.service import GenerationService

History = list[tuple[str, str]]
"""A visitor's pictures, newest first: file and caption."""

_GALLERY_MAX = 24
_QUIET: dict[str, Any] = dict(show_progress="hidden", api_visibility="private")
_DIRECT: dict[str, Any] = dict(queue=False, **_QUIET)
"""Not through Gradio's queue: its browser side can miss an event that joins while another stream is closing."""


def build_blocks(service: "GenerationService", keep_s: int) -> gr.Blocks:
    """Return the page; its files are deleted ``keep_s`` after they were last used."""
    with gr.Blocks(
        title="Insta Depth", analytics_enabled=False, fill_width=True, delete_cache=(min(SWEEP_S, keep_s), keep_s)
    ) as blocks:
        inputs, outputs = lay_out()
        _connect_generate(service, inputs, outputs)
        _connect_previews_of_the_request(service, blocks, inputs, outputs)
        _connect_offers(service, blocks, inputs)
    # No limit here: the service has its own queue.
    blocks.queue(default_concurrency_limit=None, api_open=False)
    return blocks


def _connect_generate(service: "GenerationService", inputs: Inputs, outputs: Outputs) -> None:
    cancelled: dict[str, asyncio.Event] = {}
    """By session. Not Gradio's ``cancels``: it can meet the picture that is asked for next, or do nothing."""

    async def run(values: dict[Any, Any], request: gr.Request) -> AsyncIterator[dict[Any, Any]]:
        history, session = values[outputs.history], str(request.session_hash)
        is_cancelled = cancelled[session] = asyncio.Event()
        try:
            yield _show(outputs, {"running": True}, history)
            async with aclosing(generate(service, values[inputs.key], inputs.read(values), is_cancelled)) as stream:
                async for shown in stream:
                    yield _show(outputs, shown, history)
        finally:
            if cancelled.get(session) is is_cancelled:
                del cancelled[session]

    async def stop(request: gr.Request) -> None:
        if is_cancelled := cancelled.get(str(request.session_hash)):
            is_cancelled.set()

    running = outputs.generate.click(
        run,
        inputs={inputs.key, outputs.history, *inputs.fields.values()},
        outputs=outputs.all(),
        concurrency_limit=None,
        **_QUIET,
    )
    # The browser ignores a click while it believes that the last one's stream is open, so the button waits for its end.
    running.then(lambda: _buttons(running=False), outputs=[outputs.generate, outputs.cancel], **_DIRECT)
    outputs.cancel.click(stop, **_DIRECT)
    outputs.again.click(lambda seed: seed, inputs=outputs.last_seed, outputs=inputs.fields["seed"], **_DIRECT)


def _connect_previews_of_the_request(
    service: "GenerationService", blocks: gr.Blocks, inputs: Inputs, outputs: Outputs
) -> None:
    def refresh(values: dict[Any, Any], request: gr.Request) -> list[str]:
        form = inputs.read(values)
        steps = form["num_inference_steps"]
        price = service.price(None if steps is None else int(steps))
        origin = _origin(request)
        return [panels.price_line(price), curl_command(origin, form), python_program(origin, form)]

    gr.on(
        [blocks.load, *(field.change for field in inputs.fields.values())],
        refresh,
        inputs=set(inputs.fields.values()),
        outputs=[outputs.price, outputs.curl, outputs.python],
        trigger_mode="always_last",
        **_DIRECT,
    )


def _connect_offers(service: "GenerationService", blocks: gr.Blocks, inputs: Inputs) -> None:
    async def choices() -> gr.Dropdown:
        return gr.Dropdown(scheduler_choices(await service.capabilities()))

    blocks.load(choices, outputs=inputs.fields["scheduler"], **_DIRECT)


def _origin(request: gr.Request) -> str:
    """Return the gateway's address as the visitor's browser sees it."""
    headers = request.headers
    return headers.get("origin") or f"http://{headers.get('host', 'localhost')}"


def _show(outputs: Outputs, shown: dict[str, Any], history: History) -> dict[Any, Any]:
    """Return new values by component, as Gradio expects them.

    Invisible parts are "hidden", not removed: a part that is added again misses the values of that moment.
    """
    changes: dict[Any, Any] = {}
    if "running" in shown:
        changes |= dict(zip((outputs.generate, outputs.cancel), _buttons(shown["running"]), strict=True))
    if "status" in shown:
        changes[outputs.status] = shown["status"]
    if "preview" in shown:
        changes |= _show_stage(outputs, shows_result=False) | {outputs.preview: gr.HTML(shown["preview"], visible=True)}
    elif "restore" in shown and not history:
        changes[outputs.preview] = panels.EMPTY
    elif "restore" in shown:
        changes |= _show_stage(outputs, shows_result=True)
    if "picture" in shown:
        changes |= _show_stage(outputs, shows_result=True) | _show_picture(outputs, shown, history)
    return changes


def _buttons(running: bool) -> tuple[gr.Button, gr.Button]:
    """Return the states of "generate" and "cancel"."""
    return gr.Button(interactive=not running), gr.Button(interactive=running)


def _show_stage(outputs: Outputs, shows_result: bool) -> dict[Any, Any]:
    return {
        outputs.preview: gr.HTML(visible="hidden" if shows_result else True),
        outputs.result: gr.Column(elem_classes=[] if shows_result else [AWAY]),
    }


def _show_picture(outputs: Outputs, shown: dict[str, Any], history: History) -> dict[Any, Any]:
    path, seed = shown["picture"], shown["seed"]
    kept = [each for each in history if Path(each[0]).exists()]
    pictures = [(path, f"seed {seed}"), *kept][:_GALLERY_MAX]
    return {
        outputs.picture: path,
        outputs.facts: shown["facts"],
        outputs.download: path,
        outputs.last_seed: seed,
        outputs.history: pictures,
        outputs.gallery: gr.Gallery(pictures, visible=True),
    }
