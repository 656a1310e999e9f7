"""Spark sessions in threads."""

from __future__ import annotations

from typing import Any

from pyspark.sql import SparkSession


def activate(spark: SparkSession) -> None:
    """Make a session the active one of this thread, as writes from the thread need.

    Spark looks up a sink's format in the active session, which only the thread that created the
    session has. In other threads ``write.format("nats")`` fails with ``DATA_SOURCE_NOT_FOUND``.
    Reads are not affected. Does nothing if the session is already active.
    """
    # PySpark does the same for its own callbacks, and has no public function for it.
    session: Any = spark
    session._jvm.SparkSession.setActiveSession(session._jsparkSession)
