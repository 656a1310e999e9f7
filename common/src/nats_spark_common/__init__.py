"""The code that the connectors share, and the public `NatsSettings` and exceptions.

Each subpackage describes its contents in its ``__init__``. Data flows one way: `options` → what to
read (`planning`, and `replay` if Spark stores the position) in the driver → `reading` over
`connection`, and `rows`, in the tasks. The opposite direction, out of Spark, is `sink`. The entry
points of the flavors inherit from `spark`.
"""

from .errors import (
    AuthError,
    CheckpointError,
    ConnectError,
    ConsumerNotFoundError,
    DataLossError,
    FencedError,
    JetStreamUnavailableError,
    MissingPermissionError,
    NatsSparkError,
    OptionError,
    PartitionSetError,
    PayloadError,
    ProtocolError,
    PublishError,
    ReplayError,
    ServerError,
    StreamNotFoundError,
    TimeoutExpiredError,
    UnsupportedConsumerError,
    UnsupportedSparkError,
    UnsupportedStreamError,
)
from .options.settings import NatsSettings
from .spark.worker_logs import configure

configure()

__all__ = [
    "AuthError",
    "CheckpointError",
    "ConnectError",
    "ConsumerNotFoundError",
    "DataLossError",
    "FencedError",
    "JetStreamUnavailableError",
    "MissingPermissionError",
    "NatsSettings",
    "NatsSparkError",
    "OptionError",
    "PartitionSetError",
    "PayloadError",
    "ProtocolError",
    "PublishError",
    "ReplayError",
    "ServerError",
    "StreamNotFoundError",
    "TimeoutExpiredError",
    "UnsupportedConsumerError",
    "UnsupportedSparkError",
    "UnsupportedStreamError",
]
