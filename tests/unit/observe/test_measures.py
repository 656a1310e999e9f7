"""The values of a progress, and what a listener keeps of them."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from nats_spark_common.observe.measures import StreamMeasures, measures
from nats_spark_common.observe.queries import Queries

END = {"v": 1, "streams": {"ORDERS": {"seq": 100, "created": "c"}}}


def progress(**changes: Any) -> dict[str, Any]:
    source = {
        "endOffset": END,
        "latestOffset": {
            "v": 1,
            "streams": {
                "ORDERS": {
                    "seq": 223,
                    "created": "c",
                    "lag": 120,
                    "lagBytes": 24_000,
                    "lagSeconds": 1.5,
                }
            },
        },
    }
    return {
        "id": "q1",
        "runId": "r1",
        "name": "orders",
        "batchId": 7,
        "timestamp": "2026-01-01T00:00:00.500Z",
        "numInputRows": 10,
        "inputRowsPerSecond": 5.0,
        "processedRowsPerSecond": "NaN",
        "durationMs": {"triggerExecution": 1500, "addBatch": 900},
        "sources": [source],
        "sink": {"numOutputRows": -1},
        **changes,
    }


def test_a_progress_has_the_lag_of_each_stream() -> None:
    found = measures(progress())
    assert (found.query, found.batch, found.at) == ("orders", 7, 1_767_225_600.5)
    assert (found.input_rate, found.processed_rate) == (5.0, 0.0)
    assert found.seconds == {"triggerExecution": 1.5, "addBatch": 0.9}
    assert found.written_rows is None
    assert found.streams == (StreamMeasures("ORDERS", "v2", 100, 120, 24_000, 1.5),)


def test_a_query_without_a_name_is_known_by_its_id() -> None:
    assert measures(progress(name=None)).query == "q1"


def test_offsets_may_be_text() -> None:
    (source,) = progress()["sources"]
    as_text = {key: json.dumps(value) for key, value in source.items()}
    assert measures(progress(sources=[as_text])) == measures(progress())


def test_a_lag_that_was_not_counted_is_one_of_sequences() -> None:
    latest = {"v": 1, "streams": {"ORDERS": {"seq": 223, "created": "c"}}}
    (found,) = measures(progress(sources=[{"endOffset": END, "latestOffset": latest}])).streams
    assert (found.lag, found.lag_seconds) == (123, None)


@pytest.mark.parametrize(
    "latest", [None, {}, {"streams": {"ORDERS": {"seq": 5, "created": "another"}}}]
)
def test_a_lag_that_is_not_known_is_none(latest: Any) -> None:
    (found,) = measures(progress(sources=[{"endOffset": END, "latestOffset": latest}])).streams
    assert (found.position, found.lag) == (100, None)


def test_a_balanced_source_shows_its_consumer() -> None:
    end = {"v": 1, "stream": "S", "consumer": "spark", "runs": ""}
    latest = {
        "stream": "S",
        "consumer": "spark",
        "pending": 40,
        "ackPending": 60,
        "redelivered": 2,
        "ackFloor": 17,
    }
    (found,) = measures(progress(sources=[{"endOffset": end, "latestOffset": latest}])).streams
    assert found == StreamMeasures(
        "S", "balanced", 17, 40, consumer="spark", ack_pending=60, redelivered=2
    )


def test_sources_of_other_systems_have_no_streams() -> None:
    kafka = {"endOffset": {"topic": {"0": 5}}, "latestOffset": {"topic": {"0": 9}}}
    assert measures(progress(sources=[kafka, {"endOffset": 17}, {}])).streams == ()


def started(key: str, name: str | None) -> Any:
    return SimpleNamespace(id=key, runId="r", name=name)


def made(**changes: Any) -> Any:
    return SimpleNamespace(progress=SimpleNamespace(json=json.dumps(progress(**changes))))


def ended(key: str, exception: str | None = None) -> Any:
    return SimpleNamespace(id=key, runId="r", exception=exception)


def test_rows_are_summed_over_batches_and_runs() -> None:
    queries = Queries(clock=lambda: 5.0)
    queries.onQueryStarted(started("q1", "orders"))
    queries.onQueryProgress(made(sink={"numOutputRows": 3}))
    queries.onQueryProgress(made(batchId=8, runId="r2", sink={"numOutputRows": 4}))
    (state,) = queries.states()
    assert (state.rows, state.written, state.active, state.seen) == (20, 7, True, 5.0)
    assert state.last is not None
    assert state.last.batch == 8


def test_losses_are_counted_once_in_each_run() -> None:
    queries = Queries()
    queries.onQueryStarted(started("q1", "orders"))
    for run, losses in (("r1", 0), ("r1", 2), ("r1", 2), ("r2", 1), ("r2", 3)):
        source = {"endOffset": END, "latestOffset": {"losses": losses}}
        queries.onQueryProgress(made(runId=run, sources=[source]))
    assert [each.losses for each in queries.states()] == [5]


def test_a_failed_run_is_counted_and_the_next_one_is_active() -> None:
    queries = Queries()
    queries.onQueryStarted(started("q1", "orders"))
    queries.onQueryProgress(made())
    queries.onQueryTerminated(ended("q1", "it failed"))
    (state,) = queries.states()
    assert (state.active, state.failures) == (False, 1)
    queries.onQueryStarted(started("q2", "orders"))  # with another checkpoint
    (state,) = queries.states()
    assert (state.active, state.failures, state.rows) == (True, 1, 10)
    queries.onQueryTerminated(ended("q2"))
    assert [each.failures for each in queries.states()] == [1]


def test_an_idle_query_is_seen() -> None:
    times = iter([1.0, 2.0])
    queries = Queries(clock=lambda: next(times))
    queries.onQueryStarted(started("q1", None))
    queries.onQueryIdle(SimpleNamespace(id="q1"))  # type: ignore[arg-type]
    assert [(each.query, each.seen) for each in queries.states()] == [("q1", 2.0)]


def test_only_the_last_ended_queries_are_kept() -> None:
    queries = Queries()
    for number in range(150):
        queries.onQueryStarted(started(f"q{number}", None))
        queries.onQueryTerminated(ended(f"q{number}"))
    names = [each.query for each in queries.states()]
    assert names == [f"q{number}" for number in range(50, 150)]
