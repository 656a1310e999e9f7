"""Sessions and threads."""

from __future__ import annotations

from typing import Any

from pyspark.sql import SparkSession


def activate(spark: SparkSession) -> None:
    """Make a session the active one of this thread, which writes from it need.

    Spark looks up a sink's format in the active session, which each thread but the one that made
    the session lacks: ``write.format("nats")`` says ``DATA_SOURCE_NOT_FOUND`` there. Reads are not
    concerned. Harmless where the session is active already.
    """
    # PySpark sets it in the same way for its own callbacks, and has no public call for it.
    session: Any = spark
    session._jvm.SparkSession.setActiveSession(session._jsparkSession)
