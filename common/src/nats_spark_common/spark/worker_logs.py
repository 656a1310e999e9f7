"""Configures logging in the Python processes that Spark starts: the planner and the workers.

Without it Python prints only the text of a warning there. A process of the user, such as the
driver, keeps the user's own `logging` configuration.

Two environment variables of these processes change it (``spark.executorEnv.<name>`` sets them on
executors): ``NATS_SPARK_LOG_LEVEL``, by default WARNING, and ``NATS_SPARK_LOG_FORMAT``, ``text`` or
``json``, which is one object per line.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from datetime import UTC, datetime

_PACKAGES = (
    "nats_spark_common",
    "pyspark_nats",
    "pyspark_nats_v2",
    "pyspark_nats_balanced",
    "pyspark_nats_partitioned",
)
_LEVEL, _FORMAT = "NATS_SPARK_LOG_LEVEL", "NATS_SPARK_LOG_FORMAT"
_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")

#: The local properties of a streaming query's task, and their names in the log.
_PROPERTIES = {"queryId": "sql.streaming.queryId", "batchId": "streaming.sql.batchId"}


def configure() -> None:
    """Log to stderr with time, level and name, if this is a Spark worker without handlers."""
    if os.environ.get("SPARK_PYTHON_RUNTIME") != "PYTHON_WORKER" or logging.root.handlers:
        return
    level, shape = os.environ.get(_LEVEL, "").upper(), os.environ.get(_FORMAT, "").lower()
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if shape == "json" else TextFormatter())
    for name in _PACKAGES:
        logger = logging.getLogger(name)
        if not logger.handlers:
            logger.addHandler(handler)
            if level in _LEVELS:
                logger.setLevel(level)
    log = logging.getLogger(__name__)
    if level and level not in _LEVELS:
        log.warning("%s=%s is ignored: use %s", _LEVEL, level, ", ".join(_LEVELS))
    if shape not in ("", "text", "json"):
        log.warning("%s=%s is ignored: use text or json", _FORMAT, shape)


class TextFormatter(logging.Formatter):
    """Lines such as ``26/01/01 12:00:00 WARNING name: [queryId=... batchId=7] text``."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(task)s%(message)s")
        self.datefmt = "%y/%m/%d %H:%M:%S"

    def format(self, record: logging.LogRecord) -> str:
        found = " ".join(f"{name}={value}" for name, value in task().items())
        record.task = f"[{found}] " if found else ""
        return super().format(record)


class JsonFormatter(logging.Formatter):
    """Lines with one JSON object each."""

    def format(self, record: logging.LogRecord) -> str:
        found: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **task(),
        }
        if record.exc_info:
            found["exception"] = self.formatException(record.exc_info)
        return json.dumps(found, ensure_ascii=False)


def task() -> dict[str, str | int]:
    """Return the query, batch and partition of the running task; nothing outside a task."""
    from pyspark import TaskContext

    context = TaskContext.get()
    if context is None:
        return {}
    found: dict[str, str | int] = {
        name: value
        for name, key in _PROPERTIES.items()
        if (value := context.getLocalProperty(key)) is not None
    }
    return {**found, "partition": context.partitionId(), "attempt": context.attemptNumber()}
