"""JetStream's JSON API: streams as the server describes them, and what its errors become."""

from __future__ import annotations

import json
from typing import Any

import pytest

from nats_spark_common import (
    JetStreamUnavailableError,
    NatsSparkError,
    ProtocolError,
    ServerError,
    StreamNotFoundError,
)
from nats_spark_common.jetstream.api import (
    StreamInfo,
    api_prefix,
    encode,
    is_no_message,
    parse_json,
    parse_reply,
)
from nats_spark_common.options.settings import NatsSettings
from nats_spark_common.protocol.operations import Msg

INFO = "$JS.API.STREAM.INFO.ORDERS"


def reply(payload: bytes, header: bytes = b"") -> Msg:
    return Msg(b"_INBOX.x.1", b"1", b"", header, payload)


def failure(**error: Any) -> bytes:
    return json.dumps({"type": "io.nats.jetstream.api.v1.error", "error": error}).encode()


def described(config: dict[str, Any] | None = None, **state: int) -> StreamInfo:
    return StreamInfo.from_json(
        {
            "config": {"name": "ORDERS", **(config or {})},
            "created": "2024-05-01T12:00:00.123456789Z",
            "state": {"first_seq": 3, "last_seq": 9, "messages": 4, "bytes": 100, **state},
        }
    )


def test_an_answer_is_its_json() -> None:
    assert parse_reply(reply(b'{"seq": 9223372036854775807}'), INFO) == {"seq": (1 << 63) - 1}


def test_an_answer_with_headers_that_carry_no_status_is_its_json() -> None:
    assert parse_reply(reply(b'{"a": 1}', b"NATS/1.0\r\nA: 1\r\n\r\n"), INFO) == {"a": 1}


def test_no_responders_is_an_error_with_the_subject_and_the_options() -> None:
    silence = reply(b"", b"NATS/1.0 503\r\n\r\n")
    with pytest.raises(JetStreamUnavailableError, match=r"STREAM\.INFO\.ORDERS.*nats\.domain"):
        parse_reply(silence, INFO)


@pytest.mark.parametrize("err_code", [10076, 10039])
def test_disabled_jetstream_has_its_own_error(err_code: int) -> None:
    answer = failure(code=503, err_code=err_code, description="jetstream not enabled")
    with pytest.raises(JetStreamUnavailableError, match="jetstream not enabled"):
        parse_json(answer, INFO)


def test_a_cluster_without_leader_is_a_temporary_error() -> None:
    answer = failure(code=503, err_code=10008, description="temporarily unavailable")
    with pytest.raises(JetStreamUnavailableError, match=r"temporarily unavailable.*no leader"):
        parse_json(answer, INFO)


def test_any_other_error_keeps_the_servers_description_and_codes() -> None:
    answer = failure(code=400, err_code=10003, description="bad request")
    with pytest.raises(ServerError, match=r"STREAM\.INFO\.ORDERS: bad request") as raised:
        parse_json(answer, INFO)
    error = raised.value
    assert (error.code, error.err_code, error.description) == (400, 10003, "bad request")


def test_an_error_without_codes_is_still_an_error() -> None:
    with pytest.raises(ServerError, match="unknown error"):
        parse_json(b'{"error": {}}', INFO)


def test_a_null_error_is_no_error() -> None:
    assert parse_json(b'{"error": null, "success": true}', INFO)["success"] is True


@pytest.mark.parametrize("subject", ["a.prefix.without.verbs", "$JS.API.INFO"])
def test_a_missing_stream_is_reported_with_the_subject_if_that_has_no_name(
    subject: str,
) -> None:
    with pytest.raises(StreamNotFoundError, match=subject.replace("$", r"\$")):
        parse_json(failure(code=404, err_code=10059, description="stream not found"), subject)


@pytest.mark.parametrize("payload", [b"", b"no JSON", b"\xff\xfe", b"[]", b"7", b"null"])
def test_an_answer_that_is_no_json_object_is_a_protocol_error(payload: bytes) -> None:
    with pytest.raises(ProtocolError, match=r"STREAM\.INFO\.ORDERS"):
        parse_json(payload, INFO)


@pytest.mark.parametrize("error", ["words", 5, []])
def test_an_error_in_another_shape_is_an_error_of_the_suite(error: object) -> None:
    with pytest.raises(NatsSparkError):
        parse_json(json.dumps({"error": error}).encode(), INFO)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ServerError("x", 404, 10037), True),
        (ServerError("x", 404), True),
        (ServerError("x", 400, 10003), False),
        (ServerError("x"), False),
    ],
)
def test_a_missing_message_is_distinguished_from_other_errors(
    error: ServerError, expected: bool
) -> None:
    assert is_no_message(error) is expected


def test_a_stream_is_read_from_the_servers_description() -> None:
    config = {"retention": "workqueue", "allow_direct": True, "subjects": ["a.>", "b"]}
    assert described(config) == StreamInfo(
        name="ORDERS",
        created="2024-05-01T12:00:00.123456789Z",
        first_seq=3,
        last_seq=9,
        messages=4,
        bytes=100,
        retention="workqueue",
        allow_direct=True,
        subjects=("a.>", "b"),
    )


def test_fields_missing_from_old_servers_have_defaults() -> None:
    info = described()
    assert (info.retention, info.allow_direct, info.subjects) == ("limits", False, ())


def test_a_mirror_has_no_subjects() -> None:
    assert described({"subjects": None}).subjects == ()


@pytest.mark.parametrize("first_seq", [0, 10])
def test_an_empty_stream_starts_after_its_end_however_it_is_reported(first_seq: int) -> None:
    assert described(first_seq=first_seq, last_seq=9, messages=0).first_seq == 10


def test_a_stream_that_never_had_a_message_begins_at_one() -> None:
    assert described(first_seq=0, last_seq=0, messages=0).first_seq == 1


def test_the_average_size_counts_messages_and_not_sequences() -> None:
    assert described(bytes=100, messages=4).average_size == 25.0


def test_an_empty_stream_has_no_average_size() -> None:
    assert described(bytes=0, messages=0).average_size == 0.0


@pytest.mark.parametrize(
    ("options", "prefix"),
    [
        ({}, "$JS.API"),
        ({"nats.domain": "hub"}, "$JS.hub.API"),
        ({"nats.js.api-prefix": "acme.js"}, "acme.js"),
        ({"nats.js.api-prefix": "acme.js."}, "acme.js"),
    ],
)
def test_the_api_lives_where_the_settings_say(options: dict[str, str], prefix: str) -> None:
    settings = NatsSettings.from_options({"nats.stream.name": "S", **options})
    assert api_prefix(settings) == prefix


def test_requests_carry_no_white_space() -> None:
    assert encode({"seq": 1, "batch": 2}) == b'{"seq":1,"batch":2}'


@pytest.mark.parametrize(("code", "what"), [(10118, "stream"), (10119, "consumer")])
def test_what_is_offline_may_come_back(code: int, what: str) -> None:
    payload = failure(code=500, err_code=code, description=f"{what} is offline")
    with pytest.raises(JetStreamUnavailableError, match=f"{what} is offline"):
        parse_json(payload, INFO)
