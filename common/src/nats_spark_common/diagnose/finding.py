"""What a check finds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any


class Severity(StrEnum):
    """How serious a finding is."""

    ERROR = "error"  # the query fails, or loses messages
    WARNING = "warning"  # the query works, but slowly, or not in every case
    INFO = "info"  # a fact to know
    OK = "ok"  # checked, and as it should be


@dataclass(frozen=True)
class Finding:
    """A finding.

    Attributes:
        subject: what was checked, such as ``stream ORDERS``.
        remedy: what to do, in the imperative; empty if nothing needs to be done.
    """

    severity: Severity
    subject: str
    fact: str
    remedy: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the finding for programs."""
        return asdict(self)

    @property
    def bad(self) -> bool:
        """Whether something should be done."""
        return self.severity in (Severity.ERROR, Severity.WARNING)


def error(subject: str, fact: str, remedy: str) -> Finding:
    return Finding(Severity.ERROR, subject, fact, remedy)


def warning(subject: str, fact: str, remedy: str) -> Finding:
    return Finding(Severity.WARNING, subject, fact, remedy)


def info(subject: str, fact: str, remedy: str = "") -> Finding:
    return Finding(Severity.INFO, subject, fact, remedy)


def ok(subject: str, fact: str) -> Finding:
    return Finding(Severity.OK, subject, fact)


def or_ok(found: Iterable[Finding], subject: str, fact: str) -> list[Finding]:
    """Return the findings; if none of them is bad, with one more that says that all is well."""
    listed = list(found)
    return listed if any(each.bad for each in listed) else [ok(subject, fact), *listed]
