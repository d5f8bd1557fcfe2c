"""The face recogniser: a small residual network with the interface of the published file."""

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType

import torch
from torch import nn

from export.onnx_export import drop_traces

from .architecture import CheckpointConfig
from .random_weights import seeded, spread

INPUT_NAME = "input.1"
OUTPUT_NAME = "1333"
SIDE_PX = 112
_CELLS = 7
_NARROW = 32


class Residual(nn.Module):
    """Two convolutions beside a shortcut (arXiv:1512.03385)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(*block(channels, channels), *block(channels, channels)[:-1])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, h, w) → the same."""
        return (x + self.layers(x)).relu()


class Recognizer(nn.Module):
    """Four levels, each half as wide as the last, then one linear layer over a 7 × 7 grid, standardised."""

    def __init__(self, channels: tuple[int, ...], embedding_size: int) -> None:
        super().__init__()
        layers: list[nn.Module] = block(3, channels[0], stride=2)
        for inputs, outputs in pairwise(channels):
            layers += [*block(inputs, outputs, stride=2), Residual(outputs)]
        layers += [nn.Conv2d(channels[-1], _NARROW, 1, bias=False), nn.BatchNorm2d(_NARROW), nn.Flatten()]
        self.features = nn.Sequential(*layers)
        self.embedding = nn.Linear(_NARROW * _CELLS**2, embedding_size)
        self.standardise = nn.BatchNorm1d(embedding_size)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """image (B, 3, 112, 112) float32 in [-1, 1], RGB → embedding (B, size), not normalised."""
        return self.standardise(self.embedding(self.features(image)))


def block(inputs: int, outputs: int, stride: int = 1) -> list[nn.Module]:
    """Return a 3 × 3 convolution, its normalisation and a ReLU."""
    convolution = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
    return [convolution, nn.BatchNorm2d(outputs), nn.ReLU()]


def build_recognizer(config: CheckpointConfig, seed: int, faces: torch.Tensor) -> Recognizer:
    """Return an untrained recogniser whose features have mean 0 and deviation 1 over ``faces`` (N, 3, 112, 112).

    Without this every face would have nearly the same embedding, that of an average face.
    """
    with seeded(seed):
        network = Recognizer(config.recognizer_channels, config.face_embedding_size).eval()
        for module in network.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                spread(module, 2**0.5)
    with torch.no_grad():
        raw = network.embedding(network.features(faces))
        network.standardise.running_mean = raw.mean(0)
        network.standardise.running_var = raw.var(0)
    return network


def write_recognizer(path: Path, network: Recognizer, metadata: Mapping[str, str] = MappingProxyType({})) -> None:
    """Export with the published file's interface: numeric names, dynamic batch; ``metadata`` goes into the file."""
    program = torch.onnx.export(
        network,
        (torch.zeros(2, 3, SIDE_PX, SIDE_PX),),
        input_names=[INPUT_NAME],
        output_names=[OUTPUT_NAME],
        dynamic_shapes=({0: torch.export.Dim.DYNAMIC},),
        dynamo=True,
        verbose=False,
    )
    assert program is not None
    drop_traces(program)
    program.model.metadata_props.update(metadata)
    program.save(path, external_data=False)
