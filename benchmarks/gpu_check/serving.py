"""The step through real Triton: the ensemble and three engines, driven by a model inside the server.

The driver runs the orchestrator's loop (its step batcher, a scheduler, BLS with tensors on the device) and times each
step, so that neither HTTP nor pictures are in the figures.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import tritonclient.grpc as triton
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from deploy.local import ON_FREE_PORTS, LocalTriton
from export.plans.config import read_config
from export.repository import SHARED, policy
from export.triton_configs import add_tensors

from . import served
from .artefacts import link, onnx_path, plan_path, save_inputs
from .options import Options
from .own_server import OwnTriton
from .step import NAME, SOURCE, ensemble_config, step_engines
from .torch_networks import NETWORKS

Kind = Literal["eager", "compiled", "onnxruntime", "tensorrt", "empty"]
DRIVER = "step_driver"
_TIMEOUT_S = 540.0
# Residuals of both ControlNets at 1024² are 0.2 GB; all tensors of a step that Triton hands over fit in.
_DEVICE_POOL_BYTES = 2 << 30
_ROOT = Path(__file__).resolve().parents[2]
_DENOISING = SOURCE / "insta_depth_stream" / "1" / "denoising"


# No proxy is asked for a server on this machine, and its answers are larger than gRPC's own limit.
_CHANNEL = [("grpc.enable_http_proxy", 0), ("grpc.max_receive_message_length", -1)]


def measure(options: Options, kind: Kind) -> tuple[list[float], torch.Tensor]:
    """Serve engines that are prepared, drive them, and return the milliseconds of each step and the last noise_pred."""
    repository = write_repository(options, kind)
    with (
        _server(repository, options) as grpc_url,
        triton.InferenceServerClient(grpc_url, channel_args=_CHANNEL) as client,
    ):
        counts = np.array([options.warm_up, options.repeats], np.int32)
        asked = triton.InferInput("counts", [2], "INT32")
        asked.set_data_from_numpy(counts)
        answer = client.infer(DRIVER, [asked], client_timeout=_TIMEOUT_S)
    return answer.as_numpy("step_ms").tolist(), torch.from_numpy(answer.as_numpy("noise_pred").copy())


def write_repository(options: Options, kind: Kind) -> Path:
    """Write a repository with the ensemble, its engines and the driver."""
    repository = options.artefacts / f"repository-{kind}"
    shutil.rmtree(repository, ignore_errors=True)
    for name in step_engines(options):
        _write_engine(repository / name, options, kind)
    ensemble = text_format.Parse(ensemble_config(options), model_config_pb2.ModelConfig())
    ensemble.max_batch_size = options.networks.step["rows"]
    (repository / NAME / "1").mkdir(parents=True)
    _write(repository / NAME, ensemble)
    _write_driver(repository / DRIVER, options)
    return repository


def _write_engine(folder: Path, options: Options, kind: Kind) -> None:
    """The deployed policy, made sure that tensors stay on the device."""
    config = read_config(policy(folder.name))
    config.name, config.max_batch_size = folder.name, options.networks.step["rows"]
    if kind in NETWORKS:
        config.backend = "python"
        add_tensors(config, step_engines(options)[folder.name], options.float_type.io_dtype)
        config.parameters["kind"].string_value = kind
        _add_code(folder, "torch_engine.py")
    else:
        link((onnx_path if kind == "onnxruntime" else plan_path)(options, folder.name), folder / "1")
    _finish(config, folder, options)


def _write_driver(folder: Path, options: Options) -> None:
    config = model_config_pb2.ModelConfig(name=DRIVER, backend="python")
    types = model_config_pb2.DataType
    config.input.add(name="counts", data_type=types.Value("TYPE_INT32"), dims=[2])
    config.output.add(name="step_ms", data_type=types.Value("TYPE_FP32"), dims=[-1])
    config.output.add(name="noise_pred", data_type=types.Value("TYPE_FP32"), dims=[-1, -1, -1, -1])
    config.parameters["inputs"].string_value = str(save_inputs(options))
    _add_code(folder, "step_driver.py")
    for package in (SHARED, _DENOISING):
        shutil.copytree(package, folder / "1" / package.name, ignore=shutil.ignore_patterns("__pycache__"))
    _finish(config, folder, options)


def _add_code(folder: Path, source: str) -> None:
    (folder / "1").mkdir(parents=True)
    shutil.copy(Path(served.__file__).parent / source, folder / "1" / "model.py")


def _finish(config: model_config_pb2.ModelConfig, folder: Path, options: Options) -> None:
    """Place the model on the device, and let Triton leave tensors there."""
    del config.instance_group[:]
    group = config.instance_group.add(count=1)
    if options.is_on_gpu:
        group.kind = model_config_pb2.ModelInstanceGroup.KIND_GPU
        group.gpus.append(options.torch_device.index)
    else:
        group.kind = model_config_pb2.ModelInstanceGroup.KIND_CPU
    config.parameters["FORCE_CPU_ONLY_INPUT_TENSORS"].string_value = "no"
    config.parameters["root"].string_value = str(_ROOT)
    config.parameters["arguments"].string_value = "\n".join(options.arguments())
    _write(folder, config)


def _write(folder: Path, config: model_config_pb2.ModelConfig) -> None:
    (folder / "config.pbtxt").write_text(text_format.MessageToString(config), encoding="utf-8")


@contextmanager
def _server(repository: Path, options: Options) -> Iterator[str]:
    """Yield the gRPC address of a server of ``repository``, which ends with the block."""
    pool = []
    if options.is_on_gpu:
        pool = [f"--cuda-memory-pool-byte-size={options.torch_device.index}:{_DEVICE_POOL_BYTES}"]
    if options.tritonserver:
        with OwnTriton(options.tritonserver, repository, pool) as own:
            yield own.grpc_url
        return
    with LocalTriton(repository, ON_FREE_PORTS, more_arguments=pool, start_timeout_s=_TIMEOUT_S) as local:
        yield local.grpc_url
