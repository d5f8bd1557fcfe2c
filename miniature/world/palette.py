"""The world's colours, by their names in prompts."""

from .colours import Colour

CLOTHS: dict[str, Colour] = {
    "red": (206, 44, 48),
    "blue": (36, 92, 196),
    "green": (40, 146, 84),
    "yellow": (244, 200, 52),
    "purple": (124, 66, 170),
    "grey": (128, 130, 138),
    "white": (240, 240, 236),
    "pink": (238, 132, 170),
    "orange": (238, 124, 36),
    "black": (36, 34, 42),
}
SKIES: dict[str, Colour] = {
    "blue": (140, 198, 242),
    "orange": (250, 186, 122),
    "green": (168, 214, 160),
    "purple": (196, 166, 226),
    "grey": (150, 154, 164),
    "white": (240, 238, 232),
    "teal": (60, 160, 166),
    "dark": (52, 52, 82),
}
GROUNDS: tuple[Colour, ...] = ((112, 170, 104), (168, 148, 112), (88, 128, 148), (176, 120, 96), (120, 116, 140))
HAIRS: dict[str, Colour] = {
    "black": (38, 30, 34),
    "dark brown": (78, 48, 34),
    "brown": (130, 82, 46),
    "blonde": (224, 182, 96),
    "red": (190, 84, 40),
    "grey": (150, 150, 158),
    "pink": (206, 92, 140),
    "blue": (66, 104, 170),
}


def name_of(colour: Colour, names: dict[str, Colour]) -> str:
    """Return a colour's name in ``names``."""
    return next(name for name, known in names.items() if known == colour)
