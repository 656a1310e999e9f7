"""``nats-spark lag``: how far a query is behind its streams."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import click
from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text

from ..checkpoint.checkpoint import Checkpoint
from ..checkpoint.lag import ConsumerState, QueryLag, StreamLag, query_lag
from ..errors import NatsSparkError
from ..jetstream.control import Control
from ..options.settings import NatsSettings
from . import text
from .arguments import POSITIVE_DURATION, Where, json_option, names_server
from .output import console, print_json, table


@click.command()
@click.argument("checkpoint", metavar="CHECKPOINT")
@click.option(
    "--watch", is_flag=True, help="Repeat until interrupted; with --json, a line for each reading."
)
@click.option(
    "--interval",
    type=POSITIVE_DURATION,
    default="2s",
    show_default=True,
    metavar="TIME",
    help="Time between two readings of --watch.",
)
@json_option
@names_server
def lag(checkpoint: str, watch: bool, interval: float, as_json: bool, where: Where) -> int:
    """Show how far the query of a checkpoint is behind its streams.

    CHECKPOINT is the query's checkpointLocation: a local path, or a URL such as
    s3://bucket/orders. The lag counts from the last committed batch. The exit code is 1 if the
    query cannot continue without loss.

    The lag in messages is that of the streams: of filter subjects (nats.stream.subjects) a
    checkpoint knows nothing. Bytes are estimated from the mean size of a message.
    """
    settings = where.settings()
    opened = Checkpoint(checkpoint)
    with Control(settings) as control:
        found = query_lag(opened, control, settings)
        if not watch:
            _print(found, as_json)
            return 1 if found.problems else 0
        if as_json:
            for each in _readings(found, opened, control, settings, interval):
                print(json.dumps(_json(each)), flush=True)
        elif not sys.stdout.isatty():
            for each in _readings(found, opened, control, settings, interval):
                console().print(_with_error(each), "")
        else:
            with Live(_shown(found), console=console(), auto_refresh=False) as live:
                for each in _readings(found, opened, control, settings, interval):
                    live.update(_with_error(each), refresh=True)
    return 0


def _print(found: QueryLag, as_json: bool) -> None:
    if as_json:
        print_json(found.to_json())
    else:
        console().print(_shown(found))


def _readings(
    first: QueryLag,
    checkpoint: Checkpoint,
    control: Control,
    settings: NatsSettings,
    interval: float,
) -> Iterator[tuple[QueryLag, str]]:
    """Yield a query's lag again and again; after an error the last one, with the error."""
    found = first
    yield found, ""
    while True:
        time.sleep(interval)
        try:
            found = query_lag(checkpoint, control, settings)
            yield found, ""
        except NatsSparkError as error:
            yield found, str(error)


def _json(reading: tuple[QueryLag, str]) -> dict[str, Any]:
    found, error = reading
    return {"error": error} if error else found.to_json()


def _with_error(reading: tuple[QueryLag, str]) -> RenderableType:
    found, error = reading
    return Group(_shown(found), *([Text(f"! {error}")] if error else []))


def _shown(found: QueryLag) -> RenderableType:
    parts: list[RenderableType] = [Text(_title(found)), Text("")]
    columns = ["source", "flavor", "stream", "position", "end", "lag", "bytes", "oldest unread"]
    rows = [
        [str(source.index), source.flavor, *_cells(each)]
        for source in found.sources
        for each in source.streams
    ]
    parts.append(table(columns, rows, left=3))
    consumers = [source.consumer for source in found.sources if source.consumer]
    parts += [Text(_consumer(each)) for each in consumers]
    if any(not each.exact for source in found.sources for each in source.streams):
        parts.append(Text("~ marks an estimate from sequences: the messages could not be counted."))
    parts += [Text(f"! {problem}") for problem in found.problems]
    return Group(*parts)


def _title(found: QueryLag) -> str:
    if found.batch is None or found.committed_at is None:
        committed = "no batch committed"
    else:
        ago = text.duration((datetime.now(UTC) - found.committed_at).total_seconds())
        committed = f"batch {found.batch} committed {ago} ago"
    planned = "" if found.planned is None else f", batch {found.planned} planned"
    return f"query {found.query or '(not started)'}: {committed}{planned}"


def _cells(each: StreamLag) -> list[str]:
    return [
        each.stream,
        text.count(each.position),
        text.count(each.end),
        text.estimate(each.messages, each.exact),
        text.size(each.bytes),
        text.duration(each.seconds),
    ]


def _consumer(each: ConsumerState) -> str:
    paused = ", paused" if each.paused else ""
    return (
        f"consumer {each.name}: ack floor {each.ack_floor:,}, {each.pending:,} not delivered, "
        f"{each.ack_pending:,} not acknowledged, {each.redelivered:,} redelivered{paused}"
    )
