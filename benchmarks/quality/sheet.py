"""A contact sheet: face, pose and what was made of them, with the prompt."""

import textwrap
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from .cases import Case

_TILE_PX, _GAP_PX, _TEXT_PX, _COLUMNS = 128, 6, 44, 4


def contact_sheet(cases: Sequence[Case], images: Sequence[np.ndarray]) -> Image.Image:
    """Return the cases row by row; each is three tiles wide."""
    wide, high = 3 * (_TILE_PX + _GAP_PX) + 2 * _GAP_PX, _TILE_PX + _TEXT_PX
    sheet = Image.new("RGB", (_COLUMNS * wide, -(-len(cases) // _COLUMNS) * high), "white")
    draw = ImageDraw.Draw(sheet)
    for index, (case, image) in enumerate(zip(cases, images, strict=True)):
        left, top = index % _COLUMNS * wide + _GAP_PX, index // _COLUMNS * high + _GAP_PX
        for column, tile in enumerate((case.face_picture, case.pose_picture, image)):
            sheet.paste(_fitted(tile), (left + column * (_TILE_PX + _GAP_PX), top))
        draw.multiline_text((left, top + _TILE_PX + 2), textwrap.fill(case.prompt, 66), fill="black", font_size=11)
    return sheet


def _fitted(image: np.ndarray) -> Image.Image:
    tile = Image.new("RGB", (_TILE_PX, _TILE_PX), "white")
    picture = Image.fromarray(image)
    picture.thumbnail((_TILE_PX, _TILE_PX))
    tile.paste(picture, ((_TILE_PX - picture.width) // 2, (_TILE_PX - picture.height) // 2))
    return tile
