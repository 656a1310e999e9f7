"""Spark data source ``nats``: the flavor that ``nats.flavor`` or ``NATS_FLAVOR`` names.

Spark finds the source by itself, because the package's name begins with ``pyspark_`` and it exports
``DefaultSource``. The flavors are separate packages, imported when they are used.
"""

from typing import TYPE_CHECKING

from nats_spark_common.spark.version import is_supported, stand_in

from .threads import activate

if TYPE_CHECKING or is_supported():
    from .source import DefaultSource
else:
    DefaultSource = stand_in("nats")

__all__ = ["DefaultSource", "activate"]
