"""``nats-spark peek``: rows of a stream, as Spark would see them."""

from __future__ import annotations

import base64
from collections.abc import Generator
from contextlib import closing
from datetime import datetime
from itertools import islice
from typing import Any

import click
from rich.text import Text

from ..jetstream.control import Control
from ..options.settings import NatsSettings
from ..planning import way
from ..replay.range_partition import RangePartition, read_partition
from ..replay.stream_states import start_sequence
from ..rows.schema import SCHEMA, Projection
from . import text
from .arguments import Where, json_option, names_server
from .output import console, print_json, print_note

#: Bytes of a payload that are shown as text.
_SHOWN = 4096


@click.command()
@click.argument("stream", metavar="STREAM")
@click.option(
    "-n", "count", type=click.IntRange(min=1), default=10, show_default=True, help="Rows to show."
)
@click.option(
    "--start",
    default="earliest",
    show_default=True,
    metavar="POSITION",
    help="First message, as in nats.start: earliest, a sequence, an RFC 3339 time, or -1h.",
)
@click.option(
    "--subject",
    "subjects",
    multiple=True,
    metavar="SUBJECT",
    help="Only messages of this subject, which may have wildcards; can be repeated.",
)
@json_option
@names_server
def peek(
    stream: str,
    count: int,
    start: str,
    subjects: tuple[str, ...],
    as_json: bool,
    where: Where,
) -> None:
    """Show rows of a stream, as Spark would see them.

    Payloads are decompressed if -o nats.payload.compression says how.
    """
    given = {
        "nats.stream.name": stream,
        "nats.start": start,
        "nats.fetch.messages": str(count),  # not a hundred thousand of them for a few rows
    }
    if subjects:
        given["nats.stream.subjects"] = ",".join(subjects)
    settings = where.settings(given)
    with closing(_rows(settings, stream)) as rows:
        found = list(islice(rows, count))
    if as_json:
        print_json([_json(each) for each in found])
        return
    for each in found:
        _print(each)
    if not found:
        print_note("no message")


def _rows(settings: NatsSettings, stream: str) -> Generator[dict[str, Any], None, None]:
    with Control(settings) as control:
        info = control.stream_info(stream)
        first = start_sequence(settings, control, info)
        filters, last, version = settings.stream_subjects, info.last_seq, control.server_version
        span = way.plan_range(settings, info, first, last, filters, version)
    if not len(span):
        return
    partition = RangePartition((span,))
    for batch in read_partition(settings, Projection(SCHEMA), partition):
        yield from batch.to_pylist()


def _json(row: dict[str, Any]) -> dict[str, Any]:
    content = row["content"]
    shown = {k: v for k, v in row.items() if v is not None and k != "content"}
    if isinstance(shown.get("headers"), list):
        shown["headers"] = dict(shown["headers"])
    if isinstance(shown.get("timestamp"), datetime):
        shown["timestamp"] = shown["timestamp"].isoformat()
    try:
        return {**shown, "content": None if content is None else content.decode()}
    except UnicodeDecodeError:
        return {**shown, "contentBase64": base64.b64encode(content).decode()}


def _print(row: dict[str, Any]) -> None:
    content = row["content"]
    size = "no payload" if content is None else text.size(len(content))
    where = f"{row['stream']} {row['streamSeq']:,}  {_plain(row['subject'])}"
    console().print(Text(f"{where}  {row['timestamp']}  {size}", style="bold"))
    for name, values in row["headers"] or ():
        for value in values:
            console().print(Text(f"  {_plain(name)}: {_plain(value)}", style="cyan"))
    if content:
        console().print(Text(f"  {_payload(content)}"))


def _plain(text: str) -> str:
    """Return text whose control characters, which would change the terminal, are replaced."""
    return "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in text)


def _payload(content: bytes) -> str:
    shown = content[:_SHOWN]
    more = f" ... {text.size(len(content) - _SHOWN)} more" if len(content) > _SHOWN else ""
    try:
        # Tabs and line breaks are the only harmless control characters.
        decoded = shown.decode() if not more else shown.decode(errors="ignore")
        plain = decoded.replace("\r", "").replace("\n", "\n  ")
        if all(each.isprintable() or each in "\t\n" for each in plain):
            return plain + more
    except UnicodeDecodeError:
        pass
    return shown[:64].hex(" ") + (" ..." if len(content) > 64 else "")
