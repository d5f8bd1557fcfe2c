"""Callers of every kind, all the time: pictures, mistakes, callers who hang up, streams closed in the middle."""

import base64
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

PATH = "/v1/insta-depth"
_TIMEOUT_S = 300.0
_PAUSE_S = 0.1
"""After a failure, so that a server that is away is not asked a thousand times a second."""
GONE = 0
"""In place of a status: the connection broke, or nothing listened."""
PICTURE = 200
REFUSED = 400
_MISTAKES: tuple[dict[str, Any], ...] = (
    {"num_inference_steps": 101},
    {"guidance_scale": "much"},
    {"face_image": "!!!"},
    {"face_image": base64.b64encode(b"no picture").decode()},
    {"scheduler": "magic"},
)


@dataclass(frozen=True)
class Call:
    """One call: what kind it was, when it began and ended on the monotonic clock, and its status."""

    kind: str
    began_s: float
    ended_s: float
    status: int


class Callers:
    """``count`` callers at ``url`` while the block of `calling` runs; ``calls`` has all that have ended."""

    def __init__(self, url: str, secret: str, pictures: Path, count: int) -> None:
        self.calls: list[Call] = []
        self._url, self._headers, self._count = url + PATH, {"x-api-key": secret}, count
        self._body = {"prompt": "Photo of a woman"} | {
            f"{name}_image": base64.b64encode((pictures / f"{name}.png").read_bytes()).decode()
            for name in ("face", "pose")
        }
        self._over = threading.Event()
        self._kinds: dict[str, Callable[[random.Random], int]] = {
            "picture": self._picture,
            "mistake": self._mistake,
            "hang-up": self._hang_up,
            "closed stream": self._closed_stream,
        }

    @contextmanager
    def calling(self) -> Iterator[None]:
        """Call until the block ends, then wait for the last answers."""
        with ThreadPoolExecutor(self._count) as threads:
            running = [threads.submit(self._call_on, seed) for seed in range(self._count)]
            try:
                yield
            finally:
                self._over.set()
        for each in running:
            each.result()

    def statuses(self, kind: str, since_s: float = 0.0) -> Counter[int]:
        """Count the statuses of the calls of one kind that ended after ``since_s``."""
        return Counter(call.status for call in list(self.calls) if call.kind == kind and call.ended_s > since_s)

    def next_picture_s(self, after_s: float) -> float | None:
        """Return how long after ``after_s`` the first picture came that was asked for since; None: none yet."""
        ended = [call.ended_s for call in list(self.calls) if call.status == PICTURE and call.began_s >= after_s]
        return min(ended) - after_s if ended else None

    def _call_on(self, seed: int) -> None:
        chance = random.Random(seed)
        while not self._over.is_set():
            (kind,) = chance.choices(list(self._kinds), weights=(7, 1, 1, 1))
            began_s = time.monotonic()
            try:
                status = self._kinds[kind](chance)
            except requests.RequestException:
                status = GONE
            self.calls.append(Call(kind, began_s, time.monotonic(), status))
            if status not in (PICTURE, REFUSED):
                time.sleep(_PAUSE_S)

    def _request(self, chance: random.Random) -> dict[str, Any]:
        steps, guidance = chance.randint(4, 30), chance.choice([1, 3])
        return self._body | {"num_inference_steps": steps, "guidance_scale": guidance, "seed": chance.getrandbits(31)}

    def _post(self, body: dict[str, Any], path: str = "", timeout_s: float = _TIMEOUT_S, **options: Any) -> Any:
        return requests.post(self._url + path, json=body, headers=self._headers, timeout=timeout_s, **options)

    def _picture(self, chance: random.Random) -> int:
        return int(self._post(self._request(chance)).status_code)

    def _mistake(self, chance: random.Random) -> int:
        return int(self._post(self._request(chance) | chance.choice(_MISTAKES)).status_code)

    def _hang_up(self, chance: random.Random) -> int:
        return int(self._post(self._request(chance), timeout_s=chance.uniform(0.02, 0.5)).status_code)

    def _closed_stream(self, chance: random.Random) -> int:
        with self._post(self._request(chance), "/stream", stream=True) as answer:
            for number, _ in enumerate(answer.iter_lines()):
                if number > chance.randint(1, 12):
                    break
            return int(answer.status_code)
