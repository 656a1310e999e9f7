"""Whole queries that write a table, of any flavor."""

from __future__ import annotations

from pyspark.sql import DataFrame, SparkSession

from .consuming import DURABLE
from .options import named


def frame(
    spark: SparkSession, url: str, stream: str, flavor: str = "nats-v2", **options: str
) -> DataFrame:
    """Return a streaming frame of one stream."""
    options = {"url": url, "stream_name": stream, **options}
    return spark.readStream.format(flavor).options(**named(**options)).load()


def balanced(spark: SparkSession, url: str, stream: str, **options: str) -> DataFrame:
    """Return a frame of the consumer ``spark``."""
    return frame(spark, url, stream, "nats-balanced", durable_name=DURABLE, **options)


def partitioned(spark: SparkSession, url: str, prefix: str) -> DataFrame:
    """Return a frame of all partitions."""
    options = named(url=url, stream_prefix=prefix)
    return spark.readStream.format("nats-partitioned").options(**options).load()
