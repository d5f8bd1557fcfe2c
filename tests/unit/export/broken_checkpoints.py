"""Ways to break one file of a checkpoint, whose other files stay links to the sound ones."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import torch
from onnx import helper
from safetensors.torch import load_file, save_file

Tensors = dict[str, torch.Tensor]
Break = Callable[[Path], None]


def linked_copy(checkpoint: Path, folder: Path) -> Path:
    """Return a copy whose files are links: `put` and its like replace them one by one."""
    return shutil.copytree(checkpoint, folder, copy_function=os.symlink)


def put(path: Path, content: bytes) -> None:
    path.unlink(missing_ok=True)
    path.write_bytes(content)


def raw(name: str, content: bytes) -> Break:
    return lambda folder: put(folder / name, content)


def cut(name: str, share: float = 0.5) -> Break:
    def change(folder: Path) -> None:
        content = (folder / name).read_bytes()
        put(folder / name, content[: int(len(content) * share)])

    return change


def removed(name: str) -> Break:
    return lambda folder: (folder / name).unlink()


def as_directory(name: str) -> Break:
    def change(folder: Path) -> None:
        (folder / name).unlink()
        (folder / name).mkdir()

    return change


def fields(name: str, *without: str, **changes: Any) -> Break:
    """Change fields of a JSON object, or take them away."""

    def change(folder: Path) -> None:
        content = json.loads((folder / name).read_text(encoding="utf-8")) | changes
        kept = {key: value for key, value in content.items() if key not in without}
        put(folder / name, json.dumps(kept).encode())

    return change


def weights(name: str, edit: Callable[[Tensors], Tensors]) -> Break:
    """Change what a .safetensors file holds."""

    def change(folder: Path) -> None:
        tensors = edit(load_file(folder / name))
        (folder / name).unlink()
        save_file({key: tensor.contiguous() for key, tensor in tensors.items()}, folder / name, {"format": "pt"})

    return change


def adapter(edit: Callable[[dict[str, Tensors]], dict[str, Tensors]]) -> Break:
    """Change what ``ip-adapter.bin`` holds."""

    def change(folder: Path) -> None:
        path = folder / "instantid" / "ip-adapter.bin"
        content = edit(torch.load(path, weights_only=True))
        path.unlink()
        torch.save(content, path)

    return change


def face_model(name: str, edit: Callable[[onnx.ModelProto], None]) -> Break:
    def change(folder: Path) -> None:
        path = folder / "antelopev2" / name
        model = onnx.load(path)
        edit(model)
        path.unlink()
        onnx.save(model, path)

    return change


def without(key: str) -> Callable[[Tensors], Tensors]:
    return lambda tensors: {name: tensor for name, tensor in tensors.items() if name != key}


def also(key: str, *shape: int) -> Callable[[Tensors], Tensors]:
    return lambda tensors: tensors | {key: torch.zeros(shape)}


def changed(key: str, edit: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[Tensors], Tensors]:
    return lambda tensors: tensors | {key: edit(tensors[key])}


def prefixed(prefix: str) -> Callable[[Tensors], Tensors]:
    return lambda tensors: {prefix + name: tensor for name, tensor in tensors.items()}


def fewer_outputs(model: onnx.ModelProto) -> None:
    """As SCRFD without keypoints."""
    del model.graph.output[6:]


def outputs_in_other_order(model: onnx.ModelProto) -> None:
    outputs = list(model.graph.output)
    del model.graph.output[:]
    model.graph.output.extend(outputs[3:] + outputs[:3])


def grey_input(model: onnx.ModelProto) -> None:
    """A model of one channel."""
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 1


def narrower_embedding(model: onnx.ModelProto) -> None:
    """Cut the embedding to its first 128 numbers."""
    output = model.graph.output[0]
    for node in model.graph.node:
        node.output[:] = ["whole" if name == output.name else name for name in node.output]
    bounds = {"from": [0], "to": [128], "axis": [1]}
    model.graph.initializer.extend(helper.make_tensor(k, onnx.TensorProto.INT64, [1], v) for k, v in bounds.items())
    model.graph.node.append(helper.make_node("Slice", ["whole", *bounds], [output.name]))
    output.type.tensor_type.shape.dim[1].dim_value = 128
