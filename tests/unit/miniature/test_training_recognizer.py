import numpy as np
import torch

from miniature.recognizer import Recognizer
from miniature.training.loop import Schedule
from miniature.training.pictures import TrainingPictures
from miniature.training.recognizer import RecognizerStage


def test_a_face_that_lies_on_its_person_has_a_gradient(tmp_path):
    """There the angle's is infinite, unless the cosine is kept below 1: in bfloat16 it cannot be."""
    torch.manual_seed(0)
    network = Recognizer((8, 8, 8, 8), 16)
    pictures = TrainingPictures(tmp_path, seed=0, parts=1, people=2)
    stage = RecognizerStage(network.eval(), vae=None, pictures=pictures, schedule=Schedule(1, 2, 1e-3))
    face = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (2, 3, 112, 112), np.uint8))
    with torch.autocast("cpu", torch.bfloat16):
        stage._people.weight.data = network(face.float() / 127.5 - 1).float().detach()
        loss = stage.losses({"face": face, "person": torch.tensor([0, 1])})["arcface"]
    loss.backward()
    gradients = [parameter.grad for parameter in stage.trained.parameters()]
    assert all(gradient.isfinite().all() for gradient in gradients)
