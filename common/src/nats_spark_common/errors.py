"""The exceptions of the suite::

    NatsSparkError
     ├── OptionError              an option is unknown, invalid or in conflict (a ValueError)
     ├── ConnectError             no server could be reached, or the connection was lost
     │    └── AuthError           the server rejects the credentials
     │         └── MissingPermissionError   the user lacks a permission
     ├── TimeoutExpiredError      a request got no reply in time
     ├── ProtocolError            bytes that a NATS server does not send
     │    └── OtherStreamError    another stream, a mirror, replied to a direct get
     ├── ServerError              the server replied with an error: code, err_code, description
     ├── JetStreamUnavailableError  JetStream is not available to this account
     ├── StreamNotFoundError      a stream does not exist
     ├── UnsupportedStreamError   a stream cannot be read by this flavor
     ├── ConsumerNotFoundError    a consumer does not exist
     ├── UnsupportedConsumerError a consumer cannot be used with these options
     ├── DataLossError            messages were removed before they were read
     ├── UnsupportedSparkError    Spark is too old (an ImportError)
     ├── PayloadError             a payload cannot be decompressed
     ├── PublishError             a row cannot be published, or the server rejects it
     ├── ReplayError              cannot determine which rows of a replayed task are already stored
     ├── FencedError              another attempt has taken over the task
     ├── CheckpointError          a checkpoint cannot be read or changed
     └── PartitionSetError        a set of partitioned streams cannot be created, shown or deleted

All can be pickled, because Spark sends them from its workers to the driver.
"""

from __future__ import annotations


class NatsSparkError(Exception):
    """Base of all exceptions of the suite."""


class OptionError(NatsSparkError, ValueError):
    """An option is unknown, its value is invalid, or it conflicts with another."""


class ConnectError(NatsSparkError):
    """No server could be reached, or the connection was lost."""


class AuthError(ConnectError):
    """The server rejects the credentials, or this user lacks a permission."""


class MissingPermissionError(AuthError):
    """The user lacks a permission; the message names the subject."""


class TimeoutExpiredError(NatsSparkError):
    """A request got no reply in time."""


class ProtocolError(NatsSparkError):
    """Bytes that a NATS server does not send."""


class OtherStreamError(ProtocolError):
    """Another stream, a mirror of the requested one, replied to a direct get (ADR-31)."""


class ServerError(NatsSparkError):
    """The server replied with an error.

    Attributes:
        code: HTTP-like status, such as 404.
        err_code: JetStream's error code, 0 if it sent none.
        description: the server's description of the error.
    """

    def __init__(
        self, message: str, code: int = 0, err_code: int = 0, description: str = ""
    ) -> None:
        super().__init__(message, code, err_code, description)  # pickle needs all of them
        self.code = code
        self.err_code = err_code
        self.description = description

    def __str__(self) -> str:
        return str(self.args[0])


class JetStreamUnavailableError(NatsSparkError):
    """JetStream is not available to this account, or not at the moment."""


class StreamNotFoundError(NatsSparkError):
    """A stream does not exist."""


class UnsupportedStreamError(NatsSparkError):
    """A stream cannot be read by this flavor."""


class ConsumerNotFoundError(NatsSparkError):
    """A consumer does not exist."""


class UnsupportedConsumerError(NatsSparkError):
    """A consumer cannot be used with these options."""


class DataLossError(NatsSparkError):
    """Messages were removed before they were read."""


class UnsupportedSparkError(NatsSparkError, ImportError):
    """Spark is too old for the data sources."""


class PayloadError(NatsSparkError):
    """A payload cannot be decompressed."""


class PublishError(NatsSparkError):
    """A row cannot be published, or the server rejects it; the message names its subject."""


class ReplayError(NatsSparkError):
    """Cannot determine which rows of a replayed task are already stored."""


class FencedError(NatsSparkError):
    """Another attempt has taken over the task; this one must stop publishing."""


class CheckpointError(NatsSparkError):
    """A checkpoint cannot be read or changed; the message names its location."""


class PartitionSetError(NatsSparkError):
    """A set of partitioned streams cannot be created, shown or deleted."""
