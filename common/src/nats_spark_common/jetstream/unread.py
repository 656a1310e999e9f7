"""Counts the messages of a stream after a position, and finds the age of the first one.

Source: ADR-31 (a direct get batch reports how many messages follow each one).
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import NatsSparkError, ServerError
from ..protocol.timestamps import rfc3339_to_ns
from .api import StreamInfo, is_no_message
from .control import Control

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Unread:
    """The messages of a stream after a position.

    Attributes:
        messages: how many are stored.
        stored_ns: when the first one was stored, in nanoseconds since the epoch; None if there is
            none, or if it is not known.
        exact: whether ``messages`` is exact, rather than the number of sequences, some of which
            may have no message.
    """

    messages: int
    stored_ns: int | None
    exact: bool = True

    @property
    def age(self) -> float | None:
        """Seconds since the first one was stored; 0 if there is none, None if it is not known."""
        if self.stored_ns is None:
            return None if self.messages else 0.0
        return max(0.0, (time.time_ns() - self.stored_ns) / 1e9)


def unread(control: Control, info: StreamInfo, after: int, timeout: float) -> Unread:
    """Return the messages after sequence ``after``.

    If the user may neither send direct gets nor create a consumer, the number is an estimate.

    Args:
        timeout: seconds to wait for each reply.
    """
    found = unread_by_direct_get(control, info, after, timeout)
    return found or _by_leader(control, info, max(after + 1, info.first_seq), timeout)


def unread_by_direct_get(
    control: Control,
    info: StreamInfo,
    after: int,
    timeout: float,
    filters: Sequence[str] = (),
) -> Unread | None:
    """Return the messages after a sequence with one request; None if it does not tell.

    Mirrors may reply to direct gets, and a "not found" does not name the stream that replied. The
    leader of the stream is asked then, with up to three requests more.

    Args:
        filters: count the messages of one filter subject only; of several, this does not tell.
    """
    if info.last_seq <= after or not info.messages:
        return Unread(0, None)
    if not info.allow_direct or len(filters) > 1:
        return None
    first = max(after + 1, info.first_seq)
    request: dict[str, object] = {"seq": first, "batch": 1}
    if filters:
        request["next_by_subj"] = filters[0]
    try:
        headers = control.direct_get(info.name, request, timeout)
        if headers.get("Status") == "404" or headers.get("Nats-Stream", info.name) != info.name:
            found = _by_leader(control, info, first, timeout, *filters)
            return found if found.exact or found.stored_ns else None
        # Servers before 2.11 send no number of pending messages.
        pending = int(headers["Nats-Num-Pending"])
        return Unread(pending + 1, rfc3339_to_ns(headers["Nats-Time-Stamp"]))
    except (NatsSparkError, KeyError, ValueError) as error:
        _log.debug("direct get from stream %s failed: %s", info.name, error)
        return None


def _by_leader(
    control: Control, info: StreamInfo, first: int, timeout: float, subject: str = ">"
) -> Unread:
    """Return the messages from a sequence on that match a filter subject, from the leader."""
    call, request = f"STREAM.MSG.GET.{info.name}", {"seq": first, "next_by_subj": subject}
    stored_ns = None
    try:
        stored_ns = rfc3339_to_ns(control.api_once(call, request, timeout)["message"]["time"])
    except (NatsSparkError, KeyError, TypeError) as error:
        if isinstance(error, ServerError) and is_no_message(error):
            return Unread(0, None)
        _log.debug("%s does not tell a time: %s", call, error)
    counted = None
    if info.retention == "limits":
        counted = _by_consumer(control, info, first, timeout, subject)
    if counted is not None:
        return Unread(counted, stored_ns if counted else None)
    sequences = info.last_seq - first + 1
    exact = first == info.first_seq and subject == ">"
    return Unread(min(sequences, info.messages), stored_ns, exact)


def _by_consumer(
    control: Control, info: StreamInfo, first: int, timeout: float, subject: str
) -> int | None:
    """Return what a consumer that starts at the first message reports as pending."""
    name = f"spark_count_{secrets.token_hex(8)}"
    start = {"deliver_policy": "by_start_sequence", "opt_start_seq": first}
    if subject != ">":
        start["filter_subject"] = subject
    try:
        return int(control.consumer_state(info, name, timeout, **start)["num_pending"])
    except (NatsSparkError, KeyError, ValueError) as error:
        _log.debug("counting the messages of stream %s failed: %s", info.name, error)
        return None
