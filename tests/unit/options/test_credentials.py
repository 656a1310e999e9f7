"""Credentials: from URLs and from several layers, never mixed, and shown nowhere."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

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


@pytest.mark.parametrize("scheme", ["", "nats://", "nats://one,tls://"])
@pytest.mark.parametrize(
    ("credentials", "words"),
    [
        ("ada:p#geheim", "percent-encode it .%23."),
        ("ada:p/geheim", "percent-encode it .%2F."),
        ("ada:p?geheim", "percent-encode it .%3F."),
        ("a/da:geheim", "percent-encode it .%2F."),
        ("ada:geheim,w", "percent-encode , as %2C"),
        ("ada:geheim://w", "percent-encode|server URLs"),
        (":geheim", "password without a user"),
    ],
)
def test_credentials_that_a_url_cannot_hold_are_rejected_and_not_shown(
    scheme: str, credentials: str, words: str
) -> None:
    with pytest.raises(OptionError, match=rf"nats\.url.*({words})") as caught:
        settings(url=f"{scheme}{credentials}@host")
    assert "geheim" not in str(caught.value)
    assert "p#" not in str(caught.value)


@pytest.mark.parametrize("url", ["nats://ada:p%23%2F%3f@host", "ada:p%23%2F%3f@host:4222/"])
def test_credentials_of_a_url_may_be_percent_encoded(url: str) -> None:
    found = settings(url=url)
    assert (found.url, found.user) == (("nats://host:4222",), "ada")
    assert found.password is not None
    assert found.password.get_secret_value() == "p#/?"


def test_a_password_is_not_combined_with_a_user_of_a_lower_layer(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    context = tmp_path / "c.json"
    context.write_text(json.dumps({"user": "eve", "password": "of eve"}))
    monkeypatch.setenv("NATS_USER", "bob")
    with pytest.raises(OptionError, match=r"nats\.password is set.*NATS_USER is in another"):
        settings(password="geheim")
    monkeypatch.delenv("NATS_USER")
    monkeypatch.setenv("NATS_PASSWORD", "geheim")
    with pytest.raises(OptionError, match=r"NATS_PASSWORD is set without .*user in the con"):
        settings(context=str(context))
    monkeypatch.setenv("NATS_USER", "bob")
    found = settings(context=str(context))
    assert found.user == "bob"
    assert found.password is not None
    assert found.password.get_secret_value() == "geheim"


SEED = "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY"
CREDENTIALS = f"""-----BEGIN NATS USER JWT-----
{"e" * 600}
------END NATS USER JWT------

-----BEGIN USER NKEY SEED-----
{SEED}
------END USER NKEY SEED------
"""


@pytest.mark.parametrize(
    ("option", "contents", "text_option"),
    [
        ("credential.file", CREDENTIALS, "credential.secret"),
        ("credential.file", CREDENTIALS.replace("\n", "\\n"), "credential.secret"),
        ("credential.file", "e" * 600, "credential.secret"),
        ("nkey.seed.file", SEED, "nkey.seed.secret"),
        ("nkey.seed.file", f" {SEED}\n", "nkey.seed.secret"),
        ("tls.key", "-----BEGIN PRIVATE KEY-----", "tls.key.secret"),
        ("tls.ca", f"MII{'A' * 5000}", "tls.ca.pem"),
    ],
)
def test_contents_in_place_of_a_path_are_not_shown(
    option: str, contents: str, text_option: str
) -> None:
    cert = {"tls.cert": __file__} if option == "tls.key" else {}
    with pytest.raises(OptionError, match=rf"nats\.{option}.*set nats\.{text_option}") as caught:
        settings(**{option: contents, **cert})
    assert len(str(caught.value)) < 200
    assert SEED not in str(caught.value)


@pytest.mark.parametrize("content", ["", " \n"])
@pytest.mark.parametrize("option", ["credential.file", "nkey.seed.file", "tls.ca"])
def test_an_empty_file_that_is_sent_to_executors_is_an_error(
    tmp_path: Path, option: str, content: str
) -> None:
    """Its contents would be a setting that is not set: the user would be a guest."""
    path = tmp_path / "empty"
    path.write_text(content)
    with pytest.raises(OptionError, match=rf"nats\.{option}={path} is empty"):
        settings(**{option: str(path), "files.ship": "true"})
