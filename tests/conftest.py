"""Real servers and a real Spark, shared by the tests of a run."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from pyspark.sql import SparkSession

from nats_spark_common import embedded
from nats_spark_common.embedded import EmbeddedServer

from ._support import old_server
from ._support.admin import Admin
from ._support.spark import local_spark
from ._support.tables import Table

NEW = "nats-2.15"
#: A nats-server that takes the place of the current one, for `scripts/test-matrix`.
NAMED = os.environ.get("NATS_SPARK_SERVER")
OLD = f"nats-{old_server.VERSION}"

if NAMED:
    embedded.find_binary = lambda: Path(NAMED)

# How long an example takes is the machine's affair, and no test's.
settings.register_profile("without deadlines", deadline=None)
settings.load_profile("without deadlines")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Slow tests first in the share of each process, so that all end at about the same time."""
    processes = getattr(config, "workerinput", {}).get("workercount", 1)
    slow = [item for item in items if item.get_closest_marker("slow")]
    quick = [item for item in items if not item.get_closest_marker("slow")]
    modules = list(dict.fromkeys(item.path for item in slow))  # their tests share servers
    bounds = [len(quick) * i // processes for i in range(processes + 1)]
    items[:] = [
        item
        for i in range(processes)
        for item in (
            *(each for each in slow if modules.index(each.path) % processes == i),
            *quick[bounds[i] : bounds[i + 1]],
        )
    ]


@pytest.fixture(scope="session", autouse=True)
def _no_settings_of_the_user() -> None:
    """What a developer's shell says of NATS is not for the tests."""
    for name in [name for name in os.environ if name.startswith("NATS_")]:
        if not name.startswith("NATS_SPARK_"):
            del os.environ[name]


@pytest.fixture(scope="session")
def nats_server() -> Iterator[EmbeddedServer]:
    """The current nats-server, with its monitoring port open for statistics."""
    with EmbeddedServer() as server:
        yield server


@pytest.fixture(scope="session")
def old_nats_server() -> Iterator[EmbeddedServer]:
    """nats-server 2.9.10: no direct get batches, no several filters of a consumer."""
    try:
        binary = old_server.find()
    except old_server.NotAvailableError as error:
        pytest.skip(f"no nats-server {old_server.VERSION} here: {error}")
    with EmbeddedServer(binary=binary) as server:
        yield server


@pytest.fixture(params=[NEW, OLD])
def server(request: pytest.FixtureRequest) -> EmbeddedServer:
    """Both servers in turn: what holds for one way of reading must hold for the other."""
    name = "nats_server" if request.param == NEW else "old_nats_server"
    found: EmbeddedServer = request.getfixturevalue(name)
    return found


@pytest.fixture(params=["auto", "consumer"])
def via(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways of reading: by itself, a short range of a new server is read with direct gets."""
    monkeypatch.setenv("NATS_READ_VIA", request.param)


@pytest.fixture
def admin(nats_server: EmbeddedServer) -> Iterator[Admin]:
    """nats-py connected to the current server."""
    admin = Admin(nats_server.url)
    yield admin
    admin.close()


@pytest.fixture
def server_admin(server: EmbeddedServer) -> Iterator[Admin]:
    """nats-py connected to whichever server the test runs against."""
    admin = Admin(server.url)
    yield admin
    admin.close()


@pytest.fixture
def stream() -> str:
    """A stream name that no other test uses."""
    return f"S{uuid.uuid4().hex[:12]}"


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    """A local session with two cores whose workers run this Python."""
    folder = tmp_path_factory.mktemp("spark")
    session = local_spark(folder)
    yield session
    session.stop()


@pytest.fixture
def table(tmp_path: Path) -> Table:
    """What a streaming query is to write, and its checkpoint."""
    return Table(tmp_path)
