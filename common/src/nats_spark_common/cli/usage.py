"""Errors of the arguments, as one line."""

from __future__ import annotations

import click


def usage_text(error: click.UsageError) -> str:
    """Return an error of the arguments as one line that names the argument and the help.

    A word that is no option may be a secret whose option is missing, so it is not repeated.
    """
    path = error.ctx.command_path if error.ctx else "nats-spark"
    return f"{_reason(error).rstrip('.')}; see {path} --help"


def _reason(error: click.UsageError) -> str:
    if isinstance(error, click.NoSuchOption):
        near = ", ".join(sorted(error.possibilities or ()))
        return f"unknown option {error.option_name}" + (f"; did you mean {near}?" if near else "")
    if isinstance(error, click.MissingParameter):
        return error.format_message()
    if isinstance(error, click.BadParameter) and error.param is not None:
        name = error.param.opts[0] if error.param.opts else ""
        if isinstance(error.param, click.Argument):
            name = error.param.make_metavar(error.ctx) if error.ctx else name.upper()
        return f"{name}: {error.message}"
    if error.message.startswith("Got unexpected extra argument"):
        return "too many arguments"
    return error.format_message()
