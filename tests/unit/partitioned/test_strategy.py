"""The pure parts of the partitioned flavor: even shares of a limit, one task for each stream."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from nats_spark_common import NatsSettings
from nats_spark_common.planning.admission import Available
from nats_spark_common.planning.ranges import StreamRange
from pyspark_nats_partitioned.even_admission import admit_evenly
from pyspark_nats_partitioned.strategy import ByStream

COUNTS = st.lists(st.integers(0, 10_000), min_size=1, max_size=8)
LIMITS = st.integers(1, 20_000)


def offers(counts: list[int], sizes: list[float] | None = None) -> dict[str, Available]:
    return {
        f"P-{i}": Available(count, sizes[i % len(sizes)] if sizes else 1.0)
        for i, count in enumerate(counts)
    }


@given(COUNTS)
def test_without_a_limit_everything_is_taken(counts: list[int]) -> None:
    assert list(admit_evenly(offers(counts), None, None).values()) == counts


@given(COUNTS, LIMITS)
@example([5, 5, 5], 1)
@example([0, 0], 3)
def test_a_limit_of_messages_is_used_up_and_not_exceeded(counts: list[int], limit: int) -> None:
    taken = admit_evenly(offers(counts), limit, None)
    assert sum(taken.values()) == min(limit, sum(counts))
    assert all(0 <= taken[f"P-{i}"] <= count for i, count in enumerate(counts))


@given(COUNTS, LIMITS)
def test_no_stream_gets_more_than_one_that_has_something_left(
    counts: list[int], limit: int
) -> None:
    taken = admit_evenly(offers(counts), limit, None)
    left_short = [taken[f"P-{i}"] for i, c in enumerate(counts) if taken[f"P-{i}"] < c]
    if left_short:
        assert max(taken.values()) <= min(left_short) + 1


@given(COUNTS, LIMITS, st.lists(st.floats(1.0, 5_000.0), min_size=1, max_size=8))
def test_a_limit_of_bytes_is_kept_except_for_one_message_of_each_stream(
    counts: list[int], limit: int, sizes: list[float]
) -> None:
    available = offers(counts, sizes)
    taken = admit_evenly(available, None, limit)
    assert all(taken[name] >= 1 for name, each in available.items() if each.count)
    above_one = sum(max(0, taken[name] - 1) * each.size for name, each in available.items())
    assert above_one <= limit
    if sum(each.count * each.size for each in available.values()) <= limit:
        assert list(taken.values()) == counts


@given(COUNTS, LIMITS, LIMITS, st.lists(st.floats(1.0, 500.0), min_size=1, max_size=8))
def test_the_lower_of_two_limits_applies(
    counts: list[int], messages: int, size: int, sizes: list[float]
) -> None:
    available = offers(counts, sizes)
    taken = admit_evenly(available, messages, size)
    assert sum(taken.values()) <= messages
    by_size = admit_evenly(available, None, size)
    assert all(taken[name] <= by_size[name] for name in available)


@given(st.lists(st.integers(0, 5), min_size=1, max_size=15))
def test_task_i_is_stream_i_whatever_the_others_hold(lengths: list[int]) -> None:
    ranges = [StreamRange(f"P-{i}", "now", 1, n) for i, n in enumerate(lengths) if n]
    streams = [f"P-{i}" for i in range(len(lengths))]
    settings = NatsSettings.from_options({"nats.stream.prefix": "P", "nats.partitions": "3"})
    tasks = ByStream().tasks(ranges[::-1], sorted(streams), settings)
    assert [(t[0].stream, len(t[0])) if t else None for t in tasks] == [
        (f"P-{i}", n) if n else None for i, n in enumerate(lengths)
    ]
