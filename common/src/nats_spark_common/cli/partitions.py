"""``nats-spark partitions``: create, show and delete the streams of the partitioned flavor."""

from __future__ import annotations

import json
import sys
import textwrap
import time

import click

from ..errors import OptionError
from ..jetstream.control import Control
from ..partitions.create import Survey, create_streams, survey
from ..partitions.delete import Deletion, delete_streams, plan_deletion
from ..partitions.mark import describe_key, key_text
from ..partitions.plan import MAX_PARTITIONS, PartitionSet, check_name, plan
from ..partitions.snapshot import retake_snapshot, take_snapshot
from ..protocol.partition_names import abbreviate
from . import text
from .arguments import (
    POSITIVE_DURATION,
    POSITIVE_SIZE,
    Where,
    interval_option,
    json_option,
    names_server,
    replicas_option,
)
from .output import print_json, print_note
from .partitions_text import as_json as snapshot_json
from .partitions_text import as_text

_CREATE = """\
Create the streams that the format nats-partitioned reads: an ingest stream that takes one subject,
and N partitions, PREFIX-0 to PREFIX-(N-1), which divide its messages by the hash of the key. A key
is always in the same partition, in publishing order, under its own subject. A second run creates
only the missing streams. Existing streams are never changed.

The ingest stream keeps its own copy of every message, without limit unless --ingest-max-age is
set. This is the safe default. With --ingest-max-age, a partition that is unavailable for longer
than that loses the messages that it has not stored yet."""

_SHOW = """\
Show the partitions PREFIX-0, PREFIX-1, ..., whether or not 'create' created them: the size and
growth of each, its lag behind the ingest stream, and how evenly messages are divided. The streams
are read twice to measure rates."""

_DELETE = """\
Delete the streams that 'create' created for PREFIX, with all their messages. They are recognized
by their metadata. Other streams are kept, whatever their names. It is no error if there is nothing
to delete."""


@click.group(short_help="Manage streams of nats-partitioned.")
def partitions() -> None:
    """Create, show and delete streams of the format nats-partitioned."""


_prefix = click.argument("prefix", metavar="PREFIX")


@partitions.command(help=_CREATE, short_help="Create a partitioned set of streams.")
@_prefix
@click.option(
    "--subject", required=True, help="The subject to divide, a pattern such as 'orders.*.>'."
)
@click.option(
    "--partitions",
    "count",
    required=True,
    type=int,
    metavar="N",
    help=f"Number of partitions, from 1 to {MAX_PARTITIONS}.",
)
@click.option(
    "--key",
    metavar="1[,2]",
    help="Wildcards * of the subject that make the key, counted from 1, or 'subject' for the whole "
    "subject (server 2.12). Default: all *, or the whole subject if it has none.",
)
@click.option("--ingest", metavar="NAME", help="Name of the ingest stream. Default: PREFIX-ingest.")
@click.option(
    "--storage",
    type=click.Choice(["file", "memory"]),
    default="file",
    show_default=True,
    help="Storage of all streams.",
)
@replicas_option
@click.option(
    "--max-age",
    type=POSITIVE_DURATION,
    metavar="AGE",
    help="How long a partition keeps a message, such as 7d. Default: no limit.",
)
@click.option(
    "--max-bytes",
    type=POSITIVE_SIZE,
    metavar="SIZE",
    help="Maximum size of a partition, such as 10GiB. Default: no limit.",
)
@click.option(
    "--ingest-max-age",
    type=POSITIVE_DURATION,
    metavar="AGE",
    help="How long the ingest stream keeps a message, and so how long a partition may be "
    "unavailable without loss. Default: no limit.",
)
@click.option(
    "--dry-run",
    is_flag=True,
    help="Print the configurations of the streams to create, as JSON, and create nothing.",
)
@names_server
def create(
    prefix: str,
    subject: str,
    count: int,
    key: str | None,
    ingest: str | None,
    storage: str,
    replicas: int,
    max_age: float | None,
    max_bytes: int | None,
    ingest_max_age: float | None,
    dry_run: bool,
    where: Where,
) -> None:
    wanted = plan(
        prefix,
        subject,
        count,
        key=key,
        ingest=ingest,
        storage=storage,
        replicas=replicas,
        max_age=max_age,
        max_bytes=max_bytes,
        ingest_max_age=ingest_max_age,
    )
    with Control(where.settings()) as control:
        found = survey(control, wanted)
        if dry_run:
            print(json.dumps(found.missing, indent=2))
            print_note(
                "dry run, nothing was created: "
                f"{text.plural(len(found.missing), 'stream')} to create"
                + (f", {len(found.existing)} existing" if found.existing else "")
            )
            return
        create_streams(control, found.missing)
    print(_creation_text(wanted, found))


