"""The benchmarks' own measurements, on the live server: what they send, and that their figures fit each other."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks import batching, latency, plain_server, scaling, start
from benchmarks.batching import Load
from benchmarks.options import Options
from benchmarks.records import Measured
from tests.psnr import psnr_db


@pytest.fixture
def options(miniature_repository: Path, miniature_checkpoint: Path) -> Options:
    pictures = miniature_checkpoint / "pictures"
    return Options(miniature_repository, pictures, miniature_repository, repeats=2, checkpoint=miniature_checkpoint)


def test_requests_that_start_apart_share_every_step_that_costs_the_same_for_all(options: Options) -> None:
    load = Load([{"seed": seed, "guidance_scale": 3, "num_inference_steps": 40} for seed in range(8)])
    measured = batching.measure(options, load)
    assert measured["rows_share"] >= 0.85
    assert measured["rows_per_call"] > 2


def test_the_plain_server_makes_our_picture(options: Options, make: Callable[..., np.ndarray], tmp_path: Path) -> None:
    own = make(prompt="a woman", num_inference_steps=4, seed=3)
    shared = {"prompt": "a woman", "face_image": options.face, "pose_image": options.pose, "output_format": "png"}

    async def ask(url: str) -> bytes:
        async with plain_server.plain_service(url, shared)() as server:
            answer = await server({"num_inference_steps": 4, "seed": 3})
            assert isinstance(answer, bytes)
            return answer

    with plain_server.plain_server(options) as (url, _):
        (tmp_path / "plain.png").write_bytes(asyncio.run(ask(url)))
    assert psnr_db(np.asarray(Image.open(tmp_path / "plain.png")), own) >= 50


def _latency(options: Options) -> None:
    found = _floats(latency.measure(options, steps=4, requests=6))
    assert found["p50_s"] <= found["p90_s"] <= found["p99_s"]
    stages_s = sum(value for name, value in found.items() if name.endswith("_ms")) / 1000
    assert stages_s == pytest.approx(found["p50_s"], rel=0.2)


def _start(options: Options) -> None:
    found = _floats(start.measure(options))
    assert found["service_first_picture_s"] > found["service_later_picture_s"]
    assert found["plain_memory_mib"] > 200  # PyTorch alone
    assert found["service_memory_mib"] > found["plain_memory_mib"] / 2


def _steps(options: Options) -> None:
    found = _floats(scaling.by_steps(options, counts=(4, 40)))
    assert found["s_at_40"] > found["s_at_4"]
    assert found["s_at_4"] == pytest.approx((4 * found["step_ms"] + found["outside_steps_ms"]) / 1000)


def _sizes(options: Options) -> None:
    found = _floats(scaling.by_size(options, sides_px=(128, 192), steps=10))
    assert found["step_ms_at_192_px"] > found["step_ms_at_128_px"]
    assert 0 < found["time_to_pixels"] < 2


def _concurrency(options: Options) -> None:
    found = _floats(scaling.by_concurrency(options, counts=(1, 3), steps=4))
    assert found["most_to_one"] == pytest.approx(found["pictures_per_s_at_3"] / found["pictures_per_s_at_1"])


def _load(options: Options) -> None:
    found = _floats(plain_server.measure(options, load=0.8, requests=4))
    assert found["mean_ratio"] == pytest.approx(found["service_mean_s"] / found["plain_mean_s"])
    assert found["in_time_s"] == pytest.approx(0.8 * 10 / found["requests_per_s"])
    assert found["service_p50_s"] <= found["service_p95_s"]


@pytest.mark.long
@pytest.mark.parametrize("check", [_latency, _start, _steps, _sizes, _concurrency, _load])
def test_figures_fit_each_other(check: Callable[[Options], None], options: Options) -> None:
    check(options)


def _floats(measured: Measured) -> dict[str, float]:
    return {name: float(value) for name, value in measured.items()}
