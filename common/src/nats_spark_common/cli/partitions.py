"""``nats-spark partitions``: create, show and delete the streams of the partitioned flavor."""

from __future__ import annotations

import argparse
import json
import sys
import textwrap
import time
from typing import Any

from ..errors import OptionError
from ..jetstream.control import Control
from ..partitions.create import Survey, create_streams, survey
from ..partitions.delete import Deletion, delete_streams, plan_deletion
from ..partitions.mark import describe_key, key_text
from ..partitions.plan import MAX_PARTITIONS, PartitionSet, check_name, plan
from ..partitions.snapshot import retake_snapshot, take_snapshot
from ..protocol.partition_names import abbreviate
from . import text
from .parser import (
    Parser,
    Subparsers,
    add_connection_arguments,
    duration,
    positive_duration,
    positive_size,
    settings,
)
from .partitions_text import as_json, as_text

_CREATE = """\
Create the streams that the format nats-partitioned reads: an ingest stream that takes one subject,
and N partitions, PREFIX-0 to PREFIX-(N-1), which divide its messages by the hash of the key. A key
is always in the same partition, in publishing order, under its own subject. A second run creates
only the missing streams. Existing streams are never changed.

The ingest stream keeps its own copy of every message, without limit unless --ingest-max-age is
set. This is the safe default: a partition that is unavailable for longer than the ingest stream
keeps messages loses those that it has not stored yet."""

_SHOW = """\
Show the partitions PREFIX-0, PREFIX-1, ..., whether or not 'create' created them: the size and
growth of each, its lag behind the ingest stream, and how evenly messages are divided. The streams
are read twice to measure rates."""

_DELETE = """\
Delete the streams that 'create' created for PREFIX, with all their messages. They are recognized
by their metadata. Other streams are kept, whatever their names. It is no error if there is nothing
to delete."""


def add_arguments(groups: Subparsers[Parser]) -> None:
    """Add the group ``partitions`` and its subcommands."""
    group = groups.add_parser("partitions", help="streams of the format nats-partitioned")
    commands = group.add_subparsers(metavar="COMMAND", required=True)
    _add_create(commands)
    _add_show(commands)
    _add_delete(commands)


def _add_create(commands: Subparsers[Parser]) -> None:
    parser = _command(commands, "create", _create, "create a partitioned set of streams", _CREATE)
    parser.add_argument(
        "--subject", required=True, help="the subject to divide, a pattern such as 'orders.*.>'"
    )
    parser.add_argument(
        "--partitions",
        required=True,
        type=int,
        metavar="N",
        help=f"number of partitions, from 1 to {MAX_PARTITIONS}",
    )
    parser.add_argument(
        "--key",
        metavar="1[,2]",
        help="wildcards * of the subject that make the key, counted from 1, or 'subject' for the "
        "whole subject (server 2.12); default: all *, or the whole subject if it has none",
    )
    parser.add_argument(
        "--ingest", metavar="NAME", help="name of the ingest stream (default PREFIX-ingest)"
    )
    _add_limits(parser)
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="print the configurations of the streams to create, as JSON, and create nothing",
    )


def _add_limits(parser: Parser) -> None:
    parser.add_argument(
        "--storage",
        choices=("file", "memory"),
        default="file",
        help="storage of all streams (default file)",
    )
    parser.add_argument(
        "--replicas",
        type=int,
        choices=range(1, 6),
        default=1,
        metavar="1-5",
        help="replicas of all streams (default 1)",
    )
    parser.add_argument(
        "--max-age",
        type=positive_duration,
        metavar="AGE",
        help="how long a partition keeps a message, such as 7d (default: no limit)",
    )
    parser.add_argument(
        "--max-bytes",
        type=positive_size,
        metavar="SIZE",
        help="maximum size of a partition, such as 10GiB (default: no limit)",
    )
    parser.add_argument(
        "--ingest-max-age",
        type=positive_duration,
        metavar="AGE",
        help="how long the ingest stream keeps a message, and so how long a partition may be "
        "unavailable without loss (default: no limit)",
    )


def _add_show(commands: Subparsers[Parser]) -> None:
    parser = _command(
        commands, "show", _show, "show the size, rate and lag of the partitions", _SHOW
    )
    parser.add_argument(
        "--interval",
        type=duration,
        default=1.0,
        metavar="TIME",
        help="time between the two reads that give the rates (default 1s); 0: one read, no rates",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def _add_delete(commands: Subparsers[Parser]) -> None:
    parser = _command(commands, "delete", _delete, "delete a set that 'create' created", _DELETE)
    parser.add_argument("--yes", action="store_true", help="do not ask for confirmation")
    parser.add_argument(
        "--dry-run", action="store_true", help="list the streams, and delete nothing"
    )


def _command(
    commands: Subparsers[Parser], name: str, run: Any, summary: str, description: str
) -> Parser:
    parser = commands.add_parser(
        name,
        help=summary,
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run, prog=parser.prog)
    parser.add_argument(
        "prefix", metavar="PREFIX", help="prefix of the streams PREFIX-0, PREFIX-1, ..."
    )
    add_connection_arguments(parser)
    return parser


def _create(arguments: argparse.Namespace) -> None:
    wanted = plan(
        arguments.prefix,
        arguments.subject,
        arguments.partitions,
        key=arguments.key,
        ingest=arguments.ingest,
        storage=arguments.storage,
        replicas=arguments.replicas,
        max_age=arguments.max_age,
        max_bytes=arguments.max_bytes,
        ingest_max_age=arguments.ingest_max_age,
    )
    with Control(settings(arguments)) as control:
        found = survey(control, wanted)
        if arguments.dry_run:
            print(json.dumps(found.missing, indent=2))
            _print_note(
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


def _show(arguments: argparse.Namespace) -> None:
    check_name("PREFIX", arguments.prefix)
    with Control(settings(arguments)) as control:
        before = after = take_snapshot(control, arguments.prefix)
        if arguments.interval:
            time.sleep(arguments.interval)
            after = retake_snapshot(control, before)
    if arguments.json:
        print(json.dumps(as_json(arguments.prefix, before, after), indent=2))
    else:
        print(as_text(arguments.prefix, before, after))


def _delete(arguments: argparse.Namespace) -> None:
    prefix = arguments.prefix
    check_name("PREFIX", prefix)
    with Control(settings(arguments)) as control:
        found = plan_deletion(control, prefix)
        for name, reason in found.kept:
            print(f"kept: {name}, {reason}")
        if not found.streams:
            print(f"nothing to delete: 'partitions create' created no stream for {prefix}")
            return
        rows = [["stream", "messages", "bytes"]]
        rows += [[e.name, text.count(e.messages), text.size(e.bytes)] for e in found.streams]
        print(text.table(rows))
        if arguments.dry_run:
            _print_note(f"dry run, nothing was deleted: {_extent(found)}")
            return
        if not arguments.yes and not _confirmed(found):
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


def _print_note(note: str) -> None:
    print(f"nats-spark: {note}", file=sys.stderr)
