"""``nats-spark doctor``: checks the set-up of a query before it is started."""

from __future__ import annotations

from collections.abc import Iterator

import click
from rich.text import Text

from ..diagnose.environment import judge_environment
from ..diagnose.examine import Examination
from ..diagnose.finding import Finding, Severity
from ..errors import OptionError
from ..options.settings import NatsSettings
from . import text
from .arguments import Where, json_option, names_server
from .output import console, print_json

_MARKS = {
    Severity.ERROR: ("error", "bold red"),
    Severity.WARNING: ("warning", "yellow"),
    Severity.INFO: ("info", "cyan"),
    Severity.OK: ("ok", "green"),
}


@click.command(short_help="Check the set-up of a query.")
@click.option("--stream", metavar="S[,S]", help="Streams that the query reads or writes.")
@click.option("--pattern", metavar="P", help="Pattern of the names of the streams it reads.")
@click.option("--durable", metavar="D", help="Durable consumer of a balanced query.")
@click.option(
    "--flavor",
    type=click.Choice(["v2", "balanced", "partitioned"]),
    help="How the query reads. Default: balanced with --durable, else v2.",
)
@click.option("--sink", is_flag=True, help="Check for writing instead of reading.")
@click.option(
    "--master",
    metavar="URL",
    help="A cluster's spark.master: also compare the executors' Python and packages.",
)
@json_option
@names_server
def doctor(
    stream: str | None,
    pattern: str | None,
    durable: str | None,
    flavor: str | None,
    sink: bool,
    master: str | None,
    as_json: bool,
    where: Where,
) -> int:
    """Check servers, streams, consumers, permissions, credentials and interpreters.

    Connects as a query with the same options would. Nothing is changed. The exit code is 1 if
    there is a warning or an error.
    """
    given = {
        "nats.stream.name": stream,
        "nats.stream.pattern": pattern,
        "nats.durable.name": durable,
    }
    options = {name: value for name, value in given.items() if value is not None}
    reads = None
    if not sink:
        named = where.settings(options).durable_name
        reads = flavor or ("balanced" if named else "v2")
        if reads == "balanced" and not named:
            raise OptionError("--flavor balanced needs the consumer: add --durable")
    settings = where.settings(options, flavor=reads)
    if as_json:
        found = list(_findings(settings, reads, sink, master))
        print_json([each.to_json() for each in found])
    else:
        found = []
        for each in _findings(settings, reads, sink, master):
            found.append(each)
            _print(each)
        print(f"\n{_summary(found)}")
    return 1 if any(each.bad for each in found) else 0


def _findings(
    settings: NatsSettings, flavor: str | None, sink: bool, master: str | None
) -> Iterator[Finding]:
    yield from judge_environment()
    yield from Examination(settings, flavor, sink).findings()
    if master:
        from ..diagnose.executors import judge_executors

        yield from judge_executors(master)


def _print(each: Finding) -> None:
    mark, style = _MARKS[each.severity]
    line = Text(f"{mark:<8}", style=style)
    line.append(f"{each.subject}: {each.fact}", style="")
    console().print(line)
    if each.remedy:
        console().print(Text(f"        -> {each.remedy}"))


def _summary(found: list[Finding]) -> str:
    errors = sum(each.severity is Severity.ERROR for each in found)
    warnings = sum(each.severity is Severity.WARNING for each in found)
    if not errors and not warnings:
        return f"{text.plural(len(found), 'check')}, nothing to do"
    return f"{text.plural(errors, 'error')}, {text.plural(warnings, 'warning')}"
