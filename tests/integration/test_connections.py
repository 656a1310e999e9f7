"""Connections: several servers, limits, idle connections, large replies, domains."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from nats_spark_common import AuthError, ConnectError, NatsSettings
from nats_spark_common.connection import buffer, connection, pool, retry
from nats_spark_common.connection.connect import connect
from nats_spark_common.connection.connection import Connection
from nats_spark_common.embedded import EmbeddedServer
from nats_spark_common.jetstream.control import Control

from .._support import options as short
from .._support.admin import Admin, wait_until
from .._support.credentials import make_jwt_world
from .._support.reading import Driver, read_stream


def test_the_next_server_is_tried_where_one_is_down(nats_server: EmbeddedServer) -> None:
    urls = ",".join(["nats://127.0.0.1:1", nats_server.url, "nats://127.0.0.1:2"])
    settings = NatsSettings.from_options({"nats.url": urls})
    for _ in range(5):  # the order is random
        with connect(settings) as connection:
            assert connection.info.jetstream


@pytest.mark.parametrize("limit", ["server", "account"])
def test_a_limit_of_connections_is_no_matter_of_credentials(tmp_path: Path, limit: str) -> None:
    world, options = make_jwt_world(connections=1), {}
    config = "max_connections: 1"
    if limit == "account":
        (tmp_path / "user.creds").write_text(world.credentials)
        config, options = world.config, {"nats.credential.file": str(tmp_path / "user.creds")}
    with EmbeddedServer(config) as server:
        settings = NatsSettings.from_options({"nats.url": server.url, **options})
        words = (
            r"exceeded; raise the account's connection limit"
            if limit == "account"
            else "max_connections"
        )
        with connect(settings):
            with pytest.raises(ConnectError, match=words) as caught:
                connect(settings)
            assert not isinstance(caught.value, AuthError), "which is not tried again"
        wait_until(lambda: connects(settings))


def connects(settings: NatsSettings) -> bool:
    try:
        connect(settings).close()
    except ConnectError:
        return False
    return True


def test_connections_that_nobody_takes_are_let_go(
    nats_server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "idle", pool.IdleConnections())
    monkeypatch.setattr(pool, "LONGEST_IDLE", 0.3)
    monkeypatch.setattr(pool, "SWEEP_EVERY", 0.1)
    name = f"idle-{time.monotonic_ns()}"
    options = {"nats.url": nats_server.url, "nats.inbox.prefix": name, "nats.connection.name": name}
    settings = NatsSettings.from_options(options)
    for _ in range(2):  # the sweeps go on
        with pool.connection(settings), pool.connection(settings):
            assert named(nats_server, name) == 2
        assert named(nats_server, name) == 2
        wait_until(lambda: not named(nats_server, name))


def test_idle_connections_answer_the_pings_of_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the server closes them as stale, after three pings."""
    monkeypatch.setattr(pool, "idle", pool.IdleConnections())
    monkeypatch.setattr(pool, "LONGEST_IDLE", 15.0)
    with EmbeddedServer("ping_interval: 3s") as server:
        settings = NatsSettings.from_options({"nats.url": server.url})
        with pool.connection(settings):
            pass
        wait_until(lambda: not named(server, "nats-spark"))
        closed = server.statistics("connz?state=closed")["connections"]
    reasons = [e["reason"] for e in closed if e.get("name", "").startswith("nats-spark")]
    assert len(reasons) == 1
    assert reasons != ["Stale Connection"]


def named(server: EmbeddedServer, name: str) -> int:
    found = server.statistics("connz")["connections"]
    return sum(each.get("name", "").startswith(name) for each in found)


def test_threads_share_the_idle_connections(nats_server: EmbeddedServer) -> None:
    """One that finds a connection has it for itself, even if another looks at the same time."""
    idle = pool.IdleConnections()
    taken: list[Connection | None] = []
    other = threading.Thread(target=lambda: taken.append(idle.take("key")))

    class Interrupted(list[tuple[float, Connection]]):
        """Lets the other thread run after it was found not to be empty."""

        def __bool__(self) -> bool:
            found = len(self) > 0
            if other.ident is None:
                other.start()
                other.join(0.5)  # which has to wait, so this does not end earlier
            return found

    idle._kept["key"] = Interrupted()
    with connect(NatsSettings.from_options({"nats.url": nats_server.url})) as link:
        idle.keep("key", link)
        taken.append(idle.take("key"))
        other.join()
    assert sorted(taken, key=lambda each: each is None) == [link, None]


