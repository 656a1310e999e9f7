"""Every way of reaching a server, over both planes: each test reads a stream from end to end."""

from __future__ import annotations

import json
import os
import pickle
import re
import signal
import ssl
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import nkeys
import pytest

from nats_spark_common import AuthError, ConnectError, NatsSettings, TimeoutExpiredError
from nats_spark_common.connection import buffer, connection, pool
from nats_spark_common.connection.connect import connect
from nats_spark_common.embedded import EmbeddedServer
from nats_spark_common.jetstream.control import Control

from .._support.admin import Admin, wait_until
from .._support.cluster import free_ports
from .._support.credentials import Certificates, make_certificates, make_jwt_world, new_nkey
from .._support.reading import numbers, read_stream

USER = "authorization { user: ada, password: geheim }"
TOKEN = "authorization { token: s3cret }"


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("tls"))


@contextmanager
def filled(config: str, **nats_py: Any) -> Iterator[EmbeddedServer]:
    """A server of this configuration with three messages in stream S."""
    with EmbeddedServer(config) as server:
        admin = Admin(server.url, **nats_py)
        admin.create_stream("S")
        admin.fill("S", 3)
        admin.close()
        yield server


def check(server: EmbeddedServer, **options: str) -> None:
    named = {f"nats.{name.replace('_', '.')}": value for name, value in options.items()}
    assert numbers(read_stream({"nats.url": server.url, "nats.stream.name": "S", **named})) == [
        1,
        2,
        3,
    ]


def refused(server: EmbeddedServer, match: str, **options: str) -> None:
    with pytest.raises(AuthError, match=match) as caught:
        check(server, **options)
    for secret in ("geheim", "s3cret", "wrong-"):
        assert secret not in str(caught.value)


def test_user_and_password() -> None:
    with filled(USER, user="ada", password="geheim") as server:
        check(server, user="ada", password="geheim")
        refused(server, r"rejects the credentials.*nats\.user", user="ada", password="wrong-1")
        refused(server, "rejects the credentials")


def test_user_and_password_in_the_url() -> None:
    with filled(USER, user="ada", password="geheim") as server:
        check(server, url=f"nats://ada:geheim@127.0.0.1:{server.port}")


def test_user_and_password_by_the_scala_connectors_names() -> None:
    with filled(USER, user="ada", password="geheim") as server:
        options = {
            "nats.host": "127.0.0.1",
            "nats.port": str(server.port),
            "nats.connection.user.name": "ada",
            "nats.connection.user.password": "geheim",
            "nats.pull.subscription.stream.name": "S",
        }
        assert numbers(read_stream(options)) == [1, 2, 3]


def test_token() -> None:
    with filled(TOKEN, token="s3cret") as server:
        check(server, token="s3cret")
        refused(server, "rejects the credentials", token="wrong-2")


def test_nkey_as_seed_and_as_file(tmp_path: Path) -> None:
    seed, public = new_nkey(nkeys.PREFIX_BYTE_USER)
    other, _ = new_nkey(nkeys.PREFIX_BYTE_USER)
    file = tmp_path / "user.nk"
    file.write_text(seed + "\n")
    config = f"authorization {{ users = [ {{ nkey: {public} }} ] }}"
    with filled(config, nkeys_seed_str=seed) as server:
        check(server, nkey_seed_secret=seed)
        check(server, nkey_seed_file=str(file))
        refused(server, "rejects the credentials", nkey_seed_secret=other)
        refused(server, r"nkey seed .* is invalid", nkey_seed_secret="wrong-seed")


def test_credentials_file(tmp_path: Path) -> None:
    world = make_jwt_world()
    file = tmp_path / "user.creds"
    file.write_text(world.credentials)
    with filled(world.config, user_credentials=str(file)) as server:
        check(server, credential_file=str(file))
        refused(server, "rejects the credentials")


def test_credentials_as_text(tmp_path: Path) -> None:
    world = make_jwt_world()
    file = tmp_path / "user.creds"
    file.write_text(world.credentials)
    with filled(world.config, user_credentials=str(file)) as server:
        check(server, credential_secret=world.credentials)
        refused(server, r"nats\.credential\.secret is not a NATS", credential_secret="s3cret")


