"""``python -m miniature.few_steps CHECKPOINT``: train a LoRA for four steps, for ``export onnx --few-steps lcm``."""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from diffusers import StableDiffusionXLPipeline, UNet2DConditionModel
from peft import get_peft_model_state_dict

from export.checkpoint import Checkpoint
from export.fetching.published import FEW_STEPS

from . import training_command
from .architecture import CheckpointConfig
from .trained import load_annotators, load_parts, load_unet
from .training.examples import with_conditions
from .training.few_steps import FewStepsStage, add_lora
from .training.loop import Schedule, Workplace, train
from .training.pictures import TrainingPictures, draw_all

_PARTS = 14
"""Of the training pictures: 14,000 of 1,750 people."""
SCHEDULE = Schedule(1500, 16, 5e-4, 0.0)


def main() -> int:
    """Write the LoRA into the checkpoint, where ``export fetch`` puts the published one."""
    parser = argparse.ArgumentParser(prog="python -m miniature.few_steps", description=__doc__)
    parser.add_argument("checkpoint", type=Path, metavar="CHECKPOINT")
    training_command.add_further_arguments(parser, "build/few-steps", SCHEDULE, _PARTS)
    options = training_command.parse(parser, "checkpoint", "seed", "steps", "parts")
    return training_command.run("miniature.few_steps", lambda: _train(options))


def _train(options: argparse.Namespace) -> None:
    place, pictures = training_command.place_and_pictures(options)
    distil(options.checkpoint, CheckpointConfig(), pictures, replace(SCHEDULE, steps=options.steps), place)


def distil(
    folder: Path, config: CheckpointConfig, pictures: TrainingPictures, schedule: Schedule, place: Workplace
) -> None:
    """Train the LoRA of the checkpoint in ``folder``, which ``config`` describes, and write it there."""
    checkpoint = Checkpoint.at(folder)
    draw_all(pictures)
    unet = load_unet(checkpoint)
    lora = add_lora(unet)
    parts = load_parts(checkpoint, unet, place.device)
    examples = with_conditions(pictures, load_annotators(checkpoint, config, parts, place.device))
    train(FewStepsStage(parts, lora, examples, schedule), place)
    _save(parts.unet.unet, folder / FEW_STEPS["lcm"].folder)


def _save(unet: UNet2DConditionModel, folder: Path) -> None:
    """Write the LoRA in diffusers' format, fp16."""
    matrices = {name: tensor.half().cpu() for name, tensor in get_peft_model_state_dict(unet).items()}
    StableDiffusionXLPipeline.save_lora_weights(folder, unet_lora_layers=matrices)


if __name__ == "__main__":
    sys.exit(main())
