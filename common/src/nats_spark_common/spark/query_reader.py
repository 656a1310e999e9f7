"""The base class of the flavors' stream readers: a query that exists only in the driver."""

from __future__ import annotations

from typing import Any, Generic, Protocol, TypeVar

from pyspark.sql.datasource import DataSourceStreamReader

from ..options.settings import NatsSettings
from ..rows.schema import Projection


class _Closeable(Protocol):
    def close(self) -> None: ...


_Query = TypeVar("_Query", bound=_Closeable)


class QueryReader(DataSourceStreamReader, Generic[_Query]):
    """A reader that keeps connections and state in its `query`, which is created on first use.

    Tasks get a copy without the query. Spark does not always call `stop`.
    """

    def __init__(self, settings: NatsSettings, projection: Projection) -> None:
        self._settings = settings
        self._projection = projection
        self._running: _Query | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_running": None}  # tasks must not get the driver's connections

    def begin_query(self) -> _Query:
        """Create the state that the flavor keeps while the query runs."""
        raise NotImplementedError

    @property
    def query(self) -> _Query:
        """The running query."""
        if self._running is None:
            self._running = self.begin_query()
        return self._running

    def stop(self) -> None:
        """Close the query."""
        if self._running is not None:
            self._running.close()
            self._running = None
