"""Which Spark the sources need, and what replaces them on an older one.

Spark 4.0 brought Python data sources, so Spark 3 has none. Spark 4.2 added the admission part of
the streaming API, `pyspark.sql.streaming.datasource`: ``latestOffset(start, limit)``, the read
limits and ``SupportsTriggerAvailableNow``. A flavor that keeps its position in Spark's checkpoint
works without it (`old_reader`). A flavor that acknowledges what Spark has committed does not.

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

#: The first version of Spark with Python data sources.
NEEDED = "4.0"

#: The first version of Spark that passes the committed position and a read limit.
WITH_ADMISSION = "4.2"


def is_supported() -> bool:
    """Return whether this Spark has Python data sources."""
    return _has("pyspark.sql.datasource")


def has_admission() -> bool:
    """Return whether Spark passes the position, whatever its version: vendors backport APIs."""
    return _has("pyspark.sql.streaming.datasource")


def stand_in(name: str, needed: str = NEEDED, reason: str = "") -> type[DataSource]:
    """Return a data source of this name that raises ``UnsupportedSparkError`` when it is used.

    Raises ``UnsupportedSparkError`` itself on a Spark without Python data sources.

    Args:
        needed: the first version of Spark that the source works with.
        reason: a sentence that says why, and what else to use.
    """
    message = (
        f'format("{name}") needs Spark {needed} or later, but this is Spark {pyspark.__version__} '
        f"({pyspark.__path__[0]}): upgrade Spark (on your own machine: "
        f"pip install 'pyspark>={needed}'){reason and f'. {reason}'}"
    )
    if not is_supported():
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
