from pathlib import Path

import pytest
from insta_depth import Generation, InstaDepthError, Progress
from insta_depth._generation import read_response, write_atomically


@pytest.mark.parametrize(
    ("start", "output_format"),
    [(b"\xff\xd8\xff\xe0", "jpeg"), (b"\x89PNG\r\n", "png"), (b"RIFF\x00\x00\x00\x00WEBP", "webp")],
)
def test_the_format_is_read_from_the_picture(start: bytes, output_format: str) -> None:
    assert Generation(image=start, seed=1).output_format == output_format


def test_a_response_may_say_how_many_are_ahead() -> None:
    assert read_response({"step": 3, "num_inference_steps": 9, "ahead": 2}) == Progress(3, 9, ahead=2)
    assert read_response({"step": 3, "num_inference_steps": 9}) == Progress(3, 9)


def test_saving_writes_the_picture_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = Generation(image=b"picture", seed=1).save(tmp_path / "out.jpg")
    assert path.read_bytes() == b"picture"
    assert list(tmp_path.iterdir()) == [path]


def test_a_write_that_fails_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "out.jpg"
    path.write_bytes(b"old")

    def full_disk(self: Path, content: bytes) -> int:
        with self.open("wb") as file:
            file.write(content[:1])
        raise OSError("no space left")

    monkeypatch.setattr(Path, "write_bytes", full_disk)
    with pytest.raises(OSError, match="no space left"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_is_followed(tmp_path: Path) -> None:
    target, link = tmp_path / "target.jpg", tmp_path / "link.jpg"
    link.symlink_to(target)
    write_atomically(link, b"picture")
    assert link.is_symlink()
    assert target.read_bytes() == b"picture"


def test_an_error_shows_its_message_alone() -> None:
    assert str(InstaDepthError("it broke")) == "it broke"
