"""LoRAs in both formats, fused into the base, against W + scale · alpha ∕ rank · BA computed by hand."""

import dataclasses
import json
import math
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from export.__main__ import _parser, main
from export.checkpoint import Checkpoint, Lora
from export.engines import ROW_OF
from export.errors import CheckpointError
from export.facts import read_facts
from export.networks.lora import check_loras
from export.precision import Precision
from export.repository import Export

SCALE = 0.7
TARGETS = {
    "unet": (
        "down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q",
        "down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k",
        "up_blocks.0.attentions.0.transformer_blocks.0.attn2.to_out.0",
        "mid_block.attentions.0.transformer_blocks.0.ff.net.0.proj",
    ),
    "text_encoder": (
        "text_model.encoder.layers.0.self_attn.q_proj",
        "text_model.encoder.layers.0.mlp.fc1",
    ),
    "text_encoder_2": (
        "text_model.encoder.layers.0.self_attn.v_proj",
        "text_model.encoder.layers.0.self_attn.out_proj",
    ),
}
KOHYA = {"unet": "lora_unet", "text_encoder": "lora_te1", "text_encoder_2": "lora_te2"}


@dataclasses.dataclass
class Layer:
    """A random LoRA layer; every other one has another rank and alpha."""

    down: torch.Tensor
    up: torch.Tensor
    alpha: float

    @property
    def delta(self) -> torch.Tensor:
        return self.alpha / self.down.shape[0] * (self.up.flatten(1) @ self.down.flatten(1))


@pytest.fixture(scope="module")
def checkpoint(tiny_checkpoint: Path) -> Checkpoint:
    return Checkpoint.at(tiny_checkpoint)


@pytest.fixture(scope="module")
def networks(checkpoint: Checkpoint) -> dict[str, nn.Module]:
    return {name: build(name, checkpoint) for name in TARGETS}


@pytest.fixture(scope="module")
def layers(networks: dict[str, nn.Module]) -> dict[str, dict[str, Layer]]:
    torch.manual_seed(0)
    return {
        name: {target: _layer(weight(networks[name], target), 2 + 2 * (i % 2), 1.0 + i) for i, target in enumerate(own)}
        for name, own in TARGETS.items()
    }


def build(name: str, checkpoint: Checkpoint, precision: Precision = Precision.FP32) -> nn.Module:
    return ROW_OF[name].module(checkpoint, read_facts(checkpoint), precision)


def weight(network: nn.Module, target: str) -> torch.Tensor:
    """A weight by its published name; transformers has dropped ``text_model.`` from one of the encoders."""
    weights = network.state_dict()
    names = [f"{owner}.{name}.weight" for owner in ("unet", "model") for name in (target, target[len("text_model.") :])]
    return next(weights[name] for name in names if name in weights)


def _layer(target: torch.Tensor, rank: int, alpha: float) -> Layer:
    down = torch.randn(rank, *target.shape[1:])
    up = torch.randn(target.shape[0], rank, *(1 for _ in target.shape[2:]))
    return Layer(down, up, alpha)


def diffusers_file(path: Path, layers: dict[str, dict[str, Layer]]) -> Path:
    """What diffusers saves; it has no alphas, so they are multiplied in."""
    tensors = {}
    for name, own in layers.items():
        for target, layer in own.items():
            tensors[f"{name}.{target}.lora_A.weight"] = layer.down
            tensors[f"{name}.{target}.lora_B.weight"] = layer.up * (layer.alpha / layer.down.shape[0])
    save_file(tensors, path)
    return path


def kohya_file(path: Path, layers: dict[str, dict[str, Layer]]) -> Path:
    """What kohya's trainer saves."""
    tensors = {}
    for name, own in layers.items():
        for target, layer in own.items():
            key = f"{KOHYA[name]}_{target.replace('.', '_')}"
            tensors |= {f"{key}.lora_down.weight": layer.down, f"{key}.lora_up.weight": layer.up}
            tensors[f"{key}.alpha"] = torch.tensor(layer.alpha)
    save_file(tensors, path)
    return path


FORMATS = pytest.mark.parametrize("write", [diffusers_file, kohya_file])


def with_loras(checkpoint: Checkpoint, *loras: Lora) -> Checkpoint:
    return dataclasses.replace(checkpoint, loras=loras)


