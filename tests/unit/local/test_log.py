"""Progress and failures are read from Triton's log as it really looks."""

from deploy.local import log

LOADING = """\
I1122 16:48:55.100000 14786 model_lifecycle.cc:472] "loading: adder:1"
I1122 16:48:57.200000 14786 model_lifecycle.cc:839] "successfully loaded 'adder'"
I1122 16:48:57.300000 14786 model_lifecycle.cc:839] "successfully loaded 'scaler'"
"""

FAILING = r"""
I1122 16:46:33.000000 11974 model_lifecycle.cc:472] "loading: adder:1"
E1122 16:46:33.100000 11974 server.cc:241] "CudaDriverHelper has not been initialized."
E1122 16:46:33.2 1 ensemble_scheduler.cc:1468] "unable to create stream for both: CUDA driver version is insufficient"
E1122 16:46:33.2 1 a.cc:6] "failed to load 'adder' version 1: KeyError: \"x\"\n\nAt:\n  model.py(14): <module>\n"
I1122 16:46:33.300000 11974 model_lifecycle.cc:777] "failed to load 'adder'"
error: creating server: Internal - failed to load all models
"""


def test_loaded_models_are_counted_in_order() -> None:
    assert log.loaded_models(LOADING) == ["adder", "scaler"]


def test_a_failed_model_is_named_with_its_traceback_on_lines() -> None:
    assert log.why_failed(FAILING).splitlines() == [
        "  failed to load 'adder' version 1: KeyError: \"x\"",
        "  At:",
        "    model.py(14): <module>",
    ]


def test_begin_and_end_are_quoted_where_there_is_no_error_line() -> None:
    lines = log.why_failed("\n".join(f"line {index}" for index in range(100))).splitlines()
    assert lines[0] == "  line 0"
    assert lines[-1] == "  line 99"
    assert "  …" in lines
    assert len(lines) < 30


def test_a_short_log_is_quoted_whole() -> None:
    assert log.why_failed("cannot open shared object file\n") == "  cannot open shared object file"
