"""Options come before environment variables, and those before contexts of the nats command line."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from nats_spark_common import NatsSettings, OptionError

from ..._support.options import settings


def test_options_come_before_the_environment_and_that_before_a_context(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    context = tmp_path / "c.json"
    content = {"url": "nats://context", "jetstream_domain": "context", "inbox_prefix": "_CTX"}
    context.write_text(json.dumps(content))
    monkeypatch.setenv("NATS_URL", "nats://environment")
    monkeypatch.setenv("NATS_DOMAIN", "environment")
    found = NatsSettings.from_options({"nats.url": "nats://option", "nats.context": str(context)})
    assert (found.url, found.domain, found.inbox_prefix) == (
        ("nats://option:4222",),
        "environment",
        "_CTX",
    )


@pytest.mark.parametrize(
    ("variable", "field", "value"),
    [
        ("NATS_MAX_BYTES_PER_TRIGGER", "max_bytes_per_trigger", 2048),
        ("NATS_USER", "user", "2k"),
        ("NATS_FLAVOR", None, None),
    ],
)
def test_an_option_can_be_given_by_the_environment(
    monkeypatch: pytest.MonkeyPatch, variable: str, field: str | None, value: object
) -> None:
    monkeypatch.setenv(variable, "balanced" if field is None else "2k")
    found = settings()
    assert found.flavor == "balanced" if field is None else getattr(found, field) == value


def test_the_command_lines_own_variables_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NATS_CREDS", __file__)
    assert settings().credential_file == __file__


def test_a_wrong_variable_is_named_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NATS_FETCH_BYTES", "much")
    with pytest.raises(OptionError, match="environment variable NATS_FETCH_BYTES='much'"):
        settings()


def test_variables_that_name_no_option_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    without = settings()
    monkeypatch.setenv("NATS_SERVER_HOME", "/x")
    monkeypatch.setenv("NATSURL", "nats://elsewhere:4222")
    assert settings() == without
    assert settings().model_fields_set == without.model_fields_set


@pytest.mark.parametrize("named", ["url", "host"])
def test_a_service_of_kubernetes_that_is_called_nats_is_no_setting(
    monkeypatch: pytest.MonkeyPatch, named: str
) -> None:
    injected = {
        "NATS_PORT": "tcp://10.96.0.12:4222",
        "NATS_PORT_4222_TCP": "tcp://10.96.0.12:4222",
        "NATS_PORT_4222_TCP_ADDR": "10.96.0.12",
        "NATS_SERVICE_HOST": "10.96.0.12",
        "NATS_SERVICE_PORT": "4222",
    }
    for name, value in injected.items():
        monkeypatch.setenv(name, value)
    assert settings().url == ("nats://localhost:4222",)
    assert settings(**{named: "there"}).url == ("nats://there:4222",)
    monkeypatch.setenv(f"NATS_{named.upper()}", "elsewhere")
    assert settings().url == ("nats://elsewhere:4222",)


def test_what_is_wrong_in_a_layer_is_no_matter_where_another_wins(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in {
        "NATS_PORT": "many",
        "NATS_CREDS": "/one",
        "NATS_CREDENTIAL_FILE": "/another",
        "NATS_FETCH_BYTES": "much",
        "NATS_PING_INTERVAL": "10",
        "NATS_PING_INTERVAL_SECS": "11",
    }.items():
        monkeypatch.setenv(name, value)
    given = {"url": "there", "user": "ada", "fetch_bytes": "1MiB", "ping_interval": "5"}
    found = settings(**given)
    assert (found.url, found.user, found.ping_interval) == (("nats://there:4222",), "ada", 5.0)
    for missing, words in {
        "url": "NATS_PORT='many' is not a port",
        "user": "NATS_CREDENTIAL_FILE and .*NATS_CREDS are the same option and differ",
        "fetch_bytes": "NATS_FETCH_BYTES='much'",
        "ping_interval": "NATS_PING_INTERVAL_SECS and .* differ",
    }.items():
        with pytest.raises(OptionError, match=words):
            settings(**{name: value for name, value in given.items() if name != missing})


def test_a_context_that_is_missing_says_where_it_was_looked_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "nats/context").mkdir(parents=True)
    (tmp_path / "nats/context/other.json").write_text("{}")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    with pytest.raises(OptionError, match=r"nats\.context=prod.*prod\.json.*other"):
        settings(context="prod")


@pytest.mark.parametrize(
    "url", ["nats://[::1", "nats://h\u2100x", "nats://ada:p#w@host", "http://x"]
)
def test_a_url_that_is_not_used_may_be_wrong(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("NATS_URL", url)
    assert settings(url="there").url == ("nats://there:4222",)
    with pytest.raises(OptionError, match="environment variable NATS_URL"):
        settings()


def test_a_missing_context_of_the_environment_is_a_warning_if_the_options_name_the_server(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("NATS_CONTEXT", "prod")
    with caplog.at_level(logging.WARNING):
        assert settings(url="there").url == settings(host="there").url == ("nats://there:4222",)
    assert [each.message for each in caplog.records if "nats.context=prod" in each.message]
    for options in ({}, {"url": "there", "context": "prod"}):
        with pytest.raises(OptionError, match=r"nats\.context=prod"):
            settings(**options)
    monkeypatch.setenv("NATS_URL", "nats://one")
    with pytest.raises(OptionError, match=r"nats\.context=prod"):
        settings()


RIVALS = [
    ({"stream.name": "A"}, {"stream.pattern": "X*"}),
    ({"tls.ca.pem": "x"}, {"tls.ca": __file__}),
    (
        {"tls.cert.pem": "x", "tls.key.secret": "y"},
        {"tls.cert": __file__, "tls.key": __file__},
    ),
    ({"sink.mode": "best-effort"}, {"sink.atomic": "true"}),
    ({"ack.policy": "all"}, {"ack.none": "true"}),
    ({"max.messages.per.trigger": "4"}, {"min.messages.per.trigger": "5"}),
]


@pytest.mark.parametrize(
    ("options", "variables"), [*RIVALS, *((other, one) for one, other in RIVALS)]
)
def test_an_option_removes_what_contradicts_it_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, options: dict[str, str], variables: dict[str, str]
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(f"NATS_{name.upper().replace('.', '_')}", value)
    found = NatsSettings.from_options({f"nats.{name}": value for name, value in options.items()})
    assert found.model_fields_set == {name.replace(".", "_") for name in options}
    with pytest.raises(OptionError):
        NatsSettings.from_options({f"nats.{n}": v for n, v in (options | variables).items()})


def test_settings_that_agree_come_from_different_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NATS_SINK_ATOMIC", "true")
    monkeypatch.setenv("NATS_MIN_MESSAGES_PER_TRIGGER", "5")
    found = settings(**{"sink.mode": "exactly-once", "max.messages.per.trigger": "6"})
    assert (found.sink_atomic, found.min_messages_per_trigger) == (True, 5)


@pytest.mark.parametrize("name", ["~nouser/x.json", "a\0b", "x" * 5000, "~nouser"])
def test_a_context_that_cannot_be_a_file_is_an_error_of_the_option(name: str) -> None:
    with pytest.raises(OptionError, match=r"nats\.context=") as caught:
        settings(context=name)
    assert len(str(caught.value)) < 1000


def test_a_context_of_deep_json_is_an_error_of_the_option(tmp_path: Path) -> None:
    path = tmp_path / "deep.json"
    path.write_text('{"url":' + "[" * 100_000)
    with pytest.raises(OptionError, match=r"nats\.context=.*is not JSON"):
        settings(context=str(path))


def test_only_paths_of_a_context_are_expanded(tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    path.write_text(json.dumps({"user": "~ada", "password": "~nouser/x", "ca": "~nouser/ca.pem"}))
    with pytest.raises(OptionError, match=r"nats\.tls\.ca=~nouser/ca\.pem: no such file"):
        settings(context=str(path))
    found = settings(context=str(path), **{"tls.ca.pem": "x"})
    assert found.user == "~ada"
