"""Options, environment and contexts become settings, or one clear error."""

from __future__ import annotations

import json
import pickle
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nats_spark_common import NatsSettings, OptionError
from nats_spark_common.options.durations import parse_duration
from nats_spark_common.options.names import ALIASES, JVM_ONLY
from nats_spark_common.options.positions import (
    AtSequence,
    AtTime,
    Earliest,
    Latest,
    parse_positions,
)
from nats_spark_common.options.types import parse_size

SECRETS = {
    "nats.user": "ada",
    "nats.password": "geheim-1",
}


def settings(**options: str) -> NatsSettings:
    return NatsSettings.from_options({f"nats.{k.replace('_', '.')}": v for k, v in options.items()})


#: Every option of the three Scala connectors (their sources and READMEs), and what it becomes.
SCALA = {
    "nats.host": ("h", "url", ("nats://h:4222",)),
    "nats.port": ("4333", "url", ("nats://localhost:4333",)),
    "nats.credential.file": (__file__, "credential_file", __file__),
    "nats.stream.name": ("S", "stream_name", ("S",)),
    "nats.stream.subjects": ("a, b.>", "stream_subjects", ("a", "b.>")),
    "nats.stream.subject": ("a.b", "sink_subject", "a.b"),
    "nats.durable.name": ("d", "durable_name", "d"),
    "nats.num.listeners": ("3", "num_listeners", 3),
    "nats.msg.ack.wait.secs": ("90", "msg_ack_wait_secs", 90.0),
    "nats.msg.fetch.batch.size": ("10", "msg_fetch_batch_size", 10),
    "nats.msg.receive.wait.millis": ("50", "msg_receive_wait_millis", 0.05),
    "nats.flush.wait.millis": ("0", "flush_wait_millis", 0.0),
    "nats.pull.subscription.stream.name": ("S", "stream_name", ("S",)),
    "nats.pull.subscription.durable.name": ("d", "durable_name", "d"),
    "nats.pull.consumer.create": ("false", "js_define_consumer", False),
    "nats.pull.consumer.ack.wait": ("90", "msg_ack_wait_secs", 90.0),
    "nats.pull.consumer.max.ack.pending": ("1000", "pull_consumer_max_ack_pending", 1000),
    "nats.pull.consumer.max.batch": ("100", "pull_consumer_max_batch", 100),
    "nats.pull.batch.size": ("1000", "msg_fetch_batch_size", 1000),
    "nats.pull.wait.time": ("1", "msg_receive_wait_millis", 1.0),
    "nats.pull.batcher.initial.delay": ("1", "pull_batcher_initial_delay", "1"),
    "nats.pull.batcher.frequency.secs": ("30", "pull_batcher_frequency_secs", "30"),
    "nats.storage.type": ("memory", "storage_type", "memory"),
    "nats.storage.replicas": ("3", "storage_replicas", 3),
    "nats.storage.payload-compression": ("zlib", "payload_compression", "zlib"),
    "nats.stream.prefix": ("P", "stream_prefix", "P"),
    "nats.num.partitions": ("4", "num_partitions", 4),
    "nats.reset.on.restart": ("true", "reset_on_restart", True),
    "nats.connection.timeout": ("20", "connect_timeout", 20.0),
    "nats.connection.user.name": ("ada", "user", "ada"),
    "nats.connection.outgoingqueue.maxmessages": (
        "10000",
        "connection_outgoingqueue_maxmessages",
        10000,
    ),
    "nats.ping.interval": ("10", "ping_interval", 10.0),
    "nats.ping.interval.secs": ("10", "ping_interval", 10.0),
    "nats.reconnect.wait": ("20", "reconnect_wait", 20.0),
    "nats.reconnect.wait.secs": ("20", "reconnect_wait", 20.0),
    "nats.allow.reconnect": ("false", "allow_reconnect", False),
    "nats.idle-timeout.minutes": ("2", "idle_timeout_minutes", 120.0),
    "nats.ack.none": ("true", "ack_none", True),
    "nats.datetime.format": ("MM/dd", "datetime_format", "MM/dd"),
    "nats.js.api-prefix": ("P.API", "js_api_prefix", "P.API"),
    "nats.js.api.prefix": ("P.API", "js_api_prefix", "P.API"),
    "nats.source.js.api-prefix": ("P.API", "js_api_prefix", "P.API"),
    "nats.sink.js.api-prefix": ("P.API", "js_api_prefix", "P.API"),
    "nats.js.define-stream": ("false", "js_define_stream", False),
    "nats.js.define-consumer": ("false", "js_define_consumer", False),
}


@pytest.mark.parametrize("option", SCALA)
def test_every_option_of_the_scala_connectors_is_accepted(option: str) -> None:
    value, field, meaning = SCALA[option]
    assert getattr(NatsSettings.from_options({option: value}), field) == meaning


def test_no_alias_is_left_out_of_that_test() -> None:
    tested = {option.replace("-", ".") for option in SCALA} | {"nats.connection.user.password"}
    assert set(ALIASES) <= tested


