"""Two ways to read a stream: which is taken, and what happens when the server allows only one."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest

from nats_spark_common import MissingPermissionError, OptionError
from nats_spark_common.embedded import EmbeddedServer
from nats_spark_common.planning.way import CONSUMER_FROM

from .._support import consuming
from .._support.admin import Admin
from .._support.options import options
from .._support.reading import drain, numbers, read_stream
from .._support.writing import make_stream
from .test_permissions import granted, server_for

STREAM = "ORDERS"
CONSUMER, DIRECT = "$JS.API.CONSUMER.", "$JS.API.DIRECT.GET."


@contextmanager
def calls(admin: Admin, stream: str) -> Iterator[set[str]]:
    """The kinds of requests that a plain subscriber hears of a stream: CONSUMER.CREATE, ..."""
    kinds: set[str] = set()

    async def hear(message: Any) -> None:
        tokens = message.subject.split(".")
        if stream in tokens:
            kinds.add(".".join(tokens[2:4]))

    async def listen() -> Any:
        found = await admin.client.subscribe("$JS.API.>", cb=hear)
        await admin.client.flush()
        return found

    subscription = admin.run(listen())
    yield kinds
    admin.run(admin.client.flush())
    admin.run(subscription.unsubscribe())


@pytest.mark.parametrize(
    ("via", "count", "taken"),
    [
        ("auto", CONSUMER_FROM - 1, "DIRECT.GET"),
        ("auto", CONSUMER_FROM, "CONSUMER.CREATE"),
        ("direct", CONSUMER_FROM, "DIRECT.GET"),
        ("consumer", 10, "CONSUMER.CREATE"),
    ],
)
def test_the_length_of_a_range_decides_or_the_option(
    nats_server: EmbeddedServer, admin: Admin, stream: str, via: str, count: int, taken: str
) -> None:
    admin.create_stream(stream)
    admin.fill(stream, count)
    given = options(nats_server.url, stream_name=stream, read_via=via, partitions="1")
    with calls(admin, stream) as made:
        assert numbers(read_stream(given)) == list(range(1, count + 1))
    assert made & {"DIRECT.GET", "CONSUMER.CREATE"} == {taken}
    assert admin.consumers(stream) == []


def test_a_pull_that_its_messages_fill_to_the_last_byte(
    nats_server: EmbeddedServer, admin: Admin, stream: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The server ends such a pull without a status; nothing more is awaited."""
    admin.create_stream(stream)
    fetch_bytes, filling, count = 1 << 16, 17, 20
    subject, name = f"{stream}.a", "spark_" + "x" * 22
    left = fetch_bytes
    for seq in range(1, count + 1):
        ack = f"$JS.ACK.{stream}.{name}.1.{seq}.{seq}.{10**18}.{count - seq}"
        left -= len(subject) + len(ack)
        size = left if seq == filling else 3_500
        admin.publish(subject, b"." * size)
        left -= size
    given = options(
        nats_server.url,
        stream_name=stream,
        read_via="consumer",
        partitions="1",
        fetch_bytes=str(fetch_bytes),
        request_timeout="1s",
    )
    with caplog.at_level(logging.INFO):
        assert numbers(read_stream(given)) == list(range(1, count + 1))
    assert not [each for each in caplog.records if "no reply" in each.message]


def test_direct_gets_that_a_stream_does_not_allow_are_an_error_at_start(
    nats_server: EmbeddedServer, admin: Admin, stream: str
) -> None:
    admin.create_stream(stream, allow_direct=False)
    admin.fill(stream, 10)
    with pytest.raises(OptionError, match=rf"nats\.read\.via=direct: stream '{stream}' has allow"):
        read_stream(options(nats_server.url, stream_name=stream, read_via="direct"))


@pytest.fixture
def without(request: pytest.FixtureRequest) -> Iterator[tuple[Admin, str]]:
    """A server whose user lacks the permissions that contain a word; an administrator, the URL."""
    subjects = granted("all", "v2, partitioned", "balanced")
    with server_for([each for each in subjects if request.param not in each]) as server:
        admin_url, url = (
            server.url.replace("nats://", f"nats://{user}:pw@") for user in ("admin", "spark")
        )
        with closing(Admin(admin_url)) as admin:
            make_stream(admin, STREAM, allow_direct=True)
            yield admin, url


