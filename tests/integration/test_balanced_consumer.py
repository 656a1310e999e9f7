"""The balanced flavor: consumers and streams that it creates, and existing ones."""

from __future__ import annotations

from typing import Any

import pytest
from nats.js.api import AckPolicy, DeliverPolicy, RetentionPolicy, StorageType
from nats.js.errors import NotFoundError

from nats_spark_common import (
    ConsumerNotFoundError,
    NatsSparkError,
    OptionError,
    ServerError,
    StreamNotFoundError,
    UnsupportedConsumerError,
)
from nats_spark_common.embedded import EmbeddedServer
from nats_spark_common.protocol.timestamps import ns_to_rfc3339
from nats_spark_common.rows.schema import SCHEMA

from .._support.admin import Admin
from .._support.consuming import DURABLE, consumer, durable, is_settled, source, start
from .._support.reading import batch, drain, numbers


def test_loading_creates_nothing(nats_server: EmbeddedServer, admin: Admin, stream: str) -> None:
    assert source(nats_server.url, stream, stream_subjects=f"{stream}.>").schema() == SCHEMA
    with pytest.raises(NotFoundError):
        admin.info(stream)
    admin.create_stream(stream)
    assert source(nats_server.url, stream).schema() == SCHEMA
    assert admin.consumers(stream) == []


def test_a_missing_stream_is_created_from_the_options(
    server: EmbeddedServer, server_admin: Admin, stream: str
) -> None:
    subjects = f"{stream}.a.>,{stream}.b"
    with start(server.url, stream, stream_subjects=subjects, storage_type="memory") as driver:
        position = driver.initial()
        server_admin.publish(f"{stream}.b", b"one")
        (row,) = drain(driver, position)
    config = server_admin.info(stream).config
    assert config.subjects == subjects.split(",")
    assert (config.storage, config.num_replicas) == (StorageType.MEMORY, 1)
    assert row["content"] == b"one"


def test_a_missing_stream_has_file_storage_and_limits_retention_by_default(
    server: EmbeddedServer, server_admin: Admin, stream: str
) -> None:
    with start(server.url, stream, stream_subjects=f"{stream}.>") as driver:
        driver.initial()
    config = server_admin.info(stream).config
    assert (config.storage, config.retention) == (StorageType.FILE, RetentionPolicy.LIMITS)


def test_more_replicas_than_servers_fail_with_the_servers_error(
    nats_server: EmbeddedServer, stream: str
) -> None:
    short = {"stream_subjects": f"{stream}.>", "storage_replicas": "3"}
    with (
        start(nats_server.url, stream, **short) as driver,
        pytest.raises(NatsSparkError, match="replicas > 1 not supported"),
    ):
        driver.initial()


@pytest.mark.parametrize(
    ("short", "words"),
    [
        ({}, r"or set nats\.stream\.subjects to have the source create it"),
        ({"js_define_stream": "false", "stream_subjects": "x"}, "does not exist: create it"),
    ],
)
def test_a_missing_stream_that_cannot_be_created_is_an_error_at_load(
    nats_server: EmbeddedServer, stream: str, short: dict[str, str], words: str
) -> None:
    with pytest.raises(StreamNotFoundError, match=words):
        source(nats_server.url, stream, **short).schema()


def test_a_missing_consumer_is_created_from_the_options(
    server: EmbeddedServer, server_admin: Admin, stream: str
) -> None:
    server_admin.create_stream(stream)
    server_admin.fill(stream, 5)
    short = {
        "stream_subjects": f"{stream}.a",
        "msg_ack_wait_secs": "90",
        "pull_consumer_max_ack_pending": "77",
        "pull_consumer_max_batch": "11",
        "start": "5",
    }
    with start(server.url, stream, **short) as driver:
        driver.initial()
    config = consumer(server_admin, stream).config
    assert (config.durable_name, config.filter_subject) == (DURABLE, f"{stream}.a")
    assert (config.ack_policy, config.ack_wait) == (AckPolicy.EXPLICIT, 90)
    assert (config.max_ack_pending, config.headers_only) == (77, True)
    assert (config.deliver_policy, config.opt_start_seq) == (DeliverPolicy.BY_START_SEQUENCE, 5)
    assert max_batch(server_admin, stream) == 11


