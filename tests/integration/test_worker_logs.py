"""What the processes of Spark log, of a real query."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from nats_spark_common.embedded import EmbeddedServer

from .._support.admin import Admin

QUERY = """
import sys
from pathlib import Path
from tests._support.queries import frame
from tests._support.spark import local_spark

folder, url, stream = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
spark = local_spark(folder / "spark")
writer = frame(spark, url, stream).writeStream.format("noop").trigger(availableNow=True)
query = writer.option("checkpointLocation", str(folder / "checkpoint")).start()
query.awaitTermination()
print(query.id)
spark.stop()
"""

#: Its tasks log, at INFO, that they read through a consumer instead.
NO_DIRECT_GETS = """
authorization { users [
    { user: admin, password: pw }
    { user: spark, password: pw, permissions: { publish: { deny: ["$JS.API.DIRECT.GET.>"] } } }
] }
"""


def logged(folder: Path, stream: str, **environment: str) -> tuple[str, list[str]]:
    """Run a query; return its id and the lines about the stream that its processes log."""
    with EmbeddedServer(NO_DIRECT_GETS) as server:
        admin_url, url = (
            server.url.replace("nats://", f"nats://{user}:pw@") for user in ("admin", "spark")
        )
        with closing(Admin(admin_url)) as admin:
            admin.create_stream(stream)
            admin.fill(stream, 10)
        ran = subprocess.run(
            [sys.executable, "-c", QUERY, str(folder), url, stream],
            env={**os.environ, **environment},
            cwd=Path(__file__).resolve().parents[2],
            capture_output=True,
            text=True,
            check=True,
        )
    return ran.stdout.strip(), [line for line in ran.stderr.splitlines() if stream in line]


@pytest.mark.slow
def test_tasks_log_their_query_and_batch_as_json(tmp_path: Path, stream: str) -> None:
    environment = {"NATS_SPARK_LOG_LEVEL": "info", "NATS_SPARK_LOG_FORMAT": "json"}
    query, lines = logged(tmp_path, stream, **environment)
    found: list[dict[str, Any]] = [json.loads(line) for line in lines]
    (task, *_) = [each for each in found if "through a consumer" in each["message"]]
    assert (task["queryId"], task["batchId"], task["partition"]) == (query, "0", 0)
    assert (task["level"], task["logger"]) == ("INFO", "nats_spark_common.reading.range_reader")
    (planner,) = [each for each in found if each["message"].startswith("query at ")]
    assert planner["message"] == f"query at {stream}:0"
    assert "queryId" not in planner