@pytest.mark.parametrize("without", [CONSUMER], indirect=True)
@pytest.mark.parametrize("via", ["auto", "consumer"])
def test_a_user_who_may_not_create_consumers_reads_with_direct_gets(
    without: tuple[Admin, str], via: str, caplog: pytest.LogCaptureFixture
) -> None:
    admin, url = without
    admin.fill(STREAM, 2 * CONSUMER_FROM)
    given = options(url, stream_name=STREAM, read_via=via, partitions="1")
    with caplog.at_level(logging.INFO):
        for _ in range(2):
            assert numbers(read_stream(given)) == list(range(1, 2 * CONSUMER_FROM + 1))
    told = [each.message for each in caplog.records if "with direct gets" in each.message]
    assert len(told) == 1, "it is tried once in a process"
    assert f"CONSUMER.CREATE.{STREAM}" in told[0]


@pytest.mark.parametrize("without", ["MSG.NEXT", "CONSUMER.DELETE"], indirect=True)
def test_a_user_with_part_of_the_permissions_of_a_consumer_reads_everything_once(
    without: tuple[Admin, str],
) -> None:
    admin, url = without
    admin.fill(STREAM, 2 * CONSUMER_FROM)
    given = options(url, stream_name=STREAM, partitions="1")
    for _ in range(2):
        assert numbers(read_stream(given)) == list(range(1, 2 * CONSUMER_FROM + 1))


@pytest.mark.parametrize("without", [DIRECT], indirect=True)
@pytest.mark.parametrize("via", ["auto", "direct"])
def test_a_user_who_may_not_use_direct_gets_reads_through_a_consumer(
    without: tuple[Admin, str], via: str, caplog: pytest.LogCaptureFixture
) -> None:
    admin, url = without
    admin.fill(STREAM, 100)
    with caplog.at_level(logging.INFO):
        rows = read_stream(options(url, stream_name=STREAM, read_via=via))
    assert numbers(rows) == list(range(1, 101))
    assert any("through a consumer" in each.message for each in caplog.records)


@pytest.mark.parametrize("without", [CONSUMER], indirect=True)
def test_a_stream_that_no_way_may_read_names_the_permission(without: tuple[Admin, str]) -> None:
    admin, url = without
    config = admin.api(f"STREAM.INFO.{STREAM}")["config"]
    admin.api(f"STREAM.UPDATE.{STREAM}", **{**config, "allow_direct": False})
    admin.fill(STREAM, 10)
    with pytest.raises(MissingPermissionError, match=rf"CONSUMER\.CREATE\.{STREAM}.*grant"):
        read_stream(options(url, stream_name=STREAM))


def test_a_limit_of_consumers_is_no_obstacle(
    nats_server: EmbeddedServer, admin: Admin, stream: str
) -> None:
    admin.create_stream(stream, max_consumers=1)
    admin.fill(stream, 100)
    admin.run(admin.js.pull_subscribe(f"{stream}.>", durable="other", stream=stream))
    rows = read_stream(options(nats_server.url, stream_name=stream, read_via="consumer"))
    assert numbers(rows) == list(range(1, 101))


@pytest.mark.parametrize("without", ["CONSUMER.CREATE"], indirect=True)
def test_balanced_needs_no_consumer_but_its_durable(without: tuple[Admin, str]) -> None:
    """A range that neither way may read is read message by message, from the leader."""
    admin, url = without
    config = admin.api(f"STREAM.INFO.{STREAM}")["config"]
    admin.api(f"STREAM.UPDATE.{STREAM}", **{**config, "allow_direct": False})
    admin.fill(STREAM, 2_000)
    consuming.durable(admin, STREAM)
    with consuming.start(url, STREAM) as driver:
        assert numbers(drain(driver)) == list(range(1, 2_001))
