"""Spark data source ``nats-v2``: JetStream streams with the position in Spark's checkpoint.

Spark finds the source by itself, because the package's name begins with ``pyspark_`` and it exports
``DefaultSource``: ``spark.readStream.format("nats-v2")`` works without a register call.
"""

from .source import DefaultSource

__all__ = ["DefaultSource"]
