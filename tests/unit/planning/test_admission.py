"""How much a batch takes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nats_spark_common.planning.admission import AdaptiveBatchSize, Available, admit, worth_a_batch


def test_a_thousand_streams_are_admitted_in_no_time() -> None:
    available = {f"S{i}": Available(i + 1, 100.0) for i in range(5_000)}
    taken = admit(available, 100, None)
    assert sum(taken.values()) == 100


AVAILABLE = st.dictionaries(
    st.sampled_from("ABCDEF"),
    st.builds(Available, st.integers(0, 10**6), st.floats(1, 10**5)),
    max_size=6,
)


@given(AVAILABLE, st.integers(1, 6) | st.integers(1, 10**6))
def test_never_more_messages_are_admitted_than_allowed_nor_than_there_are(
    available: dict[str, Available], limit: int
) -> None:
    taken = admit(available, limit, None)
    assert sum(taken.values()) <= limit
    assert all(0 <= taken[name] <= each.count for name, each in available.items())


@given(AVAILABLE, st.integers(1, 10**6), st.integers(1, 10**9))
def test_something_is_always_admitted_where_something_is_there(
    available: dict[str, Available], messages: int, size: int
) -> None:
    taken = admit(available, messages, size)
    assert any(taken.values()) == any(each.count for each in available.values())


@given(AVAILABLE, st.integers(6, 10**6))
def test_no_stream_is_starved_where_the_limit_allows_one_of_each(
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
def test_a_limit_is_used_up_but_for_what_does_not_divide(
    available: dict[str, Available], limit: int
) -> None:
    total = sum(each.count for each in available.values())
    unused = min(limit, total) - sum(admit(available, limit, None).values())
    assert 0 <= unused <= len(available)


@given(AVAILABLE)
def test_without_limits_all_is_admitted(available: dict[str, Available]) -> None:
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


def test_the_pace_halves_when_a_batch_takes_twice_as_long() -> None:
    pace = AdaptiveBatchSize(target=1.0)
    pace.begin(pace.limit, now=0.0)
    first = pace.limit
    pace.finish(now=2.0)
    assert pace.limit == first // 2


def test_the_pace_grows_by_a_bounded_factor() -> None:
    pace = AdaptiveBatchSize(target=10.0)
    first = pace.limit
    pace.begin(first, now=0.0)
    pace.finish(now=0.001)
    assert pace.limit == first * 4


def test_a_small_quick_batch_does_not_slow_the_pace() -> None:
    pace = AdaptiveBatchSize(target=1.0)
    first = pace.limit
    pace.begin(10, now=0.0)
    pace.finish(now=0.1)
    assert pace.limit == first


def test_the_pace_keeps_a_smallest_batch() -> None:
    pace = AdaptiveBatchSize(target=1.0)
    pace.begin(1, now=0.0)
    pace.finish(now=1e9)
    assert pace.limit == 100


def test_an_end_without_a_beginning_leaves_the_pace() -> None:
    pace = AdaptiveBatchSize(target=1.0)
    first = pace.limit
    pace.finish(now=5.0)
    assert pace.limit == first


def test_a_batch_sets_the_pace_once() -> None:
    pace = AdaptiveBatchSize(target=1.0)
    pace.begin(pace.limit, now=0.0)
    pace.finish(now=2.0)
    after = pace.limit
    pace.finish(now=200.0)
    assert pace.limit == after


@given(st.lists(st.tuples(st.integers(1, 10**9), st.floats(0, 10**6)), max_size=20))
def test_the_pace_always_allows_something(batches: list[tuple[int, float]]) -> None:
    pace, now = AdaptiveBatchSize(target=0.5), 0.0
    for count, took in batches:
        pace.begin(min(count, pace.limit), now)
        now += took
        pace.finish(now)
    assert pace.limit >= 100


@given(st.floats(1.0, 10**5))
def test_the_pace_settles_where_a_batch_takes_as_long_as_it_should(rate: float) -> None:
    pace, now = AdaptiveBatchSize(target=2.0), 0.0
    for _ in range(30):
        count = pace.limit
        pace.begin(count, now)
        now += count / rate
        pace.finish(now)
    assert pace.limit == pytest.approx(max(100, 2.0 * rate), rel=0.02)
