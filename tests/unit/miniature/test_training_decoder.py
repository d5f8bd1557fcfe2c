import pytest
import torch

from miniature.architecture import CheckpointConfig, VaeConfig
from miniature.diffusion import build_vae
from miniature.pixels import to_model
from miniature.training.decoder import DecoderStage, _as_strong, _pull
from miniature.training.loop import Schedule
from miniature.training.pictures import TrainingPictures

pytestmark = pytest.mark.slow

IMAGE = torch.randint(0, 256, (2, 3, 32, 32), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
BATCH = {"image": IMAGE, "weight": torch.ones(2, 1, 32, 32, dtype=torch.uint8)}


@pytest.fixture
def stage(tmp_path):
    """What the VAE's own stage has left is frozen; the loop thaws what this one trains."""
    vae = build_vae(CheckpointConfig(vae=VaeConfig(channels=(8, 8, 8, 8))), seed=0).eval().requires_grad_(False)
    stage = DecoderStage(vae, TrainingPictures(tmp_path, seed=0), Schedule(1, 2, 1e-3))
    stage.trained.requires_grad_(True)
    return stage


def learns(network):
    return any(parameter.grad is not None and parameter.grad.any() for parameter in network.parameters())


@pytest.mark.parametrize("term", ["pixels", "edges", "drawn", "matching"])
def test_the_decoder_learns_from_its_errors_and_from_the_discriminator(stage, term):
    stage.losses(BATCH)[term].backward()
    assert learns(stage.trained["decoder"])
    assert learns(stage.trained["post_quant"])
    assert not learns(stage.trained["discriminator"])


def test_the_discriminator_learns_to_tell_and_nobody_else_does(stage):
    stage.losses(BATCH)["told"].backward()
    assert learns(stage.trained["discriminator"])
    assert not learns(stage.trained["decoder"])


def test_the_encoder_keeps_its_latents(stage):
    sum(stage.losses(BATCH).values()).backward()
    assert not learns(stage.vae.encoder)
    assert not learns(stage.vae.quant_conv)


def test_what_is_drawn_moves_towards_what_the_discriminator_takes_for_real(stage):
    """Trained on that term alone, the decoder's pictures please more than before."""
    optimizer = torch.optim.Adam(stage.trained["decoder"].parameters(), 1e-3)
    pleased = []
    for _ in range(8):
        torch.manual_seed(0)
        optimizer.zero_grad()
        loss = stage.losses(BATCH)["drawn"]
        pleased.append(stage._discriminator(decoded(stage))[0].mean().item())
        loss.backward()
        optimizer.step()
    assert pleased[-1] > pleased[0]


def test_a_term_pulls_as_strongly_as_it_is_told():
    picture = torch.randn(3, 4, requires_grad=True)
    error, term = 5 * picture.square().sum(), 1e-4 * picture.sin().sum()
    pulls = [torch.autograd.grad(each, picture, retain_graph=True)[0] for each in (error, term)]
    pull = torch.autograd.grad(_as_strong(0.5 * _pull(error, picture), term, picture), picture)[0]
    torch.testing.assert_close(pull.norm(), 0.5 * pulls[0].norm())
    torch.testing.assert_close(pull / pull.norm(), pulls[1] / pulls[1].norm())


@torch.no_grad()
def decoded(stage):
    latents = stage.vae.encode(to_model(IMAGE)).latent_dist.mean
    return stage.vae.decode(latents).sample
