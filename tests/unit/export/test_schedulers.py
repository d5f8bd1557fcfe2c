"""What each published kind of checkpoint offers, and that it leads a network that knows the picture to the picture.

The network here is written from the papers, on the noise that the configuration names; it takes no number from a
scheduler.
"""

import json
import math
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from denoising.schedulers import SCHEDULERS, build_scheduler, prepare_scheduler
from denoising.trajectory import Trajectory

from export.errors import CheckpointError
from export.schedulers import Schedulers, read_schedulers
from tests.reference.scheduler import BETAS, SDXL

ZERO_SNR = {"prediction_type": "v_prediction", "rescale_betas_zero_snr": True}
EDM = {"sigma_data": 0.5, "sigma_min": 0.002, "sigma_max": 80.0, "rho": 7.0, "prediction_type": "epsilon"}
CONTINUOUS = {"timestep_type": "continuous", "prediction_type": "v_prediction", "sigma_min": 0.002, "sigma_max": 700.0}
FLOW = {"prediction_type": "flow_prediction", "use_flow_sigmas": True, "flow_shift": 3.0}


def of_class(name: str, **changes: Any) -> dict[str, Any]:
    return SDXL | {"_class_name": f"{name}Scheduler"} | changes


EVERY = tuple(SCHEDULERS)
PUBLISHED: dict[str, tuple[dict[str, Any], str, tuple[str, ...]]] = {
    "SDXL base": (SDXL, "euler", EVERY),
    "v-prediction": (SDXL | {"prediction_type": "v_prediction"}, "euler", EVERY),
    "zero SNR, leading": (SDXL | ZERO_SNR, "euler", EVERY),
    "zero SNR, trailing, DDIM": (of_class("DDIM", timestep_spacing="trailing", **ZERO_SNR), "ddim", EVERY),
    "Lightning": (SDXL | {"timestep_spacing": "trailing"}, "euler", EVERY),
    "Turbo": (of_class("EulerAncestralDiscrete", timestep_spacing="trailing"), "euler_ancestral", EVERY),
    "linspace": (SDXL | {"timestep_spacing": "linspace"}, "euler", EVERY),
    "Karras": (SDXL | {"use_karras_sigmas": True}, "euler", EVERY),
    "exponential": (SDXL | {"use_exponential_sigmas": True}, "euler", EVERY),
    "beta": (SDXL | {"use_beta_sigmas": True}, "euler", EVERY),
    "linear betas": (SDXL | {"beta_schedule": "linear", "beta_start": 1e-4, "beta_end": 0.02}, "euler", EVERY),
    "DPM++": (of_class("DPMSolverMultistep"), "dpmpp_2m", EVERY),
    "DPM++ Karras": (of_class("DPMSolverMultistep", use_karras_sigmas=True), "dpmpp_2m_karras", EVERY),
    "DPM++ SDE": (of_class("DPMSolverMultistep", algorithm_type="sde-dpmsolver++"), "checkpoint", EVERY),
    "LCM": (of_class("LCM", original_inference_steps=50), "lcm", EVERY),
    "TCD": (of_class("TCD", original_inference_steps=50), "checkpoint", EVERY),
    "DDPM": (of_class("DDPM"), "checkpoint", EVERY),
    "PNDM": (of_class("PNDM"), "checkpoint", EVERY),
    "DEIS": (of_class("DEISMultistep"), "checkpoint", EVERY),
    "Heun": (of_class("HeunDiscrete"), "checkpoint", EVERY),
    "UniPC": (of_class("UniPCMultistep"), "unipc", EVERY),
    "predicts the picture": (
        of_class("DDIM", prediction_type="sample"),
        "ddim",
        tuple(name for name in EVERY if name != "euler_ancestral"),
    ),
    "Playground v2.5": ({"_class_name": "EDMDPMSolverMultistepScheduler", **EDM}, "checkpoint", ("checkpoint",)),
    "EDM": ({"_class_name": "EDMEulerScheduler", **EDM}, "checkpoint", ("checkpoint",)),
    "CosXL": (
        {"_class_name": "EDMEulerScheduler", **EDM, "sigma_data": 1.0, "prediction_type": "v_prediction"},
        "checkpoint",
        ("checkpoint",),
    ),
    "continuous": (SDXL | CONTINUOUS | {"use_karras_sigmas": True}, "euler", ("euler", "checkpoint")),
    "flow": (of_class("UniPCMultistep", **FLOW), "unipc", ("dpmpp_2m", "unipc", "checkpoint")),
}
SHAPE = (1, 4, 48, 48)


