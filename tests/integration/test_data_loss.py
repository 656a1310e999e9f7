"""What happens to a position when its stream changes under it."""

from __future__ import annotations

import json

import pytest

from nats_spark_common import DataLossError, UnsupportedStreamError
from nats_spark_common.embedded import EmbeddedServer

from .._support.admin import Admin, wait_until
from .._support.reading import ALWAYS, Driver, numbers, read_stream


@pytest.fixture
def options(server: EmbeddedServer, stream: str) -> dict[str, str]:
    return {"nats.url": server.url, "nats.stream.name": stream, "nats.poll.interval": ALWAYS}


@pytest.fixture
def filled(server_admin: Admin, stream: str) -> str:
    """A stream with messages 1 to 20."""
    server_admin.create_stream(stream)
    server_admin.fill(stream, 20)
    return stream


@pytest.fixture
def forgiving(options: dict[str, str]) -> dict[str, str]:
    return {**options, "nats.fail.on.data.loss": "false"}


def consumed(options: dict[str, str], upto: int) -> tuple[dict[str, object], dict[str, object]]:
    """Offsets of a batch that ended at ``upto``, as a checkpoint holds them."""
    with Driver({**options, "nats.max.messages.per.trigger": str(upto)}) as driver:
        start = driver.initial()
        return start, driver.latest(start)


def test_messages_that_limits_removed_before_they_were_read_fail_the_query(
    server_admin: Admin, options: dict[str, str], stream: str
) -> None:
    server_admin.create_stream(stream, max_msgs=50)
    server_admin.fill(stream, 20)
    _, position = consumed(options, 10)
    server_admin.fill(stream, 60)  # 1 to 30 are gone
    with (
        Driver(options) as driver,
        pytest.raises(DataLossError, match=rf"{stream}.*11 to 30.*nats\.fail\.on\.data\.loss"),
    ):
        driver.latest(position)


def test_with_loss_allowed_the_query_goes_on_at_the_first_message(
    server_admin: Admin, forgiving: dict[str, str], stream: str
) -> None:
    server_admin.create_stream(stream, max_msgs=50)
    server_admin.fill(stream, 20)
    _, position = consumed(forgiving, 10)
    server_admin.fill(stream, 60)
    with Driver(forgiving) as driver:
        assert numbers(driver.rows(position, driver.latest(position))) == list(range(31, 81))


def test_a_restart_after_all_messages_of_the_first_batch_were_removed_is_no_loss(
    server_admin: Admin, options: dict[str, str], filled: str
) -> None:
    _, position = consumed(options, 10)
    server_admin.purge(filled, seq=11)
    with Driver(options) as driver:
        # Spark calls this at a restart, with the last logged offset.
        assert driver.rows(position, position) == []
        assert numbers(driver.rows(position, driver.latest(position))) == list(range(11, 21))


def test_a_purged_stream_is_data_loss(
    server_admin: Admin, options: dict[str, str], filled: str
) -> None:
    _, position = consumed(options, 10)
    server_admin.purge(filled)
    with Driver(options) as driver, pytest.raises(DataLossError, match=rf"{filled}.*11 to 20"):
        driver.latest(position)


def test_a_purge_of_what_was_consumed_is_no_loss(
    server_admin: Admin, options: dict[str, str], filled: str
) -> None:
    _, position = consumed(options, 10)
    server_admin.purge(filled, seq=11)
    with Driver(options) as driver:
        assert numbers(driver.rows(position, driver.latest(position))) == list(range(11, 21))


def test_a_replayed_batch_whose_messages_are_gone_fails(
    server_admin: Admin, options: dict[str, str], filled: str
) -> None:
    start, end = consumed(options, 10)
    server_admin.purge(filled, seq=5)
    with Driver(options) as driver, pytest.raises(DataLossError, match=rf"{filled}.*1 to 4"):
        driver.rows(start, end)


def test_a_replayed_batch_with_loss_allowed_gives_what_is_left(
    server_admin: Admin, forgiving: dict[str, str], filled: str
) -> None:
    start, end = consumed(forgiving, 10)
    server_admin.purge(filled, seq=5)
    with Driver(forgiving) as driver:
        assert numbers(driver.rows(start, end)) == list(range(5, 11))


