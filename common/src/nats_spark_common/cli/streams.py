"""``nats-spark streams``: the streams of the account."""

from __future__ import annotations

import fnmatch
import time
from typing import Any

import click

from ..jetstream.control import Control
from . import text
from .arguments import Where, interval_option, json_option, names_server
from .output import print_json, print_note, print_table


@click.command(short_help="List streams.")
@click.argument("pattern", default="*", required=False)
@interval_option
@json_option
@names_server
def streams(pattern: str, interval: float, as_json: bool, where: Where) -> None:
    """List the streams, or those whose name matches PATTERN, such as 'ORDERS-*'."""
    with Control(where.settings()) as control:
        before, started = _list(control, pattern), time.monotonic()
        after = before
        if interval:
            time.sleep(interval)
            after = _list(control, pattern)
        seconds = time.monotonic() - started if interval else 0.0
    known = {info["config"]["name"]: info for info in before}
    found = [_figures(info, known.get(info["config"]["name"]), seconds) for info in after]
    if as_json:
        print_json(found)
        return
    if not found:
        print_note("the account has no stream" + (f" {pattern}" if pattern != "*" else ""))
        return
    columns = ["stream", "subjects", "retention", "direct", "messages", "bytes", "first", "last"]
    print_table([*columns, "messages/s"], [_row(each) for each in found], left=4)


def _list(control: Control, pattern: str) -> list[dict[str, Any]]:
    infos = control.pages("STREAM.LIST", "streams")
    return sorted(
        (each for each in infos if fnmatch.fnmatchcase(each["config"]["name"], pattern)),
        key=lambda each: str(each["config"]["name"]),
    )


def _figures(info: dict[str, Any], before: dict[str, Any] | None, seconds: float) -> dict[str, Any]:
    config, state = info["config"], info["state"]
    rate = None
    if before is not None and seconds and before["created"] == info["created"]:
        rate = round((state["last_seq"] - before["state"]["last_seq"]) / seconds, 1)
    return {
        "stream": config["name"],
        "subjects": config.get("subjects") or [],
        "sources": [each["name"] for each in _sources(config)],
        "retention": config.get("retention", "limits"),
        "direct": bool(config.get("allow_direct")),
        "messages": state["messages"],
        "bytes": state["bytes"],
        "firstSeq": state["first_seq"],
        "lastSeq": state["last_seq"],
        "messagesPerSecond": rate,
    }


def _sources(config: dict[str, Any]) -> list[dict[str, Any]]:
    mirror = [config["mirror"]] if config.get("mirror") else []
    return [*mirror, *(config.get("sources") or [])]


def _row(each: dict[str, Any]) -> list[str]:
    taken = ", ".join(each["subjects"]) or "of " + ", ".join(each["sources"])
    return [
        each["stream"],
        taken,
        each["retention"],
        "yes" if each["direct"] else "no",
        text.count(each["messages"]),
        text.size(each["bytes"]),
        text.count(each["firstSeq"]),
        text.count(each["lastSeq"]),
        text.count(each["messagesPerSecond"]),
    ]
