import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from insta_depth import (
    Cancelled,
    Capabilities,
    DeadlineExceeded,
    EngineFailed,
    InstaDepth,
    InstaDepthError,
    NoFace,
    Overloaded,
    ServerUnavailable,
    TooLarge,
    __version__,
)
from insta_depth._cli import main
from insta_depth.testing import PICTURE, FakeTransport

from tests.unit.client.triton_lookalike import TritonLookalike
from tests.watching import wait_until

CLIENT = Path(__file__).parents[3] / "client"
ASCII_ONLY = {"PYTHONPATH": str(CLIENT), "LC_ALL": "C", "PYTHONUTF8": "0"}


def command(files: Path, *more: str, output: str = "out.jpg") -> list[str]:
    named = ["--face", str(files / "face.jpg"), "--pose", str(files / "pose.jpg"), "--prompt", "a woman"]
    return ["generate", *named, "-o", str(files / output), *more]


def run(transport: FakeTransport, arguments: list[str]) -> int:
    return main(arguments, connect=lambda url, timeout_s: InstaDepth(url, timeout_s, transport=transport))


def test_a_success_is_one_line_with_path_seed_and_time(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(FakeTransport(), command(files, "--seed", "42")) == 0
    output = capsys.readouterr()
    assert output.out.startswith(f"{files / 'out.jpg'}  seed 42  ")
    assert output.out.count("\n") == 1
    assert output.err == ""
    assert (files / "out.jpg").read_bytes() == PICTURE


@pytest.mark.parametrize("again", [["{face}"], ["--face", "{face}"]], ids=["a list", "the option again"])
def test_there_may_be_several_faces(files: Path, again: list[str]) -> None:
    transport = FakeTransport()
    given = command(files)
    place = given.index("--face") + 2
    more = [part.format(face=files / "face.jpg") for part in again]
    assert run(transport, [*given[:place], *more, *given[place:]]) == 0
    assert transport.requests[0].face_image == (b"a face", b"a face")


def test_options_become_attributes(files: Path) -> None:
    transport = FakeTransport()
    options = "--negative-prompt bad --num-inference-steps 4 --guidance-scale 1.5 --ip-adapter-scale 0.1"
    options += " --identitynet-scale 0.2 --depth-scale 0.3 --no-enhance-face-region --scheduler lcm"
    options += " --pose-without-face depth_only --output-quality 80 --seed -1 --max-side 640"
    assert run(transport, command(files, *options.split())) == 0
    asked = {name: value for name, value in vars(transport.requests[0]).items() if value is not None}
    assert asked == {
        "face_image": b"a face",
        "pose_image": b"a pose",
        "prompt": "a woman",
        "negative_prompt": "bad",
        "num_inference_steps": 4,
        "guidance_scale": 1.5,
        "seed": -1,
        "ip_adapter_scale": 0.1,
        "identitynet_scale": 0.2,
        "depth_scale": 0.3,
        "scheduler": "lcm",
        "enhance_face_region": False,
        "pose_without_face": "depth_only",
        "output_format": "jpeg",
        "output_quality": 80,
        "max_side": 640,
    }


@pytest.mark.parametrize(
    ("output", "options", "expected"),
    [
        ("out.png", [], "png"),
        ("out.JPG", [], "jpeg"),
        ("out.webp", ["--output-format", "webp"], "webp"),
        ("out", ["--output-format", "png"], "png"),
    ],
)
def test_the_suffix_gives_the_format(files: Path, output: str, options: list[str], expected: str) -> None:
    transport = FakeTransport()
    assert run(transport, command(files, *options, output=output)) == 0
    assert transport.requests[0].output_format == expected


@pytest.mark.parametrize(
    ("output", "options", "message"),
    [
        ("out.png", ["--output-format", "jpeg"], "the suffix says png, but --output-format says jpeg"),
        ("out.bmp", [], "the suffix is none of .jpg, .jpeg, .png, .webp"),
        ("out.bmp", ["--output-format", "png"], "the suffix is none of"),
        ("out", [], "the suffix is none of"),
        ("nowhere/out.jpg", [], "no such folder"),
        ("folder.jpg", [], "not an ordinary file"),
    ],
)
def test_an_output_that_cannot_be_is_said_before_asking(
    files: Path, capsys: pytest.CaptureFixture[str], output: str, options: list[str], message: str
) -> None:
    (files / "folder.jpg").mkdir()
    transport = FakeTransport()
    assert run(transport, command(files, *options, output=output)) == 2
    assert message in one_line(capsys)
    assert transport.requests == []


def test_a_missing_picture_is_said_before_asking(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    transport = FakeTransport()
    assert run(transport, [*command(files), "--pose", "nobody.jpg"]) == 3
    assert one_line(capsys) == "pose_image: no such file: nobody.jpg"
    assert run(transport, [*command(files), "--face", "nobody.jpg"]) == 3
    assert one_line(capsys) == "face_image[1]: no such file: nobody.jpg"
    assert transport.requests == []


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (NoFace, 3),
        (TooLarge, 3),
        (Overloaded, 4),
        (ServerUnavailable, 4),
        (DeadlineExceeded, 5),
        (Cancelled, 5),
        (EngineFailed, 1),
        (InstaDepthError, 1),
    ],
)
def test_each_kind_of_error_has_its_exit_code(
    files: Path, capsys: pytest.CaptureFixture[str], error: type[InstaDepthError], code: int
) -> None:
    (files / "out.jpg").write_bytes(b"old")
    assert run(FakeTransport(error=error("what happened")), command(files)) == code
    assert one_line(capsys) == "what happened"
    assert (files / "out.jpg").read_bytes() == b"old"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["generate"], "the following arguments are required: --face, --pose, --prompt, -o/--output"),
        (["generate", "--seed", "x"], "argument --seed: invalid int value: 'x'"),
        (["generate", "--step", "3"], "the following arguments are required"),
    ],
)
def test_wrong_usage_is_one_line(capsys: pytest.CaptureFixture[str], arguments: list[str], message: str) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert one_line(capsys).startswith(message)


