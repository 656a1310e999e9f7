"""The durable consumer on the server: created from the options, or checked and used as it is.

Source: ADR-1 and the NATS docs, "Consumers"; ADR-60 for resets.
"""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager
from typing import Any

from nats_spark_common.errors import (
    ConsumerNotFoundError,
    OptionError,
    ServerError,
    StreamNotFoundError,
)
from nats_spark_common.jetstream.api import RESET_VERSION, StreamInfo, is_no_message
from nats_spark_common.jetstream.control import START_PATIENCE, Control
from nats_spark_common.jetstream.create_stream import create_stream, stream_config
from nats_spark_common.options.positions import check_start
from nats_spark_common.options.settings import NatsSettings
from nats_spark_common.planning.data_loss import report_unmatched

from .consumer_config import new_config, required_names, updated_config, version_text
from .consumer_info import ConsumerInfo, check_usable

_log = logging.getLogger(__name__)

_CONSUMER_NOT_FOUND = 10014
_CONSUMER_EXISTS = 10148

#: Servers from this version on can create a consumer only if none has its name (ADR-42).
CREATE_ACTION_VERSION = (2, 10)


class DurableConsumer(AbstractContextManager["DurableConsumer"]):
    """The consumer that the settings name, and its stream; holds a control connection.

    Attributes:
        stream, name: the names of the stream and the consumer.
    """

    def __init__(self, settings: NatsSettings) -> None:
        """Connect.

        Raises:
            OptionError: the stream or the consumer is not named, or an option does not apply.
            ConnectError, AuthError: the server cannot be reached, or rejects the credentials.
        """
        self.stream, self.name = required_names(settings)
        self._settings = settings
        self._control = Control(settings, START_PATIENCE)

    def close(self) -> None:
        """Close the connection."""
        self._control.close()

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def server_version(self) -> tuple[int, ...]:
        """Return the version of the server that was reached first."""
        return self._control.server_version

    @property
    def _creates_stream(self) -> bool:
        """Return whether a missing stream is created: it may be, and its subjects are known."""
        return self._settings.js_define_stream and bool(self._settings.stream_subjects)

    def check(self) -> None:
        """Check that the query can run, without changing anything.

        Raises:
            StreamNotFoundError, ConsumerNotFoundError: it is missing, and may not be created.
            UnsupportedConsumerError: the consumer exists and cannot be used.
            OptionError: an option needs a newer server.
        """
        settings = self._settings
        acks_all = settings.ack_policy == "all"
        if acks_all and self._control.server_version < RESET_VERSION:
            raise OptionError(
                "nats.ack.policy=all needs NATS server 2.14 or later, but this server is "
                f"{version_text(self._control.server_version)}: use nats.ack.policy=explicit"
            )
        if settings.reset_on_start and self._control.server_version < RESET_VERSION:
            raise OptionError(
                "nats.reset.on.start=true needs NATS server 2.14 or later, but this server is "
                f"{version_text(self._control.server_version)}: remove the option; unacknowledged "
                "messages are then redelivered after the consumer's ack wait"
            )
        try:
            stream = self.stream_info()
        except StreamNotFoundError:
            if not self._creates_stream:
                raise
            return
        if acks_all and stream.retention == "workqueue":
            raise OptionError(
                f"nats.ack.policy=all: stream {stream.name!r} is a work queue, whose consumers "
                "acknowledge each message: use nats.ack.policy=explicit"
            )
        report_unmatched(settings.stream_subjects, [stream])
        try:
            self.info(stream)
        except ConsumerNotFoundError:
            if not settings.js_define_consumer:
                raise

    def ensure(self) -> tuple[StreamInfo, ConsumerInfo]:
        """Return the stream and the consumer; create what is missing. Raise as `check` does."""
        settings = self._settings
        try:
            stream = self.stream_info()
        except StreamNotFoundError:
            if not self._creates_stream:
                raise
            create_stream(
                self._control.api,
                stream_config(
                    settings, self.stream, settings.stream_subjects, self._control.server_version
                ),
            )
            stream = self.stream_info()
        try:
            self.update(stream)
            return stream, self.info(stream)
        except ConsumerNotFoundError:
            if not settings.js_define_consumer:
                raise
        self._create(stream)
        return stream, self.info(stream)

    def stream_info(self) -> StreamInfo:
        """Return the stream's state. Raise ``StreamNotFoundError`` with a fix if it is missing."""
        try:
            return self._control.stream_info(self.stream)
        except StreamNotFoundError as error:
            if self._settings.js_define_stream and not self._settings.stream_subjects:
                raise StreamNotFoundError(
                    f"{error}; or set nats.stream.subjects to have the source create it"
                ) from None
            raise

    def info(self, stream: StreamInfo | None = None) -> ConsumerInfo:
        """Return the consumer's current state.

        Args:
            stream: if given, check the consumer against the options as well.

        Raises:
            ConsumerNotFoundError: the consumer does not exist.
            UnsupportedConsumerError: it cannot be used with these options.
        """
        info = ConsumerInfo.from_json(self._request_info())
        if stream is not None:
            check_usable(info, self._settings, stream)
        return info

    def stores(self, info: ConsumerInfo, first: int, last: int) -> bool:
        """Return whether the stream has messages of ``first`` to ``last`` that match the filters.

        Args:
            info: the consumer, with its filters.
        """
        for each in info.filters or (">",):
            request = {"seq": first, "next_by_subj": each}
            try:
                found = self._control.api(f"STREAM.MSG.GET.{self.stream}", request)
            except ServerError as error:
                if not is_no_message(error):
                    raise
                continue
            if int(found["message"]["seq"]) <= last:
                return True
        return False

    def update(self, stream: StreamInfo) -> bool:
        """With ``nats.consumer.update``, change the consumer as the options that are set say.

        Returns whether it was changed. Raises ``ConsumerNotFoundError``.
        """
        if not self._settings.consumer_update:
            return False
        current = self._request_info()["config"]
        config = updated_config(current, self._new_config(stream), self._settings)
        if config == current:
            return False
        self._put(config, "update")
        _log.info("updated consumer %s of stream %s", self.name, self.stream)
        return True

    def reset(self) -> None:
        """Reset the consumer to its ack floor: unacknowledged messages are redelivered at once."""
        self._control.api(f"CONSUMER.RESET.{self.stream}.{self.name}")
        _log.info("reset consumer %s of stream %s to its ack floor", self.name, self.stream)

    def _request_info(self) -> dict[str, Any]:
        """Return the reply to ``CONSUMER.INFO``. Raise ``ConsumerNotFoundError``."""
        try:
            return self._control.api(f"CONSUMER.INFO.{self.stream}.{self.name}")
        except ServerError as error:
            if error.err_code != _CONSUMER_NOT_FOUND:
                raise
            raise ConsumerNotFoundError(
                f"stream {self.stream!r} has no consumer {self.name!r}: check nats.durable.name, "
                "create the consumer, or let the source create it (nats.js.define.consumer=true)"
            ) from None

    def _new_config(self, stream: StreamInfo) -> dict[str, Any]:
        return new_config(self._settings, self.name, stream, self._control.server_version)

    def _create(self, stream: StreamInfo) -> None:
        # Servers would start at the next message instead (2.9 also for a sequence past the end).
        check_start(self._settings.start.for_stream(stream.name), stream.name, stream.last_seq)
        config = self._new_config(stream)
        try:
            self._put(config, "create")
        except ServerError as error:
            if error.err_code == _CONSUMER_EXISTS:  # another client has created it meanwhile
                return
            fields = ", ".join(f"{key}={value}" for key, value in config.items())
            raise ServerError(
                f"nats.durable.name={self.name}: cannot create consumer {self.name!r} of stream "
                f"{self.stream!r}: {error.description} ({fields}); change nats.ack.none, "
                "nats.stream.subjects or nats.pull.consumer.max.*, or create the consumer yourself",
                error.code,
                error.err_code,
                error.description,
            ) from None
        _log.info("created consumer %s of stream %s", self.name, self.stream)

    def _put(self, config: dict[str, Any], action: str) -> None:
        """Send a configuration; ``action`` is ``create`` or ``update`` (ADR-42)."""
        request = {"stream_name": self.stream, "config": config}
        if self._control.server_version >= CREATE_ACTION_VERSION:
            request["action"] = action
        self._control.api(f"CONSUMER.DURABLE.CREATE.{self.stream}.{self.name}", request)
