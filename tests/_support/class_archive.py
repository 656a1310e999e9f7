"""Makes an archive of the classes that Spark loads, so that each JVM of the tests starts sooner.

A JVM that maps the archive starts Spark with half of the work (class data sharing, JEP 350); one to
which it does not fit ignores it. Run as ``python -m tests._support.class_archive ARCHIVE``.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from nats_spark_common.embedded import EmbeddedServer

from .admin import Admin
from .spark import CHEAP, local_spark


def main(archive: str) -> None:
    """Run what loads most of the classes: a streaming query, its checkpoint, and Parquet files."""
    target = Path(archive).absolute()
    unfinished = target.with_suffix(".unfinished")
    target.parent.mkdir(exist_ok=True)
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
    unfinished.rename(target)


if __name__ == "__main__":
    main(*sys.argv[1:])
