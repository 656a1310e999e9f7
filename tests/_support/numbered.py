"""Streams ``<prefix>-0 … N-1`` and the partitioned flavor that reads them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pyspark.sql.types import StructType

from nats_spark_common.embedded import EmbeddedServer
from nats_spark_common.rows.schema import SCHEMA
from pyspark_nats_partitioned import DefaultSource

from .admin import Admin
from .options import options
from .reading import ALWAYS, Driver


def make_streams(admin: Admin, prefix: str, counts: list[int], **config: object) -> None:
    """Stream i with ``counts[i]`` messages, whose payloads begin with their number."""
    for i, count in enumerate(counts):
        admin.create_stream(f"{prefix}-{i}", **config)
        if count:
            admin.fill(f"{prefix}-{i}", count)


def start(url: str, prefix: str, schema: StructType = SCHEMA, **short: str) -> Driver:
    """A reader of the streams; options by their short names."""
    given = {"stream_prefix": prefix, "poll_interval": ALWAYS, **short}
    return Driver(options(url, **given), schema, DefaultSource)


@contextmanager
def a_checkpoint_of(server: EmbeddedServer, prefix: str, **short: str) -> Iterator[dict[str, Any]]:
    """Yield the offset of a first batch that took everything."""
    with start(server.url, prefix, **short) as driver:
        yield driver.latest(driver.initial())
