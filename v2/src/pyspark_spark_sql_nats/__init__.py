"""Spark data source ``org.apache.spark.sql.nats``: the Scala connector's name for ``nats-v2``.

Spark looks for modules named ``pyspark_*`` and registers one format for each.
"""

from pyspark_nats_v2 import DefaultSource as V2Source

__all__ = ["DefaultSource"]


class DefaultSource(V2Source):
    """`V2Source` under the name that Scala programs use."""

    @classmethod
    def name(cls) -> str:
        return "org.apache.spark.sql.nats"
