"""``python -m deploy.kubernetes.sizing``: how much shared memory and how long a start the manifests allow for, and why.

Every figure is an estimate, computed from the settings and from SDXL's sizes, not measured on a GPU. Tests hold the
manifests against the sums.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass

_MIB = 2**20
_GB = 10**9

# SDXL with InstantID, as large as a picture gets.
_PIXELS = 1280 * 1280
_RGB = 3
_LATENT_CELLS = _PIXELS // 64
_LATENT_CHANNELS = 4
_TEXT_WIDTH = 2048
_TOKENS = 77
_MAX_WINDOWS = 8
_FACE_TOKENS = 16
_DETECTOR_SIDE = 640
_DEPTH_PIXELS = 518 * 2072  # the shorter side is 518, the longer one up to four times that
_PICTURES = 2
_PROMPTS = 2
_FP32 = 4
_FP16 = 2
_BASE64 = 4 / 3

# Python models: two instances each of face_analysis and prompt_encoder, insta_depth, insta_depth_stream.
PYTHON_PROCESSES = 6
_BOTH_ENDS = 2
"""A tensor between two Python models lies in the region of each."""
_FRAGMENTS = 1.5
"""Regions grow and never shrink; what is freed is not always what is asked for next."""

_PLANS_BYTES = 11 * _GB
"""UNet 5.9 GB and IdentityNet 2.5 GB were built; the others' networks are smaller."""
_VOLUME_BYTES_PER_S = 200e6
_TO_GPU_BYTES_PER_S = 1e9
_IMPORTS_S = 5.0
_WARM_UP_S = 60.0
_START_MARGIN = 4


@dataclass(frozen=True)
class Load:
    """What the servers' settings let in; see `Settings` of the orchestrator."""

    max_requests: int = 8
    max_rows: int = 16
    max_image_bytes: int = 16 * _MIB


def shared_memory_terms(load: Load, steps_on_host: bool = True) -> dict[str, float]:
    """Return the bytes under ``/dev/shm`` by what they are for, all requests at their largest at once.

    ``steps_on_host``: whether the tensors of a step go through the host's memory, as they do where the orchestrator's
    PyTorch has no GPU; otherwise they stay on the device.
    """
    requests, rows = load.max_requests, load.max_rows
    picture = _PIXELS * _RGB
    step_row = (
        _PIXELS * (_RGB + _RGB + 1)  # face keypoints, depth, region mask
        + 2 * _LATENT_CELLS * _LATENT_CHANNELS  # sample in, noise out
        + _MAX_WINDOWS * _TOKENS * _TEXT_WIDTH
        + _FACE_TOKENS * _TEXT_WIDTH
    ) * _FP16
    return {
        "regions of the Python processes before any request": PYTHON_PROCESSES * _MIB,
        "pictures as they were sent, base64, at insta_depth and insta_depth_stream": (
            requests * _PICTURES * load.max_image_bytes * _BASE64 * _BOTH_ENDS
        ),
        "pictures decoded, to face_analysis": requests * _PICTURES * picture * _BOTH_ENDS,
        "pictures prepared for face_detector": (
            requests * _PICTURES * _DETECTOR_SIDE**2 * _RGB * _FP32 * _BOTH_ENDS  # and its outputs, which are smaller
        ),
        "prompts encoded, from prompt_encoder": (
            requests * _PROMPTS * _MAX_WINDOWS * _TOKENS * _TEXT_WIDTH * _FP32 * _BOTH_ENDS
        ),
        "depth: pixels in, prediction out": requests * _DEPTH_PIXELS * (_RGB + 1) * _FP32,
        "a step's rows, in and out": rows * step_row if steps_on_host else 0,
        "pictures made: from vae_decoder, and encoded at both ends": requests * picture * (1 + _BOTH_ENDS),
    }


def shared_memory_bytes(load: Load | None = None) -> int:
    """Return what ``/dev/shm`` has to hold."""
    return int(sum(shared_memory_terms(load or Load()).values()) * _FRAGMENTS)


def start_terms_s() -> dict[str, float]:
    """Return the seconds of a full-size server's start, by what they are for."""
    return {
        "plans from a network volume at 200 MB/s": _PLANS_BYTES / _VOLUME_BYTES_PER_S,
        "plans to the GPU at 1 GB/s, TensorRT's own work": _PLANS_BYTES / _TO_GPU_BYTES_PER_S,
        "imports of the Python processes, one after the other": PYTHON_PROCESSES * _IMPORTS_S,
        "warm-up requests and CUDA graphs": _WARM_UP_S,
    }


def start_limit_s() -> float:
    """Return how long a start may take before it counts as failed."""
    return sum(start_terms_s().values()) * _START_MARGIN


def main(arguments: Sequence[str] | None = None) -> int:
    """Write both sums."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--requests", type=int, default=Load.max_requests, help="INSTA_DEPTH_MAX_REQUESTS")
    parser.add_argument("--rows", type=int, default=Load.max_rows, help="INSTA_DEPTH_MAX_ROWS")
    parser.add_argument("--image-bytes", type=int, default=Load.max_image_bytes, help="INSTA_DEPTH_MAX_IMAGE_BYTES")
    options = parser.parse_args(arguments)
    load = Load(options.requests, options.rows, options.image_bytes)
    lines = [f"{value / _MIB:8.0f} MiB  {what}" for what, value in shared_memory_terms(load).items()]
    lines.append(f"{shared_memory_bytes(load) / _MIB:8.0f} MiB  /dev/shm: {_FRAGMENTS:g} times their sum")
    lines += [f"{value:8.0f} s    {what}" for what, value in start_terms_s().items()]
    lines.append(f"{start_limit_s():8.0f} s    a start: {_START_MARGIN} times their sum")
    sys.stdout.write("\n".join(["Estimates:", *lines, ""]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
