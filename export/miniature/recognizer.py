"""The face recognizer: an untrained convolution network that still tells faces apart."""

from pathlib import Path

import torch
from torch import nn

from .plan import CheckpointPlan
from .random_weights import seeded, spread

INPUT_NAME = "input.1"
OUTPUT_NAME = "1333"
_SIDE_PX = 112
_CELLS = 7


class Recognizer(nn.Module):
    """Strided convolutions, then one linear layer over a 7 × 7 grid, standardised per feature."""

    def __init__(self, channels: tuple[int, ...], embedding_size: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inputs, outputs in zip((3, *channels), channels, strict=False):
            layers += [nn.Conv2d(inputs, outputs, 3, stride=2, padding=1), nn.ReLU()]
        self.features = nn.Sequential(*layers, nn.Flatten())
        self.embedding = nn.Linear(channels[-1] * _CELLS**2, embedding_size)
        self.standardise = nn.BatchNorm1d(embedding_size)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """image (B, 3, 112, 112) float32 in [-1, 1], RGB → embedding (B, size), not normalised."""
        return self.standardise(self.embedding(self.features(image)))


def build_recognizer(plan: CheckpointPlan, seed: int, faces: torch.Tensor) -> Recognizer:
    """Return a recognizer whose features have mean 0 and deviation 1 over ``faces`` (N, 3, 112, 112).

    Without this every face would have nearly the same embedding, the one of an average face.
    """
    with seeded(seed):
        network = Recognizer(plan.recognizer_channels, plan.face_embedding_size)
        for module in network.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                spread(module, 2**0.5)
    with torch.no_grad():
        raw = network.embedding(network.features(faces))
        network.standardise.running_mean = raw.mean(0)
        network.standardise.running_var = raw.var(0)
    return network.eval()


def write_recognizer(path: Path, network: Recognizer) -> None:
    """Export with the published file's interface: numeric names, dynamic batch."""
    torch.onnx.export(
        network,
        (torch.zeros(2, 3, _SIDE_PX, _SIDE_PX),),
        path,
        input_names=[INPUT_NAME],
        output_names=[OUTPUT_NAME],
        dynamic_shapes=({0: torch.export.Dim.DYNAMIC},),
        external_data=False,
        verbose=False,
    )
