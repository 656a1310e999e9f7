"""How much a batch takes, and how a query waits."""

from __future__ import annotations

import time
from itertools import chain

import pytest

from nats_spark_common.embedded import EmbeddedServer
from nats_spark_common.spark.newest_api import ReadAllAvailable

from .._support.admin import Admin
from .._support.reading import Driver, numbers


@pytest.fixture
def options(nats_server: EmbeddedServer, stream: str) -> dict[str, str]:
    return {
        "nats.url": nats_server.url,
        "nats.stream.name": stream,
        "nats.poll.interval": "20ms",
    }


def batches(driver: Driver, start: dict[str, object]) -> list[list[int]]:
    """Batch after batch until nothing is left."""
    found = []
    while True:
        end = driver.latest(start)
        if end == start:
            return found
        found.append(numbers(driver.rows(start, end)))
        start = end


def test_a_batch_takes_no_more_messages_than_allowed(
    admin: Admin, options: dict[str, str], stream: str
) -> None:
    admin.create_stream(stream)
    admin.fill(stream, 25)
    with Driver({**options, "nats.max.messages.per.trigger": "10"}) as driver:
        found = batches(driver, driver.initial())
    assert found == [list(range(1, 11)), list(range(11, 21)), list(range(21, 26))]


def test_a_limit_is_shared_so_that_a_backlog_does_not_starve_other_streams(
    admin: Admin, options: dict[str, str], stream: str
) -> None:
    names = [f"{stream}A", f"{stream}B"]
    for name, count in zip(names, (900, 100), strict=True):
        admin.create_stream(name)
        admin.fill(name, count)
    limit = {"nats.stream.name": ",".join(names), "nats.max.messages.per.trigger": "100"}
    with Driver({**options, **limit}) as driver:
        start = driver.initial()
        rows = driver.rows(start, driver.latest(start))
    assert [sum(r["stream"] == name for r in rows) for name in names] == [90, 10]


def test_a_batch_is_bounded_in_bytes(admin: Admin, options: dict[str, str], stream: str) -> None:
    admin.create_stream(stream)
    admin.fill(stream, 1_000, size=1_000)
    with Driver({**options, "nats.max.bytes.per.trigger": "100KB"}) as driver:
        found = batches(driver, driver.initial())
    assert list(chain.from_iterable(found)) == list(range(1, 1_001))
    assert max(map(len, found)) <= 100
    assert min(map(len, found[:-1])) >= 80


def test_a_message_larger_than_the_bound_is_a_batch_of_its_own(
    admin: Admin, options: dict[str, str], stream: str
) -> None:
    admin.create_stream(stream)
    admin.fill(stream, 3, size=50_000)
    with Driver({**options, "nats.max.bytes.per.trigger": "1000"}) as driver:
        assert batches(driver, driver.initial()) == [[1], [2], [3]]


def test_too_few_messages_wait_for_more(admin: Admin, options: dict[str, str], stream: str) -> None:
    admin.create_stream(stream)
    admin.fill(stream, 9)
    with Driver({**options, "nats.min.messages.per.trigger": "10"}) as driver:
        start = driver.initial()
        assert driver.latest(start) == start
        admin.publish(f"{stream}.a")
        assert numbers(driver.rows(start, driver.latest(start))) == list(range(1, 11))


def test_too_few_messages_wait_no_longer_than_the_delay(
    admin: Admin, options: dict[str, str], stream: str
) -> None:
    admin.create_stream(stream)
    admin.fill(stream, 9)
    wait = {"nats.min.messages.per.trigger": "10", "nats.max.trigger.delay": "2s"}
    with Driver({**options, **wait}) as driver:
        start = driver.initial()
        begun = time.monotonic()
        assert driver.latest(start) == start
        while driver.latest(start) == start:
            assert time.monotonic() - begun < 10
        assert time.monotonic() - begun >= 1.0


def test_without_limits_a_batch_takes_everything(
    admin: Admin, options: dict[str, str], stream: str
) -> None:
    admin.create_stream(stream)
    admin.fill(stream, 5_000)
    with Driver(options) as driver:
        assert isinstance(driver.reader.getDefaultReadLimit(), ReadAllAvailable)
        assert batches(driver, driver.initial()) == [list(range(1, 5_001))]


def test_an_engine_that_asks_for_everything_gets_it_whatever_the_limits(
    admin: Admin, options: dict[str, str], stream: str
) -> None:
    admin.create_stream(stream)
    admin.fill(stream, 50)
    with Driver({**options, "nats.max.messages.per.trigger": "10"}) as driver:
        assert not isinstance(driver.reader.getDefaultReadLimit(), ReadAllAvailable)
        start = driver.initial()
        assert len(driver.rows(start, driver.everything(start))) == 50


def test_batches_adapt_to_a_duration(admin: Admin, options: dict[str, str], stream: str) -> None:
    admin.create_stream(stream)
    admin.fill(stream, 60_000)
    with Driver({**options, "nats.target.batch.duration": "100ms"}) as driver:
        start = driver.initial()
        first = driver.latest(start)
        time.sleep(0.5)  # the batch "runs" five times as long as it should
        second = driver.latest(first)
    taken = [each["streams"][stream]["seq"] for each in (start, first, second)]
    assert taken[1] - taken[0] == 50_000
    assert 5_000 <= taken[2] - taken[1] <= 10_000


def test_available_now_stops_at_what_was_there_at_the_start(
    admin: Admin, options: dict[str, str], stream: str
) -> None:
    admin.create_stream(stream)
    admin.fill(stream, 25)
    with Driver({**options, "nats.max.messages.per.trigger": "10"}) as driver:
        driver.reader.prepareForTriggerAvailableNow()
        start = driver.initial()
        admin.fill(stream, 100)
        assert list(chain.from_iterable(batches(driver, start))) == list(range(1, 26))


def test_available_now_does_not_wait_for_a_minimum(
    admin: Admin, options: dict[str, str], stream: str
) -> None:
    admin.create_stream(stream)
    admin.fill(stream, 3)
    with Driver({**options, "nats.min.messages.per.trigger": "10"}) as driver:
        driver.reader.prepareForTriggerAvailableNow()
        assert batches(driver, driver.initial()) == [[1, 2, 3]]


def test_an_idle_query_asks_once_each_poll_interval_and_sees_news_within_it(
    admin: Admin, options: dict[str, str], stream: str
) -> None:
    admin.create_stream(stream)
    with Driver({**options, "nats.poll.interval": "200ms"}) as driver:
        start = driver.initial()
        asked = _api_requests(admin)
        begun = time.monotonic()
        while time.monotonic() - begun < 2.0:
            assert driver.latest(start) == start
        # a request of ours to look costs one each; the query's own are about ten
        assert _api_requests(admin) - asked <= 14
        admin.publish(f"{stream}.a")
        published = time.monotonic()
        while driver.latest(start) == start:
            pass
        assert time.monotonic() - published < 1.0


def _api_requests(admin: Admin) -> int:
    """How many JetStream API requests the account has made."""
    return int(admin.api("INFO")["api"]["total"])


def test_the_latest_offset_is_reported_for_the_lag(
    admin: Admin, options: dict[str, str], stream: str
) -> None:
    admin.create_stream(stream)
    admin.fill(stream, 30)
    with Driver({**options, "nats.max.messages.per.trigger": "10"}) as driver:
        end = driver.latest(driver.initial())
        latest = driver.reader.reportLatestOffset()
    assert end["streams"][stream]["seq"] == 10
    assert latest["streams"][stream]["seq"] == 30
