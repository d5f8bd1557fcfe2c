"""Trains all networks in their order, as the real system's were: the base, identity, depth, then the decoder alone."""

from dataclasses import dataclass, fields, replace
from math import ceil
from pathlib import Path

from diffusers import ControlNetModel, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer, PreTrainedModel

from export.in_process import import_models_of
from export.networks.face_attention import add_face_attention
from export.networks.identity_projector import IdentityProjector

from ..checkpoint import write_tokenizers
from ..depth import build_depth
from ..detector import FaceDetector
from ..diffusion import build_text_encoder, build_unet, build_vae, open_stem
from ..instantid import copied_face_attention, random_projector
from ..plan import CheckpointPlan
from ..random_weights import seeded
from ..recognizer import Recognizer
from .decoder import DecoderStage
from .depth import DepthStage
from .depth_control import DepthControlStage
from .detector import DetectorStage
from .examples import Annotators, with_conditions, with_text
from .identity import IdentityStage, Parts
from .latent_recognizer import LatentRecognizer, LatentRecognizerStage
from .loop import Schedule, Workplace, train
from .pictures import PicturePlan, draw_all
from .recognizer import RecognizerStage
from .text_to_image import TextEncoders, TextToImage
from .vae import VaeStage, scaling_factor

_MODELS = Path(__file__).parents[2] / "model_repository"


@dataclass(frozen=True)
class TrainingPlan:
    """How long each network is trained, in the order in which they are."""

    detector: Schedule
    vae: Schedule
    recognizer: Schedule
    depth: Schedule
    text_to_image: Schedule
    latent_recognizer: Schedule
    identity: Schedule
    depth_control: Schedule
    decoder: Schedule

    def shortened(self, share: float) -> "TrainingPlan":
        """Return a plan with that share of the steps, for trying out."""
        plans = {field.name: getattr(self, field.name) for field in fields(self)}
        return TrainingPlan(**{name: replace(each, steps=ceil(each.steps * share)) for name, each in plans.items()})


FULL = TrainingPlan(
    detector=Schedule(4500, 6, 4e-3, 1e-4),
    vae=Schedule(8500, 40, 2e-3, 0.0),
    recognizer=Schedule(4000, 128, 2e-3, 0.05),
    depth=Schedule(2000, 32, 1e-3),
    text_to_image=Schedule(9000, 64, 1e-3),
    latent_recognizer=Schedule(2000, 160, 2e-3),
    identity=Schedule(4000, 64, 2e-3),
    depth_control=Schedule(1800, 64, 2e-3),
    decoder=Schedule(5000, 40, 5e-4, 0.0),
)
"""About six hours on two cores."""


@dataclass(frozen=True)
class Trained:
    """Everything that a checkpoint holds, where it was trained."""

    plan: CheckpointPlan
    detector: FaceDetector
    recognizer: Recognizer
    depth: PreTrainedModel
    parts: Parts


def train_all(plan: CheckpointPlan, training: TrainingPlan, pictures: PicturePlan, place: Workplace) -> Trained:
    """Train what is not yet trained; what an earlier run finished is loaded.

    Raises `ValueError` where ``plan.depth_controlnet`` is not ``"full"``: only such a one starts as the base's encoder.
    """
    if plan.depth_controlnet != "full":
        raise ValueError(f'depth_controlnet is "{plan.depth_controlnet}": only a "full" one can be trained')
    import_models_of(_MODELS)
    draw_all(pictures)
    with seeded(place.seed):
        annotators, detector = _train_seeing(plan, training, pictures, place)
        unet, text = _train_base(plan, training, pictures, place, annotators)
        parts = _train_control(plan, training, pictures, place, annotators, unet, text)
        train(DecoderStage(parts.vae, pictures, training.decoder), place)
    return Trained(plan, detector, annotators.recognizer, annotators.depth, parts)


def _train_seeing(
    plan: CheckpointPlan, training: TrainingPlan, pictures: PicturePlan, place: Workplace
) -> tuple[Annotators, FaceDetector]:
    detector = FaceDetector()
    train(DetectorStage(detector, pictures.for_detector, place.seed, training.detector), place)
    vae = build_vae(plan, place.seed)
    train(VaeStage(vae, pictures, training.vae), place)
    vae.register_to_config(scaling_factor=scaling_factor(vae, pictures))
    recognizer = Recognizer(plan.recognizer_channels, plan.face_embedding_size)
    train(RecognizerStage(recognizer, vae, pictures, training.recognizer), place)
    depth = build_depth(plan.depth)
    train(DepthStage(depth, plan.depth, pictures, training.depth), place)
    write_tokenizers(place.folder, plan)
    tokenizer = CLIPTokenizer.from_pretrained(place.folder / "tokenizer")
    return Annotators(vae, tokenizer, depth, plan.depth, recognizer), detector


def _train_base(
    plan: CheckpointPlan, training: TrainingPlan, pictures: PicturePlan, place: Workplace, annotators: Annotators
) -> tuple[UNet2DConditionModel, TextEncoders]:
    unet = build_unet(plan, place.seed, to_be_trained=True)
    text = TextEncoders(
        build_text_encoder(CLIPTextModel, plan.text_encoder, plan, place.seed),
        build_text_encoder(CLIPTextModelWithProjection, plan.text_encoder_2, plan, place.seed + 1),
    )
    examples = with_text(pictures, annotators)
    train(TextToImage(unet, text, examples, annotators.vae, annotators.tokenizer, training.text_to_image), place)
    return unet, text


def _train_control(
    plan: CheckpointPlan, training: TrainingPlan, pictures: PicturePlan, place: Workplace, annotators: Annotators,
    unet: UNet2DConditionModel, text: TextEncoders,
) -> Parts:  # fmt: skip
    identitynet, depth = _control(unet, plan).to(place.device), _control(unet, plan)
    with seeded(place.seed):
        open_stem(depth)
    with seeded(place.seed):
        projector = IdentityProjector(random_projector(plan))
    add_face_attention(unet, copied_face_attention(unet))
    parts = Parts.around(unet.to(place.device), text, annotators.vae, projector, identitynet, depth.to(place.device))
    examples = with_conditions(pictures, annotators)
    recognizer = LatentRecognizer(plan.face_embedding_size)
    factor = annotators.vae.config.scaling_factor
    train(LatentRecognizerStage(recognizer, factor, examples, training.latent_recognizer), place)
    train(IdentityStage(parts, examples, recognizer, training.identity), place)
    train(DepthControlStage(parts, examples, recognizer, training.depth_control), place)
    return parts


def _control(unet: UNet2DConditionModel, plan: CheckpointPlan) -> ControlNetModel:
    """A ControlNet that starts as the base's encoder, with closed zero convolutions."""
    return ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=plan.unet.condition_channels)
