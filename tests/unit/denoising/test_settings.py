import pytest
from denoising import SettingError, Settings


def test_an_empty_environment_gives_the_defaults() -> None:
    assert Settings.from_environment({}) == Settings()


def test_each_setting_is_read_from_its_variable() -> None:
    environment = {"INSTA_DEPTH_MAX_REQUESTS": "3", "INSTA_DEPTH_MAX_IMAGE_BYTES": "1000", "OTHER": "x"}
    assert Settings.from_environment(environment) == Settings(max_requests=3, max_image_bytes=1000)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("INSTA_DEPTH_MAX_REQUESTS", "many", "INSTA_DEPTH_MAX_REQUESTS: 'many' is not a whole number"),
        ("INSTA_DEPTH_MAX_PROMPT_CHARACTERS", "0", "INSTA_DEPTH_MAX_PROMPT_CHARACTERS: 0 is below the minimum 1"),
        ("INSTA_DEPTH_CACHE_BYTES", "-1", "INSTA_DEPTH_CACHE_BYTES: -1 is below the minimum 0"),
        ("INSTA_DEPTH_MAX_ROWS", "1", "INSTA_DEPTH_MAX_ROWS: 1 is below the minimum 2"),
    ],
)
def test_a_wrong_setting_is_named(name: str, value: str, message: str) -> None:
    with pytest.raises(SettingError) as caught:
        Settings.from_environment({name: value})
    assert str(caught.value) == message


def test_rows_are_no_more_than_the_engines_take() -> None:
    assert Settings.from_environment({}, engine_rows=6).max_rows == 6
    assert Settings.from_environment({"INSTA_DEPTH_MAX_ROWS": "4"}, engine_rows=6).max_rows == 4
    with pytest.raises(SettingError, match="INSTA_DEPTH_MAX_ROWS: 8 is above the engines' maximum 6"):
        Settings.from_environment({"INSTA_DEPTH_MAX_ROWS": "8"}, engine_rows=6)