@pytest.mark.parametrize(
    "option",
    [
        "nats.trust-store.path",
        "nats.trust-store.password",
        "nats.key-store.path",
        "nats.key-store.password",
        "nats.trust.store.path",
        "nats.key.store.path",
        "nats.tls.algorithm",
        "nats.ssl.context.factory.class",
    ],
)
def test_what_only_java_understands_is_refused_with_what_to_do(option: str) -> None:
    assert option.replace("-", ".") in JVM_ONLY
    with pytest.raises(OptionError, match=rf"{option}.*(nats\.tls|remove it)"):
        NatsSettings.from_options({option: "x"})


def test_options_are_found_without_regard_to_case() -> None:
    assert NatsSettings.from_options({"NATS.Stream.Name": "S"}).stream_name == ("S",)


def test_options_that_are_not_ours_are_left_alone() -> None:
    assert NatsSettings.from_options({"path": "x", "checkpointLocation": "y"}) == settings()


@pytest.mark.parametrize(
    ("option", "suggested"),
    [
        ("nats.strem.name", "nats.stream.name"),
        ("nats.max.message.per.trigger", "nats.max.messages.per.trigger"),
        ("nats.hosts", "nats.host"),
    ],
)
def test_an_unknown_option_suggests_the_nearest(option: str, suggested: str) -> None:
    with pytest.raises(OptionError, match=rf"{option} is not an option: did you mean {suggested}"):
        NatsSettings.from_options({option: "x"})


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [
        ("nats.max.messages.per.trigger", "0", "greater than 0"),
        ("nats.max.messages.per.trigger", "many", "valid integer"),
        ("nats.max.bytes.per.trigger", "8XB", "a size such as 8MiB"),
        ("nats.fetch.bytes", "1KiB", "greater than or equal to 65536"),
        ("nats.poll.interval", "soon", "a duration such as 500ms"),
        ("nats.poll.interval", "0", "greater than 0"),
        ("nats.fail.on.data.loss", "perhaps", "valid boolean"),
        ("nats.payload.compression", "lz4", "'none', 'zlib', 'gzip' or 'zstd'"),
        ("nats.url", "http://host", "nats://host:4222"),
        ("nats.url", "nats://host:99999", "nats://host:4222"),
        ("nats.port", "x", "1 to 65535"),
        ("nats.stream.name", "a.b", "stream names"),
        ("nats.stream.subjects", "a..b", "subjects such as"),
        ("nats.stream.subjects", "a.>.b", "subjects such as"),
        ("nats.start", "yesterday", "RFC 3339"),
        ("nats.start", "0", "sequences are from 1 to"),
        ("nats.start", '{"A":', "not JSON"),
        ("nats.tls.ca", "/no/such/file", "no such file"),
        ("nats.sink.mode", "twice", "'at-least-once'"),
    ],
)
def test_a_wrong_value_names_the_option_the_value_and_what_is_allowed(
    option: str, value: str, expected: str
) -> None:
    with pytest.raises(OptionError) as caught:
        NatsSettings.from_options({option: value})
    words = str(caught.value)
    assert option in words
    assert expected in words
    assert value in words or value.lower() in words


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"nats.url": "nats://a", "nats.host": "b"}, ["nats.url", "nats.host"]),
        ({"nats.token": "t", "nats.user": "u"}, ["nats.token", "nats.user"]),
        ({"nats.stream.name": "a", "nats.stream.pattern": "b"}, ["nats.stream.pattern"]),
        ({"nats.tls.cert": __file__}, ["nats.tls.key"]),
        ({"nats.password": "p"}, ["nats.user"]),
        (
            {"nats.min.messages.per.trigger": "5", "nats.max.messages.per.trigger": "4"},
            ["nats.min.messages.per.trigger=5", "nats.max.messages.per.trigger=4"],
        ),
        ({"nats.ping.interval": "1", "nats.ping.interval.secs": "2"}, ["nats.ping.interval.secs"]),
    ],
)
def test_contradictions_are_refused(options: dict[str, str], named: list[str]) -> None:
    with pytest.raises(OptionError) as caught:
        NatsSettings.from_options(options)
    assert all(name in str(caught.value) for name in named)


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


def test_an_identity_is_not_mixed_from_two_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NATS_CREDS", __file__)
    found = settings(user="ada", password="p")
    assert (found.user, found.credential_file) == ("ada", None)


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


def test_one_duration_in_two_spellings_is_no_difference() -> None:
    both = {"nats.ping.interval": "10", "nats.ping.interval.secs": "10"}
    assert NatsSettings.from_options(both).ping_interval == 10.0


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


def test_a_context_that_is_missing_says_where_it_was_looked_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "nats/context").mkdir(parents=True)
    (tmp_path / "nats/context/other.json").write_text("{}")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    with pytest.raises(OptionError, match=r"nats\.context=prod.*prod\.json.*other"):
        settings(context="prod")


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