@FORMATS
@pytest.mark.parametrize("name", list(TARGETS))
def test_the_fused_weights_are_those_computed_by_hand(
    checkpoint: Checkpoint, networks: dict, layers: dict, tmp_path: Path, write, name: str
) -> None:
    file = write(tmp_path / "lora.safetensors", layers)
    fused = build(name, with_loras(checkpoint, Lora(file, SCALE)))
    plain = networks[name]
    assert fused.state_dict().keys() == plain.state_dict().keys()
    touched = 0
    for target, layer in layers[name].items():
        expected = weight(plain, target) + SCALE * layer.delta.view_as(weight(plain, target))
        torch.testing.assert_close(weight(fused, target), expected, rtol=1e-5, atol=1e-5)
        touched += 1
    # Nothing else has changed.
    different = [key for key, value in fused.state_dict().items() if not value.equal(plain.state_dict()[key])]
    assert len(different) == touched


def test_loras_add_up_in_any_number(checkpoint: Checkpoint, networks: dict, layers: dict, tmp_path: Path) -> None:
    first = diffusers_file(tmp_path / "a.safetensors", layers)
    second = kohya_file(tmp_path / "b.safetensors", layers)
    fused = build("unet", with_loras(checkpoint, Lora(first, 0.5), Lora(second, -0.25)))
    for target, layer in layers["unet"].items():
        expected = weight(networks["unet"], target) + 0.25 * layer.delta
        torch.testing.assert_close(weight(fused, target), expected, rtol=1e-5, atol=1e-5)


def test_a_convolution_of_kohyas_is_fused(checkpoint: Checkpoint, networks: dict, tmp_path: Path) -> None:
    target = "down_blocks.0.resnets.0.conv1"
    plain = weight(networks["unet"], target)
    layer = _layer(plain, 4, 2.0)
    file = kohya_file(tmp_path / "lora.safetensors", {"unet": {target: layer}})
    fused = build("unet", with_loras(checkpoint, Lora(file)))
    torch.testing.assert_close(weight(fused, target), plain + layer.delta.view_as(plain), rtol=1e-4, atol=1e-5)


def test_kohyas_names_of_the_original_unet_are_understood(
    checkpoint: Checkpoint, networks: dict, tmp_path: Path
) -> None:
    """``input_blocks_3_1`` with one layer a block is diffusers' ``down_blocks.1.attentions.0``."""
    target = "down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q"
    layer = _layer(weight(networks["unet"], target), 2, 1.0)
    key = "lora_unet_input_blocks_3_1_transformer_blocks_0_attn1_to_q"
    tensors = {f"{key}.lora_down.weight": layer.down, f"{key}.lora_up.weight": layer.up}
    save_file(tensors | {f"{key}.alpha": torch.tensor(1.0)}, tmp_path / "lora.safetensors")
    fused = build("unet", with_loras(checkpoint, Lora(tmp_path / "lora.safetensors")))
    torch.testing.assert_close(weight(fused, target), weight(networks["unet"], target) + layer.delta)


def test_diffusers_own_description_of_the_alphas_is_used(
    checkpoint: Checkpoint, networks: dict, tmp_path: Path
) -> None:
    target = TARGETS["unet"][0]
    layer = _layer(weight(networks["unet"], target), 4, 8.0)
    tensors = {f"unet.{target}.lora_A.weight": layer.down, f"unet.{target}.lora_B.weight": layer.up}
    description = {"unet.r": 4, "unet.lora_alpha": 8, "unet.target_modules": [target]}
    metadata = {"format": "pt", "lora_adapter_metadata": json.dumps(description)}
    save_file(tensors, tmp_path / "lora.safetensors", metadata=metadata)
    fused = build("unet", with_loras(checkpoint, Lora(tmp_path / "lora.safetensors")))
    torch.testing.assert_close(weight(fused, target), weight(networks["unet"], target) + layer.delta)


