"""What the streaming readers of all flavors share: a query that lives in the driver alone."""

from __future__ import annotations

from typing import Any, Generic, Protocol, TypeVar

from pyspark.sql.datasource import DataSourceStreamReader

from ..options.settings import NatsSettings
from ..rows.schema import Projection


class _Closing(Protocol):
    def close(self) -> None: ...


_Query = TypeVar("_Query", bound=_Closing)


class QueryReader(DataSourceStreamReader, Generic[_Query]):
    """A reader whose connections and memory are its `query`, made when first asked for.

    Tasks get a copy without it, and Spark need not call `stop`.
    """

    def __init__(self, settings: NatsSettings, projection: Projection) -> None:
        self._settings = settings
        self._projection = projection
        self._running: _Query | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_running": None}  # tasks get no connection of the driver's

    def begin_query(self) -> _Query:
        """What the flavor keeps while the query runs."""
        raise NotImplementedError

    @property
    def query(self) -> _Query:
        if self._running is None:
            self._running = self.begin_query()
        return self._running

    def stop(self) -> None:
        if self._running is not None:
            self._running.close()
            self._running = None
