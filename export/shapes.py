"""Which shapes an engine's plan admits, derived from the engine table."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from transformers import BaseImageProcessor

from insta_depth_shared.manifest import ImageFacts, TextFacts

from .depth import processed_size
from .engines import Engine, Tensor
from .errors import ExportError
from .facts import CELL_PX, Facts

Range = tuple[int, int, int]
"""The smallest, the most usual and the largest value: TensorRT's min, opt and max."""
ShapeRanges = dict[str, Range]
"""The range of each dynamic dimension, by its symbol in the engine table; one such is a TensorRT profile."""
Shape = tuple[int, ...]

DETECTOR_CELL_PX = 32
MAX_WINDOWS = TextFacts.max_windows
USUAL_ROWS = 2
"""A guided request's."""


@dataclass(frozen=True)
class Size:
    """Height and width of a picture in pixels, both multiples of 64."""

    height: int
    width: int

    @classmethod
    def parse(cls, text: str) -> "Size":
        """Read ``1024x832``, height first; raises ValueError."""
        height, width = (int(side) for side in text.split("x"))
        if min(height, width) < CELL_PX or height % CELL_PX or width % CELL_PX:
            raise ValueError(f"{text}: height and width have to be positive multiples of {CELL_PX}")
        return cls(height, width)


def tensor_shapes(tensor: Tensor, ranges: Mapping[str, Range]) -> tuple[Shape, Shape, Shape]:
    """Return the smallest, the most usual and the largest shape of ``tensor``."""
    smallest, usual, largest = (
        tensor.shape({symbol: values[which] for symbol, values in ranges.items()}) for which in range(3)
    )
    return smallest, usual, largest


def is_of_fixed_size(engine: Engine, ranges: Mapping[str, Range]) -> bool:
    """Whether nothing but the batch varies: what CUDA graphs need."""
    return all(low == high for symbol, (low, _, high) in ranges.items() if symbol in engine.symbols - {"rows"})


class ProfileMaker:
    """Makes every engine's profiles from what the checkpoint and the exported sizes admit.

    ``depth_processor``: the depth checkpoint's own, which says what sizes its network gets.
    """

    def __init__(
        self, facts: Facts, image: ImageFacts, depth_processor: BaseImageProcessor, max_windows: int = MAX_WINDOWS
    ) -> None:
        self._facts = facts
        self._image = image
        self._depth_processor = depth_processor
        self._max_windows = max_windows

    def profiles(self, engine: Engine, rows: Range, sizes: Iterable[Size] = ()) -> list[ShapeRanges]:
        """Return a profile for each of ``sizes`` and prompts of one window, then the one that admits everything.

        An engine without height and width has the last one alone. Raises `ExportError` where a size is not served.
        """
        everything = self._everything(rows)
        fixed = [everything | self._exactly(size) for size in sizes] if "height" in engine.symbols else []
        return [{symbol: ranges[symbol] for symbol in sorted(engine.symbols)} for ranges in (*fixed, everything)]

    def _everything(self, rows: Range) -> ShapeRanges:
        heights, widths = self._picture_sizes()
        tokens = self._facts.token_count
        detector = [side_px // DETECTOR_CELL_PX for side_px in self._facts.detector_sides]
        depth_heights, depth_widths = self._depth_sizes()
        return {
            "rows": rows,
            "height": heights,
            "width": widths,
            "tokens": (tokens, tokens, tokens * self._max_windows),
            "side": (min(detector), detector[0], max(detector)),
            "depth_height": depth_heights,
            "depth_width": depth_widths,
        }

    def _exactly(self, size: Size) -> ShapeRanges:
        if (size.height, size.width) not in set(picture_sizes(self._image)):
            shortest, longest = self._image.smallest_max_side, self._image.max_side
            raise ExportError(
                f"--sizes: {size.height}x{size.width} is no size of this repository's pictures; the longer side is "
                f"{shortest} to {longest}, and at most {self._image.max_aspect:g} times the shorter one"
            )
        height, width, tokens = size.height // CELL_PX, size.width // CELL_PX, self._facts.token_count
        return {"height": (height,) * 3, "width": (width,) * 3, "tokens": (tokens,) * 3}

    def _picture_sizes(self) -> tuple[Range, Range]:
        """The height and the width of a picture, in cells."""
        usual = usual_size(self._image)
        cells = [side // CELL_PX for size in picture_sizes(self._image) for side in size]
        height, width = ((min(cells), side // CELL_PX, max(cells)) for side in usual)
        return height, width

    def _depth_sizes(self) -> tuple[Range, Range]:
        """The depth estimator's height and width over all sizes that a picture may have, in its patches."""
        if self._facts.depth_input.fixed_size:
            return (1, 1, 1), (1, 1, 1)
        usual = self._depth_size(*usual_size(self._image))
        heights, widths = zip(*(self._depth_size(*size) for size in picture_sizes(self._image)), strict=True)
        return (min(heights), usual[0], max(heights)), (min(widths), usual[1], max(widths))

    def _depth_size(self, height_px: int, width_px: int) -> tuple[int, int]:
        height, width = processed_size(self._depth_processor, height_px, width_px)
        multiple = self._facts.depth_input.multiple
        return height // multiple, width // multiple


def picture_sizes(image: ImageFacts) -> Iterator[tuple[int, int]]:
    """Yield every (height, width) in pixels that a resized picture may have; see `resize_for_model`."""
    for longer in range(image.smallest_max_side, image.max_side + 1, CELL_PX):
        thinnest = max(int(longer / image.max_aspect) // CELL_PX, 1) * CELL_PX
        for shorter in range(thinnest, longer, CELL_PX):
            yield shorter, longer
            yield longer, shorter
        yield longer, longer


def usual_size(image: ImageFacts) -> tuple[int, int]:
    """Return (height, width) in pixels of what most cameras make, upright: 4:3, at the largest ``max_side``."""
    return image.max_side, max(image.max_side * 3 // 4 // CELL_PX, 1) * CELL_PX


def admits(tensor: Tensor, ranges: Mapping[str, Range], shape: Shape) -> bool:
    """Whether a tensor of ``shape`` lies within a profile."""
    smallest, _, largest = tensor_shapes(tensor, ranges)
    return len(shape) == len(smallest) and all(
        low <= side <= high for low, side, high in zip(smallest, shape, largest, strict=True)
    )
