"""Arguments: one way to say what is wrong with them, and those by which a server is reached."""

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
    """An argument parser that raises ``OptionError``, and takes no abbreviations of options."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"allow_abbrev": False, **kwargs})

    def error(self, message: str) -> NoReturn:
        raise OptionError(f"{message}; see {self.prog} --help")

    def parse(self, arguments: Sequence[str] | None) -> argparse.Namespace:
        """The parsed arguments, by default those of the process. Raises ``OptionError``."""
        parsed, others = self.parse_known_args(arguments)
        if others:
            # What is no option may be a secret that lost its option: it is not repeated.
            unknown = next((each for each in others if each.startswith("-")), None)
            what = f"there is no option {unknown.split('=')[0]}" if unknown else "too many words"
            raise OptionError(f"{what}; see {parsed.prog} --help")
        return parsed


def add_connection_arguments(parser: argparse.ArgumentParser) -> None:
    """The options that name the server; `settings` reads them."""
    group = parser.add_argument_group(
        "connection", "beneath these, the environment (NATS_URL, ...) and the context count"
    )
    group.add_argument(
        "-s", "--server", metavar="URL[,URL]", help="servers (default nats://localhost:4222)"
    )
    group.add_argument("--context", metavar="NAME", help="context of the nats command line")
    group.add_argument(
        "-o",
        "--option",
        metavar="nats.x=y",
        action="append",
        default=[],
        help="any connection option, such as nats.credential.file=app.creds; may be repeated",
    )


def settings(arguments: argparse.Namespace) -> NatsSettings:
    """The settings that the connection arguments, and the layers beneath them, make.

    Raises ``OptionError``; it never repeats a value that may be a secret.
    """
    options: dict[str, str] = {}
    for number, text in enumerate(arguments.option, 1):
        name, equals, value = text.partition("=")
        name = name.strip()
        if not equals:
            raise OptionError(f"-o number {number} has no =: write -o nats.user=me, for example")
        if not name.lower().startswith("nats."):
            raise OptionError(f"-o {name}: options begin with nats.")
        if canonical(name) in map(canonical, options):
            raise OptionError(f"-o {name} is given twice")
        options[name] = value
    for option, flag in (("nats.url", "server"), ("nats.context", "context")):
        given = getattr(arguments, flag)
        if given is not None:
            if option in map(canonical, options):
                raise OptionError(f"--{flag} and -o {option} are the same: give one of them")
            options[option] = given
    return NatsSettings.from_options(options)


def duration(text: str) -> float:
    """Seconds, for argparse."""
    return _converted(parse_duration, text)


def positive_duration(text: str) -> float:
    """Seconds above 0, for argparse."""
    seconds = _converted(parse_duration, text)
    if seconds <= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not above 0; leave it out for no limit")
    return seconds


def positive_size(text: str) -> int:
    """Bytes above 0, for argparse."""
    size = _converted(parse_size, text)
    if size <= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not above 0; leave it out for no limit")
    return size


def _converted(parse: Callable[[Any], _T], text: str) -> _T:
    try:
        return parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r}: expected {error}") from None
