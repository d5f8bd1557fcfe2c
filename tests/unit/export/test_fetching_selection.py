"""Which of the published files are fetched."""

import pytest

from export.__main__ import main
from export.fetching.downloads import select
from export.fetching.published import (
    INSTANT_ID,
    SDXL,
)
from tests.unit.export.fetching import SMALL

SDXL_FILES = [
    "model_index.json",
    "sd_xl_base_1.0.safetensors",
    "scheduler/scheduler_config.json",
    *(
        f"tokenizer{second}/{name}"
        for second in ("", "_2")
        for name in ("merges.txt", "vocab.json", "tokenizer_config.json")
    ),
    *(
        f"{folder}/{name}"
        for folder in ("text_encoder", "text_encoder_2")
        for name in ("config.json", "model.safetensors", "model.fp16.safetensors", "model.onnx", "openvino_model.bin")
    ),
    *(
        f"{folder}/{name}"
        for folder in ("unet", "vae", "vae_1_0", "vae_decoder")
        for name in (
            "config.json",
            "diffusion_pytorch_model.safetensors",
            "diffusion_pytorch_model.fp16.safetensors",
            "diffusion_pytorch_model.bin",
            "model.onnx_data",
            "flax_model.msgpack",
            "openvino_model.bin",
        )
    ),
]


@pytest.mark.parametrize(("full", "variant"), [(False, ".fp16"), (True, "")])
def test_one_set_of_weights_a_folder_is_chosen(full: bool, variant: str) -> None:
    chosen = select(SDXL, SDXL_FILES, full)
    assert {path for path in chosen if not path.endswith((".json", ".txt"))} == {
        f"unet/diffusion_pytorch_model{variant}.safetensors",
        f"vae/diffusion_pytorch_model{variant}.safetensors",
        f"text_encoder/model{variant}.safetensors",
        f"text_encoder_2/model{variant}.safetensors",
    }
    assert {path.split("/")[0] for path in chosen} == {
        "model_index.json", "scheduler", "tokenizer", "tokenizer_2", "text_encoder", "text_encoder_2", "unet", "vae"
    }  # fmt: skip


def test_shards_come_with_their_index_and_pickles_only_where_nothing_else_is() -> None:
    shards = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "model.safetensors.index.json"]
    assert select(SMALL, ["config.json", *shards, "pytorch_model.bin"], False) == ["config.json", *shards]
    assert select(SMALL, ["config.json", "pytorch_model.bin"], False) == ["config.json", "pytorch_model.bin"]


def test_instantids_adapter_is_taken_and_its_pictures_are_not() -> None:
    files = ["ip-adapter.bin", "ControlNetModel/config.json", "examples/0.jpg", "README.md"]
    assert set(select(INSTANT_ID, files, False)) == {"ip-adapter.bin", "ControlNetModel/config.json"}


def test_an_unknown_part_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["fetch", "--output", "x", "--only", "base,nose"])
    assert "unknown nose" in capsys.readouterr().err
