"""``nats-spark offsets``: show, move and create the position of a stopped query."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from ..checkpoint.checkpoint import Checkpoint, create, shown
from ..checkpoint.position import ConsumerPosition, SourcePosition, positions
from ..checkpoint.rewind import Move, Rewind, plan_rewind, start_entry
from ..errors import CheckpointError, DataLossError, OptionError, ServerError
from ..jetstream.control import Control
from ..replay.offsets import StreamOffset
from . import text
from .arguments import DURATION, Where, json_option, names_server
from .output import print_json, print_table


@click.group(short_help="Show, move or create a query's position.")
def offsets() -> None:
    """Show, move or create the position of a query in its checkpoint."""


@offsets.command()
@click.argument("checkpoint", metavar="CHECKPOINT")
@click.option("--batch", type=int, metavar="N", help="Batch to show. Default: the last committed.")
@json_option
def show(checkpoint: str, batch: int | None, as_json: bool) -> None:
    """Show the position that a checkpoint has logged as the end of a batch."""
    opened = Checkpoint(checkpoint)
    committed, batches = opened.committed(), opened.batches()
    if not batches:
        raise CheckpointError(f"{opened.location} has no batch: the query has not started one")
    number = batch
    if number is None:
        number = committed if committed in batches else batches[-1]
    assert number is not None
    if number not in batches:
        raise CheckpointError(
            f"{opened.location} does not have batch {number}: it has {batches[0]} to {batches[-1]}"
        )
    found = positions(opened.entry(number), opened.location)
    is_committed = committed is not None and number <= committed
    if as_json:
        print_json(
            {
                "query": opened.query_id,
                "batch": number,
                "committed": is_committed,
                "sources": [_json(each) for each in found],
            }
        )
        return
    state = "committed" if is_committed else "planned, not committed"
    print(f"query {opened.query_id or '(not started)'}: batch {number}, {state}\n")
    rows = [row for each in found for row in _rows(each)]
    print_table(["source", "flavor", "stream", "position", "stream created"], rows, left=3)


def _json(each: SourcePosition) -> dict[str, Any]:
    found: dict[str, Any] = {"index": each.index, "flavor": each.flavor}
    if isinstance(each, ConsumerPosition):
        return {**found, "stream": each.stream, "consumer": each.consumer}
    streams = [
        {"stream": name, "position": at.seq, "created": at.created} for name, at in each.offset
    ]
    return {**found, "streams": streams}


def _rows(each: SourcePosition) -> Iterator[list[str]]:
    head = [str(each.index), each.flavor]
    if isinstance(each, ConsumerPosition):
        yield [*head, each.stream, f"consumer {each.consumer}", each.created]
        return
    for name, at in each.offset:
        yield [*head, name, text.count(at.seq), at.created]


@offsets.command("set")
@click.argument("checkpoint", metavar="CHECKPOINT")
@click.option(
    "--to",
    required=True,
    metavar="POSITION",
    help="First message to read, as in nats.start: earliest, latest, a sequence, an RFC 3339 time, "
    "-1h, or JSON per stream.",
)
@click.option(
    "--stream",
    "streams",
    multiple=True,
    metavar="NAME",
    help="Stream to move; can be repeated. Default: all of the source.",
)
@click.option("--source", type=int, metavar="I", help="Number of the query's source, from 0.")
@click.option("--dry-run", is_flag=True, help="Show what would change, and write nothing.")
@click.option(
    "--replace-planned",
    is_flag=True,
    help="Replace a batch that is logged and not committed, such as one that always fails.",
)
@click.option(
    "--settle",
    type=DURATION,
    default="2s",
    show_default=True,
    metavar="TIME",
    help="Time during which the checkpoint must not change.",
)
@json_option
@names_server
def set_(
    checkpoint: str,
    to: str,
    streams: tuple[str, ...],
    source: int | None,
    dry_run: bool,
    replace_planned: bool,
    settle: float,
    as_json: bool,
    where: Where,
) -> None:
    """Move a stopped V2 or partitioned query, to read messages again or to skip them.

    The position is written as one entry of the checkpoint's log; the query reads from there when
    it starts. What the sink already has is not removed, and aggregations keep what they have
    counted.
    """
    with _named_by_user():
        settings = where.settings({"nats.start": to})
    opened = Checkpoint(checkpoint)
    with Control(settings) as control, _named_by_user():
        chosen = _streams(to, streams)
        plan = plan_rewind(opened, control, settings, source=source, streams=chosen)
    if plan.replaces and not (dry_run or replace_planned):
        raise CheckpointError(
            f"batch {plan.batch} of {opened.location} is planned but not committed, and may be "
            "running: stop the query, and add --replace-planned; nothing was written"
        )
    saved = None if dry_run else plan.write(settle)
    if as_json:
        print_json(
            {
                "batch": plan.batch,
                "written": not dry_run,
                "backup": saved,
                "streams": [_move_json(each) for each in plan.moves],
            }
        )
        return
    rows = [_move_row(each) for each in plan.moves]
    print_table(["stream", "position", "new position", "read again", "skipped"], rows)
    print()
    for line in _explained(plan, saved, dry_run):
        print(line)


def _streams(to: str, streams: tuple[str, ...]) -> tuple[str, ...]:
    """Return the streams to move: JSON that names no default moves only those that it names."""
    if not to.strip().startswith("{"):
        return streams
    named = [str(name) for name in json.loads(to)]
    if "*" in named:
        return streams or ()
    return tuple(each for each in named if not streams or each in streams)


def _move_json(each: Move) -> dict[str, Any]:
    return {
        "stream": each.stream,
        "before": each.before,
        "after": each.after,
        "readAgain": each.again,
        "skipped": each.skipped,
        "exact": each.exact,
    }


def _move_row(each: Move) -> list[str]:
    return [
        each.stream,
        text.count(each.before),
        text.count(each.after),
        text.estimate(each.again, each.exact),
        text.estimate(each.skipped, each.exact),
    ]


def _explained(plan: Rewind, saved: str | None, dry_run: bool) -> Iterator[str]:
    file = f"{plan.checkpoint.location}/offsets/{plan.batch}"
    if dry_run:
        yield f"dry run, nothing was written: the position would be batch {plan.batch}"
    else:
        yield f"written as batch {plan.batch}, which the query finds when it starts"
        undo = f"copy {saved} to {file}" if saved else f"delete {file}"
        yield f"to undo it before the query starts: {undo}"
    if plan.replaces:
        yield (
            f"batch {plan.batch} had been planned and not committed: rows of it that the sink has "
            "are not removed"
        )
    if plan.checkpoint.stateful:
        yield (
            "the query keeps state: aggregations and joins keep what they have counted, so "
            "messages that are read again count twice; watermarks may drop them as late"
        )


@offsets.command("import")
@click.argument("checkpoint", metavar="CHECKPOINT")
@click.option(
    "--from-consumer",
    "consumers",
    required=True,
    multiple=True,
    metavar="STREAM/DURABLE",
    help="Consumer whose ack floor is the position; repeated for several streams.",
)
@json_option
@names_server
def import_(checkpoint: str, consumers: tuple[str, ...], as_json: bool, where: Where) -> None:
    """Create a checkpoint for V2 that continues where durable consumers have acknowledged.

    For queries of nats-balanced or of the Scala connectors that move to nats-v2. CHECKPOINT is a
    new folder, which the query then uses as its checkpointLocation.
    """
    found: dict[str, StreamOffset] = {}
    filters: dict[str, tuple[str, ...]] = {}
    apart, notes = 0, []
    with Control(where.settings()) as control:
        for each in consumers:
            stream, slash, durable = each.partition("/")
            if not (stream and slash and durable):
                raise OptionError(f"--from-consumer {each}: use the form STREAM/DURABLE")
            if stream in found:
                raise OptionError(f"--from-consumer names stream {stream} twice: give it once")
            info = control.stream_info(stream)
            try:
                state = control.api(f"CONSUMER.INFO.{stream}.{durable}")
            except ServerError as error:
                raise CheckpointError(
                    f"consumer {durable!r} of stream {stream!r}: {error.description}"
                ) from error
            floor = int(state["ack_floor"]["stream_seq"])
            apart += max(0, int(state["delivered"]["stream_seq"]) - floor)
            found[stream] = StreamOffset.entering(max(floor, info.first_seq - 1), info)
            config = state["config"]
            own = config.get("filter_subjects") or [config.get("filter_subject")]
            filters[stream] = tuple(sorted(each for each in own if each))
            if info.first_seq > floor + 1:
                notes.append(
                    f"stream {stream}: messages {floor + 1} to {info.first_seq - 1} were removed "
                    "before they were acknowledged"
                )
    if len(set(filters.values())) > 1:
        raise OptionError(
            "the consumers have different filter subjects, and a query has the same for all "
            "streams: create a checkpoint for each"
        )
    create(checkpoint, start_entry(found))
    if as_json:
        streams = [{"stream": name, "position": each.seq} for name, each in found.items()]
        print_json({"checkpoint": shown(checkpoint), "streams": streams, "notes": notes})
        return
    print_table(
        ["stream", "position"], [[name, text.count(each.seq)] for name, each in found.items()]
    )
    print(f"\nwritten to {shown(checkpoint)}: use it as the checkpointLocation of a query with")
    print('  spark.readStream.format("nats-v2")')
    print(f'      .option("nats.stream.name", "{",".join(found)}")')
    for subjects in sorted(set(filters.values())):
        if subjects:
            print(f'      .option("nats.stream.subjects", "{",".join(subjects)}")')
    for note in notes:
        print(note)
    if apart:
        print(
            f"up to {text.plural(apart, 'message')} after the ack floors may have been "
            "acknowledged already: they are read again"
        )


@contextmanager
def _named_by_user() -> Iterator[None]:
    """Name the option --to in errors, whose value the settings know as nats.start."""
    try:
        yield
    except (OptionError, DataLossError) as error:
        raise type(error)(str(error).replace("nats.start", "--to")) from error