def test_files_travel_with_the_query_where_executors_lack_them(
    tmp_path: Path, certificates: Certificates
) -> None:
    world = make_jwt_world()
    tls = certificates.server_block(", verify: true")
    paths = {
        "credential_file": tmp_path / "user.creds",
        "tls_ca": tmp_path / "ca.pem",
        "tls_cert": tmp_path / "cert.pem",
        "tls_key": tmp_path / "key.pem",
    }
    paths["credential_file"].write_text(world.credentials)
    paths["tls_ca"].write_text(certificates.ca.read_text())
    paths["tls_cert"].write_text(certificates.client_cert.read_text())
    paths["tls_key"].write_text(certificates.client_key.read_text())
    named = {f"nats.{name.replace('_', '.')}": str(path) for name, path in paths.items()}
    context = _context(certificates, client=True)
    creds = str(paths["credential_file"])
    with filled(world.config + "\n" + tls, tls=context, user_credentials=creds) as server:
        settings = NatsSettings.from_options(
            {"nats.url": server.url, "nats.files.ship": "true", **named}
        )
        for path in paths.values():
            path.unlink()
        travelled = pickle.loads(pickle.dumps(settings))
        for secret in ("PRIVATE KEY", "USER NKEY SEED"):
            assert secret not in repr(travelled)
        with connect(travelled) as link, Control(travelled) as control:
            assert link.info.jetstream
            assert control.stream_info("S").messages == 3


def test_tls_files_as_text(certificates: Certificates) -> None:
    config = certificates.server_block(", verify: true")
    with filled(config, tls=_context(certificates, client=True)) as server:
        texts = {
            "tls_ca_pem": certificates.ca.read_text(),
            "tls_cert_pem": certificates.client_cert.read_text(),
            "tls_key_secret": certificates.client_key.read_text(),
        }
        check(server, **texts)
        with pytest.raises(ConnectError, match=r"nats\.tls\.key\.secret.*use PEM files") as caught:
            check(server, **{**texts, "tls_key_secret": "s3cret"})
        assert "s3cret" not in str(caught.value)


def test_a_file_that_holds_no_credentials_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "user.creds"
    file.write_text("nothing")
    with EmbeddedServer(make_jwt_world().config) as server:
        refused(server, "not a NATS credentials file", credential_file=str(file))


def _context(certificates: Certificates, *, client: bool = False) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(certificates.ca))
    if client:
        context.load_cert_chain(certificates.client_cert, certificates.client_key)
    return context


def test_tls(certificates: Certificates) -> None:
    with filled(certificates.server_block(), tls=_context(certificates)) as server:
        check(server, tls_ca=str(certificates.ca))
        check(server, tls_ca=str(certificates.ca), url=f"tls://localhost:{server.port}")


def test_a_certificate_that_is_not_trusted_is_refused_with_the_option_to_set(
    certificates: Certificates,
) -> None:
    with (
        filled(certificates.server_block(), tls=_context(certificates)) as server,
        pytest.raises(ConnectError, match=r"not trusted.*nats\.tls\.ca"),
    ):
        check(server)


def test_tls_with_a_client_certificate(certificates: Certificates) -> None:
    config = certificates.server_block(", verify: true")
    with filled(config, tls=_context(certificates, client=True)) as server:
        check(
            server,
            tls_ca=str(certificates.ca),
            tls_cert=str(certificates.client_cert),
            tls_key=str(certificates.client_key),
        )
        with pytest.raises(ConnectError):
            check(server, tls_ca=str(certificates.ca))


def test_tls_first(certificates: Certificates) -> None:
    config = certificates.server_block(", handshake_first: true")
    with filled(config, tls=_context(certificates), tls_handshake_first=True) as server:
        check(server, tls_ca=str(certificates.ca), tls_first="true")


def test_tls_that_the_server_does_not_offer_is_an_error(certificates: Certificates) -> None:
    with EmbeddedServer() as server, pytest.raises(ConnectError, match="does not offer TLS"):
        check(server, tls_ca=str(certificates.ca))


def test_the_next_server_is_tried_where_one_is_down(nats_server: EmbeddedServer) -> None:
    urls = ",".join(["nats://127.0.0.1:1", nats_server.url, "nats://127.0.0.1:2"])
    settings = NatsSettings.from_options({"nats.url": urls})
    for _ in range(5):  # the order is random
        with connect(settings) as connection:
            assert connection.info.jetstream


def test_a_server_found_through_its_cluster_has_the_name_of_the_one_that_is_configured(
    tmp_path: Path,
) -> None:
    """Servers name each other by addresses, which their certificates need not hold."""
    certificates = make_certificates(tmp_path, addresses=False)
    ports = free_ports(2)
    routes = ", ".join(f"nats-route://127.0.0.1:{port}" for port in ports)
    first, second = (
        EmbeddedServer(
            f"cluster {{ name: c, listen: 127.0.0.1:{port}, routes: [{routes}] }}\n"
            + certificates.server_block(),
            jetstream=False,
        )
        for port in ports
    )
    with first, second:
        url = f"tls://localhost:{first.port}"
        settings = NatsSettings.from_options({"nats.url": url, "nats.tls.ca": str(certificates.ca)})

        def others() -> tuple[str, ...]:
            with connect(settings) as link:
                return tuple(each for each in link.info.connect_urls if str(second.port) in each)

        also = wait_until(others)
        first.kill()
        with connect(settings, also) as link:
            assert link.server.address == f"127.0.0.1:{second.port}"


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
    """In time, because nobody would answer the server's pings."""
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


