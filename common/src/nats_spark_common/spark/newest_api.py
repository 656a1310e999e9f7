"""Parts of Spark's Python API that are missing in older versions, under the names of the newest.

Spark 4.0 and 4.1 have no read limits and no ``SupportsTriggerAvailableNow``; there `old_reader`
passes the limits. Spark 4.0 has no filters; nothing creates one there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyspark.sql import datasource

from .version import has_admission

__all__ = [
    "EqualTo",
    "Filter",
    "GreaterThan",
    "GreaterThanOrEqual",
    "LessThan",
    "LessThanOrEqual",
    "ReadAllAvailable",
    "ReadLimit",
    "ReadMaxBytes",
    "ReadMaxRows",
    "ReadMinRows",
    "StringStartsWith",
    "SupportsTriggerAvailableNow",
]

if TYPE_CHECKING or has_admission():
    from pyspark.sql.streaming.datasource import (
        ReadAllAvailable,
        ReadLimit,
        ReadMaxBytes,
        ReadMaxRows,
        ReadMinRows,
        SupportsTriggerAvailableNow,
    )
else:

    class SupportsTriggerAvailableNow:
        """Spark stops such a query after one batch."""

    class ReadLimit:
        """How much a batch may read."""

    class ReadAllAvailable(ReadLimit):
        """Everything that is stored."""

    @dataclass(frozen=True)
    class ReadMaxRows(ReadLimit):
        max_rows: int

    @dataclass(frozen=True)
    class ReadMaxBytes(ReadLimit):
        max_bytes: int

    @dataclass(frozen=True)
    class ReadMinRows(ReadLimit):
        min_rows: int


if TYPE_CHECKING or hasattr(datasource, "Filter"):
    from pyspark.sql.datasource import (
        EqualTo,
        Filter,
        GreaterThan,
        GreaterThanOrEqual,
        LessThan,
        LessThanOrEqual,
        StringStartsWith,
    )
else:

    class Filter:
        """A condition on rows."""

    EqualTo = GreaterThan = GreaterThanOrEqual = LessThan = LessThanOrEqual = Filter
    StringStartsWith = Filter
