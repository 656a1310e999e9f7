"""Which stream has a subject: one lookup per stream, then matched with the streams' subjects."""

from __future__ import annotations

import functools
import re
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..connection.retry import AWAY, UNREACHED
from ..errors import PublishError
from ..jetstream.api import StreamInfo, string, well_formed
from ..jetstream.requests import request_with_retry
from ..options.settings import NatsSettings
from ..protocol.subjects import matches_any
from .arrays import Bools, bools

#: Streams, each with a mask of the rows that it stores.
StreamMasks = list[tuple[StreamInfo, Bools]]


class Targets:
    """The streams that rows go to, looked up as their subjects occur."""

    def __init__(self, settings: NatsSettings) -> None:
        self._settings = settings
        self._known: list[StreamInfo] = []
        self._answered = False

    def of(self, subjects: pa.StringArray) -> StreamMasks:
        """Return the streams that have the subjects, each with a mask of its rows.

        Raises:
            PublishError: no stream has a subject.
            AuthError: the user may not send the request.
            TimeoutExpiredError, ConnectError, ServerError: the request failed.
        """
        unassigned = np.ones(len(subjects), bool)
        found = []
        for info in self._known:
            mask = unassigned & stream_has(info.subjects, subjects)
            if mask.any():
                found.append((info, mask))
                unassigned &= ~mask
        while unassigned.any():
            subject = subjects[int(np.argmax(unassigned))].as_py()
            name = self._name_of(subject)
            if name is None:
                raise no_stream(subject)
            stream = self.info(name)
            self._known.append(stream)
            mask = unassigned & stream_has(stream.subjects, subjects)
            if not mask.any():
                raise PublishError(
                    f"subject {subject!r}: stream {stream.name!r} stores it, but its subjects "
                    f"{', '.join(stream.subjects)} do not match it: publish to the stream's own "
                    "subjects"
                )
            found.append((stream, mask))
            unassigned &= ~mask
        return found

    def exists(self, subject: str) -> bool:
        """Return whether any stream has a subject. Raises as `of`."""
        return self._name_of(subject) is not None

    def info(self, stream: str) -> StreamInfo:
        """Return a stream's present state. Raises ``StreamNotFoundError``, and as `of`."""
        return StreamInfo.from_json(self._request(f"STREAM.INFO.{stream}"))

    def _name_of(self, subject: str) -> str | None:
        reply = self._request("STREAM.NAMES", {"subject": subject})
        with well_formed("list of streams", reply):
            names = reply.get("streams")
            return string(names[0]) if names else None

    def _request(self, call: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        # JetStream that never answered is not set up; JetStream that did is down for a moment. In
        # another domain or account, it may be down while this server is up.
        elsewhere = self._settings.domain or self._settings.js_api_prefix
        transient = AWAY if self._answered or elsewhere else UNREACHED
        answer = request_with_retry(self._settings, call, body, transient)
        self._answered = True
        return answer


def no_stream(subject: str) -> PublishError:
    """Return the error for a subject that no stream has."""
    return PublishError(
        f"subject {subject!r}: no stream has this subject: create one, add the subject to a stream "
        "(nats stream edit --subjects), or set nats.sink.create.stream with nats.stream.name and "
        "nats.stream.subjects; nats.sink.mode=best-effort publishes without a stream"
    )


def stream_has(stream_subjects: tuple[str, ...], subjects: pa.StringArray) -> Bools:
    """Return a mask of the subjects that match a stream's subjects, which may have wildcards."""
    try:
        mask = pc.match_substring_regex(subjects, _pattern(stream_subjects))
    except pa.ArrowInvalid:  # the stream has so many subjects that the pattern is too large
        mask = pa.array(
            [matches_any(stream_subjects, each) for each in subjects.to_pylist()], pa.bool_()
        )
    return bools(mask)


@functools.lru_cache(maxsize=64)
def _pattern(stream_subjects: tuple[str, ...]) -> str:
    return "^(?:" + "|".join(map(_expression, stream_subjects)) + ")$"


def _expression(subject: str) -> str:
    tokens = {"*": r"[^.]+", ">": r".+"}
    return r"\.".join(tokens.get(token, re.escape(token)) for token in subject.split("."))
