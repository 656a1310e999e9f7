"""Values of options become settings, or one error that names the option, the value and the fix."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nats_spark_common import NatsSettings, OptionError
from nats_spark_common.options.durations import parse_duration
from nats_spark_common.options.types import parse_size

from ..._support.options import settings


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [
        ("nats.max.messages.per.trigger", "0", "greater than 0"),
        ("nats.max.messages.per.trigger", "many", "valid integer"),
        ("nats.max.bytes.per.trigger", "8XB", "a size such as 8MiB"),
        ("nats.fetch.bytes", "1KiB", "greater than or equal to 65536"),
        ("nats.payload.max.decompressed", "2GiB", "less than or equal to 2147483647"),
        ("nats.poll.interval", "soon", "a duration such as 500ms"),
        ("nats.poll.interval", "0", "greater than 0"),
        ("nats.fail.on.data.loss", "perhaps", "valid boolean"),
        ("nats.payload.compression", "lz4", "'none', 'zlib', 'gzip' or 'zstd'"),
        ("nats.url", "http://host", "nats://host:4222"),
        ("nats.url", "nats://host:99999", "nats://host:4222"),
        ("nats.url", "nats://[::1", "nats://host:4222"),
        ("nats.host", "[::1", "nats://host:4222"),
        ("nats.url", "nats://h\u2100x", "nats://host:4222"),
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


@pytest.mark.parametrize(
    "both",
    [
        {"nats.ping.interval": "10", "nats.ping.interval.secs": "10"},
        {"nats.msg.receive.wait.millis": "1000", "nats.pull.wait.time": "1"},
        {"nats.js.define.consumer": "True", "nats.pull.consumer.create": "true"},
        {"nats.payload.compression": "ZLIB", "nats.storage.payload.compression": "zlib"},
        {"nats.payload.compression": "none", "nats.storage.payload.compression": "uncompressed"},
        {"nats.stream.name": "A,B", "nats.pull.subscription.stream.name": "A, B"},
        {"nats.msg.fetch.batch.size": "10", "nats.pull.batch.size": "010"},
    ],
)
def test_one_value_in_two_spellings_is_no_difference(both: dict[str, str]) -> None:
    found = NatsSettings.from_options(both)
    assert all(found == NatsSettings.from_options({name: both[name]}) for name in both)


@pytest.mark.parametrize(
    "both",
    [
        {"nats.user": "60", "nats.connection.user.name": "1m"},
        {"nats.durable.name": "1", "nats.pull.subscription.durable.name": "1s"},
        {"nats.ping.interval": "soon", "nats.ping.interval.secs": "later"},
    ],
)
def test_texts_that_are_equal_as_durations_only_differ(both: dict[str, str]) -> None:
    with pytest.raises(OptionError, match="are the same option and differ"):
        NatsSettings.from_options(both)


@pytest.mark.parametrize(
    "option", ["nats.fetch.bytes", "nats.request.timeout", "nats.max.messages.per.trigger"]
)
def test_a_number_of_many_digits_is_an_error_of_the_option(option: str) -> None:
    with pytest.raises(OptionError, match=rf"{option}='9+\.\.\.'") as caught:
        NatsSettings.from_options({option: "9" * 5000})
    assert len(str(caught.value)) < 500


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
