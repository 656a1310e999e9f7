"""How much a batch takes."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nats_spark_common.planning.admission import AdaptiveBatchSize, Available, admit, worth_a_batch


def test_thousands_of_streams_are_admitted_quickly() -> None:
    """Eight times as many take about eight times as long, not the square of it."""

    def seconds(streams: int) -> float:
        available = {f"S{i}": Available(i + 1, 100.0) for i in range(streams)}
        begun = time.process_time()
        taken = admit(available, 100, None)
        took = time.process_time() - begun
        assert sum(taken.values()) == 100
        return took

    few, many = (min(seconds(streams) for _ in range(5)) for streams in (1_000, 8_000))
    assert many < 24 * few


AVAILABLE = st.dictionaries(
    st.sampled_from("ABCDEF"),
    st.builds(Available, st.integers(0, 10**6), st.floats(1, 10**5)),
    max_size=6,
)


@given(AVAILABLE, st.integers(1, 6) | st.integers(1, 10**6))
def test_admission_exceeds_neither_the_limit_nor_the_backlog(
    available: dict[str, Available], limit: int
) -> None:
    taken = admit(available, limit, None)
    assert sum(taken.values()) <= limit
    assert all(0 <= taken[name] <= each.count for name, each in available.items())


@given(AVAILABLE, st.integers(1, 10**6), st.integers(1, 10**9))
def test_some_messages_are_always_admitted_if_there_are_any(
    available: dict[str, Available], messages: int, size: int
) -> None:
    taken = admit(available, messages, size)
    assert any(taken.values()) == any(each.count for each in available.values())


@given(AVAILABLE, st.integers(6, 10**6))
def test_no_stream_starves_if_the_limit_allows_one_message_of_each(
    available: dict[str, Available], limit: int
) -> None:
    taken = admit(available, limit, None)
    assert all(taken[name] for name, each in available.items() if each.count)


@given(AVAILABLE, st.integers(10**6, 10**9))
def test_the_estimated_bytes_stay_within_the_limit(
    available: dict[str, Available], size: int
) -> None:
    taken = admit(available, None, size)
    estimate = sum(taken[name] * each.size for name, each in available.items())
    one_of_each = sum(each.size for each in available.values())
    assert estimate <= size + one_of_each


@given(AVAILABLE, st.integers(1, 10**6))
def test_a_limit_is_used_up_except_for_rounding(
    available: dict[str, Available], limit: int
) -> None:
    total = sum(each.count for each in available.values())
    unused = min(limit, total) - sum(admit(available, limit, None).values())
    assert 0 <= unused <= len(available)


@given(AVAILABLE)
def test_without_limits_everything_is_admitted(available: dict[str, Available]) -> None:
    assert admit(available, None, None) == {n: each.count for n, each in available.items()}


@given(AVAILABLE, st.integers(1, 10**6), st.integers(1, 10**9))
def test_a_second_limit_never_admits_more(
    available: dict[str, Available], messages: int, size: int
) -> None:
    both = sum(admit(available, messages, size).values())
    assert both <= sum(admit(available, messages, None).values())


def test_a_limit_is_shared_in_proportion_to_the_backlogs() -> None:
    available = {"A": Available(900, 1), "B": Available(100, 1)}
    assert admit(available, 100, None) == {"A": 90, "B": 10}


def test_a_limit_of_bytes_is_shared_in_proportion_to_the_backlogs() -> None:
    available = {"A": Available(900, 10), "B": Available(100, 10)}
    assert admit(available, None, 1000) == {"A": 90, "B": 10}


@pytest.mark.parametrize(
    ("count", "least", "waited", "worth"),
    [(0, 0, 99, False), (1, 0, 0, True), (4, 5, 1, False), (5, 5, 0, True), (4, 5, 10, True)],
)
def test_worth_a_batch(count: int, least: int, waited: float, worth: bool) -> None:
    assert worth_a_batch(count, least, waited, max_delay=10) is worth


def test_the_batch_size_halves_when_a_batch_takes_twice_as_long() -> None:
    batch_size = AdaptiveBatchSize(target=1.0)
    batch_size.begin(batch_size.limit, now=0.0)
    first = batch_size.limit
    batch_size.finish(now=2.0)
    assert batch_size.limit == first // 2


def test_the_batch_size_grows_by_a_bounded_factor() -> None:
    batch_size = AdaptiveBatchSize(target=10.0)
    first = batch_size.limit
    batch_size.begin(first, now=0.0)
    batch_size.finish(now=0.001)
    assert batch_size.limit == first * 4


def test_a_short_small_batch_does_not_reduce_the_batch_size() -> None:
    batch_size = AdaptiveBatchSize(target=1.0)
    first = batch_size.limit
    batch_size.begin(10, now=0.0)
    batch_size.finish(now=0.1)
    assert batch_size.limit == first


def test_the_batch_size_has_a_minimum() -> None:
    batch_size = AdaptiveBatchSize(target=1.0)
    batch_size.begin(1, now=0.0)
    batch_size.finish(now=1e9)
    assert batch_size.limit == 100


def test_an_end_without_a_start_keeps_the_batch_size() -> None:
    batch_size = AdaptiveBatchSize(target=1.0)
    first = batch_size.limit
    batch_size.finish(now=5.0)
    assert batch_size.limit == first


def test_a_batch_changes_the_batch_size_once() -> None:
    batch_size = AdaptiveBatchSize(target=1.0)
    batch_size.begin(batch_size.limit, now=0.0)
    batch_size.finish(now=2.0)
    after = batch_size.limit
    batch_size.finish(now=200.0)
    assert batch_size.limit == after


@given(st.lists(st.tuples(st.integers(1, 10**9), st.floats(0, 10**6)), max_size=20))
def test_the_batch_size_is_always_positive(batches: list[tuple[int, float]]) -> None:
    batch_size, now = AdaptiveBatchSize(target=0.5), 0.0
    for count, took in batches:
        batch_size.begin(min(count, batch_size.limit), now)
        now += took
        batch_size.finish(now)
    assert batch_size.limit >= 100


@given(st.floats(1.0, 10**5))
def test_the_batch_size_converges_to_the_target_duration(rate: float) -> None:
    batch_size, now = AdaptiveBatchSize(target=2.0), 0.0
    for _ in range(30):
        count = batch_size.limit
        batch_size.begin(count, now)
        now += count / rate
        batch_size.finish(now)
    assert batch_size.limit == pytest.approx(max(100, 2.0 * rate), rel=0.02)