def test_four_batches_may_await_their_acks_by_default(
    nats_server: EmbeddedServer, admin: Admin, stream: str
) -> None:
    admin.create_stream(stream)
    with start(nats_server.url, stream, max_messages_per_trigger="500") as driver:
        driver.initial()
    assert consumer(admin, stream).config.max_ack_pending == 2_000


@pytest.mark.parametrize(
    ("position", "expected"),
    [("earliest", [1, 2, 3, 4]), ("latest", [4]), ("2", [2, 3, 4])],
)
def test_a_new_consumer_starts_where_the_options_say(
    nats_server: EmbeddedServer, admin: Admin, stream: str, position: str, expected: list[int]
) -> None:
    admin.create_stream(stream)
    admin.fill(stream, 3)
    with start(nats_server.url, stream, start=position) as driver:
        first = driver.initial()
        admin.fill(stream, 1)
        assert numbers(drain(driver, first)) == expected


def test_a_new_consumer_can_start_at_a_time(
    nats_server: EmbeddedServer, admin: Admin, stream: str
) -> None:
    admin.create_stream(stream)
    admin.fill(stream, 3)
    second = admin.read_all(stream)[1].timestamp_ns
    with start(nats_server.url, stream, start=ns_to_rfc3339(second)) as driver:
        assert numbers(drain(driver)) == [2, 3]


