"""TLS: certificates of servers and clients, from files and as text, and what is rejected."""

from __future__ import annotations

import pickle
import re
import ssl
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from nats_spark_common import AuthError, ConnectError, NatsSettings
from nats_spark_common.connection.connect import connect
from nats_spark_common.embedded import EmbeddedServer
from nats_spark_common.jetstream.blocking_client import BlockingClient
from nats_spark_common.jetstream.control import Control
from nats_spark_common.options import java_variables

from .._support.admin import wait_until
from .._support.cluster import free_ports
from .._support.connecting import check, filled
from .._support.credentials import Certificates, make_certificates, make_jwt_world


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("tls"))


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


@pytest.mark.parametrize("ship", [True, False])
def test_comments_in_any_language_are_not_part_of_a_certificate(
    tmp_path: Path, certificates: Certificates, ship: bool
) -> None:
    bundle = tmp_path / "bundle.pem"
    ca = f"# Főtanúsítvány\n{certificates.ca.read_text()}# vége\n"
    bundle.write_text(ca, encoding="utf-8")
    with filled(certificates.server_block(), tls=_context(certificates)) as server:
        check(server, tls_ca=str(bundle), files_ship=str(ship))
        check(server, tls_ca_pem=ca)
        with pytest.raises(ConnectError, match=r"nats\.tls\.ca\.pem"):
            check(server, tls_ca_pem="Főtanúsítvány")


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


FIRST = pytest.mark.parametrize("first", [False, True], ids=["after INFO", "first"])


@contextmanager
def verifying(certificates: Certificates, *, first: bool) -> Iterator[dict[str, str]]:
    """A server that requires client certificates; yields options that trust it."""
    extra = ", verify: true" + (", handshake_first: true" if first else "")
    with EmbeddedServer(certificates.server_block(extra), jetstream=False) as server:
        yield {
            "nats.url": server.url,
            "nats.tls.ca": str(certificates.ca),
            "nats.tls.first": str(first).lower(),
        }


def client(certificates: Certificates) -> dict[str, str]:
    """The options of the client certificate."""
    return {
        "nats.tls.cert": str(certificates.client_cert),
        "nats.tls.key": str(certificates.client_key),
    }


def refused(options: dict[str, str]) -> str:
    """The error of a connection with a client certificate that the server rejects."""
    settings = NatsSettings.from_options(options)
    texts = set()
    for _ in range(10):  # the alert is before or after the first operations
        with pytest.raises(AuthError) as caught:
            connect(settings)
        texts.add(str(caught.value))
    (text,) = texts
    return text


@FIRST
def test_a_client_certificate_that_is_required_is_named(
    certificates: Certificates, first: bool
) -> None:
    with verifying(certificates, first=first) as options:
        assert re.search(
            r"requires a client certificate: set nats\.tls\.cert and nats\.tls\.key to its PEM "
            r"files, or nats\.tls\.cert\.pem and nats\.tls\.key\.secret to their contents$",
            refused(options),
        )


@FIRST
def test_a_client_certificate_of_another_authority_is_named(
    tmp_path: Path, certificates: Certificates, first: bool
) -> None:
    other = make_certificates(tmp_path)
    with verifying(certificates, first=first) as options:
        text = refused({**options, **client(other)})
        assert f"nats.tls.cert={other.client_cert} is signed by a CA" in text
        assert "ca_file" in text


@FIRST
def test_a_client_certificate_that_has_expired_is_named(tmp_path: Path, first: bool) -> None:
    certificates = make_certificates(tmp_path, expired="client")
    with verifying(certificates, first=first) as options:
        text = refused({**options, **client(certificates)})
        assert f"nats.tls.cert={certificates.client_cert} has expired" in text
        assert "renew it" in text


def test_a_client_certificate_for_another_purpose_is_named(tmp_path: Path) -> None:
    certificates = make_certificates(tmp_path, servers_only=True)
    with verifying(certificates, first=False) as options:
        text = refused({**options, **client(certificates)})
        assert f"nats.tls.cert={certificates.client_cert} is rejected: use one whose ext" in text


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"expired": "localhost"}, r"has expired; renew the server's certificate"),
        ({"addresses": False}, r"mismatch.*; set nats\.tls\.hostname"),
    ],
    ids=["expired", "name"],
)
def test_a_certificate_of_the_server_that_is_not_valid_is_explained(
    tmp_path: Path, how: dict[str, Any], words: str
) -> None:
    certificates = make_certificates(tmp_path, **how)
    with (
        EmbeddedServer(certificates.server_block(), jetstream=False) as server,
        pytest.raises(ConnectError, match=words) as caught,
    ):
        connect(_settings(server, certificates))
    assert "nats.tls.ca" not in str(caught.value)


