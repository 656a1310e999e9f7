"""Spark data source ``nats-balanced``: a durable JetStream consumer that keeps the position.

Spark finds the source by itself, because the package's name begins with ``pyspark_`` and it exports
``DefaultSource``: ``spark.readStream.format("nats-balanced")`` works without a register call.
"""

from .source import DefaultSource

__all__ = ["DefaultSource"]
