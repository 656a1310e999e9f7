"""What the balanced flavor takes with ``availableNow``, if the server delivers messages again."""

from __future__ import annotations

from nats_spark_common.embedded import EmbeddedServer

from .._support.admin import Admin
from .._support.consuming import DURABLE, durable, is_settled, start
from .._support.reading import batch, drain, numbers


def test_messages_that_come_again_do_not_take_the_place_of_those_that_are_available(
    nats_server: EmbeddedServer, admin: Admin, stream: str
) -> None:
    """The server forgets the acks of the first batch, as it may when it is killed."""
    admin.create_stream(stream)
    durable(admin, stream)
    admin.fill(stream, 100)
    given = {"max_messages_per_trigger": "40", "fail_on_data_loss": "false"}
    with start(nats_server.url, stream, **given) as driver:
        first = driver.initial()
        driver.reader.prepareForTriggerAvailableNow()
        end, rows = batch(driver, first)
        admin.run(admin.js.delete_consumer(stream, DURABLE))
        durable(admin, stream)
        rows += drain(driver, end)
    assert numbers(rows) == list(range(1, 101))
    assert is_settled(admin, stream)
