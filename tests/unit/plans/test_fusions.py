"""What TensorRT joins into one kernel on SDXL's widths, one block a level, read from plans of TensorRT-RTX.

A plan holds its calls as text; TensorRT's engine inspector would need a GPU to load it.
"""

import re
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest
from diffusers.models.attention import BasicTransformerBlock
from diffusers.models.resnet import ResnetBlock2D
from torch import nn

from benchmarks.gpu_check.networks import design
from benchmarks.gpu_check.options import Options

pytestmark = [
    pytest.mark.long,
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("tensorrt_rtx") is None, reason="needs tensorrt-rtx-cu12"),
]
OPTIONS = Options(device="cpu", size="widths", precision="fp16")

_BUILD = """
import sys
from pathlib import Path
from benchmarks.gpu_check.artefacts import onnx_path, prepare_onnx
from benchmarks.gpu_check.networks import engines, sizes_of
from benchmarks.gpu_check.options import Options
from export.plans.build import Builder
from export.plans.tensorrt_module import use_tensorrt_rtx

use_tensorrt_rtx()
name, folder = sys.argv[1], Path(sys.argv[2])
options = Options(device="cpu", size="widths", precision="fp16", folder=folder)
prepare_onnx(options, [name])
engine = engines(options)[name]
sizes = sizes_of(engine, options)
ranges = {symbol: (sizes[symbol],) * 3 for symbol in engine.symbols}
builder = Builder(compute_capabilities=((8, 9),))
plan = builder.build(engine, onnx_path(options, name), options.float_type.io_dtype, [ranges])
(folder / "model.plan").write_bytes(plan.content)
"""
"""In a process of its own: polygraphy takes one TensorRT, and other tests may have chosen the other."""


@dataclass(frozen=True)
class Calls:
    """What one plan calls.

    ``kernels``: by name, how often; TensorRT's compiler names its own after the operations that it joined (``Erf``,
    ``Silu``, ``Gnor``: group norm). ``products``: of each matrix product, how many linear layers it computes.
    """

    kernels: Counter[str]
    products: list[int]

    def of(self, *operations: str) -> int:
        """Return how many kernels have all ``operations`` in their name."""
        return sum(count for name, count in self.kernels.items() if all(part in name for part in operations))


def calls(plan: bytes) -> Calls:
    kernels = Counter(name.decode() for name in re.findall(rb"function=\{ name=(\S+) fqn=", plan))
    products = re.findall(rb'fully_connected=\{ name=[^\n]*? layers="([^"]*)"', plan)
    return Calls(kernels, [layers.count(b"node_linear") for layers in products])


def build(name: str, folder: Path) -> Calls:
    ended = subprocess.run([sys.executable, "-c", _BUILD, name, str(folder)], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    return calls((folder / "model.plan").read_bytes())


def count(module: nn.Module, kind: type[nn.Module]) -> int:
    return sum(isinstance(part, kind) for part in module.modules())


@pytest.mark.parametrize(("name", "attentions", "last_norms"), [("unet", 3, 1), ("identitynet", 2, 0)])
def test_the_step_is_fused(name: str, attentions: int, last_norms: int, tmp_path: Path) -> None:
    """``attentions`` of a transformer block: to itself, to the text and in the UNet to the face."""
    network = design(name, OPTIONS)
    blocks, resnets = count(network, BasicTransformerBlock), count(network, ResnetBlock2D)
    plan = build(name, tmp_path)
    assert plan.kernels["_gemm_mha_v2"] == attentions * blocks > 0
    assert not plan.of("Exp"), "a softmax by itself"
    assert plan.of("Silu", "Gnor") == 2 * resnets + last_norms
    assert plan.of("Gnor") == plan.of("Silu", "Gnor") + blocks, "every transformer has a norm without SiLU"
    assert plan.products.count(3) == blocks, "query, key and value of the attention to itself"
    assert plan.of("Erf", "Mul") == plan.of("Erf") == blocks, "GEGLU with its gate"


def test_the_vae_is_fused(tmp_path: Path) -> None:
    """All but its one attention, whose head of 512 is beyond TensorRT's fused kernels."""
    plan = build("vae_decoder", tmp_path)
    decoder = design("vae_decoder", OPTIONS).get_submodule("vae.decoder")
    assert plan.of("Silu", "Gnor") == 2 * count(decoder, ResnetBlock2D) + 1
    assert plan.of("Exp") == plan.of("Max", "Exp", "Sum", "Div") == 1, "its softmax is one kernel"
