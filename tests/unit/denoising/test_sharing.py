"""Who goes next: simulated latencies and throughput, the bound of waiting, and what is learnt from the calls' times."""

from statistics import mean, quantiles

import pytest
from denoising.sharing import AGEING, FORGOTTEN_CALLS, CallTimes, Sharing

from benchmarks.simulation import Server, SimulatedJob, arrivals, simulate

STEPS = range(4, 51)
SHAPE = (1,)
ALL_ROWS = 16


class EqualShares(Sharing):
    """The policy of a plain step batcher: every step is shared by all."""

    def __init__(self) -> None:
        super().__init__(ALL_ROWS, fixed_rows=ALL_ROWS)


def latencies(server: Server, sharing: Sharing, load: float, noise: float = 0.0) -> list[float]:
    per_s = load * server.saturation(mean(STEPS))
    return [
        job.latency
        for seed in range(2)
        for job in simulate(server, list(arrivals(per_s, 1000, seed, STEPS)), sharing, noise)
    ]


@pytest.mark.slow
@pytest.mark.parametrize(("row_share", "mean_ratio"), [(1.0, 0.7), (0.95, 0.77), (0.9, 0.85), (0.7, 1.01), (0.0, 1.01)])
def test_at_80_percent_load_the_mean_is_shorter_and_the_slowest_wait_no_longer(
    row_share: float, mean_ratio: float
) -> None:
    server = Server(row_share)
    before, after = latencies(server, EqualShares(), 0.8), latencies(server, Sharing(ALL_ROWS), 0.8, noise=0.03)
    assert mean(after) <= mean_ratio * mean(before)
    assert quantiles(after, n=20)[-1] <= 1.05 * quantiles(before, n=20)[-1]


@pytest.mark.slow
@pytest.mark.parametrize(("row_share", "mean_ratio"), [(0.9, 0.97), (0.74, 1.02)])
def test_uneven_times_do_not_mislead(row_share: float, mean_ratio: float) -> None:
    server = Server(row_share, outside_s=8.0)  # a busy processor: the miniature's on two cores
    before = latencies(server, EqualShares(), 0.8, noise=0.25)
    after = latencies(server, Sharing(ALL_ROWS), 0.8, noise=0.25)
    assert mean(after) <= mean_ratio * mean(before)
    assert quantiles(after, n=20)[-1] <= 1.05 * quantiles(before, n=20)[-1]


@pytest.mark.slow
@pytest.mark.parametrize("row_share", [1.0, 0.95, 0.9, 0.7, 0.4, 0.0])
def test_saturated_it_makes_as_many_pictures_as_the_best_fixed_number_of_rows(row_share: float) -> None:
    server = Server(row_share)

    def took(sharing: Sharing) -> float:
        return max(
            job.arrived + job.latency
            for job in simulate(server, [SimulatedJob(0.0, 4 + seed % 47) for seed in range(400)], sharing, noise=0.05)
        )

    best = min(took(Sharing(ALL_ROWS, fixed_rows)) for fixed_rows in (2, 4, 8, 16))
    assert took(Sharing(ALL_ROWS)) <= best / 0.98


def overtaken(sharing: Sharing) -> SimulatedJob:
    """A request of 100 steps at a saturated server, among short ones that never end."""
    server = Server(row_share=1.0)
    long = SimulatedJob(0.0, 100)
    short = [SimulatedJob(4.0 * number, 4) for number in range(1000)]
    return next(job for job in simulate(server, [long, *short], sharing) if job is long)


def test_a_long_request_is_overtaken_for_a_bounded_time(monkeypatch: pytest.MonkeyPatch) -> None:
    others_at_most = 7 * 4
    assert overtaken(Sharing(ALL_ROWS)).ended_at_work <= 100 * (1 + 1 / AGEING) + others_at_most
    monkeypatch.setattr("denoising.sharing.AGEING", 0.0)
    assert overtaken(Sharing(ALL_ROWS)).ended_at_work > 3000, "without ageing it waits for all of them"


def test_the_least_work_left_goes_first_and_a_few_rows_stay_together() -> None:
    sharing = Sharing(max_rows=5, fixed_rows=5)
    jobs = [SimulatedJob(0.0, steps) for steps in (30, 10, 20)]
    ordered = sharing.ordered(jobs)
    assert [job.steps_left for job in ordered] == [10, 20, 30]
    assert [job.steps_left for job in sharing.next_call(ordered)] == [10, 20]


def test_a_call_has_one_shape() -> None:
    sharing = Sharing(ALL_ROWS, fixed_rows=ALL_ROWS)
    jobs = [SimulatedJob(0.0, 5), SimulatedJob(0.0, 6, shape_key=(2,)), SimulatedJob(0.0, 7)]
    assert sharing.next_call(sharing.ordered(jobs)) == [jobs[0], jobs[2]]


@pytest.mark.parametrize(("fixed_rows", "expected"), [(1, 1), (2, 1), (4, 2), (64, 4)])
def test_a_setting_overrides_what_is_learnt_within_the_engines_limit(fixed_rows: int, expected: int) -> None:
    jobs = [SimulatedJob(0.0, 5) for _ in range(8)]
    assert len(Sharing(max_rows=8, fixed_rows=fixed_rows).next_call(jobs)) == expected


def test_times_of_a_line_are_found_in_spite_of_an_outlier() -> None:
    times = CallTimes()
    for rows in (2, 8, 2, 8, 2, 8):
        times.observe(SHAPE, rows, 0.1 + 0.02 * rows)
    times.observe(SHAPE, 8, 9.0)
    assert times.estimate_s(SHAPE, [2, 16]) == pytest.approx([0.14, 0.42])


def test_times_are_known_after_a_few_calls_and_for_so_many_more() -> None:
    times = CallTimes()
    for _ in range(3):
        assert not times.are_known(SHAPE, range(1, 3), fewest=3, within_calls=9)
        times.observe(SHAPE, 2, 1.0)
    assert times.are_known(SHAPE, range(1, 3), fewest=3, within_calls=9)
    assert not times.are_known(SHAPE, range(4, 17), fewest=3, within_calls=9)
    assert not times.are_known((2,), range(1, 3), fewest=3, within_calls=9)
    for _ in range(9):
        times.observe(SHAPE, 4, 2.0)
    assert not times.are_known(SHAPE, range(1, 3), fewest=3, within_calls=9)


def test_the_number_of_rows_follows_a_server_that_changes() -> None:
    sharing = Sharing(ALL_ROWS)
    jobs = [SimulatedJob(0.0, 5) for _ in range(8)]

    def settled(server: Server) -> int:
        for _ in range(2 * FORGOTTEN_CALLS):
            call = sharing.next_call(jobs)
            sharing.called(sharing.call_of(call), server.call_s(len(call)))
        return len(sharing.next_call(jobs))

    assert settled(Server(row_share=1.0)) == 1
    assert settled(Server(row_share=0.0)) == 8
    assert settled(Server(row_share=1.0)) == 1
