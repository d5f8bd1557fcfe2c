import json
from pathlib import Path

import numpy as np
import pytest
import torch
from denoising import Conditioning, DepthProcessor
from denoising.conditioning import face_region_mask, size_ids
from denoising.control_pictures import depth_picture, draw_face_keypoints

from tests.unit.denoising.fakes import STEP_INPUTS

HOST = torch.device("cpu")
KEYPOINTS = np.array([[100, 100], [200, 100], [150.9, 160.9], [110, 220], [190, 220]], np.float32)


def test_points_are_filled_circles_of_full_colour_at_truncated_places() -> None:
    drawing = draw_face_keypoints(KEYPOINTS, 300, 256)
    assert drawing.shape == (300, 256, 3)
    assert drawing.dtype == np.uint8
    colours = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (255, 0, 255)]
    for (x, y), colour in zip(KEYPOINTS.astype(int), colours, strict=True):
        assert tuple(drawing[y, x]) == colour
        assert tuple(drawing[y, x + 10]) == colour
        assert tuple(drawing[y - 10, x]) == colour
        assert tuple(drawing[y - 11, x]) != colour


def test_limbs_have_six_tenths_of_the_outer_point_s_colour() -> None:
    drawing = draw_face_keypoints(KEYPOINTS, 300, 256)
    middles = ((KEYPOINTS + KEYPOINTS[2]) / 2).astype(int)
    dimmed = {0: (153, 0, 0), 1: (0, 153, 0), 3: (153, 153, 0), 4: (153, 0, 153)}
    for index, colour in dimmed.items():
        x, y = middles[index]
        assert tuple(drawing[y, x]) == colour


def test_a_limb_is_nine_pixels_thick_and_ends_before_its_points() -> None:
    level = np.array([[40, 100], [140, 100], [140, 100], [140, 100], [140, 100]], np.float32)
    red = draw_face_keypoints(level, 200, 200)[:, :, 0]
    assert list(np.flatnonzero(red[:, 90] == 153)) == list(range(96, 105))
    assert list(np.flatnonzero(red[100] == 153)) == list(range(51, 130))


def test_what_lies_outside_the_canvas_is_not_drawn() -> None:
    assert draw_face_keypoints(KEYPOINTS - 1000, 64, 64).max() == 0


def test_the_region_is_the_box_truncated_and_cut_to_the_picture() -> None:
    mask = face_region_mask(np.array([-5.5, 2.9, 4.9, 900]), 8, 6)
    assert mask.shape == (1, 8, 6)
    assert mask[0, 2:, :4].all()
    assert mask.sum() == 6 * 4


def test_no_region_is_everywhere() -> None:
    assert face_region_mask(None, 8, 6).all()


def test_sizes_are_height_before_width() -> None:
    assert size_ids(64, 128).tolist() == [64, 128, 0, 0, 64, 128]


def test_depth_is_resized_and_spans_zero_to_one() -> None:
    predicted = torch.linspace(3, 7, 12, dtype=torch.float16).reshape(1, 3, 4)
    depth = depth_picture(predicted, 30, 40).numpy()
    assert depth.shape == (3, 30, 40)
    assert (depth.min(), depth.max()) == (0, 1)
    assert (depth[0] == depth[2]).all()
    assert depth[0, -1, -1] > depth[0, 0, 0]
    assert len(np.unique(depth)) > 256


def test_depth_stays_where_it_was_predicted() -> None:
    assert depth_picture(torch.empty(1, 3, 4, device="meta"), 30, 40).device.type == "meta"


def test_flat_depth_is_zeros() -> None:
    assert not depth_picture(torch.full((1, 3, 4), 2.5), 30, 40).any()


def test_distances_are_inverted_so_that_near_is_bright() -> None:
    """The picture is that of an estimator of inverse depth, which ControlNet-Depth learnt from."""
    metres = torch.tensor([[[1.0, 2.0], [4.0, 5.0]]])
    from_metres = depth_picture(metres, 2, 2, is_distance=True)
    torch.testing.assert_close(from_metres[0], (1 / metres[0] - 0.2) / 0.8)
    torch.testing.assert_close(from_metres, depth_picture(1 / metres, 2, 2))


def test_a_distance_of_zero_is_near_and_no_infinity() -> None:
    near = depth_picture(torch.tensor([[[0.0, 0.05], [1.0, 1e6]]]), 2, 2, is_distance=True)[0]
    assert near[0].tolist() == [1, 1]
    assert near[1, 1] == 0
    assert not depth_picture(torch.zeros(1, 2, 2), 2, 2, is_distance=True).any()


def test_the_depth_processor_does_as_its_file_says(tmp_path: Path) -> None:
    config = {
        "image_processor_type": "DPTImageProcessor",
        "do_resize": True,
        "size": {"height": 28, "width": 42},
        "do_rescale": True,
        "do_normalize": True,
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
    }
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(config))
    pixel_values = DepthProcessor(tmp_path)(np.full((64, 64, 3), 255, np.uint8))
    assert pixel_values.shape == (1, 3, 28, 42)
    assert pixel_values.dtype == np.float32
    assert np.allclose(pixel_values, 1)


def conditioning(rows: int) -> Conditioning:
    return Conditioning(
        encoder_hidden_states=np.ones((rows, 77, 8)),
        text_embeds=np.ones((rows, 6)),
        prompt_image_emb=torch.ones(rows, 16, 8),
        pictures={"face_keypoints": np.ones((3, 64, 128)), "depth": torch.ones(3, 64, 128)},
        region_mask=np.ones((1, 64, 128)),
        scales={"identitynet_scale": 0.8, "depth_scale": 0.5, "ip_adapter_scale": 0.7},
    )


@pytest.mark.parametrize("rows", [1, 2])
def test_every_constant_input_has_a_row_for_each_of_the_request_s(rows: int) -> None:
    dtypes = dict.fromkeys(STEP_INPUTS, "float16") | {"time_ids": "float32"}
    inputs = conditioning(rows).rows(dtypes, HOST)
    assert set(inputs) == set(STEP_INPUTS) - {"sample", "timestep"}
    assert {name: value.numpy().dtype.name for name, value in inputs.items()} == {n: dtypes[n] for n in inputs}
    assert inputs["depth"].shape == (rows, 3, 64, 128)
    assert inputs["depth_scale"].tolist() == [[0.5]] * rows
    assert inputs["time_ids"].tolist() == [[64, 128, 0, 0, 64, 128]] * rows


def test_an_input_that_the_step_does_not_take_is_left_out() -> None:
    assert set(conditioning(2).rows({"depth": "float32"}, HOST)) == {"depth"}
