"""A stream and its consumer change servers under a sink and two queries.

Each row is stored once, read once by each query and acknowledged, and all of them go on after each
change.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from nats_spark_common.embedded import EmbeddedServer

from .._support.admin import Admin, wait_until
from .._support.cluster import cluster
from .._support.consuming import DURABLE
from .._support.working import working
from .._support.writing import WAYS, make_stream

#: Only a user of the system account may remove a server from the cluster.
ACCOUNTS = """
    accounts {
        $SYS { users: [ { user: system, password: pw } ] }
        APP { jetstream: enabled, users: [ { user: app, password: pw } ] }
    }
    no_auth_user: app
"""


@pytest.fixture(scope="module")
def servers() -> Iterator[list[EmbeddedServer]]:
    with cluster(4, ACCOUNTS) as servers:
        yield servers


@pytest.fixture
def url(servers: list[EmbeddedServer]) -> str:
    return ",".join(each.url for each in servers)


@pytest.fixture
def admin(servers: list[EmbeddedServer]) -> Iterator[Admin]:
    with closing(Admin([each.url for each in servers])) as admin:
        yield admin


def placed(
    admin: Admin, stream: str, replicas: int, on: str | None = None
) -> dict[str, Any] | None:
    """Return where the stream is, if it has so many replicas, all up to date, and one on ``on``."""
    try:
        cluster = admin.api(f"STREAM.INFO.{stream}").get("cluster", {})
    except Exception:  # no leader at the moment
        return None
    others = cluster.get("replicas") or []
    names = [cluster.get("leader"), *(each["name"] for each in others)]
    current = all(each.get("current") and not each.get("offline") for each in others)
    found: bool = all(names) and len(names) == replicas and current and on in (None, *names)
    return {"replicas": others, **cluster} if found else None


def change(admin: Admin, stream: str, **fields: Any) -> None:
    """Change fields of the stream's configuration."""

    def updated() -> bool:
        try:
            config = admin.api(f"STREAM.INFO.{stream}")["config"]
            admin.api(f"STREAM.UPDATE.{stream}", **{**config, **fields})
        except Exception:  # no leader at the moment
            return False
        return True

    wait_until(updated)


@pytest.mark.slow
@pytest.mark.parametrize(
    "way", [pytest.param(each, marks=pytest.mark.limits if each == "fast" else ()) for each in WAYS]
)
def test_a_stream_is_scaled_up_and_down(admin: Admin, url: str, stream: str, way: str) -> None:
    make_stream(admin, stream, **WAYS[way])
    with working(url, stream) as work:
        for replicas in (3, 1):
            change(admin, stream, num_replicas=replicas)
            wait_until(lambda replicas=replicas: placed(admin, stream, replicas))
            work.goes_on()
    work.check(admin)


@pytest.mark.limits
def test_a_stream_moves_to_other_servers(admin: Admin, url: str, stream: str) -> None:
    make_stream(admin, stream, placement={"tags": ["n0"]})
    with working(url, stream) as work:
        for server in ("n1", "n2"):
            change(admin, stream, placement={"tags": [server]})
            wait_until(lambda server=server: placed(admin, stream, 1, server))
            work.goes_on()
    work.check(admin)


@pytest.mark.slow
def test_peers_of_a_stream_are_replaced(admin: Admin, url: str, stream: str) -> None:
    """A follower, and then the leader."""
    make_stream(admin, stream, num_replicas=3)
    with working(url, stream) as work:
        for leads in (False, True):
            info = wait_until(lambda: placed(admin, stream, 3))
            names = [info["leader"], *(each["name"] for each in info["replicas"])]
            (free,) = {"n0", "n1", "n2", "n3"} - set(names)
            admin.api(f"STREAM.PEER.REMOVE.{stream}", peer=names[0 if leads else 1])
            wait_until(lambda free=free: placed(admin, stream, 3, free))
            work.goes_on()
    work.check(admin)


@pytest.mark.slow
def test_leaders_step_down(admin: Admin, url: str, stream: str) -> None:
    """Of the stream, of the consumer, and of the cluster."""
    make_stream(admin, stream, num_replicas=3)
    with working(url, stream) as work:
        for _ in range(2):
            for call in (
                f"STREAM.LEADER.STEPDOWN.{stream}",
                f"CONSUMER.LEADER.STEPDOWN.{stream}.{DURABLE}",
            ):
                wait_until(lambda: placed(admin, stream, 3))
                admin.api(call)
                work.goes_on()
        with closing(Admin(url.split(","), user="system", password="pw")) as system:
            system.api("META.LEADER.STEPDOWN")
        work.goes_on()
    work.check(admin)


@pytest.mark.limits
def test_a_server_leaves_the_cluster_for_ever(
    admin: Admin, servers: list[EmbeddedServer], url: str, stream: str
) -> None:
    """The server that leads the stream; the last test, because the others need four servers."""
    make_stream(admin, stream, num_replicas=3)
    with working(url, stream) as work:
        info = wait_until(lambda: placed(admin, stream, 3))
        names = [info["leader"], *(each["name"] for each in info["replicas"])]
        (free,) = {"n0", "n1", "n2", "n3"} - set(names)
        servers[int(names[0][1:])].kill()
        work.goes_on()
        with closing(Admin(url.split(","), user="system", password="pw")) as system:
            wait_until(lambda: removed(system, names[0]))
        wait_until(lambda: placed(admin, stream, 3, free))
        work.goes_on()
    work.check(admin)


def removed(system: Admin, server: str) -> bool:
    """Whether the cluster's leader has removed a server for ever."""
    try:
        return bool(system.api("SERVER.REMOVE", peer=server)["success"])
    except Exception:  # no leader at the moment
        return False
