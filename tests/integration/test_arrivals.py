"""An idle query wakes when a message is stored, and polls where it cannot."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from typing import Any

import pytest

from nats_spark_common import NatsSettings
from nats_spark_common.embedded import EmbeddedServer
from nats_spark_common.jetstream.arrivals import MAX_STREAMS, Arrivals
from nats_spark_common.jetstream.control import Control

from .._support.admin import Admin, wait_until
from .._support.options import options
from .._support.reading import Driver, numbers
from .._support.writing import make_stream
from .test_permissions import STREAM, granted, server_for

#: Of polling alone, a query would wait so long; and a test fails after `SOON`.
POLL, SOON = "60s", 30.0


@contextmanager
def idle(driver: Driver, position: dict[str, Any]) -> Iterator[Future[dict[str, Any]]]:
    """What the driver's next call for the latest offset returns, while it waits for messages."""
    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(driver.latest, position)


def waiting(admin: Admin, *streams: str) -> bool:
    """Whether a pull request waits at the server for each stream."""
    return all(
        any(each["num_waiting"] for each in admin.api(f"CONSUMER.LIST.{stream}")["consumers"])
        for stream in streams
    )


def test_an_idle_query_wakes_when_a_message_is_stored(
    server: EmbeddedServer, server_admin: Admin, stream: str
) -> None:
    admin = server_admin
    admin.create_stream(stream)
    admin.fill(stream, 10)
    with Driver(options(server.url, stream_name=stream, poll_interval=POLL)) as driver:
        position = driver.latest(driver.initial())
        last = 10
        for more in (1, 1, 40, 2_000, 1):  # a consumer catches up, or another one takes its place
            with idle(driver, position) as found:
                wait_until(lambda: waiting(admin, stream))
                admin.fill(stream, more)
                end = found.result(SOON)
            last += more
            while numbers(driver.rows(position, end))[-1] < last:  # the first of them woke it
                end = driver.latest(end)
            position = end
    assert admin.consumers(stream) == []


def test_a_query_of_several_streams_wakes_with_any_of_them(
    nats_server: EmbeddedServer, admin: Admin, stream: str
) -> None:
    names = [f"{stream}-{i}" for i in range(3)]
    for name in names:
        admin.create_stream(name)
        admin.fill(name, 5)
    given = options(nats_server.url, stream_pattern=f"{stream}-*", poll_interval=POLL)
    with Driver(given) as driver:
        position = driver.latest(driver.initial())
        for name in (names[1], names[0], names[1], names[2]):
            with idle(driver, position) as found:
                wait_until(lambda: waiting(admin, *names))
                admin.fill(name, 1)
                end = found.result(SOON)
            assert [row["stream"] for row in driver.rows(position, end)] == [name]
            position = end
    assert all(admin.consumers(name) == [] for name in names)


def test_without_a_message_the_poll_interval_is_waited_for(
    nats_server: EmbeddedServer, admin: Admin, stream: str
) -> None:
    admin.create_stream(stream)
    with Driver(options(nats_server.url, stream_name=stream, poll_interval="400ms")) as driver:
        position = driver.initial()
        started = time.monotonic()
        for _ in range(3):
            assert driver.latest(position) == position
        assert time.monotonic() - started >= 3 * 0.4 - 0.4  # the first state may be so old


def test_a_wait_that_found_nothing_new_is_not_repeated_at_once(
    nats_server: EmbeddedServer, admin: Admin, stream: str
) -> None:
    """As if a stream was recreated with fewer messages: no endless loop of waking."""
    admin.create_stream(stream)
    admin.fill(stream, 5)
    settings = NatsSettings.from_options(options(nats_server.url, stream_name=stream))
    with Control(settings) as control, closing(Arrivals(control, settings)) as arrivals:
        assert arrivals.wait({stream: 3}, 60.0)
        started = time.monotonic()
        assert not arrivals.wait({stream: 3}, 0.5)
        assert time.monotonic() - started >= 0.5
        assert arrivals.wait({stream: 4}, 60.0)
        assert not arrivals.wait({stream: 5}, 0.1)


@pytest.mark.parametrize(
    "given",
    [{"read_via": "direct"}, {"stream_subjects": "ORDERS.a"}],
    ids=["direct", "no permission"],
)
def test_where_it_may_not_wait_a_query_polls(given: dict[str, str]) -> None:
    subjects = [each for each in granted("all", "v2, partitioned") if "CONSUMER" not in each]
    with server_for(subjects) as server:
        admin_url, url = (
            server.url.replace("nats://", f"nats://{user}:pw@") for user in ("admin", "spark")
        )
        with (
            closing(Admin(admin_url)) as admin,
            Driver(options(url, stream_name=STREAM, poll_interval="100ms", **given)) as driver,
        ):
            make_stream(admin, STREAM, allow_direct=True)
            position = driver.initial()
            for number in range(1, 4):
                assert driver.latest(position) == position
                admin.publish(f"{STREAM}.a", b"x")
                end = wait_until(lambda position=position: news(driver, position))
                assert numbers(driver.rows(position, end)) == [number]
                position = end


def news(driver: Driver, position: dict[str, Any]) -> dict[str, Any] | None:
    end = driver.latest(position)
    return end if end != position else None


def test_many_streams_are_polled(nats_server: EmbeddedServer, admin: Admin, stream: str) -> None:
    names = [f"{stream}-{i}" for i in range(MAX_STREAMS + 1)]
    for name in names:
        admin.create_stream(name)
    given = options(nats_server.url, stream_pattern=f"{stream}-*", poll_interval="50ms")
    with Driver(given) as driver:
        position = driver.latest(driver.initial())
        assert driver.latest(position) == position
        assert not any(admin.consumers(name) for name in names)
        admin.fill(names[-1], 1)
        end = wait_until(lambda: news(driver, position))
        assert len(driver.rows(position, end)) == 1
