"""The balanced flavor: when messages are acknowledged, and which are redelivered."""

from __future__ import annotations

import json
import os
import re
import signal
import threading
from collections.abc import Callable

import pytest
from nats.aio.msg import Msg
from nats.js.api import AckPolicy, RetentionPolicy
from pyspark.sql.datasource import CaseInsensitiveDict

from nats_spark_common import DataLossError, NatsSettings, OptionError
from nats_spark_common.embedded import EmbeddedServer
from pyspark_nats_balanced import DefaultSource
from pyspark_nats_balanced.acks import ACK, send_acks
from pyspark_nats_balanced.pull_connection import PullConnection

from .._support.admin import Admin, wait_until
from .._support.consuming import DURABLE, consumer, durable, follow, is_settled, start, vanish
from .._support.options import options
from .._support.reading import batch, drain, numbers


def test_nothing_is_acknowledged_before_spark_has_committed(
    server: EmbeddedServer, server_admin: Admin, stream: str
) -> None:
    server_admin.create_stream(stream)
    server_admin.fill(stream, 100)
    with start(server.url, stream) as driver:
        position = driver.initial()
        end, rows = batch(driver, position)
        assert len(rows) == 100
        assert consumer(server_admin, stream).num_ack_pending == 100
        assert consumer(server_admin, stream).ack_floor.stream_seq == 0
        assert driver.latest(end) == end  # Spark asks for the next batch: this one is committed
        assert is_settled(server_admin, stream)


def test_commit_acknowledges_as_well(
    nats_server: EmbeddedServer, admin: Admin, stream: str
) -> None:
    admin.create_stream(stream)
    admin.fill(stream, 100)
    with start(nats_server.url, stream) as driver:
        end, _ = batch(driver, driver.initial())
        driver.reader.commit(end)
        assert is_settled(admin, stream)


def test_a_committed_batch_without_acks_is_acknowledged_from_the_checkpoint(
    server: EmbeddedServer, server_admin: Admin, stream: str
) -> None:
    server_admin.create_stream(stream)
    server_admin.fill(stream, 100)
    with start(server.url, stream, max_messages_per_trigger="60") as driver:
        end, rows = batch(driver, driver.initial())
    assert consumer(server_admin, stream).num_ack_pending == 60
    with start(server.url, stream) as driver:
        rows += drain(driver, end)
    assert numbers(rows) == list(range(1, 101))
    assert is_settled(server_admin, stream)


def test_a_batch_that_was_logged_and_not_committed_is_the_same_in_the_next_run(
    server: EmbeddedServer, server_admin: Admin, stream: str
) -> None:
    server_admin.create_stream(stream)
    server_admin.fill(stream, 100)
    with start(server.url, stream, max_messages_per_trigger="60") as driver:
        position = driver.initial()
        end, first = batch(driver, position)
    server_admin.fill(stream, 50)
    with start(server.url, stream) as driver:
        again = driver.rows(position, end)
        rest = drain(driver, end)
    assert again == first
    assert numbers(again + rest) == list(range(1, 151))
    assert is_settled(server_admin, stream)


def test_messages_that_were_pulled_and_not_logged_are_redelivered_after_the_ack_wait(
    server: EmbeddedServer, server_admin: Admin, stream: str
) -> None:
    server_admin.create_stream(stream)
    server_admin.fill(stream, 100)
    driver = start(server.url, stream, msg_ack_wait_secs="1", max_messages_per_trigger="60")
    position = driver.initial()
    driver.latest(position)
    vanish(driver)
    with start(server.url, stream) as other:
        rows = follow(other, position, 100)
    assert sorted(numbers(rows)) == list(range(1, 101))
    assert [row["delivered"] for row in rows] == [1] * 40 + [2] * 60
    assert is_settled(server_admin, stream)


def test_a_clean_stop_gives_back_messages_that_were_not_logged(
    server: EmbeddedServer, server_admin: Admin, stream: str
) -> None:
    server_admin.create_stream(stream)
    server_admin.fill(stream, 100)
    with start(server.url, stream, msg_ack_wait_secs="600") as driver:
        driver.latest(driver.initial())
    with start(server.url, stream) as driver:
        rows = drain(driver)
    assert numbers(rows) == list(range(1, 101))
    assert {row["delivered"] for row in rows} == {2}


def test_a_clean_stop_keeps_logged_messages(
    nats_server: EmbeddedServer, admin: Admin, stream: str
) -> None:
    admin.create_stream(stream)
    admin.fill(stream, 100)
    with start(nats_server.url, stream) as driver:
        batch(driver, driver.initial())
    with start(nats_server.url, stream) as driver:
        assert drain(driver) == []
    assert consumer(admin, stream).num_ack_pending == 100


