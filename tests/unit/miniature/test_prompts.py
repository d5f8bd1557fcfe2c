from dataclasses import replace
from typing import get_args

import numpy as np
import pytest

from miniature.architecture import CheckpointConfig
from miniature.tokenizer import train_merges
from miniature.world import Background, Clothes, Identity, Person, Scene, prompt_of
from miniature.world.palette import CLOTHS
from miniature.world.prompts import article, clothes_in_words, every_word
from miniature.world.scene import BackgroundKind, Costume


def prompts_of(scene, count=60):
    rng = np.random.default_rng(1)
    return [prompt_of(scene, rng) for _ in range(count)]


@pytest.mark.parametrize("costume", get_args(Costume))
def test_a_costume_is_called_by_its_name(costume):
    scene = Scene((Person(Identity(), clothes=Clothes.costume(costume)),))
    assert sum(costume in prompt for prompt in prompts_of(scene)) > 45


def test_clothes_are_called_by_colour_and_kind():
    clothes = Clothes("hoodie", CLOTHS["orange"], CLOTHS["black"])
    said = {clothes_in_words(clothes, np.random.default_rng(seed)) for seed in range(20)}
    assert said == {"an orange hoodie", "an orange hoodie with black details"}


def test_the_product_page_s_prompts_are_among_them():
    superman = Scene((Person(Identity(gender="woman"), clothes=Clothes.costume("Superman")),))
    assert "Photo of a woman wearing a Superman costume" in prompts_of(superman, 2000)


def test_flaws_and_styles_come_first_and_are_only_said_where_they_are():
    scene = Scene((Person(Identity()),))
    flawed = prompts_of(replace(scene, flaw="low quality"))
    assert all(prompt.startswith(("lowquality", "badquality", "blurry")) for prompt in flawed)
    assert all(prompt.startswith("Pixel art") for prompt in prompts_of(replace(scene, style="pixel art")))
    assert not any("quality" in prompt or "art" in prompt for prompt in prompts_of(scene))


def test_every_place_has_words():
    kinds = get_args(BackgroundKind)
    said = [" ".join(prompts_of(Scene((Person(Identity()),), Background(kind)))) for kind in kinds]
    assert len(set(said)) == len(kinds)


@pytest.mark.parametrize(("word", "expected"), [("orange", "an"), ("blue", "a"), ("astronaut", "an")])
def test_articles(word, expected):
    assert article(word) == expected


def test_every_word_is_one_token():
    merges = train_merges(every_word(), CheckpointConfig().vocabulary_size)
    tokens = {"".join(merge) for merge in merges}
    words = {word for prompt in every_word() for word in prompt.lower().replace(",", "").replace("-", " ").split()}
    assert {word for word in words if len(word) > 1 and f"{word}</w>" not in tokens} == set()