@cache
def kept_of(kind: str) -> np.ndarray:
    """The share of the picture in the training's noisy latents at every timestep."""
    config = PUBLISHED[kind][0]
    power = 2 if config["beta_schedule"] == "scaled_linear" else 1
    ends = (config[name] ** (1 / power) for name in ("beta_start", "beta_end"))
    kept = np.sqrt(np.cumprod(1 - np.linspace(*ends, config["num_train_timesteps"]) ** power))
    if config.get("rescale_betas_zero_snr"):
        kept = (kept - kept[-1]) / (kept[0] - kept[-1]) * kept[0]
    return kept


class Knowing:
    """A network that knows the picture ``clean``, trained as ``kind`` was."""

    def __init__(self, kind: str, clean: torch.Tensor) -> None:
        self.config = PUBLISHED[kind][0]
        self.kind = kind
        self.clean = clean

    def noise_level(self, timestep: float) -> float:
        """Of the noise in what it was trained to see."""
        if "sigma_data" in self.config or self.config.get("timestep_type") == "continuous":
            sigma, data = math.exp(4 * timestep), self.config.get("sigma_data", 1.0)
            return sigma / math.sqrt(sigma**2 + data**2)
        if self.config.get("use_flow_sigmas"):
            return timestep / 1000
        return math.sqrt(1 - self._kept(timestep) ** 2)

    def signal_level(self, timestep: float) -> float:
        if "sigma_data" in self.config or self.config.get("timestep_type") == "continuous":
            return 1 / math.sqrt(math.exp(8 * timestep) + self.config.get("sigma_data", 1.0) ** 2)
        return 1 - timestep / 1000 if self.config.get("use_flow_sigmas") else self._kept(timestep)

    def __call__(self, seen: torch.Tensor, timestep: float) -> torch.Tensor:
        kept, noise_level = self.signal_level(timestep), self.noise_level(timestep)
        noise = (seen - kept * self.clean) / noise_level
        if "sigma_data" in self.config or self.config.get("timestep_type") == "continuous":
            return self._preconditioned(seen, math.exp(4 * timestep), self.config.get("sigma_data", 1.0))
        return {
            "epsilon": noise,
            "v_prediction": kept * noise - noise_level * self.clean,
            "sample": self.clean,
            "flow_prediction": noise - self.clean,
        }[self.config["prediction_type"]]

    def _preconditioned(self, seen: torch.Tensor, sigma: float, data: float) -> torch.Tensor:
        """Table 1 of arXiv 2206.00364: clean = c_skip · noisy + c_out · network(c_in · noisy)."""
        total = sigma**2 + data**2
        noisy = seen * math.sqrt(total)
        c_out = sigma * data / math.sqrt(total)
        sign = -1 if self.config["prediction_type"] == "v_prediction" else 1
        return (self.clean - data**2 / total * noisy) / (sign * c_out)

    def _kept(self, timestep: float) -> float:
        kept = kept_of(self.kind)
        return float(np.interp(timestep, np.arange(len(kept)), kept))


def rms(values: torch.Tensor) -> float:
    return values.square().mean().sqrt().item()