def test_redelivered_committed_messages_are_acknowledged_and_not_emitted(
    server: EmbeddedServer, server_admin: Admin, stream: str
) -> None:
    server_admin.create_stream(stream)
    server_admin.fill(stream, 100)
    with start(server.url, stream, fail_on_data_loss="false") as driver:
        position = driver.initial()
        end, rows = batch(driver, position)
        position = driver.latest(end)
        assert position == end
        # The consumer starts from the beginning, as on a server that lost its last state.
        server_admin.run(server_admin.js.delete_consumer(stream, DURABLE))
        durable(server_admin, stream)
        server_admin.fill(stream, 20)
        rows += drain(driver, position)
    assert numbers(rows) == list(range(1, 121))
    assert is_settled(server_admin, stream)


def test_the_checkpoint_remembers_what_was_committed_long_ago(
    nats_server: EmbeddedServer, admin: Admin, stream: str
) -> None:
    admin.create_stream(stream)
    admin.fill(stream, 100)
    with start(nats_server.url, stream, max_messages_per_trigger="10") as driver:
        position, rows = driver.initial(), []
        while len(rows) < 100:
            position, more = batch(driver, position)
            rows += more
    admin.run(admin.js.delete_consumer(stream, DURABLE))
    durable(admin, stream)
    with start(nats_server.url, stream, fail_on_data_loss="false") as driver:
        assert drain(driver, position) == []
    assert is_settled(admin, stream)


def test_messages_in_progress_are_not_redelivered_to_others(
    server: EmbeddedServer, server_admin: Admin, stream: str
) -> None:
    server_admin.create_stream(stream)
    server_admin.fill(stream, 50)
    with start(server.url, stream, msg_ack_wait_secs="1") as driver:
        end, rows = batch(driver, driver.initial())
        assert len(rows) == 50
        with start(server.url, stream) as other:
            first = other.initial()
            others = []
            info = consumer(server_admin, stream)
            began = info.delivered.consumer_seq
            for _ in range(40):  # polls of a tenth of a second: four times the ack wait
                others += drain(other, first)
            assert others == []
            assert consumer(server_admin, stream).delivered.consumer_seq == began
        driver.latest(end)
    assert is_settled(server_admin, stream)


def test_a_query_that_owns_its_consumer_gets_unlogged_messages_back_at_once(
    nats_server: EmbeddedServer, admin: Admin, stream: str
) -> None:
    admin.create_stream(stream)
    admin.fill(stream, 100)
    driver = start(nats_server.url, stream, max_messages_per_trigger="60")
    end, rows = batch(driver, driver.initial())
    driver.latest(end)  # pulled, and then the process is killed
    vanish(driver)
    with start(nats_server.url, stream, reset_on_start="true") as driver:
        rows += drain(driver, end)
    assert numbers(rows) == list(range(1, 101))
    assert is_settled(admin, stream)


def test_the_reset_comes_after_a_replayed_batch(
    nats_server: EmbeddedServer, admin: Admin, stream: str
) -> None:
    admin.create_stream(stream)
    admin.fill(stream, 100)
    driver = start(nats_server.url, stream, max_messages_per_trigger="60")
    position = driver.initial()
    end, rows = batch(driver, position)  # logged
    with start(nats_server.url, stream, max_messages_per_trigger="60") as other:
        other.latest(other.initial())
        vanish(other)  # pulled, and then the process is killed
    with start(nats_server.url, stream, reset_on_start="true") as driver:
        assert driver.rows(position, end) == rows
        rows += drain(driver, end)
    assert numbers(rows) == list(range(1, 101))
    assert is_settled(admin, stream)


