"""Which ranges are read with direct gets, and which through a consumer."""

from __future__ import annotations

import pytest

from nats_spark_common import NatsSettings, OptionError
from nats_spark_common.jetstream.api import StreamInfo
from nats_spark_common.planning import way
from nats_spark_common.planning.ranges import NEVER
from nats_spark_common.planning.way import choose

NEW, OLD = (2, 15, 1), (2, 10, 26)


def settings(via: str = "auto") -> NatsSettings:
    return NatsSettings.from_options({"nats.read.via": via})


def info(
    *,
    retention: str = "limits",
    allow_direct: bool = True,
    clustered: bool = False,
) -> StreamInfo:
    return StreamInfo(
        name="S",
        created="now",
        first_seq=1,
        last_seq=1_000,
        messages=1_000,
        bytes=200_000,
        retention=retention,
        allow_direct=allow_direct,
        subjects=("S.>",),
        clustered=clustered,
    )


def test_long_ranges_are_read_through_a_consumer() -> None:
    assert choose(settings(), info(), (), NEW) == (True, way.CONSUMER_FROM)
    assert choose(settings(), info(), ("S.a",), NEW) == (True, way.CONSUMER_FROM)


def test_creating_a_consumer_costs_more_in_a_cluster() -> None:
    _, length = choose(settings(), info(clustered=True), (), NEW)
    assert length == way.CONSUMER_FROM_IN_CLUSTER > way.CONSUMER_FROM


@pytest.mark.parametrize(
    "stream",
    [
        info(retention="interest"),
        info(retention="workqueue"),
    ],
)
def test_a_stream_that_a_consumer_affects_is_read_direct(
    stream: StreamInfo,
) -> None:
    assert choose(settings(), stream, (), NEW) == (True, NEVER)


def test_the_option_overrides_the_choice() -> None:
    assert choose(settings("consumer"), info(retention="interest"), (), NEW) == (True, 0)
    assert choose(settings("direct"), info(), (), NEW) == (True, NEVER)
    assert choose(settings("consumer"), info(retention="workqueue"), (), NEW) == (True, NEVER)


@pytest.mark.parametrize(
    ("stream", "filters", "version"),
    [(info(allow_direct=False), (), NEW), (info(), (), OLD), (info(), ("S.a", "S.b"), NEW)],
)
def test_what_direct_gets_cannot_read_is_read_through_a_consumer(
    stream: StreamInfo, filters: tuple[str, ...], version: tuple[int, ...]
) -> None:
    for via in ("auto", "consumer"):
        direct, _ = choose(settings(via), stream, filters, version)
        assert not direct


@pytest.mark.parametrize(
    ("stream", "filters", "version", "words"),
    [
        (info(allow_direct=False), (), NEW, "allow_direct off: turn it on"),
        (info(), (), OLD, "on server 2.10.26, and direct get batches need 2.11: upgrade"),
        (info(), ("S.a", "S.b"), NEW, "read with 2 filter subjects, and a direct get has one"),
    ],
)
def test_direct_gets_that_are_impossible_are_an_error_that_says_why(
    stream: StreamInfo, filters: tuple[str, ...], version: tuple[int, ...], words: str
) -> None:
    with pytest.raises(OptionError, match=r"^nats\.read\.via=direct: stream 'S' .*") as caught:
        choose(settings("direct"), stream, filters, version)
    assert words in str(caught.value)
    assert "use nats.read.via=auto" in str(caught.value)
