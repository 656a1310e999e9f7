"""The errors of the suite, one small hierarchy::

    NatsSparkError
     ├── OptionError              an option is unknown, wrong, or contradicts another (a ValueError)
     ├── ConnectError             no server could be reached, or the connection was lost
     │    └── AuthError           the server refuses the credentials, or an operation to this user
     ├── TimeoutExpiredError      a request got no reply in time
     ├── ProtocolError            bytes that a NATS server does not send
     │    └── OtherStreamError    another stream, a mirror, answered a direct get
     ├── ServerError              the server answered with an error: code, err_code, description
     ├── JetStreamUnavailableError  no JetStream answers for this account
     ├── StreamNotFoundError      a stream does not exist
     ├── UnsupportedStreamError   a stream cannot be read by this flavor
     ├── ConsumerNotFoundError    a consumer does not exist, or no longer
     ├── UnsupportedConsumerError a consumer cannot be used with these options
     ├── DataLossError            messages were removed before they were read
     ├── UnsupportedSparkError    Spark is too old (an ImportError)
     ├── PayloadError             a payload does not decompress
     ├── PublishError             a row cannot be published, or the server refuses it
     ├── ReplayError              nothing tells which rows of a replayed task stand already
     ├── FencedError              another attempt has taken the task over
     └── PartitionSetError        partitioned streams cannot be made or shown as asked for

All of them can be pickled: they cross from Spark's workers to the driver.
"""

from __future__ import annotations


class NatsSparkError(Exception):
    """Base of all errors of the suite."""


class OptionError(NatsSparkError, ValueError):
    """An option is unknown, its value is wrong, or it contradicts another."""


class ConnectError(NatsSparkError):
    """No server could be reached, or the connection was lost."""


class AuthError(ConnectError):
    """The server refuses the credentials, or refuses an operation to this user."""


class TimeoutExpiredError(NatsSparkError):
    """A request got no reply in time."""


class ProtocolError(NatsSparkError):
    """Bytes that a NATS server does not send."""


class OtherStreamError(ProtocolError):
    """Another stream, which mirrors the requested one, answered a direct get (ADR-31)."""


class ServerError(NatsSparkError):
    """The server answered with an error.

    Attributes:
        code: HTTP-like status, such as 404.
        err_code: JetStream's own number of the error, 0 where it gave none.
        description: the server's words.
    """

    def __init__(
        self, message: str, code: int = 0, err_code: int = 0, description: str = ""
    ) -> None:
        super().__init__(message, code, err_code, description)  # all of them, so that it pickles
        self.code = code
        self.err_code = err_code
        self.description = description

    def __str__(self) -> str:
        return str(self.args[0])


class JetStreamUnavailableError(NatsSparkError):
    """No JetStream answers for this account."""


class StreamNotFoundError(NatsSparkError):
    """A stream does not exist."""


class UnsupportedStreamError(NatsSparkError):
    """A stream cannot be read by this flavor."""


class ConsumerNotFoundError(NatsSparkError):
    """A consumer does not exist, or no longer."""


class UnsupportedConsumerError(NatsSparkError):
    """A consumer cannot be used with these options."""


class DataLossError(NatsSparkError):
    """Messages were removed before they were read."""


class UnsupportedSparkError(NatsSparkError, ImportError):
    """Spark is too old for the data sources."""


class PayloadError(NatsSparkError):
    """A payload does not decompress."""


class PublishError(NatsSparkError):
    """A row cannot be published, or the server refuses it; the message names its subject."""


class ReplayError(NatsSparkError):
    """Nothing tells which rows of a replayed task stand in the stream already."""


class FencedError(NatsSparkError):
    """Another attempt has taken the task over, and this one must not publish any more."""


class PartitionSetError(NatsSparkError):
    """The streams that exist, or the server, do not allow what was asked of a partitioned set."""
