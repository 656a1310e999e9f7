"""Sink and queries of users whom an operator or an auth callout service lets in for a while."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import nkeys
import pyarrow as pa
import pytest
from nats.aio.msg import Msg

from nats_spark_common import AuthError
from nats_spark_common.embedded import EmbeddedServer

from .._support.admin import Admin, wait_until
from .._support.connecting import check
from .._support.credentials import make_callout_answer, make_jwt_world, new_nkey, read_claims
from .._support.options import options
from .._support.reading import Driver
from .._support.working import working
from .._support.writing import batches, exactly, make_stream, numbered, write_batches

COUNT = 20_000


def test_an_operators_users_go_on_after_a_restart_of_the_server(
    stream: str, tmp_path: Path
) -> None:
    world = make_jwt_world()
    file = tmp_path / "user.creds"
    file.write_text(world.credentials)
    with (
        EmbeddedServer(world.config) as server,
        closing(Admin(server.url, user_credentials=str(file))) as admin,
    ):
        make_stream(admin, stream)
        with working(server.url, stream, credential_secret=world.credentials) as work:
            server.restart()
            work.goes_on()
        work.check(admin)


@dataclass
class Callout:
    """An auth callout service (ADR-26): it lets in who has the password.

    Attributes:
        seconds: after which a user has to connect again; ``None`` for never.
        let_in: how often it has let a user in.
    """

    server: EmbeddedServer
    seed: str
    seconds: float | None = None
    let_in: int = 0

    async def answer(self, request: Msg) -> None:
        asked = read_claims(request.data.decode())["nats"]
        known = asked["connect_opts"].get("pass") == "geheim"
        self.let_in += known
        until = time.time() + self.seconds if self.seconds else None
        keys = asked["user_nkey"], asked["server_id"]["id"]
        error = "" if known else "unknown user"
        await request.respond(make_callout_answer(self.seed, "APP", *keys, until, error))


@pytest.fixture(scope="module")
def callout() -> Iterator[Callout]:
    seed, issuer = new_nkey(nkeys.PREFIX_BYTE_ACCOUNT)
    config = f"""
        accounts {{
            AUTH {{ users: [ {{ user: auth, password: pw }} ] }}
            APP {{ jetstream: enabled, users: [ {{ user: admin, password: pw }} ] }}
            SYS {{}}
        }}
        system_account: SYS
        authorization {{ timeout: 5, auth_callout {{
            issuer: {issuer}, auth_users: [ auth, admin ], account: AUTH
        }} }}
    """
    with (
        EmbeddedServer(config) as server,
        closing(Admin(server.url, user="auth", password="pw")) as service,
    ):
        made = Callout(server, seed)
        service.run(service.client.subscribe("$SYS.REQ.USER.AUTH", cb=made.answer))
        service.run(service.client.flush())
        yield made


@pytest.fixture
def admin(callout: Callout) -> Iterator[Admin]:
    with closing(Admin(callout.server.url, user="admin", password="pw")) as admin:
        yield admin


USER = {"user": "ada", "password": "geheim"}


def test_a_user_whom_the_auth_callout_service_rejects_gets_an_error(callout: Callout) -> None:
    with pytest.raises(AuthError, match=r"rejects the credentials.*nats\.user"):
        check(callout.server, user="ada", password="wrong-1")


def test_a_user_who_has_to_connect_again_all_the_time_goes_on(
    callout: Callout, admin: Admin, stream: str
) -> None:
    make_stream(admin, stream)
    callout.seconds, before = 2.0, callout.let_in
    with working(callout.server.url, stream, **USER) as work:
        wait_until(lambda: not work.alive or callout.let_in >= before + 12)
        work.goes_on()
    work.check(admin)


def test_a_task_whose_user_expires_meanwhile_goes_on(
    callout: Callout, admin: Admin, stream: str
) -> None:
    """While it reads a range, and while it writes."""
    make_stream(admin, stream)
    admin.fill(stream, COUNT, size=100)
    callout.seconds = 2.0
    given = options(callout.server.url, stream_name=stream, fetch_bytes="64KiB", **USER)
    with Driver({**given, "nats.partitions": "1"}) as driver:
        start = driver.initial()
        (partition,) = driver.reader.partitions(start, driver.everything(start))
        seqs: list[int] = []
        expired = False
        for batch in driver.reader.read(partition):
            seqs += batch.column("streamSeq").to_pylist()
            if not expired and len(seqs) > COUNT // 4:
                expire(callout)
                expired = True
    assert seqs == list(range(1, COUNT + 1))


def expire(callout: Callout) -> None:
    """Wait until all present connections of the user are closed by the server."""
    present = connected(callout)
    assert present
    wait_until(lambda: not present & connected(callout))


def connected(callout: Callout) -> set[int]:
    found = callout.server.statistics("connz")["connections"]
    return {each["cid"] for each in found if each.get("name", "").startswith("nats-spark")}


def test_a_sink_whose_user_expires_meanwhile_goes_on(
    callout: Callout, admin: Admin, stream: str
) -> None:
    make_stream(admin, stream)
    rows = numbered(stream, 1_000)
    callout.seconds = 2.0

    def slow() -> Iterator[pa.RecordBatch]:
        for each in batches(rows, batch_rows=500):
            yield each
            expire(callout)

    write_batches(exactly(callout.server.url, **USER), slow())
    assert [each.payload for each in admin.read_all(stream)] == [row["content"] for row in rows]
