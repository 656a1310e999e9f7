"""Whatever happens in whatever order: each message is in one batch, in its stream's order."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nats_spark_common.embedded import EmbeddedServer
from nats_spark_common.replay import stream_states as asking
from pyspark_nats import DefaultSource

from .._support.admin import Admin
from .._support.options import options
from .._support.reading import Driver

EVENTS = st.one_of(
    st.tuples(st.just("publish"), st.integers(1, 30)),
    st.tuples(st.just("batch"), st.booleans()),
    st.tuples(st.just("crash"), st.booleans()),
    st.just(("join", 0)),
)


class History:
    """A query as Spark runs it: a log of offsets, a replay after each crash."""

    def __init__(self, admin: Admin, given: dict[str, str], prefix: str) -> None:
        self.admin, self.given, self.prefix = admin, given, prefix
        self.published: list[int] = []
        self.log: list[dict[str, Any]] = []
        self.rows: list[list[tuple[str, int]]] = []
        self.driver: Driver | None = None

    def join(self, _: int) -> None:
        self.admin.create_stream(f"{self.prefix}-{len(self.published)}")
        self.published.append(0)

    def publish(self, count: int) -> None:
        for i in range(len(self.published)):
            share = count // (i + 1)  # skewed
            self.admin.publish_many((f"{self.prefix}-{i}.x", b"") for _ in range(share))
            self.published[i] += share

    def batch(self, finish: bool) -> None:
        """Plan a batch, log it, and run it; or be killed before its rows are out."""
        if self.driver is None:
            self.driver = Driver(self.given, source=DefaultSource)
            self.replay()
        begun = self.log[-1] if self.log else self.driver.initial()
        end = self.driver.latest(begun)
        if end == begun and self.log:
            return
        self.log.append(end)
        if finish:
            self.run()
        else:
            self.crash(True)

    def replay(self) -> None:
        """What Spark does first in a new run: the last logged batch, finished or not."""
        if self.log:
            known = self.rows[len(self.log) - 1 :]
            del self.rows[len(self.log) - 1 :]
            self.run()
            assert known in ([], self.rows[-1:])

    def run(self) -> None:
        assert self.driver is not None
        begun = self.log[-2] if len(self.log) > 1 else self.driver.initial()
        rows = self.driver.rows(begun, self.log[-1])
        self.rows.append([(row["stream"], row["streamSeq"]) for row in rows])

    def crash(self, _: bool) -> None:
        if self.driver is not None:
            self.driver.reader.stop()
        self.driver = None

    def finish(self) -> None:
        """Run to the end, and see what has come."""
        while True:
            batches = len(self.log)
            self.batch(True)
            if len(self.log) == batches:
                break
        self.crash(True)
        for i, count in enumerate(self.published):
            name = f"{self.prefix}-{i}"
            assert [s for batch in self.rows for n, s in batch if n == name] == list(
                range(1, count + 1)
            )


@pytest.mark.parametrize("flavor", ["v2", "partitioned"])
@given(
    events=st.lists(EVENTS, max_size=12),
    limits=st.sampled_from(
        [
            {},
            {"read_via": "consumer"},
            {"max_messages_per_trigger": "7"},
            {"max_messages_per_trigger": "7", "read_via": "consumer"},
            {"max_bytes_per_trigger": "1KiB"},
        ]
    ),
)
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_message_comes_once_and_in_order(
    nats_server: EmbeddedServer,
    admin: Admin,
    monkeypatch: pytest.MonkeyPatch,
    flavor: str,
    events: list[tuple[str, Any]],
    limits: dict[str, str],
) -> None:
    monkeypatch.setattr(asking, "DISCOVERY_INTERVAL", 0.0)
    prefix = f"H{uuid.uuid4().hex[:12]}"
    given = options(
        nats_server.url,
        flavor=flavor,
        stream_prefix=prefix,
        stream_pattern=f"{prefix}-*",
        poll_interval="1ms",
        min_range="3",
        **limits,
    )
    history = History(admin, given, prefix)
    history.join(0)
    actions: dict[str, Callable[[Any], None]] = {
        "publish": history.publish,
        "batch": history.batch,
        "crash": history.crash,
        "join": history.join,
    }
    for name, argument in events:
        actions[name](argument)
    history.finish()
