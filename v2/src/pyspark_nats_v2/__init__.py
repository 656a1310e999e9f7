"""Spark data source ``nats-v2``: JetStream streams with the position in Spark's checkpoint.

Spark finds the source by itself, because the package's name begins with ``pyspark_`` and it exports
``DefaultSource``: ``spark.readStream.format("nats-v2")`` works without a register call.

`strategy` selects the streams and divides them into tasks; the rest is in
``nats_spark_common.replay``.
"""

from typing import TYPE_CHECKING

from nats_spark_common.spark.version import is_supported, stand_in

if TYPE_CHECKING or is_supported():
    from .source import DefaultSource
else:
    DefaultSource = stand_in("nats-v2")

__all__ = ["DefaultSource"]
