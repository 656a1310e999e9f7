"""A task's share of a batch, and how the task reads it. Spark pickles all of it to executors."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pyarrow as pa
from pyspark.sql.datasource import InputPartition

from nats_spark_common.connection import servers
from nats_spark_common.options.settings import NatsSettings
from nats_spark_common.rows.compression import decompress
from nats_spark_common.rows.schema import Projection

from .deliveries import Deliveries
from .read_messages import Source, read_messages


class Share(InputPartition):
    """The messages of one task; packed, because Spark sends them to the JVM and to executors.

    Attributes:
        servers: the servers that the driver knows besides the configured ones.
    """

    def __init__(
        self, source: Source, consumer: str, deliveries: Deliveries, known: tuple[str, ...] = ()
    ) -> None:
        super().__init__(None)
        self.servers = known
        self.source = source
        self.consumer = consumer
        self.packed = deliveries.pack()


def read_share(
    settings: NatsSettings, projection: Projection, share: Share
) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a share. Raise as `read_messages` and `decompress` do."""
    servers.learn(settings, share.servers)
    source, deliveries = share.source, Deliveries.unpack(share.packed)
    constants = {"stream": source.stream, "domain": settings.domain, "consumer": share.consumer}
    for messages in read_messages(settings, source, deliveries.seqs, projection.fields):
        for decompressed in decompress(
            messages,
            settings.payload_compression,
            settings.payload_on_error,
            source.stream,
            settings.payload_max_decompressed,
        ):
            at = np.searchsorted(deliveries.seqs, decompressed.seqs)
            columns = {
                **decompressed.columns,
                "consumerSeq": pa.array(deliveries.consumer_seqs[at]),
                "delivered": pa.array(deliveries.counts[at]),
            }
            yield projection.batch(replace(decompressed, columns=columns), constants)