@pytest.mark.parametrize("owns", [True, False])
def test_a_checkpoint_that_has_lost_its_last_batch_is_reported(
    nats_server: EmbeddedServer,
    admin: Admin,
    stream: str,
    owns: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Sinks that remember batch numbers would skip the next batches."""
    admin.create_stream(stream, retention="workqueue")
    admin.fill(stream, 100)
    short = {"max_messages_per_trigger": "40", "reset_on_start": str(owns).lower()}
    with start(nats_server.url, stream, **short) as driver:
        first, _ = batch(driver, driver.initial())
        second, _ = batch(driver, first)
        driver.latest(second)  # acknowledged
    with start(nats_server.url, stream, **short) as again:
        words = r"acknowledged up to sequence 80, but this checkpoint only up to 40"
        if owns:
            with pytest.raises(DataLossError, match=words):
                again.latest(first)
            return
        again.latest(first)
    assert re.search(words, caplog.text)


@pytest.mark.parametrize("retention", ["limits", "workqueue", "interest"])
@pytest.mark.parametrize("subjects", [">", "0"])
def test_a_complete_checkpoint_is_not_reported(
    nats_server: EmbeddedServer,
    admin: Admin,
    stream: str,
    retention: str,
    subjects: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Not even if messages that the consumer filters out, or that no one read, were removed."""
    admin.create_stream(stream, retention=retention)
    short = {"stream_subjects": f"{stream}.{subjects}", "reset_on_start": "true"}
    with start(nats_server.url, stream, **short) as driver:
        position = driver.initial()
        admin.fill(stream, 95)
        end, _ = batch(driver, position)
        driver.latest(end)
    for how in ("as it was", "purged"):
        with start(nats_server.url, stream, **short) as again:
            assert again.latest(end) == end
        admin.fill(stream, 30 if how == "as it was" else 0)
        admin.purge(stream)
    assert "only up to" not in caplog.text


def test_a_reset_needs_a_server_that_supports_it(
    old_nats_server: EmbeddedServer, stream: str
) -> None:
    short = {"stream_name": stream, "durable_name": DURABLE, "reset_on_start": "true"}
    source = DefaultSource(CaseInsensitiveDict(options(old_nats_server.url, **short)))
    with pytest.raises(OptionError, match=r"nats\.reset\.on\.start=true needs .* 2\.14"):
        source.schema()


def test_without_acks_the_server_forgets_what_it_delivered(
    server: EmbeddedServer, server_admin: Admin, stream: str
) -> None:
    server_admin.create_stream(stream)
    server_admin.fill(stream, 100)
    with start(server.url, stream, ack_none="true", max_messages_per_trigger="60") as driver:
        position = driver.initial()
        end, first = batch(driver, position)
        assert consumer(server_admin, stream).num_ack_pending == 0
    with start(server.url, stream, ack_none="true") as driver:
        again = driver.rows(position, end)
        rest = drain(driver, end)
    assert again == first
    assert numbers(again + rest) == list(range(1, 101))
    assert consumer(server_admin, stream).config.ack_policy == AckPolicy.NONE


def advisories(admin: Admin, stream: str) -> Callable[[], set[int]]:
    """Return a function that returns the sequences that the server has given up since."""
    seen: set[int] = set()

    async def note(message: Msg) -> None:
        seen.add(json.loads(message.data)["stream_seq"])

    subject = f"$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.{stream}.{DURABLE}"
    admin.run(admin.client.subscribe(subject, cb=note))
    return lambda: seen


@pytest.mark.parametrize("retention", [RetentionPolicy.LIMITS, RetentionPolicy.WORK_QUEUE])
def test_a_batch_outlives_the_deliveries_that_its_consumer_allows(
    server: EmbeddedServer, server_admin: Admin, stream: str, retention: RetentionPolicy
) -> None:
    server_admin.create_stream(stream, retention=retention)
    durable(server_admin, stream, max_deliver=1, ack_wait=1)
    server_admin.fill(stream, 100)
    given_up = advisories(server_admin, stream)
    with start(server.url, stream, max_messages_per_trigger="60") as driver:
        position = driver.initial()
        end, first = batch(driver, position)
    # Down for longer than the ack wait: others get none of the sixty.
    with start(server.url, stream) as other:
        assert numbers(drain(other)) == list(range(61, 101))
        wait_until(lambda: drain(other) == [] and len(given_up()) == 60)
    # A server that has given up messages moves its ack floor with the next ack.
    server_admin.fill(stream, 1)
    with start(server.url, stream) as driver:
        again = driver.rows(position, end)
        rest = drain(driver, end)
    assert again == first
    assert numbers(rest) == [101]
    assert is_settled(server_admin, stream)
    left = 101 if retention == RetentionPolicy.LIMITS else 0
    assert server_admin.info(stream).state.messages == left


def test_acks_are_confirmed_after_the_server_has_processed_them(stream: str) -> None:
    with EmbeddedServer() as server:
        admin = Admin(server.url)
        admin.create_stream(stream)
        durable(admin, stream)
        admin.fill(stream, 100)
        settings = NatsSettings.from_options(
            options(server.url, stream_name=stream, durable_name=DURABLE)
        )
        connection = PullConnection(settings, stream, DURABLE)
        pulled = connection.pull(100, None, 1.0)
        os.kill(server.pid, signal.SIGSTOP)
        done = threading.Event()

        def acknowledge() -> None:
            send_acks(connection.link, pulled.ack_prefix, pulled.deliveries, ACK, 20.0, 20.0)
            done.set()

        thread = threading.Thread(target=acknowledge)
        thread.start()
        try:
            assert not done.wait(0.5)
        finally:
            os.kill(server.pid, signal.SIGCONT)
        thread.join(20)
        assert done.is_set()
        assert is_settled(admin, stream)
        connection.close()
        admin.close()
