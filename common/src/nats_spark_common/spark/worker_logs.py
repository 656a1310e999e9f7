"""Configures logging in the Python workers that Spark starts.

Without it Python prints only the text of a warning there. A process of the user, such as the
driver, keeps the user's own `logging` configuration.
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
    """Log to stderr with time, level and name, if this is a Spark worker without handlers."""
    if os.environ.get("SPARK_PYTHON_RUNTIME") != "PYTHON_WORKER" or logging.root.handlers:
        return
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter(_FORMAT, "%y/%m/%d %H:%M:%S"))
    for name in _PACKAGES:
        logger = logging.getLogger(name)
        if not logger.handlers:
            logger.addHandler(handler)
