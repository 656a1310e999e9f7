"""Rows that the server rejected, or that got no reply: permanently or temporarily."""

from __future__ import annotations

import logging

from ..errors import NatsSparkError
from ..jetstream.api import NO_RESPONDERS
from .in_flight import Chunk
from .pub_acks import Reply
from .publish_errors import is_transient, publish_error
from .targets import Targets, no_stream

_log = logging.getLogger(__name__)


class RejectedRows:
    """Decides whether a rejected row fails the task or is resent."""

    def __init__(self, targets: Targets) -> None:
        self._targets = targets
        self._looked_up = False

    def reset(self) -> None:
        """Allow another lookup of a stream."""
        self._looked_up = False

    def add(self, chunk: Chunk, row: int, reply: Reply) -> None:
        """Mark a row to be resent. Raise ``PublishError`` if it is rejected permanently."""
        subject = chunk.rows.subjects[row].as_py()
        if reply.status == NO_RESPONDERS:
            self.require_stream(subject)
        elif not is_transient(reply.body):
            raise publish_error(subject, reply.body)
        chunk.rejected.add(row)

    def require_stream(self, subject: str) -> None:
        """Raise ``PublishError`` if no stream has the subject; a stream may just have no leader.

        Looks up one subject for all replies that arrived together. Resent rows that have a stream
        are stored at some point, so each subject without one is looked up eventually.
        """
        if self._looked_up:
            return
        self._looked_up = True
        try:
            exists = self._targets.exists(subject)
        except NatsSparkError as error:
            _log.info("looking up the stream of subject %s failed: %s", subject, error)
            return
        if not exists:
            raise no_stream(subject)
