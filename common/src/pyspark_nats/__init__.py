"""Spark data source ``nats``: whichever flavor ``nats.flavor`` or ``NATS_FLAVOR`` names.

Spark finds the source by itself, because the package's name begins with ``pyspark_`` and it exports
``DefaultSource``. The flavors are packages of their own, looked up when one is chosen.
"""

from .source import DefaultSource
from .threads import activate

__all__ = ["DefaultSource", "activate"]