def test_a_pickle_and_a_folder_are_read_too(
    checkpoint: Checkpoint, networks: dict, layers: dict, tmp_path: Path
) -> None:
    from safetensors.torch import load_file

    target = TARGETS["text_encoder"][0]
    folder = tmp_path / "folder"
    folder.mkdir()
    file = diffusers_file(folder / "any-name.safetensors", layers)
    torch.save(load_file(file), tmp_path / "lora.bin")
    for path in (folder, tmp_path / "lora.bin"):
        fused = build("text_encoder", with_loras(checkpoint, Lora(path)))
        expected = weight(networks["text_encoder"], target) + layers["text_encoder"][target].delta
        torch.testing.assert_close(weight(fused, target), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("precision", [Precision.FP16, Precision.BF16])
def test_half_precision_is_kept(checkpoint: Checkpoint, layers: dict, tmp_path: Path, precision: Precision) -> None:
    file = kohya_file(tmp_path / "lora.safetensors", layers)
    fused = build("text_encoder_2", with_loras(checkpoint, Lora(file, SCALE)), precision)
    plain = build("text_encoder_2", checkpoint, precision)
    target = TARGETS["text_encoder_2"][0]
    assert weight(fused, target).dtype == precision.torch_dtype
    expected = weight(plain, target).float() + SCALE * layers["text_encoder_2"][target].delta
    torch.testing.assert_close(weight(fused, target).float(), expected, rtol=2e-2, atol=2e-2)


def test_a_text_encoders_lora_acts(checkpoint: Checkpoint, networks: dict, layers: dict, tmp_path: Path) -> None:
    file = kohya_file(tmp_path / "lora.safetensors", layers)
    fused = build("text_encoder", with_loras(checkpoint, Lora(file)))
    tokens = torch.arange(77).unsqueeze(0) % 40
    assert (fused(tokens) - networks["text_encoder"](tokens)).abs().max() > 0.01


def test_a_lora_for_the_unet_alone_leaves_the_text_encoders(
    checkpoint: Checkpoint, networks: dict, layers: dict, tmp_path: Path
) -> None:
    file = diffusers_file(tmp_path / "lora.safetensors", {"unet": layers["unet"]})
    same = build("text_encoder", with_loras(checkpoint, Lora(file)))
    assert all(value.equal(networks["text_encoder"].state_dict()[key]) for key, value in same.state_dict().items())


def test_an_alpha_under_diffusers_old_names_is_used(checkpoint: Checkpoint, networks: dict, tmp_path: Path) -> None:
    target = TARGETS["unet"][0]
    layer = _layer(weight(networks["unet"], target), 4, 8.0)
    key = "unet." + target.replace(".to_q", ".processor.to_q_lora")
    tensors = {f"{key}.down.weight": layer.down, f"{key}.up.weight": layer.up, f"{key}.alpha": torch.tensor(8.0)}
    save_file(tensors, tmp_path / "lora.safetensors")
    fused = build("unet", with_loras(checkpoint, Lora(tmp_path / "lora.safetensors")))
    torch.testing.assert_close(weight(fused, target), weight(networks["unet"], target) + layer.delta)


# What is not a LoRA of this base

ATTENTION = "down_blocks_1_attentions_0_transformer_blocks_0_attn1_to_q"
UNET = f"lora_unet_{ATTENTION}"
PAIR = {f"{UNET}.lora_down.weight": torch.ones(2, 32), f"{UNET}.lora_up.weight": torch.ones(32, 2)}
TWO = torch.ones(2, 2)
FOREIGN = {
    "LoHa": {f"{UNET}.{part}": TWO for part in ("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b")},
    "LoKr": {f"{UNET}.lokr_w1": TWO, f"{UNET}.lokr_w2": TWO},
    r"\(IA\)³": {f"{UNET}.weight": TWO, f"{UNET}.on_input": torch.tensor(True)},
    "GLoRA": {f"{UNET}.{part}.weight": TWO for part in ("a1", "a2", "b1", "b2")},
    "OFT": {f"{UNET}.oft_blocks": TWO},
    "DoRA": PAIR | {f"{UNET}.dora_scale": torch.ones(1, 32)},
    "Tucker": PAIR | {f"{UNET}.lora_mid.weight": torch.ones(2, 2, 3, 3)},
    "whole weights": PAIR | {f"{UNET}.diff_b": torch.ones(32)},
    "biases": {"unet.conv_in.lora_A.weight": TWO, "unet.conv_in.lora_B.weight": TWO, "unet.conv_in.lora_B.bias": TWO},
    "textual inversion": {"clip_l": torch.ones(1, 64), "clip_g": torch.ones(1, 64)},
    "holds one": PAIR | {"bundle_emb.cat.clip_l": torch.ones(1, 64)},
    "whole checkpoint": {"model.diffusion_model.out.2.weight": TWO},
    "PEFT's own names": {
        "base_model.model.mid_block.lora_A.weight": TWO,
        "base_model.model.mid_block.lora_B.weight": TWO,
    },
    "SD 1 or 2": {"lora_te_text_model_encoder_layers_0_mlp_fc1.lora_down.weight": TWO},
    "diffusion transformer": {"lora_unet_double_blocks_0_img_attn_proj.lora_down.weight": TWO},
    r"a diffusion transformer .* \(transformer": {"transformer.blocks.0.lora_A.weight": TWO},
    "holds unet.mid_block.weight": {"unet.mid_block.weight": TWO},
    "holds no tensors": {},
    f"{UNET}.lora_up.weight and .* different ranks": PAIR | {f"{UNET}.lora_up.weight": torch.ones(32, 3)},
    f"{UNET}.lora_down.weight lacks the layer's other": {f"{UNET}.lora_down.weight": TWO},
    f"{UNET}.lora_up.weight lacks the layer's other": {f"{UNET}.lora_up.weight": TWO},
    "x.alpha belongs to no layer": PAIR | {"lora_unet_x.alpha": torch.tensor(1.0)},
    "lora_up.weight holds NaN": PAIR | {f"{UNET}.lora_up.weight": torch.full((32, 2), math.nan)},
    "alpha holds NaN or infinite": PAIR | {f"{UNET}.alpha": torch.tensor(math.inf)},
    "of type torch.int8": PAIR | {f"{UNET}.lora_up.weight": torch.ones(32, 2, dtype=torch.int8)},
    "its layer for .* is 32×320, there it is 32×32": PAIR | {f"{UNET}.lora_down.weight": torch.ones(2, 320)},
    "a layer for .*attn1.to_q, which is not there": {
        k.replace("blocks_0_attn", "blocks_9_attn"): v for k, v in PAIR.items()
    },
}


@pytest.mark.parametrize("message", list(FOREIGN))
def test_what_cannot_be_fused_whole_is_refused_before_the_first_engine(
    checkpoint: Checkpoint, tmp_path: Path, message: str
) -> None:
    """One tensor that would be left out is enough."""
    file = tmp_path / "lora.safetensors"
    save_file({key: tensor.clone() for key, tensor in FOREIGN[message].items()}, file)
    with pytest.raises(CheckpointError, match=message) as caught:
        check_loras(with_loras(checkpoint, Lora(file)))
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"no tensors", "cannot be read"),
        (b"", "cannot be read"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS"),
    ],
)
@pytest.mark.parametrize("suffix", ["safetensors", "bin"])
def test_a_file_that_cannot_be_read_is_named(
    checkpoint: Checkpoint, tmp_path: Path, content: bytes, message: str, suffix: str
) -> None:
    file = tmp_path / f"lora.{suffix}"
    file.write_bytes(content)
    with pytest.raises(CheckpointError, match=rf"{file}.*{message}"):
        check_loras(with_loras(checkpoint, Lora(file)))


