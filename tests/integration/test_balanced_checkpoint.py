"""The balanced flavor: a consumer or a stream that no longer matches the checkpoint."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from nats.js.api import DeliverPolicy

from nats_spark_common import ConsumerNotFoundError, DataLossError, OptionError
from nats_spark_common.embedded import EmbeddedServer
from pyspark_nats_balanced.offset import Offset

from .._support.admin import Admin
from .._support.consuming import DURABLE, consumer, durable, is_settled, start, vanish
from .._support.reading import Driver, batch, drain, numbers


def test_a_consumer_deleted_while_the_query_runs_is_an_error_with_a_fix(
    server: EmbeddedServer, server_admin: Admin, stream: str
) -> None:
    server_admin.create_stream(stream)
    server_admin.fill(stream, 10)
    with start(server.url, stream) as driver:
        end, _ = batch(driver, driver.initial())
        driver.latest(end)
        server_admin.run(server_admin.js.delete_consumer(stream, DURABLE))
        told = (
            rf"'{DURABLE}' of stream '{stream}' no longer exists.*its last committed message was 10"
        )
        with pytest.raises(ConsumerNotFoundError, match=told):
            driver.latest(end)


def test_a_consumer_deleted_before_its_acks_is_an_error(
    server: EmbeddedServer, server_admin: Admin, stream: str
) -> None:
    server_admin.create_stream(stream)
    server_admin.fill(stream, 10)
    with start(server.url, stream) as driver:
        end, _ = batch(driver, driver.initial())
        server_admin.run(server_admin.js.delete_consumer(stream, DURABLE))
        with pytest.raises(ConsumerNotFoundError, match="no longer exists"):
            driver.latest(end)


def test_a_consumer_deleted_while_the_query_is_down_is_not_recreated_silently(
    nats_server: EmbeddedServer, admin: Admin, stream: str
) -> None:
    admin.create_stream(stream)
    admin.fill(stream, 10)
    with start(nats_server.url, stream) as driver:
        end, _ = batch(driver, driver.initial())
    admin.run(admin.js.delete_consumer(stream, DURABLE))
    with (
        start(nats_server.url, stream) as driver,
        pytest.raises(ConsumerNotFoundError, match="start a new checkpoint"),
    ):
        driver.latest(end)
    assert admin.consumers(stream) == []


def test_with_data_loss_accepted_a_deleted_consumer_is_recreated(
    nats_server: EmbeddedServer, admin: Admin, stream: str
) -> None:
    admin.create_stream(stream)
    admin.fill(stream, 10)
    with start(nats_server.url, stream, fail_on_data_loss="false") as driver:
        end, rows = batch(driver, driver.initial())
        admin.run(admin.js.delete_consumer(stream, DURABLE))
        admin.fill(stream, 5)
        rows += drain(driver, end)
    assert numbers(rows) == list(range(1, 16))


def test_a_consumer_recreated_by_another_client_is_an_error(
    server: EmbeddedServer, server_admin: Admin, stream: str
) -> None:
    server_admin.create_stream(stream)
    server_admin.fill(stream, 10)
    with start(server.url, stream) as driver:
        end, _ = batch(driver, driver.initial())
        assert driver.latest(end) == end
        server_admin.run(server_admin.js.delete_consumer(stream, DURABLE))
        server_admin.fill(stream, 5)
        durable(server_admin, stream, deliver_policy=DeliverPolicy.NEW)
        server_admin.fill(stream, 1)
        with pytest.raises(ConsumerNotFoundError, match="was deleted and recreated"):
            driver.latest(end)
    with (
        start(server.url, stream) as driver,
        pytest.raises(ConsumerNotFoundError, match="was deleted and recreated"),
    ):
        driver.latest(end)


def recreate(admin: Admin, stream: str, count: int) -> None:
    admin.delete_stream(stream)
    admin.create_stream(stream)
    durable(admin, stream)
    admin.fill(stream, count)


@pytest.mark.parametrize("running", [True, False], ids=["running", "down"])
@pytest.mark.parametrize("committed", [True, False], ids=["committed", "logged"])
def test_a_recreated_stream_is_data_loss_and_its_messages_are_not_acknowledged(
    server: EmbeddedServer, server_admin: Admin, stream: str, running: bool, committed: bool
) -> None:
    server_admin.create_stream(stream)
    server_admin.fill(stream, 10)
    driver = start(server.url, stream)
    end, _ = batch(driver, driver.initial())
    if committed:
        assert driver.latest(end) == end
    if not running:
        driver.reader.stop()
        driver = start(server.url, stream)
    recreate(server_admin, stream, 10)
    with (
        driver,
        pytest.raises((DataLossError, ConsumerNotFoundError), match="recreated"),
    ):
        driver.latest(end)
    info = consumer(server_admin, stream)
    assert (info.ack_floor.stream_seq, info.num_pending + info.num_ack_pending) == (0, 10)


@pytest.mark.parametrize("running", [True, False], ids=["running", "down"])
@pytest.mark.parametrize("committed", [True, False], ids=["committed", "logged"])
def test_with_data_loss_accepted_a_recreated_stream_is_read_from_its_first_message(
    server: EmbeddedServer, server_admin: Admin, stream: str, running: bool, committed: bool
) -> None:
    server_admin.create_stream(stream)
    server_admin.fill(stream, 10)
    driver = start(server.url, stream, fail_on_data_loss="false")
    position = driver.initial()
    end, _ = batch(driver, position)
    if committed:
        assert driver.latest(end) == end
    if not running:
        driver.reader.stop()
        driver = start(server.url, stream, fail_on_data_loss="false")
    recreate(server_admin, stream, 30)
    with driver:
        if not committed:
            assert driver.rows(position, end) == []
        assert numbers(drain(driver, end)) == list(range(1, 31))
    assert is_settled(server_admin, stream)


@pytest.mark.parametrize("lenient", [False, True])
def test_a_stream_restored_from_an_older_state_is_data_loss(
    stream: str, tmp_path: Path, lenient: bool
) -> None:
    store, older = tmp_path / "store", tmp_path / "older"
    with EmbeddedServer(store_dir=store) as server:
        admin = Admin(server.url)
        admin.create_stream(stream)
        durable(admin, stream)
        admin.fill(stream, 50)
        admin.close()
        server.kill()
        shutil.copytree(store, older)
        server.start()
        admin = Admin(server.url)
        admin.fill(stream, 50)
        with start(server.url, stream) as driver:
            end, _ = batch(driver, driver.initial())
            assert driver.latest(end) == end
        admin.close()
        server.kill()
        shutil.rmtree(store)
        shutil.copytree(older, store)
        server.start()
        admin = Admin(server.url)
        admin.fill(stream, 70)  # other messages under the sequences from 51 on
        accepted = str(not lenient).lower()
        with start(server.url, stream, fail_on_data_loss=accepted) as driver:
            if lenient:
                assert set(range(51, 121)) <= set(numbers(drain(driver, end)))
            else:
                with pytest.raises(DataLossError, match="a different message at sequence 51"):
                    driver.latest(end)
        admin.close()


def test_a_checkpoint_of_another_consumer_is_rejected(
    nats_server: EmbeddedServer, admin: Admin, stream: str
) -> None:
    admin.create_stream(stream)
    admin.fill(stream, 10)
    with start(nats_server.url, stream) as driver:
        end, _ = batch(driver, driver.initial())
    with (
        start(nats_server.url, stream, durable_name="other") as driver,
        pytest.raises(OptionError, match=f"belongs to consumer '{DURABLE}'"),
    ):
        driver.latest(end)


# A checkpoint whose last files in both `offsets` and `commits` are lost.

#: What gives a query its consumer for itself.
OWNING = [
    ("limits", {"reset_on_start": "true"}),
    ("workqueue", {"reset_on_start": "true"}),
    ("limits", {"ack_policy": "all"}),
    ("limits", {"ack_policy": "all", "reset_on_start": "true"}),
]
LOST = r"acknowledged up to sequence \d+, but this checkpoint only up to 80\."


def by_forty(url: str, stream: str, **short: str) -> Driver:
    return start(url, stream, max_messages_per_trigger="40", **short)


def first_run(
    admin: Admin, url: str, stream: str, clean: bool = True, **short: str
) -> dict[str, Any]:
    """Return the position after two batches; without ``clean``, the driver died with a third."""
    admin.fill(stream, 80 if clean else 120)
    driver = by_forty(url, stream, **short)
    end, _ = batch(driver, driver.initial())
    end, _ = batch(driver, end)
    driver.latest(end)
    if clean:
        driver.reader.stop()
    else:
        vanish(driver)
    return end


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what was logged about acks that the checkpoint does not know."""
    return [each.message for each in caplog.records if "is acknowledged up to" in each.message]


