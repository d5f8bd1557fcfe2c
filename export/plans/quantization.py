"""fp8: nvidia-modelopt quantises an engine's matrix products and convolutions before TensorRT builds it."""

from pathlib import Path

from ..errors import ExportError
from ..in_process import Arrays

OPERATORS = ("Conv", "MatMul", "Gemm")


class ModelOptMissing(ExportError):
    """nvidia-modelopt is not installed."""


def quantize_fp8(onnx: Path, calibration: Arrays, output: Path) -> None:
    """Write ``onnx``, an fp16 engine, to ``output`` with fp8 quantisation scaled by ``calibration``.

    ``calibration``: inputs by name, every row a sample, as `record_inputs` returns them. Inputs and outputs stay fp16.
    Raises `ModelOptMissing`.
    """
    try:
        from modelopt.onnx.quantization import quantize
    except ImportError as error:
        raise ModelOptMissing("fp8 needs nvidia-modelopt: pip install 'nvidia-modelopt[onnx]'") from error
    output.parent.mkdir(parents=True, exist_ok=True)
    quantize(
        str(onnx),
        quantize_mode="fp8",
        calibration_data=dict(calibration),
        calibration_method="max",
        calibration_eps=_execution_providers(),
        op_types_to_quantize=list(OPERATORS),
        high_precision_dtype="fp16",
        use_external_data_format=_is_large(onnx),
        output_path=str(output),
        log_level="WARNING",
    )


def _execution_providers() -> list[str]:
    import torch

    return ["cuda:0", "cpu"] if torch.cuda.is_available() else ["cpu"]


def _is_large(onnx: Path) -> bool:
    """Whether the engine keeps its weights in a separate file, as it must beyond 2 GB."""
    return any(path != onnx for path in onnx.parent.glob("*.data"))
