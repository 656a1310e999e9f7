"""``nats-spark partitions``: make, look at and delete the streams of the partitioned flavor."""

from __future__ import annotations

import argparse
import json
import sys
import textwrap
import time
from typing import Any

from ..errors import OptionError
from ..jetstream.control import Control
from ..partitions.create import Survey, make, survey
from ..partitions.delete import Removal, removal, remove
from ..partitions.look import look, look_again
from ..partitions.plan import MOST_PARTITIONS, PartitionSet, check_name, key_text, key_words, plan
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
Make the streams that the format nats-partitioned reads: an ingest stream that takes one subject,
and N partitions, PREFIX-0 to PREFIX-(N-1), over which the hash of the key divides its messages. A
key is always in the same partition, in the order in which it was published, under its own subject.
Run again, it makes what is missing. What exists is never changed.

The ingest stream keeps its own copy of every message, without limit unless --ingest-max-age says
otherwise. That is the safe default: a partition that is away for longer than the ingest stream
keeps messages loses those that it has not taken yet."""

_SHOW = """\
Show the partitions PREFIX-0, PREFIX-1, ..., made by 'create' or by hand: how full each is, how fast
it grows, how far it lags behind the ingest stream, and how evenly they are used. Rates are those
between two looks at the streams."""

_DELETE = """\
Delete the streams that 'create' made for PREFIX, with all their messages. They are known by their
metadata; others are left alone, whatever their names. Nothing to delete is no error."""


def add_arguments(groups: Subparsers[Parser]) -> None:
    """Add the group ``partitions`` and its subcommands."""
    group = groups.add_parser("partitions", help="streams of the format nats-partitioned")
    commands = group.add_subparsers(metavar="COMMAND", required=True)

    create = _command(commands, "create", _create, "make a partitioned set of streams", _CREATE)
    create.add_argument(
        "--subject", required=True, help="what to divide, a pattern such as 'orders.*.>'"
    )
    create.add_argument(
        "--partitions",
        required=True,
        type=int,
        metavar="N",
        help=f"how many, from 1 to {MOST_PARTITIONS}",
    )
    create.add_argument(
        "--key",
        metavar="1[,2]",
        help="wildcards * of the subject that make the key, counted from 1, or the word subject "
        "for the whole subject (server 2.12); default: all *, without any the whole subject",
    )
    create.add_argument("--storage", choices=("file", "memory"), default="file")
    create.add_argument(
        "--replicas", type=int, choices=range(1, 6), default=1, metavar="1-5", help="default 1"
    )
    create.add_argument(
        "--max-age",
        type=positive_duration,
        metavar="AGE",
        help="how long a partition keeps a message, 7d for example (default: no limit)",
    )
    create.add_argument(
        "--max-bytes",
        type=positive_size,
        metavar="SIZE",
        help="how much a partition keeps, 10GiB for example (default: no limit)",
    )
    create.add_argument(
        "--ingest", metavar="NAME", help="name of the ingest stream (default PREFIX-ingest)"
    )
    create.add_argument(
        "--ingest-max-age",
        type=positive_duration,
        metavar="AGE",
        help="how long the ingest stream keeps a message, the longest that a partition may be "
        "away (default: no limit)",
    )
    create.add_argument(
        "--dry-run",
        action="store_true",
        help="print the configurations of the streams to make, as JSON, and make nothing",
    )

    show = _command(commands, "show", _show, "show how the partitions are used", _SHOW)
    show.add_argument(
        "--interval",
        type=duration,
        default=1.0,
        metavar="TIME",
        help="between the two looks that give the rates (default 1s); 0: one look, no rates",
    )
    show.add_argument("--json", action="store_true", help="for machines")

    delete = _command(commands, "delete", _delete, "delete a set that 'create' made", _DELETE)
    delete.add_argument("--yes", action="store_true", help="do not ask")
    delete.add_argument("--dry-run", action="store_true", help="list, and delete nothing")


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
    parser.add_argument("prefix", metavar="PREFIX", help="of the streams PREFIX-0, PREFIX-1, ...")
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
            _note(
                f"dry run, nothing was made: {text.plural(len(found.missing), 'stream')} to make"
                + (f", {len(found.existing)} exist" if found.existing else "")
            )
            return
        make(control, found.missing)
    print(_created(wanted, found))


def _created(wanted: PartitionSet, found: Survey) -> str:
    made = [config["name"] for config in found.missing]
    lines = []
    if made:
        lines.append(f"made     {abbreviate(wanted.prefix, made)}")
    if found.existing:
        lines.append(f"existed  {abbreviate(wanted.prefix, found.existing)}")
    if found.gone and made:
        lines.append(
            f"{wanted.ingest} has removed its first {text.plural(found.gone, 'message')}: what was "
            "made now does not have them"
        )
    if wanted.ingest_max_age is None:
        keeps = (
            "without limit: no partition can miss one, however long it is away, and the space it "
            "takes grows; --ingest-max-age bounds it"
        )
    else:
        keeps = (
            f"for {text.duration(wanted.ingest_max_age)}: a partition that is away for longer "
            "misses what is removed meanwhile"
        )
    how = f"by {key_words(key_text(wanted.key))}" if wanted.count > 1 else "undivided"
    paragraph = (
        f"Every message is stored twice, in its partition and in {wanted.ingest}, which keeps it "
        f"{keeps}."
    )
    return "\n".join(
        [
            *lines,
            "",
            f"{wanted.subject} -> {text.plural(wanted.count, 'partition')}, {how}. Producers "
            "publish to it as ever.",
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
        before = after = look(control, arguments.prefix)
        if arguments.interval:
            time.sleep(arguments.interval)
            after = look_again(control, before)
    if arguments.json:
        print(json.dumps(as_json(arguments.prefix, before, after), indent=2))
    else:
        print(as_text(arguments.prefix, before, after))


def _delete(arguments: argparse.Namespace) -> None:
    prefix = arguments.prefix
    check_name("PREFIX", prefix)
    with Control(settings(arguments)) as control:
        found = removal(control, prefix)
        for name, reason in found.left:
            print(f"left alone: {name}, {reason}")
        if not found.streams:
            print(f"nothing to delete: no stream was made for {prefix} by 'partitions create'")
            return
        rows = [["stream", "messages", "bytes"]]
        rows += [[e.name, text.count(e.messages), text.size(e.bytes)] for e in found.streams]
        print(text.table(rows))
        if arguments.dry_run:
            _note(f"dry run, nothing was deleted: {_extent(found)}")
            return
        if not arguments.yes and not _agreed(found):
            print("nothing was deleted")
            return
        remove(control, found.streams)
    print(f"deleted {_extent(found)}")


def _extent(found: Removal) -> str:
    streams = text.plural(len(found.streams), "stream")
    return f"{streams} with {text.plural(found.messages, 'message')}"


def _agreed(found: Removal) -> bool:
    if not sys.stdin.isatty():
        raise OptionError(
            f"--yes is needed to delete {_extent(found)} where nobody can be asked; nothing was "
            "deleted"
        )
    try:
        answer = input(f"Delete {_extent(found)}? They cannot be restored. [y/N] ")
    except EOFError:
        return False
    return answer.strip().lower() in ("y", "yes")


def _note(words: str) -> None:
    print(f"nats-spark: {words}", file=sys.stderr)
