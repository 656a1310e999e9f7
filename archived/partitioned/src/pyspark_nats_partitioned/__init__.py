"""Spark data source ``nats-partitioned``: streams ``<prefix>-0 … N-1``, a task for each.

Spark finds the source by itself, because the package's name begins with ``pyspark_`` and it exports
``DefaultSource``: ``spark.readStream.format("nats-partitioned")`` works without a register call.
"""

from .source import DefaultSource

__all__ = ["DefaultSource"]
