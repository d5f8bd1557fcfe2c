"""A UNet's input and prediction target at each timestep, in closed form from the scheduler's training fields."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch

_LEAST_WEIGHT = 2.0**-12
"""Lower bound of the clean latents' weight, so that nothing is divided by 0 at zero terminal SNR."""
_LOG_SIGMA_MAX = 40.0


class Training(Protocol):
    """Noise levels by timestep, and how a prediction follows from the network's input and the clean latents."""

    def levels(self, timestep: float) -> tuple[float, float]:
        """Return (signal, noise): the network's input is signal × clean + noise × unit noise."""
        ...

    def weights(self, timestep: float) -> tuple[float, float]:
        """Return (a, b): the right prediction is a × input + b × clean."""
        ...


def training_of(config: Mapping[str, Any]) -> Training:
    """Return the training described by a scheduler's full configuration, defaults included."""
    prediction = config.get("prediction_type", "epsilon")
    if "sigma_data" in config:
        return EdmTraining(float(config["sigma_data"]), prediction)
    if prediction == "v_prediction" and config.get("timestep_type") == "continuous":
        return EdmTraining(1.0, prediction)
    if prediction == "flow_prediction" or config.get("use_flow_sigmas"):
        return FlowTraining(config["num_train_timesteps"])
    return DiscreteTraining(_noise_angles(config), prediction)


def original_from(training: Training, sample: torch.Tensor, prediction: torch.Tensor, timestep: float) -> torch.Tensor:
    """Return the clean latents that a prediction for the network's input ``sample`` implies."""
    of_sample, of_original = training.weights(timestep)
    return (prediction - of_sample * sample) / math.copysign(max(abs(of_original), _LEAST_WEIGHT), of_original)


def prediction_of(training: Training, sample: torch.Tensor, original: torch.Tensor, timestep: float) -> torch.Tensor:
    """Return what a perfect network predicts for the clean latents ``original``."""
    of_sample, of_original = training.weights(timestep)
    return of_sample * sample + of_original * original


@dataclass(frozen=True)
class DiscreteTraining:
    """Variance-preserving noise at whole timesteps; ``angles``: arctan(noise / signal) of each."""

    angles: np.ndarray
    prediction_type: str

    def levels(self, timestep: float) -> tuple[float, float]:
        """Between two whole timesteps the angle is interpolated, as schedulers interpolate sigma."""
        angle = float(np.interp(timestep, np.arange(len(self.angles)), self.angles))
        return math.cos(angle), math.sin(angle)

    def weights(self, timestep: float) -> tuple[float, float]:
        """Of noise (``epsilon``), velocity (``v_prediction``) or the clean latents themselves."""
        signal, noise = self.levels(timestep)
        if self.prediction_type == "v_prediction":
            return signal / noise, -1 / noise
        if self.prediction_type in ("sample", "original_sample"):
            return 0.0, 1.0
        return 1 / noise, -signal / noise


@dataclass(frozen=True)
class FlowTraining:
    """Straight lines between picture and noise; the prediction is noise − clean."""

    num_train_timesteps: int

    def levels(self, timestep: float) -> tuple[float, float]:
        """The noise's share is the timestep's."""
        share = timestep / self.num_train_timesteps
        return 1 - share, share

    def weights(self, timestep: float) -> tuple[float, float]:
        """Of the difference between noise and clean latents."""
        _, noise = self.levels(timestep)
        return 1 / noise, -1 / noise


@dataclass(frozen=True)
class EdmTraining:
    """Karras et al.'s preconditioning (arXiv 2206.00364); a timestep is log(sigma) / 4."""

    sigma_data: float
    prediction_type: str

    def levels(self, timestep: float) -> tuple[float, float]:
        """The input is scaled to unit variance."""
        sigma = self._sigma(timestep)
        scale = 1 / math.hypot(sigma, self.sigma_data)
        return scale, scale * sigma

    def weights(self, timestep: float) -> tuple[float, float]:
        """Of the preconditioned network; ``v_prediction`` has the other sign."""
        sigma = self._sigma(timestep)
        scale = math.hypot(sigma, self.sigma_data)
        output = sigma * self.sigma_data / scale * (-1 if self.prediction_type == "v_prediction" else 1)
        skip = self.sigma_data**2 / scale**2
        return -skip * scale / output, 1 / output

    @staticmethod
    def _sigma(timestep: float) -> float:
        return math.exp(min(4 * timestep, _LOG_SIGMA_MAX))


def _noise_angles(config: Mapping[str, Any]) -> np.ndarray:
    kept = np.sqrt(np.cumprod(1 - _betas(config)))
    if config.get("rescale_betas_zero_snr"):
        # arXiv 2305.08891, algorithm 1: shifted so that the last is 0, scaled so that the first stays.
        kept = (kept - kept[-1]) * kept[0] / (kept[0] - kept[-1])
    return np.arccos(kept)


def _betas(config: Mapping[str, Any]) -> np.ndarray:
    if config.get("trained_betas") is not None:
        return np.asarray(config["trained_betas"], np.float64)
    if "beta_start" not in config:
        raise ValueError("it has no betas: it is made for another kind of model")
    count, start, end = config["num_train_timesteps"], config["beta_start"], config["beta_end"]
    schedule = config["beta_schedule"]
    if schedule == "linear":
        return np.linspace(start, end, count)
    if schedule == "scaled_linear":
        return np.linspace(start**0.5, end**0.5, count) ** 2
    if schedule == "squaredcos_cap_v2":
        kept = np.cos((np.arange(count + 1) / count + 0.008) / 1.008 * np.pi / 2) ** 2
        return np.minimum(1 - kept[1:] / kept[:-1], 0.999)
    raise ValueError(f"beta_schedule: {schedule!r} is none of linear, scaled_linear, squaredcos_cap_v2")
