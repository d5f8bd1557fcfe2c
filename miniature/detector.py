"""A small face detector with SCRFD's interface: nine outputs, two anchors a cell, distances in strides."""

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import torch
from torch import nn

from export.onnx_export import drop_traces

STRIDES = (8, 16, 32)
ANCHOR_SIZES_PX = ((16.0, 32.0), (64.0, 128.0), (256.0, 512.0))
"""Face sizes that the two anchors of each stride stand for, as in SCRFD."""
ANCHORS_PER_CELL = 2
INPUT_NAME = "input.1"
OUTPUT_NAMES = ("448", "471", "494", "451", "474", "497", "454", "477", "500")
"""Names of the published file: scores, boxes, keypoints, each at strides 8, 16, 32."""
_VALUES_PER_ANCHOR = 1 + 4 + 10
_SHRINKING = 4
_BACKGROUND_LOGIT = -4.0


@dataclass(frozen=True)
class Level:
    """Raw outputs of one stride: ``logits`` (B, N), ``boxes`` (B, N, 4), ``keypoints`` (B, N, 10).

    N runs over rows, columns, then the cell's anchors. Distances are in units of the anchor's size.
    """

    logits: torch.Tensor
    boxes: torch.Tensor
    keypoints: torch.Tensor


def _block(inputs: int, outputs: int, stride: int = 1, kernel: int = 3) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU())


class FaceDetector(nn.Module):
    """A convolution pyramid: down to stride 64 for context, up again, one head shared by the three strides.

    The picture is first made four times smaller: insightface enlarges it to 640 pixels, so little is lost.
    """

    def __init__(self, channels: tuple[int, int, int, int] = (24, 48, 96, 96), width: int = 64) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.AvgPool2d(_SHRINKING), _block(3, channels[0], stride=2))
        self.down = nn.ModuleList([_block(channels[0], channels[0])])
        self.down.extend(
            nn.Sequential(_block(inputs, outputs, stride=2), _block(outputs, outputs))
            for inputs, outputs in pairwise(channels)
        )
        self.lateral = nn.ModuleList(nn.Conv2d(size, width, 1) for size in channels)
        self.smooth = nn.ModuleList(_block(width, width) for _ in STRIDES)
        self.head = nn.Conv2d(width, ANCHORS_PER_CELL * _VALUES_PER_ANCHOR, 1)
        bias = self.head.get_parameter("bias")
        nn.init.constant_(bias.view(ANCHORS_PER_CELL, -1)[:, 0], _BACKGROUND_LOGIT)

    def forward(self, image: torch.Tensor) -> list[Level]:
        """image (B, 3, H, W) float32, (RGB − 127.5) / 128, sides divisible by 32 → a `Level` per stride."""
        return [_split(self.head(feature)) for feature in self._pyramid(image)]

    def _pyramid(self, image: torch.Tensor) -> list[torch.Tensor]:
        feature, features = self.stem(image), []
        for down, lateral in zip(self.down, self.lateral, strict=True):
            feature = down(feature)
            features.append(lateral(feature))
        above, merged = features[-1], []
        for feature, smooth in zip(reversed(features[:-1]), reversed(self.smooth), strict=True):
            above = smooth(feature + nn.functional.interpolate(above, size=feature.shape[-2:]))
            merged.append(above)
        return merged[::-1]


class PublishedInterface(nn.Module):
    """The detector with the published ONNX file's outputs: sigmoid scores, stride units, no batch dimension."""

    def __init__(self, detector: FaceDetector) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """image (1, 3, H, W) → scores (N, 1), boxes (N, 4), keypoints (N, 10), each at strides 8, 16, 32."""
        levels = self.detector(image)
        scores = [level.logits[0].sigmoid()[:, None] for level in levels]
        boxes = [_in_strides(level.boxes[0], i) for i, level in enumerate(levels)]
        keypoints = [_in_strides(level.keypoints[0], i) for i, level in enumerate(levels)]
        return (*scores, *boxes, *keypoints)


def export_detector(detector: FaceDetector, path: Path) -> None:
    """Write ``path`` as ``scrfd_10g_bnkps.onnx`` is published; the picture's height and width are dynamic."""
    program = torch.onnx.export(
        PublishedInterface(detector).eval(),
        (torch.zeros(1, 3, 320, 256),),
        input_names=[INPUT_NAME],
        output_names=list(OUTPUT_NAMES),
        dynamic_shapes=({2: 32 * torch.export.Dim("rows"), 3: 32 * torch.export.Dim("columns")},),
        dynamo=True,
        verbose=False,
    )
    assert program is not None
    drop_traces(program)
    program.save(path, external_data=False)


def _split(answer: torch.Tensor) -> Level:
    """(B, anchors × 15, h, w) → one row per anchor, in the order of SCRFD's decoder."""
    rows = answer.permute(0, 2, 3, 1).flatten(1).unflatten(1, (-1, _VALUES_PER_ANCHOR))
    return Level(rows[..., 0], rows[..., 1:5], rows[..., 5:])


def _in_strides(distances: torch.Tensor, level: int) -> torch.Tensor:
    """(N, values) in anchor sizes → in strides."""
    factors = torch.tensor(ANCHOR_SIZES_PX[level]) / STRIDES[level]
    by_anchor = distances.unflatten(0, (-1, ANCHORS_PER_CELL)) * factors[:, None]
    return by_anchor.flatten(0, 1)