def test_messages_purged_between_plan_and_read_fail_the_task(
    server_admin: Admin, options: dict[str, str], filled: str
) -> None:
    with Driver(options) as driver:
        start = driver.initial()
        (partition,) = driver.reader.partitions(start, driver.everything(start))
        server_admin.purge(filled, seq=8)
        with pytest.raises(DataLossError, match=rf"{filled}.*1 to 7"):
            list(driver.reader.read(partition))


def test_a_stream_purged_whole_between_plan_and_read_fails_the_task(
    server_admin: Admin, options: dict[str, str], filled: str
) -> None:
    with Driver(options) as driver:
        start = driver.initial()
        (partition,) = driver.reader.partitions(start, driver.everything(start))
        server_admin.purge(filled)
        with pytest.raises(DataLossError, match=rf"{filled}.*1 to 20"):
            list(driver.reader.read(partition))


def test_a_filtered_read_notices_a_purge_between_plan_and_read(
    server_admin: Admin, options: dict[str, str], stream: str
) -> None:
    server_admin.create_stream(stream)
    server_admin.fill(stream, 40)
    with Driver({**options, "nats.stream.subjects": f"{stream}.3"}) as driver:
        start = driver.initial()
        (partition,) = driver.reader.partitions(start, driver.everything(start))
        server_admin.purge(stream, seq=12)
        with pytest.raises(DataLossError, match=rf"{stream}.*1 to 11"):
            list(driver.reader.read(partition))


def test_a_recreated_stream_fails_the_query(
    server_admin: Admin, options: dict[str, str], filled: str
) -> None:
    _, position = consumed(options, 10)
    server_admin.delete_stream(filled)
    server_admin.create_stream(filled)
    server_admin.fill(filled, 30)  # longer than before: sequences alone would not tell
    with (
        Driver(options) as driver,
        pytest.raises(DataLossError, match=rf"{filled}.*recreated.*nats\.fail\.on"),
    ):
        driver.latest(position)


def test_with_loss_allowed_a_recreated_stream_is_read_from_its_head(
    server_admin: Admin, forgiving: dict[str, str], filled: str
) -> None:
    _, position = consumed(forgiving, 10)
    server_admin.delete_stream(filled)
    server_admin.create_stream(filled)
    server_admin.fill(filled, 5)
    with Driver(forgiving) as driver:
        assert numbers(driver.rows(position, driver.latest(position))) == [1, 2, 3, 4, 5]


def test_with_loss_allowed_a_replayed_batch_of_a_recreated_stream_is_empty(
    server_admin: Admin, forgiving: dict[str, str], filled: str
) -> None:
    start, end = consumed(forgiving, 10)
    server_admin.delete_stream(filled)
    server_admin.create_stream(filled)
    server_admin.fill(filled, 20)
    with Driver(forgiving) as driver:
        assert driver.rows(start, end) == []


def test_a_stream_recreated_between_plan_and_read_fails_the_task(
    server_admin: Admin, options: dict[str, str], filled: str
) -> None:
    with Driver(options) as driver:
        start = driver.initial()
        (partition,) = driver.reader.partitions(start, driver.everything(start))
        server_admin.delete_stream(filled)
        server_admin.create_stream(filled)
        server_admin.fill(filled, 20)
        with pytest.raises(DataLossError, match=rf"{filled}.*recreated"):
            list(driver.reader.read(partition))


def test_a_deleted_stream_fails_the_query(
    server_admin: Admin, options: dict[str, str], filled: str
) -> None:
    _, position = consumed(options, 10)
    server_admin.delete_stream(filled)
    with Driver(options) as driver, pytest.raises(DataLossError, match=rf"{filled}.*no longer"):
        driver.latest(position)


def test_with_loss_allowed_a_deleted_stream_is_left_behind(
    server_admin: Admin, forgiving: dict[str, str], stream: str
) -> None:
    for name in (f"{stream}A", f"{stream}B"):
        server_admin.create_stream(name)
        server_admin.fill(name, 5)
    forgiving["nats.stream.name"] = f"{stream}A,{stream}B"
    with Driver(forgiving) as driver:
        start = driver.initial()
        position = driver.latest(start)
        server_admin.delete_stream(f"{stream}A")
        server_admin.publish(f"{stream}B.a")
        end = driver.latest(position)
        assert list(end["streams"]) == [f"{stream}B"]
        assert numbers(driver.rows(position, end)) == [6]


