"""What a streaming query leaves behind."""

from __future__ import annotations

from pathlib import Path

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.streaming.query import StreamingQuery
from pyspark.sql.streaming.readwriter import DataStreamWriter


class Table:
    """A Parquet table that a streaming query writes with Spark's own commit protocol."""

    def __init__(self, folder: Path) -> None:
        self.rows = folder / "rows"
        self.checkpoint = folder / "checkpoint"

    def writer(self, frame: DataFrame) -> DataStreamWriter:
        return (
            frame.select("streamSeq", "content")
            .writeStream.format("parquet")
            .option("path", str(self.rows))
            .option("checkpointLocation", str(self.checkpoint))
        )

    def run(self, frame: DataFrame) -> StreamingQuery:
        """Run to the present end of the streams."""
        query = self.writer(frame).trigger(availableNow=True).start()
        query.awaitTermination()
        return query

    def seqs(self, spark: SparkSession) -> list[int]:
        return sorted(row.streamSeq for row in spark.read.parquet(str(self.rows)).collect())