def test_a_torn_file_is_named(checkpoint: Checkpoint, tmp_path: Path) -> None:
    file = tmp_path / "lora.safetensors"
    save_file(PAIR, file)
    file.write_bytes(file.read_bytes()[:-10])
    with pytest.raises(CheckpointError, match="cannot be read"):
        check_loras(with_loras(checkpoint, Lora(file)))


def test_an_export_looks_at_its_loras_first(checkpoint: Checkpoint, tmp_path: Path) -> None:
    file = tmp_path / "lora.safetensors"
    save_file({key: tensor.clone() for key, tensor in FOREIGN["LoHa"].items()}, file)
    with pytest.raises(CheckpointError, match="LoHa"):
        Export(with_loras(checkpoint, Lora(file)), tmp_path / "out")


def test_loras_that_fit_pass(checkpoint: Checkpoint, layers: dict, tmp_path: Path) -> None:
    for write in (diffusers_file, kohya_file):
        check_loras(with_loras(checkpoint, Lora(write(tmp_path / f"{write.__name__}.safetensors", layers))))


def test_a_lora_with_one_layer_too_many_is_refused(checkpoint: Checkpoint, layers: dict, tmp_path: Path) -> None:
    """diffusers only warns of it, and the rest would act without it."""
    extra = {
        "down_blocks.1.attentions.0.transformer_blocks.9.attn1.to_q": Layer(torch.ones(2, 32), torch.ones(32, 2), 1)
    }
    for write in (diffusers_file, kohya_file):
        file = write(tmp_path / "lora.safetensors", {"unet": layers["unet"] | extra})
        with pytest.raises(CheckpointError, match=r"blocks\.9\.attn1\.to_q, which is not there"):
            build("unet", with_loras(checkpoint, Lora(file)))


