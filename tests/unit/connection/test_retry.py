"""Retries, with pauses recorded instead of slept."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nats_spark_common import (
    AuthError,
    ConnectError,
    NatsSparkError,
    OptionError,
    TimeoutExpiredError,
)
from nats_spark_common.connection import retry
from nats_spark_common.connection.retry import AdaptiveTimeout, pause, retrying
from nats_spark_common.connection.servers import MisconfiguredError
from nats_spark_common.options.settings import NatsSettings

from ..._support.options import named

TRANSIENT: tuple[type[NatsSparkError], ...] = (ConnectError, TimeoutExpiredError)
THREE = NatsSettings.from_options({"nats.stream.name": "S", "nats.retry.count": "3"})


def settings(**short: str) -> NatsSettings:
    return NatsSettings.from_options(named(stream_name="S", **short))


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses in seconds that would have been slept."""
    noted: list[float] = []
    monkeypatch.setattr("time.sleep", noted.append)
    return noted


def acting(*outcomes: Exception | str) -> Callable[[], str]:
    """Return an action with these outcomes."""
    plan: Iterator[Exception | str] = iter(outcomes)

    def act() -> str:
        outcome = next(plan)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    return act


def test_a_successful_action_is_called_once(pauses: list[float]) -> None:
    assert retrying(acting("done"), THREE, TRANSIENT) == "done"
    assert pauses == []


def test_an_action_that_fails_temporarily_is_called_until_it_succeeds(pauses: list[float]) -> None:
    act = acting(ConnectError("away"), TimeoutExpiredError("slow"), "done")
    assert retrying(act, THREE, TRANSIENT) == "done"
    assert pauses == pytest.approx([pause(0), pause(1)], abs=0.05)  # less what an attempt took


def test_retries_do_not_multiply(pauses: list[float]) -> None:
    calls = []

    def inner() -> str:
        calls.append(1)
        raise TimeoutExpiredError("slow")

    with pytest.raises(TimeoutExpiredError):
        retrying(lambda: retrying(inner, THREE, (TimeoutExpiredError,)), THREE, TRANSIENT)
    assert len(calls) == 4
    with pytest.raises(TimeoutExpiredError):  # the next call has its own retries
        retrying(inner, THREE, TRANSIENT)
    assert len(calls) == 8


def test_an_error_that_no_caller_retries_is_retried_within(pauses: list[float]) -> None:
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


def test_no_retry_begins_after_the_given_time(
    pauses: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1_000.0]
    monkeypatch.setattr(retry.time, "monotonic", lambda: now[0])

    def slow() -> str:
        now[0] += 6.0
        raise ConnectError(f"at {now[0]:g}")

    with pytest.raises(ConnectError, match="at 1012"):
        retrying(slow, settings(retry_count="9"), TRANSIENT, within=10.0)
    assert len(pauses) == 1


def test_an_error_that_another_attempt_cannot_change_is_raised_at_once(
    pauses: list[float],
) -> None:
    wrong = acting(ConnectError("away"), MisconfiguredError("no such host"), "done")
    with pytest.raises(MisconfiguredError):
        retrying(wrong, THREE, TRANSIENT, final=MisconfiguredError)
    assert len(pauses) == 1


def test_rejected_credentials_are_not_retried_although_they_are_a_connect_error(
    pauses: list[float],
) -> None:
    with pytest.raises(AuthError):
        retrying(acting(AuthError("no"), "done"), THREE, TRANSIENT)
    assert pauses == []


def test_a_permanent_error_is_not_retried(pauses: list[float]) -> None:
    with pytest.raises(OptionError):
        retrying(acting(OptionError("no"), "done"), THREE, TRANSIENT)
    assert pauses == []


def test_pauses_double_up_to_five_seconds() -> None:
    assert [pause(i) for i in range(8)] == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]


@pytest.mark.parametrize("attempt", [1000, 100_000])
def test_pauses_stay_bounded_however_often_it_failed(attempt: int) -> None:
    assert pause(attempt) == 5.0


@pytest.mark.parametrize("retries", [0, 1, 3, 10, 100])
def test_the_last_attempt_waits_for_the_full_timeout(retries: int) -> None:
    timeouts = AdaptiveTimeout(settings(request_timeout="5s", retry_count=str(retries)))
    waits = []
    for _ in range(retries + 1):
        waits.append(timeouts.seconds())
        timeouts.unanswered()
    assert waits == sorted(waits)
    assert waits[-1] == 5
    assert sum(waits[:8]) <= 10 or retries == 0


@given(st.floats(0.01, 60), st.lists(st.floats(0, 30), max_size=20))
def test_the_timeout_grows_with_slow_replies(timeout: float, answers: list[float]) -> None:
    timeouts = AdaptiveTimeout(settings(request_timeout=f"{timeout}s"))
    for took in answers:
        timeouts.answered(took)
    first = timeouts.seconds()
    assert first <= timeout
    assert first == timeout or first >= 4 * (answers[-1] if answers else 0)


def test_the_duration_of_an_attempt_counts_as_a_pause() -> None:
    now = time.monotonic()
    assert pause(3, now - 60) == 0
    assert 0 < pause(10, now) <= pause(10)
