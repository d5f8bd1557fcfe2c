"""Trains all networks in the real system's order: the base, identity, depth, and finally the decoder."""

from dataclasses import dataclass, fields, replace
from functools import partial
from math import ceil
from pathlib import Path

from diffusers import ControlNetModel, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer, PreTrainedModel

from export.in_process import import_models_of
from export.networks.face_attention import add_face_attention
from export.networks.identity_projector import IdentityProjector

from ..architecture import CheckpointConfig
from ..checkpoint import write_tokenizers
from ..depth import build_depth
from ..detector import FaceDetector
from ..diffusion import build_text_encoder, build_unet, build_vae, open_stem
from ..instantid import copied_face_attention, random_projector
from ..random_weights import seeded
from ..recognizer import Recognizer
from .decoder import DecoderStage
from .depth import DepthStage
from .depth_control import DepthControlStage
from .detector import DetectorStage
from .examples import Annotators, Examples, with_conditions, with_text
from .identity import IdentityStage, Parts
from .latent_recognizer import LatentRecognizer, LatentRecognizerStage
from .loop import Schedule, Workplace, train
from .pictures import TrainingPictures, draw_all
from .recognizer import RecognizerStage, embed
from .small_faces import SmallFacesStage, with_small_faces
from .text_to_image import TextEncoders, TextToImage
from .vae import VaeStage, scaling_factor

_MODELS = Path(__file__).parents[2] / "model_repository"


@dataclass(frozen=True)
class TrainingSchedule:
    """The schedule of each network, in training order."""

    detector: Schedule
    vae: Schedule
    recognizer: Schedule
    depth: Schedule
    text_to_image: Schedule
    latent_recognizer: Schedule
    identity: Schedule
    depth_control: Schedule
    small_faces: Schedule
    decoder: Schedule

    def shortened(self, share: float) -> "TrainingSchedule":
        """Return the schedule with that share of the steps, for trying out."""
        stages = {field.name: getattr(self, field.name) for field in fields(self)}
        return TrainingSchedule(
            **{name: replace(each, steps=ceil(each.steps * share)) for name, each in stages.items()}
        )


SMALL_FACES = Schedule(4000, 16, 5e-4)
FULL = TrainingSchedule(
    detector=Schedule(4500, 6, 4e-3, 1e-4),
    vae=Schedule(8500, 40, 2e-3, 0.0),
    recognizer=Schedule(4000, 128, 2e-3, 0.05),
    depth=Schedule(2000, 32, 1e-3),
    text_to_image=Schedule(9000, 64, 1e-3),
    latent_recognizer=Schedule(2000, 160, 2e-3),
    identity=Schedule(4000, 64, 2e-3),
    depth_control=Schedule(1800, 64, 2e-3),
    small_faces=SMALL_FACES,
    decoder=Schedule(5000, 40, 5e-4, 0.0),
)
"""About six hours on two cores."""


@dataclass(frozen=True)
class Trained:
    """The trained networks of a checkpoint."""

    config: CheckpointConfig
    detector: FaceDetector
    recognizer: Recognizer
    depth: PreTrainedModel
    parts: Parts


def train_all(
    config: CheckpointConfig, training: TrainingSchedule, pictures: TrainingPictures, place: Workplace
) -> Trained:
    """Train all networks; load those that an earlier run has finished.

    Raises `ValueError` where ``config.depth_controlnet`` is not ``"full"``: only a full one can start as the base's
    encoder.
    """
    if config.depth_controlnet != "full":
        raise ValueError(f'depth_controlnet is "{config.depth_controlnet}": only a "full" one can be trained')
    import_models_of(_MODELS)
    draw_all(pictures)
    with seeded(place.seed):
        annotators, detector, recognizer = _train_seeing(config, training, pictures, place)
        unet, text = _train_base(config, training, pictures, place, annotators)
        parts = _train_control(config, training, pictures, place, annotators, unet, text)
    return Trained(config, detector, recognizer, annotators.depth, parts)


