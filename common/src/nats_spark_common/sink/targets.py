"""Which stream takes a subject: asked once a stream, then told from the streams' own subjects."""

from __future__ import annotations

import functools
import re
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ..connection.retry import AWAY, UNREACHED
from ..errors import PublishError
from ..jetstream.api import StreamInfo
from ..jetstream.requests import request_with_retry
from ..options.settings import NatsSettings
from ..protocol.subjects import matches_any
from .arrays import bools


class Targets:
    """The streams that rows go to; learns of them as subjects come up."""

    def __init__(self, settings: NatsSettings) -> None:
        self._settings = settings
        self._known: list[StreamInfo] = []
        self._answered = False

    def of(self, subjects: pa.StringArray) -> list[tuple[StreamInfo, npt.NDArray[np.bool_]]]:
        """The streams that take the subjects, each with a mask of the rows that it takes.

        Raises:
            PublishError: a subject is taken by no stream.
            AuthError: the user may not ask.
            TimeoutExpiredError, ConnectError, ServerError: asking failed.
        """
        open_rows = np.ones(len(subjects), bool)
        found = []
        for info in self._known:
            mask = open_rows & taken_by(info.subjects, subjects)
            if mask.any():
                found.append((info, mask))
                open_rows &= ~mask
        while open_rows.any():
            subject = subjects[int(np.argmax(open_rows))].as_py()
            name = self._name_of(subject)
            if name is None:
                raise no_stream(subject)
            stream = self.info(name)
            self._known.append(stream)
            mask = open_rows & taken_by(stream.subjects, subjects)
            if not mask.any():
                raise PublishError(
                    f"subject {subject!r}: stream {stream.name!r} takes it, but its subjects "
                    f"{', '.join(stream.subjects)} do not name it: publish to the stream's own "
                    "subjects"
                )
            found.append((stream, mask))
            open_rows &= ~mask
        return found

    def exists(self, subject: str) -> bool:
        """Whether any stream takes a subject. Raises as `of`."""
        return self._name_of(subject) is not None

    def info(self, stream: str) -> StreamInfo:
        """The stream as it is now. Raises ``StreamNotFoundError``, and as `of`."""
        return StreamInfo.from_json(self._ask(f"STREAM.INFO.{stream}"))

    def _name_of(self, subject: str) -> str | None:
        names = self._ask("STREAM.NAMES", {"subject": subject}).get("streams")
        return names[0] if names else None

    def _ask(self, call: str, request: dict[str, Any] | None = None) -> dict[str, Any]:
        # A JetStream that never answered is set up wrong; one that did is away for a moment.
        transient = AWAY if self._answered else UNREACHED
        answer = request_with_retry(self._settings, call, request, transient)
        self._answered = True
        return answer


def no_stream(subject: str) -> PublishError:
    """The error for a subject that no stream takes."""
    return PublishError(
        f"subject {subject!r}: no stream takes it: create one with this subject, add the subject "
        "to a stream (nats stream edit --subjects), or set nats.sink.create.stream with "
        "nats.stream.name and nats.stream.subjects; nats.sink.mode=best-effort publishes without "
        "a stream"
    )


def taken_by(filters: tuple[str, ...], subjects: pa.StringArray) -> npt.NDArray[np.bool_]:
    """Which of the subjects the subjects of a stream, which may hold wildcards, take."""
    try:
        mask = pc.match_substring_regex(subjects, _pattern(filters))
    except pa.ArrowInvalid:  # so many subjects that the pattern is too large
        mask = pa.array([matches_any(filters, each) for each in subjects.to_pylist()], pa.bool_())
    return bools(mask)


@functools.lru_cache(maxsize=64)
def _pattern(filters: tuple[str, ...]) -> str:
    return "^(?:" + "|".join(map(_expression, filters)) + ")$"


def _expression(subject: str) -> str:
    tokens = {"*": r"[^.]+", ">": r".+"}
    return r"\.".join(tokens.get(token, re.escape(token)) for token in subject.split("."))
