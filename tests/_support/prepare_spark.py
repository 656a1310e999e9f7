"""Prepares a Spark whose processes start with half the work, for the many that the tests start.

JVMs map an archive of the classes that Spark loads (class data sharing, JEP 350); one to which it
does not fit ignores it. Python workers import pyspark from this environment, which has bytecode,
instead of Spark's zip file, which each of them would compile. Run as
``python -m tests._support.prepare_spark``.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import pyspark

from nats_spark_common.embedded import EmbeddedServer

from .admin import Admin
from .spark import ARCHIVE, CHEAP, HOME, link_home, local_spark


def main() -> None:
    link_home(Path(pyspark.__file__).parent, HOME)
    archive_classes()


def archive_classes() -> None:
    """Run what loads most of the classes: a streaming query, its checkpoint, and Parquet files."""
    unfinished = ARCHIVE.with_suffix(".unfinished")
    with tempfile.TemporaryDirectory() as folder, EmbeddedServer() as server:
        admin = Admin(server.url)
        admin.create_stream("S")
        admin.fill("S", 10)
        admin.close()
        place = Path(folder)
        spark = local_spark(place, jvm_options=f'{CHEAP} "-XX:ArchiveClassesAtExit={unfinished}"')
        frame = spark.readStream.format("nats-v2").option("nats.url", server.url)
        writer = frame.option("nats.stream.name", "S").load().writeStream.format("parquet")
        writer = writer.option("path", f"{place}/rows").option("checkpointLocation", f"{place}/c")
        writer.trigger(availableNow=True).start().awaitTermination()
        rows = spark.read.parquet(f"{place}/rows")
        assert rows.groupBy("subject").count().orderBy("subject").collect()
        jvm = spark.sparkContext._gateway.proc
        spark.stop()
        jvm.stdin.close()  # it ends, and writes the archive
        jvm.wait()
    unfinished.replace(ARCHIVE)


if __name__ == "__main__":
    main()
