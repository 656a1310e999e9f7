"""Spark data source ``nats-partitioned``: streams ``<prefix>-0 … N-1``, one task for each.

Spark finds the source by itself, because the package's name begins with ``pyspark_`` and it exports
``DefaultSource``: ``spark.readStream.format("nats-partitioned")`` works without a register call.

`numbered_streams` finds the streams, `even_admission` shares a limit among them, and `strategy`
gives each stream a task; the rest is in ``nats_spark_common.replay``.
"""

from typing import TYPE_CHECKING

from nats_spark_common.spark.version import is_supported, stand_in

if TYPE_CHECKING or is_supported():
    from .source import DefaultSource
else:
    DefaultSource = stand_in("nats-partitioned")

__all__ = ["DefaultSource"]