def test_a_new_consumer_can_start_at_a_time_before_now(
    nats_server: EmbeddedServer, admin: Admin, stream: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    admin.create_stream(stream)
    admin.fill(stream, 20)
    admin.fill(stream, 3)
    clock = admin.read_all(stream)[20].timestamp_ns + 10_000_000_000
    monkeypatch.setattr("time.time_ns", lambda: clock)
    with start(nats_server.url, stream, start="-10s") as driver:
        assert numbers(drain(driver)) == [21, 22, 23]
    clock += 60_000_000_000
    with start(nats_server.url, stream, start="-10s") as again:  # the durable has the position
        assert numbers(drain(again)) == []
    assert is_settled(admin, stream)


@pytest.mark.parametrize(
    ("position", "words"), [("22", "beyond the end"), ("2199-01-01T00:00:00Z", "future")]
)
def test_a_new_consumer_does_not_start_beyond_the_end_of_the_stream(
    nats_server: EmbeddedServer, admin: Admin, stream: str, position: str, words: str
) -> None:
    admin.create_stream(stream)
    admin.fill(stream, 20)
    with (
        start(nats_server.url, stream, start=position) as driver,
        pytest.raises(OptionError, match=rf"nats\.start={position[:10]}.*{words}"),
    ):
        driver.initial()
    with pytest.raises(NotFoundError):
        consumer(admin, stream)


def test_an_existing_consumer_is_used_as_it_is(
    server: EmbeddedServer, server_admin: Admin, stream: str
) -> None:
    server_admin.create_stream(stream)
    durable(server_admin, stream, filter_subject=f"{stream}.3", ack_wait=17)
    server_admin.fill(stream, 20)
    before = consumer(server_admin, stream).config
    with start(server.url, stream, msg_ack_wait_secs="90", start="latest") as driver:
        assert numbers(drain(driver)) == [4, 14]
    assert consumer(server_admin, stream).config == before


def test_an_existing_consumer_is_updated_if_the_options_say_so(
    server: EmbeddedServer, server_admin: Admin, stream: str
) -> None:
    server_admin.create_stream(stream)
    server_admin.fill(stream, 100)
    durable(server_admin, stream, max_ack_pending=7, ack_wait=30, filter_subject=f"{stream}.1")
    short = {
        "consumer_update": "true",
        "msg_ack_wait_secs": "90",
        "stream_subjects": f"{stream}.2",
        "pull_consumer_max_ack_pending": "500",
        "pull_consumer_max_batch": "60",
    }
    source(server.url, stream, **short).schema()
    with start(server.url, stream, **short) as driver:
        position, rows = batch(driver, driver.initial())
        assert numbers(rows) == list(range(3, 101, 10))
        driver.latest(position)
    config = consumer(server_admin, stream).config
    assert (config.ack_wait, config.max_ack_pending) == (90, 500)
    assert config.filter_subject == f"{stream}.2"
    assert max_batch(server_admin, stream) == 60
    with start(server.url, stream, **{**short, "msg_ack_wait_secs": "45"}) as driver:
        assert driver.latest(position) == position  # a later start updates it as well
    config = consumer(server_admin, stream).config
    assert (config.ack_wait, config.max_ack_pending) == (45, 500)
    assert max_batch(server_admin, stream) == 60


def max_batch(admin: Admin, stream: str) -> int:
    """Return the consumer's limit of a pull, which nats-py does not know."""
    limit: int = admin.api(f"CONSUMER.INFO.{stream}.{DURABLE}")["config"]["max_batch"]
    return limit


@pytest.mark.parametrize(
    ("config", "short", "words"),
    [
        ({"deliver_subject": "x"}, {}, "is a push consumer"),
        ({"ack_policy": AckPolicy.ALL}, {}, "has ack_policy all, not explicit"),
        ({"ack_policy": AckPolicy.NONE}, {}, r"not explicit: set nats\.ack\.none=true"),
        ({}, {"ack_none": "true"}, r"has ack_policy explicit, not none: remove nats\.ack\.none"),
        ({}, {"stream_subjects": "other.>"}, r"delivers .*but nats\.stream\.subjects=other\.>"),
    ],
)
def test_an_existing_consumer_that_cannot_be_used_is_an_error_at_load(
    nats_server: EmbeddedServer,
    admin: Admin,
    stream: str,
    config: dict[str, Any],
    short: dict[str, str],
    words: str,
) -> None:
    admin.create_stream(stream)
    durable(admin, stream, **config)
    with pytest.raises(UnsupportedConsumerError, match=words):
        source(nats_server.url, stream, **short).schema()


def test_a_consumer_with_priority_groups_is_rejected(
    nats_server: EmbeddedServer, admin: Admin, stream: str
) -> None:
    admin.create_stream(stream)
    config = {"durable_name": DURABLE, "ack_policy": "explicit"}
    config |= {"priority_groups": ["a"], "priority_policy": "overflow"}
    call = f"CONSUMER.DURABLE.CREATE.{stream}.{DURABLE}"
    admin.api(call, stream_name=stream, config=config)
    with pytest.raises(UnsupportedConsumerError, match="has priority groups"):
        source(nats_server.url, stream).schema()


@pytest.mark.parametrize("option", ["ack_none", "pull_consumer_max_batch"])
def test_a_consumer_that_the_server_rejects_is_an_error_that_names_the_options(
    nats_server: EmbeddedServer, admin: Admin, stream: str, option: str
) -> None:
    admin.create_stream(stream, retention=RetentionPolicy.WORK_QUEUE)
    durable(admin, stream, name="first")  # a work queue allows one consumer without filters
    value = "true" if option == "ack_none" else "5"
    with (
        start(nats_server.url, stream, **{option: value}) as driver,
        pytest.raises(ServerError, match=r"cannot create consumer.*nats\.ack\.none"),
    ):
        driver.initial()


def test_a_missing_consumer_that_must_not_be_created_is_an_error_at_load(
    nats_server: EmbeddedServer, admin: Admin, stream: str
) -> None:
    admin.create_stream(stream)
    with pytest.raises(ConsumerNotFoundError, match=f"has no consumer '{DURABLE}'"):
        source(nats_server.url, stream, js_define_consumer="false").schema()


@pytest.mark.parametrize(
    ("short", "words"),
    [
        ({"stream_name": "A,B"}, r"reads one stream, and the streams are A,B"),
        ({"durable_name": ""}, r"nats\.durable\.name is not set"),
        ({"durable_name": "a.b"}, r"nats\.durable\.name='a\.b'"),
    ],
)
def test_options_that_name_no_consumer_are_an_error(
    nats_server: EmbeddedServer, stream: str, short: dict[str, str], words: str
) -> None:
    with pytest.raises(OptionError, match=words):
        source(nats_server.url, stream, **short).schema()


def test_an_end_is_for_batch_reads(nats_server: EmbeddedServer, stream: str) -> None:
    with pytest.raises(OptionError, match=r"nats\.end=5 is for batch reads"):
        source(nats_server.url, stream, end="5").streamReader(SCHEMA)


def test_an_end_is_an_error_at_load(nats_server: EmbeddedServer, stream: str) -> None:
    with pytest.raises(OptionError, match=r"nats\.end=5 is for batch reads"):
        source(nats_server.url, stream, end="5").schema()


def test_batch_reads_are_rejected_with_an_alternative(
    nats_server: EmbeddedServer, stream: str
) -> None:
    with pytest.raises(OptionError, match=r"trigger\(availableNow=True\)"):
        source(nats_server.url, stream).reader(SCHEMA)
