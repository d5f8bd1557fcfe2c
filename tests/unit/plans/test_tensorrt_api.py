"""What our code calls exists in NVIDIA's bindings: TensorRT-RTX's, which have the interface of TensorRT 11."""

import re
from importlib.util import find_spec
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(find_spec("tensorrt_rtx") is None, reason="needs tensorrt-rtx-cu12")
ROOT = Path(__file__).parents[3]
SOURCES = (
    ROOT / "deploy" / "local" / "backends" / "tensorrt" / "plan.py",
    ROOT / "export" / "plans" / "runner.py",
    ROOT / "export" / "plans" / "build.py",
)
REMOVED_IN_11 = ("BuilderFlag.FP16", "BuilderFlag.INT8", "BuilderFlag.BF16", "int8_calibrator", "device_memory_size")
"""https://docs.nvidia.com/deeplearning/tensorrt/latest/api/migration/tensorrt-10x-to-11x-python-api-reference.html"""


@pytest.mark.parametrize(
    ("variable", "type_name"), [("engine", "ICudaEngine"), ("context", "IExecutionContext"), ("trt", None)]
)
def test_every_name_that_we_use_is_there(variable: str, type_name: str | None) -> None:
    import tensorrt_rtx

    # In build.py an engine is one of our table.
    sources = [path for path in SOURCES if variable != "engine" or path.name != "build.py"]
    used = {name for path in sources for name in re.findall(rf"\b_?{variable}\.([A-Za-z]\w*)", path.read_text())}
    owner = getattr(tensorrt_rtx, type_name) if type_name else tensorrt_rtx
    assert used
    assert not {name for name in used if not hasattr(owner, name)}


@pytest.mark.parametrize("name", REMOVED_IN_11)
def test_what_tensorrt_11_removed_is_not_used(name: str) -> None:
    assert not [path.name for path in SOURCES if name in path.read_text()]
