"""Asks the server as a query would, and judges its replies."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from ..connection.connect import connect
from ..connection.connection import Connection
from ..errors import (
    ConnectError,
    ProtocolError,
    ServerError,
    StreamNotFoundError,
)
from ..jetstream.api import api_prefix
from ..jetstream.control import Control
from ..options.settings import NatsSettings
from ..protocol.timestamps import rfc3339_to_ns
from .consumers import judge_consumer, judge_missing_consumer
from .credentials import judge_credentials
from .finding import Finding, error, info, warning
from .permissions import denied, judge_permissions, needed
from .servers import judge_account, judge_clock, judge_servers
from .streams import judge_mirrors, judge_stream

#: What the checks themselves ask for, and a query need not.
_OPTIONAL = ("INFO", "STREAM.LIST")


class Examination:
    """The checks of what a query with these settings would use; holds the connections."""

    def __init__(self, settings: NatsSettings, flavor: str | None, sink: bool) -> None:
        """
        Args:
            flavor: ``v2``, ``partitioned`` or ``balanced``, which reads; None if nothing is read.
            sink: whether rows are written.
        """
        self._settings = settings
        self._flavor = flavor
        self._sink = sink
        self._exactly_once = sink and settings.sink_mode == "exactly-once"
        self._denied: list[str] = []

    def findings(self) -> Iterator[Finding]:
        """Run all checks. Raises ``ConnectError`` or ``AuthError`` if there is no server."""
        settings = self._settings
        with connect(settings) as link:
            reached = urlsplit(link.server.url).netloc
            yield from judge_servers({reached: link.info.version, **self._others(link, reached)})
            yield from self._unreachable
            yield from judge_credentials(settings, link.certificate)
            with Control(settings) as control:
                names, problems = self._streams(link, control)
                yield from self._permissions(link, names)
                yield from self._account(control)
                yield from problems
                listed = []
                if names and self._may("STREAM.LIST"):
                    listed = control.pages("STREAM.LIST", "streams")
                for name in names:
                    yield from self._stream(control, name, clock=name == names[0])
                    yield from judge_mirrors(name, listed)

    def _others(self, link: Connection, reached: str) -> dict[str, tuple[int, ...]]:
        """Return the versions of the other servers; keep a finding for each unreachable one."""
        settings, versions = self._settings, {}
        self._unreachable: list[Finding] = []
        known = {reached}
        # Servers of a cluster advertise IP addresses, which their certificates need not contain.
        named = {"tls_hostname": settings.tls_hostname or link.server.name}
        advertised = [(f"nats://{each}", named) for each in link.info.connect_urls]
        for url, more in [*((url, {}) for url in settings.url), *advertised]:
            address = urlsplit(url).netloc
            if address in known:
                continue
            known.add(address)
            try:
                one = settings.model_copy(update={"url": (url,), **more})
                with connect(one, others=False) as other:
                    versions[address] = other.info.version
            except ConnectError as problem:
                self._unreachable.append(
                    info(
                        f"server {address}",
                        f"is advertised by the cluster, but: {problem}",
                        "check client_advertise of this server",
                    )
                    if more
                    else warning(
                        f"server {address}",
                        str(problem),
                        "restore it, or remove it from nats.url",
                    )
                )
        return versions

    def _streams(self, link: Connection, control: Control) -> tuple[list[str], list[Finding]]:
        """Return the names of the streams, and findings about how they are chosen."""
        settings = self._settings
        pattern = settings.stream_pattern
        if self._flavor == "partitioned" and settings.stream_prefix:
            pattern = f"{settings.stream_prefix}-*"
        if pattern is None:
            if settings.stream_name:
                return list(settings.stream_name), []
            return [], [info("streams", "none is checked", "name them with --stream or --pattern")]
        call = f"{api_prefix(settings)}.STREAM.NAMES"
        if denied(link, [call], settings.request_timeout):
            return [], []  # it is among the missing permissions
        names = control.stream_names(pattern)
        if names:
            return names, []
        return [], [error(f"pattern {pattern}", "no stream matches it", "correct the pattern")]

    def _permissions(self, link: Connection, names: list[str]) -> Iterator[Finding]:
        settings = self._settings
        wanted = needed(
            settings,
            streams=names,
            flavor=self._flavor,
            durable=settings.durable_name,
            by_pattern=settings.stream_pattern is not None or self._flavor == "partitioned",
            sink=self._sink,
            exactly_once=self._exactly_once,
        )
        optional = [f"{api_prefix(settings)}.{each}" for each in _OPTIONAL]
        self._denied = denied(link, [*wanted, *optional], settings.request_timeout)
        yield from judge_permissions(wanted, [each for each in self._denied if each in wanted])

    def _may(self, call: str) -> bool:
        return f"{api_prefix(self._settings)}.{call}" not in self._denied

    def _account(self, control: Control) -> Iterator[Finding]:
        if not self._may("INFO"):
            yield info("account", "its limits are not checked: the user may not read them")
            return
        yield from judge_account(control.api("INFO"))

    def _stream(self, control: Control, name: str, *, clock: bool) -> Iterator[Finding]:
        """Judge a stream and its consumer; with ``clock``, the time in the reply too."""
        if not self._may(f"STREAM.INFO.{name}"):
            return
        asked = time.time()
        try:
            found = control.api(f"STREAM.INFO.{name}")
        except StreamNotFoundError:
            created = self._flavor == "balanced" and self._settings.js_define_stream
            if created and self._settings.stream_subjects:
                yield info(f"stream {name}", "does not exist; the query creates it")
            else:
                yield error(
                    f"stream {name}", "does not exist", "create it, or check its name and account"
                )
            return
        if clock:
            yield from judge_clock(_skew(found, asked, time.time()))
        yield from judge_stream(
            found,
            control.server_version,
            flavor=self._flavor,
            sink=self._sink,
            exactly_once=self._exactly_once,
        )
        if self._flavor == "balanced" and self._settings.durable_name:
            yield from self._consumer(control, name, self._settings.durable_name)

    def _consumer(self, control: Control, stream: str, durable: str) -> Iterator[Finding]:
        if not self._may(f"CONSUMER.INFO.{stream}.{durable}"):
            return
        try:
            yield from judge_consumer(
                control.api(f"CONSUMER.INFO.{stream}.{durable}"), self._settings
            )
        except ServerError as problem:
            if problem.code != 404:
                raise
            yield judge_missing_consumer(durable, self._settings)


def _skew(stream: dict[str, Any], asked: float, answered: float) -> float | None:
    """Return by how many seconds the server's clock is ahead; None if it did not tell its time."""
    try:
        server = rfc3339_to_ns(stream["ts"]) / 1e9
    except (KeyError, TypeError, ProtocolError):
        return None
    if asked <= server <= answered:
        return 0.0
    return server - (asked + answered) / 2