def test_the_balanced_flavor_has_a_default_limit() -> None:
    assert NatsSettings.from_options({}, flavor="balanced").max_messages_per_trigger == 100_000
    assert NatsSettings.from_options({}, flavor="v2").max_messages_per_trigger is None


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("a.b,a.b", ("a.b",)),
        ("a.>,a.b,c", ("a.>", "c")),
        ("a.*,a.b.c,a.x", ("a.*", "a.b.c")),
        ("*.b,a.b", ("*.b",)),
    ],
)
def test_filters_within_others_are_left_out(given: str, kept: tuple[str, ...]) -> None:
    assert settings(stream_subjects=given).stream_subjects == kept


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("a.*,*.b", r"a\.\* and \*\.b do"),
        ("a.*.c,a.b.>", r"overlap"),
        ("k1*", r"in k1\*, a wildcard is part of a token"),
        ("a.b>", "part of a token"),
    ],
)
def test_filters_that_a_server_would_refuse_are_named(given: str, words: str) -> None:
    with pytest.raises(OptionError, match=rf"nats\.stream\.subjects=.*{words}"):
        settings(stream_subjects=given)


def test_everything_is_no_filter() -> None:
    assert settings(stream_subjects=">").stream_subjects == ()


@given(st.integers(0, 10**6))
def test_durations(number: int) -> None:
    assert parse_duration(f"{number}") == number
    assert parse_duration(f"{number}ms") == pytest.approx(number / 1000)
    assert parse_duration(f"{number} m") == number * 60
    assert parse_duration(f"{number}h") == number * 3600


@given(st.integers(0, 10**6))
def test_sizes(number: int) -> None:
    assert parse_size(f"{number}") == number
    assert parse_size(f"{number}KiB") == parse_size(f"{number}k") == number * 1024
    assert parse_size(f"{number} MB") == number * 10**6


@given(st.text(max_size=12))
def test_any_text_is_a_position_or_an_option_error(text: str) -> None:
    try:
        found = parse_positions("nats.start", text, Earliest())
    except OptionError:
        return
    assert found.for_stream("S") is not None


@pytest.mark.parametrize("text", ["0", str(1 << 63), "9" * 5000])
def test_what_no_sequence_can_be_is_refused(text: str) -> None:
    with pytest.raises(OptionError, match="sequences are from 1 to"):
        parse_positions("nats.start", text, Earliest())


@pytest.mark.parametrize(
    ("text", "seconds"), [("-1h", 3600), ("-90s", 90), ("- 2 D", 172800), ("-1.5h", 5400)]
)
def test_a_time_before_now_is_fixed_when_it_is_parsed(text: str, seconds: int) -> None:
    earliest = time.time_ns() - seconds * 10**9
    found = parse_positions("nats.start", text, Earliest()).default
    assert isinstance(found, AtTime)
    assert earliest <= found.ns <= time.time_ns() - seconds * 10**9


@pytest.mark.parametrize("text", ["-" + "9" * 400 + "d", "-1000000d"])
def test_a_time_before_any_stream_is_one_that_the_server_can_count(text: str) -> None:
    found = parse_positions("nats.start", text, Earliest()).default
    assert str(found).startswith("18")


@pytest.mark.parametrize("text", ["-1", "-2", "-0", "1h", "-1h30m", "-h", "--1h", "+1h", "-1y"])
def test_what_only_looks_like_a_time_before_now_is_refused(text: str) -> None:
    with pytest.raises(
        OptionError, match=r"nats\.end='.+' is not a position: use .*-30m, -1h, -2d"
    ):
        parse_positions("nats.end", text, Earliest())


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("2024-05-01T12:00:00", "2024-05-01T12:00:00Z"),
        ("2024-05-01 12:00:00.5", "2024-05-01T12:00:00.5Z"),
        ("2024-05-01 12:00", "2024-05-01T12:00:00Z"),
        ("2024-05-01", "2024-05-01T00:00:00Z"),
    ],
)
def test_a_time_without_a_zone_is_refused_with_what_to_append(text: str, remedy: str) -> None:
    with pytest.raises(OptionError) as refused:
        parse_positions("nats.start", text, Earliest())
    assert f"nats.start={text!r} has no time zone: append Z for UTC ({remedy})" in str(
        refused.value
    )
    assert isinstance(parse_positions("nats.start", remedy, Earliest()).default, AtTime)


def test_a_wrong_position_of_a_stream_names_the_stream() -> None:
    with pytest.raises(OptionError, match=r"nats\.start\[A\]='True' is not a position: use"):
        parse_positions("nats.start", '{"A": true}', Earliest())


def test_positions_per_stream() -> None:
    text = '{"A": 17, "B": "latest", "C": "1970-01-01T00:00:01.5Z"}'
    found = parse_positions("nats.start", text, Earliest())
    assert [found.for_stream(name) for name in "ABCD"] == [
        AtSequence(17),
        Latest(),
        AtTime(1_500_000_000),
        Earliest(),
    ]
