"""The durable consumer: made from the options, or checked and used as it is.

Source: ADR-1 and the NATS docs, "Consumers"; ADR-60 for resets.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from nats_spark_common.errors import (
    ConsumerNotFoundError,
    OptionError,
    ServerError,
    StreamNotFoundError,
    UnsupportedConsumerError,
)
from nats_spark_common.jetstream.api import FILTER_SUBJECTS_VERSION, StreamInfo
from nats_spark_common.jetstream.control import Control
from nats_spark_common.jetstream.create_stream import create_stream, stream_config
from nats_spark_common.options.catalog_tables import TABLES
from nats_spark_common.options.positions import AtSequence, AtTime, Latest, check_start
from nats_spark_common.options.settings import NatsSettings
from nats_spark_common.planning.data_loss import report_unmatched
from nats_spark_common.protocol.timestamps import ns_to_rfc3339

_log = logging.getLogger(__name__)

_NS = 1_000_000_000
_CONSUMER_NOT_FOUND = 10014
_CONSUMER_EXISTS = 10148

#: Servers from this version on can put a consumer back to its ack floor.
RESET_VERSION = (2, 14)

#: ... and can be told to create a consumer only if there is none of its name (ADR-42).
CREATE_ACTION_VERSION = (2, 10)

#: What can be changed of a consumer besides its filters, and the options that say so.
_UPDATED = {
    "ack_wait": "msg_ack_wait_secs",
    "max_ack_pending": "pull_consumer_max_ack_pending",
    "max_batch": "pull_consumer_max_batch",
}

#: Batches whose messages may await their acks at a time, of all queries that share a consumer.
_BATCHES_PENDING = 4


@dataclass(frozen=True)
class ConsumerInfo:
    """A consumer and its state, as ``$JS.API.CONSUMER.INFO`` tells it.

    Attributes:
        created: the creation time in the server's own words.
        redelivers_after: seconds after which an unacknowledged message is delivered again; the
            shortest of the backoff, if it has one.
        delivered: highest stream sequence delivered so far.
        deliveries: the consumer sequence of the last delivery.
        floor: stream sequence up to which everything is acknowledged.
        acknowledged: ... and the consumer sequence.
        pending: messages that were never delivered yet.
        ack_pending: messages that were delivered and not acknowledged.
        redelivered: of these, how many more than once.
        max_deliver: how often a message is delivered at most; 0 without a limit.
        max_ack_pending, max_batch, max_bytes, max_expires: limits of a pull (the last in seconds);
            0 where there is none.
        grouped: whether pulls have to name a priority group.
    """

    name: str
    created: str
    ack_policy: str
    redelivers_after: float
    filters: tuple[str, ...]
    push: bool
    delivered: int
    deliveries: int
    floor: int
    acknowledged: int
    pending: int
    ack_pending: int
    redelivered: int
    max_ack_pending: int
    max_batch: int
    max_bytes: int
    max_expires: float
    max_deliver: int
    grouped: bool

    @staticmethod
    def from_json(info: Mapping[str, Any]) -> ConsumerInfo:
        config = info["config"]
        one = config.get("filter_subject")
        waits = config.get("backoff") or [config.get("ack_wait") or 30 * _NS]
        return ConsumerInfo(
            name=info["name"],
            created=info["created"],
            ack_policy=config.get("ack_policy", "none"),
            redelivers_after=min(waits) / _NS,
            filters=tuple(config.get("filter_subjects") or ([one] if one else [])),
            push=bool(config.get("deliver_subject")),
            delivered=int(info["delivered"]["stream_seq"]),
            deliveries=int(info["delivered"]["consumer_seq"]),
            floor=int(info["ack_floor"]["stream_seq"]),
            acknowledged=int(info["ack_floor"]["consumer_seq"]),
            pending=int(info["num_pending"]),
            ack_pending=int(info["num_ack_pending"]),
            redelivered=int(info["num_redelivered"]),
            max_ack_pending=max(0, int(config.get("max_ack_pending") or 0)),
            max_batch=int(config.get("max_batch") or 0),
            max_bytes=int(config.get("max_bytes") or 0),
            max_expires=int(config.get("max_expires") or 0) / _NS,
            max_deliver=max(0, int(config.get("max_deliver") or 0)),
            grouped=bool(config.get("priority_groups")),
        )


class Durable(AbstractContextManager["Durable"]):
    """The consumer that the settings name, and its stream; holds a control connection."""

    def __init__(self, settings: NatsSettings) -> None:
        """Connect.

        Raises:
            OptionError: the stream or the durable is not named, or an option has no meaning here.
            ConnectError, AuthError: the server cannot be reached, or refuses the credentials.
        """
        self.stream, self.name = check_options(settings)
        self._settings = settings
        self._control = Control(settings)

    def close(self) -> None:
        """End the connection."""
        self._control.close()

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def server_version(self) -> tuple[int, ...]:
        """Of the server that was reached first."""
        return self._control.server_version

    @property
    def _makes_stream(self) -> bool:
        """Whether a missing stream is created: it may be, and its subjects are known."""
        return self._settings.js_define_stream and bool(self._settings.stream_subjects)

    def check(self) -> None:
        """See to it that the query can run, and change nothing.

        Raises:
            StreamNotFoundError, ConsumerNotFoundError: missing, and not to be created.
            UnsupportedConsumerError: the consumer is there and cannot be used.
            OptionError: an option needs a newer server.
        """
        settings = self._settings
        if settings.reset_on_start and self._control.server_version < RESET_VERSION:
            raise OptionError(
                "nats.reset.on.start=true needs a NATS server 2.14 or later, and this is "
                f"{_dotted(self._control.server_version)}: remove it, and messages come again "
                "after the consumer's ack wait"
            )
        try:
            stream = self.stream_info()
        except StreamNotFoundError:
            if not self._makes_stream:
                raise
            return
        report_unmatched(settings.stream_subjects, [stream])
        try:
            self.info(stream)
        except ConsumerNotFoundError:
            if not settings.js_define_consumer:
                raise

    def ensure(self) -> tuple[StreamInfo, ConsumerInfo]:
        """The stream and the consumer, made where they are missing. Raises as `check` does."""
        settings = self._settings
        try:
            stream = self.stream_info()
        except StreamNotFoundError:
            if not self._makes_stream:
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
        """Raises ``StreamNotFoundError``, with what to do about it."""
        try:
            return self._control.stream_info(self.stream)
        except StreamNotFoundError as error:
            if self._settings.js_define_stream and not self._settings.stream_subjects:
                raise StreamNotFoundError(
                    f"{error}; or set nats.stream.subjects, and it is created with them"
                ) from None
            raise

    def info(self, stream: StreamInfo | None = None) -> ConsumerInfo:
        """The consumer as it is now.

        Args:
            stream: checks the consumer against the options as well.

        Raises:
            ConsumerNotFoundError: it does not exist.
            UnsupportedConsumerError: it cannot be used with these options.
        """
        info = ConsumerInfo.from_json(self._asked())
        if stream is not None:
            self._check_usable(info, stream)
        return info

    def _asked(self) -> dict[str, Any]:
        """``CONSUMER.INFO``. Raises ``ConsumerNotFoundError``."""
        try:
            return self._control.api(f"CONSUMER.INFO.{self.stream}.{self.name}")
        except ServerError as error:
            if error.err_code != _CONSUMER_NOT_FOUND:
                raise
            raise ConsumerNotFoundError(
                f"stream {self.stream!r} has no consumer {self.name!r}: check nats.durable.name, "
                "or create it, or let the source do so (nats.js.define.consumer=true)"
            ) from None

    def update(self, stream: StreamInfo) -> bool:
        """With ``nats.consumer.update``, change the consumer to what the options that are set say.

        Returns whether it was changed. Raises ``ConsumerNotFoundError``.
        """
        if not self._settings.consumer_update:
            return False
        known = self._asked()["config"]
        made = self._config(stream)
        given = self._settings.model_fields_set
        changes = {
            name: made[name]
            for name, option in _UPDATED.items()
            if name in made and option in given
        }
        config = {**known, **changes}
        if "stream_subjects" in given:
            for name in ("filter_subject", "filter_subjects"):
                config.pop(name, None)
                config |= {name: made[name]} if name in made else {}
        if config == known:
            return False
        self._request(config, "update")
        _log.info("updated consumer %s on stream %s", self.name, self.stream)
        return True

    def reset(self) -> None:
        """Have what was delivered and not acknowledged delivered again at once."""
        self._control.api(f"CONSUMER.RESET.{self.stream}.{self.name}")
        _log.info("consumer %s of stream %s is back at its ack floor", self.name, self.stream)

    def _check_usable(self, info: ConsumerInfo, stream: StreamInfo) -> None:
        which = f"nats.durable.name={self.name}: consumer {self.name!r} of stream {self.stream!r}"
        if info.push:
            raise UnsupportedConsumerError(
                f"{which} is a push consumer, which cannot be shared by tasks: "
                "name a pull consumer, or one that does not exist yet"
            )
        if info.grouped:
            raise UnsupportedConsumerError(
                f"{which} has priority groups, which this source does not name in its pulls: "
                "name a consumer without"
            )
        wanted = "none" if self._settings.ack_none else "explicit"
        if info.ack_policy != wanted:
            remedy = {
                "none": "set nats.ack.none=true, or name one with ack_policy explicit",
                "explicit": "remove nats.ack.none, or name one with ack_policy none",
            }.get(info.ack_policy, "name one with ack_policy explicit")
            raise UnsupportedConsumerError(
                f"{which} has ack_policy {info.ack_policy}, not {wanted}: {remedy}"
            )
        subjects = self._settings.stream_subjects
        updates = self._settings.consumer_update
        if subjects and not updates and set(subjects) != set(info.filters or stream.subjects):
            raise UnsupportedConsumerError(
                f"{which} delivers {', '.join(info.filters or stream.subjects)}, but "
                f"nats.stream.subjects={','.join(subjects)}: remove the option, or name another"
            )

    def _create(self, stream: StreamInfo) -> None:
        # Servers start at the next message instead (2.9 also for a sequence past the end).
        check_start(self._settings.start.for_stream(stream.name), stream.name, stream.last_seq)
        config = self._config(stream)
        try:
            self._request(config, "create")
        except ServerError as error:
            if error.err_code == _CONSUMER_EXISTS:  # somebody was faster
                return
            told = ", ".join(f"{key}={value}" for key, value in config.items())
            raise ServerError(
                f"nats.durable.name={self.name}: the server refuses to create the consumer: "
                f"{error.description} ({told}); see nats.ack.none, nats.stream.subjects and "
                "nats.pull.consumer.max.*, or create it yourself",
                error.code,
                error.err_code,
                error.description,
            ) from None
        _log.info("created consumer %s on stream %s", self.name, self.stream)

    def _request(self, config: dict[str, Any], action: str) -> None:
        request = {"stream_name": self.stream, "config": config}
        if self._control.server_version >= CREATE_ACTION_VERSION:
            request["action"] = action
        self._control.api(f"CONSUMER.DURABLE.CREATE.{self.stream}.{self.name}", request)

    def _config(self, stream: StreamInfo) -> dict[str, Any]:
        settings = self._settings
        config: dict[str, Any] = {
            "name": self.name,
            "durable_name": self.name,
            "ack_policy": "none" if settings.ack_none else "explicit",
            "replay_policy": "instant",
            "headers_only": True,  # tasks read the payloads, by sequence
            **_deliver(settings, stream),
        }
        if not settings.ack_none:
            config["ack_wait"] = round(settings.msg_ack_wait_secs * _NS)
            most = settings.max_messages_per_trigger or 0
            config["max_ack_pending"] = (
                settings.pull_consumer_max_ack_pending or _BATCHES_PENDING * most or -1
            )
        if settings.pull_consumer_max_batch:
            config["max_batch"] = settings.pull_consumer_max_batch
        filters = settings.stream_subjects
        if set(filters) == set(stream.subjects):
            filters = ()
        if len(filters) == 1:
            config["filter_subject"] = filters[0]
        elif filters and self._control.server_version < FILTER_SUBJECTS_VERSION:
            raise OptionError(
                f"nats.stream.subjects={','.join(filters)}: a consumer with several filter "
                "subjects needs a NATS server 2.10 or later, and this is "
                f"{_dotted(self._control.server_version)}: name one subject, wildcards allowed"
            )
        elif filters:
            config["filter_subjects"] = list(filters)
        return config


def check_options(settings: NatsSettings) -> tuple[str, str]:
    """The stream's and the durable's name. Raises ``OptionError`` where one is not named."""
    if settings.stream_pattern or len(settings.stream_name) != 1:
        given = settings.stream_pattern or ",".join(settings.stream_name) or "not set"
        raise OptionError(
            f"nats.stream.name: nats-balanced reads one stream, and the streams are {given}: "
            f"set nats.stream.name to one stream, and use a query for each. {TABLES}"
        )
    if not settings.durable_name:
        raise OptionError(
            "nats.durable.name is not set: name the durable consumer, "
            "which is created if it is missing"
        )
    return settings.stream_name[0], settings.durable_name


def _deliver(settings: NatsSettings, stream: StreamInfo) -> dict[str, Any]:
    """Where a new consumer starts."""
    position = settings.start.for_stream(stream.name)
    if isinstance(position, AtSequence):
        return {"deliver_policy": "by_start_sequence", "opt_start_seq": position.seq}
    if isinstance(position, AtTime):
        return {"deliver_policy": "by_start_time", "opt_start_time": ns_to_rfc3339(position.ns)}
    return {"deliver_policy": "new" if isinstance(position, Latest) else "all"}


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))