@pytest.mark.parametrize("clean", [True, False], ids=["clean", "killed"])
@pytest.mark.parametrize(("retention", "owning"), OWNING)
def test_a_checkpoint_that_lost_batches_of_later_runs_is_an_error(
    nats_server: EmbeddedServer,
    admin: Admin,
    stream: str,
    clean: bool,
    retention: str,
    owning: dict[str, str],
) -> None:
    admin.create_stream(stream, retention=retention)
    second = first_run(admin, nats_server.url, stream, clean, **owning)
    admin.fill(stream, 20)
    with by_forty(nats_server.url, stream, **owning) as driver:
        assert drain(driver, second)  # the files of these batches are lost
    with (
        by_forty(nats_server.url, stream, **owning) as driver,
        pytest.raises(DataLossError, match=LOST),
    ):
        driver.latest(second)


@pytest.mark.parametrize(("retention", "owning"), OWNING)
def test_with_data_loss_accepted_a_damaged_checkpoint_is_continued(
    nats_server: EmbeddedServer,
    admin: Admin,
    stream: str,
    retention: str,
    owning: dict[str, str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    admin.create_stream(stream, retention=retention)
    second = first_run(admin, nats_server.url, stream, **owning)
    admin.fill(stream, 20)
    with by_forty(nats_server.url, stream, **owning) as driver:
        drain(driver, second)
    admin.fill(stream, 20)
    with by_forty(nats_server.url, stream, **owning, fail_on_data_loss="false") as driver:
        assert numbers(drain(driver, second)) == list(range(101, 121))
    assert len(told(caplog)) == 1


def test_acks_of_other_members_are_a_warning(
    server: EmbeddedServer, server_admin: Admin, stream: str, caplog: pytest.LogCaptureFixture
) -> None:
    server_admin.create_stream(stream)
    second = first_run(server_admin, server.url, stream)
    server_admin.fill(stream, 20)
    with start(server.url, stream) as other:
        assert numbers(drain(other)) == list(range(81, 101))
    caplog.clear()
    server_admin.fill(stream, 20)
    with start(server.url, stream) as driver:
        assert numbers(drain(driver, second)) == list(range(101, 121))
    (warning,) = told(caplog)
    assert "up to sequence 100, but this checkpoint only up to 80." in warning
    assert "if the consumer has other members, this is expected" in warning


@pytest.mark.parametrize("owning", [short for kept, short in OWNING if kept == "limits"])
def test_a_purge_of_messages_that_were_pulled_and_not_logged_is_no_error(
    nats_server: EmbeddedServer,
    admin: Admin,
    stream: str,
    owning: dict[str, str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    admin.create_stream(stream)
    second = first_run(admin, nats_server.url, stream, clean=False, **owning)
    admin.purge(stream)
    admin.fill(stream, 5)
    with by_forty(nats_server.url, stream, **owning) as driver:
        assert numbers(drain(driver, second)) == list(range(121, 126))
    (warning,) = told(caplog)
    assert "removed after delivery" in warning


@pytest.mark.parametrize("retention", ["limits", "workqueue"])
def test_a_purge_of_messages_that_were_not_delivered_is_no_error(
    nats_server: EmbeddedServer,
    admin: Admin,
    stream: str,
    retention: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    admin.create_stream(stream, retention=retention)
    owning = {"reset_on_start": "true"}
    second = first_run(admin, nats_server.url, stream, **owning)
    admin.fill(stream, 40)
    admin.purge(stream)
    admin.fill(stream, 5)
    with by_forty(nats_server.url, stream, **owning) as driver:
        assert numbers(drain(driver, second)) == list(range(121, 126))
    assert told(caplog) == []


@pytest.mark.parametrize("retention", ["limits", "workqueue"])
def test_messages_of_other_subjects_are_not_taken_for_acknowledged_ones(
    nats_server: EmbeddedServer,
    admin: Admin,
    stream: str,
    retention: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The ack floor of a consumer that has filters can be past its last message."""
    short = {"reset_on_start": "true", "stream_subjects": f"{stream}.3,{stream}.4"}
    admin.create_stream(stream, retention=retention)
    admin.fill(stream, 100)
    with by_forty(nats_server.url, stream, **short) as driver:
        position = driver.latest(driver.initial())
        assert driver.latest(position) == position
    admin.purge(stream, keep=3)
    admin.fill(stream, 3)
    floor = consumer(admin, stream).ack_floor
    assert floor is not None
    assert floor.stream_seq > max(numbers_of(position))
    with by_forty(nats_server.url, stream, **short) as driver:
        assert driver.latest(position) == position
    assert told(caplog) == []


def numbers_of(position: dict[str, Any]) -> list[int]:
    """Return the sequences of a batch."""
    seqs: list[int] = Offset.from_json(position).deliveries.seqs.tolist()
    return seqs


def test_without_acks_messages_that_were_pulled_and_not_logged_are_a_warning(
    nats_server: EmbeddedServer, admin: Admin, stream: str, caplog: pytest.LogCaptureFixture
) -> None:
    short = {"ack_none": "true", "reset_on_start": "true"}
    admin.create_stream(stream)
    admin.fill(stream, 80)
    driver = by_forty(nats_server.url, stream, **short)
    first = driver.latest(driver.initial())
    assert driver.latest(first) != first  # pulled, and not logged
    driver.abandon()
    with by_forty(nats_server.url, stream, **short) as driver:
        assert driver.latest(first) == first
    assert len(told(caplog)) == 1


def test_a_first_batch_from_a_consumer_that_was_used_before_is_a_warning(
    server: EmbeddedServer, server_admin: Admin, stream: str, caplog: pytest.LogCaptureFixture
) -> None:
    server_admin.create_stream(stream)
    first_run(server_admin, server.url, stream)
    assert told(caplog) == []
    server_admin.fill(stream, 20)
    with start(server.url, stream) as driver:  # with a new checkpoint, or one that lost all batches
        assert numbers(drain(driver)) == list(range(81, 101))
    (warning,) = told(caplog)
    assert f"consumer '{DURABLE}' of stream '{stream}' is acknowledged up to sequence 80" in warning
    assert "new output folder" in warning


def test_a_new_consumer_that_starts_later_is_no_warning(
    nats_server: EmbeddedServer, admin: Admin, stream: str, caplog: pytest.LogCaptureFixture
) -> None:
    admin.create_stream(stream)
    admin.fill(stream, 20)
    with start(nats_server.url, stream, start="latest") as driver:
        position = driver.initial()
        assert driver.latest(position) == position
    with start(nats_server.url, stream, start="latest") as driver:
        assert numbers(drain(driver)) == []
    assert told(caplog) == []


@pytest.mark.parametrize("owning", [{"reset_on_start": "true"}, {"ack_policy": "all"}])
@pytest.mark.parametrize("clean", [True, False], ids=["clean", "killed"])
def test_a_consumer_is_reset_if_messages_are_unacknowledged(
    nats_server: EmbeddedServer, admin: Admin, stream: str, owning: dict[str, str], clean: bool
) -> None:
    """Without a reset, consumer sequences continue, and the next start can compare them."""
    admin.create_stream(stream)
    second = first_run(admin, nats_server.url, stream, clean, **owning)
    admin.fill(stream, 20)
    with by_forty(nats_server.url, stream, **owning) as driver:
        rows = drain(driver, second)
    assert rows[0]["consumerSeq"] == (81 if clean else 1)
    assert is_settled(admin, stream)
