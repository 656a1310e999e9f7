"""A sink, a V2 query and a balanced query on one stream, which go on while its servers change."""

from __future__ import annotations

import threading
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from nats_spark_common.sink.task_id import TaskId

from . import consuming
from .admin import Admin, wait_until
from .options import options
from .reading import Driver, Row, batch
from .writing import exactly, write

#: Rows of a step.
ROWS = 50


class Work:
    """Steps of a pipeline: rows are written exactly once, and read by both flavors.

    Attributes:
        steps: how many are complete: their rows are stored, and both queries have read them.
    """

    def __init__(self, url: str, stream: str, **short: str) -> None:
        """``short``: further options of sink and queries, by short names."""
        self.steps = 0
        self._stream = stream
        self._sink = exactly(url, **short)
        self._query = uuid.uuid4().hex
        given = {"poll_interval": "10ms", **short}
        self._v2 = Driver(options(url, stream_name=stream, **given))
        self._balanced = consuming.start(url, stream, **given)
        self._positions: dict[Driver, dict[str, Any]] = {}
        self._read: dict[Driver, Counter[bytes]] = {
            each: Counter() for each in (self._v2, self._balanced)
        }
        self._stopping = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def begin(self) -> None:
        for driver in self._read:
            self._positions[driver] = driver.initial()
        self._step()
        self._thread.start()

    def end(self) -> None:
        """Complete the step that runs; raise its error."""
        self._stopping.set()
        self._thread.join(120)
        assert not self._thread.is_alive(), f"step {self.steps} does not end"
        if self._error:
            raise self._error

    @property
    def alive(self) -> bool:
        """Whether no step has failed."""
        return self._error is None

    def goes_on(self, steps: int = 2) -> None:
        """Await steps that begin after this call."""
        wanted = self.steps + 1 + steps
        wait_until(lambda: self._error or self.steps >= wanted)
        if self._error:
            raise self._error

    def close(self) -> None:
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(120)
        with ExitStack() as stack:
            for driver in self._read:
                stack.enter_context(driver)

    def check(self, admin: Admin) -> None:
        """Check that each row is stored once and was read once by each query, and acknowledged."""
        expected = Counter(name for step in range(self.steps) for name in self._names(step))
        assert Counter(each.payload for each in admin.read_all(self._stream)) == expected
        for read in self._read.values():
            assert read == expected
        self._balanced.latest(self._positions[self._balanced])  # acknowledges the last batch
        wait_until(lambda: consuming.is_settled(admin, self._stream))

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                self._step()
        except BaseException as error:
            self._error = error

    def _names(self, step: int) -> list[bytes]:
        return [b"%d" % i for i in range(step * ROWS, step * ROWS + ROWS)]

    def _step(self) -> None:
        names = self._names(self.steps)
        rows: list[Row] = [
            {"subject": f"{self._stream}.{i % 5}", "content": name} for i, name in enumerate(names)
        ]
        write(self._sink, rows, task=TaskId(self._query, str(self.steps), 0))
        for driver, read in self._read.items():
            while not all(name in read for name in names):
                self._positions[driver], more = batch(driver, self._positions[driver])
                read.update(row["content"] for row in more)
        self.steps += 1


@contextmanager
def working(url: str, stream: str, **short: str) -> Iterator[Work]:
    """Work on an existing stream, which is in its second step or a later one when this returns."""
    work = Work(url, stream, **short)
    try:
        work.begin()
        yield work
        work.end()
    finally:
        work.close()
