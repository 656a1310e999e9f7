"""Exactly-once within the duplicate window, where messages have left the stream meanwhile.

Only the server's memory of message ids tells then which rows stood, and a server that restarts
remembers the ids of stored messages alone.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from nats_spark_common.embedded import EmbeddedServer
from nats_spark_common.errors import ReplayError
from nats_spark_common.sink.task_id import TaskId

from .._support.admin import Admin, wait_until
from .._support.cluster import cluster
from .._support.writing import Row, begin, exactly, make_stream, new_task, numbered, stood, write

ROWS, STOOD, LEFT = 200, 150, 100
#: Streams that messages leave: consumers take them, or newer ones replace them.
LEAVING: dict[str, dict[str, Any]] = {
    "consumed": {"retention": "workqueue"},
    "replaced": {"max_msgs": STOOD - LEFT, "discard": "old"},
}


@pytest.mark.parametrize("leaving", LEAVING)
@pytest.mark.parametrize("how", ["restart", "kill"])
def test_a_server_that_has_restarted_proves_nothing(stream: str, leaving: str, how: str) -> None:
    with EmbeddedServer() as server:
        rows, task = numbered(stream, ROWS), new_task()
        with closing(Admin(server.url)) as admin:
            make_stream(admin, stream, **LEAVING[leaving])
            begin(server.url, rows, STOOD, task)
            consume(admin, stream)
        if how == "kill":
            server.kill()
            server.start()
        else:
            server.restart()
        with closing(Admin(server.url)) as admin:
            with pytest.raises(ReplayError, match=f"'{stream}'.*restarted"):
                write(exactly(server.url), rows, task=task)
            assert admin.info(stream).state.last_seq == STOOD
            write(exactly(server.url, fail_on_data_loss="false"), rows, task=task)
            assert admin.info(stream).state.last_seq > ROWS  # which is what the error is for


def consume(admin: Admin, stream: str) -> None:
    """As a consumer of a work queue would."""
    assert stood(admin, stream, STOOD) == STOOD
    admin.purge(stream, seq=LEFT + 1)
    assert admin.info(stream).state.first_seq == LEFT + 1


@pytest.mark.parametrize("leaving", LEAVING)
def test_a_server_that_has_stayed_up_knows(
    nats_server: EmbeddedServer, admin: Admin, stream: str, leaving: str
) -> None:
    make_stream(admin, stream, **LEAVING[leaving])
    rows, task = numbered(stream, ROWS), new_task()
    begin(nats_server.url, rows, STOOD, task)
    consume(admin, stream)
    write(exactly(nats_server.url), rows, task=task)
    assert admin.info(stream).state.last_seq == ROWS


#: Messages that are published after the stream has lost the task's: fewer or more than before it.
SINCE = [0, 50]
BEFORE = 20


@pytest.mark.parametrize("since", SINCE)
def test_a_stream_restored_from_an_older_state_is_noticed(
    stream: str, tmp_path: Path, since: int
) -> None:
    store, backup = tmp_path / "store", tmp_path / "backup"
    files = store / "jetstream" / "$G" / "streams" / stream
    with EmbeddedServer(store_dir=store) as server:
        rows, task = numbered(stream, ROWS), new_task()
        with closing(Admin(server.url)) as admin:
            make_stream(admin, stream)
        server.restart()
        shutil.copytree(files, backup)
        with closing(Admin(server.url)) as admin:
            admin.fill(stream, BEFORE)
            begin(server.url, rows, STOOD, task)
            assert stood(admin, stream, BEFORE + STOOD) > BEFORE
        server.kill()
        shutil.rmtree(files)
        shutil.copytree(backup, files)
        server.start()
        with closing(Admin(server.url)) as admin:
            check_lost(server.url, admin, stream, since, rows, task)


def check_lost(
    url: str, admin: Admin, stream: str, since: int, rows: list[Row], task: TaskId
) -> None:
    """Check that a stream that starts over with as many messages fails the task."""
    assert admin.info(stream).state.last_seq == 0
    if since:
        admin.fill(stream, since)
    with pytest.raises(ReplayError, match=f"'{stream}' has lost messages"):
        write(exactly(url), rows, task=task)
    assert admin.info(stream).state.last_seq == since
    write(exactly(url, fail_on_data_loss="false"), rows, task=task)
    assert admin.info(stream).state.last_seq == since + ROWS
    write(exactly(url, fail_on_data_loss="false"), rows, task=task)
    assert admin.info(stream).state.last_seq == since + ROWS, "which are found this time"


def test_an_old_server_does_not_tell_who_leads_and_proves_nothing(
    old_nats_server: EmbeddedServer, stream: str
) -> None:
    with closing(Admin(old_nats_server.url)) as admin:
        make_stream(admin, stream, retention="workqueue")
        rows, task = numbered(stream, ROWS), new_task()
        begin(old_nats_server.url, rows, STOOD, task)
        consume(admin, stream)
        with pytest.raises(ReplayError, match="does not report its process id"):
            write(exactly(old_nats_server.url), rows, task=task)


def test_a_server_that_may_not_be_asked_proves_nothing(stream: str) -> None:
    denied = """
        authorization { users: [
            { user: admin, password: s3cret }
            { user: spark, password: s3cret, permissions: { publish: { deny: "$SYS.>" } } }
        ] }
    """
    with EmbeddedServer(denied) as server:
        spark = server.url.replace("nats://", "nats://spark:s3cret@")
        with closing(Admin(server.url, user="admin", password="s3cret")) as admin:
            make_stream(admin, stream, retention="workqueue")
            rows, task = numbered(stream, ROWS), new_task()
            begin(spark, rows, STOOD, task)
            admin.purge(stream, seq=LEFT + 1)
            with pytest.raises(ReplayError, match="does not report its process id"):
                write(exactly(spark), rows, task=task)
            write(exactly(spark), numbered(stream, ROWS))  # what else the user does works


@pytest.fixture(scope="module")
def servers() -> Iterator[list[EmbeddedServer]]:
    with cluster() as servers:
        yield servers


@pytest.mark.slow
@pytest.mark.parametrize(("restarting", "knows"), [(0, True), (1, True), (3, False)])
def test_a_cluster_knows_as_long_as_its_leader_has_stayed_up(
    servers: list[EmbeddedServer], stream: str, restarting: int, knows: bool
) -> None:
    """After a step-down, a leader that was killed and came back, and a rolling restart."""
    url = ",".join(server.url for server in servers)
    rows, task = numbered(stream, ROWS), new_task()
    with closing(Admin(servers[0].url)) as admin:
        make_stream(admin, stream, num_replicas=3, retention="workqueue")
        wait_until(lambda: in_step(admin, stream))  # a replica that lags now would not count
        begin(url, rows, STOOD, task)
        consume(admin, stream)
        before = leader(admin, stream)
        if not restarting:
            admin.api(f"STREAM.LEADER.STEPDOWN.{stream}")
            wait_until(lambda: leader(admin, stream) not in (None, before))
    order = sorted(servers, key=lambda server: f"n{servers.index(server)}" != before)
    for server in order[:restarting]:
        server.kill()
        server.start()
        with closing(Admin(server.url)) as admin:
            wait_until(lambda admin=admin: in_step(admin, stream))
            if knows:  # the server that was killed may not lead again, which would be another case
                wait_until(lambda admin=admin: steps_down_from(admin, stream, before))
    with closing(Admin(servers[0].url)) as admin:
        if knows:
            write(exactly(url), rows, task=task)
        else:
            with pytest.raises(ReplayError, match="restarted"):
                write(exactly(url), rows, task=task)
        wait_until(lambda: in_step(admin, stream))
        assert admin.info(stream).state.last_seq == (ROWS if knows else STOOD)


@pytest.mark.slow
@pytest.mark.parametrize("since", SINCE)
def test_a_stream_in_the_memory_of_a_server_that_restarts_is_noticed(
    servers: list[EmbeddedServer], stream: str, since: int
) -> None:
    """A cluster creates it again, empty, with the same creation time."""
    url = servers[0].url
    rows, task = numbered(stream, ROWS), new_task()
    with closing(Admin(url)) as admin:
        make_stream(admin, stream, storage="memory", placement={"tags": ["n2"]})
        admin.fill(stream, BEFORE)
        created = admin.api(f"STREAM.INFO.{stream}")["created"]
        begin(url, rows, STOOD, task)
        assert stood(admin, stream, BEFORE + STOOD) > BEFORE
        servers[2].restart()
        wait_until(lambda: in_step(admin, stream))
        assert admin.api(f"STREAM.INFO.{stream}")["created"] == created
        check_lost(url, admin, stream, since, rows, task)


def leader(admin: Admin, stream: str) -> str | None:
    cluster = admin.info_of_led(stream).cluster
    return cluster.leader if cluster else None


def steps_down_from(admin: Admin, stream: str, server: str | None) -> bool:
    """Whether another server leads the stream; if not, ask the leader to step down."""
    if not in_step(admin, stream):
        return False
    if leader(admin, stream) != server:
        return True
    admin.api(f"STREAM.LEADER.STEPDOWN.{stream}")
    return False


def in_step(admin: Admin, stream: str) -> bool:
    """Whether the stream has a leader and replicas that have caught up."""
    try:
        cluster = admin.info(stream).cluster
    except Exception:  # no leader yet
        return False
    return bool(cluster and cluster.leader and all(r.current for r in cluster.replicas or []))
