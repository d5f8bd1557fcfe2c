"""What is measured, and how: the options of ``python -m benchmarks.gpu_check``, passed on to each row's process."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import torch

from export.precision import Precision

from .sizes import DEPTH_NETS, SIZES, Size


class NotHere(Exception):
    """A part that a row needs is not on this machine; the text names it."""


@dataclass(frozen=True)
class Options:
    """One step of one set of networks on one device."""

    device: str = "cuda"
    size: str = "full"
    depth_net: str = "full"
    precision: str = ""
    """Empty: fp16 on a GPU, fp32 on a CPU, which is slow in fp16."""
    repeats: int = 20
    warm_up: int = 3
    compile_mode: str = "default"
    folder: Path = Path("build/gpu-check")
    tritonserver: str = ""
    """A ``tritonserver`` to serve with, as in NVIDIA's container; empty: the one from the wheel."""

    @property
    def torch_device(self) -> torch.device:
        """The device with its index."""
        device = torch.device(self.device)
        return torch.device("cuda", device.index or 0) if device.type == "cuda" else device

    @property
    def is_on_gpu(self) -> bool:
        """Whether the device is a GPU."""
        return self.torch_device.type == "cuda"

    @property
    def networks(self) -> Size:
        """The networks' configs, and the picture's size."""
        return SIZES[self.size]

    @property
    def float_type(self) -> Precision:
        """The networks' precision."""
        return Precision(self.precision or ("fp16" if self.is_on_gpu else "fp32"))

    @property
    def artefacts(self) -> Path:
        """The folder of what is made once for these networks: inputs, reference, ONNX files, plans."""
        return self.folder.resolve() / f"{self.size}-{self.depth_net}-{self.float_type.value}"

    def arguments(self) -> list[str]:
        """The options as the command line takes them."""
        return [
            part
            for field in fields(self)
            if (value := getattr(self, field.name)) != ""
            for part in (f"--{field.name.replace('_', '-')}", str(value))
        ]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Let ``parser`` take the options."""
    parser.add_argument("--device", default="cuda", help="cuda, cuda:1, … or cpu (%(default)s)")
    parser.add_argument("--size", choices=SIZES, default="full", help="SDXL's published sizes, or tiny (%(default)s)")
    parser.add_argument("--depth-net", choices=DEPTH_NETS, default="full", help="the full ControlNet-Depth, or -small")
    parser.add_argument("--precision", choices=["fp32", "fp16"], default="", help="fp16 on a GPU, fp32 on a CPU")
    parser.add_argument("--repeats", type=_at_least_one, default=20, help="timed steps a row (%(default)s)")
    parser.add_argument("--warm-up", type=_at_least_one, default=3, help="steps before them (%(default)s)")
    parser.add_argument("--compile-mode", default="default", help="torch.compile's mode (%(default)s)")
    parser.add_argument("--folder", type=Path, default=Path("build/gpu-check"), help="for artefacts and records")
    parser.add_argument("--tritonserver", default="", help="a tritonserver on this machine instead of the wheel's")


def options_from(parsed: argparse.Namespace) -> Options:
    """The options among the parsed arguments."""
    return Options(**{field.name: getattr(parsed, field.name) for field in fields(Options)})


def parse(arguments: Sequence[str]) -> Options:
    """Options from a row's command line, or from a served model's parameters."""
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return options_from(parser.parse_args(arguments))


def _at_least_one(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is below 1")
    return number
