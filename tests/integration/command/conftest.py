"""``nats-spark`` in this process."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

import pytest

from nats_spark_common.cli import main
from nats_spark_common.embedded import EmbeddedServer

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def command(
    nats_server: EmbeddedServer,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Command:
    """Run ``nats-spark``; return exit code, stdout and stderr."""
    monkeypatch.setattr("sys.stdin", io.StringIO())  # no terminal

    def command(*arguments: str, url: str | None = nats_server.url) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main([*arguments, *(["--url", url] if url else [])])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return command


@pytest.fixture
def as_json(command: Command) -> Callable[..., Any]:
    """Run a command with ``--json`` that must end with ``code``; return what it prints."""

    def as_json(*arguments: str, code: int = 0, **where: Any) -> Any:
        got, out, err = command(*arguments, "--json", **where)
        assert (got, err) == (code, ""), err or out
        return json.loads(out)

    return as_json
