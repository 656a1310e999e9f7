"""The command ``nats-spark``.

Start with `main`, which reports errors as one line and an exit code; `app` has the list of
commands. Each command is a module with its arguments and its output. `arguments` has the options
that name the server, and `output` and `text` format tables, JSON and numbers.

The packages of the extra ``cli`` are only needed here, not on executors.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence

from ..errors import (
    CheckpointError,
    ConnectError,
    JetStreamUnavailableError,
    MissingPermissionError,
    NatsSparkError,
    OptionError,
    TimeoutExpiredError,
)

_FINDING, _WRONG_USAGE, _INTERRUPTED = 1, 2, 130

#: Errors of the arguments, or of a server that cannot be asked; the others are findings.
_NOT_ANSWERED = (
    OptionError,
    CheckpointError,
    ConnectError,
    TimeoutExpiredError,
    JetStreamUnavailableError,
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: the arguments; the default is those of the process.

    Returns the exit code: 0 success, 1 a finding or failure, 2 wrong arguments or no server, 130
    interrupted.
    """
    # Without a handler, Python prints warnings of the libraries into our output.
    for library in ("nats_spark_common", "nats", "asyncio"):
        logging.getLogger(library).addHandler(logging.NullHandler())
    try:
        import click
        import cryptography  # noqa: F401
        import rich  # noqa: F401
    except ImportError:
        return _report("install its packages: pip install 'nats-spark-common[cli]'", _WRONG_USAGE)
    from .app import app
    from .usage import usage_text

    try:
        code = app.main(
            args=None if argv is None else list(argv), prog_name="nats-spark", standalone_mode=False
        )
        sys.stdout.flush()
    except click.exceptions.NoArgsIsHelpError as error:
        print(error.format_message(), file=sys.stderr)
        return _WRONG_USAGE
    except click.UsageError as error:
        return _report(usage_text(error), _WRONG_USAGE)
    except NatsSparkError as error:
        return _report(error, _code(error))
    except (KeyboardInterrupt, click.Abort):
        return _report("interrupted", _INTERRUPTED)
    except BrokenPipeError:  # the reader of our output has closed the pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _FINDING
    return code if isinstance(code, int) else 0


def _code(error: NatsSparkError) -> int:
    if isinstance(error.__cause__, KeyboardInterrupt):
        return _INTERRUPTED
    if isinstance(error, MissingPermissionError):
        return _FINDING
    return _WRONG_USAGE if isinstance(error, _NOT_ANSWERED) else _FINDING


def _report(error: object, code: int) -> int:
    print(f"nats-spark: {' '.join(str(error).split())}", file=sys.stderr)
    return code
