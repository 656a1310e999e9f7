"""Judges the servers, the account and the clock. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..jetstream.api import DIRECT_BATCH_VERSION, FAST_BATCH_VERSION
from .finding import Finding, error, info, ok, or_ok, warning

#: Seconds by which the clocks of this machine and of the server may differ: a start at a time and
#: lags in seconds are wrong by as much.
MAX_SKEW = 2.0

#: Share of a limit of the account from which it is reported.
_NEARLY = 0.9

#: Field of the account's usage, of its limits, and what it is.
_LIMITS = (
    ("storage", "max_storage", "bytes of file storage"),
    ("memory", "max_memory", "bytes of memory storage"),
    ("streams", "max_streams", "streams"),
    ("consumers", "max_consumers", "consumers"),
)


def judge_servers(versions: Mapping[str, tuple[int, ...]]) -> Iterator[Finding]:
    """Judge the versions of the servers that could be reached, by URL."""
    shown = {_text(version) for version in versions.values()}
    for url, version in versions.items():
        if version < DIRECT_BATCH_VERSION:
            yield info(
                f"server {url}",
                f"version {_text(version)} has no direct get batches: short ranges are read "
                "through consumers too",
                "upgrade the server to 2.11 or later",
            )
        elif version < FAST_BATCH_VERSION:
            yield info(
                f"server {url}",
                f"version {_text(version)} has no fast-ingest batches, nats.ack.policy=all or "
                "nats.reset.on.start",
                "upgrade the server to 2.14 or later to use them",
            )
        else:
            yield ok(f"server {url}", f"version {_text(version)}")
    if len(shown) > 1:
        yield warning(
            "servers",
            f"the servers have different versions: {', '.join(sorted(shown))}",
            "upgrade all servers to one version; features depend on which server replies",
        )


def judge_account(account: Mapping[str, Any]) -> list[Finding]:
    """Judge the reply to ``$JS.API.INFO``."""
    tiers = account.get("tiers") or {"": account}
    found = [each for name, tier in tiers.items() for each in _tier(name, tier)]
    level = (account.get("api") or {}).get("level")
    api = f", API level {level}" if level is not None else ""
    return or_ok(found, "account", f"JetStream is available{api}; no limit is near")


def _tier(name: str, tier: Mapping[str, Any]) -> Iterator[Finding]:
    subject = f"account, {name}" if name else "account"
    limits = tier.get("limits") or {}
    for used, limit, what in _LIMITS:
        maximum, value = int(limits.get(limit) or -1), int(tier.get(used) or 0)
        if maximum > 0 and value >= maximum:
            yield error(
                subject,
                f"{value:,} of {maximum:,} {what} are used",
                f"raise the account's {limit}, or delete unused streams and consumers",
            )
        elif maximum > 0 and value >= _NEARLY * maximum:
            yield warning(
                subject,
                f"{value:,} of {maximum:,} {what} are used",
                f"raise the account's {limit} before it is reached",
            )


def judge_clock(skew: float | None) -> Iterator[Finding]:
    """Judge by how many seconds the server's clock is ahead of this machine's, if it is known."""
    if skew is None:
        yield info("clock", "the server does not tell its time: it is older than 2.10")
    elif abs(skew) > MAX_SKEW:
        side = "ahead of" if skew > 0 else "behind"
        yield warning(
            "clock",
            f"the server's clock is {abs(skew):.1f} s {side} this machine's",
            "synchronize both with NTP: start times, lags in seconds and JWT expiry depend on them",
        )
    else:
        yield ok("clock", f"differs by {abs(skew):.1f} s from the server's")


def _text(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))
