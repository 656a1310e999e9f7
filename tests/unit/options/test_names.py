"""Option names: those of the Scala connectors are accepted, unknown ones suggest the nearest."""

from __future__ import annotations

import pytest

from nats_spark_common import NatsSettings, OptionError
from nats_spark_common.options.names import ALIASES, JVM_ONLY

from ..._support.options import settings

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
