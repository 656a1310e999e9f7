"""Judgements about interpreters, credentials and clusters."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from nats_spark_common.diagnose.credentials import judge_expiry, jwt_expiry
from nats_spark_common.diagnose.environment import judge_interpreter, judge_java, judge_spark
from nats_spark_common.diagnose.executors import judge_reports
from nats_spark_common.diagnose.finding import Finding
from nats_spark_common.diagnose.servers import judge_account, judge_clock, judge_servers
from nats_spark_common.diagnose.streams import judge_stream

NOW = datetime(2026, 1, 1, tzinfo=UTC)
HERE = {"python": "3.11.9", "packages": {"pyspark": "4.3.0", "pyarrow": "20.0.0"}}


def severities(found: Any) -> list[str]:
    return [str(each.severity) for each in found]


@pytest.mark.parametrize(
    ("left", "severity", "words"),
    [
        (timedelta(days=-1), "error", "expired on 2025-12-31"),
        (timedelta(0), "error", "expired on"),
        (timedelta(hours=5), "warning", "in 5 hours"),
        (timedelta(days=13), "warning", "in 13 days"),
        (timedelta(days=15), "ok", "valid until 2026-01-16"),
    ],
)
def test_what_expires_soon_is_a_warning(left: timedelta, severity: str, words: str) -> None:
    found = judge_expiry("x", NOW + left, NOW)
    assert found.severity == severity
    assert words in found.fact


def credentials(claims: dict[str, Any]) -> str:
    parts = (json.dumps(each).encode() for each in ({"typ": "JWT"}, claims, {}))
    jwt = ".".join(base64.urlsafe_b64encode(each).rstrip(b"=").decode() for each in parts)
    return f"-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n"


def test_a_jwt_names_its_expiry() -> None:
    assert jwt_expiry(credentials({"exp": 1_767_225_600})) == NOW
    assert jwt_expiry(credentials({"sub": "U"})) is None
    for text in ("", "no credentials", "-----BEGIN NATS USER JWT-----\nabc\n"):
        with pytest.raises(ValueError, match="no user JWT"):
            jwt_expiry(text)


@pytest.mark.parametrize(
    ("output", "severity"),
    [
        ('openjdk version "17.0.9" 2023-10-17', "ok"),
        ('openjdk version "21" 2023-09-19', "ok"),
        ('java version "1.8.0_392"', "error"),
        ("", "warning"),
        (None, "warning"),
    ],
)
def test_java_must_be_new_enough(output: str | None, severity: str) -> None:
    assert severities(judge_java(output)) == [severity]


def test_spark_must_be_new_enough() -> None:
    assert severities(judge_spark("3.5.8", supported=False, admission=False)) == ["error"]
    assert severities(judge_spark("4.3.0", supported=True, admission=True)) == ["ok"]
    (finding,) = judge_spark("4.1.1", supported=True, admission=False)
    assert finding.severity.value == "ok"
    assert "without nats-balanced, which needs 4.2" in finding.fact


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (None, "cannot be started"),
        ({**HERE, "python": "3.9.2"}, "is Python 3.9.2, not 3.11.9"),
        ({**HERE, "packages": {"pyspark": "4.3.0"}}, "has no pyarrow"),
        (
            {**HERE, "packages": {"pyspark": "4.2.0", "pyarrow": "20.0.0"}},
            "has pyspark 4.2.0, not 4.3.0",
        ),
    ],
)
def test_another_interpreter_is_an_error(found: dict[str, Any] | None, words: str) -> None:
    (problem,) = judge_interpreter("PYSPARK_PYTHON", "python3.9", found, HERE)
    assert problem.severity == "error"
    assert problem.subject == "PYSPARK_PYTHON=python3.9"
    assert words in problem.fact


def test_each_executor_is_compared_once() -> None:
    other = {**HERE, "python": "3.12.1"}
    found = list(judge_reports([("a", HERE), ("b", other), ("a", HERE)], HERE))
    assert [(each.subject, str(each.severity)) for each in found] == [
        ("executor on a", "ok"),
        ("executor on b", "error"),
    ]


def test_servers_of_different_versions_are_a_warning() -> None:
    found = list(judge_servers({"a": (2, 15, 1), "b": (2, 12, 8)}))
    assert severities(found) == ["ok", "info", "warning"]


@pytest.mark.parametrize(
    ("skew", "severity"), [(0.1, "ok"), (-1.9, "ok"), (2.5, "warning"), (None, "info")]
)
def test_a_clock_that_differs_is_a_warning(skew: float | None, severity: str) -> None:
    assert severities(judge_clock(skew)) == [severity]


def test_limits_of_an_account_are_reported_when_they_are_near() -> None:
    limits = {"max_streams": 10, "max_storage": -1, "max_memory": 100}
    usage = {"streams": 9, "storage": 5, "memory": 100, "consumers": 3}
    found = judge_account({**usage, "limits": limits, "api": {"level": 2}})
    assert severities(found) == ["error", "warning"]
    assert severities(judge_account({**usage, "limits": {}})) == ["ok"]


def replicas(**state: Any) -> list[Finding]:
    peer = {"name": "n1", "current": True, **state}
    return judge_stream(
        {
            "config": {"name": "S", "num_replicas": 3, "allow_direct": True},
            "state": {"messages": 0, "first_seq": 0, "last_seq": 0},
            "cluster": {"name": "C", "leader": "n0", "replicas": [peer]},
        },
        (2, 15, 1),
        flavor="v2",
        sink=False,
    )


def test_replicas_that_lag_or_are_offline_are_reported() -> None:
    assert severities(replicas()) == ["ok"]
    assert severities(replicas(current=False, lag=1234)) == ["warning"]
    assert severities(replicas(offline=True, current=False)) == ["error"]
