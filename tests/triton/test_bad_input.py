"""Bad input over the wire: each gets an error that names field, value and limit, and the server goes on."""

import io
import zlib

import numpy as np
import pytest
from insta_depth import FacesDiffer, FaceTooSmall, InstaDepthError, InvalidInput, NoFace, TooLarge
from PIL import Image
from tritonclient import grpc as triton_grpc
from tritonclient.utils import InferenceServerException

from benchmarks.quality.cases import draw_cases


def _png(image: Image.Image, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", **options)
    return buffer.getvalue()


def _encoded(face: bytes, form: str, mode: str = "RGB", **options) -> bytes:
    buffer = io.BytesIO()
    Image.open(io.BytesIO(face)).convert("RGB").convert(mode).save(buffer, form, **options)
    return buffer.getvalue()


def _bomb() -> bytes:
    """A valid PNG of 30000 × 30000 black pixels: 110 KB that would become 2.7 GB of RGB."""
    side = 30000
    rows = zlib.compress(bytes(1 + side // 8) * side, 1)
    header = side.to_bytes(4, "big") * 2 + bytes([1, 0, 0, 0, 0])
    return b"\x89PNG\r\n\x1a\n" + b"".join(map(_chunk, (b"IHDR", b"IDAT", b"IEND"), (header, rows, b"")))


def _chunk(kind: bytes, data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")


@pytest.fixture(autouse=True)
def _server_lives(request, server):
    """After each case the server still answers."""
    yield
    with triton_grpc.InferenceServerClient(server.grpc_url) as client:
        assert client.is_model_ready("insta_depth_stream")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_inference_steps": 3}, r"num_inference_steps: 3 .*4"),
        ({"num_inference_steps": 101}, r"num_inference_steps: 101 .*100"),
        ({"guidance_scale": 0.9}, r"guidance_scale: 0\.9 .*1"),
        ({"guidance_scale": 16.0}, r"guidance_scale: 16 .*15"),
        ({"guidance_scale": float("nan")}, r"guidance_scale: .*nan"),
        ({"seed": -2}, r"seed: -2 .*-1"),
        ({"seed": 10**15}, r"seed: 1000000000000000 .*999999999999999"),
        ({"ip_adapter_scale": -0.5}, r"ip_adapter_scale: -0\.5"),
        ({"scheduler": "ddpm++"}, r"scheduler: .*ddpm\+\+.*euler"),
        ({"output_format": "tiff"}, r"output_format: .*tiff.*jpeg"),
        ({"output_quality": 0}, r"output_quality: 0 .*1"),
        ({"max_side": 64}, r"max_side: 64 is below the minimum 128"),
        ({"max_side": 256}, r"max_side: 256 is above the maximum 192"),
        ({"max_side": 130}, r"max_side: 130 is not a multiple of 64"),
        ({"pose_without_face": "guess"}, r"pose_without_face: .*guess.*depth_only"),
        ({"prompt": ""}, "prompt: .*empty"),
        ({"prompt": "  \n"}, "prompt: .*empty"),
        ({"face_image": b"not an image"}, "face_image: "),
        ({"pose_image": b"<svg></svg>"}, "pose_image: "),
    ],
    ids=str,
)
def test_a_value_out_of_range_is_named(make, change, message):
    with pytest.raises(InvalidInput, match=message):
        make(**change)


def test_a_prompt_of_100_kb_is_too_large(make):
    with pytest.raises(TooLarge, match=r"prompt: .*102400 .*8192"):
        make(prompt="a " * 51200)


def test_a_prompt_of_too_many_windows_is_too_large_however_often_it_comes(make):
    for _ in range(2):
        with pytest.raises(TooLarge, match=r"^(\[TOO_LARGE\] )?prompt: "):
            make(prompt="red dress, blue sky, " * 150)


def test_a_bomb_is_refused_by_its_header(make):
    with pytest.raises(TooLarge, match=r"face_image: .*30000"):
        make(face_image=_bomb())


def test_a_truncated_picture_is_refused(make, face):
    with pytest.raises(InvalidInput, match="face_image: "):
        make(face_image=face[: len(face) // 2])


@pytest.mark.parametrize("field", ["face_image", "pose_image"])
def test_a_picture_without_a_face_is_refused(make, field):
    with pytest.raises(NoFace, match=f"{field}: no face"):
        make(**{field: _png(Image.new("RGB", (200, 160), (90, 120, 60)))})


def test_of_several_faces_the_wrong_one_is_named_by_its_place(make, face):
    empty = _png(Image.new("RGB", (200, 160), (90, 120, 60)))
    with pytest.raises(NoFace, match=r"^face_image\[1\]: no face"):
        make(face_image=[face, empty])
    with pytest.raises(InvalidInput, match=r"^face_image\[2\]: "):
        make(face_image=[face, face, face[: len(face) // 2]])
    with pytest.raises(InvalidInput, match=r"^face_image: there are 9, not 1 to 8$"):
        make(face_image=[face] * 9)


def test_another_person_is_found_out_unless_they_are_to_be_averaged(make, face, pose):
    case = next(draw_cases(1, seed=7))
    other = _png(Image.fromarray(case.face_picture))
    with pytest.raises(FacesDiffer, match=r"^face_image\[2\]: shows another person than the others"):
        make(face_image=[face, face, other])
    with pytest.raises(FacesDiffer, match=r"^face_image\[1\]: shows another person than face_image\[0\]"):
        make(face_image=[face, pose])
    mixed = make(face_image=[face, face, other], face_mismatch="average", num_inference_steps=4)
    assert not np.array_equal(mixed, make(num_inference_steps=4))
    same = [_png(Image.fromarray(picture)) for picture in case.face_pictures(8)]
    make(face_image=same, num_inference_steps=4)


def test_one_pixel_is_no_face_but_no_crash(make):
    with pytest.raises(NoFace, match="face_image: "):
        make(face_image=_png(Image.new("RGB", (1, 1), "red")))


def test_a_face_of_too_few_pixels_is_refused_with_both_sizes(make, face):
    tiny = Image.open(io.BytesIO(face)).convert("RGB")
    tiny.thumbnail((32, 32))
    with pytest.raises(FaceTooSmall, match=r"face_image: the largest face is \d+×\d+ pixels; .* 24 at least"):
        make(face_image=_png(tiny))


def test_depth_only_is_allowed_when_asked_for_and_said_in_the_answer(client, face):
    empty = _png(Image.new("RGB", (200, 160), (90, 120, 60)))
    answer = client.generate(
        face_image=face, pose_image=empty, prompt="a woman", num_inference_steps=4, pose_without_face="depth_only"
    )
    assert answer.pose_face is False


@pytest.mark.parametrize(
    "variant",
    [
        ("GIF", "P", {}),
        ("JPEG", "CMYK", {}),
        ("JPEG", "L", {}),
        ("PNG", "RGBA", {}),
        ("PNG", "P", {}),
        ("WEBP", "RGB", {}),
        ("BMP", "RGB", {}),
    ],
    ids=str,
)
def test_unusual_encodings_work(make, face, variant):
    form, mode, options = variant
    assert make(face_image=_encoded(face, form, mode, **options), num_inference_steps=4).ndim == 3


def test_an_animated_gif_counts_with_its_first_picture(make, face):
    first = Image.open(io.BytesIO(face)).convert("RGB")
    gif = _encoded(face, "GIF", "P", save_all=True, append_images=[Image.new("P", first.size)])
    assert make(face_image=gif, num_inference_steps=4).ndim == 3


def test_sixteen_bit_and_exif_rotation_work(make, face):
    grey = np.asarray(Image.open(io.BytesIO(face)).convert("L")).astype(np.uint16) * 257
    assert make(face_image=_png(Image.fromarray(grey)), num_inference_steps=4).ndim == 3
    turned, exif = Image.open(io.BytesIO(face)).convert("RGB").rotate(90, expand=True), Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    turned.save(buffer, "JPEG", exif=exif, quality=95)
    assert make(face_image=buffer.getvalue(), num_inference_steps=4).ndim == 3


def _tensor(name, array, datatype):
    tensor = triton_grpc.InferInput(name, list(array.shape), datatype)
    tensor.set_data_from_numpy(array)
    return tensor


def _infer(server, tensors):
    with triton_grpc.InferenceServerClient(server.grpc_url) as client:
        return client.infer("insta_depth", tensors)


@pytest.mark.parametrize("missing", ["prompt", "face_image", "pose_image"])
def test_a_missing_required_field_is_named(server, face, missing):
    values = {"prompt": b"a woman", "face_image": face, "pose_image": face}
    tensors = [_tensor(n, np.array([v], object), "BYTES") for n, v in values.items() if n != missing]
    with pytest.raises(InferenceServerException, match=rf"\[INVALID_INPUT\] {missing}: "):
        _infer(server, tensors)


def test_a_wrong_type_is_named(server, face):
    tensors = [_tensor(n, np.array([face], object), "BYTES") for n in ("face_image", "pose_image", "prompt")]
    steps = _tensor("num_inference_steps", np.array([10.0], np.float32), "FP32")
    with pytest.raises(InferenceServerException, match="num_inference_steps"):
        _infer(server, [*tensors, steps])


def test_two_values_where_one_belongs_are_refused(server, face):
    tensors = [_tensor(n, np.array([face], object), "BYTES") for n in ("face_image", "pose_image")]
    prompts = _tensor("prompt", np.array([b"a", b"b"], object), "BYTES")
    with pytest.raises(InferenceServerException, match="prompt"):
        _infer(server, [*tensors, prompts])


def test_every_error_is_one_of_ours(make):
    with pytest.raises(InstaDepthError) as error:
        make(num_inference_steps=3)
    assert error.value.code == "INVALID_INPUT"