def test_a_server_that_does_not_begin_with_tls_is_named(certificates: Certificates) -> None:
    with (
        EmbeddedServer(certificates.server_block(), jetstream=False) as server,
        pytest.raises(ConnectError, match=r"does not begin with TLS: remove nats\.tls\.first"),
    ):
        connect(_settings(server, certificates, **{"nats.tls.first": "true"}))


def _settings(server: EmbeddedServer, certificates: Certificates, **more: str) -> NatsSettings:
    named = {"nats.url": server.url, "nats.tls.ca": str(certificates.ca)}
    return NatsSettings.from_options({**named, **more})


SCALA_VARIABLES = {
    "NATS_TLS_TRUST_STORE": "/etc/nats/trust.jks",
    "NATS_TLS_TRUST_STORE_PASSWORD": "s3cret-1",
    "NATS_TLS_KEY_STORE": "/etc/nats/key.jks",
    "NATS_TLS_KEY_STORE_PASSWORD": "s3cret-2",
    "NATS_TLS_ALGO": "TLSv1.2",
}


def test_key_stores_in_the_environment_are_named_as_unused(
    certificates: Certificates, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(java_variables, "_warned", False)
    for name, value in SCALA_VARIABLES.items():
        monkeypatch.setenv(name, value)
    unused = (
        "NATS_TLS_TRUST_STORE and NATS_TLS_KEY_STORE and NATS_TLS_ALGO in the environment are not "
        "used, because Python cannot read Java key stores"
    )
    remedy = "set NATS_TLS_CA, NATS_TLS_CERT and NATS_TLS_KEY to the PEM files"
    with verifying(certificates, first=False) as options:
        text = refused(options)
        assert "nats.tls.cert and nats.tls.key" in text
        assert unused in text
        assert remedy in text
        with pytest.raises(ConnectError, match=r"not trusted.*nats\.tls\.ca") as caught:
            connect(NatsSettings.from_options({"nats.url": options["nats.url"]}))
        assert unused in str(caught.value)
    (warning,) = (each.getMessage() for each in caplog.records if each.levelname == "WARNING")
    assert unused in warning
    assert remedy in warning
    assert "s3cret" not in text + warning


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"NATS_TLS_ALGO": "TLSv1.2"}, "NATS_TLS_ALGO in the environment is not used: TLS is "),
        ({"NATS_TLS_TRUST_STORE_PASSWORD": "x"}, ""),
        ({"NATS_TLS_KEY_STORE": ""}, ""),
    ],
)
def test_only_variables_that_are_set_are_named(given: dict[str, str], words: str) -> None:
    found = java_variables.unused_variables(given)
    assert found.startswith(words)
    assert bool(found) == bool(words)


def test_tls_first(certificates: Certificates) -> None:
    config = certificates.server_block(", handshake_first: true")
    with filled(config, tls=_context(certificates), tls_handshake_first=True) as server:
        check(server, tls_ca=str(certificates.ca), tls_first="true")


def test_tls_that_the_server_does_not_offer_is_an_error(certificates: Certificates) -> None:
    with EmbeddedServer() as server, pytest.raises(ConnectError, match="does not offer TLS"):
        check(server, tls_ca=str(certificates.ca))


def test_a_server_found_through_its_cluster_has_the_name_of_the_one_that_is_configured(
    tmp_path: Path,
) -> None:
    """Servers name each other by addresses, which their certificates need not hold."""
    with pair(tmp_path, "tls") as (settings, first, second):
        first.kill()
        with connect(settings) as link:
            assert link.server.address == f"127.0.0.1:{second.port}"


@pytest.mark.parametrize("scheme", ["tls", "nats"])
def test_the_control_connection_moves_to_a_server_found_through_the_cluster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    """With ``nats://`` only the server requires TLS, and the CA is one of the system's."""
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    with pair(tmp_path, scheme) as (settings, first, second):
        client = BlockingClient(settings)
        client.start()
        with closing(client):
            first.kill()
            client.switch_server()
            reached = client.client.connected_url
            assert client.client.is_connected
            assert reached is not None
            assert reached.port == second.port


@contextmanager
def pair(
    folder: Path, scheme: str
) -> Iterator[tuple[NatsSettings, EmbeddedServer, EmbeddedServer]]:
    """Two servers whose certificates hold ``localhost``; the settings name the first only."""
    certificates = make_certificates(folder, addresses=False)
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
        named = {"nats.url": f"{scheme}://localhost:{first.port}"}
        if scheme == "tls":
            named["nats.tls.ca"] = str(certificates.ca)
        settings = NatsSettings.from_options(named)

        def knows_both() -> bool:
            with connect(settings) as link:
                return any(str(second.port) in each for each in link.info.connect_urls)

        wait_until(knows_both)
        yield settings, first, second
