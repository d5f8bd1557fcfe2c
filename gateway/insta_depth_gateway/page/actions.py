"""The buttons' actions: from the form's values to the page's next state."""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from gradio.processing_utils import save_bytes_to_cache
from gradio.utils import get_upload_folder
from insta_depth import InstaDepthError, Progress

from insta_depth_gateway.answers import body_of
from insta_depth_gateway.errors import BadRequest, GatewayError
from insta_depth_gateway.page import panels
from insta_depth_gateway.page.form import request_attributes
from insta_depth_gateway.page.throttling import Cancelled, throttled

if TYPE_CHECKING:
    from insta_depth_gateway.service import GenerationService, Picture

logger = logging.getLogger(__name__)

Shown = dict[str, Any]
"""New values of the page's parts by name; the others stay as they are."""

_TICK_S = 1.0
_SUFFIX = {"jpeg": ".jpg", "png": ".png", "webp": ".webp"}


async def generate(
    service: "GenerationService", key: str | None, form: Mapping[str, Any], cancelled: asyncio.Event
) -> AsyncGenerator[Shown, None]:
    """Yield the page's states, up to the picture, an error or ``cancelled``. Closing it early cancels the request."""
    started_s = time.monotonic()
    yield {"status": panels.waiting(0)}
    try:
        account = await service.authenticate(_filled_in(key))
        await service.check_rate(account)
        stream = service.stream(account, request_attributes(form))
        async with aclosing(throttled(stream, _TICK_S, cancelled)) as events:
            async for shown in _shown(events, started_s):
                yield shown
    except Cancelled:
        yield {"status": panels.cancelled(), "restore": True}
    except (GatewayError, InstaDepthError) as error:
        yield {"status": panels.failed(_readable(body_of(error)["error"])), "restore": True}
    except Exception:
        logger.exception("the page's request failed")
        yield {"status": panels.failed("The server had a problem; try again later."), "restore": True}


async def _shown(events: AsyncIterator["Progress | Picture | None"], started_s: float) -> AsyncIterator[Shown]:
    progress: Progress | None = None
    async for event in events:
        elapsed_s = time.monotonic() - started_s
        if isinstance(event, Progress):
            progress = event
            yield {"status": panels.running(event, elapsed_s), **_preview(event)}
        elif event is not None:
            yield {"status": panels.finished(elapsed_s), **describe(event)}
        else:
            yield {"status": panels.running(progress, elapsed_s) if progress else panels.waiting(elapsed_s)}


def describe(picture: "Picture") -> Shown:
    """Return the finished picture as a file, with its details."""
    generation = picture.generation
    name = f"insta-depth-{generation.seed}{_SUFFIX[generation.output_format]}"
    rows = {
        "Seed": str(generation.seed),
        "Cost": panels.credits_text(picture.cost),
        "Credits left": panels.credits_text(picture.remaining),
        "Time": f"{picture.generation_ms / 1000:.1f} s",
        "Waited": f"{picture.queue_ms / 1000:.1f} s",
    }
    note = "" if generation.pose_face else "The pose picture shows no face: only its depth was followed."
    return {
        "picture": save_bytes_to_cache(generation.image, name, get_upload_folder()),
        "facts": panels.facts(rows, note),
        "seed": generation.seed,
    }


def _filled_in(key: str | None) -> str:
    if not (key or "").strip():
        raise BadRequest("API key: type or paste your key")
    return str(key).strip()


def _preview(progress: Progress) -> Shown:
    return {"preview": panels.preview(progress.preview)} if progress.preview else {}


def _readable(message: str) -> str:
    """Return an error's message with the form's labels in place of the API's names."""
    name, colon, rest = message.partition(": ")
    label = _LABELS.get(name)
    return f"{label}: {rest}" if colon and label else message


_LABELS = {
    "x-api-key": "API key",
    "face_image": "Face picture",
    "pose_image": "Pose picture",
    "prompt": "Prompt",
    "negative_prompt": "Negative prompt",
    "num_inference_steps": "Steps",
    "guidance_scale": "Guidance",
    "seed": "Seed",
    "scheduler": "Scheduler",
}
