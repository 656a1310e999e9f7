"""Reads the ranges of a task in their order: small ones of many streams in one round trip.

A range of a few messages costs a round trip to read and another to check that the stream was not
recreated. So the requests for several are sent together. What arrives is used only if it is the
whole range, without a gap. Otherwise the range is read as any other, which handles what can happen;
after an error, all later ones are.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence

from ..connection.connection import Connection
from ..connection.pool import connection
from ..connection.retry import AdaptiveTimeout
from ..errors import (
    JetStreamUnavailableError,
    NatsSparkError,
    OtherStreamError,
    ServerError,
    StreamNotFoundError,
)
from ..jetstream.api import StreamInfo, api_prefix, encode, parse_reply
from ..jetstream.requests import exchange
from ..options.settings import NatsSettings
from ..planning.ranges import StreamRange
from ..protocol.operations import Msg
from ..rows.messages import Message, Messages, from_messages
from .decode import Status, decode_frame
from .range_reader import read_range

_log = logging.getLogger(__name__)

#: Limits of a group of ranges: how many, and their messages and stored bytes, as estimated.
_RANGES, _MESSAGES, _BYTES = 64, 2_000, 1 << 20


def read_ranges(
    settings: NatsSettings, ranges: Sequence[StreamRange], fields: frozenset[str]
) -> Iterator[tuple[StreamRange, Messages]]:
    """Yield the messages of each range with the range, in the order of the ranges.

    Raises as `read_range`.
    """
    together = True
    for group in groups(settings, ranges):
        found: dict[StreamRange, Messages] = {}
        if together and len(group) > 1:
            try:
                found = _read_group(settings, group, fields)
            except NatsSparkError as error:
                _log.info("reading %d ranges together: %s; reading each alone", len(group), error)
                together = False
        for each in group:
            if each in found:
                yield each, found[each]
            else:
                for messages in read_range(settings, each, fields):
                    yield each, messages


def groups(settings: NatsSettings, ranges: Sequence[StreamRange]) -> Iterator[list[StreamRange]]:
    """Yield successive ranges that can be read together; others alone."""
    group: list[StreamRange] = []
    messages, size = 0, 0.0
    for each in ranges:
        count = len(each)
        stored = count * each.mean_size
        small = (
            each.direct
            and not each.filters
            and count < each.consumer_from
            and count <= min(_MESSAGES, settings.fetch_messages)
            and stored <= _BYTES
        )
        fits = len(group) < _RANGES and messages + count <= _MESSAGES and size + stored <= _BYTES
        if group and not (small and fits):
            yield group
            group, messages, size = [], 0, 0.0
        if small:
            group.append(each)
            messages, size = messages + count, size + stored
        else:
            yield [each]
    if group:
        yield group


def _read_group(
    settings: NatsSettings, group: list[StreamRange], fields: frozenset[str]
) -> dict[StreamRange, Messages]:
    """Return the messages of those ranges that arrive completely."""
    with connection(settings) as link:
        link.busy = True
        found = _request_messages(link, settings, group)
        whole = _not_recreated(link, settings, list(found))
        link.busy = False
    columns = from_messages([message for each in whole for message in found[each]], fields)
    read, start = {}, 0
    for each in whole:
        read[each] = columns.slice(start, start + len(each))
        start += len(each)
    return read


def _request_messages(
    link: Connection, settings: NatsSettings, group: list[StreamRange]
) -> dict[StreamRange, list[Message]]:
    """Return all messages of those ranges that have no gaps."""
    found: list[list[Message]] = [[] for _ in group]

    def take(number: int, reply: Msg) -> bool:
        try:
            frame = decode_frame(reply, group[number].stream.encode())
        except OtherStreamError as error:  # of a mirror
            _log.debug("%s", error)
            return False
        if isinstance(frame, Status):
            return True
        found[number].append(frame.message)
        return False

    prefix = api_prefix(settings)
    requests = [
        (
            f"{prefix}.DIRECT.GET.{each.stream}",
            encode({"seq": each.first, "batch": len(each), "max_bytes": _BYTES}),
        )
        for each in group
    ]
    exchange(link, requests, take, AdaptiveTimeout(settings).seconds())
    return {
        each: messages
        for each, messages in zip(group, found, strict=True)
        if [message.seq for message in messages] == list(range(each.first, each.last + 1))
    }


def _not_recreated(
    link: Connection, settings: NatsSettings, ranges: list[StreamRange]
) -> list[StreamRange]:
    """Return the ranges whose streams are those that the ranges were planned on."""
    same = set()

    def take(number: int, reply: Msg) -> bool:
        each = ranges[number]
        try:
            info = StreamInfo.from_json(parse_reply(reply, each.stream))
        except (ServerError, StreamNotFoundError, JetStreamUnavailableError) as error:
            _log.debug("%s", error)
            return True
        if info.created == each.created:
            same.add(each)
        return True

    prefix = api_prefix(settings)
    requests = [(f"{prefix}.STREAM.INFO.{each.stream}", b"") for each in ranges]
    exchange(link, requests, take, AdaptiveTimeout(settings).seconds())
    return [each for each in ranges if each in same]
