"""``nats-spark`` in this process."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession

from nats_spark_common.cli import main
from nats_spark_common.embedded import EmbeddedServer

from ..._support.admin import Admin
from ..._support.queries import frame

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def command(
    nats_server: EmbeddedServer,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Command:
    """Run ``nats-spark``; return exit code, stdout and stderr."""
    monkeypatch.setattr("sys.stdin", io.StringIO())  # no terminal

    def command(*arguments: str, url: str | None = nats_server.url) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main([*arguments, *(["--url", url] if url else [])])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return command


@pytest.fixture
def as_json(command: Command) -> Callable[..., Any]:
    """Run a command with ``--json`` that must end with ``code``; return what it prints."""

    def as_json(*arguments: str, code: int = 0, **where: Any) -> Any:
        got, out, err = command(*arguments, "--json", **where)
        assert (got, err) == (code, ""), err or out
        return json.loads(out)

    return as_json


class Stopped:
    """A stopped query that has read 100 messages of a stream, and its rows by run."""

    def __init__(self, spark: SparkSession, url: str, stream: str, folder: Path) -> None:
        self.spark, self.url, self.stream = spark, url, stream
        self.folder = folder / "checkpoint"
        self.checkpoint = str(self.folder)

    def run(self, **options: str) -> list[list[int]]:
        """Run to the end of the stream; return the sequences of each batch."""
        found: list[list[int]] = []

        def collect(batch: DataFrame, _: int) -> None:
            found.append([row.streamSeq for row in batch.select("streamSeq").collect()])

        source = frame(self.spark, self.url, self.stream, **options)
        writer = source.writeStream.foreachBatch(collect).trigger(availableNow=True)
        writer.option("checkpointLocation", self.checkpoint).start().awaitTermination()
        return found

    def files(self) -> dict[str, str]:
        paths = [path for path in self.folder.rglob("*") if path.is_file()]
        return {str(path.relative_to(self.folder)): path.read_text("latin-1") for path in paths}


@pytest.fixture
def stopped(
    spark: SparkSession, nats_server: EmbeddedServer, admin: Admin, stream: str, tmp_path: Path
) -> Stopped:
    admin.create_stream(stream)
    admin.fill(stream, 100)
    query = Stopped(spark, nats_server.url, stream, tmp_path)
    assert query.run() == [list(range(1, 101))]
    return query