def named(server: EmbeddedServer, name: str) -> int:
    found = server.statistics("connz")["connections"]
    return sum(each.get("name", "").startswith(name) for each in found)


def test_threads_share_the_idle_connections(nats_server: EmbeddedServer) -> None:
    settings = NatsSettings.from_options({"nats.url": nats_server.url})

    def take_and_give(_: int) -> int:
        with pool.connection(settings) as link:
            return id(link) if link.usable() else 0

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(take_and_give, range(2_000)))


@pytest.mark.parametrize("host", ["a..b", f"{'x' * 70}.example", ".example"])
def test_a_host_that_can_have_no_address_is_named(host: str) -> None:
    settings = NatsSettings.from_options({"nats.url": f"nats://{host}:4222"})
    with pytest.raises(ConnectError, match=rf"nats://{re.escape(host)}:4222.*check nats\.url"):
        connect(settings)


@pytest.mark.parametrize("option", ["nkey_seed_file", "credential_file"])
def test_a_file_that_holds_no_text_is_named(tmp_path: Path, option: str) -> None:
    file = tmp_path / "binary"
    file.write_bytes(bytes(range(128, 256)))
    with EmbeddedServer(make_jwt_world().config) as server:
        refused(server, rf"{re.escape(str(file))} is not a text file", **{option: str(file)})


def test_a_refused_subject_is_told_from_one_that_it_begins(tmp_path: Path) -> None:
    deny = '["$JS.API.STREAM.INFO.AB"]'
    config = (
        "authorization { users = [ {user: ada, password: geheim, "
        f"permissions {{ publish {{ deny: {deny} }} }} }} ] }}"
    )
    with EmbeddedServer(config) as server:
        named = {"nats.url": server.url, "nats.user": "ada", "nats.password": "geheim"}
        timeout = {"nats.request.timeout": "500ms", "nats.retry.count": "0"}
        with Control(NatsSettings.from_options({**named, **timeout})) as control:
            with pytest.raises(AuthError, match=r"(?i)STREAM\.INFO\.AB"):
                control.api("STREAM.INFO.AB")
            os.kill(server.pid, signal.SIGSTOP)
            os.waitid(os.P_PID, server.pid, os.WSTOPPED)
            try:
                with pytest.raises((TimeoutExpiredError, ConnectError)) as caught:
                    control.api("STREAM.INFO.A")
            finally:
                os.kill(server.pid, signal.SIGCONT)
            assert not isinstance(caught.value, AuthError)


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


def test_no_server_at_all_names_each_with_its_reason() -> None:
    settings = NatsSettings.from_options({"nats.url": "nats://127.0.0.1:1,nats://127.0.0.1:2"})
    with pytest.raises(ConnectError, match=r"127\.0\.0\.1:[12]: Connection refused.*127\.0\.0\.1:"):
        connect(settings)


def test_a_permission_that_is_missing_is_named(tmp_path: Path) -> None:
    config = (
        "authorization { users = [ {user: ada, password: geheim}, {user: eve, password: geheim, "
        'permissions { publish { deny: ["$JS.API.DIRECT.GET.>", "$JS.API.CONSUMER.>"] } } } ] }'
    )
    with filled(config, user="ada", password="geheim") as server:
        refused(server, r"CONSUMER\.CREATE\.S", user="eve", password="geheim")


def test_settings_of_a_command_line_context(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with filled(TOKEN, token="s3cret") as server:
        folder = tmp_path / "nats" / "context"
        folder.mkdir(parents=True)
        (folder / "prod.json").write_text(f'{{"url": "{server.url}", "token": "s3cret"}}')
        monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
        options = {"nats.context": "prod", "nats.stream.name": "S"}
        assert numbers(read_stream(options)) == [1, 2, 3]


def test_settings_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    with filled(TOKEN, token="s3cret") as server:
        monkeypatch.setenv("NATS_URL", server.url)
        monkeypatch.setenv("NATS_TOKEN", "s3cret")
        assert numbers(read_stream({"nats.stream.name": "S"})) == [1, 2, 3]


def test_a_jetstream_domain(tmp_path: Path) -> None:
    config = f'jetstream {{ domain: hub, store_dir: "{tmp_path}" }}'
    with EmbeddedServer(config, jetstream=False) as server:
        admin = Admin(server.url)
        admin.create_stream("S")
        admin.fill("S", 3)
        admin.close()
        rows = read_stream({"nats.url": server.url, "nats.stream.name": "S", "nats.domain": "hub"})
        assert [(r["streamSeq"], r["domain"]) for r in rows] == [(i, "hub") for i in (1, 2, 3)]