def _train_seeing(
    config: CheckpointConfig, training: TrainingSchedule, pictures: TrainingPictures, place: Workplace
) -> tuple[Annotators, FaceDetector, Recognizer]:
    detector = FaceDetector()
    train(DetectorStage(detector, pictures.for_detector, place.seed, training.detector), place)
    vae = build_vae(config, place.seed)
    train(VaeStage(vae, pictures, training.vae), place)
    vae.register_to_config(scaling_factor=scaling_factor(vae, pictures))
    recognizer = Recognizer(config.recognizer_channels, config.face_embedding_size)
    train(RecognizerStage(recognizer, vae, pictures, training.recognizer), place)
    depth = build_depth(config.depth)
    train(DepthStage(depth, config.depth, pictures, training.depth), place)
    write_tokenizers(place.folder, config)
    tokenizer = CLIPTokenizer.from_pretrained(place.folder / "tokenizer")
    annotators = Annotators(vae, tokenizer, depth, config.depth, partial(embed, recognizer))
    return annotators, detector, recognizer


def _train_base(
    config: CheckpointConfig,
    training: TrainingSchedule,
    pictures: TrainingPictures,
    place: Workplace,
    annotators: Annotators,
) -> tuple[UNet2DConditionModel, TextEncoders]:
    unet = build_unet(config, place.seed, to_be_trained=True)
    text = TextEncoders(
        build_text_encoder(CLIPTextModel, config.text_encoder, config, place.seed),
        build_text_encoder(CLIPTextModelWithProjection, config.text_encoder_2, config, place.seed + 1),
    )
    examples = with_text(pictures, annotators)
    train(TextToImage(unet, text, examples, annotators.vae, annotators.tokenizer, training.text_to_image), place)
    return unet, text


def _train_control(
    config: CheckpointConfig,
    training: TrainingSchedule,
    pictures: TrainingPictures,
    place: Workplace,
    annotators: Annotators,
    unet: UNet2DConditionModel,
    text: TextEncoders,
) -> Parts:
    identitynet, depth = _control(unet, config).to(place.device), _control(unet, config)
    with seeded(place.seed):
        open_stem(depth)
    with seeded(place.seed):
        projector = IdentityProjector(random_projector(config))
    add_face_attention(unet, copied_face_attention(unet))
    parts = Parts.around(unet.to(place.device), text, annotators.vae, projector, identitynet, depth.to(place.device))
    examples = with_conditions(pictures, annotators)
    recognizer = LatentRecognizer(config.face_embedding_size)
    factor = annotators.vae.config.scaling_factor
    train(LatentRecognizerStage(recognizer, factor, examples, training.latent_recognizer), place)
    train(IdentityStage(parts, examples, recognizer, training.identity), place)
    train(DepthControlStage(parts, examples, recognizer, training.depth_control), place)
    further = with_small_faces(pictures)
    draw_all(further)
    _train_further(parts, further, with_conditions(further, annotators), recognizer, training, place)
    return parts


def train_small_faces(
    parts: Parts,
    config: CheckpointConfig,
    pictures: TrainingPictures,
    annotators: Annotators,
    schedule: Schedule,
    place: Workplace,
) -> None:
    """Train ``parts``, of a checkpoint that is there already, with people who are seen whole.

    The recogniser of latents, which no checkpoint keeps, is trained anew before, and the decoder in the end, each in as
    large a share of its steps.
    """
    further = with_small_faces(pictures)
    draw_all(further)
    examples = with_conditions(further, annotators)
    with seeded(place.seed):
        recognizer = LatentRecognizer(config.face_embedding_size)
    training = replace(FULL.shortened(schedule.steps / FULL.small_faces.steps), small_faces=schedule)
    factor = annotators.vae.config.scaling_factor
    train(LatentRecognizerStage(recognizer, factor, examples, training.latent_recognizer), place)
    _train_further(parts, further, examples, recognizer, training, place)


def _train_further(
    parts: Parts,
    further: TrainingPictures,
    examples: Examples,
    recognizer: LatentRecognizer,
    training: TrainingSchedule,
    place: Workplace,
) -> None:
    _train_halfway(SmallFacesStage(parts, examples, recognizer, training.small_faces), place)
    train(DecoderStage(parts.vae, further, training.decoder), place)


def _train_halfway(stage: SmallFacesStage, place: Workplace) -> None:
    """Train, and take the mean of the weights before and after: it is better at both (arXiv:2109.01903)."""
    before = {name: tensor.clone() for name, tensor in stage.trained.state_dict().items()}
    train(stage, place)
    after = stage.trained.state_dict()
    stage.trained.load_state_dict({name: before[name].to(after[name]).lerp(after[name], 0.5) for name in after})


def _control(unet: UNet2DConditionModel, config: CheckpointConfig) -> ControlNetModel:
    """Return a ControlNet initialised from the base's encoder, with zero convolutions."""
    return ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=config.unet.condition_channels)
