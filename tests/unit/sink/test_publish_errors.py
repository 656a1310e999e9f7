"""Errors of publishes: which are transient, and what their messages say."""

from __future__ import annotations

from typing import Any

import pytest

from nats_spark_common.errors import PublishError
from nats_spark_common.sink.publish_errors import is_transient, publish_error


def error(code: int = 400, err_code: int = 10077, words: str = "no") -> dict[str, Any]:
    return {"code": code, "err_code": err_code, "description": words}


@pytest.mark.parametrize("code", [429, 503])
@pytest.mark.parametrize("err_code", [10008, 10167, 0])
def test_errors_of_an_overloaded_server_are_transient(code: int, err_code: int) -> None:
    assert is_transient({"error": error(code, err_code)})


@pytest.mark.parametrize("err_code", [10077, 10002, 10023, 10047])
def test_a_full_stream_or_account_is_not_transient(err_code: int) -> None:
    assert not is_transient({"error": error(503, err_code)})


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"stream": "ORDERS", "seq": 1},
        {"error": None},
        {"error": "503"},
        {"error": {}},
        {"error": {"description": "no"}},
        {"error": error(400, 10071)},
        {"error": error(500, 10054)},
    ],
)
def test_other_errors_are_permanent(body: dict[str, Any]) -> None:
    assert not is_transient(body)


def test_an_error_names_subject_stream_reason_and_fix() -> None:
    body = {"stream": "ORDERS", "error": error(503, 10077, "maximum messages exceeded")}
    words = str(publish_error("orders.eu", body))
    assert words.startswith(
        "subject 'orders.eu': stream 'ORDERS' rejected the message: maximum messages exceeded; "
        "the stream is full"
    )


@pytest.mark.parametrize("found", [error(400, 19999), {"code": 400, "description": "no"}])
def test_an_error_without_a_known_fix_ends_with_the_servers_description(
    found: dict[str, Any],
) -> None:
    words = "subject 'a': the server rejected the message: no"
    assert str(publish_error("a", {"error": found})) == words


def test_an_error_without_description_is_reported() -> None:
    assert "unknown error" in str(publish_error("a", {"error": {"code": 400}}))


def test_an_error_names_the_other_stream_that_stored_a_message() -> None:
    found = publish_error("a", {"stream": "OTHER", "seq": 1})
    assert isinstance(found, PublishError)
    assert "stream 'OTHER' stored the message" in str(found)


def test_a_message_that_file_storage_does_not_take_is_not_a_full_stream() -> None:
    words = str(publish_error("orders.eu", {"error": error(503, 10077, "message too large")}))
    assert words.endswith("file storage stores up to 32 MiB: make the message smaller")
