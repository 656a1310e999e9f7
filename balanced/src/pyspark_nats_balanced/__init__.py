"""Spark data source ``nats-balanced``: a durable JetStream consumer holds the position.

Spark finds the source without registration, because the package's name starts with ``pyspark_`` and
it exports ``DefaultSource``.

Start with `query`: it plans batches and acknowledges them. `consumer` creates or checks the
consumer, `consumer_watch` compares it with the checkpoint, `batch_puller` pulls messages, `offset`
is what Spark logs, and `read_messages` runs in tasks. For `batch_puller`, `pull_connection` sends
pull requests, `acks` acknowledges messages, and `heartbeats` keeps them in progress.
"""

from typing import TYPE_CHECKING

from nats_spark_common.spark.version import WITH_ADMISSION, has_admission, stand_in

if TYPE_CHECKING or has_admission():
    from .source import DefaultSource
else:
    DefaultSource = stand_in(
        "nats-balanced",
        WITH_ADMISSION,
        "This flavor acknowledges messages up to the committed position, which earlier versions do "
        "not pass to Python sources; format('nats-v2') works from Spark 4.0 on",
    )

__all__ = ["DefaultSource"]
