"""Stands in for the gateway's service: makes small pictures slowly, and notes what happens to its streams."""

import asyncio
import io
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from insta_depth import Capabilities, Generation, NoFace, Progress
from insta_depth_gateway.errors import NotEnoughCredits, Unauthorized
from insta_depth_gateway.pricing import Prices
from PIL import Image

from insta_depth_shared.attributes import DEFAULTS

PRICES = Prices(Decimal("0.50"), Decimal("0.10"))
DRAWN_SEED = 987_654_321_098_765


def jpeg(colour: tuple[int, int, int], size: int = 64) -> bytes:
    """Return a picture whose pixels differ, as those of photographs do."""
    file, paper = io.BytesIO(), Image.new("RGB", (size, size), (250, 240, 220))
    shade = Image.linear_gradient("L").resize((size, size))
    Image.composite(Image.new("RGB", (size, size), colour), paper, shade).save(file, "JPEG")
    return file.getvalue()


@dataclass(frozen=True)
class FakeAccount:
    name: str


@dataclass(frozen=True)
class FakePicture:
    generation: Generation
    cost: Decimal
    remaining: Decimal
    queue_ms: float = 20.0
    generation_ms: float = 1200.0


@dataclass
class FakeService:
    """Keys: ``good`` generates, ``poor`` has no credits, others are unknown.

    Prompts: ``no face`` is refused, ``broken`` fails, ``stuck`` never gets its turn.
    """

    step_s: float = 0.06
    prices: Prices = PRICES
    attributes: list[dict[str, Any]] = field(default_factory=list)
    pictures: list[bytes] = field(default_factory=list)
    outcomes: list[str] = field(default_factory=list)

    async def authenticate(self, secret: str | None) -> FakeAccount:
        if secret not in ("good", "poor"):
            raise Unauthorized("x-api-key: the key is unknown or was revoked")
        return FakeAccount(secret)

    async def check_rate(self, account: FakeAccount) -> None:
        pass

    async def usual_steps(self) -> int:
        return DEFAULTS["num_inference_steps"]

    async def balance(self, account: FakeAccount) -> Decimal:
        return Decimal("10")

    async def capabilities(self) -> Capabilities:
        return Capabilities(("euler", "lcm", "checkpoint"), "lcm", DEFAULTS)

    async def stream(
        self, account: FakeAccount, attributes: dict[str, Any]
    ) -> AsyncGenerator[Progress | FakePicture, None]:
        self.attributes.append(attributes)
        self._refuse(account, attributes["prompt"])
        if attributes["prompt"] == "queued":
            yield Progress(0, 10, ahead=2)
            await asyncio.sleep(1)
        with self._noted():
            if attributes["prompt"] == "stuck":
                await asyncio.sleep(3600)
            count = attributes["num_inference_steps"]
            for step in range(1, count + 1):
                await asyncio.sleep(self.step_s)
                yield Progress(step, count, jpeg((step * 20 % 256, 90, 160)))
            yield self._picture(attributes)

    def _refuse(self, account: FakeAccount, prompt: str) -> None:
        if account.name == "poor":
            raise NotEnoughCredits(Decimal("1.5"), Decimal("0.2"))
        if prompt == "no face":
            raise NoFace("face_image[1]: no face was found")
        if prompt == "broken":
            raise RuntimeError("a secret of the server")

    @contextmanager
    def _noted(self) -> Iterator[None]:
        try:
            yield
        except (asyncio.CancelledError, GeneratorExit):
            self.outcomes.append("cancelled")
            raise
        self.outcomes.append("spent")

    def _picture(self, attributes: dict[str, Any]) -> FakePicture:
        seed = attributes.get("seed", -1) if attributes.get("seed", -1) >= 0 else DRAWN_SEED
        self.pictures.append(jpeg((200, seed % 256, 60 + len(self.pictures)), 512))
        cost = self.prices.of(attributes["num_inference_steps"])
        return FakePicture(Generation(self.pictures[-1], seed), cost, Decimal("10") - cost)
