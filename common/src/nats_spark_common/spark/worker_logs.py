"""What the suite logs, where nobody else decides how: in the Python processes that Spark starts.

There, Python would print a warning's bare words. A process of the user's own, the driver's for
example, is left to the user's `logging`.
"""

from __future__ import annotations

import logging
import os
import sys

_PACKAGES = (
    "nats_spark_common",
    "pyspark_nats",
    "pyspark_nats_v2",
    "pyspark_nats_balanced",
    "pyspark_nats_partitioned",
)
_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def configure() -> None:
    """In a worker of Spark's without handlers, log with time, level and name to its errors."""
    if os.environ.get("SPARK_PYTHON_RUNTIME") != "PYTHON_WORKER" or logging.root.handlers:
        return
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter(_FORMAT, "%y/%m/%d %H:%M:%S"))
    for name in _PACKAGES:
        logger = logging.getLogger(name)
        if not logger.handlers:
            logger.addHandler(handler)
