"""The values of a query's progress, as Spark reports it. Pure.

Source: Spark's ``StreamingQueryProgress``. A NATS source is recognized by its offsets; what
``latestOffset`` has beside them is described in `replay.report`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True)
class StreamMeasures:
    """A stream of a query.

    Attributes:
        flavor: ``v2``, ``partitioned`` or ``balanced``.
        position: last sequence of the batch; of balanced, the ack floor.
        lag, lag_bytes, lag_seconds: messages after the batch, their size, and the age of the first;
            None if it is not known.
        consumer: the consumer of a balanced query.
        ack_pending, redelivered: its messages that are delivered and not acknowledged, and those of
            them that were delivered before.
    """

    stream: str
    flavor: str
    position: int | None
    lag: int | None
    lag_bytes: int | None = None
    lag_seconds: float | None = None
    consumer: str | None = None
    ack_pending: int | None = None
    redelivered: int | None = None


@dataclass(frozen=True)
class QueryMeasures:
    """The last batch of a query.

    Attributes:
        query: its name, or its id if it has none.
        at: when the batch started, in seconds since the epoch.
        input_rows: rows of the batch.
        input_rate, processed_rate: rows per second.
        seconds: duration by phase: ``triggerExecution`` is the whole.
        written_rows: rows that the sink reports; None if it does not.
        losses: data-loss events of this run that the driver has reported.
        streams: those of its NATS sources.
    """

    query: str
    run: str
    batch: int
    at: float
    input_rows: int
    input_rate: float
    processed_rate: float
    seconds: Mapping[str, float]
    written_rows: int | None
    losses: int
    streams: tuple[StreamMeasures, ...]


def measures(progress: Mapping[str, Any]) -> QueryMeasures:
    """Return the values of a progress, from its JSON."""
    sources = progress.get("sources") or []
    written = int((progress.get("sink") or {}).get("numOutputRows", -1))
    return QueryMeasures(
        query=str(progress.get("name") or progress["id"]),
        run=str(progress.get("runId", "")),
        batch=int(progress["batchId"]),
        at=datetime.fromisoformat(progress["timestamp"]).timestamp(),
        input_rows=int(progress.get("numInputRows") or 0),
        input_rate=_number(progress.get("inputRowsPerSecond")),
        processed_rate=_number(progress.get("processedRowsPerSecond")),
        seconds={k: v / 1000 for k, v in (progress.get("durationMs") or {}).items()},
        written_rows=written if written >= 0 else None,
        losses=sum(int(_json(each.get("latestOffset")).get("losses", 0)) for each in sources),
        streams=tuple(found for each in sources for found in _streams(each)),
    )


def _streams(source: Mapping[str, Any]) -> Iterator[StreamMeasures]:
    end, latest = _json(source.get("endOffset")), _json(source.get("latestOffset"))
    if "consumer" in end and "stream" in end:
        known = latest.get("consumer") == end["consumer"]
        state = latest if known else {}
        pending, acks = state.get("pending"), state.get("ackPending")
        yield StreamMeasures(
            stream=str(end["stream"]),
            flavor="balanced",
            position=state.get("ackFloor"),
            lag=pending,
            consumer=str(end["consumer"]),
            ack_pending=acks,
            redelivered=state.get("redelivered"),
        )
        return
    if end.get("v") != 1 or not isinstance(end.get("streams"), Mapping):
        return
    ends = latest.get("streams") or {}
    for name, each in end["streams"].items():
        found = ends.get(name) or {}
        lag = found.get("lag")
        if lag is None and found.get("created") == each.get("created"):
            lag = max(0, int(found["seq"]) - int(each["seq"]))
        yield StreamMeasures(
            stream=str(name),
            flavor=str(end.get("flavor") or "v2"),
            position=int(each["seq"]),
            lag=lag,
            lag_bytes=found.get("lagBytes"),
            lag_seconds=found.get("lagSeconds"),
        )


def _json(offset: Any) -> Mapping[str, Any]:
    """Return an offset, which Spark reports as JSON or as its text."""
    if isinstance(offset, str):
        try:
            offset = json.loads(offset)
        except ValueError:
            return {}
    return offset if isinstance(offset, Mapping) else {}


def _number(value: Any) -> float:
    """Return a rate; Spark reports NaN and infinity as text, or not at all."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return 0.0
    return number if number - number == 0 else 0.0
