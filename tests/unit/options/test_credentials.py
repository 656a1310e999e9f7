"""Credentials: from URLs and from several layers, never mixed, and shown nowhere."""

from __future__ import annotations

import pickle

import pytest

from nats_spark_common import NatsSettings, OptionError

from ..._support.options import settings


def test_an_identity_is_not_mixed_from_two_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NATS_CREDS", __file__)
    found = settings(user="ada", password="p")
    assert (found.user, found.credential_file) == ("ada", None)


def test_credentials_of_a_url_without_a_scheme_are_not_lost() -> None:
    found = settings(url="ada:pw@one:1,ada:pw@two")
    assert (found.url, found.user) == (("nats://one:1", "nats://two:4222"), "ada")
    assert found.password is not None
    assert found.password.get_secret_value() == "pw"
    assert settings(url="s3cret@one").token is not None


def test_credentials_of_a_url_are_for_its_servers_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NATS_URL", "nats://ada:pw@one")
    assert settings().user == "ada"
    assert settings(url="nats://another").user is None


@pytest.mark.parametrize(
    ("environment", "password"),
    [
        ({"NATS_PASSWORD": "pw"}, "pw"),
        ({"NATS_PASSWORD": "pw", "NATS_USER": "ada"}, "pw"),
        ({"NATS_PASSWORD": "pw", "NATS_USER": "eve"}, None),
        ({"NATS_PASSWORD": "pw", "NATS_TOKEN": "t"}, None),
        ({"NATS_URL": "nats://ada:pw@one"}, "pw"),
    ],
)
def test_a_user_without_a_password_takes_one_that_is_meant_for_it(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], password: str | None
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    found = settings(user="ada")
    assert (found.user, found.token) == ("ada", None)
    assert (found.password and found.password.get_secret_value()) == password


def test_credentials_in_a_url_become_settings_and_leave_it() -> None:
    found = settings(url="nats://ada:p%40ss@a:1,nats://ada:p%40ss@b:2")
    assert found.url == ("nats://a:1", "nats://b:2")
    assert found.user == "ada"
    assert found.password is not None
    assert found.password.get_secret_value() == "p@ss"


@pytest.mark.parametrize(
    "secret",
    [
        {"nats.user": "ada", "nats.password": "geheim"},
        {"nats.token": "geheim"},
        {"nats.nkey.seed.secret": "geheim"},
        {"nats.url": "nats://ada:geheim@host"},
    ],
)
def test_secrets_show_nowhere_but_travel(secret: dict[str, str]) -> None:
    found = NatsSettings.from_options(secret)
    assert "geheim" not in repr(found) + str(found) + found.connection_key()
    assert pickle.loads(pickle.dumps(found)) == found


def test_a_secret_is_not_in_the_error_about_another_option() -> None:
    with pytest.raises(OptionError) as caught:
        NatsSettings.from_options({"nats.token": "geheim", "nats.user": "u"})
    assert "geheim" not in str(caught.value)


def test_the_names_of_secret_options_match_sparks_redaction_pattern() -> None:
    import re

    pattern = re.compile(r"(?i)secret|password|token|access[.]?key")
    secret = [n for n, f in NatsSettings.model_fields.items() if "Secret" in str(f.annotation)]
    assert secret
    assert all(pattern.search(name) for name in secret)


def test_a_connection_key_tells_users_apart() -> None:
    one = settings(user="ada", password="1")
    assert one.connection_key() == settings(user="ada", password="1").connection_key()
    assert one.connection_key() != settings(user="ada", password="2").connection_key()