def test_previews_are_written_one_a_step(files: Path) -> None:
    options = ["--preview-dir", str(files / "previews"), "--num-inference-steps", "4"]
    assert run(FakeTransport(), command(files, *options)) == 0
    assert [path.name for path in sorted((files / "previews").iterdir())] == [
        f"step_{step:03}.jpg" for step in (1, 2, 3, 4)
    ]


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out == f"insta-depth {__version__}\n"


def test_status_tells_what_the_checkpoint_offers(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(FakeTransport(offers=Capabilities(("euler", "lcm", "checkpoint"), "lcm")), ["status"]) == 0
    assert "schedulers: euler, lcm, checkpoint (default: lcm)\n" in capsys.readouterr().out


@pytest.mark.parametrize(("ready", "code"), [(True, 0), (False, 4)])
def test_status_tells_whether_the_server_is_ready(capsys: pytest.CaptureFixture[str], ready: bool, code: int) -> None:
    assert run(FakeTransport(ready=ready), ["status"]) == code
    assert f"insta_depth_stream: {'ready' if ready else 'not ready'}" in capsys.readouterr().out


def test_an_interrupt_cancels_on_the_server_and_exits_130(files: Path, server: TritonLookalike) -> None:
    # Where the tests run in a shell's background, interrupts are ignored, and children inherit that. A `preexec_fn`
    # would need a fork, after which this process's own gRPC threads write to the child's stderr.
    program = (
        "import signal, sys; from insta_depth._cli import main; "
        "signal.signal(signal.SIGINT, signal.default_int_handler); sys.exit(main(sys.argv[1:]))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, *command(files, "--url", server.url, "--prompt", "slow")],
        env=os.environ | {"PYTHONPATH": str(CLIENT)},
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_until(lambda: bool(server.received))
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=10)
    assert (process.returncode, errors) == (130, "insta-depth: interrupted\n")
    assert server.cancelled.wait(2)
    assert not (files / "out.jpg").exists()


def one_line(capsys: pytest.CaptureFixture[str]) -> str:
    """Return the error line without the program's name."""
    errors = capsys.readouterr().err
    assert errors.startswith("insta-depth: ")
    assert errors.count("\n") == 1
    return errors.removeprefix("insta-depth: ").rstrip("\n")


@pytest.mark.parametrize("options", [["--help"], ["generate", "--help"], ["gateway", "--help"]])
def test_help_can_be_shown_where_only_ascii_is_known(options: list[str]) -> None:
    shown = subprocess.run([sys.executable, "-m", "insta_depth", *options], env=ASCII_ONLY, capture_output=True)
    assert (shown.returncode, shown.stderr) == (0, b"")


def test_a_prompt_is_utf8_where_only_ascii_is_known() -> None:
    """The interpreter takes arguments apart by the locale; who typed them had a terminal of UTF-8."""
    program = (
        "import sys; from insta_depth._cli import _parser; print(ascii(_parser().parse_args(sys.argv[1:]).prompt))"
    )
    line = ["generate", "--face", "f", "--pose", "p", "-o", "o.jpg", "--prompt", "a wömän".encode()]
    shown = subprocess.run([sys.executable, "-c", program, *line], env=ASCII_ONLY, capture_output=True)
    assert shown.stdout.decode("ascii").strip() == ascii("a wömän")


@pytest.mark.parametrize("arguments", ["gateway", "gateway --port 8080", "keys create --name me", "keys list --help"])
def test_without_the_gateway_its_commands_say_what_to_install(
    arguments: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("insta_depth._cli.entry_points", lambda group: ())
    assert main(arguments.split()) == 2
    assert capsys.readouterr().err == "insta-depth: the gateway is not installed: pip install insta-depth-gateway\n"
