"""A key-value bucket over connections of the pool, with the operations that the sink needs.

Source: ADR-8 (key-value store on JetStream).
"""

from __future__ import annotations

import base64

from ..connection.pool import connection
from ..connection.retry import AWAY, retrying
from ..errors import (
    JetStreamUnavailableError,
    ServerError,
    StreamNotFoundError,
    TimeoutExpiredError,
)
from ..jetstream.api import (
    NO_RESPONDERS,
    STREAM_NAME_IN_USE,
    WRONG_LAST_SEQUENCE,
    api_prefix,
    is_no_message,
    parse_reply,
    well_formed,
    whole,
)
from ..jetstream.requests import request_with_retry
from ..options.settings import NatsSettings
from ..protocol.operations import Msg, header_status

#: A replicated bucket is still processing another put of the key, perhaps our own.
_PUT_IN_PROCESS = 10164


class Bucket:
    """A key-value bucket; every call uses a connection of the pool and retries."""

    def __init__(self, settings: NatsSettings, name: str) -> None:
        self._settings = settings
        self._name = name
        self._stream = f"KV_{name}"
        prefix = api_prefix(settings)
        # Writes to another domain use its API prefix, as in the official clients.
        self._put_prefix = "" if prefix == "$JS.API" else f"{prefix}."
        # A put that no bucket receives gets no reply from there, instead of "no responders".
        self._missing = bool(self._put_prefix)

    def create(self, replicas: int) -> None:
        """Create the bucket if it is missing. Raises ``ServerError`` if the server rejects it."""
        config = {
            "name": self._stream,
            "subjects": [f"$KV.{self._name}.>"],
            "description": "records of the tasks of exactly-once writes (nats-spark)",
            "max_msgs_per_subject": 1,
            "max_consumers": -1,
            "max_msgs": -1,
            "max_bytes": -1,
            "max_msg_size": -1,
            "storage": "file",
            "discard": "new",
            "num_replicas": replicas,
            "allow_rollup_hdrs": True,
            "deny_delete": True,
            "allow_direct": True,
        }
        try:
            request_with_retry(self._settings, f"STREAM.CREATE.{self._stream}", config)
        except ServerError as error:
            if error.err_code != STREAM_NAME_IN_USE:  # it exists with other settings
                raise

    def get(self, key: str) -> tuple[bytes, int] | None:
        """Return a key's value and revision from the leader; ``None`` if it is missing."""
        request = {"last_by_subj": f"$KV.{self._name}.{key}"}
        try:
            found = request_with_retry(self._settings, f"STREAM.MSG.GET.{self._stream}", request)
        except StreamNotFoundError:
            return None
        except ServerError as error:
            if is_no_message(error):
                return None
            raise
        with well_formed("stored message", found):
            message = found["message"]
            return base64.b64decode(message.get("data", "")), whole(message["seq"])

    def put(self, key: str, value: bytes, revision: int, replicas: int) -> int | None:
        """Write a key if its revision is ``revision``, 0 for a key that does not exist.

        Returns the new revision; ``None`` if the key has another revision. Creates the bucket, with
        ``replicas`` replicas, if it is missing.
        """
        subject = f"{self._put_prefix}$KV.{self._name}.{key}"
        header = f"NATS/1.0\r\nNats-Expected-Last-Subject-Sequence: {revision}\r\n\r\n".encode()

        def attempt() -> int | None:
            if self._missing and not self._exists():
                self.create(replicas)
            for _ in range(2):
                reply = self._send(subject, value, header)
                if not reply.header or header_status(reply.header)[0] != NO_RESPONDERS:
                    return _revision(reply, subject)
                self.create(replicas)
            raise JetStreamUnavailableError(
                f"key-value bucket {self._name} has no leader yet{self._remedy()}"
            )

        return retrying(attempt, self._settings, AWAY)

    def _send(self, subject: str, value: bytes, header: bytes) -> Msg:
        self._missing = bool(self._put_prefix)  # unless it replies
        try:
            with connection(self._settings) as link:
                reply = link.request(subject, value, self._settings.request_timeout, header)
        except TimeoutExpiredError as error:
            raise TimeoutExpiredError(f"{error}{self._remedy()}") from error
        self._missing = False
        return reply

    def _remedy(self) -> str:
        if self._settings.js_api_prefix is None:
            return ""
        return (
            f"; with nats.js.api.prefix, import $KV.{self._name}.> as "
            f"{self._put_prefix}$KV.{self._name}.>, which no other import may match"
        )

    def _exists(self) -> bool:
        request = {"last_by_subj": f"$KV.{self._name}.none"}
        try:
            request_with_retry(self._settings, f"STREAM.MSG.GET.{self._stream}", request)
        except StreamNotFoundError:
            return False
        except ServerError as error:
            if not is_no_message(error):
                raise
        return True

    def purge(self, keys: str, before: int | None = None) -> None:
        """Delete the keys that match a pattern, or those with a revision below ``before``."""
        request: dict[str, object] = {"filter": f"$KV.{self._name}.{keys}"}
        if before is not None:
            request["seq"] = before
        request_with_retry(self._settings, f"STREAM.PURGE.{self._stream}", request)


def _revision(reply: Msg, subject: str) -> int | None:
    """Return the revision of a put; ``None`` if the key had another revision than expected."""
    try:
        stored = parse_reply(reply, subject)
        with well_formed("reply to a publish", stored):
            return whole(stored["seq"])
    except ServerError as error:
        if error.err_code == WRONG_LAST_SEQUENCE:
            return None
        if error.err_code == _PUT_IN_PROCESS or error.code in (429, 503):
            raise JetStreamUnavailableError(str(error)) from error
        raise
