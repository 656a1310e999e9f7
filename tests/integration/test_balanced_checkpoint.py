"""The balanced flavor: a consumer or a stream that no longer matches the checkpoint."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from nats.js.api import DeliverPolicy

from nats_spark_common import ConsumerNotFoundError, DataLossError, OptionError
from nats_spark_common.embedded import EmbeddedServer

from .._support.admin import Admin
from .._support.consuming import DURABLE, consumer, durable, is_settled, start
from .._support.reading import batch, drain, numbers


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
