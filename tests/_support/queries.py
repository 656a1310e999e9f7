"""Whole queries that write a table, of any flavor."""

from __future__ import annotations

from pyspark.sql import DataFrame, SparkSession

from .options import named


def frame(
    spark: SparkSession, url: str, stream: str, flavor: str = "nats-v2", **options: str
) -> DataFrame:
    """Return a streaming frame of one stream."""
    options = {"url": url, "stream_name": stream, **options}
    return spark.readStream.format(flavor).options(**named(**options)).load()