def written(config: Any, base: Path, index: dict[str, Any] | None = None) -> Path:
    (base / "scheduler").mkdir()
    (base / "scheduler" / "scheduler_config.json").write_text(json.dumps(config))
    if index is not None:
        (base / "model_index.json").write_text(json.dumps(index))
    return base


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory) -> Any:
    @cache
    def read(kind: str) -> Schedulers:
        return read_schedulers(written(PUBLISHED[kind][0], tmp_path_factory.mktemp("base")))

    return read


@pytest.mark.parametrize("kind", PUBLISHED)
def test_a_checkpoint_offers_what_fits_it(read: Any, kind: str) -> None:
    config, default, offered = PUBLISHED[kind]
    assert read(kind) == Schedulers(config, offered, default)


CASES = [(kind, name) for kind, (_, _, offered) in PUBLISHED.items() for name in offered]


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "name"), CASES)
def test_what_is_offered_ends_at_the_picture(kind: str, name: str) -> None:
    config = PUBLISHED[kind][0]
    for steps in (4, 13):
        scheduler, generator = prepare_scheduler(name, steps, config), torch.Generator().manual_seed(steps)
        clean = torch.randn(SHAPE, generator=generator) * config.get("sigma_data", 1.0)
        network = Knowing(kind, clean)
        way = Trajectory(scheduler, torch.randn(SHAPE, generator=generator), generator)
        while not way.is_finished:
            seen, timestep = way.network_input(), way.timestep
            noise = rms(seen - network.signal_level(timestep) * clean)
            assert noise == pytest.approx(network.noise_level(timestep), rel=0.25)
            way.advance(network(seen, timestep))
            assert rms(way.predicted_original - clean) < 2e-3
        assert rms(way.latents - clean) < 0.04


@pytest.mark.parametrize(("kind", "name"), [each for each in CASES if "beta_start" in PUBLISHED[each[0]][0]])
def test_the_noise_is_the_trainings(kind: str, name: str) -> None:
    kept = torch.from_numpy(kept_of(kind)).float()
    found = build_scheduler(name, PUBLISHED[kind][0]).alphas_cumprod.sqrt()
    assert (found - kept).abs().max() < 3e-4  # 2⁻¹² stands for zero


def test_zero_snr_begins_where_there_is_no_signal() -> None:
    for name in EVERY[:-1]:
        first = prepare_scheduler(name, 10, of_class("TCD", **ZERO_SNR)).timesteps[0]
        assert round(float(first)) == 999, name


def test_the_checkpoints_own_is_its_file_whole() -> None:
    odd = of_class("DPMSolverMultistep", algorithm_type="sde-dpmsolver++", use_lu_lambdas=True, solver_order=3)
    own = build_scheduler("checkpoint", odd)
    assert type(own) is diffusers.DPMSolverMultistepScheduler
    assert {name: own.config[name] for name in odd if name in own.config and name[0] != "_"}.items() <= odd.items()


def test_euler_on_an_euler_checkpoint_is_the_published_pipelines() -> None:
    for changes in ({}, ZERO_SNR, {"timestep_spacing": "trailing"}, {"use_karras_sigmas": True}):
        config = SDXL | changes
        ours, published = build_scheduler("euler", config), diffusers.EulerDiscreteScheduler.from_config(config)
        for scheduler in (ours, published):
            scheduler.set_timesteps(10)
        assert torch.equal(ours.sigmas, published.sigmas)
        assert torch.equal(ours.timesteps, published.timesteps)
        assert ours.init_noise_sigma == published.init_noise_sigma


def test_the_sampling_of_another_class_is_sdxls() -> None:
    config = of_class("DPMSolverMultistep", timestep_spacing="linspace", steps_offset=0, final_sigmas_type="sigma_min")
    ddim, euler = build_scheduler("ddim", config).config, build_scheduler("euler", config).config
    assert (ddim.timestep_spacing, ddim.steps_offset, ddim.clip_sample, ddim.set_alpha_to_one) == (
        "leading",
        1,
        False,
        False,
    )
    assert (euler.timestep_spacing, euler.steps_offset, euler.final_sigmas_type) == ("leading", 1, "zero")


