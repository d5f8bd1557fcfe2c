"""``make demo``: one picture through real Triton, and a contact sheet of its inputs."""

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from insta_depth import Generation, InstaDepth, InstaDepthError
from insta_depth.addresses import channel_options
from PIL import Image, ImageDraw
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from tritonclient.grpc import InferenceServerClient, InferInput

from .errors import LocalTritonError
from .server import ON_FREE_PORTS, LocalTriton

SEED = 14
PROMPT = "Photo of a woman wearing a Superman costume at the beach"
TILE_PX = 256
_COLUMNS = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())


def main() -> int:
    """Start the server, make the picture, stop the server, print the paths of the files."""
    options = _parse()
    console = Console()
    options.output.mkdir(parents=True, exist_ok=True)
    face, pose = (options.checkpoint / "pictures" / name for name in ("face.png", "pose.png"))
    try:
        with _serving(options.repository, console) as server:
            generation = _generate(server, face, pose, console)
            _write_contact_sheet(server, options, generation)
    except (LocalTritonError, InstaDepthError) as error:
        console.print(str(error), highlight=False, markup=False)
        return 1
    console.print(f"The server has stopped. Seed {generation.seed}; milliseconds by stage: {generation.timings}")
    for name in ("picture.jpg", "contact-sheet.png"):
        console.print(f"  {options.output / name}", highlight=False)
    return 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m deploy.local.demo", description=__doc__)
    parser.add_argument("--checkpoint", type=Path, required=True, help="its pictures/ are the face and the pose")
    parser.add_argument("--repository", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    return parser.parse_args()


@contextmanager
def _serving(repository: Path, console: Console) -> Iterator[LocalTriton]:
    """Serve inside the block, on free ports; a bar shows the models loading."""
    with Progress(*_COLUMNS, console=console) as bar:
        task = bar.add_task("Triton loads models", total=None)
        server = LocalTriton(
            repository,
            ON_FREE_PORTS,
            on_progress=lambda ready, total: bar.update(task, completed=ready, total=total),
        )
        server.start()
    try:
        yield server
    finally:
        server.stop()


def _generate(server: LocalTriton, face: Path, pose: Path, console: Console) -> Generation:
    with InstaDepth(server.grpc_url) as client, Progress(*_COLUMNS, console=console) as bar:
        task = bar.add_task("Denoising", total=None)
        return client.generate(
            face_image=face,
            pose_image=pose,
            prompt=PROMPT,
            seed=SEED,
            on_progress=lambda p: bar.update(task, completed=p.step, total=p.num_inference_steps),
        )


def _write_contact_sheet(server: LocalTriton, options: argparse.Namespace, generation: Generation) -> None:
    picture = generation.save(options.output / "picture.jpg")
    pictures = options.checkpoint / "pictures"
    keypoints, depth = _conditions(server, options.repository, pictures / "pose.png")
    tiles = {
        "face": Image.open(pictures / "face.png"),
        "pose": Image.open(pictures / "pose.png"),
        "keypoints": Image.fromarray(keypoints),
        "depth": Image.fromarray(depth),
        "result": Image.open(picture),
    }
    _contact_sheet(tiles).save(options.output / "contact-sheet.png")


def _contact_sheet(tiles: dict[str, Image.Image]) -> Image.Image:
    margin, caption = 8, 20
    sheet = Image.new("RGB", (len(tiles) * (TILE_PX + margin) + margin, TILE_PX + 2 * margin + caption), "white")
    draw = ImageDraw.Draw(sheet)
    for index, (name, tile) in enumerate(tiles.items()):
        left = margin + index * (TILE_PX + margin)
        scale = TILE_PX / max(tile.size)
        tile = tile.convert("RGB").resize((round(tile.width * scale), round(tile.height * scale)))
        sheet.paste(tile, (left + (TILE_PX - tile.width) // 2, margin + (TILE_PX - tile.height) // 2))
        draw.text((left + TILE_PX // 2, margin + TILE_PX + caption // 2), name, fill="black", anchor="mm")
    return sheet


def _conditions(server: LocalTriton, repository: Path, pose: Path) -> tuple[np.ndarray, np.ndarray]:
    """Ask the server for its analysis of the pose picture: the keypoints' drawing and the depth, (H, W, 3) uint8."""
    orchestrator = repository / "insta_depth_stream" / "1"
    sys.path.insert(0, str(orchestrator))  # the served model's own drawing
    import torch
    from denoising.conditioning import DepthProcessor
    from denoising.control_pictures import depth_picture, draw_face_keypoints

    from insta_depth_shared.manifest import Manifest
    from insta_depth_shared.pictures import resize_for_model

    manifest = Manifest.load(orchestrator)
    size = manifest.image
    image = resize_for_model(np.asarray(Image.open(pose).convert("RGB")), size.min_side, size.max_side, size.multiple)
    height, width = image.shape[:2]
    with InferenceServerClient(server.grpc_url, channel_args=channel_options(server.grpc_url)) as client:
        points = _ask(client, "face_analysis", "image", image, "keypoints")
        pixels = DepthProcessor(orchestrator / "depth_processor")(image).astype(manifest.numpy_dtype)
        predicted = _ask(client, "depth_estimator", "pixel_values", pixels, "predicted_depth")
    depth = depth_picture(torch.tensor(predicted), height, width).numpy()
    depth = (depth.transpose(1, 2, 0) * 255).astype(np.uint8)
    return draw_face_keypoints(points, height, width), depth


def _ask(client: InferenceServerClient, model: str, name: str, value: np.ndarray, output: str) -> np.ndarray:
    datatypes = {"uint8": "UINT8", "float32": "FP32", "float16": "FP16"}
    tensor = InferInput(name, list(value.shape), datatypes[value.dtype.name])
    tensor.set_data_from_numpy(value)
    return client.infer(model, [tensor]).as_numpy(output)


if __name__ == "__main__":
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]  # a terminal may know ASCII only
    sys.exit(main())
