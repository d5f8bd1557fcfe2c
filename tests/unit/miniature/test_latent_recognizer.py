import numpy as np
import pytest
import torch
import torch.nn.functional as F
from insightface.utils.face_align import arcface_dst

from miniature.training.examples import Examples
from miniature.training.latent_recognizer import LatentRecognizer, LatentRecognizerStage, face_crops
from miniature.training.loop import Schedule

POINTS = np.array([[50.0, 60], [74, 58], [63, 72], [54, 84], [73, 83]], np.float32)


def test_a_crop_is_where_insightface_cuts_the_face():
    across, down = np.meshgrid(np.arange(16), np.arange(20))
    pixel_of_cell = torch.tensor(np.stack([across, down])[None] * 8 + 3.5, dtype=torch.float32)
    crop = torch.from_numpy(face_crops(POINTS[None], (20, 16)))
    seen = F.grid_sample(pixel_of_cell, crop, align_corners=False)
    template = 2 * (torch.from_numpy(arcface_dst)[None, :, None] + 0.5) / 112 - 1
    points = F.grid_sample(seen, template, align_corners=False)[0, :, :, 0].T
    assert points.numpy() == pytest.approx(POINTS, abs=1.5)


@pytest.mark.slow
def test_it_learns_who_is_who():
    torch.manual_seed(0)
    people = {"latents": torch.randn(8, 4, 16, 16).half().numpy(), "face": torch.randn(8, 512).half().numpy()}
    people["keypoints"] = np.repeat(POINTS[None], 8, axis=0)
    network = LatentRecognizer(512)
    stage = LatentRecognizerStage(network, 1.0, Examples([people]), Schedule(60, 32, 3e-3))
    optimizer = torch.optim.AdamW(network.parameters(), stage.schedule.learning_rate)
    for step in range(stage.schedule.steps):
        optimizer.zero_grad()
        sum(stage.losses(stage.batch(np.random.default_rng(step))).values()).backward()
        optimizer.step()
    everyone = {name: torch.from_numpy(array).float() for name, array in people.items()}
    crop = torch.from_numpy(face_crops(people["keypoints"], (16, 16)))
    with torch.no_grad():
        right = network.eval().likeness(everyone["latents"], crop, everyone["face"])
        wrong = network.likeness(everyone["latents"], crop, everyone["face"].roll(1, 0))
    assert right.min() > 0.5 > 0.3 > wrong.max()
