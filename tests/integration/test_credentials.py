"""Users, tokens, nkeys and JWTs from every place, and errors that name what is missing."""

from __future__ import annotations

import json
import os
import re
import signal
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nkeys
import pytest

from nats_spark_common import (
    AuthError,
    ConnectError,
    MissingPermissionError,
    NatsSettings,
    TimeoutExpiredError,
)
from nats_spark_common.connection import auth
from nats_spark_common.embedded import EmbeddedServer
from nats_spark_common.jetstream.control import Control

from .._support.admin import wait_until
from .._support.connecting import check, filled
from .._support.credentials import make_certificates, make_jwt_world, new_nkey
from .._support.reading import numbers, read_stream

USER = "authorization { user: ada, password: geheim }"
TOKEN = "authorization { token: s3cret }"


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


def test_a_file_that_holds_no_credentials_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "user.creds"
    file.write_text("nothing")
    with EmbeddedServer(make_jwt_world().config) as server:
        words = "not a NATS credentials file.*remove nats.credential.file if the server needs no"
        refused(server, words, credential_file=str(file))


@pytest.mark.parametrize(
    ("content", "ship"),
    [
        (b"", "false"),
        (b"dummy\n", "false"),
        (b"dummy\n", "true"),
        (bytes(range(128, 256)), "false"),
        (make_jwt_world().credentials.encode(), "false"),
        (make_jwt_world().credentials.encode(), "true"),
    ],
    ids=["empty", "dummy", "dummy-shipped", "binary", "valid", "valid-shipped"],
)
def test_credentials_that_a_server_does_not_need_are_not_used(
    tmp_path: Path,
    content: bytes,
    ship: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(auth, "_warned", set())
    file = tmp_path / "user.creds"
    file.write_bytes(content)
    with filled("") as server:
        for _ in range(2):
            check(server, credential_file=str(file), files_ship=ship)
    option = "nats.credential.secret" if ship == "true" else f"nats.credential.file={file}"
    (warning,) = (each.getMessage() for each in caplog.records if each.levelname == "WARNING")
    assert f"requires no authentication, so {option} is not used: remove the option" in warning


def test_a_key_that_a_server_does_not_need_is_not_used(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(auth, "_warned", set())
    seed, _ = new_nkey(nkeys.PREFIX_BYTE_USER)
    with filled("") as server:
        check(server, nkey_seed_secret=seed)
        refused(server, r"nkey seed .* is invalid", nkey_seed_secret="wrong-seed")
    assert "so nats.nkey.seed.secret is not used" in caplog.text
    assert seed not in caplog.text


def test_credentials_for_a_server_with_passwords_are_named(tmp_path: Path) -> None:
    file = tmp_path / "user.creds"
    file.write_text(make_jwt_world().credentials)
    with filled(USER, user="ada", password="geheim") as server:
        words = rf"nats\.credential\.file={re.escape(str(file))} is set.*remove the option"
        refused(server, words, credential_file=str(file))


@pytest.mark.parametrize("option", ["nkey_seed_file", "credential_file"])
def test_a_file_that_holds_no_text_is_named(tmp_path: Path, option: str) -> None:
    file = tmp_path / "binary"
    file.write_bytes(bytes(range(128, 256)))
    with EmbeddedServer(make_jwt_world().config) as server:
        refused(server, rf"{re.escape(str(file))} is not a text file", **{option: str(file)})


def may_not(*subjects: str) -> str:
    """A server configuration with a user who may not publish to some subjects."""
    return (
        "authorization { users = [ {user: ada, password: geheim, "
        f"permissions {{ publish {{ deny: {json.dumps(subjects)} }} }} }} ] }}"
    )


def control_of(server: EmbeddedServer) -> Control:
    """A connection as that user, which waits for a moment only."""
    named = {"nats.url": server.url, "nats.user": "ada", "nats.password": "geheim"}
    timeout = {"nats.request.timeout": "500ms", "nats.retry.count": "0"}
    return Control(NatsSettings.from_options({**named, **timeout}))


@contextmanager
def stopped(server: EmbeddedServer) -> Iterator[None]:
    """The server is silent while the block runs."""
    os.kill(server.pid, signal.SIGSTOP)
    os.waitid(os.P_PID, server.pid, os.WSTOPPED)
    try:
        yield
    finally:
        os.kill(server.pid, signal.SIGCONT)


@pytest.mark.parametrize("other", ["A", "ab"])
def test_a_refused_subject_is_told_from_others(other: str) -> None:
    with EmbeddedServer(may_not("$JS.API.STREAM.INFO.AB")) as server, control_of(server) as control:
        with pytest.raises(MissingPermissionError, match=r"STREAM\.INFO\.AB"):
            control.api("STREAM.INFO.AB")
        with stopped(server), pytest.raises((TimeoutExpiredError, ConnectError)) as caught:
            control.api(f"STREAM.INFO.{other}")
        assert not isinstance(caught.value, AuthError)


def test_a_refused_subject_is_told_from_one_of_another_case_that_is_asked_at_once() -> None:
    config = may_not("$JS.API.STREAM.INFO.ab", "$JS.API.STREAM.INFO.aB")
    with EmbeddedServer(config) as server, control_of(server) as control:
        calls = [(f"STREAM.INFO.{name}", None) for name in ("AB", "aB", "Ab", "ab")]
        begun = time.monotonic()
        with pytest.raises(MissingPermissionError, match=r"STREAM\.INFO\.aB"):
            control.api_many(calls, existing=True)
        assert time.monotonic() - begun < 0.5
        assert control.api_many([calls[0], calls[2]], existing=True) == []


def test_a_direct_get_that_is_refused_is_reported_at_once() -> None:
    config = may_not("$JS.API.DIRECT.GET.>")
    with (
        EmbeddedServer(config) as server,
        control_of(server) as control,
        pytest.raises(MissingPermissionError, match=r'DIRECT\.GET\.S"; grant'),
    ):
        control.direct_get("S", {"seq": 1}, 20.0)


def test_a_permission_that_was_granted_meanwhile_is_not_reported_as_missing() -> None:
    refusing, granting = may_not("$JS.API.STREAM.LIST"), may_not()
    with EmbeddedServer(refusing) as server, control_of(server) as control:
        with pytest.raises(MissingPermissionError):
            control.api("STREAM.LIST")
        config = server.log_path.with_name("server.conf")
        config.write_text(config.read_text().replace(refusing, granting))
        os.kill(server.pid, signal.SIGHUP)

        def granted() -> bool:
            try:
                return bool(control.api("STREAM.LIST"))
            except MissingPermissionError:
                return False

        wait_until(granted)
        with stopped(server), pytest.raises((TimeoutExpiredError, ConnectError)) as caught:
            control.api("STREAM.LIST")
        assert not isinstance(caught.value, AuthError)


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


@pytest.mark.parametrize("variable", ["NATS_NKEY", "NATS_NKEY_SEED_FILE"])
def test_the_key_file_of_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    """NATS_NKEY is the variable of the Scala connectors and of the nats command."""
    seed, public = new_nkey(nkeys.PREFIX_BYTE_USER)
    file = tmp_path / "user.nk"
    file.write_text(seed)
    with filled(
        f"authorization {{ users = [ {{ nkey: {public} }} ] }}", nkeys_seed_str=seed
    ) as server:
        monkeypatch.setenv(variable, str(file))
        check(server)


def test_the_credentials_file_of_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make_jwt_world()
    file = tmp_path / "user.creds"
    file.write_text(world.credentials)
    with filled(world.config, user_credentials=str(file)) as server:
        monkeypatch.setenv("NATS_CREDS", str(file))
        check(server)


def test_the_certificates_of_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificates = make_certificates(tmp_path)
    context = ssl.create_default_context(cafile=str(certificates.ca))
    context.load_cert_chain(certificates.client_cert, certificates.client_key)
    with filled(certificates.server_block(", verify: true"), tls=context) as server:
        monkeypatch.setenv("NATS_CA", str(certificates.ca))
        monkeypatch.setenv("NATS_CERT", str(certificates.client_cert))
        monkeypatch.setenv("NATS_KEY", str(certificates.client_key))
        check(server)
