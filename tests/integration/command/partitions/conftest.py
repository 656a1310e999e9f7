"""``nats-spark partitions`` in this process, and accounts that may not do everything."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator

import pytest

from nats_spark_common.cli import main
from nats_spark_common.embedded import EmbeddedServer

from ...._support.admin import Admin
from ...._support.partitions_command import Run, as_user

# Account C: one user may do everything, another may not create or delete certain streams.
# Account LIMITED can have two streams, account NONE has no JetStream.
ACCOUNTS = """
accounts {
  C: {
    jetstream: enabled
    users: [
      { user: all, password: pw }
      { user: some, password: pw, permissions: { publish: { deny: [
        "$JS.API.STREAM.CREATE.HALF-1", "$JS.API.STREAM.CREATE.FULL-1",
        "$JS.API.STREAM.CREATE.DIES-1", "$JS.API.STREAM.DELETE.KEEP-1",
        "$JS.API.STREAM.CREATE.DENY-1", "$JS.API.STREAM.DELETE.DENY-0" ] } } }
    ]
  }
  LIMITED: { jetstream: { max_streams: 2 }, users: [ { user: limited, password: pw } ] }
  NONE: { users: [ { user: none, password: pw } ] }
}
"""


@pytest.fixture
def run(
    nats_server: EmbeddedServer,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Run:
    """Run ``nats-spark partitions`` in this process; return exit code, stdout and stderr."""
    monkeypatch.setattr("sys.stdin", io.StringIO())  # no terminal

    def run(*arguments: str, url: str = nats_server.url) -> tuple[int, str, str]:
        code = main(["partitions", *arguments, "-s", url])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.fixture
def fails(run: Run) -> Callable[..., str]:
    """Run a command that must fail; return its one line of error."""

    def fails(*arguments: str, code: int = 1, **where: str) -> str:
        got, out, err = run(*arguments, **where)
        assert (got, out) == (code, "")
        assert err.startswith("nats-spark: ")
        assert err.count("\n") == 1, err
        return err

    return fails


@pytest.fixture(scope="module")
def accounts() -> Iterator[EmbeddedServer]:
    with EmbeddedServer(ACCOUNTS) as server:
        yield server


@pytest.fixture
def account_admin(accounts: EmbeddedServer) -> Iterator[Admin]:
    """Connect nats-py as the user who may do everything."""
    admin = Admin(as_user(accounts, "all"))
    yield admin
    admin.close()