def test_a_missing_lora_is_named_at_once(tiny_checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"missing: .*none\.safetensors"):
        Checkpoint.at(tiny_checkpoint, (Lora(tmp_path / "none.safetensors"),))
    with pytest.raises(CheckpointError, match=r"holds 0 \.safetensors files"):
        Checkpoint.at(tiny_checkpoint, (Lora(tmp_path),))


# The command


@pytest.mark.parametrize(
    ("text", "lora"),
    [
        ("a.safetensors", Lora(Path("a.safetensors"), 1.0)),
        ("a.safetensors:0.8", Lora(Path("a.safetensors"), 0.8)),
        ("folder/a:b:-1", Lora(Path("folder/a:b"), -1.0)),
    ],
)
def test_a_lora_on_the_command_line(text: str, lora: Lora) -> None:
    options = _parser().parse_args(["onnx", "--checkpoint", "c", "--output", "o", "--lora", text, "--lora", "b"])
    assert options.lora == [lora, Lora(Path("b"))]


@pytest.mark.parametrize("text", ["a:nan", "a:inf", "a:much", ":1", "a:", ""])
def test_a_scale_that_is_no_number_is_said(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["onnx", "--checkpoint", "c", "--output", "o", "--lora", text])
    assert "PATH:SCALE" in capsys.readouterr().err


@pytest.mark.slow
def test_only_the_engines_that_a_lora_touches_become_out_of_date(
    checkpoint: Checkpoint, layers: dict, tmp_path: Path
) -> None:
    file = kohya_file(tmp_path / "lora.safetensors", layers)

    def stamps(*loras: Lora) -> dict[str, dict[str, str]]:
        export = Export(with_loras(checkpoint, *loras), tmp_path / "out")
        return {name: export._fingerprint(name) for name in export.table}

    plain, fused, stronger = stamps(), stamps(Lora(file, 0.5)), stamps(Lora(file, 0.6))
    os.utime(file, (1, 1))
    replaced = stamps(Lora(file, 0.5))
    for changed, before in ((fused, plain), (stronger, fused), (replaced, fused)):
        assert {n for n in plain if changed[n]["fingerprint"] != before[n]["fingerprint"]} == set(TARGETS)
    assert fused["unet"]["loras"] == "lora.safetensors:0.5"
    assert "loras" not in plain["unet"]
    assert "loras" not in fused["vae_decoder"]


@pytest.mark.slow
def test_the_exported_engine_has_the_lora_in_it(
    tiny_checkpoint: Path, networks: dict, layers: dict, tmp_path: Path
) -> None:
    import onnxruntime

    file = kohya_file(tmp_path / "lora.safetensors", layers)
    out = tmp_path / "out"
    command = ["onnx", "--checkpoint", str(tiny_checkpoint), "--output", str(out), "--only", "text_encoder"]
    assert main([*command, "--lora", f"{file}:{SCALE}"]) == 0
    session = onnxruntime.InferenceSession(out / "text_encoder" / "1" / "model.onnx")
    tokens = torch.arange(77).unsqueeze(0) % 40
    (exported,) = session.run(None, {"input_ids": tokens.numpy()})
    fused = build("text_encoder", Checkpoint.at(tiny_checkpoint, (Lora(file, SCALE),)))
    torch.testing.assert_close(torch.from_numpy(exported), fused(tokens), rtol=1e-4, atol=1e-4)
    assert (torch.from_numpy(exported) - networks["text_encoder"](tokens)).abs().max() > 0.01
    assert json.loads((out / "text_encoder" / "export.json").read_text())["loras"] == f"lora.safetensors:{SCALE}"
