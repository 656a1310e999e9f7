"""Calls the balanced flavor as Spark does, without Spark's engine, and inspects its consumer."""

from __future__ import annotations

import time
from typing import Any

from nats.js.api import AckPolicy, ConsumerConfig, ConsumerInfo
from pyspark.sql.datasource import CaseInsensitiveDict
from pyspark.sql.types import StructType

from nats_spark_common.rows.schema import SCHEMA
from pyspark_nats_balanced import DefaultSource

from .admin import Admin
from .options import options
from .reading import Driver, Row, batch

DURABLE = "spark"


def source(url: str, stream: str, **short: str) -> DefaultSource:
    """Return the data source as Spark loads it, for the consumer ``spark``."""
    short = {"stream_name": stream, "durable_name": DURABLE, **short}
    return DefaultSource(CaseInsensitiveDict(options(url, **short)))


def start(url: str, stream: str, schema: StructType = SCHEMA, **short: str) -> Driver:
    """Return a driver on the consumer ``spark``, unless ``durable_name`` names another."""
    short = {"stream_name": stream, "durable_name": DURABLE, **short}
    return Driver(options(url, **short), schema, DefaultSource)


def vanish(driver: Driver) -> None:
    """End the driver as a killed process ends: no more heartbeats, and no -NAK."""
    heartbeats = driver.reader.query.puller.heartbeats
    assert heartbeats is not None
    heartbeats.close()
    driver.abandon()


def durable(admin: Admin, stream: str, name: str = DURABLE, **config: Any) -> None:
    """Create a pull consumer, as another client would."""
    config = {"ack_policy": AckPolicy.EXPLICIT, "ack_wait": 30, **config}
    admin.run(admin.js.add_consumer(stream, ConsumerConfig(durable_name=name, **config)))


def follow(driver: Driver, position: dict[str, Any], count: int) -> list[Row]:
    """Return ``count`` rows or more, batch by batch, and acknowledge them."""
    rows: list[Row] = []
    deadline = time.monotonic() + 30
    while len(rows) < count:
        assert time.monotonic() < deadline, f"{len(rows)} of {count} rows after 30 s"
        position, more = batch(driver, position)
        rows += more
    driver.latest(position)
    return rows


def consumer(admin: Admin, stream: str, durable: str = DURABLE) -> ConsumerInfo:
    """Return the consumer's state on the server."""
    return admin.run(admin.js.consumer_info(stream, durable))


def is_settled(admin: Admin, stream: str, durable: str = DURABLE) -> bool:
    """Return whether the whole stream is acknowledged: floor at its end, nothing pending."""
    info, last = consumer(admin, stream, durable), admin.info(stream).state.last_seq
    assert info.ack_floor is not None
    return (info.ack_floor.stream_seq, info.num_ack_pending, info.num_pending) == (last, 0, 0)