def test_an_idle_connection_keeps_no_large_buffer() -> None:
    with EmbeddedServer("max_payload: 64MB") as server, closing(Admin(server.url)) as admin:
        admin.create_stream("S")
        admin.publish("S.a", b"x" * (15 << 20))
        settings = NatsSettings.from_options({"nats.url": server.url})
        with pool.connection(settings) as link:
            link.request("$JS.API.STREAM.MSG.GET.S", b'{"seq":1}', 20.0)
            assert link.buffer_size > 15 << 20
        assert link.buffer_size == buffer.BLOCK_BYTES
        with pool.connection(settings) as next_taken:
            assert next_taken is link


@pytest.mark.parametrize("host", ["a..b", f"{'x' * 70}.example", ".example"])
def test_a_host_that_can_have_no_address_is_named(host: str) -> None:
    settings = NatsSettings.from_options({"nats.url": f"nats://{host}:4222"})
    with pytest.raises(ConnectError, match=rf"nats://{re.escape(host)}:4222.*check nats\.url"):
        connect(settings)


def test_each_address_of_a_host_is_a_server_of_its_own(
    nats_server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As those of a headless service of Kubernetes; the first address accepts and says nothing."""
    resolve = socket.getaddrinfo
    hosts = {"nats.test": ["127.0.0.2", "127.0.0.1"]}

    def resolved(host: str, *more: Any, **named: Any) -> list[Any]:
        return [e for each in hosts.get(host, [host]) for e in resolve(each, *more, **named)]

    monkeypatch.setattr(socket, "getaddrinfo", resolved)
    named = {"nats.url": f"nats://nats.test:{nats_server.port}", "nats.retry.count": "0"}
    settings = NatsSettings.from_options(named)
    with socket.create_server(("127.0.0.2", nats_server.port)) as hanging:
        for _ in range(2):
            with connect(settings) as link:
                assert link.server.address == f"127.0.0.1:{nats_server.port}"
                assert link.server.name == "nats.test"
        with Control(settings) as control:
            assert control.api("INFO")
        hanging.setblocking(False)
        hanging.accept()[0].close()
        with pytest.raises(BlockingIOError):  # it is tried once, and then after the others
            hanging.accept()


@pytest.mark.parametrize("size", [100, 3 << 20, 15 << 20])
def test_a_reply_of_any_size_is_received_in_linear_time(size: int) -> None:
    """Each byte is looked at a few times at most, however the reply is cut on its way."""
    with EmbeddedServer("max_payload: 64MB") as server, closing(Admin(server.url)) as admin:
        admin.create_stream("S")
        admin.publish("S.a", b"x" * size)
        settings = NatsSettings.from_options({"nats.url": server.url})
        with connect(settings) as link:
            looked = []
            parsed = connection.parse

            def counting(data: bytes) -> Any:
                looked.append(len(data))
                return parsed(data)

            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(connection, "parse", counting)
                reply = link.request("$JS.API.STREAM.MSG.GET.S", b'{"seq":1}', 20.0)
            assert len(json.loads(reply.payload)["message"]["data"]) >= size
            assert sum(looked) < 3 * len(reply.payload) + 10_000
            link.shrink()
            assert link.buffer_size == buffer.BLOCK_BYTES


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"url": "nats://a..b:4222"}, "invalid host name"),
        ({"user": "nobody", "password": "wrong-3"}, "rejects the credentials"),
        ({"tls_ca_pem": "none"}, "does not offer TLS"),
    ],
)
def test_a_query_with_wrong_options_fails_at_its_first_attempt(
    wrong: dict[str, str], words: str
) -> None:
    before = retry.retries()
    with EmbeddedServer("authorization { user: ada, password: geheim }") as server:
        named = short.options(**{"url": server.url, "stream_name": "S", **wrong})
        with pytest.raises(ConnectError, match=words):
            Driver(named).initial()
    assert retry.retries() == before


def test_no_server_at_all_names_each_with_its_reason() -> None:
    settings = NatsSettings.from_options({"nats.url": "nats://127.0.0.1:1,nats://127.0.0.1:2"})
    with pytest.raises(ConnectError, match=r"127\.0\.0\.1:[12]: Connection refused.*127\.0\.0\.1:"):
        connect(settings)


def test_a_jetstream_domain(tmp_path: Path) -> None:
    config = f'jetstream {{ domain: hub, store_dir: "{tmp_path}" }}'
    with EmbeddedServer(config, jetstream=False) as server:
        admin = Admin(server.url)
        admin.create_stream("S")
        admin.fill("S", 3)
        admin.close()
        rows = read_stream({"nats.url": server.url, "nats.stream.name": "S", "nats.domain": "hub"})
        assert [(r["streamSeq"], r["domain"]) for r in rows] == [(i, "hub") for i in (1, 2, 3)]
