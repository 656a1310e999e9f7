"""Creates sets of partitions with ``nats-spark partitions``, and inspects their streams."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nats_spark_common.embedded import EmbeddedServer

from .admin import Admin, wait_until

Run = Callable[..., tuple[int, str, str]]


def as_user(server: EmbeddedServer, user: str) -> str:
    return server.url.replace("nats://", f"nats://{user}:pw@")


def create(run: Run, prefix: str, count: int = 3, *more: str, **where: str) -> str:
    """Create a set of ``<prefix>.*.>``; return what the command prints."""
    arguments = ("--subject", f"{prefix}.*.>", "--partitions", str(count))
    code, out, err = run("create", prefix, *arguments, *more, **where)
    assert (code, err) == (0, "")
    return out


def names(admin: Admin, prefix: str = "") -> list[str]:
    found = admin.api("STREAM.NAMES")["streams"] or []
    return sorted(name for name in found if name.startswith(prefix))


def wait_for(admin: Admin, prefix: str, messages: int, count: int = 3) -> None:
    """Wait until the partitions hold this many messages in total."""
    streams = [f"{prefix}-{i}" for i in range(count)]
    wait_until(lambda: sum(admin.info(s).state.messages for s in streams) == messages)


def config(admin: Admin, name: str) -> dict[str, Any]:
    found: dict[str, Any] = admin.api(f"STREAM.INFO.{name}")["config"]
    return found