REFUSED: dict[str, tuple[Any, str]] = {
    "unknown class": (
        of_class("DPMSolverFlash"),
        "_class_name: 'DPMSolverFlashScheduler' is no scheduler of diffusers",
    ),
    "no class": ({"beta_start": 0.1}, "_class_name: None is no scheduler of diffusers"),
    "not a scheduler": (SDXL | {"_class_name": "schedulers"}, "_class_name: 'schedulers' is no scheduler"),
    "missing library": (of_class("DPMSolverSDE"), "DPMSolverSDEScheduler needs torchsde, which is not"),
    "flow matching": (
        {"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": 3.0},
        "FlowMatchEulerDiscreteScheduler has no scale_model_input",
    ),
    "another protocol": (of_class("KarrasVe"), "KarrasVeScheduler: it has no betas"),
    "other arguments": (of_class("RePaint"), "RePaintScheduler: TypeError: RePaintScheduler.step() missing 2 required"),
    "two sigma flags": (
        SDXL | {"use_karras_sigmas": True, "use_beta_sigmas": True},
        "EulerDiscreteScheduler: use_beta_sigmas is true, where false works (Only one of",
    ),
    "text for a number": (
        SDXL | {"beta_start": "0.00085"},
        'EulerDiscreteScheduler: beta_start is "0.00085", where 0.00085 works (TypeError: ',
    ),
    "a fraction for a count": (
        SDXL | {"num_train_timesteps": 1000.0},
        "EulerDiscreteScheduler: num_train_timesteps is 1000.0, where 1000 works (TypeError: ",
    ),
    "unknown prediction": (
        SDXL | {"prediction_type": "eps"},
        'EulerDiscreteScheduler: prediction_type is "eps", where "epsilon" works (',
    ),
    "two fields": (
        SDXL | {"beta_schedule": "cosine", "timestep_spacing": "late"},
        'EulerDiscreteScheduler: beta_schedule is "cosine", where "scaled_linear" works; '
        'timestep_spacing is "late", where "leading" works (',
    ),
    "clips latents": (
        of_class("DDIM", clip_sample=True),
        "DDIMScheduler: clip_sample is true, where false works (",
    ),
    "clips latents by default": (
        {"_class_name": "DDIMScheduler", **BETAS},
        "DDIMScheduler: clip_sample is left out and so true, where false works (",
    ),
    "too few steps": (
        of_class("LCM", num_train_timesteps=8),
        "LCMScheduler: num_train_timesteps is 8, where 1000 works (it takes 8 steps at most, and 10 are the",
    ),
    "runs backwards": (of_class("DDIMInverse"), "DDIMInverseScheduler: at timestep 1 the UNet was trained on noise of"),
}


@pytest.mark.parametrize(("config", "said"), REFUSED.values(), ids=REFUSED)
def test_an_own_scheduler_that_cannot_serve_ends_the_export(tmp_path: Path, config: Any, said: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        read_schedulers(written(config, tmp_path))
    path = tmp_path / "scheduler" / "scheduler_config.json"
    assert str(caught.value).startswith(f"{path}: {said}")
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_object_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"scheduler_config.json holds list, and a JSON object is needed"):
        read_schedulers(written([1], tmp_path))


def test_the_class_is_the_pipelines_index_s(tmp_path: Path) -> None:
    """As diffusers' own pipelines load it, whatever class the scheduler's file names."""
    base = written(SDXL, tmp_path, {"scheduler": ["diffusers", "EulerAncestralDiscreteScheduler"]})
    assert read_schedulers(base).default == "euler_ancestral"


@pytest.mark.slow
def test_each_step_count_of_a_request_works() -> None:
    for name, steps in product(SCHEDULERS, range(4, 101)):
        assert len(prepare_scheduler(name, steps, SDXL).timesteps) == steps
