"""The command ``nats-spark``.

Start with `main`, which reports errors as one line and an exit code. Each group of subcommands is a
module that adds its arguments (``add_arguments``) and names the function that runs each:
`partitions`, whose output `partitions_text` formats. `parser` has the connection arguments, and
`text` formats numbers and tables.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Sequence

from ..errors import NatsSparkError, OptionError
from . import partitions
from .parser import Parser

_FAILED, _WRONG_USAGE, _INTERRUPTED = 1, 2, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: the arguments; the default is those of the process.

    Returns the exit code: 0 success, 1 failure, 2 wrong arguments or options, 130 interrupted.
    """
    # Without a handler, Python prints warnings of the libraries into our output.
    for library in ("nats_spark_common", "nats", "asyncio"):
        logging.getLogger(library).addHandler(logging.NullHandler())
    try:
        arguments = _parser().parse(argv)
        run: Callable[..., None] = arguments.run
        run(arguments)
        sys.stdout.flush()
    except OptionError as error:
        return _report(error, _WRONG_USAGE)
    except NatsSparkError as error:
        interrupted = isinstance(error.__cause__, KeyboardInterrupt)
        return _report(error, _INTERRUPTED if interrupted else _FAILED)
    except KeyboardInterrupt:
        return _report("interrupted", _INTERRUPTED)
    except BrokenPipeError:  # the reader of our output has closed the pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _FAILED
    return 0


def _parser() -> Parser:
    parser = Parser(prog="nats-spark", description="Tools for NATS JetStream and Apache Spark.")
    groups = parser.add_subparsers(metavar="COMMAND", required=True)
    partitions.add_arguments(groups)
    return parser


def _report(error: object, code: int) -> int:
    print(f"nats-spark: {' '.join(str(error).split())}", file=sys.stderr)
    return code
