from insta_depth import CancelToken


def test_cancelling_reaches_every_call_that_runs() -> None:
    token, reached = CancelToken(), []
    with token.calling(lambda: reached.append("a")), token.calling(lambda: reached.append("b")):
        token.cancel()
    assert sorted(reached) == ["a", "b"]


def test_a_call_that_starts_after_cancelling_is_cancelled_at_once() -> None:
    token, reached = CancelToken(), []
    token.cancel()
    with token.calling(lambda: reached.append("late")):
        assert reached == ["late"]


def test_a_call_that_is_over_is_left_alone() -> None:
    token, reached = CancelToken(), []
    with token.calling(lambda: reached.append("over")):
        pass
    token.cancel()
    assert reached == []


def test_cancelling_twice_reaches_a_call_once() -> None:
    token, reached = CancelToken(), []
    with token.calling(lambda: reached.append("once")):
        token.cancel()
        token.cancel()
    assert reached == ["once"]
