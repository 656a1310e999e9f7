"""Which Spark the sources need, and what replaces them on an older one.

The sources need the admission part of the streaming API, `pyspark.sql.streaming.datasource`, which
Spark 4.2 added to Python: ``latestOffset(start, limit)``, the read limits and
``SupportsTriggerAvailableNow``. Spark 4.1 calls ``latestOffset()`` without the committed position.
Spark 4.0 also lacks Arrow writers for streams and filter push-down, and Spark 3 has no Python data
sources.

Spark 4.0 and 4.1 look up all Python data sources at once, and stop at the first package that fails
to import. So the packages can be imported there, and only their use fails.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

import pyspark

from ..errors import UnsupportedSparkError

if TYPE_CHECKING:
    from pyspark.sql.datasource import DataSource

#: The first version of Spark with the API that the sources need.
NEEDED = "4.2"


def is_supported() -> bool:
    """Return whether this Spark has the API, whatever its version: vendors backport APIs."""
    return _has("pyspark.sql.streaming.datasource")


def stand_in(name: str) -> type[DataSource]:
    """Return a data source of this name that raises ``UnsupportedSparkError`` when it is used.

    Raises ``UnsupportedSparkError`` itself on a Spark without Python data sources.
    """
    message = (
        f'format("{name}") needs Spark {NEEDED} or later, but this is Spark {pyspark.__version__} '
        f"({pyspark.__path__[0]}): upgrade Spark (on your own machine: "
        f"pip install 'pyspark>={NEEDED}')"
    )
    if not _has("pyspark.sql.datasource"):
        raise UnsupportedSparkError(message)
    from pyspark.sql.datasource import DataSource

    class StandIn(DataSource):
        def __init__(self, options: dict[str, str]) -> None:
            raise UnsupportedSparkError(message)

        @classmethod
        def name(cls) -> str:
            return name

    return StandIn


def _has(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # a parent package is missing, or is a module
        return False