def _creation_text(wanted: PartitionSet, found: Survey) -> str:
    created = [config["name"] for config in found.missing]
    lines = []
    if created:
        lines.append(f"created  {abbreviate(wanted.prefix, created)}")
    if found.existing:
        lines.append(f"existed  {abbreviate(wanted.prefix, found.existing)}")
    if found.removed and created:
        lines.append(
            f"{wanted.ingest} has removed its first {text.plural(found.removed, 'message')}: the "
            "streams created now do not have them"
        )
    if wanted.ingest_max_age is None:
        retention = (
            "without limit: a partition misses none, however long it is unavailable, but the "
            "space that they take grows; --ingest-max-age limits it"
        )
    else:
        retention = (
            f"for {text.duration(wanted.ingest_max_age)}: a partition that is unavailable for "
            "longer misses those that are removed meanwhile"
        )
    how = f"by {describe_key(key_text(wanted.key))}" if wanted.count > 1 else "undivided"
    paragraph = (
        f"Every message is stored twice, in its partition and in {wanted.ingest}, which keeps "
        f"messages {retention}."
    )
    return "\n".join(
        [
            *lines,
            "",
            f"{wanted.subject} -> {text.plural(wanted.count, 'partition')}, {how}. Producers "
            "publish to it as before.",
            *textwrap.wrap(paragraph, 100, break_on_hyphens=False),
            "",
            "To read it:",
            '  spark.readStream.format("nats-partitioned")',
            f'      .option("nats.stream.prefix", "{wanted.prefix}")',
            f'      .option("nats.num.partitions", "{wanted.count}")  # or "auto"',
        ]
    )


@partitions.command(help=_SHOW, short_help="Show the size, rate and lag of the partitions.")
@_prefix
@interval_option
@json_option
@names_server
def show(prefix: str, interval: float, as_json: bool, where: Where) -> None:
    check_name("PREFIX", prefix)
    with Control(where.settings()) as control:
        before = after = take_snapshot(control, prefix)
        if interval:
            time.sleep(interval)
            after = retake_snapshot(control, before)
    if as_json:
        print_json(snapshot_json(prefix, before, after))
    else:
        print(as_text(prefix, before, after))


@partitions.command(help=_DELETE, short_help="Delete a set that 'create' created.")
@_prefix
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@click.option("--dry-run", is_flag=True, help="List the streams, and delete nothing.")
@names_server
def delete(prefix: str, yes: bool, dry_run: bool, where: Where) -> None:
    check_name("PREFIX", prefix)
    with Control(where.settings()) as control:
        found = plan_deletion(control, prefix)
        for name, reason in found.kept:
            print(f"kept: {name}, {reason}")
        if not found.streams:
            print(f"nothing to delete: 'partitions create' created no stream for {prefix}")
            return
        rows = [["stream", "messages", "bytes"]]
        rows += [[e.name, text.count(e.messages), text.size(e.bytes)] for e in found.streams]
        print(text.table(rows))
        if dry_run:
            print_note(f"dry run, nothing was deleted: {_extent(found)}")
            return
        if not yes and not _confirmed(found):
            print("nothing was deleted")
            return
        delete_streams(control, found.streams)
    print(f"deleted {_extent(found)}")


def _extent(found: Deletion) -> str:
    streams = text.plural(len(found.streams), "stream")
    return f"{streams} with {text.plural(found.messages, 'message')}"


def _confirmed(found: Deletion) -> bool:
    if not sys.stdin.isatty():
        raise OptionError(
            f"--yes is needed to delete {_extent(found)} without a terminal; nothing was deleted"
        )
    try:
        answer = input(f"Delete {_extent(found)}? They cannot be restored. [y/N] ")
    except EOFError:
        return False
    return answer.strip().lower() in ("y", "yes")
