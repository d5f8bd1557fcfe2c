"""A plain server as people write it: the pipeline in PyTorch behind FastAPI, one request after the other."""

import argparse
import asyncio
from pathlib import Path

import uvicorn
from fastapi import FastAPI, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import Base64Bytes, BaseModel

from export.in_process import import_models_of

from ..options import Options
from ..sides import Side, choose_threads, in_torch, request_of


class Asked(BaseModel):
    """What a caller sends: the attributes of this service, pictures as base64."""

    prompt: str
    face_image: Base64Bytes
    pose_image: Base64Bytes
    num_inference_steps: int = 10
    guidance_scale: float = 3.0
    seed: int = 0
    output_format: str = "jpeg"


def app(side: Side) -> FastAPI:
    """Return the server that answers ``POST /generate`` with what ``side`` makes."""
    application, one_at_a_time = FastAPI(), asyncio.Lock()

    @application.post("/generate")
    async def generate(asked: Asked) -> Response:
        async with one_at_a_time:
            return Response(await run_in_threadpool(side, dict(asked)), media_type="image/*")

    @application.get("/healthz")
    def healthz() -> str:
        return "ok"

    return application


def main() -> None:
    """Serve until stopped; ``--tune`` first finds PyTorch's faster number of threads, which warms everything up."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repository", type=Path, required=True)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--pictures", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--tune", action="store_true")
    parsed = parser.parse_args()
    import_models_of(parsed.repository)
    side = in_torch(parsed.repository, parsed.checkpoint)
    if parsed.tune:
        choose_threads(side, request_of(Options(parsed.repository, parsed.pictures, parsed.repository), 4, 0))
    uvicorn.run(app(side), host="127.0.0.1", port=parsed.port, log_level="warning")


if __name__ == "__main__":
    main()
