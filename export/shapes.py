"""The shapes that an engine's plan admits, derived from the engine table."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from transformers import BaseImageProcessor

from insta_depth_shared.manifest import ImageFacts, TextFacts

from .depth import processed_size
from .engines import Engine
from .errors import ExportError
from .facts import CELL_PX, Facts
from .tensors import Tensor

Range = tuple[int, int, int]
"""TensorRT's min, opt and max."""
ShapeRanges = dict[str, Range]
"""A TensorRT profile: the range of each dynamic dimension, by its symbol in the engine table."""
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

    def __str__(self) -> str:
        return f"{self.height}x{self.width}"


def tensor_shapes(tensor: Tensor, ranges: Mapping[str, Range]) -> tuple[Shape, Shape, Shape]:
    """Return the min, opt and max shape of ``tensor``."""
    smallest, usual, largest = (
        tensor.shape({symbol: values[which] for symbol, values in ranges.items()}) for which in range(3)
    )
    return smallest, usual, largest


def usual_values(ranges: Mapping[str, Range]) -> dict[str, int]:
    """Return each symbol's most usual value."""
    return {symbol: usual for symbol, (_, usual, _) in ranges.items()}


def is_of_fixed_size(engine: Engine, ranges: Mapping[str, Range]) -> bool:
    """Whether only the batch varies, as CUDA graphs require."""
    return all(low == high for symbol, (low, _, high) in ranges.items() if symbol in engine.symbols - {"rows"})


class ProfileMaker:
    """Makes every engine's profiles from the checkpoint and the exported sizes.

    ``depth_processor``: the depth checkpoint's own, which determines its network's input sizes.
    ``optimum``: the picture size that plans are tuned for; None: `usual_size`.
    Raises `ExportError` if ``optimum`` is not served.
    """

    def __init__(
        self,
        facts: Facts,
        image: ImageFacts,
        depth_processor: BaseImageProcessor,
        max_windows: int = MAX_WINDOWS,
        optimum: Size | None = None,
    ) -> None:
        self._facts = facts
        self._image = image
        self._depth_processor = depth_processor
        self._max_windows = max_windows
        self._usual = (optimum.height, optimum.width) if optimum else usual_size(image)
        if self._usual not in set(picture_sizes(image)):
            raise ExportError(
                f"--optimum: {optimum} is no size of this repository's pictures; the longer side is "
                f"{image.smallest_max_side} to {image.max_side}, and at most {image.max_aspect:g} times the shorter one"
            )

    def profiles(self, engine: Engine, rows: Range) -> list[ShapeRanges]:
        """Return the one profile that admits all shapes.

        The depth estimator has one for upright pictures and one for wide ones: its shorter side varies little, so
        that a profile of both would reserve memory for a square of the longer sides, which never comes.
        """
        everything = self._everything(rows)
        depth = self._depth_sizes() if "depth_height" in engine.symbols else [ShapeRanges()]
        return [
            {symbol: ranges[symbol] for symbol in sorted(engine.symbols)}
            for ranges in (everything | sizes for sizes in depth)
        ]

    def _everything(self, rows: Range) -> ShapeRanges:
        heights, widths = self._picture_sizes()
        tokens, crop = self._facts.token_count, self._image.refined_side // CELL_PX
        detector = [side_px // DETECTOR_CELL_PX for side_px in self._facts.detector_sides]
        return {
            "rows": rows,
            "height": heights,
            "width": widths,
            "crop": (crop, crop, crop),
            "tokens": (tokens, tokens, tokens * self._max_windows),
            "side": (min(detector), detector[0], max(detector)),
        }

    def _picture_sizes(self) -> tuple[Range, Range]:
        """The range of a picture's height and of its width, in cells."""
        cells = [side // CELL_PX for size in picture_sizes(self._image) for side in size]
        height, width = ((min(cells), side // CELL_PX, max(cells)) for side in self._usual)
        return height, width

    def _depth_sizes(self) -> list[ShapeRanges]:
        """The depth estimator's height and width over all upright pictures and, where they differ, all wide ones."""
        longer, shorter = max(self._usual), min(self._usual)
        sizes = list(picture_sizes(self._image))
        upright = self._depth_ranges((longer, shorter), [(h, w) for h, w in sizes if h >= w])
        wide = self._depth_ranges((shorter, longer), [(h, w) for h, w in sizes if w >= h])
        return [upright] if upright == wide else [upright, wide]

    def _depth_ranges(self, usual: tuple[int, int], sizes: Iterable[tuple[int, int]]) -> ShapeRanges:
        heights, widths = zip(*(self._depth_size(*size) for size in sizes), strict=True)
        height, width = self._depth_size(*usual)
        return {"depth_height": (min(heights), height, max(heights)), "depth_width": (min(widths), width, max(widths))}

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
    """Return (height, width) in pixels of a typical photo, upright 4:3, at the largest ``max_side``."""
    return image.max_side, max(image.max_side * 3 // 4 // CELL_PX, 1) * CELL_PX


def admits(tensor: Tensor, ranges: Mapping[str, Range], shape: Shape) -> bool:
    """Whether ``shape`` is within a profile."""
    smallest, _, largest = tensor_shapes(tensor, ranges)
    return len(shape) == len(smallest) and all(
        low <= side <= high for low, side, high in zip(smallest, shape, largest, strict=True)
    )