def ahead(position: dict[str, object]) -> dict[str, object]:
    """The same position, had the stream been longer: as after a restore from an older backup."""
    moved: dict[str, object] = json.loads(json.dumps(position))
    for each in moved["streams"].values():  # type: ignore[attr-defined]
        each["seq"] += 1000
    return moved


def test_a_stream_that_ends_before_the_position_fails_the_query(
    server_admin: Admin, options: dict[str, str], filled: str
) -> None:
    _, position = consumed(options, 10)
    with (
        Driver(options) as driver,
        pytest.raises(DataLossError, match=rf"{filled}.*ends at sequence 20, before.*1010"),
    ):
        driver.latest(ahead(position))


def test_a_logged_batch_that_reaches_past_the_streams_end_fails(
    server_admin: Admin, options: dict[str, str], filled: str
) -> None:
    start, end = consumed(options, 10)
    with Driver(options) as driver, pytest.raises(DataLossError, match="ends at sequence 20"):
        driver.rows(start, ahead(end))


def test_a_query_to_the_present_end_notices_a_stream_that_ends_before_the_position(
    server_admin: Admin, options: dict[str, str], filled: str
) -> None:
    _, position = consumed(options, 10)
    with Driver(options) as driver:
        driver.reader.prepareForTriggerAvailableNow()
        with pytest.raises(DataLossError, match=rf"{filled}.*ends at sequence 20, before.*1010"):
            driver.latest(ahead(position))


def test_a_query_to_the_present_end_notices_a_stream_that_is_recreated_meanwhile(
    server_admin: Admin, options: dict[str, str], filled: str
) -> None:
    _, position = consumed(options, 10)
    with Driver(options) as driver:
        driver.reader.prepareForTriggerAvailableNow()
        server_admin.delete_stream(filled)
        server_admin.create_stream(filled)
        server_admin.fill(filled, 30)
        with pytest.raises(DataLossError, match=rf"{filled}.*recreated"):
            driver.latest(position)


def test_with_loss_allowed_a_head_that_moves_makes_no_batches_while_the_query_waits(
    server_admin: Admin, forgiving: dict[str, str], stream: str
) -> None:
    server_admin.create_stream(stream, max_msgs=10)
    server_admin.fill(stream, 20)
    _, position = consumed(forgiving, 10)
    with Driver({**forgiving, "nats.min.messages.per.trigger": "15"}) as driver:
        for _ in range(3):
            server_admin.fill(stream, 5)
            assert driver.latest(position) == position
    with Driver(forgiving) as driver:
        assert numbers(driver.rows(position, driver.latest(position))) == list(range(26, 36))


def test_messages_aged_out_before_they_were_read_fail_the_query(
    server_admin: Admin, options: dict[str, str], stream: str
) -> None:
    server_admin.create_stream(stream, max_age=1.0)
    server_admin.fill(stream, 20)
    _, position = consumed(options, 10)
    wait_until(lambda: server_admin.info(stream).state.messages == 0)
    with Driver(options) as driver, pytest.raises(DataLossError, match=rf"{stream}.*11 to 20"):
        driver.latest(position)


def test_a_work_queue_is_refused_with_a_pointer_to_balanced(
    server_admin: Admin, options: dict[str, str], stream: str
) -> None:
    server_admin.create_stream(stream, retention="workqueue")
    with pytest.raises(UnsupportedStreamError, match=rf"{stream}.*work queue.*nats-balanced"):
        read_stream(options)


def test_an_interest_stream_is_read(
    server_admin: Admin, options: dict[str, str], stream: str
) -> None:
    server_admin.create_stream(stream, retention="interest")
    server_admin.api(
        f"CONSUMER.CREATE.{stream}.keeper",
        stream_name=stream,
        config={"name": "keeper", "durable_name": "keeper", "ack_policy": "explicit"},
    )
    server_admin.fill(stream, 5)
    assert numbers(read_stream(options)) == [1, 2, 3, 4, 5]
