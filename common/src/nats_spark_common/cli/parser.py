"""The argument parser, its errors, and the arguments that name the server."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Any, NoReturn, TypeVar

from ..errors import OptionError
from ..options.durations import parse_duration
from ..options.names import canonical
from ..options.settings import NatsSettings
from ..options.types import parse_size

_T = TypeVar("_T")
Subparsers = argparse._SubParsersAction  # argparse gives it no public name


class Parser(argparse.ArgumentParser):
    """An argument parser that raises ``OptionError`` and accepts no abbreviated options."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"allow_abbrev": False, **kwargs})

    def error(self, message: str) -> NoReturn:
        raise OptionError(f"{message}; see {self.prog} --help")

    def parse(self, arguments: Sequence[str] | None) -> argparse.Namespace:
        """Parse the arguments, by default those of the process. Raises ``OptionError``."""
        parsed, others = self.parse_known_args(arguments)
        if others:
            # A word that is no option may be a secret whose option is missing: do not print it.
            unknown = next((each for each in others if each.startswith("-")), None)
            what = f"unknown option {unknown.split('=')[0]}" if unknown else "too many arguments"
            raise OptionError(f"{what}; see {parsed.prog} --help")
        return parsed


def add_connection_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that name the server; `settings` reads them."""
    group = parser.add_argument_group(
        "connection", "these override the environment (NATS_URL, ...), which overrides the context"
    )
    group.add_argument(
        "-s", "--server", metavar="URL[,URL]", help="servers (default nats://localhost:4222)"
    )
    group.add_argument("--context", metavar="NAME", help="nats CLI context (nats.context)")
    group.add_argument(
        "-o",
        "--option",
        metavar="nats.x=y",
        action="append",
        default=[],
        help="any connection option, such as nats.credential.file=app.creds; can be repeated",
    )


def settings(arguments: argparse.Namespace) -> NatsSettings:
    """Return the settings from the connection arguments, the environment and the context.

    Raises ``OptionError``, whose message never contains a value that may be a secret.
    """
    options: dict[str, str] = {}
    for number, text in enumerate(arguments.option, 1):
        name, equals, value = text.partition("=")
        name = name.strip()
        if not equals:
            raise OptionError(f"-o number {number} has no =: use the form -o nats.user=me")
        if not name.lower().startswith("nats."):
            raise OptionError(f"-o {name} is not an option: use a name that begins with nats.")
        if canonical(name) in map(canonical, options):
            raise OptionError(f"-o {name} is given twice: give it once")
        options[name] = value
    for option, flag in (("nats.url", "server"), ("nats.context", "context")):
        given = getattr(arguments, flag)
        if given is not None:
            if option in map(canonical, options):
                raise OptionError(f"--{flag} and -o {option} set the same option: use one of them")
            options[option] = given
    return NatsSettings.from_options(options)


def duration(text: str) -> float:
    """Return seconds, for argparse."""
    return _converted(parse_duration, text)


def positive_duration(text: str) -> float:
    """Return seconds above 0, for argparse."""
    seconds = _converted(parse_duration, text)
    if seconds <= 0:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not greater than 0; omit the option for no limit"
        )
    return seconds


def positive_size(text: str) -> int:
    """Return bytes above 0, for argparse."""
    size = _converted(parse_size, text)
    if size <= 0:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not greater than 0; omit the option for no limit"
        )
    return size


def _converted(parse: Callable[[Any], _T], text: str) -> _T:
    try:
        return parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r}: expected {error}") from None
