"""The options that name the server, and the types of other options."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ..errors import OptionError
from ..options.durations import parse_wait
from ..options.names import canonical
from ..options.settings import NatsSettings
from ..options.types import parse_size

_F = TypeVar("_F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Where:
    """The server, as the command line names it."""

    url: str | None
    context: str | None
    option: tuple[str, ...]

    def settings(
        self, more: Mapping[str, str] | None = None, flavor: str | None = None
    ) -> NatsSettings:
        """Return the settings from the arguments, the environment and the context.

        Args:
            more: options that the command itself sets.
            flavor: the flavor whose defaults are used.

        Raises ``OptionError``, whose message never contains a value that may be a secret.
        """
        return NatsSettings.from_options({**self._options(), **(more or {})}, flavor=flavor)

    def _options(self) -> dict[str, str]:
        options: dict[str, str] = {}
        for number, text in enumerate(self.option, 1):
            name, equals, value = text.partition("=")
            name = name.strip()
            if not equals:
                raise OptionError(f"-o number {number} has no =: use the form -o nats.user=me")
            if not name.lower().startswith("nats."):
                raise OptionError(f"-o {name} is not an option: use a name that begins with nats.")
            if canonical(name) in map(canonical, options):
                raise OptionError(f"-o {name} is given twice: give it once")
            options[name] = value
        for option, flag, given in (
            ("nats.url", "url", self.url),
            ("nats.context", "context", self.context),
        ):
            if given is None:
                continue
            if option in map(canonical, options):
                raise OptionError(f"--{flag} and -o {option} set the same option: use one of them")
            options[option] = given
        return options


def names_server(command: _F) -> _F:
    """Add the options that name the server; the command receives them as ``where``."""

    @click.option(
        "--url",
        "-s",
        "--server",
        "url",
        metavar="URL[,URL]",
        help="Servers. Default: nats://localhost:4222, or the environment's NATS_URL.",
    )
    @click.option("--context", metavar="NAME", help="Context of the nats CLI (nats.context).")
    @click.option(
        "-o",
        "--option",
        "option",
        metavar="nats.x=y",
        multiple=True,
        help="Any option of the connectors, such as nats.credential.file=app.creds. Can be "
        "repeated. Overrides the environment (NATS_...), which overrides the context.",
    )
    @functools.wraps(command)
    def run(*args: Any, url: str | None, context: str | None, option: Any, **others: Any) -> Any:
        return command(*args, where=Where(url, context, tuple(option)), **others)

    return run  # type: ignore[return-value]


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


if TYPE_CHECKING:
    _ParamType = click.ParamType[Any]
else:
    _ParamType = click.ParamType  # generic from click 8.4 on


class _Converted(_ParamType):
    """A type of option values that a function of `options` parses."""

    def __init__(self, name: str, parse: Callable[[Any], Any], positive: bool) -> None:
        self.name = name
        self._parse = parse
        self._positive = positive

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        try:
            found = self._parse(value)
        except ValueError as error:
            self.fail(f"{value!r}: expected {error}", param, ctx)
        if self._positive and found <= 0:
            self.fail(f"{value!r} is not greater than 0", param, ctx)
        return found


DURATION = _Converted("duration", parse_wait, positive=False)
POSITIVE_DURATION = _Converted("duration", parse_wait, positive=True)
POSITIVE_SIZE = _Converted("size", parse_size, positive=True)

interval_option = click.option(
    "--interval",
    type=DURATION,
    default="1s",
    show_default=True,
    metavar="TIME",
    help="Time between the two reads that give the rate. 0: one read, no rate.",
)
replicas_option = click.option(
    "--replicas",
    type=click.IntRange(1, 5),
    default=1,
    show_default=True,
    help="Replicas of each stream.",
)
