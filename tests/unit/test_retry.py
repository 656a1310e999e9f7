"""Retries, with pauses noted instead of slept."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from nats_spark_common import (
    AuthError,
    ConnectError,
    NatsSparkError,
    OptionError,
    TimeoutExpiredError,
)
from nats_spark_common.retry import pause, retrying
from nats_spark_common.settings import NatsSettings

TRANSIENT: tuple[type[NatsSparkError], ...] = (ConnectError, TimeoutExpiredError)
THREE = NatsSettings.from_options({"nats.stream.name": "S", "nats.retry.count": "3"})


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that were to be slept."""
    noted: list[float] = []
    monkeypatch.setattr("time.sleep", noted.append)
    return noted


def acting(*outcomes: Exception | str) -> Callable[[], str]:
    """An action that fails or succeeds by a plan."""
    plan: Iterator[Exception | str] = iter(outcomes)

    def act() -> str:
        outcome = next(plan)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    return act


def test_what_succeeds_is_called_once(pauses: list[float]) -> None:
    assert retrying(acting("done"), THREE, TRANSIENT) == "done"
    assert pauses == []


def test_what_fails_for_a_moment_is_called_until_it_succeeds(pauses: list[float]) -> None:
    act = acting(ConnectError("away"), TimeoutExpiredError("slow"), "done")
    assert retrying(act, THREE, TRANSIENT) == "done"
    assert pauses == [pause(0), pause(1)]


def test_retries_do_not_multiply(pauses: list[float]) -> None:
    calls = []

    def inner() -> str:
        calls.append(1)
        raise TimeoutExpiredError("slow")

    with pytest.raises(TimeoutExpiredError):
        retrying(lambda: retrying(inner, THREE, (TimeoutExpiredError,)), THREE, TRANSIENT)
    assert len(calls) == 4
    with pytest.raises(TimeoutExpiredError):  # and each has its own again
        retrying(inner, THREE, TRANSIENT)
    assert len(calls) == 8


def test_what_nobody_else_retries_is_retried_within(pauses: list[float]) -> None:
    act = acting(TimeoutExpiredError("slow"), "done")
    assert retrying(lambda: retrying(act, THREE, TRANSIENT), THREE, (ConnectError,)) == "done"


def test_the_last_error_is_raised_after_the_last_retry(pauses: list[float]) -> None:
    act = acting(*(ConnectError(f"call {i}") for i in range(9)))
    with pytest.raises(ConnectError, match="call 3"):
        retrying(act, THREE, TRANSIENT)
    assert len(pauses) == 3


def test_without_retries_the_first_error_is_raised(pauses: list[float]) -> None:
    settings = NatsSettings.from_options({"nats.stream.name": "S", "nats.retry.count": "0"})
    with pytest.raises(ConnectError, match="first"):
        retrying(acting(ConnectError("first"), "done"), settings, TRANSIENT)
    assert pauses == []


def test_refused_credentials_are_not_tried_again_though_they_are_a_connect_error(
    pauses: list[float],
) -> None:
    with pytest.raises(AuthError):
        retrying(acting(AuthError("no"), "done"), THREE, TRANSIENT)
    assert pauses == []


def test_an_error_that_does_not_pass_is_not_tried_again(pauses: list[float]) -> None:
    with pytest.raises(OptionError):
        retrying(acting(OptionError("no"), "done"), THREE, TRANSIENT)
    assert pauses == []


def test_pauses_double_up_to_five_seconds() -> None:
    assert [pause(i) for i in range(8)] == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]


@pytest.mark.parametrize("attempt", [1000, 100_000])
def test_pauses_stay_bounded_however_often_it_failed(attempt: int) -> None:
    assert pause(attempt) == 5.0
