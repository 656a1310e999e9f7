"""The server of the comparative tests, in a container wherever an engine answers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .._support.admin import Admin
from .._support.containers import ServerUnderTest, running_server

_used = pytest.StashKey[ServerUnderTest]()


@pytest.fixture(scope="session")
def comparative_server(pytestconfig: pytest.Config) -> Iterator[ServerUnderTest]:
    """A server with JetStream that no other test uses; the summary of the run says which."""
    with running_server() as server:
        pytestconfig.stash[_used] = server
        yield server


@pytest.fixture
def comparative_admin(comparative_server: ServerUnderTest) -> Iterator[Admin]:
    """nats-py connected to the server of the comparative tests."""
    admin = Admin(comparative_server.url)
    yield admin
    admin.close()


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    if _used in config.stash:
        terminalreporter.write_line(f"comparative suite: {config.stash[_used]}")
