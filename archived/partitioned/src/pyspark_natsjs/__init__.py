"""Spark data source ``natsJS``: the Scala connector's name for ``nats-partitioned``.

Spark looks for modules named ``pyspark_*`` and registers one format for each.
"""

from pyspark_nats_partitioned import DefaultSource as PartitionedSource

__all__ = ["DefaultSource"]


class DefaultSource(PartitionedSource):
    """`PartitionedSource` under the name that Scala programs use."""

    @classmethod
    def name(cls) -> str:
        return "natsJS"
